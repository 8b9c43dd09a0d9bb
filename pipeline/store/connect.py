"""A connection to the MLflow store, its lock, and its faults in one line."""

from __future__ import annotations

import logging
import math
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.console import PipelineError, without_passwords
from pipeline.files import hold
from pipeline.store.sqlite import check_database, create_database, database_errors, source_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

STORE = Path("mlruns")
DATABASE = STORE / "db.sqlite"
LOCK_TIMEOUT = 600
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


def _is_away(error: BaseException | None) -> bool:
    """Whether a server did not answer, or could not."""
    from requests.exceptions import RequestException

    return source_of(error, (RequestException,)) is not None


def default_uri() -> str:
    """MLFLOW_TRACKING_URI, or the project's own sqlite store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{DATABASE.resolve()}"


def place() -> str:
    """Where runs go, for messages."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    return without_passwords(uri) if uri else f"{STORE}/"


def open_store(uri: str | None = None, create: bool = False) -> MlflowClient:
    """A client of the store; `create` makes the project's own where there is none.

    Raises:
        PipelineError: there is no store, or it is damaged, read-only, of another version or not reachable.
    """
    uri = uri or default_uri()
    database = database_of(uri)
    if database is not None and not database.exists() and not create:
        raise PipelineError(f"{database}: no MLflow store yet; make it with `python train.py`")
    if database is not None and database.exists():
        check_database(database, "an MLflow store", "experiments")
    # set before the import: its handlers announce migrations and the pickle format on every start
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    import mlflow
    from mlflow.exceptions import MlflowException

    for noisy in ("mlflow.sklearn", "mlflow.store.db.utils"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    with store_errors(uri):
        if database is not None and not database.exists():
            create_database(database, _make_tables)
        elif database is not None:
            _check_version(database)
        try:
            client = mlflow.MlflowClient(uri)
            with _few_retries():
                client.search_experiments(max_results=1)
        except MlflowException as error:
            if database is not None:
                raise
            words = "it does not answer" if _is_away(error) else " ".join(str(error).split())[:200]
            shown = without_passwords(uri)
            raise PipelineError(
                f"{shown}: the MLflow store cannot be used ({words}); mend the address, or start the server"
            ) from None
    if database is None:
        _tell_of_waiting()
    return client


@contextmanager
def _few_retries() -> Iterator[None]:
    """A server that is not there at the start is told of within seconds; later, MLflow tries for four minutes."""
    before = os.environ.get(RETRIES)
    os.environ.setdefault(RETRIES, "1")
    try:
        yield
    finally:
        if before is None:
            del os.environ[RETRIES]


@cache
def _tell_of_waiting() -> None:
    logging.getLogger("urllib3.connectionpool").addHandler(_TellOfWaiting(logging.WARNING))


class _TellOfWaiting(logging.Handler):
    """One line where MLflow begins to wait for its server."""

    told = -math.inf

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() - self.told > LOCK_TIMEOUT:
            print("the MLflow server does not answer; waiting", file=sys.stderr, flush=True)
        self.told = time.monotonic()


def database_of(uri: str) -> Path | None:
    """The file of a store that is a SQLite database."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def _make_tables(database: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(f"sqlite:///{database}", str(database.parent)).engine.dispose()
    with closing(sqlite3.connect(database)) as connection:
        # readers and a writer do not wait for each other; the mode stays in the file
        connection.execute("PRAGMA journal_mode=WAL")


def _check_version(database: Path) -> None:
    import mlflow
    from alembic.script import ScriptDirectory

    with closing(sqlite3.connect(database)) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    scripts = ScriptDirectory(os.path.join(mlflow.__path__[0], "store", "db_migrations"))
    if row is not None and row[0] == scripts.get_current_head():
        return
    if row is not None and row[0] in {script.revision for script in scripts.walk_revisions()}:
        mend = f"copy it, then run `mlflow db upgrade sqlite:///{database}`"
    else:
        mend = "install the MLflow that made it, or move the file away and run the pipeline again"
    version = f"of schema {row[0]}" if row else "of no known schema"
    raise PipelineError(
        f"{database}: is {version}, MLflow {mlflow.__version__} needs {scripts.get_current_head()}; {mend}"
    )


def store_lock() -> AbstractContextManager[None]:
    """Only one process writes to the project's store and metrics at a time; the others wait."""
    return hold(STORE / ".lock", f"another process is writing to {STORE}/")


@contextmanager
def locked_store(client: MlflowClient) -> Iterator[None]:
    """What is read and changed inside is one step for other processes of this project on this machine.

    Raises:
        PipelineError: the store or the disk refuses.
    """
    with store_lock(), store_errors(str(client.tracking_uri)):
        yield


def store_errors(uri: str) -> AbstractContextManager[None]:
    """As database_errors, for a store of any kind."""
    return database_errors(database_of(uri) or without_passwords(uri))
