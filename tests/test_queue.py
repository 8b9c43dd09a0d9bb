"""The queue of trials: what a trial knows, whoever runs it; workers that die, and parents that do."""

import contextlib
import itertools
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from conftest import PARAMS, ROOT, make_customers
from servers import wait_until

import tune_hyperparameters as tune
from pipeline.console import PipelineError
from pipeline.search import queue
from pipeline.search.study import in_memory, slot_of, trials_of
from pipeline.search.trials import Objective, run_trial


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


def search(objective: Objective, trials: int, lag: int, workers: int = 1) -> list[tuple[Any, ...]]:
    """Settings, values and states of a search, in its order."""
    kept = in_memory("kept", "accuracy", [])
    queue.run_trials(kept, objective, trials, None, lag, workers, None, "customers")
    found = sorted(kept.trials, key=slot_of)
    assert [slot_of(trial) for trial in found] == list(range(trials))
    return [(trial.user_attrs, trial.intermediate_values, trial.state, trial.value) for trial in found]


@pytest.mark.parametrize("workers", [1, 2, 3, 9])
def test_a_trial_knows_the_results_before_the_lag_and_the_settings_of_the_others(
    objective: Objective, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    known: list[tuple[list[int], list[int]]] = []
    propose = queue.propose

    def watched(objective: Objective, results: Any, settings: Any, slot: int) -> Any:
        known.append(([slot_of(trial) for trial in results], [slot_of(trial) for trial in settings]))
        return propose(objective, results, settings, slot)

    monkeypatch.setattr(queue, "propose", watched)
    monkeypatch.setattr(queue, "SECONDS_TO_START", 0)
    monkeypatch.setattr(
        queue, "start_executor", lambda count, *facts: (ThreadPoolExecutor(count), partial(run_trial, objective))
    )
    search(objective, 6, 3, workers)
    assert known == [([], []), ([], [0]), ([], [0, 1]), ([0], [1, 2]), ([0, 1], [2, 3]), ([0, 1, 2], [3, 4])]


def test_a_search_is_the_same_in_whatever_order_its_trials_end_and_no_more_run_than_the_lag(
    objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = search(objective, 9, lag=3)
    rng = random.Random(0)
    now, most, lock = 0, 0, threading.Lock()

    def some_time_later(*facts: Any) -> Any:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(rng.random() / 5)
        found = run_trial(objective, *facts)
        with lock:
            now -= 1
        return found

    monkeypatch.setattr(queue, "SECONDS_TO_START", 0)
    # more threads than trials may run
    monkeypatch.setattr(queue, "start_executor", lambda *facts: (ThreadPoolExecutor(9), some_time_later))
    for workers, at_once in ((2, 2), (3, 3), (8, 3), (10**30, 3)):
        most = 0
        assert search(objective, 9, 3, workers) == alone
        assert most == at_once
    # another lag is another search
    assert search(objective, 9, lag=1) != alone


def test_worker_processes_start_where_the_first_trial_says_that_they_pay(
    objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def watched(workers: int, *facts: Any) -> Any:
        started.append(workers)
        return queue.InProcess(), partial(run_trial, objective)

    monkeypatch.setattr(queue, "start_executor", watched)
    for seconds, trials, workers, expected in ((1e9, 3, 2, [1]), (0, 3, 2, [1, 2]), (0, 3, 1, [1]), (0, 1, 2, [1])):
        monkeypatch.setattr(queue, "SECONDS_TO_START", seconds)
        started.clear()
        search(objective, trials, 3, workers)
        assert started == expected


MODELS = ["forest", "gradient_boosting", "linear"]


def search_elsewhere(project: Path, name: str, *words: str) -> tuple[bytes, bytes]:
    """What a search writes in a new folder of that name: the trials of the last word's model, and the metrics."""
    folder = project / name
    (folder / "data").mkdir(parents=True)
    for file in ("params.yaml", "data/customers.csv"):
        shutil.copy(project / file, folder / file)
    os.chdir(folder)
    assert tune.main(["--dataset", "customers", *words]) == 0
    [trials] = Path("reports/customers/tuning").glob("*/trials.csv")
    return trials.read_bytes(), Path("metrics/tune/customers.json").read_bytes()


@pytest.mark.parametrize("workers", [(2,), pytest.param((1, 4, 8), marks=pytest.mark.slow)])
@pytest.mark.parametrize("model", MODELS)
def test_a_search_is_the_same_to_the_last_byte_with_any_number_of_worker_processes(
    project: Path, monkeypatch: pytest.MonkeyPatch, model: str, workers: tuple[int, ...]
) -> None:
    # as many at once as there are workers
    params = {**PARAMS, "tuning": {**PARAMS["tuning"], "lag": 8}}
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    pools: list[int] = []
    start_executor = queue.start_executor

    def watched(count: int, *facts: Any) -> Any:
        executor, run = start_executor(count, *facts)
        pools.append(count if isinstance(executor, ProcessPoolExecutor) else 0)
        return executor, run

    words = ["--n-trials", "14", "--model", model]
    # in this process
    monkeypatch.setattr(queue, "SECONDS_TO_START", 1e9)
    alone = search_elsewhere(project, "alone", *words)
    monkeypatch.setattr(queue, "SECONDS_TO_START", 0)
    monkeypatch.setattr(queue, "start_executor", watched)
    for count in workers:
        pools.clear()
        assert search_elsewhere(project, f"with {count}", *words, "--workers", str(count)) == alone
        assert pools == ([0] if count == 1 else [0, count])


def test_the_table_of_trials_has_no_clocks(project: Path) -> None:
    trials, _ = search_elsewhere(project, "one", "--n-trials", "3", "--model", "forest")
    header, *lines = trials.decode().splitlines()
    assert header == "number,value,state,params_max_depth,params_n_estimators,params_max_features"
    assert [line.split(",")[0] for line in lines] == ["0", "1", "2"]


def test_a_search_that_its_time_ends_tells_the_trials_that_find_the_same(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # several at once, that end in any order
    monkeypatch.setattr(queue, "SECONDS_TO_START", 0)
    start_executor, rng = queue.start_executor, random.Random(0)

    def in_threads(workers: int, cluster: Any, objective: Objective) -> Any:
        def some_time_later(*facts: Any) -> Any:
            time.sleep(rng.random() / 5)
            return run_trial(objective, *facts)

        return ThreadPoolExecutor(workers), some_time_later

    monkeypatch.setattr(queue, "start_executor", in_threads)
    stopped = search_elsewhere(project, "stopped", "--n-trials", "5000", "--timeout", "2", "--workers", "4")
    told = re.findall(r"the time was up; `python (tune_hyperparameters.py .*)` finds the same", capsys.readouterr().out)
    assert len(told) == 1
    monkeypatch.setattr(queue, "start_executor", start_executor)
    script, *words = told[0].split()
    assert (script, words[:4]) == ("tune_hyperparameters.py", ["--dataset", "customers", "--model", "forest"])
    assert search_elsewhere(project, "again", *words) == stopped
    assert "the time was up" not in capsys.readouterr().out
    assert len(stopped[0].splitlines()) == 1 + int(words[-1])


def test_trials_beyond_a_missing_one_are_no_result_and_stay(objective: Objective) -> None:
    kept = in_memory("kept", "accuracy", [])
    queue.run_trials(kept, objective, 5, None, 4, 1, None, "customers")
    [*first, third, fourth, last] = sorted(kept.trials, key=slot_of)
    holed = in_memory("holed", "accuracy", [last, third, *first])
    assert [slot_of(trial) for trial in trials_of(holed, 5)] == [0, 1, 2]
    assert [slot_of(trial) for trial in trials_of(holed, 2)] == [0, 1]
    queue.run_trials(holed, objective, 5, None, 4, 1, None, "customers")
    # only the one that was missing ran
    assert [slot_of(trial) for trial in holed.trials] == [4, 2, 0, 1, 3]
    again = next(trial for trial in holed.trials if slot_of(trial) == 3)
    assert (again.user_attrs, again.value) == (fourth.user_attrs, fourth.value)


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
    monkeypatch.setattr(queue, "SECONDS_TO_START", 0)
    calls: dict[str, Any] = {}

    def breaking(workers: int, cluster: Any, objective: Objective) -> Any:
        # what runs the first trial is no pool
        return queue.InProcess() if workers == 1 else Breaking(**calls), partial(run_trial, objective)

    monkeypatch.setattr(queue, "start_executor", breaking)
    for at_once in (False, True):
        calls |= {"calls": 3, "at_once": at_once}
        assert search(objective, 6, lag=2, workers=2) == alone
        assert "a worker process died; its trials run again" in capsys.readouterr().out
    calls |= {"calls": 1, "at_once": False}
    with pytest.raises(PipelineError, match="worker processes keep dying"):
        search(objective, 6, lag=2, workers=2)


# A search whose first trial always says that processes pay.
RUN = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pipeline.search import queue
import tune_hyperparameters as tune

queue.SECONDS_TO_START = queue.BAR_SECONDS = 0
raise SystemExit(tune.main(sys.argv[1:]))
"""


class Killed:
    """A search in a folder of its own, called again and again until it ends."""

    def __init__(self, project: Path, words: list[str]) -> None:
        self.project, self.words, self.folders = project, words, 0
        self.start_anew()

    def start_anew(self) -> None:
        self.folders += 1
        self.folder = self.project / f"folder {self.folders}"
        (self.folder / "data").mkdir(parents=True)
        for name in ("params.yaml", "data/customers.csv"):
            shutil.copy(self.project / name, self.folder / name)

    def start(self, workers: int, further: int = 0) -> psutil.Popen:
        """The command, once it has begun to search and ended so many further trials."""
        output = self.folder / "output"
        output.unlink(missing_ok=True)
        with output.open("wb") as file:
            words = [sys.executable, "-c", RUN, *self.words, "--workers", str(workers)]
            parent = psutil.Popen(words, stdout=file, stderr=subprocess.STDOUT, cwd=self.folder)

        def under_way() -> bool:
            ended = [int(count) for count in re.findall(r"customers: .* (\d+)/\d+ \[", self.printed())]
            return bool(ended) and ended[-1] >= ended[0] + further

        wait_until(lambda: under_way() or parent.poll() is not None, 120)
        return parent

    def printed(self) -> str:
        return (self.folder / "output").read_text().replace("\r", "\n")

    def result(self) -> list[bytes]:
        """Every file that is to be the same, to the last byte."""
        names = ("reports/customers/tuning/forest/trials.csv", "metrics/tune/customers.json")
        return [(self.folder / name).read_bytes() for name in names]

    def select(self, database: str, query: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.folder / "mlruns" / database)) as connection:
            return sorted(value for (value,) in connection.execute(query))


def workers_of(parent: psutil.Popen) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child for child in parent.children() if "spawn_main" in " ".join(child.cmdline())]
    return []


@pytest.mark.slow
def test_kills_of_workers_and_of_searches_at_any_moment_change_nothing(project: Path) -> None:
    # trials of some tenths of a second, so that there is a middle in which to kill
    make_customers(6000).to_csv("data/customers.csv", index=False)
    params = {**PARAMS, "tuning": {**PARAMS["tuning"], "search_rows": 6000}}
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    trials, kills, rng = 60, 20, random.Random(0)
    killed = Killed(project, ["--dataset", "customers", "--n-trials", str(trials)])
    parent, begun = killed.start(1), time.monotonic()
    assert parent.wait(timeout=600) == 0, killed.printed()
    alone, span = killed.result(), time.monotonic() - begun
    assert len(alone[0].splitlines()) == 1 + trials

    def ended_well() -> None:
        assert killed.result() == alone
        slots = killed.select("optuna/customers.db", "SELECT value_json FROM trial_user_attributes WHERE key = 'slot'")
        assert sorted(map(int, slots)) == list(range(trials))
        states = "SELECT status FROM runs WHERE lifecycle_stage = 'active'"
        assert len(killed.select("db.sqlite", states)) == trials + 2
        assert set(killed.select("db.sqlite", states)) <= {"FINISHED", "KILLED", "FAILED"}

    ended_well()
    killed.start_anew()
    parents = workers_killed = told = 0
    for turn in itertools.count():
        if parents + workers_killed >= kills:
            break
        count = (2, 4, 1)[turn % 3]
        # at once, or when workers have started and run trials
        parent = killed.start(count, further=3 * (turn % 4 > 0))
        time.sleep(rng.uniform(0, span / 2))
        if workers_killed <= parents and (workers := workers_of(parent)):
            rng.choice(workers).kill()
            workers_killed += 1
            time.sleep(rng.uniform(0, span / 2))
        workers = []
        # it may be done
        with contextlib.suppress(psutil.NoSuchProcess):
            workers = parent.children(recursive=True)
            parent.send_signal(signal.SIGINT if turn == 0 else signal.SIGKILL)
        code = parent.wait(timeout=60)
        assert code in (0, 130, -signal.SIGKILL), killed.printed()
        # no worker outlives its parent
        _, alive = psutil.wait_procs(workers, timeout=60)
        for worker in alive:
            worker.kill()
        assert not alive
        parents += code != 0
        told += "a worker process died; its trials run again" in killed.printed()
        if code == 0:
            ended_well()
            killed.start_anew()
            # it was done before the moment came
            span *= 0.8
    print(f"killed {parents} searches and {workers_killed} workers, in {killed.folders - 1} folders")
    assert parents >= kills / 4
    assert workers_killed >= kills / 4
    assert told > 0
    parent = killed.start(2)
    assert parent.wait(timeout=600) == 0, killed.printed()
    ended_well()


def test_workers_find_the_projects_code_beside_that_of_a_loaded_model(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = project / "model" / "pipeline"
    code.mkdir(parents=True)
    (code / "__init__.py").touch()
    monkeypatch.syspath_prepend(code.parent)
    monkeypatch.setattr(queue, "SECONDS_TO_START", 0)
    assert tune.main(["--dataset", "customers", "--n-trials", "3", "--workers", "2"]) == 0
