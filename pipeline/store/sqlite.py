"""The SQLite files of MLflow and Optuna: looked at before they are opened, and told of in one line where they fail."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pipeline.console import PipelineError, one_line
from pipeline.files import hold


def _store() -> Path:
    """mlruns/ in this folder, or in that of the project where this one is DVC's, for an experiment with --temp or
    --queue, and goes when that ends.
    """
    here = Path.cwd()
    for folder in here.parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            # the project may be a folder below DVC's
            copy = next(one for one in (here, *here.parents) if (one / ".dvc").is_dir())
            return folder.parents[2] / here.relative_to(copy) / "mlruns"
    return Path("mlruns")


STORE = _store()
# Optuna's databases, one a dataset: <dataset>.db
STUDIES = STORE / "optuna"
# Seconds that a database which another program holds is waited for.
LOCK_TIMEOUT = 600
ALLOW = "make the file and its folder writable"
RESTORE = "put a backup in its place, or move it away and run it again"
# What SQLite, the system and MLflow say, and what mends it.
MENDS = {
    "is full|I/O error|No space left|File too large|quota exceeded": "free some disk space and run it again",
    "readonly|unable to open|Permission denied|Read-only": ALLOW,
    "locked": "another program holds it; close that and run it again",
    "malformed|not a database": RESTORE,
    "Max retries exceeded": "start the MLflow server and run it again",
}


def check_database(path: Path, kind: str, table: str) -> None:
    """Read a database through before a library opens it, which might change it. PipelineError: it is no file, not
    readable and writable, damaged, or no database of that `kind`, every one of which has the `table`.
    """
    if not path.is_file():
        raise PipelineError(f"{path}: is a folder or a device, not {kind}; move it away")
    with database_errors(path), closing(sqlite3.connect(path)) as connection:
        # asked for and not tried: closing a file of one's own frees the locks of the process's connections to it, and
        # another process would delete the log that they write to
        if not os.access(path, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", [table]).fetchone()
    if problem != "ok":
        raise PipelineError(f"{path}: is damaged ({one_line(problem)}); {RESTORE}")
    if found is None:
        raise PipelineError(f"{path}: is not {kind}: it has no table {table!r}; move it away")


def create_database(path: Path, make: Callable[[Path], None]) -> None:
    """Let `make` build a database beside its place, then move it there: a library cannot go on with tables that are
    half made. So its thousand steps need not reach the disk one by one, which takes half the time; the whole does. Of
    several processes one makes it, and the others wait. PipelineError: as database_errors.
    """
    with hold(path.with_name(f".{path.name}.lock"), f"another process is making {path}"), database_errors(path):
        if path.exists():
            return
        new = path.with_name(f".{path.name}.new")
        for left in path.parent.glob(f"{new.name}*"):
            left.unlink()
        with _without_syncs():
            make(new)
        with new.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(new, path)


@contextmanager
def _without_syncs() -> Iterator[None]:
    """Connections that SQLAlchemy opens inside do not wait for the disk."""
    from sqlalchemy import Engine, event

    def leave_to_system(connection: sqlite3.Connection, record: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", leave_to_system)
    try:
        yield
    finally:
        event.remove(Engine, "connect", leave_to_system)


def close_at_exit() -> None:
    """Let connections that SQLAlchemy opens from now on be closed before the interpreter ends, which does not clear up
    after exit_code: of one that stays open SQLite's log is left beside the database.
    """
    from sqlalchemy import Engine, event

    if not event.contains(Engine, "connect", _close_with):
        event.listen(Engine, "connect", _close_with)


def _close_with(connection: sqlite3.Connection, record: object) -> None:
    """Close a connection when the record that its pool has of it goes, or at the end of the process."""
    weakref.finalize(record, connection.close)


def wait_until_writable(path: Path) -> None:
    """Wait for a program that holds the database, such as a backup; MLflow itself would give up within seconds."""
    for seconds in (1, LOCK_TIMEOUT):
        try:
            with closing(sqlite3.connect(path, timeout=seconds, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or seconds == LOCK_TIMEOUT:
                raise
        print(f"{path}: another program holds it; waiting", file=sys.stderr, flush=True)


@contextmanager
def database_errors(path: Path | str) -> Iterator[None]:
    """Turn what SQLite or the system refuses into a PipelineError with the mend; a bug keeps its traceback."""
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        words = one_line(source_of(error, (sqlite3.DatabaseError, OSError)))
        mend = next((mend for signs, mend in MENDS.items() if re.search(signs, words)), None)
        if mend is None:
            raise
        raise PipelineError(f"{path}: cannot be used ({words}); {mend}") from None


def source_of(error: BaseException | None, kinds: tuple[type[Exception], ...]) -> BaseException | None:
    """The first of an error and those that it was raised from that is of some kinds; None where there is none."""
    for _ in range(20):
        if error is None or isinstance(error, kinds):
            return error
        error = error.__cause__ or error.__context__
    return None
