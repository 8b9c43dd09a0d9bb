"""The workflow file itself, run by act on this machine: each job in a fresh folder with its checkout and downloads."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import PARAMS, ROOT, make_customers, make_houses

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent
WORKFLOW = ROOT / ".github/workflows/ml-pipeline.yml"


def make_repository(folder: Path, gate: float) -> None:
    """The project's code with two small tables, committed on main."""
    ignored = shutil.ignore_patterns("__pycache__", "tmp", "cache")
    for name in ("pipeline", ".dvc", ".github"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*.txt"), ROOT / "dvc.yaml", ROOT / ".gitignore"]:
        shutil.copy(path, folder)
    make_houses().to_csv(folder / "x.csv", index=False)
    make_customers().to_csv(folder / "y.csv", index=False)
    gates = {"customers": [{"metric": "accuracy", "above": gate}]}
    params = {**PARAMS, "tuning": {**PARAMS["tuning"], "trials": 4}, "gates": gates}
    params["datasets"] = {name: {**facts, "tune": "forest"} for name, facts in PARAMS["datasets"].items()}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], [*identity, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *words], cwd=folder, check=True)


def act(folder: Path, event: str = "push") -> tuple[int, str, Path]:
    """Run the workflow; returns act's exit code, its log, and the folder of the artifacts."""
    artifacts = folder.parent / "artifacts"
    artifacts.mkdir()
    uses = set(re.findall(r"uses: (actions/([a-z-]+)@[0-9a-f]+)", WORKFLOW.read_text()))
    stubs = [word for name, short in uses for word in ("--local-repository", f"{name}={ROOT}/tests/actions/{short}")]
    values = {"STUB_SOURCE": folder, "STUB_BIN": BIN, "STUB_ARTIFACTS": artifacts}
    variables = [word for key, value in values.items() for word in ("--env", f"{key}={value}")]
    command = [str(BIN / "act"), event, "-P", "ubuntu-latest=-self-hosted", "--no-cache-server", "--no-skip-checkout"]
    done = subprocess.run(
        [*command, *stubs, *variables],
        cwd=folder,
        env=os.environ | {"HOME": str(folder.parent / "home"), "XDG_CACHE_HOME": str(folder.parent / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,
    )
    return done.returncode, done.stdout, artifacts


def test_green_on_main(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    make_repository(folder, gate=0.6)
    status, log, artifacts = act(folder)
    assert status == 0, log[-6000:]
    names = {path.name for path in artifacts.iterdir()}
    stages = ("data", "train", "tune", "drift")
    each = {f"{stage}-{dataset}" for stage in stages for dataset in ("houses", "customers")}
    assert names == each | {"comparison", "validation", "summary"}
    assert not (artifacts / "train-houses/metrics/train/customers.json").exists()
    for path in (
        "data-houses/data/houses.csv",
        "train-houses/mlruns/db.sqlite",
        "tune-customers/reports/customers/tuning/forest/optimization_history.html",
        "drift-houses/reports/houses/drift_report.html",
        "comparison/reports/comparison_report.html",
        "comparison/metrics/comparison_results.json",
        "validation/logs/validation.log",
    ):
        assert (artifacts / path).is_file(), path
    assert "forest_tuned" in (artifacts / "comparison/metrics/comparison_results.json").read_text()
    summary = (artifacts / "summary/summary.md").read_text()
    for job in ("setup", "data", "train", "tune", "drift", "compare", "validate"):
        assert f"| {job} | success |" in summary
    assert "| houses |" in summary


def test_a_broken_gate_turns_the_run_red(tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    folder.mkdir()
    make_repository(folder, gate=0.999)
    status, log, artifacts = act(folder)
    assert status != 0
    assert "FAIL" in (artifacts / "validation/logs/validation.log").read_text(), log[-6000:]
    summary = (artifacts / "summary/summary.md").read_text()
    assert "| validate | failure |" in summary
    assert "| compare | success |" in summary
