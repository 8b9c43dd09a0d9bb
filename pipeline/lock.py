"""A file lock that says when it waits.

    python -m pipeline.lock mlruns/.pipeline dvc repro

runs a command while the lock is held, as flock(1) does on Linux alone. The system drops a lock with the process that
holds it, so a killed process leaves none behind; the empty file stays.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.config import PipelineError

# A lock that is free again within this many seconds is not worth a line.
PATIENCE = 1.0


@contextmanager
def hold(path: Path, busy: str) -> Iterator[int]:
    """Hold the lock file `path`; where another process holds it, print `busy` to stderr and wait. Not reentrant.

    Raises:
        PipelineError: the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise PipelineError(f"{path}: cannot be written ({error.strerror}); make its folder writable") from None
    try:
        _take(handle, busy)
        yield handle
    finally:
        os.close(handle)


def _take(handle: int, busy: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return
    print(f"{busy}; waiting", file=sys.stderr, flush=True)
    fcntl.flock(handle, fcntl.LOCK_EX)


def is_alive(pid: int) -> bool:
    """Whether there is a process of that number on this machine."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def main(argv: Sequence[str] | None = None) -> int:
    path, *command = sys.argv[1:] if argv is None else argv
    try:
        with hold(Path(path), "another pipeline is running in this folder") as handle:
            # the command takes the place of this process, and the lock with it
            os.set_inheritable(handle, True)
            os.execvp(command[0], command)
    except (PipelineError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
