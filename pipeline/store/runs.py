"""MLflow runs: written whole, found again, read as plain values."""

from __future__ import annotations

import math
import os
import pickle
import shutil
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from pipeline.console import PipelineError, without_passwords
from pipeline.files import file_sha256, is_alive
from pipeline.store.connect import LOCK_TIMEOUT, STORE, _is_away, database_of, locked_store, store_errors, store_lock

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from sklearn.pipeline import Pipeline

PAGE = 1000
# What two runs of the same result differ in.
MEASURED = ("fit_seconds", "model_bytes")
SAME = 1e-6
# What a killed call leaves, and what MLflow makes of a run where the disk is full. Only this pipeline's runs have a
# stage, from their first moment: a person's own run in the experiment stays. Trials may fail.
UNFINISHED = (
    "attributes.status = 'RUNNING' and tags.stage LIKE '%'",
    "attributes.status = 'FAILED' and tags.stage != 'trial'",
)
# Seconds after which a run that is still being written to a server was left, whichever machine began it.
ABANDONED = 24 * 3600


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


class StoredRun:
    """A run of a store as plain values."""

    def __init__(self, client: MlflowClient, run: Run, experiment: str) -> None:
        self._client = client
        self._artifact_uri = run.info.artifact_uri
        self.experiment = experiment
        self.store = str(client.tracking_uri)
        self.run_id = run.info.run_id
        self.experiment_id = run.info.experiment_id
        self.name = run.info.run_name
        self.start_time = run.info.start_time
        self.tags: Mapping[str, str] = run.data.tags
        self.params: Mapping[str, str] = run.data.params
        self.metrics: Mapping[str, float] = run.data.metrics

    def artifact(self, name: str) -> Path:
        """A local path of an artifact.

        The database holds absolute addresses, which are stale in a copied store: there the file is looked up beside it.

        Raises:
            PipelineError: the run has no such artifact.
        """
        path = Path(unquote(urlparse(self._artifact_uri).path)) / name
        if path.exists():
            return path
        if self.store.startswith("sqlite:///"):
            folder = Path(self.store.removeprefix("sqlite:///")).parent / "artifacts" / self.experiment / self.run_id
            path = folder / "artifacts" / name
            if not path.exists():
                raise PipelineError(f"{path}: not found; the store {self.store} is incomplete, train again")
            return path
        return _download(f"{self._artifact_uri}/{name}", self.store)

    def load_model(self) -> Pipeline:
        """The run's fitted model.

        Raises:
            PipelineError: as model_file.
        """
        with self.model_file().open("rb") as file:
            return pickle.load(file)

    def model_file(self) -> Path:
        """The file of the run's model, checked against the hash recorded when it was logged.

        Raises:
            PipelineError: there is no model, or its file is not the one that was logged.
        """
        model_id = self.tags.get("model_id", "")
        if not model_id:
            raise PipelineError(f"run {self.run_id}: no model was logged; train again")
        with store_errors(self.store):
            location = self._client.get_logged_model(model_id).artifact_location
        path = Path(unquote(urlparse(location).path)) / "model.pkl"
        if not path.exists() and self.store.startswith("sqlite:///"):
            folder = Path(self.store.removeprefix("sqlite:///")).parent / "artifacts" / self.experiment / "models"
            path = folder / model_id / "artifacts" / "model.pkl"
        elif not path.exists():
            path = _download(f"{location}/model.pkl", self.store)
        if not path.exists():
            raise PipelineError(f"{path}: not found; train again")
        if file_sha256(path) != self.tags.get("model_sha256"):
            raise PipelineError(f"{path}: is not the file that was logged (its SHA-256 differs); train again")
        return path


def _download(uri: str, store: str) -> Path:
    """A file of a server, in a folder that goes when this process ends.

    Raises:
        PipelineError: the server has no such file.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    folder = tempfile.mkdtemp(dir=_downloads().name)
    try:
        return Path(mlflow.artifacts.download_artifacts(uri, dst_path=folder, tracking_uri=store))
    except (MlflowException, OSError) as error:
        words = "cannot be fetched: the server does not answer" if _is_away(error) else "not found, train again"
        raise PipelineError(f"{without_passwords(store)}: {uri}: {words}") from None


@cache
def _downloads() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="mlflow-")


def write_runs(
    client: MlflowClient,
    experiment: str,
    records: Sequence[RunRecord],
    parent: RunRecord | None = None,
    model: Pipeline | None = None,
    example: pd.DataFrame | None = None,
) -> list[str]:
    """Write runs, under a parent run where one is given; a model goes to the first of them. Returns the run ids.

    A finished run that says the same as a record stands for it. A parent with the same tag `study` is taken up again,
    and children whose names it already has are not repeated.

    Raises:
        PipelineError: the store or the disk refuses.
    """
    with locked_store(client):
        _wait_until_writable(client)
        experiment_id = _experiment_id(client, experiment)
        _remove_unfinished(client, experiment_id)
        ids = _write_missing(client, experiment, experiment_id, records, parent, model, example)
        if database_of(str(client.tracking_uri)) is None:
            # a request is made again where its answer was lost, and may have begun two runs
            _remove_unfinished(client, experiment_id)
        return ids


def newest_runs(
    client: MlflowClient, experiment: str, stage: str, data_sha256: str, params_sha256: str
) -> dict[str, StoredRun]:
    """The newest finished run of each model in a stage with these hashes; empty where there is none."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return {}
    query = (
        f"tags.stage = '{stage}' and tags.data_sha256 = '{data_sha256}' and tags.params_sha256 = '{params_sha256}' "
        "and attributes.status = 'FINISHED'"
    )
    runs: dict[str, StoredRun] = {}
    for run in _search(client, found.experiment_id, query):
        runs.setdefault(run.data.tags["model_type"], StoredRun(client, run, experiment))
    return runs


