"""Write runs to the MLflow store: whole or not at all, and one run a result."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from pipeline.console import PipelineError
from pipeline.files import file_sha256
from pipeline.store.connect import database_of, experiment_id, locked_store
from pipeline.store.leftovers import remove_leftovers, writer
from pipeline.store.models import log_model, shipped_sha256
from pipeline.store.runs import HASHES, newest_run, search_runs
from pipeline.store.sqlite import wait_until_writable

if TYPE_CHECKING:
    from mlflow import MlflowClient


# The tags that say what a run is a result of.
IDENTITY = ("stage", "model_type", "data_sha256", "params_sha256")
# What two runs of the same result differ in. Other figures agree but for last digits, as threads add in any order.
MEASURED = ("fit_seconds", "model_bytes")
RELATIVE, ABSOLUTE = 1e-9, 1e-6


@dataclass(frozen=True)
class RunRecord:
    """Everything that one run logs. `files` are copied, `texts` maps artifact names to their content."""

    name: str
    tags: Mapping[str, str]
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    files: Sequence[Path] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    status: str = "FINISHED"
    start: float | None = None
    end: float | None = None


def write_runs(
    client: MlflowClient,
    dataset: str,
    records: Sequence[RunRecord],
    parent: RunRecord | None = None,
    model: Pipeline | None = None,
    example: pd.DataFrame | None = None,
) -> None:
    """Write runs of a dataset, each with the model, or all under a parent run. PipelineError: store or disk refuses.

    A call that was killed after its runs and before its metrics file is made again, and adds no second run: a finished
    run that says the same as a record stands for it, a parent with the same tag `study` is taken up again, and children
    whose names it already has are left out.
    """
    database = database_of(client.tracking_uri)
    with locked_store(client):
        if database is not None:
            wait_until_writable(database)
        experiment = experiment_id(client, dataset, create=True)
        assert experiment is not None
        remove_leftovers(client, experiment)
        if parent is not None:
            _write_study(client, experiment, parent, records)
        else:
            for record in records:
                if not _is_logged(client, dataset, record, model):
                    _write_run(client, experiment, record, model, example)
        if database is None:
            # a request is made again where its answer was lost, and may have begun two runs
            remove_leftovers(client, experiment)


def _is_logged(client: MlflowClient, dataset: str, record: RunRecord, model: Pipeline | None) -> bool:
    """Whether the newest run of the record's stage, model, data and settings says the same, with all its files, and its
    model reads rows in the same way.
    """
    run = newest_run(client, dataset, *(record.tags[key] for key in IDENTITY))
    if run is not None and model is not None and run.tags.get("shipped_sha256") != shipped_sha256(model[0].columns):
        return False
    if run is None or run.params != {name: str(value) for name, value in record.params.items()}:
        return False
    wanted = {name: value for name, value in record.metrics.items() if name not in MEASURED}
    found = [run.metrics.get(name, np.inf) for name in wanted]
    if not np.allclose(found, list(wanted.values()), RELATIVE, ABSOLUTE, equal_nan=True):
        return False
    try:
        run.check([*(path.name for path in record.files), *record.texts])
    except PipelineError:
        return False
    for tag, value in record.tags.items():
        # other code may have found the same: the run is that code's too
        if run.tags.get(tag) != value:
            client.set_tag(run.run_id, tag, value)
    known = json.loads(run.tags.get(HASHES, "{}"))
    drawn = {path.name: file_sha256(path) for path in record.files}
    if not drawn.items() <= known.items():
        # plots of other code: the run has the latest
        for path in record.files:
            client.log_artifact(run.run_id, str(path))
        client.set_tag(run.run_id, HASHES, json.dumps(known | drawn))
    return True


def _write_study(client: MlflowClient, experiment: str, parent: RunRecord, trials: Sequence[RunRecord]) -> None:
    studies = search_runs(client, experiment, "tags.stage = 'study'")
    known = [run.info.run_id for run in studies if run.data.tags["study"] == parent.tags["study"]]
    parent_id = known[0] if known else _write_run(client, experiment, parent)
    written = search_runs(client, experiment, f"tags.`mlflow.parentRunId` = '{parent_id}'")
    names = {run.info.run_name for run in written}
    for trial in trials:
        if trial.name not in names:
            _write_run(client, experiment, replace(trial, tags={**trial.tags, "mlflow.parentRunId": parent_id}))


def _write_run(
    client: MlflowClient,
    experiment: str,
    record: RunRecord,
    model: Pipeline | None = None,
    example: pd.DataFrame | None = None,
) -> str:
    """Write one run, which is RUNNING until it is whole; returns its id."""
    from mlflow.entities import Metric, Param, RunTag

    end = record.end or time.time()
    start, ended = int((record.start or end) * 1000), int(end * 1000)
    tags = {**record.tags, "timestamp": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(start / 1000))}
    if database_of(client.tracking_uri) is None:
        tags["writer"] = writer()
    hashes = {path.name: file_sha256(path) for path in record.files}
    hashes |= {name: hashlib.sha256(text.encode()).hexdigest() for name, text in record.texts.items()}
    if hashes:
        tags[HASHES] = json.dumps(hashes)
    run = client.create_run(experiment, start_time=start, run_name=record.name, tags=tags).info
    params = {name: str(value) for name, value in record.params.items()}
    logged = {} if model is None or example is None else log_model(client, run, params, model, example)
    client.log_batch(
        run.run_id,
        [Metric(name, value, ended, 0, logged.get("model_id")) for name, value in record.metrics.items()],
        [Param(name, value) for name, value in params.items()],
        [RunTag(name, value) for name, value in logged.items()],
    )
    for path in record.files:
        client.log_artifact(run.run_id, str(path))
    for name, text in record.texts.items():
        client.log_text(run.run_id, text, name)
    client.set_terminated(run.run_id, record.status, ended)
    return run.run_id
