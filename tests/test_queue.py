"""The queue of trials: what a trial knows, whoever runs it; workers that die, and parents that do."""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import psutil
import pytest
import yaml
from conftest import PARAMS, ROOT
from servers import wait_until

import tune_hyperparameters as tune
from pipeline.console import PipelineError
from pipeline.search import queue
from pipeline.search.study import in_memory, slot_of
from pipeline.search.trials import Objective, run_trial

DATABASE = Path("mlruns/optuna/customers.db")
CLOCKS = ["datetime_start", "datetime_complete", "duration"]


@pytest.fixture
def objective(project: Path, monkeypatch: pytest.MonkeyPatch) -> Objective:
    """The objective of the forest's search, taken from a search of no trials."""
    taken: list[Any] = []
    monkeypatch.setattr(queue, "run_trials", lambda kept, objective, *rest: taken.append(objective) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tune.main(["--dataset", "customers"])
    monkeypatch.undo()
    os.chdir(project)
    return taken[0]


def search(objective: Objective, trials: int, lag: int) -> list[tuple[Any, ...]]:
    """Settings, values and states of a search, in its order."""
    kept = in_memory("kept", "accuracy", [])
    queue.run_trials(kept, objective, trials, None, lag, lag, None, "customers")
    found = sorted(kept.trials, key=slot_of)
    assert [slot_of(trial) for trial in found] == list(range(trials))
    return [(trial.params, trial.intermediate_values, trial.state, trial.value) for trial in found]


def test_a_trial_knows_the_results_before_the_lag_and_the_settings_of_the_others(
    objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[tuple[list[int], list[int]]] = []
    propose = queue.propose

    def watched(objective: Objective, results: Any, settings: Any, slot: int) -> Any:
        known.append(([slot_of(trial) for trial in results], [slot_of(trial) for trial in settings]))
        return propose(objective, results, settings, slot)

    monkeypatch.setattr(queue, "propose", watched)
    search(objective, 5, lag=3)
    assert known == [([], []), ([], [0]), ([], [0, 1]), ([0], [1, 2]), ([0, 1], [2, 3])]


def test_a_search_is_the_same_in_whatever_order_its_trials_end(
    objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = search(objective, 9, lag=3)
    rng = random.Random(0)

    def some_time_later(*facts: Any) -> Any:
        time.sleep(rng.random() / 5)
        return run_trial(*facts)

    monkeypatch.setattr(
        queue,
        "start_executor",
        lambda *facts: (ThreadPoolExecutor(3), partial(some_time_later, objective)),
    )
    assert search(objective, 9, lag=3) == alone
    # another lag is another search
    assert search(objective, 9, lag=1) != alone


def test_a_search_goes_on_with_the_lag_that_it_began_with(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--dataset", "customers", "--n-trials"]
    assert tune.main([*words, "3"]) == tune.main([*words, "5", "--workers", "2"]) == 0
    assert "customers forest: this search began with 1 trials at once, and goes on so" in capsys.readouterr().out
    found = Path("reports/customers/tuning/forest/trials.csv").read_text()
    shutil.rmtree("mlruns")
    assert tune.main([*words, "5"]) == 0
    again = pd.read_csv("reports/customers/tuning/forest/trials.csv")
    pd.testing.assert_frame_equal(again.drop(columns=CLOCKS), pd.read_csv(io.StringIO(found)).drop(columns=CLOCKS))


def test_a_worker_limits_its_threads_before_libraries_are_loaded() -> None:
    heavy = "numpy", "sklearn", "joblib", "optuna", "threadpoolctl"
    code = f"import sys, pipeline.search.worker; print(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class Breaking(Executor):
    """Breaks at its n-th call, with all that runs; `at_once`: before the call is taken."""

    def __init__(self, calls: int, at_once: bool = False) -> None:
        self.calls, self.at_once = calls, at_once

    def submit(self, fn: Any, /, *args: Any, **options: Any) -> Future[Any]:
        self.calls -= 1
        future: Future[Any] = Future()
        if self.calls <= 0 and self.at_once:
            raise BrokenExecutor
        if self.calls <= 0:
            future.set_exception(BrokenExecutor())
        else:
            future.set_result(fn(*args))
        return future


def test_trials_of_a_pool_that_breaks_run_again_and_one_that_goes_on_breaking_is_given_up(
    objective: Objective, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = search(objective, 6, lag=2)
    monkeypatch.setattr(queue, "start_executor", lambda *facts: (Breaking(3), partial(run_trial, objective)))
    assert search(objective, 6, lag=2) == alone
    assert "a worker process died; its trials run again" in capsys.readouterr().out
    monkeypatch.setattr(
        queue, "start_executor", lambda *facts: (Breaking(3, at_once=True), partial(run_trial, objective))
    )
    assert search(objective, 6, lag=2) == alone
    monkeypatch.setattr(queue, "start_executor", lambda *facts: (Breaking(1), partial(run_trial, objective)))
    with pytest.raises(PipelineError, match="worker processes keep dying"):
        search(objective, 6, lag=2)


def table_of_trials() -> pd.DataFrame:
    return pd.read_csv("reports/customers/tuning/forest/trials.csv").drop(columns=CLOCKS)


def kept_trials() -> int:
    storage = f"sqlite:///{DATABASE}"
    return sum(study.n_trials for study in optuna.get_all_study_summaries(storage)) if DATABASE.exists() else 0


@pytest.mark.slow
def test_workers_that_are_killed_and_stopped_searches_change_nothing(project: Path) -> None:
    # trials of about a second, so that there is a middle in which to kill
    spaces = {"forest": {"n_estimators": [900, 1500], "max_depth": [2, 8], "max_features": [0.2, 1.0]}}
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "search_spaces": spaces}, sort_keys=False))
    words = [sys.executable, str(ROOT / "tune_hyperparameters.py"), "--dataset", "customers", "--workers", "2"]
    words += ["--n-trials", "30"]
    assert subprocess.run(words, stdout=subprocess.DEVNULL, check=False).returncode == 0
    alone, found = table_of_trials(), Path("metrics/tune/customers.json").read_text()
    again = project / "again"
    (again / "data").mkdir(parents=True)
    for name in ("params.yaml", "data/customers.csv"):
        (again / name).write_bytes(Path(name).read_bytes())
    os.chdir(again)

    def start_until(trials: int) -> tuple[psutil.Popen, list[psutil.Process]]:
        with Path("output").open("ab") as output:
            parent = psutil.Popen(words, stdout=output, stderr=output)
        workers: list[psutil.Process] = []

        def under_way() -> bool:
            workers[:] = [child for child in parent.children() if "spawn_main" in " ".join(child.cmdline())]
            return kept_trials() >= trials and len(workers) == 2

        wait_until(under_way, 120)
        return parent, workers

    for stop, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        parent, workers = start_until(kept_trials() + 2)
        parent.send_signal(stop)
        assert parent.wait(timeout=30) == code
        # no worker outlives its parent
        wait_until(lambda workers=workers: not any(worker.is_running() for worker in workers), 30)  # type: ignore[misc]
    assert "stopped; finished trials are kept" in Path("output").read_text()
    parent, workers = start_until(kept_trials() + 1)
    workers[0].kill()
    assert parent.wait(timeout=240) == 0, Path("output").read_text()
    assert "a worker process died; its trials run again" in Path("output").read_text()
    pd.testing.assert_frame_equal(table_of_trials(), alone)
    assert Path("metrics/tune/customers.json").read_text() == found
    assert sum(json.loads(found)["models"]["forest"]["trials"].values()) == 30
