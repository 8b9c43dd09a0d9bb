"""The whole DAG with `dvc repro` on a small table, in a copy of the project's own files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, ROOT, make_customers, make_houses

from pipeline.store.connect import open_store

pytestmark = pytest.mark.slow


def run(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def change(edit: dict) -> None:
    Path("params.yaml").write_text(
        yaml.safe_dump(yaml.safe_load(Path("params.yaml").read_text()) | edit, sort_keys=False)
    )


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the project's code, one small table and no outputs."""
    folder = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", "tmp", "cache")
    for name in ("pipeline", ".dvc"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for path in [*ROOT.glob("*.py"), ROOT / "dvc.yaml", ROOT / ".dvcignore", ROOT / ".gitignore"]:
        shutil.copy(path, folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run("git", "init", "-q")
    customers = PARAMS["datasets"]["customers"]
    params = {**PARAMS, "datasets": {"customers": customers}, "first_trials": {}, "drift": {}}
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    make_customers().to_csv(customers["source"], index=False)
    return folder


def test_repro_runs_all_stages_then_none_then_only_what_changed(checkout: Path) -> None:
    first = run("dvc", "repro")
    assert first.returncode == 0, first.stdout + first.stderr
    for name in (
        "data/customers.csv",
        "mlruns/db.sqlite",
        "reports/customers/train/forest/predictions_plot.png",
        "reports/customers/tuning/forest/tuning.html",
        "reports/customers/drift_report.html",
        "reports/comparison_report.html",
        "metrics/comparison_results.json",
        "metrics/checks.json",
        "logs/validation.log",
    ):
        assert Path(name).stat().st_size > 0
    assert json.loads(Path("metrics/validation.json").read_text())["passed"] is True

    # compiled code is not what a stage depends on
    Path("pipeline/training/__pycache__").mkdir(exist_ok=True)
    Path("pipeline/training/__pycache__/fit.pyc").write_bytes(b"compiled")
    again = run("dvc", "repro")
    assert [line for line in again.stdout.splitlines() if "Running stage" in line] == ["Running stage 'validate':"]
    # as `make pipeline` does, which ends with the verdict even where there was nothing to do
    whole = run(sys.executable, "-m", "pipeline.repro")
    assert whole.returncode == 0
    *_, verdict, written, after = whole.stdout.splitlines()
    assert verdict == "PASS: 1 of 1 gates passed"
    assert "reports/index.html" in written
    assert after.startswith("next: ")

    stale = {"drift/verdict": ["drift@customers"], "plots/run": [], "comparison/words": ["compare"], "gates/judge": []}
    for module, stages in stale.items():
        path = Path(f"pipeline/{module}.py")
        whole = path.read_text()
        path.write_text(whole + "# changed\n")
        status = json.loads(run("dvc", "status", "--json").stdout)
        assert not [stage for stage in status if stage.startswith(("generate", "train", "tune"))], module
        assert set(stages) <= status.keys(), module
        path.write_text(whole)

    boosting = {**PARAMS["models"]["gradient_boosting"], "params": {"max_iter": 12}}
    change({"models": {**PARAMS["models"], "gradient_boosting": boosting}})
    tuned = Path("metrics/tune/customers.json").read_text()
    one = run("dvc", "repro")
    assert one.returncode == 0, one.stdout + one.stderr
    for name, taken in (("forest (1", True), ("gradient_boosting (2", False), ("linear (3", True)):
        assert (f"customers {name} of 3): unchanged, accuracy " in one.stdout) == taken
    assert "customers gradient_boosting (2 of 3): fitted" in one.stdout
    assert "customers forest: unchanged, the winner is taken from its run" in one.stdout
    assert Path("metrics/tune/customers.json").read_text() == tuned

    change({"gates": {"customers": [{"metric": "accuracy", "above": 0.999}]}})
    failed = run("dvc", "repro")
    assert failed.returncode != 0
    assert [line for line in failed.stdout.splitlines() if "Running stage" in line] == ["Running stage 'validate':"]
    assert "FAIL " in failed.stdout
    assert json.loads(Path("metrics/validation.json").read_text())["passed"] is False


@pytest.mark.pictures
def test_a_cold_run_in_a_clone_leaves_its_tree_clean_and_judges_the_gates(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_houses().to_csv(PARAMS["datasets"]["houses"]["source"], index=False)
    change({"datasets": {name: facts | {"tune": "forest"} for name, facts in PARAMS["datasets"].items()}})

    def cold(folder: Path, kernel: str) -> str:
        # another processor's kernels, which give other last digits
        monkeypatch.setenv("OPENBLAS_CORETYPE", kernel)
        done = run("git", "clone", "-q", str(checkout), str(folder))
        assert done.returncode == 0, done.stderr
        os.chdir(folder)
        done = run(sys.executable, "-m", "pipeline.repro")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("git", "add", ".")
    run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "project")
    cold(checkout.parent / "first", "Haswell")
    run("git", "add", ".")
    run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "results")
    assert "dvc.lock" in run("git", "show", "--stat", "--format=", "HEAD").stdout
    checkout = checkout.parent / "first"
    printed = cold(checkout.parent / "second", "Nehalem")
    assert "Running stage 'train@customers'" in printed
    assert run("git", "status", "--porcelain").stdout == ""
    assert printed.splitlines()[-3] == "PASS: 2 of 2 gates passed"
    assert len(Path("logs/validation.log").read_text().splitlines()) == 2
    for page in Path("reports").rglob("*.html"):
        same = page.read_bytes() == (checkout / page).read_bytes()
        assert same or page.name in ("index.html", "comparison_report.html"), page


def make_visits(rows: int = 200) -> pd.DataFrame:
    """A table as people have them: names, dates, words, currency, percent, gaps, and three kinds of outcome."""
    rng = np.random.default_rng(4)
    paid, share = rng.integers(500, 9000, rows), rng.random(rows)
    kind = np.where(paid > 5000, "private", np.where(share > 0.5, "public", "none"))
    frame = pd.DataFrame({"Visit ID": [f"V-{i:05}" for i in range(rows)]})
    frame["day"] = pd.date_range("2024-01-01", periods=rows).strftime("%d/%m/%Y")
    frame["paid"] = [f"${value:,.2f}" for value in paid]
    frame["share"] = [f"{value:.0%}" for value in share]
    frame["note"] = [" ".join(rng.choice(["came", "late", "left", "early", "again", "alone"], 5)) for _ in range(rows)]
    frame["clinic"] = rng.choice([f"clinic {i}" for i in range(40)], rows)
    frame["insurance"] = kind
    return frame.mask(rng.random(frame.shape) < 0.03).assign(insurance=kind)


def test_an_own_table_needs_three_keys_and_no_line_of_python(checkout: Path) -> None:
    make_visits().to_csv("visits.csv", index=False)
    visits = {"source": "visits.csv", "file": "data/visits.parquet", "target": "insurance"}
    change({"datasets": {"visits": visits}, "gates": {}, "tuning": {"trials": 3, "startup_trials": 1}})
    done = run("dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(Path("metrics/data/visits.json").read_text())
    assert facts["task"] == "multiclass"
    assert facts["types"] == {
        "Visit ID": "ignore",
        "day": "date",
        "paid": "number",
        "share": "number",
        "note": "text",
        "clinic": "category",
        "insurance": "category",
    }
    results = json.loads(Path("metrics/comparison_results.json").read_text())["visits"]
    baselines = {"forest", "gradient_boosting", "linear"}
    assert set(results) - {"ensemble"} == baselines | {f"{model}_tuned" for model in baselines}
    assert max(model["accuracy"] for model in results.values()) > 0.8
    assert "over the naive" in Path("logs/validation.log").read_text()


def test_tables_travel_through_a_folder_remote(checkout: Path, tmp_path: Path) -> None:
    assert run("dvc", "repro", "generate").returncode == 0
    table = Path("data/customers.csv").read_text()
    assert run("dvc", "remote", "add", "--default", "team", str(tmp_path / "remote")).returncode == 0
    assert run("dvc", "push").returncode == 0
    Path("data/customers.csv").unlink()
    shutil.rmtree(".dvc/cache")
    assert run("dvc", "checkout").returncode != 0
    pulled = run("dvc", "pull", "generate")
    assert pulled.returncode == 0, pulled.stderr
    assert Path("data/customers.csv").read_text() == table


def test_an_experiment_in_a_folder_of_dvc_keeps_its_runs_in_the_store(checkout: Path) -> None:
    assert run("dvc", "repro").returncode == 0
    run("git", "add", ".")
    run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "results")
    setting = "models.forest.params.max_depth=2"
    done = run("dvc", "exp", "run", "--temp", "-n", "shallow", "-S", setting, "train@customers")
    assert done.returncode == 0, done.stdout + done.stderr
    assert run("git", "status", "--porcelain").stdout == ""
    depths = [
        found.data.params["max_depth"]
        for found in open_store().search_runs(["1"], "tags.stage = 'baseline' and tags.model_type = 'forest'")
    ]
    assert depths == ["2", "6"]
    shown = run("dvc", "exp", "show", "--json", "--only-changed").stdout
    assert '"shallow"' in shown
    assert run("dvc", "exp", "apply", "shallow").returncode == 0
    assert "max_depth: 2" in Path("params.yaml").read_text()
    again = run("dvc", "exp", "run", "-S", "models.forest.params.max_depth=3", "train@customers")
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(open_store().search_runs(["1"], "tags.stage = 'baseline' and tags.model_type = 'forest'")) == 3
