"""Where a run comes from: user, script and git commit, as the tags that MLflow shows."""

from __future__ import annotations

import getpass
import subprocess
import sys
from functools import cache
from pathlib import Path

# What the scripts write into the working tree themselves: no change of code or settings.
WRITTEN = (":!metrics", ":!dvc.lock")


@cache
def source_tags() -> dict[str, str]:
    """MLflow's tags of user and script, and in a git repository of its commit and whether tracked files differ from it,
    at the first call in this process.
    """
    tags = {"mlflow.source.name": Path(sys.argv[0]).name or "python", "mlflow.source.type": "LOCAL"}
    try:
        tags["mlflow.user"] = getpass.getuser()
    except (KeyError, OSError):
        # a container may run under a number that has no name
        tags["mlflow.user"] = "unknown"
    commit = _git("rev-parse", "HEAD")
    if commit:
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *WRITTEN)
        tags |= {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": "false" if changed == "" else "true"}
        if changed:
            # MLflow's pages do not show its own tag
            tags["git"] = "uncommitted changes"
    return tags


def current_commit() -> str:
    """The hash of the checked out commit; `-` outside a repository."""
    return _git("rev-parse", "HEAD") or "-"


def _git(*words: str) -> str | None:
    """What git answers; None where it refuses, or where there is no git."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
