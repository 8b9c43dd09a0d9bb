"""Every stage killed, at each publication of a file and each commit to a store, and at random moments: nothing is half
written, and the same command then ends as if it had not been killed.

A server process imports the libraries once; each call is a fork of it, so that hundreds of kills are affordable. Only
what pictures show is left out.
"""

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PARAMS, ROOT, make_customers

pytestmark = pytest.mark.slow

MODELS = ("linear", "gradient_boosting")
# In the order of the pipeline; how many kill points each has at least, so that a hook that no longer works is seen.
STAGES: dict[str, tuple[str, list[str], int]] = {
    "generate": ("generate_data", [], 2),
    "train": ("train", [], 25),
    "tune": ("tune_hyperparameters", ["--model", "linear", "--n-trials", "3"], 40),
    "drift": ("detect_drift", [], 4),
    "compare": ("compare_results", [], 5),
    "validate": ("validate", [], 1),
    "promote": ("validate", ["--promote"], 5),
}
RANDOM_MOMENTS = 8
PRELOAD = [
    *("compare_results", "detect_drift", "generate_data", "train", "tune_hyperparameters", "validate"),
    *(
        "alembic.command",
        "evidently",
        "evidently.presets",
        "matplotlib.pyplot",
        "mlflow.sklearn",
        "optuna.visualization",
    ),
    *(
        "optuna.visualization.matplotlib",
        "mlflow.store.tracking.sqlalchemy_store",
        "plotly.graph_objects",
        "plotly.offline",
        "scipy.stats",
    ),
    *(
        "pipeline.training.assess",
        "pipeline.plots.run",
        "pipeline.comparison.page",
        "sklearn.ensemble",
        "sklearn.linear_model",
        "sklearn.model_selection",
    ),
]
server = multiprocessing.get_context("forkserver")


def run_script(script: str, words: list[str], folder: Path, output: Path, kill_at: int, disk: int | None) -> None:
    """In the forked process: run a script's main, and kill it before its n-th publication or commit.

    Args:
        disk: no file can grow beyond so many bytes.
    """
    import importlib
    import resource

    import optuna
    import plotly.graph_objects
    from matplotlib.figure import Figure
    from sqlalchemy.engine.default import DefaultDialect

    from pipeline.plots import run as run_figures

    os.chdir(folder)
    written = os.open(output, os.O_WRONLY)
    os.dup2(written, 1)
    os.dup2(written, 2)
    if disk is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))
    events = 0

    def event() -> None:
        nonlocal events
        events += 1
        if events == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    replace, commit = os.replace, DefaultDialect.do_commit

    def watched_replace(source: Any, target: Any) -> None:
        event()
        replace(source, target)

    def watched_commit(dialect: Any, connection: Any) -> None:
        # a database that is still being made is published as a whole
        if connection.in_transaction and ".new" not in connection.execute("PRAGMA database_list").fetchone()[2]:
            event()
        commit(dialect, connection)

    def blank(figure: Any, file: Any, **options: Any) -> None:
        Path(file).write_bytes(b"blank")

    os.replace, DefaultDialect.do_commit, Figure.savefig = watched_replace, watched_commit, blank  # type: ignore
    for name in ("feature_importance", "predictions_plot", "diagnostics"):
        setattr(run_figures, name, lambda *facts: Figure())
    for name in ("plot_optimization_history", "plot_param_importances", "plot_parallel_coordinate", "plot_slice"):
        setattr(optuna.visualization, name, lambda study, **options: plotly.graph_objects.Figure())
        setattr(optuna.visualization.matplotlib, name, lambda study, **options: Figure().subplots())
    code = importlib.import_module(script).main(words)
    # the last thing done is followed by a kill too
    if code == 0 and events + 1 == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit(code)


