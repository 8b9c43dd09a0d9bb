"""A store that cannot be used: one line that names it and the mend, exit code 2, and nothing touched."""

import contextlib
import ctypes
import io
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType

import mlflow.sklearn
import pytest

import compare_results
import generate_data
import train
import tune_hyperparameters
import validate
from pipeline.store.addresses import mend_addresses
from pipeline.store.connect import open_store
from pipeline.store.runs import run_of
from pipeline.store.sqlite import ALLOW, RESTORE
from pipeline.store.write import RunRecord, write_runs

MLFLOW, OPTUNA = Path("mlruns/db.sqlite"), Path("mlruns/optuna/customers.db")
WORDS = ["--dataset", "customers", "--model", "linear"]
# Every script that opens a store; --promote opens it once the gates have passed.
SCRIPTS: dict[str, tuple[ModuleType, list[str], Path]] = {
    "train": (train, WORDS, MLFLOW),
    "tune": (tune_hyperparameters, [*WORDS, "--n-trials", "2"], MLFLOW),
    "tune, its study": (tune_hyperparameters, [*WORDS, "--n-trials", "3"], OPTUNA),
    "compare": (compare_results, [], MLFLOW),
    "promote": (validate, ["--dataset", "customers", "--promote"], MLFLOW),
    "rollback": (validate, ["--rollback", "customers"], MLFLOW),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after every stage."""
    import yaml
    from conftest import PARAMS, make_customers

    folder = tmp_path_factory.mktemp("stores") / "project"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        customers = PARAMS["datasets"]["customers"]
        Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "datasets": {"customers": customers}}))
        make_customers().to_csv(customers["source"], index=False)
        assert generate_data.main([]) == train.main(WORDS) == 0
        assert tune_hyperparameters.main([*WORDS, "--n-trials", "2"]) == compare_results.main([]) == 0
        execute(MLFLOW, "PRAGMA wal_checkpoint(TRUNCATE)")
    return folder


@pytest.fixture
def project(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the current folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # without SQLite's side files, which are empty by now
    shutil.copytree(whole, tmp_path / "project", ignore=shutil.ignore_patterns("*-wal", "*-shm"))
    monkeypatch.chdir(tmp_path / "project")
    with contextlib.redirect_stderr(io.StringIO()):
        mend_addresses(MLFLOW, "artifacts")
    return tmp_path / "project"


def execute(database: Path, statement: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(statement)


def overwrite_middle(database: Path) -> None:
    size = database.stat().st_size
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))


def make_folder(database: Path) -> None:
    database.unlink()
    database.mkdir()


def make_foreign(database: Path) -> None:
    database.unlink()
    execute(database, "CREATE TABLE recipes (name)")


DEFECTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "not a database": (lambda database: database.write_bytes(b"no database" * 1000), RESTORE),
    "cut off": (lambda database: os.truncate(database, database.stat().st_size // 2), RESTORE),
    "damaged": (overwrite_middle, RESTORE),
    "a folder": (make_folder, "is a folder or a device"),
    "another program's": (make_foreign, "it has no table"),
    "of a newer version": (
        lambda database: execute(database, "UPDATE alembic_version SET version_num = 'ffffffffffff'"),
        "install",
    ),
    "a read-only file": (lambda database: database.chmod(0o444), ALLOW),
    "in a read-only folder": (lambda database: database.parent.chmod(0o555), ALLOW),
}


@contextmanager
def permissions_count() -> Iterator[None]:
    """Root may write everywhere: its capabilities to do so are given up for a while."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    held = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, held) == 0
    fewer = (ctypes.c_uint32 * 6)(*held)
    fewer[0] &= ~0b1110  # effective CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH and CAP_FOWNER
    assert libc.capset(header, fewer) == 0
    try:
        yield
    finally:
        assert libc.capset(header, held) == 0


def contents(folder: Path) -> dict[str, bytes]:
    """All files; SQLite's own side files and lock files may come and go."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("-wal", "-shm", ".lock"))
    }


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_one_line_and_nothing_touched(
    project: Path, script: str, defect: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module, words, database = SCRIPTS[script]
    plant, sign = DEFECTS[defect]
    plant(database)
    before = contents(project)
    capsys.readouterr()
    try:
        with permissions_count():
            assert module.main(words) == 2
    finally:
        database.parent.chmod(0o755)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert str(database) in lines[0]
    assert sign in lines[0]
    ignored = {"logs/validation.log", "metrics/validation.json"}  # the gates were decided before
    after = contents(project)
    assert {name for name in before | after if before.get(name) != after.get(name)} <= ignored


def test_a_store_that_is_locked_for_long_is_waited_for(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    client = open_store()
    hold = (
        "import sqlite3, sys, time\n"
        f"connection = sqlite3.connect({str(MLFLOW)!r}, isolation_level=None)\n"
        "connection.execute('BEGIN EXCLUSIVE')\nprint('held', flush=True)\ntime.sleep(float(sys.argv[1]))\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold, "2"], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    tags = {"stage": "baseline", "model_type": "other", "data_sha256": "", "params_sha256": ""}
    write_runs(client, "customers", [RunRecord("other", tags)])
    assert run_of(client, "customers", "other", "", "").name == "other"
    assert "db.sqlite: another program holds it; waiting" in capfd.readouterr().err
    assert holder.wait() == 0


def test_the_experiment_of_a_dataset_is_named_in_one_place(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = Path("metrics/comparison_results.json").read_text()
    shutil.rmtree("mlruns")
    monkeypatch.setattr("pipeline.store.connect.experiment_name", lambda dataset: f"tabular/{dataset}")
    assert train.main(WORDS) == 0
    assert tune_hyperparameters.main([*WORDS, "--n-trials", "2"]) == compare_results.main([]) == 0
    assert Path("metrics/comparison_results.json").read_text() == results
    client = open_store()
    assert [found.name for found in client.search_experiments()] == ["tabular/customers", "Default"]
    # also in a store that was moved away from the addresses in its database
    Path("mlruns").rename("elsewhere")
    assert compare_results.main(["--tracking-uri", f"sqlite:///{Path('elsewhere/db.sqlite').resolve()}"]) == 0
    assert Path("metrics/comparison_results.json").read_text() == results


def test_a_copied_project_has_its_own_files_and_leaves_those_of_the_original(
    whole: Path, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = contents(whole)
    project = project / "copy"
    shutil.copytree(whole, project, ignore=shutil.ignore_patterns("*-wal", "*-shm"))
    monkeypatch.chdir(project)
    (project / "artifacts/own").mkdir(parents=True)
    own = (project / "artifacts/own").as_uri()
    columns = "name, artifact_location, lifecycle_stage, workspace"
    execute(MLFLOW, f"INSERT INTO experiments ({columns}) VALUES ('own', '{own}', 'active', 'default')")
    assert train.main([*WORDS[:2], "--model", "gradient_boosting"]) == 0
    told = capsys.readouterr().err
    assert f"the store was at {(whole / 'mlruns/artifacts').as_uri()} before; its addresses are mended" in told
    client = open_store()
    assert "mended" not in capsys.readouterr().err
    [experiment] = [found for found in client.search_experiments() if found.name == "customers"]
    here = (project / "mlruns/artifacts").as_uri()
    assert experiment.artifact_location == f"{here}/customers"
    runs = client.search_runs([experiment.experiment_id])
    assert all(run.info.artifact_uri.startswith(here) for run in runs)
    models = client.search_logged_models([experiment.experiment_id])
    assert len(models) == 3
    for model in models:
        assert model.artifact_location.startswith(here)
        # as `mlflow models predict` finds it
        assert mlflow.sklearn.load_model(model.artifact_location) is not None
    assert client.get_experiment_by_name("own").artifact_location == own
    assert contents(whole) == original


def test_an_older_store_is_not_migrated_unasked(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """MLflow does so where a table is missing; killed on the way, it can open the store no more."""
    execute(MLFLOW, "UPDATE alembic_version SET version_num = '451aebb31d03'")
    execute(MLFLOW, "DROP TABLE webhook_events")
    execute(MLFLOW, "PRAGMA wal_checkpoint(TRUNCATE)")
    before = contents(project)
    capsys.readouterr()
    assert compare_results.main([]) == 2
    assert "copy the file and run `mlflow db upgrade sqlite:///" in capsys.readouterr().err
    assert contents(project) == before
