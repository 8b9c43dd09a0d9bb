"""Every script on an MLflow server, which is killed and brought back, as are the scripts."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from conftest import PARAMS, ROOT, make_customers
from mlflow import MlflowClient
from servers import MlflowServer, free_port, wait_until

import compare_results
import detect_drift
import generate_data
import train
import tune_hyperparameters
import validate
from pipeline.console import PipelineError
from pipeline.store.connect import FIRST_REQUEST, open_store
from pipeline.store.registry import set_champion

AWAY = "the MLflow server does not answer; waiting"


@pytest.fixture(scope="module")
def tracking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
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


@pytest.mark.slow
def test_every_script_on_an_mlflow_server_that_is_killed(
    tracking_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = {**PARAMS, "gates": {"clients": [{"metric": "accuracy", "above": 0.6}]}}
    params["datasets"] = {"clients": PARAMS["datasets"]["customers"]}
    machine = Machine(tmp_path / "one", params, MLFLOW_TRACKING_URI=tracking_server.uri)
    client = MlflowClient(tracking_server.uri)

    def runs() -> list[str]:
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return sorted(run.info.run_name for run in client.search_runs(experiments))

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
    make_customers(seed=1).to_csv("week.csv", index=False)
    words = ["--dataset", "clients", "--current", "week.csv", "--output", "weekly"]
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
    # which no difference between the two moves
    assert "is challenger (version 2): accuracy " in succeed(validate, "--promote")
    set_champion(open_store(), "clients", "2")
    assert "version 1 is champion again" in succeed(validate, "--rollback", "clients")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://tuner:secret@127.0.0.1:{free_port()}")
    capsys.readouterr()
    assert train.main(["--model", "linear"]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("error: http://tuner:***@127.0.0.1:")
    assert line.endswith("it does not answer); mend the address, or start the server")
    assert "secret" not in line


def test_a_server_that_takes_requests_and_never_answers_is_told_of_within_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(FIRST_REQUEST, "MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(PipelineError, match=r"^http://tuner:\*\*\*@127.0.0.1:\d+: .*it does not answer"):
            open_store(f"http://tuner:secret@127.0.0.1:{silent.getsockname()[1]}")
    assert time.monotonic() - started < 30
