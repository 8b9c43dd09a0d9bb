"""Several machines at work on one study and one MLflow server: real servers on loopback, killed and brought back.

A machine is a folder of its own here.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
import pytest
import yaml
from conftest import PARAMS, ROOT, make_customers
from mlflow import MlflowClient
from servers import MlflowServer, Postgres, free_port, wait_until

import compare_results
import detect_drift
import generate_data
import train
import tune_hyperparameters
import validate

pytestmark = pytest.mark.slow

STATES = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
AWAY = "the MLflow server does not answer; waiting"
# A worker whose trials take their time, and whose heartbeats are quick.
WORKER = """
import sys, time
sys.path.insert(0, {root!r})
import tune_hyperparameters as tune
from pipeline.search import shared_study
shared_study.HEARTBEAT, shared_study.GRACE, shared_study.LOOK, shared_study.PATIENCE = 1, 4, 0.2, {patience}
whole = tune.make_objective

def slow(*args):
    objective = whole(*args)

    def score(trial, deadline):
        value = objective(trial, deadline)
        time.sleep(0.6)
        return value

    return score

tune.make_objective = slow
raise SystemExit(tune.main(["--dataset", "customers", "--n-trials", {trials!r}]))
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    # not below pytest's own folder, which another user may not enter
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        server = Postgres(Path(folder))
        yield server
        server.stop()


@pytest.fixture(scope="module")
def tracking_server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(postgres.create("mlflow"), tmp_path_factory.mktemp("mlflow"))
    yield server
    server.stop()


class Machine:
    """A folder with the project's settings and table, and the processes started there."""

    def __init__(self, folder: Path, params: dict[str, Any], **variables: str) -> None:
        self.folder, self.variables = folder, variables
        (folder / "data").mkdir(parents=True)
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        make_customers().to_csv(folder / "y.csv", index=False)
        self.output = folder / "output"
        assert self.start(str(ROOT / "generate_data.py")).wait(timeout=60) == 0, self.printed()

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **self.variables}
        with self.output.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, *words], cwd=self.folder, env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    def printed(self) -> str:
        return self.output.read_text().replace("\r", "\n")

    def says(self, words: str) -> bool:
        return words in self.printed()

    def metrics(self) -> dict[str, Any]:
        return json.loads((self.folder / "metrics/tune/customers.json").read_text())["models"]["forest"]


def only_customers(**changes: Any) -> dict[str, Any]:
    return {**PARAMS, "datasets": {"customers": PARAMS["datasets"]["customers"]}, **changes}


def study_in(storage: str, made: Callable[[], bool]) -> tuple[optuna.Study, optuna.Study]:
    """The study and its claims, once its database is made; to look into that any sooner would be to make it."""
    wait_until(made, 120)
    # the test's own connections are lost too
    opened = optuna.storages.RDBStorage(storage, engine_kwargs={"pool_pre_ping": True})
    wait_until(lambda: len(opened.get_all_studies()) == 2)
    names = sorted([study.study_name for study in opened.get_all_studies()], key=lambda name: name.startswith("claims"))
    study, claims = (optuna.load_study(study_name=name, storage=opened) for name in names)
    return study, claims


def at_work(claims: optuna.Study) -> list[int]:
    """The processes that have a claim."""
    running = claims.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING])
    return [int(claim.user_attrs["worker"].split()[1]) for claim in running if "worker" in claim.user_attrs]


def assert_whole(study: optuna.Study, count: int) -> None:
    """Every slot once, none of a killed process, the baseline first and nothing tried twice."""
    trials = study.get_trials(deepcopy=False)
    assert sorted(trial.user_attrs["slot"] for trial in trials) == list(range(count))
    assert all(trial.state.name in STATES for trial in trials)
    baseline = next(trial for trial in trials if trial.user_attrs["slot"] == 0)
    assert set(baseline.user_attrs["settings"].values()) == {20, 6}
    assert len({json.dumps(trial.params, sort_keys=True) for trial in trials}) == count


