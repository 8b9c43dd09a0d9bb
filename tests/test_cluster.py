"""Fits and trials on a Dask cluster: a real scheduler and worker processes on loopback, some of which are killed."""

import contextlib
import json
import logging
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from conftest import PARAMS, ROOT, make_customers
from distributed import Client
from distributed.comm import CommClosedError
from servers import wait_until

import train
from pipeline.cluster import connect
from pipeline.console import PipelineError
from pipeline.store.connect import open_store

pytestmark = pytest.mark.slow

DASK = str(Path(sys.executable).with_name("dask"))
# Fits of about a second, so that there is a middle in which to kill.
FOREST = {**PARAMS["models"]["forest"], "params": {"n_estimators": 300, "max_depth": 6, "n_jobs": 1}}
SETTINGS = {
    **PARAMS,
    "datasets": {"customers": PARAMS["datasets"]["customers"]},
    "models": {**PARAMS["models"], "forest": FOREST},
}


class Cluster:
    """A scheduler and its workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, list[subprocess.Popen[bytes]]()
        file = folder / "scheduler.json"
        self.scheduler = self.start("scheduler", "--port", "0", "--scheduler-file", str(file), "--host", "127.0.0.1")
        wait_until(file.exists, 60)
        self.address = json.loads(file.read_text())["address"]

    def start(self, *words: str, code: Path = ROOT) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(code)}
        command = [DASK, *words, "--no-dashboard"]
        with (self.folder / f"{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def add_worker(self, *words: str, code: Path = ROOT) -> subprocess.Popen[bytes]:
        log = self.folder / f"{len(self.processes)}.log"
        worker = self.start("worker", self.address, "--nthreads", "1", "--no-nanny", *words, code=code)
        wait_until(lambda: "Registered to" in log.read_text(), 60)
        return worker

    def stop(self) -> None:
        for process in self.processes[::-1]:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    Path("params.yaml").write_text(yaml.safe_dump(SETTINGS, sort_keys=False))
    # joblib would scatter arrays of more than 1 kB
    make_customers(2000).to_csv("data/customers.csv", index=False)
    started = Cluster(tmp_path_factory.mktemp("dask"))
    yield started
    started.stop()


def start(script: str, *words: str) -> subprocess.Popen[bytes]:
    """A script in the current folder, which prints to the file `output`."""
    with Path("output").open("wb") as output:
        return subprocess.Popen([sys.executable, str(ROOT / script), *words], stdout=output, stderr=subprocess.STDOUT)


def trials_kept() -> int:
    """How many trials of the search have ended so far."""
    try:
        with contextlib.closing(sqlite3.connect("file:mlruns/optuna/customers.db?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM trials").fetchone()[0])
    except sqlite3.OperationalError:
        # not made yet, or held by the search
        return 0


def printed() -> str:
    return Path("output").read_text().replace("\r", "\n")


def test_training_that_loses_a_worker_finds_what_it_finds_here(project: Path, cluster: Cluster) -> None:
    first, _ = cluster.add_worker(), cluster.add_worker()
    training = start("train.py", "--scheduler", cluster.address)
    wait_until(lambda: "fold 1 of 3 done" in printed() or training.poll() is not None, 120)
    first.kill()
    assert training.wait(timeout=300) == 0, printed()
    client = open_store()
    experiment = client.get_experiment_by_name("customers")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 3
    found = Path("metrics/train/customers.json").read_bytes()
    shutil.rmtree("metrics/train")
    assert train.main(["--force"]) == 0
    assert Path("metrics/train/customers.json").read_bytes() == found


def test_no_scheduler_no_worker_and_other_code_are_told_in_a_line(
    project: Path, cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        begun = time.monotonic()
        assert train.main(["--scheduler", nobody]) == 2
        assert time.monotonic() - begun < 15
    assert train.main(["--scheduler", cluster.address]) == 2
    other = tmp_path / "other"
    shutil.copytree(ROOT / "pipeline", other / "pipeline")
    (other / "pipeline/metrics.py").write_text("# changed\n")
    cluster.add_worker(code=other)
    assert train.main(["--scheduler", cluster.address]) == 2
    told = capsys.readouterr().err.splitlines()
    words = ["no Dask scheduler answers", "the scheduler has no workers", "has other code or versions (code "]
    assert [text in line for text, line in zip(words, told, strict=True)] == [True] * 3, told


# Each worker writes a line for every plugin that it sets up, and for every objective that it unpacks; the first trials
# run, the others wait for a file.
COUNTED = """
import os, time
from pipeline.search import cluster_worker
from pipeline.search.cluster_worker import Held
from pipeline.search.trials import Objective, run_trial

def count(what):
    with open({file!r}, "a") as lines:
        lines.write(what + "\\n")

def unpacked(objective, state):
    count("unpacked")
    objective.__dict__.update(state)

def run_trial_later(objective, known, proposed, seconds):
    while proposed.user_attrs["slot"] > 2 and not os.path.exists({go!r}):
        time.sleep(0.05)
    count("trial")
    return run_trial(objective, known, proposed, seconds)

