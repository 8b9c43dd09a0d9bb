"""A worker process of a search: it sets its limits, which libraries read when loaded, before it imports any."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from typing import Any

_objective: Any = None


def begin(threads: int, objective: bytes) -> None:
    """Leave Ctrl-C to the parent, keep to a part of the cores, end with the parent, and hold the objective, pickled,
    whose rows are sent once.
    """
    global _objective
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), str(threads))
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    _objective = pickle.loads(objective)


def run_trial_here(*facts: Any) -> Any:
    """`run_trial` with the objective that this process holds."""
    from pipeline.search.trials import run_trial

    return run_trial(_objective, *facts)