def assert_runs(uri: str, count: int) -> None:
    """One MLflow run a trial, one for the study and one for the winner; nothing half written."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("customers")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    names = sorted(run.info.run_name for run in runs)
    assert names == sorted([*(f"Trial_{n}" for n in range(1, count + 1)), "forest study", "forest_tuned"])
    for run in runs:
        assert run.info.status == STATES.get(run.data.tags.get("trial_state", ""), "FINISHED")


def test_a_study_of_many_machines_survives_kills_of_all_its_parts(
    postgres: Postgres, tracking_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, count = postgres.create("studies"), 14
    variables = {"PIPELINE_STUDY_STORAGE": storage, "MLFLOW_TRACKING_URI": tracking_server.uri}
    machines = [Machine(tmp_path / name, only_customers(), **variables) for name in ("one", "two", "late", "later")]
    worker = WORKER.format(root=str(ROOT), trials=str(count), patience=120)
    processes = {machine: machine.start("-c", worker) for machine in machines[:2]}
    made = partial(machines[0].says, "customers: study forest-")
    study, claims = study_in(storage.replace("://", "+psycopg://"), made)

    def ending() -> list[Machine]:
        return [machine for machine in processes if machine.says("customers forest, baseline")]

    def kill(machine: Machine) -> None:
        processes[machine].kill()
        processes.pop(machine).wait()

    first = machines[0]
    wait_until(lambda: len(study.trials) >= 3 and processes[first].pid in at_work(claims), 120)
    kill(first)
    postgres.stop()
    wait_until(partial(machines[1].says, "the connection is lost"))
    postgres.start()
    processes |= {machine: machine.start("-c", worker) for machine in machines[2:]}
    wait_until(lambda: bool(ending()), 180)
    kill(ending()[0])
    wait_until(lambda: bool(ending()), 120)
    tracking_server.stop()
    wait_until(partial(ending()[0].says, AWAY), 120)
    tracking_server.start()
    for machine, process in processes.items():
        assert process.wait(timeout=240) == 0, machine.printed()

    assert_whole(study, count)
    [last] = ending()
    [other] = processes.keys() - {last}
    assert sum(last.metrics()["trials"].values()) == count
    assert "the study is over" in other.printed()
    assert not (other.folder / "metrics/tune").exists()
    assert_runs(tracking_server.uri, count)
    # who comes after the end gets the reports and metrics too, and adds no run
    assert other.start("-c", worker).wait(timeout=120) == 0, other.printed()
    assert other.metrics() == last.metrics()
    assert_runs(tracking_server.uri, count)
    monkeypatch.chdir(other.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server.uri)


def test_a_database_that_stays_away_ends_the_call_and_loses_nothing(postgres: Postgres, tmp_path: Path) -> None:
    storage = postgres.create("away")
    machine = Machine(tmp_path / "one", only_customers(), PIPELINE_STUDY_STORAGE=storage)
    process = machine.start("-c", WORKER.format(root=str(ROOT), trials="5", patience=2))
    study, _ = study_in(storage.replace("://", "+psycopg://"), partial(machine.says, "customers: study forest-"))
    wait_until(lambda: len(study.trials) >= 2, 120)
    postgres.stop()
    assert process.wait(timeout=60) == 2
    *_, last = machine.printed().splitlines()
    assert last.startswith(f"error: postgresql://127.0.0.1:{postgres.port}/away: cannot be reached (")
    assert "secret" not in machine.printed()
    postgres.start()
    kept = [(trial.number, trial.value) for trial in study.trials]
    assert len(kept) >= 2
    assert machine.start("-c", WORKER.format(root=str(ROOT), trials="5", patience=2)).wait(timeout=120) == 0
    assert [(trial.number, trial.value) for trial in study.trials][: len(kept)] == kept
    assert_whole(study, 5)
    assert sum(machine.metrics()["trials"].values()) == 5


def test_workers_of_one_machine_survive_a_kill_and_end_with_ctrl_c(tmp_path: Path) -> None:
    spaces = {"forest": {"n_estimators": [900, 1500], "max_depth": [2, 8], "max_features": [0.2, 1.0]}}
    machine = Machine(tmp_path / "one", only_customers(search_spaces=spaces))
    words = [str(ROOT / "tune_hyperparameters.py"), "--dataset", "customers", "--n-trials", "24", "--workers", "2"]

    def start_until(trials: int) -> tuple[subprocess.Popen[bytes], optuna.Study, list[int]]:
        parent = machine.start(*words)
        database = machine.folder / "mlruns/optuna/customers.db"
        study, claims = study_in(f"sqlite:///{database}", database.exists)
        workers: list[int] = []

        def under_way() -> bool:
            workers[:] = at_work(claims)
            return len(study.trials) >= trials and bool(workers)

        wait_until(under_way, 120)
        return parent, study, workers

    parent, study, workers = start_until(2)
    parent.send_signal(signal.SIGINT)
    assert parent.wait(timeout=30) == 130, machine.printed()
    assert "stopped; finished trials are kept" in machine.printed()
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    kept = len(study.trials)
    parent, study, workers = start_until(kept + 1)
    os.kill(workers[0], signal.SIGKILL)
    assert parent.wait(timeout=240) == 0, machine.printed()
    assert f"worker process {workers[0]} ended with -9" in machine.printed()
    assert_whole(study, 24)
    assert_runs(f"sqlite:///{machine.folder}/mlruns/db.sqlite", 24)
    assert sum(machine.metrics()["trials"].values()) == 24


def test_every_script_on_an_mlflow_server_that_is_killed(
    tracking_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = only_customers(gates={"clients": [{"metric": "accuracy", "above": 0.6}]})
    params["datasets"] = {"clients": PARAMS["datasets"]["customers"]}
    machine = Machine(tmp_path / "one", params, MLFLOW_TRACKING_URI=tracking_server.uri)
    client = MlflowClient(tracking_server.uri)

    def runs() -> list[str]:
        experiment = client.get_experiment_by_name("clients")
        assert experiment is not None
        return sorted(run.info.run_name for run in client.search_runs([experiment.experiment_id]))

    # killed in the middle of writing its run, and called again
    dying = (
        "import os, signal, train, mlflow\n"
        "mlflow.MlflowClient.log_batch = lambda *args, **facts: os.kill(os.getpid(), signal.SIGKILL)\n"
        "train.main(['--model', 'linear'])"
    )
    assert machine.start("-c", dying).wait(timeout=120) == -signal.SIGKILL
    experiment = client.get_experiment_by_name("clients")
    assert experiment is not None
    moment = int(time.time())
    for name, began in (("elsewhere", moment), ("abandoned", moment - 2 * 24 * 3600)):
        tags = {"stage": "baseline", "writer": f"another-machine 1 {began}"}
        client.create_run(experiment.experiment_id, run_name=name, tags=tags)
    assert runs() == ["abandoned", "elsewhere", "linear"]
    # the server goes away in the middle of a training, and comes back
    training = machine.start(str(ROOT / "train.py"))
    wait_until(partial(machine.says, "forest (1 of 3): fitted"), 120)
    tracking_server.stop()
    wait_until(partial(machine.says, AWAY), 120)
    tracking_server.start()
    assert training.wait(timeout=240) == 0, machine.printed()
    assert machine.printed().count(AWAY) == 1
    assert runs() == ["elsewhere", "forest", "gradient_boosting", "linear"]

    monkeypatch.chdir(machine.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_server.uri)

    def succeed(script: ModuleType, *words: str) -> str:
        capsys.readouterr()
        assert script.main(words) == 0, capsys.readouterr()
        return capsys.readouterr().out

    words = ["--model", "linear", "--n-trials", "3"]
    assert f"MLflow runs in {tracking_server.uri}" in succeed(tune_hyperparameters, *words)
    succeed(train, "--tuned")
    words = ["--dataset", "clients", "--current", "y.csv", "--output", "weekly"]
    assert "reaches accuracy" in succeed(detect_drift, *words)
    succeed(compare_results)
    assert "the first champion" in succeed(validate, "--promote")
    assert len(runs()) == 4 + 3 + 2
    assert "is champion already" in succeed(validate, "--promote")
    # models of other settings meet the champion
    params["datasets"]["clients"] = {**params["datasets"]["clients"], "threshold": 0.4}
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    Path("metrics/tune/clients.json").unlink()
    for script in (generate_data, train, compare_results):
        succeed(script)
    assert "is champion (version 2)" in succeed(validate, "--promote")
    assert "version 1 is champion again" in succeed(validate, "--rollback", "clients")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://tuner:secret@127.0.0.1:{free_port()}")
    capsys.readouterr()
    assert train.main(["--model", "linear"]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: http://tuner:***@127.0.0.1:")
    assert line.endswith("it does not answer); mend the address, or start the server")
    assert "secret" not in line
