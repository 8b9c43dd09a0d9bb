"""The tuner beside FLAML (Wang et al. 2021) at equal wall time, over several splits.

    python -m venv flaml-venv && flaml-venv/bin/pip install "flaml[automl]" pyarrow
    python -m benchmarks.flaml_comparison --flaml-python flaml-venv/bin/python --table ames.csv:Sale_Price

Ours is the whole command `tune_hyperparameters.py --model gradient_boosting`, with imports, reports and tracking; FLAML
then gets as many seconds for its search alone. Both see the same training rows, and are scored on the same test rows
(R², or ROC-AUC for two classes). Without --table the project's three tables are compared. The differences of a table's
splits have a t interval, corrected for training rows that overlap. Writes benchmarks/results/flaml.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.paired import paired_interval
from pipeline.files import write_json
from pipeline.settings import load_config
from pipeline.tables.split import load_parts

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = Path("benchmarks/results/flaml.json")
# What a command needs besides its search: imports, the winner's assessment, reports and tracking.
OVERHEAD = 15.0

FLAML = """
import json, sys, time
import pandas as pd
from flaml import AutoML
from sklearn.metrics import r2_score, roc_auc_score
task, budget, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
train, test = pd.read_parquet("train.parquet"), pd.read_parquet("test.parquet")
X, y, X_test, y_test = train.drop(columns="__y"), train["__y"], test.drop(columns="__y"), test["__y"]
automl = AutoML()
started = time.perf_counter()
metric = "r2" if task == "regression" else "roc_auc"
automl.fit(X, y, task=task, metric=metric, time_budget=budget, seed=seed, n_jobs=-1, verbose=0)
seconds = time.perf_counter() - started
score = r2_score(y_test, automl.predict(X_test)) if task == "regression" else roc_auc_score(
    y_test, automl.predict_proba(X_test)[:, 1])
print(json.dumps({"score": score, "seconds": seconds, "estimator": automl.best_estimator}))
"""


def ours(folder: Path, facts: dict[str, Any], seed: int, budget: float) -> dict[str, Any]:
    """Search on one split with the real command in a folder of its own; the scores and the seconds."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params |= {"seed": seed, "datasets": {"table": facts}, "gates": {}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    started = time.perf_counter()
    command = [sys.executable, str(ROOT / "tune_hyperparameters.py"), "--dataset", "table"]
    limits = ["--model", "gradient_boosting", "--timeout", str(max(budget - OVERHEAD, 1)), "--n-trials", "100000"]
    subprocess.run([*command, *limits], cwd=folder, stdout=subprocess.DEVNULL, check=True)
    seconds = time.perf_counter() - started
    found = json.loads((folder / "metrics/tune/table.json").read_text(encoding="utf-8"))["models"]["gradient_boosting"]
    return {"score": found["score"][facts["metric"]], "seconds": seconds, "trials": sum(found["trials"].values())}


def flaml(python: str, folder: Path, facts: dict[str, Any], seed: int, budget: float) -> dict[str, Any]:
    """FLAML on the same split, as many seconds."""
    config = load_config(folder / "params.yaml")
    dataset = config.dataset("table")
    with chdir(folder):
        parts = load_parts(dataset, config)
    for name, X, y in (("train", parts.train.X, parts.train.y), ("test", parts.test.X, parts.test.y)):
        kept = X.drop(columns=[column for column in X if column in dataset.unused])
        text = {column: kept[column].astype("category") for column in kept if kept[column].dtype == object}
        kept.assign(**text, __y=y).to_parquet(folder / f"{name}.parquet")
    task = "regression" if dataset.task == "regression" else "classification"
    done = subprocess.run(
        [python, "-W", "ignore", "-c", FLAML, task, str(budget), str(seed)],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def tables(words: Sequence[str]) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Name -> file and settings; judged on the test part, binary tables by ROC-AUC."""
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for word in words:
        path, target = word.rsplit(":", 1)
        found[Path(path).stem] = (Path(path).resolve(), {"target": target})
    if not words:
        for name, dataset in load_config().datasets.items():
            facts: dict[str, Any] = {"target": dataset.target, "drop": list(dataset.drop)}
            if dataset.task == "binary":
                facts["positive"] = dataset.positive
            found[name] = (Path(dataset.file).resolve(), facts)
    return found


def compare(path: Path, facts: dict[str, Any], folder: Path, python: str, budget: float, splits: int) -> dict[str, Any]:
    """Both sides on each split, one after the other."""
    import pandas as pd

    regression = pd.read_csv(path)[facts["target"]].nunique() > 2
    facts = {
        **facts,
        "source": str(path),
        "file": "data/table.csv",
        "task": "regression" if regression else "binary",
        "metric": "r2" if regression else "roc_auc",
    }
    if not regression and "positive" not in facts:
        facts["positive"] = pd.read_csv(path)[facts["target"]].value_counts().index[-1]
    rows: list[dict[str, Any]] = []
    for seed in range(splits):
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "data").mkdir(parents=True)
        shutil.copy(path, folder / "data/table.csv")
        mine = ours(folder, facts, seed, budget)
        theirs = flaml(python, folder, facts, seed, mine["seconds"])
        rows.append({"seed": seed, "ours": mine, "flaml": theirs})
        print(
            f"  split {seed}: ours {mine['score']:.4f} ({mine['trials']} trials, {mine['seconds']:.0f} s), "
            f"FLAML {theirs['score']:.4f} ({theirs['estimator']}, {theirs['seconds']:.0f} s)",
            flush=True,
        )
    return {
        "metric": facts["metric"],
        **summary(rows, load_config().test_size),
        "splits": rows,
    }


def summary(rows: Sequence[dict[str, Any]], test_share: float) -> dict[str, Any]:
    """Mean scores of both sides over the splits, and their difference with its interval; None of a single split."""
    scores = np.array([[row[side]["score"] for side in ("ours", "flaml")] for row in rows])
    differences = scores[:, 0] - scores[:, 1]
    return {
        "ours": float(scores[:, 0].mean()),
        "flaml": float(scores[:, 1].mean()),
        "difference": float(differences.mean()),
        "interval": [*paired_interval(differences, test_share)] if len(rows) > 1 else None,
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare the tuner with FLAML at equal wall time.")
    parser.add_argument("--flaml-python", required=True, help="the interpreter of an environment with FLAML")
    parser.add_argument("--folder", type=Path, required=True, help="scratch folder")
    parser.add_argument(
        "--table", action="append", default=[], metavar="FILE:TARGET", help="can be given several times"
    )
    parser.add_argument("--seconds", type=float, default=60, help="wall time a fit (default: %(default)s)")
    parser.add_argument("--splits", type=int, default=5, help="default: %(default)s")
    args = parser.parse_args(argv)
    results: dict[str, Any] = {"seconds": args.seconds, "tables": {}}
    if OUTPUT.exists():
        former = json.loads(OUTPUT.read_text(encoding="utf-8"))
        results["tables"] = former["tables"] if former["seconds"] == args.seconds else {}
    for name, (path, facts) in tables(args.table).items():
        print(name, flush=True)
        row = compare(path, facts, args.folder / name, args.flaml_python, args.seconds, args.splits)
        print(
            f"  {row['metric']}: ours {row['ours']:.4f}, FLAML {row['flaml']:.4f}, "
            f"difference {row['difference']:+.4f} {row['interval'] or ''}",
            flush=True,
        )
        results["tables"][name] = row
        write_json(OUTPUT, json.loads(json.dumps(results), parse_float=lambda text: round(float(text), 5)))
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
