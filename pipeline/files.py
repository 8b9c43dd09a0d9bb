"""Files written whole or not at all, their hashes, and the lock that processes of this project share."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.console import PipelineError

TEMPORARY = ".writing-"
# A lock that is free again within this many seconds is not worth a line.
PATIENCE = 1.0


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it into place: whole or not at all.

    The temporary file bears the number of its process, and those of killed processes are removed on the way.
    PipelineError: the disk is full, or there is no permission.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f"{TEMPORARY}*"):
            pid = left.name.removeprefix(TEMPORARY).split("-")[0]
            if not (pid.isdecimal() and is_alive(int(pid))):
                left.unlink(missing_ok=True)
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise PipelineError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        # where even this fails, the reason is on its way already
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Add lines in one write, so that those of parallel runs do not mix. PipelineError: the file cannot be written."""
    size = path.stat().st_size if path.is_file() else 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            # a line that was cut off by a kill stays one of its own
            start = "\n" if size and _last_byte(path) != b"\n" else ""
            file.write(start + "".join(f"{line}\n" for line in lines))
    except OSError as error:
        # no half line stays where the disk was full
        with contextlib.suppress(OSError):
            os.truncate(path, size)
        raise PipelineError(f"{path}: cannot be written ({error.strerror})") from None


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read()


def write_json(path: Path, value: Any) -> None:
    """Strict JSON (no NaN), keys in the order given, newline at the end."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, made_by: str) -> Any:
    """A JSON file's value; PipelineError naming the command that makes it where it is missing or unreadable."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(f"{path}: not found; make it with `{made_by}`") from None
    except (OSError, ValueError, RecursionError) as error:
        raise PipelineError(f"{path}: cannot be read ({error}); make it again with `{made_by}`") from None


def earlier_models(path: Path, data_sha256: str, params_sha256: Mapping[str, str], made_by: str) -> dict[str, Any]:
    """The models in a metrics file that an earlier call made with the same data, and with the settings of the hash that
    `params_sha256` gives for each model; empty without one.
    """
    earlier = read_json(path, made_by) if path.exists() else {}
    if not isinstance(earlier, dict) or earlier.get("data_sha256") != data_sha256:
        return {}
    models = earlier.get("models")
    return {
        name: one
        for name, one in (models.items() if isinstance(models, dict) else ())
        if isinstance(one, dict) and one.get("params_sha256") == params_sha256.get(name, "")
    }


def remove_others(folder: Path, names: Collection[str]) -> None:
    """Remove the folders in a folder that have none of these names: those of models that are gone."""
    for former in folder.iterdir():
        if former.is_dir() and former.name not in names:
            shutil.rmtree(former)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def hold(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock file `path`; where another process holds it, print `busy` to stderr and wait. Not reentrant.
    PipelineError: the file cannot be made.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        try:
            held = lock.acquire(timeout=PATIENCE)
        except Timeout:
            print(f"{busy}; waiting", file=sys.stderr, flush=True)
            held = lock.acquire()
    except OSError as error:
        raise PipelineError(
            f"{path}: cannot be written ({error.strerror or error}); make its folder writable"
        ) from None
    with held:
        yield


def is_alive(pid: int) -> bool:
    """Whether there is a process of that number on this machine."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
