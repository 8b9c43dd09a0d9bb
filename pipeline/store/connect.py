"""Open the MLflow store, a SQLite database or a server; the lock of its writers, and a dataset's experiment."""

from __future__ import annotations

import logging
import math
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.console import PipelineError, one_line, without_passwords
from pipeline.files import hold
from pipeline.store.addresses import mend_addresses
from pipeline.store.sqlite import (
    LOCK_TIMEOUT,
    STORE,
    check_database,
    close_at_exit,
    create_database,
    database_errors,
    source_of,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE, ARTIFACTS = STORE / "db.sqlite", STORE / "artifacts"
# Tags of an experiment: MLflow shows it as model training, not as traces of a language model.
KIND = {"mlflow.experimentKind": "custom_model_development"}
# By itself MLflow tries for four minutes, and waits two for each answer: too long where a script only begins.
FIRST_REQUEST = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# what MLflow prints of each run and each file
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


def open_store(uri: str | None = None, create: bool = False) -> MlflowClient:
    """A client of the store: MLFLOW_TRACKING_URI or the project's own, which `create` makes where there is none.
    PipelineError: there is no store, or it is damaged, read-only, of another version or not reachable.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DATABASE.resolve()}"
    database = database_of(uri)
    if database is not None:
        if database.exists():
            check_database(database, "an MLflow store", "experiments")
        elif not create:
            raise PipelineError(f"{database}: no MLflow store yet; make it with `python train.py`")
    # set before the import: its handlers announce migrations and the pickle format on every start
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    import mlflow

    for noisy in ("mlflow.sklearn", "mlflow.store.db.utils", "mlflow.utils.environment"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    close_at_exit()
    with store_errors(uri):
        if database is None:
            _check_server(uri)
        elif database.exists():
            _check_schema(database)
            mend_addresses(database, ARTIFACTS.name)
        else:
            create_database(database, _make_tables)
        return mlflow.MlflowClient(uri)


def experiment_name(dataset: str, search: bool = False) -> str:
    """The experiment that a dataset's runs go to: MLflow's own setting MLFLOW_EXPERIMENT_NAME, or the dataset's name.
    Studies and their trials have one of their own, because MLflow shows the newest hundred runs, which would be trials
    alone.
    """
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or dataset
    return f"{name}.trials" if search else name


def experiment_id(client: MlflowClient, dataset: str, create: bool = False, search: bool = False) -> str | None:
    """The id of a dataset's experiment; None where there is none yet, unless `create` makes it."""
    from mlflow.exceptions import MlflowException

    name = experiment_name(dataset, search)
    found = client.get_experiment_by_name(name)
    if found is not None:
        if create and not KIND.items() <= found.tags.items():
            for tag, value in KIND.items():
                client.set_experiment_tag(found.experiment_id, tag, value)
        return str(found.experiment_id)
    if not create:
        return None
    # a server has a place of its own for artifacts
    location = (ARTIFACTS / name).resolve().as_uri() if database_of(client.tracking_uri) else None
    try:
        return client.create_experiment(name, location, tags=KIND)
    except MlflowException as error:
        # another machine came first, or the answer to a request was lost
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return experiment_id(client, dataset, create, search)


def place() -> str:
    """Where runs go, for messages."""
    return without_passwords(os.environ.get("MLFLOW_TRACKING_URI") or f"{STORE}/")


def database_of(uri: str) -> Path | None:
    """The file of a store that is an SQLite database; None for a server."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def store_lock() -> AbstractContextManager[None]:
    """Only one process writes to the project's store and metrics at a time; the others wait."""
    return hold(STORE / ".lock", f"another process is writing to {STORE}/")


@contextmanager
def locked_store(client: MlflowClient) -> Iterator[None]:
    """What is done inside is one step for others in this folder. PipelineError: the store or the disk refuses."""
    with store_lock(), store_errors(client.tracking_uri):
        yield


def store_errors(uri: str) -> AbstractContextManager[None]:
    """As database_errors, for a store of any kind."""
    return database_errors(database_of(uri) or without_passwords(uri))


def _make_tables(database: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(f"sqlite:///{database}", str(database.parent)).engine.dispose()
    with closing(sqlite3.connect(database)) as connection:
        # readers and a writer do not wait for each other; the mode stays in the file
        connection.execute("PRAGMA journal_mode=WAL")


def _check_schema(database: Path) -> None:
    """MLflow would migrate an older schema without a copy or a word, and cannot go on where it was killed midway."""
    import mlflow
    from mlflow.store.db.utils import _get_latest_schema_revision

    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if found != (_get_latest_schema_revision(),):
        raise PipelineError(
            f"{database}: was made by another MLflow than {mlflow.__version__}; install that one, or, where it is the "
            f"older one, copy the file and run `mlflow db upgrade sqlite:///{database}`"
        )


def _check_server(uri: str) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    own = {name: value for name, value in FIRST_REQUEST.items() if name not in os.environ}
    os.environ.update(own)
    try:
        MlflowClient(uri).search_experiments(max_results=1)
    except MlflowException as error:
        away = source_of(error, (RequestException,)) is not None
        words = f"{uri}: the MLflow store cannot be used ({'it does not answer' if away else one_line(error)})"
        raise PipelineError(f"{without_passwords(words)}; mend the address, or start the server") from None
    finally:
        for name in own:
            del os.environ[name]
    logging.getLogger("urllib3.connectionpool").handlers = [_TellOfWaiting(logging.WARNING)]


class _TellOfWaiting(logging.Handler):
    """One line where MLflow begins to wait for its server."""

    told = -math.inf

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() - self.told > LOCK_TIMEOUT:
            print("the MLflow server does not answer; waiting", file=sys.stderr, flush=True)
        self.told = time.monotonic()
