"""Runs that killed processes left unfinished: removed, with their files."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from pipeline.files import is_alive
from pipeline.store.addresses import local_path
from pipeline.store.connect import database_of
from pipeline.store.runs import search_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# Only this pipeline's runs have a stage, from their first moment: a person's own run in the experiment stays.
UNFINISHED = "attributes.status = 'RUNNING' and tags.stage LIKE '%'"
# Seconds after which a run that is still being written to a server was left, whichever machine began it.
ABANDONED = 24 * 3600


def writer() -> str:
    """The tag `writer` of a run that is being written: machine, process and time."""
    return f"{socket.gethostname()} {os.getpid()} {int(time.time())}"


def remove_leftovers(client: MlflowClient, experiments: Sequence[str]) -> None:
    """Remove unfinished runs of experiments that nobody writes any more; to be called under the store's lock.

    The run itself goes last, so that a kill here leaves nothing behind.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    def remove_files(uri: str) -> None:
        path = local_path(uri)
        if database_of(client.tracking_uri) is not None:
            # of a run or a model: the folder around its artifacts
            shutil.rmtree(path.parent if path.name == "artifacts" else path, ignore_errors=True)
            return
        with suppress(OSError):
            get_artifact_repository(uri, tracking_uri=client.tracking_uri).delete_artifacts()

    for run in search_runs(client, experiments, UNFINISHED):
        # the lock keeps others from the project's own store
        if database_of(client.tracking_uri) is None and not _is_left(run):
            continue
        query = f"source_run_id = '{run.info.run_id}'"
        for model in client.search_logged_models([run.info.experiment_id], query):
            remove_files(model.artifact_location)
            client.delete_logged_model(model.model_id)
        remove_files(run.info.artifact_uri)
        client.delete_run(run.info.run_id)


def _is_left(run: Run) -> bool:
    """Whether nobody writes a run of a server any more. A process looks before it writes and after, so what it began
    itself is left.
    """
    host, pid, began = run.data.tags.get("writer", f"- 0 {run.info.start_time // 1000}").split()
    here = host == socket.gethostname()
    return (here and (int(pid) == os.getpid() or not is_alive(int(pid)))) or time.time() - int(began) > ABANDONED
