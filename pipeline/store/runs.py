"""Runs of the MLflow store, found again and read as plain values."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sklearn.pipeline import Pipeline

from pipeline.console import PipelineError, one_line, without_passwords
from pipeline.metrics import Predictions
from pipeline.serving.model import trained
from pipeline.settings import command_of, stage_of
from pipeline.store.addresses import local_path
from pipeline.store.connect import database_of, experiment_id, store_errors
from pipeline.store.models import check_file, load_model
from pipeline.store.predictions import read_predictions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


FINISHED = "attributes.status = 'FINISHED'"
# The tag of a run with the SHA-256 of each artifact by name, as JSON.
HASHES = "artifacts_sha256"


class StoredRun:
    """A run as plain values. Reading its files raises PipelineError where they are missing or not the logged ones."""

    def __init__(self, client: MlflowClient, run: Run) -> None:
        self._client = client
        self._artifact_uri = run.info.artifact_uri
        self.store = str(client.tracking_uri)
        self.run_id = run.info.run_id
        self.experiment_id = run.info.experiment_id
        self.name = run.info.run_name
        self.start_time = run.info.start_time
        self.tags: Mapping[str, str] = run.data.tags
        self.params: Mapping[str, str] = run.data.params
        self.metrics: Mapping[str, float] = run.data.metrics

    def artifact(self, name: str) -> Path:
        """A local path of an artifact, checked against the hash recorded when it was logged with its run."""
        path = _local_file(self._client, f"{self._artifact_uri}/{name}")
        sha256 = json.loads(self.tags.get(HASHES, "{}")).get(name)
        return check_file(path, sha256) if sha256 else path

    def has(self, artifact: str) -> bool:
        """Whether there is an artifact of that name, as it was logged."""
        try:
            self.artifact(artifact)
        except PipelineError:
            return False
        return True

    def check(self, artifacts: Iterable[str]) -> None:
        """PipelineError: the model or one of the artifacts is missing, or not what was logged. Those of a server are
        believed, as all would have to be fetched.
        """
        if database_of(self.store) is not None:
            for name in artifacts:
                self.artifact(name)
            self.model_file()

    def predictions(self, task: str, kept: str) -> Predictions:
        """The predictions of the rows that the run was judged on. `kept`: see read_predictions."""
        return read_predictions(self.artifact("predictions.csv"), task, kept=kept)

    def model_file(self) -> Path:
        """The file of the run's model, checked against the hash recorded when it was logged."""
        return check_file(self._model_file(), self.tags.get("model_sha256"))

    def load_model(self) -> Pipeline:
        """The run's fitted model of rows as they are in data/, from its checked file."""
        return trained(self.served_model())

    def served_model(self) -> Pipeline:
        """The run's model of rows as the source has them, from its checked file."""
        return load_model(self._model_file(), self.tags.get("model_sha256"))

    def _model_file(self) -> Path:
        if "model_id" not in self.tags:
            raise PipelineError(f"run {self.run_id}: no model was logged; train again")
        from mlflow.exceptions import MlflowException

        with store_errors(self.store):
            try:
                location = self._client.get_logged_model(self.tags["model_id"]).artifact_location
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise PipelineError(f"run {self.run_id}: its model was deleted; train again") from None
        return _local_file(self._client, f"{location}/model.pkl")


def newest_run(
    client: MlflowClient, dataset: str, stage: str, model: str, data_sha256: str, params_sha256: str
) -> StoredRun | None:
    """The newest finished run of a model in a stage with these hashes; None where there is none."""
    wanted = {
        "dataset": dataset,
        "stage": stage,
        "model_type": model,
        "data_sha256": data_sha256,
        "params_sha256": params_sha256,
    }
    query = " and ".join([*(f"tags.{name} = '{value}'" for name, value in wanted.items()), FINISHED])
    runs = search_runs(client, experiments_of(client, dataset, stage), query)
    return StoredRun(client, runs[0]) if runs else None


def experiments_of(client: MlflowClient, dataset: str, stage: str) -> list[str]:
    """The ids of the experiments with a dataset's runs of a stage; studies used to be among the models' runs."""
    places = [True, False] if stage == "study" else [False]
    found = [experiment_id(client, dataset, search=search) for search in places]
    return [experiment for experiment in found if experiment is not None]


def run_of(client: MlflowClient, dataset: str, name: str, data_sha256: str, params_sha256: str) -> StoredRun:
    """The newest finished run of a model, by its name in the results; PipelineError: there is none."""
    run = newest_run(client, dataset, *stage_of(name), data_sha256, params_sha256)
    if run is None:
        raise PipelineError(f"{dataset}: no MLflow run of {name}; run `{command_of(dataset, name)}`")
    return run


def child_runs(client: MlflowClient, run: StoredRun) -> list[StoredRun]:
    """The runs under a parent run, oldest first."""
    found = search_runs(client, [run.experiment_id], f"tags.`mlflow.parentRunId` = '{run.run_id}'")
    return [StoredRun(client, child) for child in found[::-1]]


def search_runs(client: MlflowClient, experiments: Sequence[str], query: str) -> list[Run]:
    """All runs that a query finds in the experiments of those ids, newest first; none where there is no experiment."""
    runs: list[Run] = []
    token = None
    while experiments:
        with store_errors(client.tracking_uri):
            page = client.search_runs([*experiments], query, page_token=token, order_by=["attributes.start_time DESC"])
        runs += page
        token = page.token
        if not token:
            break
    return runs


def _local_file(client: MlflowClient, uri: str) -> Path:
    """The path of a file of the store; from a server it is fetched, into a folder that goes when this process ends."""
    path = local_path(uri)
    if path.exists():
        return path
    if database_of(client.tracking_uri) is not None:
        raise PipelineError(f"{path}: not found; the store {client.tracking_uri} is incomplete, train again")
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        folder = tempfile.mkdtemp(dir=_downloads().name)
        return Path(download_artifacts(uri, dst_path=folder, tracking_uri=client.tracking_uri))
    except (MlflowException, OSError) as error:
        words = f"{client.tracking_uri}: {uri} cannot be fetched ({one_line(error)}); start the server, or train again"
        raise PipelineError(without_passwords(words)) from None


@cache
def _downloads() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="mlflow-")