def run_of(client: MlflowClient, experiment: str, name: str, data_sha256: str, params_sha256: str) -> StoredRun:
    """The newest finished run of a model, tuned ones named `<model>_tuned`, with these hashes.

    Raises:
        PipelineError: there is none; the message names the command that makes it.
    """
    model = name.removesuffix("_tuned")
    stage, script = ("baseline", "train.py") if name == model else ("tuned", "tune_hyperparameters.py")
    runs = newest_runs(client, experiment, stage, data_sha256, params_sha256)
    if model not in runs:
        mend = f"run `python {script} --dataset {experiment} --model {model}`"
        raise PipelineError(f"{experiment}: no MLflow run of {name}; {mend}")
    return runs[model]


def unfinished_runs(client: MlflowClient, experiment: str) -> list[str]:
    """The ids of runs that killed processes left; runs that are being written are waited for."""
    with store_lock():
        found = client.get_experiment_by_name(experiment)
        return [] if found is None else [run.info.run_id for run in _unfinished(client, found.experiment_id)]


def child_runs(client: MlflowClient, run: StoredRun) -> list[StoredRun]:
    """The runs under a parent run, oldest first."""
    found = _search(client, run.experiment_id, f"tags.`mlflow.parentRunId` = '{run.run_id}'")
    return [StoredRun(client, child, run.experiment) for child in found[::-1]]


def _search(client: MlflowClient, experiment_id: str, query: str) -> list[Run]:
    runs: list[Run] = []
    token = None
    while True:
        with store_errors(str(client.tracking_uri)):
            page = client.search_runs(
                [experiment_id], query, max_results=PAGE, page_token=token, order_by=["attributes.start_time DESC"]
            )
        runs += page
        token = page.token
        if not token:
            return runs


