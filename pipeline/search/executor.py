"""Who runs the trials: this process, local workers, or a Dask cluster."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.search.shared_study import (
    OutOfTimeError,
    SharedStudy,
    finished,
    in_memory,
    progress,
    slot_of,
    work_in_processes,
    work_on,
)
from pipeline.search.space import search_space
from pipeline.search.trials import Objective, make_objective, run_trial
from pipeline.settings import Config, Dataset
from pipeline.tables.split import Parts

if TYPE_CHECKING:
    import optuna
    from distributed import Client


def run_trials(
    kept: optuna.Study,
    objective: Objective,
    n_trials: int,
    timeout: float | None,
    config: Config,
    dataset: Dataset,
    cluster: Client | None = None,
) -> None:
    """Go on until `kept` holds n_trials (complete, pruned or failed), or the time is up.

    A trial runs in memory and is kept when it is over, whole and in one transaction: a kill leaves no trace of the
    trial that it hits.
    """
    from tqdm import tqdm

    deadline = math.inf if timeout is None else time.monotonic() + timeout
    study = in_memory(kept.study_name, finished(kept))
    done = [slot_of(trial) for trial in study.trials]
    if done:
        print(f"{dataset.name}: going on after {len(done)} finished trials", flush=True)
    with tqdm(
        total=n_trials, initial=min(len(done), n_trials), desc=dataset.name, unit="trial", file=sys.stdout
    ) as bar:
        slots = sorted(set(range(n_trials)) - set(done))
        run = trials_one_by_one if cluster is None else partial(trials_side_by_side, cluster)
        for trial in run(objective, config, deadline, study, slots):
            kept.add_trial(trial)
            bar.update()
            bar.set_postfix_str(progress(study.get_trials(deepcopy=False)))


def trials_one_by_one(
    objective: Objective, config: Config, deadline: float, study: optuna.Study, slots: Sequence[int]
) -> Iterator[optuna.trial.FrozenTrial]:
    """Each trial as it ends, until the time is up; the study holds them too."""
    for slot in slots:
        if slot and time.monotonic() >= deadline:
            return
        try:
            yield run_trial(objective, config, deadline, study, slot)
        except OutOfTimeError:
            return


def trials_side_by_side(
    cluster: Client, objective: Objective, config: Config, deadline: float, study: optuna.Study, slots: Sequence[int]
) -> Iterator[optuna.trial.FrozenTrial]:
    """Each trial as it ends, as many at once as the cluster has threads; the study holds them too.

    A trial knows those that were over when it began. It depends on nothing else, so Dask runs it again where its worker
    is lost.
    """
    from distributed import wait

    waiting, running = list(slots), set[Any]()
    while True:
        room = max(1, sum(cluster.nthreads().values()))
        while waiting and len(running) < room and (waiting[0] == 0 or time.monotonic() < deadline):
            known, seconds = study.get_trials(deepcopy=False), deadline - time.monotonic()
            running.add(cluster.submit(run_trial_apart, objective, config, seconds, known, waiting.pop(0), pure=False))
        if not running:
            return
        for future in wait(running, return_when="FIRST_COMPLETED").done:
            running.discard(future)
            trial = future.result()
            if trial is not None:
                study.add_trial(trial)
                yield trial


def run_trial_apart(
    objective: Objective, config: Config, seconds: float, known: Sequence[optuna.trial.FrozenTrial], slot: int
) -> optuna.trial.FrozenTrial | None:
    """The trial of a slot in a worker of a cluster, after those that are known; None where the seconds are over."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    study.add_trials(known)
    try:
        return run_trial(objective, config, time.monotonic() + seconds, study, slot)
    except OutOfTimeError:
        return None


def run_together(
    shared: SharedStudy,
    dataset: Dataset,
    config: Config,
    model: str,
    parts: Parts,
    n_trials: int,
    timeout: float | None,
    workers: int,
) -> None:
    """Help with the trials of a shared study, in this process or in so many `workers`, until there are n_trials or the
    time is up. Trials begin as in run_trials, but know only those that were over by then; so the order in which
    processes come decides what is proposed.

    Raises:
        PipelineError: a worker was refused something, or all workers were killed.
    """
    if workers > 1:
        facts = (dataset, config, model, n_trials, timeout)
        work_in_processes(shared, workers, help_search, facts, n_trials, dataset.name)
        return
    objective = make_objective(dataset, config, model, parts, search_space(dataset, config, model))
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    work_on(shared, partial(run_trial, objective, config, deadline), n_trials, deadline, dataset.name)


def help_search(
    shared: SharedStudy, dataset: Dataset, config: Config, model: str, n_trials: int, timeout: float | None
) -> None:
    """What each worker process does."""
    from pipeline.tables.split import load_parts

    run_together(shared, dataset, config, model, load_parts(dataset, config), n_trials, timeout, workers=1)
