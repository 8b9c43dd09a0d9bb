"""The workflow that retrains by itself, run by act: from nothing new to retrained and promoted."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT, make_customers, make_houses
from mlflow import MlflowClient
from servers import MlflowServer
from workflows import BIN, act, commit, make_repository, run

WORKFLOW = ROOT / ".github/workflows/retrain.yml"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MlflowServer]:
    (tmp_path / "mlflow").mkdir()
    started = MlflowServer(tmp_path / "mlflow")
    yield started
    started.stop()


def make_import(repository: Path, origin: Path) -> None:
    """houses becomes a DVC import of a table elsewhere, kept in a remote."""
    dvc = str(BIN / "dvc")
    make_houses().to_csv(origin, index=False)
    (repository / "x.csv").unlink()
    run(repository, "git", "rm", "-q", "--cached", "x.csv")
    run(repository, dvc, "remote", "add", "-d", "team", str(origin.parent / "remote"))
    run(repository, dvc, "import-url", str(origin), "x.csv")
    run(repository, dvc, "push", "x.csv.dvc")


def drifted_customers() -> pd.DataFrame:
    """Old customers, who leave where young ones stay."""
    frame = make_customers(400, seed=2)
    frame["tenure"] += 100
    frame["left"] = np.where(frame["left"] == "Yes", "No", "Yes")
    return frame


def drifted_houses() -> pd.DataFrame:
    """Larger houses, which became cheap."""
    frame = make_houses(400, seed=2)
    return frame.assign(size=frame["size"] + 2, price=-frame["price"])


@pytest.mark.slow
def test_from_nothing_new_to_retrained_and_promoted(tmp_path: Path, server: MlflowServer) -> None:
    repository, origin = make_repository(tmp_path / "repository"), tmp_path / "houses.csv"
    make_import(repository, origin)
    for words in (["train.py"], ["compare_results.py"], ["validate.py", "--promote"]):
        run(repository, sys.executable, *words, MLFLOW_TRACKING_URI=server.uri)
    # so that a push can be seen here, which GitHub takes too
    run(repository, "git", "config", "receive.denyCurrentBranch", "updateInstead")
    client = MlflowClient(server.uri)

    def champions() -> list[str]:
        return [client.get_model_version_by_alias(name, "champion").version for name in ("houses", "customers")]

    def bring(table: pd.DataFrame) -> None:
        (repository / "incoming").mkdir(exist_ok=True)
        table.to_csv(repository / "incoming/customers.csv", index=False)
        commit(repository)

    def retrain() -> tuple[int, str, set[str]]:
        status, log, artifacts = act(WORKFLOW, repository, "schedule", {}, MLFLOW_TRACKING_URI=server.uri)
        return status, log, {path.name for path in artifacts.iterdir()}

    # the import is as it was; the new rows are like the old ones
    bring(make_customers(200, seed=1))
    before = run_output(repository, "git", "rev-parse", "HEAD")
    status, log, artifacts = retrain()
    assert status == 0, log[-6000:]
    assert "houses: nothing new" in log
    assert "customers: A loss above the margin of" in log
    assert artifacts == {"drift-customers"}
    assert run_output(repository, "git", "rev-parse", "HEAD") == before
    assert champions() == ["1", "1"]

    # both have drifted; houses come without prices
    drifted_houses().drop(columns="price").to_csv(origin, index=False)
    bring(drifted_customers())
    status, log, artifacts = retrain()
    assert status != 0
    assert "houses: not retrained; error: x.csv: holds no labels (price)" in log, log[-6000:]
    assert "customers: Retrain the model on rows like the current ones: it has lost score." in log
    assert "customers: 400 rows of incoming/customers.csv were added to the 240 of y.csv" in log
    assert artifacts == {"drift-houses", "drift-customers", "retrained-customers"}
    assert champions() == ["1", "2"], log[-6000:]
    subject = run_output(repository, "git", "log", "-1", "--format=%s")
    assert subject == "customers: retrained on incoming/customers.csv"
    assert len(pd.read_csv(repository / "y.csv")) == 640
    assert json.loads((repository / "metrics/data/customers.json").read_text())["rows"] == 640
    verdicts = json.loads((repository / "metrics/validation.json").read_text())["gates"]
    assert [verdict["dataset"] for verdict in verdicts] == ["houses", "customers"]

    # houses come with prices; who leaves is chance, so that a gate fails
    drifted_houses().to_csv(origin, index=False)
    coins = make_customers(1500, seed=3)
    bring(coins.assign(tenure=coins["tenure"] + 200, left=np.random.default_rng(99).choice(["Yes", "No"], 1500)))
    status, log, artifacts = retrain()
    assert status != 0
    assert "x.csv is the new table, 400 rows" in log, log[-6000:]
    assert "customers: not promoted, it fails" in log
    assert artifacts == {"drift-houses", "retrained-houses", "drift-customers", "retrained-customers"}
    assert champions() == ["2", "2"]
    assert run_output(repository, "git", "log", "-1", "--format=%s") == "houses: retrained on x.csv"
    assert json.loads((repository / "metrics/data/houses.json").read_text())["rows"] == 400
    assert len(pd.read_csv(repository / "y.csv")) == 640

    # what was taken in before is nothing new
    bring(drifted_customers())
    status, log, artifacts = retrain()
    assert status == 0, log[-6000:]
    assert "houses: nothing new" in log
    assert "customers: nothing new" in log
    assert artifacts == set()


def run_output(folder: Path, *words: str) -> str:
    return subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_a_branch_that_takes_no_push_gets_one_to_merge(tmp_path: Path) -> None:
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["retrain"]["steps"]
    [step] = [step for step in steps if step.get("name") == "Keep it"]
    origin, folder, github = tmp_path / "origin", tmp_path / "job", tmp_path / "github"
    for made in (origin, github):
        made.mkdir()
    (github / "comment").touch()
    for name in ("y.csv", "dvc.lock", "metrics/m.json"):
        (origin / name).parent.mkdir(exist_ok=True)
        (origin / name).write_text("a\n")
    run(origin, "git", "init", "-q", "-b", "main")
    commit(origin)
    run(tmp_path, "git", "clone", "-q", str(origin), str(folder))
    (folder / "y.csv").write_text("a\nb\n")
    # git takes no push to a branch that is checked out
    names = {"DATASET": "customers", "BRANCH": "main", "SOURCE": "y.csv", "TABLE": "y.csv"}
    path = f"{ROOT}/tests/actions/bin:{os.environ['PATH']}"
    summary = tmp_path / "summary"
    environment = os.environ | names | {"PATH": path, "STUB_GITHUB": str(github), "GITHUB_STEP_SUMMARY": str(summary)}
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "::warning::main takes no push; merge the branch retrained-customers" in done.stdout
    assert summary.read_text() == "customers: main takes no push; merge retrained-customers\n"
    assert run_output(origin, "git", "show", "retrained-customers:y.csv") == "a\nb"
    assert run_output(origin, "git", "show", "main:y.csv") == "a"
    assert run_output(origin, "git", "show", "retrained-customers:incoming/taken_in.txt").endswith("  y.csv")
