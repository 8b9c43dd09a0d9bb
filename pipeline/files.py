"""Files written whole or not at all, their hashes, and the lock that processes of this project share."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.console import PipelineError

if TYPE_CHECKING:
    pass

TEMPORARY = ".writing-"
# A lock that is free again within this many seconds is not worth a line.
PATIENCE = 1.0


def write_atomic(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it into place: whole or not at all.

    The temporary file bears the number of its process, and the ones of killed processes are removed on the way.

    Raises:
        PipelineError: the disk is full, or there is no permission.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in abandoned_files(path.parent):
            left.unlink(missing_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise PipelineError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        # where even this fails, the reason is on its way already
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def abandoned_files(folder: Path) -> list[Path]:
    """Temporary files in a folder whose process is no more."""
    found = [(path, path.name.removeprefix(TEMPORARY).split("-")[0]) for path in folder.glob(f"{TEMPORARY}*")]
    return [path for path, pid in found if not (pid.isdecimal() and is_alive(int(pid)))]


def write_text(path: Path, text: str) -> None:
    write_atomic(path, lambda temporary: _write(temporary, text))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Strict JSON (no NaN), keys in the order given, newline at the end."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, made_by: str) -> Any:
    """A JSON file's value; PipelineError naming the command that makes it where it is missing or unreadable."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(f"{path}: not found; make it with `{made_by}`") from None
    except (OSError, ValueError) as error:
        raise PipelineError(f"{path}: cannot be read ({error}); make it again with `{made_by}`") from None


def earlier_models(path: Path, hashes: Mapping[str, str], made_by: str) -> dict[str, Any]:
    """The models in a metrics file that an earlier call made with the same data and settings; empty without one."""
    if not path.exists():
        return {}
    earlier = read_json(path, made_by)
    return earlier["models"] if all(earlier.get(key) == value for key, value in hashes.items()) else {}


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
