"""A store that cannot be used: one line that names it and the mend, exit code 2, and nothing touched."""

import contextlib
import ctypes
import getpass
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType

import mlflow.sklearn
import pytest
from sqlalchemy import create_engine

import compare_results
import generate_data
import train
import tune_hyperparameters
import validate
from pipeline.console import PipelineError
from pipeline.store.addresses import mend_addresses
from pipeline.store.connect import experiment_id, open_store
from pipeline.store.runs import run_of
from pipeline.store.source import current_commit, source_tags
from pipeline.store.sqlite import ALLOW, RESTORE, create_database
from pipeline.store.write import RunRecord, write_runs
from pipeline.training.record import IMPORTANCE

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
    # the gates were decided before
    ignored = {"logs/validation.log", "metrics/validation.json", "reports/index.html"}
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
    tags = {"dataset": "customers", "stage": "baseline", "model_type": "other", "data_sha256": "", "params_sha256": ""}
    write_runs(client, "customers", [RunRecord("other", tags)])
    assert run_of(client, "customers", "other", "", "").name == "other"
    assert "db.sqlite: another program holds it; waiting" in capfd.readouterr().err
    assert holder.wait() == 0


def test_only_a_store_that_is_being_made_does_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits(database: Path) -> bool:
        engine = create_engine(f"sqlite:///{database}")
        with closing(engine.raw_connection()) as connection:
            found = connection.execute("PRAGMA synchronous").fetchone()
        engine.dispose()
        return found != (0,)

    while_made, store, synced = list[bool](), tmp_path / "store" / "db.sqlite", list[int]()
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
    create_database(store, lambda new: while_made.append(waits(new)))
    assert while_made == [False]
    assert synced == [store.stat().st_ino]
    assert waits(store)


def test_another_process_leaves_the_log_of_a_store_that_is_opened_twice(project: Path) -> None:
    log = MLFLOW.with_name("db.sqlite-wal")
    with closing(sqlite3.connect(MLFLOW)) as connection:
        connection.execute("SELECT * FROM experiments").fetchall()
        assert log.exists()
        open_store()
        # the last connection of all deletes it, as this one would be if the process had lost its locks
        code = f"import sqlite3; sqlite3.connect({str(MLFLOW)!r}).execute('SELECT * FROM experiments').fetchall()"
        subprocess.run([sys.executable, "-c", code], check=True)
        assert log.exists()


