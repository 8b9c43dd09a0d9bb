"""Every stage killed, at each publication of a file and each commit to a store, and at random moments: nothing is half
written, and the same command then ends as if it had not been killed.

A server process imports the libraries once; each call is a fork of it, so that hundreds of kills are affordable. Only
what pictures show is left out.
"""

import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import time
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
    "tune": ("tune_hyperparameters", ["--model", "linear", "--n-trials", "3"], 60),
    "drift": ("detect_drift", [], 4),
    "compare": ("compare_results", [], 5),
    "validate": ("validate", [], 1),
    "promote": ("validate", ["--promote"], 5),
}
RANDOM_MOMENTS = 20
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
    *("optuna.visualization.matplotlib", "mlflow.store.tracking.sqlalchemy_store", "plotly.offline", "scipy.stats"),
    *("pipeline.assessment", "pipeline.report", "sklearn.ensemble", "sklearn.linear_model", "sklearn.model_selection"),
]
server = multiprocessing.get_context("forkserver")


def run_script(script: str, words: list[str], folder: Path, kill_at: int) -> None:
    """In the forked process: run a script's main, and kill it before its n-th publication or commit."""
    import importlib

    from matplotlib.figure import Figure
    from sqlalchemy.engine.default import DefaultDialect

    os.chdir(folder)
    output = os.open(folder.parent / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
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

    def call(self, stage: str, kill_at: int = 0, kill_after: float | None = None) -> int:
        """The exit code of a call; -9 where it was killed."""
        script, words, _ = STAGES[stage]
        process = server.Process(target=run_script, args=(script, words, self.folder, kill_at))
        process.start()
        process.join(kill_after)
        if process.is_alive():
            process.kill()
            process.join()
        assert process.exitcode is not None
        return process.exitcode

    def save(self, name: str) -> None:
        shutil.copytree(self.folder, self.home / name)

    def restore(self, name: str) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.home / name, self.folder)

    def output(self) -> str:
        return (self.home / "output.txt").read_text()


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
        assert project.call(stage) == 0, project.output()
        if stage == "generate":
            # making a store takes longer than all the rest; that it is published as a whole has a test of its own
            make_store(project)
    project.save("done")
    return project


def make_store(project: Project) -> None:
    process = server.Process(target=open_store_in, args=(project.folder,))
    process.start()
    process.join()
    assert process.exitcode == 0


def open_store_in(folder: Path) -> None:
    os.chdir(folder)
    from pipeline import tracking

    tracking.open_store(create=True)


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
    """Position, state and value of each finished trial."""
    query = (
        "SELECT CAST(value_json AS INT), state, value FROM trials JOIN trial_user_attributes USING (trial_id) "
        "LEFT JOIN trial_values USING (trial_id) WHERE key = 'position' AND state IN ('COMPLETE', 'PRUNED') "
    )
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
        else:
            assert path.stat().st_size > 0, name


def assert_same_end(folder: Path, after: Path) -> None:
    assert exact(folder) == exact(after)
    assert published(folder).keys() == published(after).keys()
    assert runs(folder) == runs(after)
    assert logged_files(folder) == logged_files(after)
    assert versions(folder) == versions(after)
    assert trials(folder) == trials(after)


def killed_and_repeated(project: Project, stage: str, kill_at: int = 0, kill_after: float | None = None) -> int:
    """Kill a stage, look at what it left, repeat it, compare; the exit code of the killed call."""
    stages = [*STAGES, "done"]
    before, after = project.home / stage, project.home / stages[stages.index(stage) + 1]
    project.restore(stage)
    code = project.call(stage, kill_at, kill_after)
    assert code in (0, -signal.SIGKILL), project.output()
    assert_nothing_half(project.folder, before, after)
    kept = trials(project.folder)
    assert project.call(stage) == 0, project.output()
    assert set(kept) <= set(trials(project.folder))
    assert_same_end(project.folder, after)
    return code


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_every_publication_and_every_commit(project: Project, stage: str) -> None:
    points = 0
    while killed_and_repeated(project, stage, kill_at=points + 1) != 0:
        points += 1
    print(f"{stage}: {points} kill points")
    assert points > STAGES[stage][2]


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_random_moments(project: Project, stage: str) -> None:
    project.restore(stage)
    started = time.monotonic()
    assert project.call(stage) == 0
    duration = time.monotonic() - started
    moments = random.Random(stage)
    killed = 0
    for _ in range(RANDOM_MOMENTS):
        moment = moments.uniform(0, duration)
        killed += killed_and_repeated(project, stage, kill_after=moment) != 0
    print(f"{stage}: killed at {killed} random moments")
    assert killed > RANDOM_MOMENTS / 2