class Project:
    """A project folder whose state before and after each stage is known."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "work"
        # a pipe has a place for what is printed even where no file can grow
        self.pipe = home / "output"
        os.mkfifo(self.pipe)
        self.reader = os.open(self.pipe, os.O_RDONLY | os.O_NONBLOCK)

    def start(self, script: str, words: list[str], kill_at: int = 0, disk: int | None = None) -> BaseProcess:
        process = server.Process(target=run_script, args=(script, words, self.folder, self.pipe, kill_at, disk))
        process.start()
        return process

    def call(
        self, stage: str, kill_at: int = 0, kill_after: float | None = None, disk: int | None = None
    ) -> tuple[int | None, str]:
        """The exit code of a call, -9 where it was killed, and what it printed."""
        script, words, _ = STAGES[stage]
        process = self.start(script, words, kill_at, disk)
        process.join(kill_after)
        if process.is_alive():
            process.kill()
            process.join()
        return process.exitcode, self.printed()

    def printed(self) -> str:
        """What processes printed since the last call of this."""
        text = b""
        # empty where nobody writes, an error where a process that could has nothing to say yet
        with contextlib.suppress(BlockingIOError):
            while block := os.read(self.reader, 65536):
                text += block
        return text.decode()

    def save(self, name: str) -> None:
        shutil.copytree(self.folder, self.home / name)

    def restore(self, name: str) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.home / name, self.folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One pipeline run without a kill; the state before each stage is kept under the stage's name."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[threads] = "1"
    server.set_forkserver_preload(PRELOAD)
    project = Project(tmp_path_factory.mktemp("crash"))
    project.folder.mkdir()
    customers = {**PARAMS["datasets"]["customers"], "tune": "linear"}
    models = {name: PARAMS["models"][name] for name in MODELS}
    spaces = {"linear": PARAMS["search_spaces"]["linear"]}
    params = {**PARAMS, "datasets": {"customers": customers}, "models": models, "search_spaces": spaces}
    (project.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    make_customers(120).to_csv(project.folder / "y.csv", index=False)
    for stage in STAGES:
        project.save(stage)
        succeed(project, stage)
        if stage == "generate":
            # making a store takes longer than all the rest; that it is published as a whole has a test of its own
            make_store(project)
    project.save("done")
    return project


def succeed(project: Project, stage: str) -> None:
    code, printed = project.call(stage)
    assert code == 0, printed


def make_store(project: Project) -> None:
    process = server.Process(target=open_store_in, args=(project.folder,))
    process.start()
    process.join()
    assert process.exitcode == 0


def open_store_in(folder: Path) -> None:
    os.chdir(folder)
    from pipeline.store.connect import open_store

    open_store(create=True)


def published(folder: Path) -> dict[str, Path]:
    """Every file that a stage put in its place; temporary files too."""
    outputs = [path for name in ("data", "metrics", "reports", "logs") for path in (folder / name).rglob("*")]
    return {str(path.relative_to(folder)): path for path in outputs if path.is_file()}


def exact(folder: Path) -> dict[str, str]:
    """The outputs that are the same in every run to the last byte."""
    return {
        name: path.read_text()
        for name, path in published(folder).items()
        if name.startswith(("data", "metrics")) and ".writing-" not in name
    }


def select(database: Path, query: str) -> list[tuple]:
    if not database.exists():
        return []
    connection = sqlite3.connect(database)
    try:
        return sorted(connection.execute(query).fetchall())
    finally:
        connection.close()


def runs(folder: Path) -> list[tuple]:
    """Name and state of each run, and whether its files are there."""
    query = "SELECT name, status, artifact_uri FROM runs WHERE lifecycle_stage = 'active'"
    return [(name, status) for name, status, _ in select(folder / "mlruns/db.sqlite", query)]


def logged_files(folder: Path) -> list[str]:
    """The files of runs and models with the ids left out: what a killed call left would be seen as one too many."""
    artifacts = folder / "mlruns/artifacts"
    return sorted(path.name for path in artifacts.rglob("*") if path.is_file())


def versions(folder: Path) -> list[list[tuple]]:
    queries = (
        "SELECT name, version FROM model_versions",
        "SELECT name, alias, version FROM registered_model_aliases",
    )
    return [select(folder / "mlruns/db.sqlite", query) for query in queries]


def trials(folder: Path) -> list[tuple]:
    """Number, state and value of each trial."""
    query = "SELECT number, state, value FROM trials LEFT JOIN trial_values USING (trial_id)"
    return select(folder / "mlruns/optuna/customers.db", query)


def assert_nothing_half(folder: Path, before: Path, after: Path) -> None:
    known = [exact(before), exact(after)]
    for name, path in published(folder).items():
        if ".writing-" in name:
            continue
        if name in exact(folder):
            assert path.read_text() in [state.get(name) for state in known], f"{name} is neither the old nor the new"
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith(("</html>", "</p>")), name
        elif path.suffix == ".log":
            assert path.read_text()[-1:] in ("", "\n"), name
        else:
            assert path.stat().st_size > 0, name


def assert_same_end(folder: Path, after: Path) -> None:
    assert exact(folder) == exact(after)
    assert published(folder).keys() == published(after).keys()
    assert runs(folder) == runs(after)
    assert logged_files(folder) == logged_files(after)
    assert versions(folder) == versions(after)
    assert trials(folder) == trials(after)


def stopped_and_repeated(
    project: Project, stage: str, kill_at: int = 0, kill_after: float | None = None, disk: int | None = None
) -> tuple[int | None, str]:
    """Stop a stage, look at what it left, repeat it, compare; exit code and output of the stopped call."""
    stages = [*STAGES, "done"]
    before, after = project.home / stage, project.home / stages[stages.index(stage) + 1]
    project.restore(stage)
    code, printed = project.call(stage, kill_at, kill_after, disk)
    assert_nothing_half(project.folder, before, after)
    if code == 2:
        assert not [name for name in published(project.folder) if ".writing-" in name]
    kept = trials(project.folder)
    succeed(project, stage)
    assert set(kept) <= set(trials(project.folder))
    assert_same_end(project.folder, after)
    return code, printed


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_every_publication_and_every_commit(project: Project, stage: str) -> None:
    points = 0
    while (code := stopped_and_repeated(project, stage, kill_at=points + 1)[0]) == -signal.SIGKILL:
        points += 1
    assert code == 0
    print(f"{stage}: {points} kill points")
    assert points > STAGES[stage][2]


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_random_moments(project: Project, stage: str) -> None:
    project.restore(stage)
    started = time.monotonic()
    succeed(project, stage)
    duration = time.monotonic() - started
    moments = random.Random(stage)
    killed = 0
    for _ in range(3 * RANDOM_MOMENTS):
        code, printed = stopped_and_repeated(project, stage, kill_after=moments.uniform(0, duration))
        assert code in (0, -signal.SIGKILL), printed
        killed += code != 0
        if killed == RANDOM_MOMENTS:
            break
        if code == 0:
            # it was done before the moment came: the first call was slower
            duration *= 0.8
    print(f"{stage}: killed at {killed} random moments")
    assert killed == RANDOM_MOMENTS


# Bytes that a file can grow to: some outputs fit, others do not, and the databases are cut short at different places.
@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_is_told_in_one_line(project: Project, stage: str) -> None:
    failures = 0
    for disk in (0, 300, 5_000, 40_000, 300_000):
        code, printed = stopped_and_repeated(project, stage, disk=disk)
        errors = [line for line in printed.splitlines() if line.startswith("error: ")]
        assert (code, len(errors)) in [(0, 0), (2, 1)], printed
        assert "Traceback" not in printed
        failures += code == 2
    assert failures > 0


def test_eight_trainings_at_once_on_an_empty_store(project: Project) -> None:
    project.restore("train")
    shutil.rmtree(project.folder / "mlruns")
    processes = [project.start("train", ["--model", MODELS[position % 2]]) for position in range(8)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8, project.printed()
    metrics = "metrics/train/customers.json"
    assert json.loads((project.folder / metrics).read_text()) == json.loads(
        (project.home / "tune" / metrics).read_text()
    )
    assert runs(project.folder) == runs(project.home / "tune")
    assert logged_files(project.folder) == logged_files(project.home / "tune")


@pytest.mark.parametrize("stage", STAGES)
def test_two_at_once_end_as_one(project: Project, stage: str) -> None:
    script, words, _ = STAGES[stage]
    project.restore(stage)
    processes = [project.start(script, words) for _ in range(2)]
    for process in processes:
        process.join()
    printed = project.printed()
    assert [process.exitcode for process in processes] == [0, 0], printed
    stages = [*STAGES, "done"]
    assert_same_end(project.folder, project.home / stages[stages.index(stage) + 1])


def test_a_second_pipeline_waits_for_the_first(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline.repro"]
    assert "\n\t@python -m pipeline.repro\n" in (ROOT / "Makefile").read_text()
    stage = "touch started; while [ ! -e go ]; do sleep 0.1; done; echo run >> runs; touch done"
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"a": {"cmd": stage, "outs": ["done"]}}}))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=tmp_path, env=environment, check=True)

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=-1, stderr=-1, text=True)

    def start_stage() -> subprocess.Popen[str]:
        process = start()
        deadline = time.monotonic() + 60
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        return process

    first, second = start_stage(), start()
    assert second.stderr is not None
    assert second.stderr.readline() == "another pipeline is running in this folder; waiting\n"
    (tmp_path / "go").touch()
    assert (first.wait(), second.wait()) == (0, 0)
    assert (tmp_path / "runs").read_text() == "run\n"
    # a killed pipeline leaves no lock behind
    for name in ("started", "go", "done"):
        (tmp_path / name).unlink()
    third = start_stage()
    third.kill()
    third.wait()
    (tmp_path / "go").touch()
    fourth = start()
    assert "waiting" not in fourth.communicate()[1]
    assert fourth.returncode == 0