def test_a_command_that_ends_leaves_no_log_of_a_store(tmp_path: Path) -> None:
    code = """
        from pipeline.console import exit_code
        from pipeline.search.study import open_study
        from pipeline.store.connect import experiment_id, open_store
        # kept to the end, as what a library keeps
        kept = open_store(create=True), open_study("table", "linear", "linear", "r2")
        raise SystemExit(exit_code(lambda: experiment_id(kept[0], "table", create=True) is None))
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(train.__file__).parent)}
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, env=environment, check=True)
    assert {path.name for path in tmp_path.rglob("*.*") if path.suffix != ".lock"} == {"db.sqlite", "table.db"}


@pytest.mark.parametrize("script", ["train", "tune"])
def test_plots_stand_for_a_run_that_is_there(project: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    # or DVC takes a stage that failed in a fresh clone, where the metrics are committed, for one that is done
    module, words, _ = SCRIPTS[script]
    shutil.rmtree("reports")
    shutil.rmtree("mlruns")

    def refuses(*_: object, **__: object) -> None:
        raise PipelineError("full")

    with monkeypatch.context() as context:
        context.setattr("pipeline.training.record.write_runs", refuses)
        assert module.main(words) == 2
    assert not [*Path("reports").rglob("predictions_plot.png")]


def test_a_run_that_other_code_finds_again_has_the_importances_of_that_code(project: Path) -> None:
    def logged() -> tuple[str, dict[str, float]]:
        run = run_of(open_store(), "customers", "linear", *hashes_of("linear"))
        run.check([IMPORTANCE])
        return run.run_id, json.loads(run.artifact(IMPORTANCE).read_text())

    before = logged()
    # in another process, as MLflow keeps where the run's files were before the project was copied
    code = "import train; from pipeline.training import importance; importance.IMPORTANCE_REPEATS = 1; "
    code += f"raise SystemExit(train.main({[*WORDS, '--force']}))"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(Path(train.__file__).parent)}
    )
    after = logged()
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_the_experiment_of_a_dataset_is_named_in_one_place(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = Path("metrics/comparison_results.json").read_text()
    shutil.rmtree("mlruns")
    monkeypatch.setattr(
        "pipeline.store.connect.experiment_name", lambda dataset, search=False: f"tabular/{dataset}{'.trials' * search}"
    )
    assert train.main(WORDS) == 0
    assert tune_hyperparameters.main([*WORDS, "--n-trials", "2"]) == compare_results.main([]) == 0
    assert Path("metrics/comparison_results.json").read_text() == results
    client = open_store()
    assert [found.name for found in client.search_experiments()] == [
        "tabular/customers.trials",
        "tabular/customers",
        "Default",
    ]
    # also in a store that was moved away from the addresses in its database
    Path("mlruns").rename("elsewhere")
    assert compare_results.main(["--tracking-uri", f"sqlite:///{Path('elsewhere/db.sqlite').resolve()}"]) == 0
    assert Path("metrics/comparison_results.json").read_text() == results


def test_mlflows_own_variables_name_the_experiment_and_switch_system_metrics(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "team.models")
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    known = {experiment.name for experiment in open_store().search_experiments()}
    assert train.main([*WORDS, "--force"]) == tune_hyperparameters.main([*WORDS, "--n-trials", "3"]) == 0
    client = open_store()
    assert {experiment.name for experiment in client.search_experiments()} - known == {
        "team.models",
        "team.models.trials",
    }
    for stage, experiment in (("baseline", "team.models"), ("study", "team.models.trials")):
        found = client.get_experiment_by_name(experiment)
        [run] = client.search_runs([found.experiment_id], f"tags.stage = '{stage}'")
        metrics = [metric for metric in run.data.metrics if metric.startswith("system/")]
        assert {"system/cpu_utilization_percentage", "system/disk_usage_percentage"} <= {*metrics}
        steps = [point.step for point in client.get_metric_history(run.info.run_id, metrics[0])]
        assert steps == [*range(1, len(steps) + 1)]
    # of another dataset in the same experiment it is not
    run_of(client, "customers", "linear", *hashes_of("linear"))
    with pytest.raises(PipelineError, match="no MLflow run"):
        run_of(client, "others", "linear", *hashes_of("linear"))
    assert compare_results.main([]) == 0


@pytest.mark.parametrize("interval", ["abc", "0", "-1", "nan"])
def test_a_sampling_interval_that_is_none_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], interval: str
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", interval)
    assert train.main([*WORDS, "--force"]) == 2
    error = f"error: MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL: {interval!r} is no number of seconds above 0\n"
    assert capsys.readouterr().err == error


def hashes_of(model: str) -> tuple[str, str]:
    trained = json.loads(Path("metrics/train/customers.json").read_text())
    return trained["data_sha256"], trained["models"][model]["params_sha256"]


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


def test_mlflow_shows_models_first_and_names_them(project: Path) -> None:
    client = open_store()
    models, trials = client.get_experiment_by_name("customers"), client.get_experiment_by_name("customers.trials")
    # the page of an experiment begins with its newest runs: of models here, and of studies with trials below there
    stages = [
        [run.data.tags["stage"] for run in client.search_runs([found.experiment_id])] for found in (models, trials)
    ]
    assert stages == [["tuned", "baseline"], ["trial", "trial", "study"]]
    [tuned, _] = client.search_runs([models.experiment_id])
    assert tuned.data.tags["mlflow.note.content"].endswith("found in the experiment customers.trials.")
    names = {model.name for model in client.search_logged_models([models.experiment_id])}
    assert names == {"customers-linear", "customers-linear_tuned"}
    [study] = client.search_runs([trials.experiment_id], "tags.stage = 'study'")
    [found] = json.loads(Path("metrics/tune/customers.json").read_text())["models"].values()
    assert study.data.metrics["best_value"] == pytest.approx(found["best_value"], abs=1e-6)
    assert {end: study.data.metrics[f"{end}_trials"] for end in found["trials"]} == found["trials"]
    assert study.data.metrics["pruned_work"] == pytest.approx(found["pruned_work"], abs=1e-6)
    # more trials later are more trials of the same study
    assert tune_hyperparameters.main([*WORDS, "--n-trials", "3"]) == 0
    [study] = client.search_runs([trials.experiment_id], "tags.stage = 'study'")
    assert sum(study.data.metrics[f"{end}_trials"] for end in found["trials"]) == 3


def test_an_experiment_is_shown_as_model_training(project: Path) -> None:
    kind = "custom_model_development"
    client = open_store()
    shown = client.get_experiment_by_name("customers")
    assert shown.tags["mlflow.experimentKind"] == kind
    # one that was made without
    execute(MLFLOW, "DELETE FROM experiment_tags")
    assert experiment_id(client, "customers") == shown.experiment_id
    assert client.get_experiment_by_name("customers").tags == {}
    assert experiment_id(client, "customers", create=True) == shown.experiment_id
    assert client.get_experiment_by_name("customers").tags["mlflow.experimentKind"] == kind


def test_a_study_of_an_older_store_is_found_and_goes_on_where_it_is(project: Path) -> None:
    results = Path("metrics/comparison_results.json").read_text()
    client = open_store()
    one, two = (client.get_experiment_by_name(name).experiment_id for name in ("customers", "customers.trials"))
    # where studies used to be
    execute(MLFLOW, f"UPDATE runs SET experiment_id = {one} WHERE experiment_id = {two}")
    assert compare_results.main([]) == 0
    assert Path("metrics/comparison_results.json").read_text() == results
    assert tune_hyperparameters.main([*WORDS, "--n-trials", "3"]) == 0
    assert len(client.search_runs([one], "tags.stage = 'trial'")) == 3
    assert client.search_runs([two]) == []


def test_a_run_names_its_commit_and_whether_the_tree_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tags() -> dict[str, str]:
        source_tags.cache_clear()
        return source_tags()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(sys, "argv", ["/somewhere/train.py"])
    outside = {"mlflow.user": getpass.getuser(), "mlflow.source.name": "train.py", "mlflow.source.type": "LOCAL"}
    assert tags() == outside
    assert current_commit() == "-"
    for path in ("params.yaml", "metrics/train.json", "notes"):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text("seed: 1")
    me = ["-c", "user.name=me", "-c", "user.email=me@example.com"]
    for words in (["init", "-q"], ["add", "params.yaml", "metrics"], [*me, "commit", "-q", "-m", "settings"]):
        subprocess.run(["git", *words], check=True)
    # what the scripts write is no change
    Path("metrics/train.json").write_text("{}")
    commit = {"mlflow.source.git.commit": current_commit(), "mlflow.source.git.dirty": "false"}
    assert tags() == outside | commit
    Path("params.yaml").write_text("seed: 2")
    assert tags() == outside | commit | {"mlflow.source.git.dirty": "true", "git": "uncommitted changes"}
    monkeypatch.setattr("getpass.getuser", lambda: {}["no name"])
    monkeypatch.setenv("PATH", "")
    assert tags() == outside | {"mlflow.user": "unknown"}
    source_tags.cache_clear()
