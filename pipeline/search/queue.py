"""The queue of trials: proposed in their order with a fixed lag, run here, by local workers, or on a Dask cluster.

With a lag of L, trial k knows exactly the results of trials 0 to k - L and the settings of those between, so the same
search is found again whatever the number of workers, and however quickly they come and go. At most L trials run at
once.
"""

from __future__ import annotations

import math
import multiprocessing
import pickle
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import optuna
from tqdm import tqdm

from pipeline.console import PipelineError
from pipeline.search import worker
from pipeline.search.study import progress, slot_of
from pipeline.search.trials import Objective, propose, run_trial

if TYPE_CHECKING:
    from distributed import Client


# A pool of processes that breaks more often than this without a trial in between is given up.
MOST_BREAKS = 3
# Where there is no terminal, the progress is a line every so many seconds.
BAR_SECONDS = 10.0
# Worker processes take seconds to start: a search that seems to end sooner than this runs in one process.
SECONDS_TO_START = 5.0


class InProcess(Executor):
    """An executor that runs a call in this process, when it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **options))
        except Exception as error:
            future.set_exception(error)
        return future


class Lines:
    """Where a progress bar is written that has no terminal: a line each time, not one over the other."""

    def write(self, text: str) -> None:
        if words := text.strip():
            print(words, flush=True)

    def flush(self) -> None: ...


def start_executor(workers: int, cluster: Client | None, objective: Objective) -> tuple[Executor, Callable[..., Any]]:
    """What runs trials (the cluster, so many processes of this machine, or this process), and what it is to run. The
    rows go to each worker once.
    """
    if cluster is not None:
        from pipeline.search import cluster_worker

        return cluster.get_executor(pure=False), cluster_worker.begin(cluster, objective)
    if workers == 1:
        return InProcess(), partial(run_trial, objective)
    # a model that was loaded has put the code that it brings, a part of this one, before it
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    facts = max(1, joblib.cpu_count() // workers), pickle.dumps(objective)
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=worker.begin, initargs=facts), worker.run_trial_here


def run_trials(
    kept: optuna.Study,
    objective: Objective,
    n_trials: int,
    timeout: float | None,
    lag: int,
    workers: int,
    cluster: Client | None,
    label: str,
    alone: bool = True,
) -> None:
    """Go on until `kept` holds the trials 0 to n_trials - 1 (complete, pruned or failed), or the time is up.

    A trial is kept when it is over, whole and in one transaction: a kill leaves no trace of the trial that it hits.
    `workers` processes run trials side by side, or the threads of the cluster, at most `lag` of them. Where
    this is the only search, not one of several in turn, there is a progress bar, and its first trial always ends.
    PipelineError: the search space is wrong, or worker processes keep dying.
    """
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    done = {slot_of(trial): trial for trial in kept.get_trials(deepcopy=False)}
    if done and alone:
        print(f"{label}: going on after {len(done)} finished trials", flush=True)
    before = sum(slot < n_trials for slot in done)
    workers = min(workers, lag)
    proposed: dict[int, optuna.trial.FrozenTrial] = {}
    running: dict[Future[Any], int] = {}
    # the first trial tells whether more processes pay
    (executor, run), breaks = start_executor(1, cluster, objective), 0
    at_once = 1 if cluster is None else lag

    def start(slot: int) -> None:
        known = [done[other] for other in range(slot - lag + 1)]
        if slot not in proposed:
            between = [done.get(other) or proposed[other] for other in range(max(0, slot - lag + 1), slot)]
            proposed[slot] = propose(objective, known, between, slot)
        try:
            seconds = math.inf if alone and slot == 0 else deadline - time.monotonic()
            future = executor.submit(run, known, proposed[slot], seconds)
        except BrokenExecutor as error:
            # a worker died since the last trial ended: told of where trials are collected
            future = Future()
            future.set_exception(error)
        running[future] = slot

    def collect() -> None:
        nonlocal executor, run, breaks, deadline
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            try:
                trial = future.result()
            except BrokenExecutor:
                breaks += 1
                if breaks > MOST_BREAKS:
                    words = "worker processes keep dying, for want of memory perhaps; finished trials are kept"
                    raise PipelineError(f"{label}: {words}, run it again with fewer --workers") from None
                bar.write(f"{label}: a worker process died; its trials run again")
                executor.shutdown()
                (executor, run), again = start_executor(workers, cluster, objective), sorted(running.values())
                running.clear()
                for slot in again:
                    start(slot)
                return
            slot = running.pop(future)
            if trial is None:
                deadline = -math.inf
                continue
            done[slot], breaks = trial, 0
            kept.add_trial(trial)
            bar.set_postfix_str(progress(kept.direction, list(done.values())), refresh=False)
            bar.update()

    terminal = sys.stdout.isatty()
    out, pause = (sys.stdout, 0.1) if terminal else (Lines(), BAR_SECONDS)
    looks: dict[str, Any] = {"desc": label, "unit": "trial", "file": out, "mininterval": pause, "miniters": 1}
    with tqdm(total=n_trials, initial=before, disable=not alone, **looks) as bar:
        try:
            # one by one: with a timeout there may be any number of them
            for number, slot in enumerate(slot for slot in range(n_trials) if slot not in done):
                while running and (
                    len(running) >= at_once or any(other not in done for other in range(slot - lag + 1))
                ):
                    collect()
                if (slot or not alone) and time.monotonic() >= deadline:
                    break
                started = time.monotonic()
                start(slot)
                if cluster is None and number == 0:
                    collect()
                    trials = n_trials - before - 1
                    left = min((time.monotonic() - started) * trials, deadline - time.monotonic())
                    if workers > 1 and left > SECONDS_TO_START:
                        (executor, run), at_once = start_executor(workers, cluster, objective), workers
            while running:
                collect()
        except BaseException:
            # nobody waits for the trials that still run
            for process in multiprocessing.active_children():
                process.terminate()
            raise
        finally:
            if cluster is None:
                executor.shutdown(cancel_futures=True)
            else:
                # what still runs there ends with the connection
                from pipeline.search import cluster_worker

                cluster_worker.end(cluster)
