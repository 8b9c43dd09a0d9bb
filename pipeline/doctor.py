"""Check packages, tables, metrics, stores and DVC's lock against each other, and say what is off and how to mend it.

    make doctor

Changes nothing. One line a finding; exit code 0: all is well, 1: something is off.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.config import Config, PipelineError, load_config
from pipeline.data import abandoned_files, file_sha256
from pipeline.database import STUDIES, check_database, database_errors
from pipeline.gates import SAME, Results, read_results
from pipeline.lock import is_alive

if TYPE_CHECKING:
    from pipeline.tracking import MlflowClient, StoredRun

OUTPUTS = ("data", "metrics", "reports", "logs", "mlruns")
REQUIREMENTS = Path(__file__).parent.parent / "requirements.txt"
DVC_LOCK = Path("dvc.lock")
DVC_RUNNING = Path(".dvc/tmp/rwlock")


def check_packages() -> Iterator[str]:
    """Installed versions against the pinned ones."""
    for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines():
        name, separator, wanted = line.partition("==")
        if not separator:
            continue
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = "missing"
        if found != wanted:
            yield f"package {name} is {found}, pinned is {wanted}; run `pip install -r {REQUIREMENTS.name}`"


def check_files() -> Iterator[str]:
    """What killed processes left."""
    for folder in sorted({path.parent for name in OUTPUTS for path in Path(name).rglob("*")}):
        for path in abandoned_files(folder):
            yield f"{path}: left by a killed process; the next write beside it removes it, or delete it"


def check_dvc() -> Iterator[str]:
    """DVC's lock file, stages that are out of date, and runs of DVC that were killed."""
    if not Path("dvc.yaml").exists():
        return
    try:
        running = json.loads(DVC_RUNNING.read_text(encoding="utf-8")) if DVC_RUNNING.exists() else {}
    except ValueError:
        yield f"{DVC_RUNNING}: cannot be read; delete it when no `dvc` is running"
        return
    holders = [
        *running.get("write", {}).values(),
        *(info for infos in running.get("read", {}).values() for info in infos),
    ]
    for pid in sorted({info["pid"] for info in holders}):
        if is_alive(pid):
            yield f"`dvc` is running (process {pid}): look again when it is done"
        else:
            yield f"{DVC_RUNNING}: names the killed process {pid}; delete it when no `dvc` is running"
    try:
        yaml.safe_load(DVC_LOCK.read_text(encoding="utf-8")) if DVC_LOCK.exists() else None
    except (yaml.YAMLError, UnicodeDecodeError):
        yield f"{DVC_LOCK}: cannot be read; run `git checkout {DVC_LOCK}`, then `dvc repro`"
        return
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "status", "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        yield f"`dvc status` fails: {' '.join(done.stderr.split())[:200]}"
        return
    if stages := list(json.loads(done.stdout or "{}")):
        yield f"stages that are out of date: {', '.join(stages)}; run `make pipeline`"


def check_metrics(config: Config) -> Iterator[str]:
    """Committed metrics against settings, tables and each other."""
    published: dict[str, Any] = {}
    comparison = Path("metrics/comparison_results.json")
    try:
        published = json.loads(comparison.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield f"{comparison}: cannot be read ({error}); run `python compare_results.py`"
    for name in config.datasets:
        try:
            dataset = config.dataset(name)
        except PipelineError as error:
            yield str(error)
            continue
        results = read_results(dataset, config)
        yield from results.problems
        table, mend = Path(dataset.file), f"run `python generate_data.py --dataset {name}`"
        if not table.is_file():
            yield f"{table}: missing; {mend}, or `dvc pull`"
        elif results.data_sha256 and file_sha256(table) != results.data_sha256:
            yield f"{table}: is not the table that metrics/data/{name}.json tells of; {mend}"
        for model, facts in results.models.items() if published else ():
            shown = published.get(name, {}).get(model, {})
            if any(abs(shown.get(metric, float("inf")) - value) > SAME for metric, value in facts["score"].items()):
                yield f"{comparison}: {name}.{model} is not what was trained; run `python compare_results.py`"


def check_stores(config: Config) -> Iterator[str]:
    """Runs, models and studies against the metrics."""
    from pipeline import tracking

    try:
        client = tracking.open_store()
    except PipelineError as error:
        yield str(error)
        return
    for name in config.datasets:
        try:
            dataset = config.dataset(name)
        except PipelineError:
            continue
        results = read_results(dataset, config)
        if left := tracking.unfinished_runs(client, name):
            yield f"{name}: {len(left)} MLflow runs of killed processes; the next training or tuning removes them"
        yield from check_runs(client, name, results)
        studies = tracking.newest_runs(client, name, "study", results.data_sha256, results.params_sha256)
        for model, run in studies.items():
            yield from check_study(name, model, run, len(tracking.child_runs(client, run)))


def check_runs(client: MlflowClient, name: str, results: Results) -> Iterator[str]:
    """Every model of the metrics has a run with the same scores, its artifacts, and the model file that was logged."""
    from pipeline import tracking

    for stage, ending, script in (("baseline", "", "train.py"), ("tuned", "_tuned", "tune_hyperparameters.py")):
        runs = tracking.newest_runs(client, name, stage, results.data_sha256, results.params_sha256)
        for full_name, facts in results.models.items():
            model = full_name.removesuffix("_tuned")
            if full_name != model + ending:
                continue
            mend = f"run `python {script} --dataset {name} --model {model}`"
            if model not in runs:
                yield f"{name}: no MLflow run of {full_name}, which the metrics tell of; {mend}"
                continue
            run = runs[model]
            if any(
                abs(run.metrics.get(metric, float("inf")) - value) > SAME for metric, value in facts["score"].items()
            ):
                yield f"{name}: the MLflow run of {full_name} has other scores than the metrics; {mend}"
            try:
                run.model_file()
                for artifact in ("predictions.csv", "feature_importance.json"):
                    run.artifact(artifact)
            except PipelineError as error:
                yield f"{name}: {full_name}: {error}; {mend}"


def check_study(name: str, model: str, run: StoredRun, logged: int) -> Iterator[str]:
    """A study's trials are its runs; one that several machines share is kept elsewhere."""
    if "study_storage" in run.tags:
        return
    database = STUDIES / f"{name}.db"
    mend = f"run `python tune_hyperparameters.py --dataset {name} --model {model}`"
    if not database.exists():
        yield f"{database}: missing, so that the study of {model} cannot be gone on with; {mend} to search again"
        return
    query = "SELECT COUNT(*) FROM trials JOIN studies USING (study_id) WHERE study_name = ?"
    try:
        check_database(database, "an Optuna store", "studies")
        with database_errors(database), closing(sqlite3.connect(database)) as connection:
            [(kept,)] = connection.execute(query, [run.tags["study"]]).fetchall()
    except PipelineError as error:
        yield str(error)
        return
    if kept != logged:
        yield f"{name}: {kept} trials of {model} in {database}, {logged} in MLflow; {mend}"


def findings() -> Iterator[str]:
    """Everything that is off, in the order in which it is best mended."""
    yield from check_packages()
    config = load_config()
    yield from check_files()
    yield from check_metrics(config)
    yield from check_stores(config)
    yield from check_dvc()


def main() -> int:
    count = 0
    try:
        for finding in findings():
            print(finding, flush=True)
            count += 1
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{count} findings" if count else "all is well")
    return 1 if count else 0


if __name__ == "__main__":
    raise SystemExit(main())
