"""Fits and trials on a Dask cluster: fits through joblib's backend, trials through Dask's executor."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import platform
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.console import PipelineError

if TYPE_CHECKING:
    from distributed import Client

Result = TypeVar("Result")
TIMEOUT = 8
# What an assessment depends on beside the code, and what a search does.
COMPUTING = ("scikit-learn", "numpy", "scipy", "pandas", "skrub")
LIBRARIES = (*COMPUTING, "joblib", "optuna")


@contextlib.contextmanager
def connect(address: str | None) -> Iterator[Client | None]:
    """A client of the scheduler at an address (tcp://host:8786); None without one. PipelineError: the scheduler
    does not answer or is lost on the way, it has no workers, or one of them has other code or versions than this
    process.
    """
    if address is None:
        yield None
        return
    from distributed import Client
    from distributed.comm import CommClosedError

    # what happens to the cluster is told below, in a line
    for name in ("distributed", "distributed.client", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        # a task of many rows is large on purpose
        warnings.filterwarnings("ignore", message="Sending large graph")
        try:
            client = Client(address, timeout=TIMEOUT)
        except (OSError, ValueError) as error:
            words = f"no Dask scheduler answers ({type(error).__name__}); start one with `dask scheduler`"
            raise PipelineError(f"{address}: {words}") from None
        try:
            check_code(client, address)
            yield client
        except PipelineError:
            raise
        except Exception as error:
            # a call on the broken connection may fail before the client knows that it is broken
            if client.status == "running" and not isinstance(error, CommClosedError):
                raise
            raise PipelineError(f"{address}: the Dask scheduler was lost; start it, and the same command") from None
        finally:
            client.close(timeout=TIMEOUT)


def check_code(client: Client, address: str) -> None:
    """Check that the cluster can work. PipelineError: there are no workers, or one or the scheduler has other code or
    versions than this process.
    """
    ours = code_and_versions()
    start = f"start it in a checkout of this commit with `PYTHONPATH=. dask worker {address}` (or `dask scheduler`)"
    # the scheduler unpacks the tasks too
    try:
        found = {address: client.run_on_scheduler(code_and_versions)}
    except ImportError as error:
        found = {address: error}
    workers = client.run(code_and_versions, on_error="return")
    if not workers:
        raise PipelineError(f"{address}: the scheduler has no workers; {start}")
    for worker, theirs in (found | workers).items():
        if isinstance(theirs, Exception):
            raise PipelineError(f"{worker}: cannot import this project ({theirs}); {start}")
        different = [
            f"{name} {theirs.get(name)}, here {value}" for name, value in ours.items() if theirs[name] != value
        ]
        if different:
            raise PipelineError(f"{worker}: has other code or versions ({'; '.join(different)}); {start}")


def code_and_versions() -> dict[str, str]:
    """A hash of the project's code in this process, and the versions of what it computes with."""
    from importlib.metadata import version

    root = Path(__file__).resolve().parent.parent
    files = sorted([*root.glob("*.py"), *(root / "pipeline").rglob("*.py")])
    code = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    return {"code": code, "Python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}


def fits_on(client: Client | None) -> AbstractContextManager[Any]:
    """What is handed to joblib inside goes to the cluster, if there is one."""
    from joblib import parallel_config

    return contextlib.nullcontext() if client is None else parallel_config(backend="dask", client=client)


def side_by_side(work: Callable[..., Result], items: Sequence[Any], client: Client | None) -> Iterator[Result]:
    """The results of `work` for each item in their order: one after the other here, or at once where there is a
    cluster, which then takes what `work` hands to joblib.
    """
    if client is None or not items:
        yield from map(work, items)
        return
    from concurrent.futures import ThreadPoolExecutor

    def spread(item: Any) -> Result:
        with fits_on(client):
            return work(item)

    with ThreadPoolExecutor(len(items)) as threads:
        yield from threads.map(spread, items)