def _experiment_id(client: MlflowClient, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is not None:
        return found.experiment_id
    if database_of(str(client.tracking_uri)) is not None:
        return client.create_experiment(name, (STORE / "artifacts" / name).resolve().as_uri())
    try:
        return client.create_experiment(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        # another machine came first
        return _experiment_id(client, name)


def _wait_until_writable(client: MlflowClient) -> None:
    """Wait for a program that holds the database, such as a backup; MLflow itself would give up within seconds."""
    database = database_of(str(client.tracking_uri))
    if database is None:
        return
    for seconds in (1, LOCK_TIMEOUT):
        try:
            with closing(sqlite3.connect(database, timeout=seconds, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or seconds == LOCK_TIMEOUT:
                raise
            print(f"{database}: another program holds it; waiting", file=sys.stderr, flush=True)
        else:
            return


def _remove_unfinished(client: MlflowClient, experiment_id: str) -> None:
    """Remove what a killed process left of its runs; the run itself last, so that a kill here leaves nothing behind."""
    for run in _unfinished(client, experiment_id):
        run_id = run.info.run_id
        for model in client.search_logged_models([experiment_id], filter_string=f"source_run_id = '{run_id}'"):
            _remove_files(client, model.artifact_location)
            client.delete_logged_model(model.model_id)
        _remove_files(client, run.info.artifact_uri)
        client.delete_run(run_id)


def _unfinished(client: MlflowClient, experiment_id: str) -> list[Run]:
    found = [run for query in UNFINISHED for run in _search(client, experiment_id, query)]
    if database_of(str(client.tracking_uri)) is not None:
        return found
    return [run for run in found if run.info.status != "RUNNING" or _is_left(run)]


def _is_left(run: Run) -> bool:
    """Whether nobody writes a run of a server any more, though it is RUNNING.

    A process looks before it writes and after, so what it began itself is left.
    """
    host, pid, began = run.data.tags.get("writer", f"- 0 {run.info.start_time // 1000}").split()
    if host == socket.gethostname() and (int(pid) == os.getpid() or not is_alive(int(pid))):
        return True
    return time.time() - int(began) > ABANDONED


def _remove_files(client: MlflowClient, uri: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    address = urlparse(uri)
    if address.scheme == "mlflow-artifacts":
        get_artifact_repository(uri, tracking_uri=client.tracking_uri).delete_artifacts()
    elif address.scheme in ("", "file"):
        folder = Path(unquote(address.path))
        shutil.rmtree(folder.parent if folder.name == "artifacts" else folder, ignore_errors=True)


def _write_missing(
    client: MlflowClient,
    experiment: str,
    experiment_id: str,
    records: Sequence[RunRecord],
    parent: RunRecord | None,
    model: Pipeline | None,
    example: pd.DataFrame | None,
) -> list[str]:
    if parent is None:
        return [
            _run_that_says(client, experiment_id, experiment, record)
            or _write_run(client, experiment_id, record, None, model, example)
            for record in records
        ]
    quoted = parent.tags["study"].replace("'", "")
    found = client.search_runs([experiment_id], f"tags.study = '{quoted}' and tags.stage = 'study'")
    parent_id = found[0].info.run_id if found else _write_run(client, experiment_id, parent, None, None, None)
    known = {run.info.run_name for run in _search(client, experiment_id, f"tags.`mlflow.parentRunId` = '{parent_id}'")}
    new = [record for record in records if record.name not in known]
    return [parent_id, *(_write_run(client, experiment_id, record, parent_id, None, None) for record in new)]


def _run_that_says(client: MlflowClient, experiment_id: str, experiment: str, record: RunRecord) -> str | None:
    """The newest finished run of the record's stage, model, data and settings, where it says what the record does and
    its files are all there.
    """
    keys = ("stage", "model_type", "data_sha256", "params_sha256")
    query = " and ".join(f"tags.{key} = '{record.tags[key]}'" for key in keys)
    found = client.search_runs(
        [experiment_id],
        f"{query} and attributes.status = 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if not found:
        return None
    run = StoredRun(client, found[0], experiment)
    same = run.params == {name: str(value) for name, value in record.params.items()} and all(
        name in MEASURED or _equal(run.metrics.get(name), value) for name, value in record.metrics.items()
    )
    if not same:
        return None
    if database_of(run.store) is not None:
        try:
            for name in [*(path.name for path in record.files), *record.texts]:
                run.artifact(name)
            run.model_file()
        except PipelineError:
            return None
    for tag in record.tags.keys() - {"timestamp"}:
        # other code may have found the same: the run is that code's too
        if run.tags.get(tag) != record.tags[tag]:
            client.set_tag(run.run_id, tag, record.tags[tag])
    return run.run_id


def _equal(one: float | None, other: float) -> bool:
    return one is not None and (math.isclose(one, other, abs_tol=SAME) or (math.isnan(one) and math.isnan(other)))


def _write_run(
    client: MlflowClient,
    experiment_id: str,
    record: RunRecord,
    parent_id: str | None,
    model: Pipeline | None,
    example: pd.DataFrame | None,
) -> str:
    from mlflow.entities import Metric, Param

    end = record.end or time.time()
    start = int((record.start or end) * 1000)
    tags = dict(record.tags)
    tags["timestamp"] = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(start / 1000))
    if database_of(str(client.tracking_uri)) is None:
        tags["writer"] = f"{socket.gethostname()} {os.getpid()} {int(time.time())}"
    if parent_id:
        tags["mlflow.parentRunId"] = parent_id
    run = client.create_run(experiment_id, start_time=start, run_name=record.name, tags=tags)
    run_id = run.info.run_id
    client.log_batch(
        run_id,
        metrics=[Metric(key, value, int(end * 1000), 0) for key, value in record.metrics.items()],
        params=[Param(key, str(value)) for key, value in record.params.items()],
    )
    for path in record.files:
        client.log_artifact(run_id, str(path))
    for name, text in record.texts.items():
        client.log_text(run_id, text, name)
    if model is not None:
        assert example is not None
        _log_model(client, run_id, model, example)
    client.set_terminated(run_id, record.status, int(end * 1000))
    return run_id


def _log_model(client: MlflowClient, run_id: str, model: Pipeline, example: pd.DataFrame) -> None:
    """Log the fitted Pipeline (`model.pkl`) with signature, input example and the versions that it needs."""
    from importlib.metadata import version

    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    columns: list[ColSpec | TensorSpec] = [
        ColSpec("double" if example[name].dtype == "float64" else "string", str(name), required=False)
        for name in example
    ]
    libraries = ["scikit-learn", "numpy", "scipy", "pandas"]
    if b"skrub" in pickle.dumps(model[:-1]):
        libraries.append("skrub")
    output = model.predict(example)
    kind = {"f": "double", "i": "long"}.get(output.dtype.kind, "string")
    # logging a model knows only the global store, which mlflow puts into the environment too
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        with mlflow.start_run(run_id=run_id):
            logged = mlflow.sklearn.log_model(
                model,
                name="model",
                serialization_format="pickle",
                signature=ModelSignature(Schema(columns), Schema([ColSpec(kind, "prediction")])),
                input_example=example,
                pip_requirements=[f"{name}=={version(name)}" for name in libraries],
            )
            # the end of this block marks the run as finished: it has to be whole by then
            location = client.get_logged_model(logged.model_id).artifact_location
            file = Path(unquote(urlparse(location).path)) / "model.pkl"
            if not file.exists():
                file = _download(f"{location}/model.pkl", str(client.tracking_uri))
            client.set_tag(run_id, "model_id", logged.model_id)
            client.set_tag(run_id, "model_sha256", file_sha256(file))
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None brings the default back
