"""A worker of a Dask cluster in a search: it holds the objective, which every worker that joins gets once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from distributed import Client, Worker, WorkerPlugin, get_worker

from pipeline.cluster import TIMEOUT
from pipeline.search.trials import Objective, run_trial

NAME = "tabular-objective-{}"


class Held(WorkerPlugin):
    """The scheduler hands a plugin to each worker, also to those that come later."""

    def __init__(self, name: str, objective: Objective) -> None:
        self.name, self.objective = name, objective

    def setup(self, worker: Worker) -> None:
        """Nothing is to be set up; the worker keeps the plugin by its name."""


def begin(client: Client, objective: Objective) -> Callable[..., Any]:
    """Hand the objective of a client's search to the workers; returns `run_trial` with the one that they hold."""
    held = Held(NAME.format(client.id), objective)
    client.register_plugin(held)
    return partial(run_trial_there, held.name)


def end(client: Client) -> None:
    """Let the workers forget what `begin` has handed them."""

    def forget() -> None:
        with contextlib.suppress(Exception):
            client.unregister_worker_plugin(NAME.format(client.id))

    # beside this thread: a call to a scheduler that has just been lost may never come back
    forgetting = threading.Thread(target=forget, daemon=True)
    forgetting.start()
    forgetting.join(TIMEOUT)


def run_trial_there(name: str, *facts: Any) -> Any:
    """`run_trial` with the objective that this worker holds by that name."""
    held: Any = get_worker().plugins[name]
    return run_trial(held.objective, *facts)