# as it is in a worker, nothing
Held.setup = lambda plugin, worker: count("set up")
Objective.__setstate__, cluster_worker.run_trial = unpacked, run_trial_later
"""


def test_a_search_that_loses_a_worker_and_gets_another_finds_what_it_finds_here(
    project: Path, cluster: Cluster
) -> None:
    def held(dask_worker: Any) -> list[str]:
        """What a worker still holds of a search: its plugin, and objectives."""
        import gc

        from pipeline.search.trials import Objective

        gc.collect()
        plugins = [name for name in dask_worker.plugins if "objective" in name]
        return plugins + ["objective" for found in gc.get_objects() if isinstance(found, Objective)]

    def add_counted(name: str) -> subprocess.Popen[bytes]:
        preload, lines = project / f"{name}.py", project / f"{name}.lines"
        preload.write_text(COUNTED.format(file=str(lines), go=str(project / "go")))
        return cluster.add_worker("--preload", str(preload))

    first, _ = add_counted("first"), add_counted("second")
    search = start("tune_hyperparameters.py", "--n-trials", "16", "--scheduler", cluster.address)
    wait_until(lambda: trials_kept() >= 3 or search.poll() is not None, 120)
    first.kill()
    add_counted("third")
    Path("go").touch()
    assert search.wait(timeout=300) == 0, printed()
    for name in ("first", "second", "third"):
        told = (project / f"{name}.lines").read_text().splitlines()
        assert [line for line in told if line != "trial"] == ["unpacked", "set up"], name
    # by the one that came later
    assert "trial" in told
    with Client(cluster.address) as client:
        assert len(client.nthreads()) == 2
        assert client.run(held) == {worker: [] for worker in client.nthreads()}
    [study] = optuna.get_all_study_summaries("sqlite:///mlruns/optuna/customers.db")
    trials = optuna.load_study(study_name=study.study_name, storage="sqlite:///mlruns/optuna/customers.db").trials
    assert sorted(trial.user_attrs["slot"] for trial in trials) == list(range(16))
    store = open_store()
    experiment = store.get_experiment_by_name("customers.trials")
    assert experiment is not None
    runs = store.search_runs([experiment.experiment_id], "tags.stage = 'trial'")
    assert len(runs) == len({run.info.run_name for run in runs}) == 16
    names = Path("reports/customers/tuning/forest/trials.csv"), Path("metrics/tune/customers.json")
    found = [name.read_bytes() for name in names]
    for folder in ("mlruns", "reports", "metrics"):
        shutil.rmtree(folder)
    assert start("tune_hyperparameters.py", "--n-trials", "16", "--workers", "1").wait(timeout=300) == 0, printed()
    assert [name.read_bytes() for name in names] == found


def test_a_budget_over_several_models_is_spent_by_the_workers_and_can_be_found_again_here(
    project: Path, cluster: Cluster
) -> None:
    # without `tune`: all models
    customers = {key: value for key, value in SETTINGS["datasets"]["customers"].items() if key != "tune"}
    settings = {**SETTINGS, "datasets": {"customers": customers}}
    Path("params.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    workers = cluster.add_worker(), cluster.add_worker()
    assert start("tune_hyperparameters.py", "--timeout", "40", "--scheduler", cluster.address).wait(300) == 0, printed()
    assert [worker.poll() for worker in workers] == [None, None]
    first = json.loads(Path("metrics/tune/customers.json").read_text())["models"]
    assert len(first) >= 2, printed()
    for folder in ("mlruns", "reports", "metrics"):
        shutil.rmtree(folder)
    # of one model the baseline, which a budget does not fit, may stay
    same = ("best_value", "trials")
    for name, facts in first.items():
        words = ("--model", name, "--n-trials", str(sum(facts["trials"].values())))
        assert start("tune_hyperparameters.py", *words).wait(timeout=300) == 0, printed()
        again = json.loads(Path("metrics/tune/customers.json").read_text())["models"][name]
        assert {key: again[key] for key in same} == {key: facts[key] for key in same}


def test_a_scheduler_that_is_lost_is_told_in_a_line_and_the_search_goes_on(project: Path, cluster: Cluster) -> None:
    cluster.add_worker()
    search = start("tune_hyperparameters.py", "--n-trials", "12", "--scheduler", cluster.address)
    wait_until(lambda: trials_kept() >= 2 or search.poll() is not None, 120)
    cluster.scheduler.kill()
    assert search.wait(timeout=120) == 2, printed()
    assert [line for line in printed().splitlines() if "the Dask scheduler was lost" in line]
    assert "Traceback" not in printed()
    assert start("tune_hyperparameters.py", "--n-trials", "12").wait(timeout=300) == 0
    assert "going on after" in printed()
    assert sum(json.loads(Path("metrics/tune/customers.json").read_text())["models"]["forest"]["trials"].values()) == 12


def test_a_connection_that_breaks_under_a_call_is_a_lost_scheduler(cluster: Cluster) -> None:
    cluster.add_worker()
    with pytest.raises(PipelineError, match="the Dask scheduler was lost"), connect(cluster.address):
        raise CommClosedError
    # Dask's background threads log what they meet, with a traceback, at any time
    assert not [name for name in ("client", "batched") if logging.getLogger(f"distributed.{name}").isEnabledFor(40)]
    with pytest.raises(ZeroDivisionError), connect(cluster.address):
        raise ZeroDivisionError


def test_training_whose_scheduler_is_lost_ends_with_a_line(project: Path, cluster: Cluster) -> None:
    cluster.add_worker()
    training = start("train.py", "--scheduler", cluster.address)
    wait_until(lambda: "fold 1 of 3 done" in printed() or training.poll() is not None, 120)
    cluster.scheduler.kill()
    assert training.wait(timeout=120) == 2, printed()
    assert printed().splitlines()[-1].endswith("the Dask scheduler was lost; start it, and the same command")
