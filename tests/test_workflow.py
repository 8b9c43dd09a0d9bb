"""The workflow file itself, run by act on this machine: each job in a fresh folder with its checkout and downloads."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from workflows import act, commit, make_repository, run

WORKFLOW = ROOT / ".github/workflows/ml-pipeline.yml"
COMMENT = "<!-- ml-pipeline -->"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository")


@pytest.mark.slow
def test_green_on_main(repository: Path) -> None:
    status, log, artifacts = act(WORKFLOW, repository, "push", {})
    assert status == 0, log[-6000:]
    names = {path.name for path in artifacts.iterdir()}
    stages = ("data", "train", "tune", "ensemble", "drift")
    each = {f"{stage}-{dataset}" for stage in stages for dataset in ("houses", "customers")}
    assert names == each | {"comparison", "validation", "summary"}
    # a job has its checkout and its downloads, and nothing else
    assert not (artifacts / "train-houses/metrics/train/customers.json").exists()
    for path in (
        "data-houses/data/houses.csv",
        "train-houses/mlruns/db.sqlite",
        "tune-customers/reports/customers/tuning/forest/tuning.html",
        "ensemble-houses/metrics/ensemble/houses.json",
        "comparison/metrics/ensemble/houses.json",
        "drift-houses/reports/houses/drift_report.html",
        "comparison/reports/comparison_report.html",
        "comparison/metrics/comparison_results.json",
        "comparison/metrics/checks.json",
        "validation/logs/validation.log",
    ):
        assert (artifacts / path).is_file(), path
    assert "forest_tuned" in (artifacts / "comparison/metrics/comparison_results.json").read_text()
    summary = (artifacts / "summary/summary.md").read_text()
    assert "## Pipeline: PASS" in summary
    for job in ("setup", "data", "train", "tune", "ensemble", "drift", "compare", "validate"):
        assert f"| {job} | success |" in summary
    assert "MLflow runs: 6 models, 8 trials." in summary
    assert "| houses |" in summary
    lines = (artifacts / "validation/logs/validation.log").read_text().splitlines()
    assert len(lines) == 2
    assert all(" PASS " in line for line in lines)


@pytest.mark.slow
def test_a_broken_gate_turns_a_pull_request_red_and_its_comment_says_what_changed(repository: Path) -> None:
    earlier = {"houses": {}, "customers": {"linear": {"accuracy": 0.125}}}
    (repository / "metrics/comparison_results.json").write_text(json.dumps(earlier))
    commit(repository)
    run(repository, "git", "checkout", "-q", "-b", "change")
    params = (repository / "params.yaml").read_text()
    (repository / "params.yaml").write_text(params.replace("above: 0.6", "above: 0.999"))
    (repository / "metrics/comparison_results.json").unlink()
    commit(repository)
    request = {"number": 7, "head": {"ref": "change", "repo": {"full_name": "owner/project"}}, "base": {"ref": "main"}}
    status, log, artifacts = act(WORKFLOW, repository, "pull_request", {"number": 7, "pull_request": request})
    assert status != 0
    names = {path.name for path in artifacts.iterdir()}
    each = {f"{stage}-{dataset}" for stage in ("data", "train") for dataset in ("houses", "customers")}
    assert names == each | {"comparison", "validation", "summary"}, log[-6000:]
    assert "FAIL" in (artifacts / "validation/logs/validation.log").read_text()
    summary = (artifacts / "summary/summary.md").read_text()
    assert "## Pipeline: FAIL" in summary
    for job, result in (("train", "success"), ("tune", "skipped"), ("compare", "success"), ("validate", "failure")):
        assert f"| {job} | {result} |" in summary
    assert re.search(r"\| customers\.linear\.accuracy +\| 0\.125 +\| 0\.\d+ +\| 0\.\d+ +\|\n", summary)
    github = repository.parent / "github"
    assert "--method PATCH repos/owner/project/issues/comments/41" in (github / "calls").read_text()
    assert (github / "body.md").read_text() == summary


@pytest.mark.slow
def test_a_table_that_differs_stops_its_own_dataset_alone(repository: Path) -> None:
    facts = repository / "metrics/data/houses.json"
    facts.write_text(facts.read_text().replace('"sha256": "', '"sha256": "0'))
    commit(repository)
    status, log, artifacts = act(WORKFLOW, repository, "workflow_dispatch", {"inputs": {"tune": "false"}})
    assert status != 0
    names = {path.name for path in artifacts.iterdir()}
    assert names == {"data-customers", "train-customers", "validation", "summary"}, log[-6000:]
    # act may lose the last lines that a failing step prints; the step's own words are tested below
    [line] = [line for line in log.splitlines() if "Failure - Main" in line and "Check that the table" in line]
    assert "(houses)" in line
    summary = (artifacts / "summary/summary.md").read_text()
    for job, result in (("setup", "success"), ("data", "failure"), ("tune", "skipped"), ("compare", "skipped")):
        assert f"| {job} | {result} |" in summary
    assert "| validate | failure |" in summary


def test_a_table_that_differs_is_named(repository: Path) -> None:
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["data"]["steps"]
    [step] = [step for step in steps if step.get("name") == "Check that the table is the committed one"]

    def check() -> subprocess.CompletedProcess[str]:
        words = ["bash", "-e", "-c", step["run"]]
        environment = os.environ | {"DATASET": "houses"}
        return subprocess.run(words, cwd=repository, env=environment, capture_output=True, text=True, check=False)

    assert check().returncode == 0
    facts = repository / "metrics/data/houses.json"
    facts.write_text(facts.read_text().replace('"sha256": "', '"sha256": "0'))
    done = check()
    assert done.returncode == 1
    assert "::error::the table of houses is not the one of the committed metrics" in done.stdout


@pytest.mark.parametrize(
    ("there", "call"),
    [
        ("", "api --method POST repos/owner/project/issues/7/comments --field body=@summary.md"),
        ("41\n42\n", "api --method PATCH repos/owner/project/issues/comments/41 --field body=@summary.md"),
    ],
)
def test_one_comment_is_made_and_then_updated(tmp_path: Path, there: str, call: str) -> None:
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["notify"]["steps"]
    [step] = [step for step in steps if "COMMENTS" in step.get("env", {})]
    (tmp_path / "comment").write_text(there)
    (tmp_path / "summary.md").write_text(COMMENT)
    variables = {"COMMENTS": "repos/owner/project/issues/7/comments", "REPOSITORY": "repos/owner/project"}
    path = f"{ROOT}/tests/actions/bin:{os.environ['PATH']}"
    run(tmp_path, "bash", "-e", "-c", step["run"], PATH=path, STUB_GITHUB=str(tmp_path), **variables)
    listing, posted = (tmp_path / "calls").read_text().splitlines()
    assert COMMENT in listing
    assert posted == call
    assert (tmp_path / "body.md").read_text() == COMMENT
