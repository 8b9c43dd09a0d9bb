"""Addresses of artifacts. A database holds absolute ones, which are mended where its store was moved or copied."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlparse

from pipeline.store.sqlite import LOCK_TIMEOUT

# MLflow's columns that hold addresses of artifacts.
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def local_path(uri: str) -> Path:
    """The path that the address of an artifact has on this machine."""
    return Path(unquote(urlparse(uri).path))


def mend_addresses(database: Path, artifacts: str) -> None:
    """Let the addresses of artifacts lead to the folder of that name beside the database, in one transaction, and tell
    of it in a line. Those of an experiment whose files lie elsewhere on purpose stay.
    """
    here = (database.parent / artifacts).resolve()
    with closing(sqlite3.connect(database, timeout=LOCK_TIMEOUT)) as connection, connection:
        former = set()
        for name, location in connection.execute("SELECT name, artifact_location FROM experiments"):
            folder = location.removesuffix(f"/{name}")
            # in a copy the old folder is still there too
            known = (here / name).is_dir() or not local_path(location).is_dir()
            if folder.endswith(f"/{artifacts}") and folder != here.as_uri() and known:
                former.add(folder)
        for folder in former:
            for table, column in COLUMNS:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (here.as_uri(), len(folder) + 1, len(folder) + 1, f"{folder}/"),
                )
    for folder in sorted(former):
        print(f"{database}: the store was at {folder} before; its addresses are mended", file=sys.stderr, flush=True)
