"""The SQLite files of MLflow and Optuna: looked at before they are opened, and told of in one line where they fail."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pipeline.console import PipelineError
from pipeline.files import hold

# Optuna's databases, one a dataset: <dataset>.db
STUDIES = Path("mlruns/optuna")
# What SQLite and the system say, and what mends it.
FREE_SPACE, ALLOW, RESTORE = (
    "free some disk space and run it again",
    "make the file and its folder writable",
    "put a backup in its place, or move it away and run it again",
)
MENDS = {
    "is full": FREE_SPACE,
    "I/O error": FREE_SPACE,
    "No space left": FREE_SPACE,
    "File too large": FREE_SPACE,
    "quota exceeded": FREE_SPACE,
    "readonly": ALLOW,
    "unable to open": ALLOW,
    "Permission denied": ALLOW,
    "Read-only": ALLOW,
    "locked": "another program holds it; close that and run it again",
    "malformed": RESTORE,
    "not a database": RESTORE,
    "Max retries exceeded": "start the MLflow server and run it again",
}


def check_database(path: Path, kind: str, table: str) -> None:
    """Read a database through before a library opens it, which might change it.

    Args:
        kind: whose database it ought to be, for the message.
        table: a table that every such database has.

    Raises:
        PipelineError: it is no file, not readable and writable, no database, damaged, or some other program's.
    """
    if not path.is_file():
        raise PipelineError(f"{path}: is a folder or a device, not {kind}; move it away")
    with database_errors(path), path.open("r+b"), closing(sqlite3.connect(path)) as connection:
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if problem != "ok":
        raise PipelineError(f"{path}: is damaged ({_line(problem)}); {RESTORE}")
    if table not in tables:
        raise PipelineError(f"{path}: is not {kind}: it has no table {table!r}; move it away")


def create_database(path: Path, make: Callable[[Path], None]) -> None:
    """Let `make` build a database beside its place, then move it there: a library cannot go on with tables that are
    half made. Of several processes one makes it, and the others wait.

    Raises:
        PipelineError: the disk is full, or there is no permission.
    """
    with hold(path.with_name(f".{path.name}.lock"), f"another process is making {path}"), database_errors(path):
        if path.exists():
            return
        new = path.with_name(f".{path.name}.new")
        for left in path.parent.glob(f"{new.name}*"):
            left.unlink()
        make(new)
        os.replace(new, path)


@contextmanager
def database_errors(path: Path | str) -> Iterator[None]:
    """Turn what a database or the disk under it refuses into one line with the mend; a bug keeps its traceback.

    Raises:
        PipelineError: an error inside came from SQLite or from the operating system.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        words = _line(source_of(error, (sqlite3.DatabaseError, OSError)))
        mend = next((mend for sign, mend in MENDS.items() if sign in words), None)
        if mend is None:
            raise
        raise PipelineError(f"{path}: cannot be used ({words}); {mend}") from None


def source_of(error: BaseException | None, kinds: tuple[type[Exception], ...]) -> BaseException | None:
    """The first of an error and those that it was raised from that is of some kinds; None where there is none."""
    seen = 0
    while error is not None and seen < 20:
        if isinstance(error, kinds):
            return error
        error = error.__cause__ or error.__context__
        seen += 1
    return None


def _line(error: object) -> str:
    return " ".join(str(error).split())[:200]
