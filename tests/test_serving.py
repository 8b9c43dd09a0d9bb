"""The example of the champion in docs/gates.md: its commands are run as they stand, and answer what stands there."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml
from conftest import ROOT

import compare_results
import generate_data
import train
import tune_hyperparameters
import validate


def documented_commands() -> list[tuple[str, str]]:
    """Each command of the example, and what it prints."""
    page = (ROOT / "docs/gates.md").read_text()
    [block] = re.findall(r"```\n(\$ export MLFLOW.*?)```", page, flags=re.S)
    commands = block.removeprefix("$ ").split("\n$ ")
    return [(command.split("\n")[0], "\n".join(command.split("\n")[1:])) for command in commands]


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/ping"):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    raise AssertionError("the model server does not answer")


@pytest.mark.slow
def test_documented_commands_predict_and_serve_the_champion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    name = "customer_churn"
    params["datasets"], params["gates"] = {name: params["datasets"][name]}, {name: params["gates"][name]}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert generate_data.main([]) == train.main([]) == tune_hyperparameters.main([]) == 0
    assert tune_hyperparameters.main(["--ensemble"]) == 0
    assert compare_results.main([]) == 0
    assert validate.main(["--promote"]) == 0

    commands = documented_commands()
    assert len(commands) == 5
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    server = None
    try:
        for command, answer in commands:
            words = command.replace("5001", str(port))
            if words.startswith("export "):
                key, _, value = words.removeprefix("export ").partition("=")
                environment[key] = value
            elif words.endswith(" &"):
                server = subprocess.Popen(["bash", "-c", words[:-2]], env=environment, start_new_session=True)
                wait_for(port, server)
            else:
                done = subprocess.run(
                    ["bash", "-c", words], env=environment, capture_output=True, text=True, check=True
                )
                if answer:
                    found, expected = json.loads(done.stdout), json.loads(answer)
                    for row, documented in zip(found["predictions"], expected["predictions"], strict=True):
                        assert row.pop("prediction") == documented.pop("prediction")
                        assert row == pytest.approx(documented, rel=1e-6)
    finally:
        if server is not None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
