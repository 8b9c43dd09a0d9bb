"""The doctor finds nothing wrong with a whole project, and each defect that is planted in it."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from conftest import PARAMS, ROOT, make_customers

import compare_results
import detect_drift
import generate_data
import train
import tune_hyperparameters
import validate
from pipeline import doctor

DATABASES = ("mlruns/db.sqlite", "mlruns/optuna/customers.db")


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project after every stage, and a copy of its files beside it."""
    folder = tmp_path_factory.mktemp("doctor") / "project"
    folder.mkdir()
    customers = {**PARAMS["datasets"]["customers"], "tune": "linear"}
    spaces = {"linear": PARAMS["search_spaces"]["linear"]}
    params = {**PARAMS, "datasets": {"customers": customers}, "search_spaces": spaces}
    params["models"] = {"linear": PARAMS["models"]["linear"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        make_customers(120).to_csv(customers["source"], index=False)
        assert generate_data.main([]) == train.main([]) == detect_drift.main([]) == 0
        assert tune_hyperparameters.main(["--n-trials", "2"]) == compare_results.main([]) == 0
        assert validate.main([]) in (0, 1)
        shutil.copytree(folder, folder.parent / "copy")
        yield folder


@pytest.fixture
def project(healthy: Path) -> Iterator[Path]:
    """The whole project; what a test does to its files is undone (databases stay in place: they are open)."""
    yield healthy
    copy = healthy.parent / "copy"
    for path in [path for path in healthy.rglob("*") if path.is_file()]:
        original = copy / path.relative_to(healthy)
        if not original.exists():
            path.unlink()
        elif not path.name.startswith(("db.sqlite", "customers.db")):
            shutil.copy(original, path)
    for path in [path for path in copy.rglob("*") if path.is_file()]:
        target = healthy / path.relative_to(copy)
        if not target.exists():
            shutil.copy(path, target)


def execute(database: str, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        assert connection.execute(statement).rowcount > 0


def model_file() -> Path:
    return next(Path("mlruns/artifacts").rglob("model.pkl"))


def spoil_scores() -> None:
    path = Path("metrics/comparison_results.json")
    path.write_text(path.read_text().replace("0.", "0.0"))


def change_seed() -> None:
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("seed: 7", "seed: 8"))


DEFECTS: dict[str, tuple[Callable[[], object], str]] = {
    "a table that was edited": (lambda: Path("data/customers.csv").write_text("a,b\n"), "is not the table"),
    "a table that is missing": (lambda: Path("data/customers.csv").unlink(), "generate_data.py --dataset customers"),
    "settings that were changed": (change_seed, "is stale (of other settings); run `python train.py"),
    "metrics that are missing": (lambda: Path("metrics/train/customers.json").unlink(), "customers.json is missing"),
    "metrics that are cut off": (lambda: Path("metrics/tune/customers.json").write_text('{"mod'), "cannot be read"),
    "a comparison of other scores": (spoil_scores, "linear is not what was trained; run `python compare_results.py`"),
    "a model file that is missing": (lambda: model_file().unlink(), "model.pkl: not found"),
    "a model file that was changed": (lambda: model_file().write_bytes(b"x"), "SHA-256 differs"),
    "an artifact that is missing": (
        lambda: [path.unlink() for path in Path("mlruns/artifacts").rglob("predictions.csv")],
        "predictions.csv: not found",
    ),
    "a file that a kill left": (lambda: Path("reports/.writing-999999999-x.html").touch(), "left by a killed process"),
    "a study that is missing": (lambda: Path(DATABASES[1]).unlink(), "the study of linear cannot be gone on with"),
}
RUN = "WHERE run_uuid = (SELECT run_uuid FROM runs JOIN tags USING (run_uuid) WHERE key = 'stage' AND value = '{}')"
STORED_DEFECTS = {
    "a run that a kill left": (
        *("UPDATE runs SET status = 'RUNNING' " + RUN.format("baseline"), "UPDATE runs SET status = 'FINISHED'"),
        *(DATABASES[0], "1 MLflow runs of killed processes"),
    ),
    "a run that was deleted": (
        "UPDATE runs SET lifecycle_stage = 'deleted' " + RUN.format("tuned"),
        "UPDATE runs SET lifecycle_stage = 'active'",
        *(DATABASES[0], "no MLflow run of linear_tuned"),
    ),
    "a run with other scores": (
        "UPDATE latest_metrics SET value = value + 1 WHERE key = 'accuracy'",
        "UPDATE latest_metrics SET value = value - 1 WHERE key = 'accuracy'",
        *(DATABASES[0], "the MLflow run of linear has other scores than the metrics"),
    ),
    "a trial that was not logged": (
        "UPDATE runs SET lifecycle_stage = 'deleted' WHERE name = 'Trial_2'",
        "UPDATE runs SET lifecycle_stage = 'active'",
        *(DATABASES[0], "2 trials of linear in mlruns/optuna/customers.db, 1 in MLflow"),
    ),
}


def test_nothing_is_wrong_with_a_whole_project(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main() == 0, capsys.readouterr().out
    assert capsys.readouterr().out == "all is well\n"


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found(project: Path, defect: str, capsys: pytest.CaptureFixture[str]) -> None:
    plant, words = DEFECTS[defect]
    plant()
    assert doctor.main() == 1
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("defect", STORED_DEFECTS)
def test_a_defect_in_a_store_is_found(project: Path, defect: str, capsys: pytest.CaptureFixture[str]) -> None:
    plant, undo, database, words = STORED_DEFECTS[defect]
    execute(database, plant)
    try:
        assert doctor.main() == 1
    finally:
        execute(database, undo)
    assert words in capsys.readouterr().out


def test_other_versions_of_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pins = tmp_path / "requirements.txt"
    pins.write_text("-c constraints.txt\npyyaml==0.1\nno-such-package==1.0\n")
    monkeypatch.setattr(doctor, "REQUIREMENTS", pins)
    found = list(doctor.check_packages())
    assert len(found) == 2
    assert found[0].endswith("pinned is 0.1; run `pip install -r requirements.txt`")
    assert found[1].startswith("package no-such-package is missing")


def test_a_mistake_in_the_settings_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctor.main() == 2
    assert capsys.readouterr().err.startswith("error: params.yaml: not found")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project of one stage, which was run."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / ".dvc", ".dvc", ignore=shutil.ignore_patterns("tmp", "cache"))
    subprocess.run(["git", "init", "-q"], check=True)
    Path("dvc.yaml").write_text("stages: {copy: {cmd: cp a b, deps: [a], outs: [b]}}\n")
    Path("a").write_text("1")
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], check=True)
    return tmp_path


def test_dvc_and_its_lock(repository: Path) -> None:
    assert list(doctor.check_dvc()) == []
    Path("a").write_text("2")
    assert list(doctor.check_dvc()) == ["stages that are out of date: copy; run `make pipeline`"]
    holder = {"pid": 999_999_999, "cmd": "dvc repro"}
    Path(".dvc/tmp/rwlock").write_text(json.dumps({"read": {}, "write": {"b": holder}}))
    assert "names the killed process 999999999" in next(doctor.check_dvc())
    Path(".dvc/tmp/rwlock").write_text('{"re')
    assert list(doctor.check_dvc()) == [".dvc/tmp/rwlock: cannot be read; delete it when no `dvc` is running"]
    Path(".dvc/tmp/rwlock").unlink()
    Path("dvc.lock").write_text("schema: '2.0'\nstages: {co")
    assert "dvc.lock: cannot be read; run `git checkout dvc.lock`" in next(doctor.check_dvc())
