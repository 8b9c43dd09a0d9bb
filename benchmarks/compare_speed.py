"""How long compare_results.py takes on a store with many trial runs, besides imports.

    .venv/bin/python -m benchmarks.compare_speed --trials 300 3000

Each store has the project's datasets with their baselines and a tuned model each, predictions of the real number of
judged rows, and that many trial runs in all. Wall and processor time of `compare_results.main`, once its libraries are
imported, the fastest of a few calls. Writes benchmarks/results/compare_speed.json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import compare_results
from pipeline.bootstrap import bootstrap_intervals
from pipeline.files import read_json, write_json
from pipeline.metrics import Predictions, scores
from pipeline.settings import Config, load_config, settings_sha256
from pipeline.store.connect import open_store
from pipeline.store.runs import RunRecord, write_runs

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "benchmarks/results/compare_speed.json"
FEATURES = 20


def random_predictions(task: str, rows: int, noise: float, rng: np.random.Generator) -> Predictions:
    """Predictions with some signal; `noise` in standard deviations of it."""
    if task == "regression":
        actual = rng.normal(size=rows)
        return Predictions(actual, actual + rng.normal(0, noise, rows))
    actual = (rng.random(rows) < 0.3).astype(int)
    score = 1 / (1 + np.exp(-(2 * actual - 1 + rng.normal(0, 3 * noise, rows))))
    return Predictions(actual, (score > 0.5).astype(int), score)


def record_of(
    name: str, tags: Mapping[str, str], predictions: Predictions, result: Mapping[str, Any], seconds: float
) -> RunRecord:
    """What train.py logs and the comparison reads, without a model."""
    metrics = {**result["score"], "fit_seconds": seconds, "model_bytes": 1e6}
    for metric, (low, high) in result["interval"].items():
        metrics |= {f"{metric}_low": low, f"{metric}_high": high}
    columns = {"actual": predictions.actual, "predicted": predictions.predicted, "score": predictions.score}
    texts = {
        "feature_importance.json": json.dumps({f"feature {number}": 1 / number for number in range(1, FEATURES)}),
        "predictions.csv": pd.DataFrame(columns).to_csv(index_label="row"),
    }
    return RunRecord(name=name, tags=tags, params={"estimator": "Synthetic"}, metrics=metrics, texts=texts)


def build_store(config: Config, trials: int) -> None:
    """Metrics and a store in the current folder, as train.py and tune_hyperparameters.py leave them."""
    client = open_store(create=True)
    for name in config.datasets:
        dataset = config.dataset(name)
        rng = np.random.default_rng(len(name))
        facts = read_json(Path("metrics/data") / f"{name}.json", "python generate_data.py")
        rows = facts["rows"] if dataset.evaluation == "cross_validation" else round(facts["rows"] * config.test_size)
        hashes = {"data_sha256": facts["sha256"], "params_sha256": settings_sha256(config, dataset)}
        for stage, folder, models in (("baseline", "train", list(config.models)), ("tuned", "tune", [dataset.tune])):
            results = {}
            for position, model in enumerate(models):
                predictions = random_predictions(dataset.task, rows, 0.4 + position / 10, rng)
                found = scores(dataset.task, predictions)
                intervals = bootstrap_intervals(dataset.task, predictions, 0)
                naive = dict.fromkeys(found, 0.0)
                results[model] = {"cv": found, "score": found, "interval": intervals, "naive": naive}
                tags = {"dataset": name, "model_type": model, "stage": stage, **hashes}
                title = model if stage == "baseline" else f"{model}_tuned"
                record = record_of(title, tags, predictions, results[model], float(rng.uniform(0.1, 10)))
                write_runs(client, name, [record])
            write_json(Path("metrics") / folder / f"{name}.json", {**hashes, "models": results})
        common = {"dataset": name, "model_type": dataset.tune, **hashes}
        parent = RunRecord(name="study", tags={**common, "stage": "study", "study": f"study of {name}"})
        children = [
            RunRecord(
                name=f"Trial_{number}",
                tags={**common, "stage": "trial", "trial_state": "PRUNED" if number % 3 == 0 else "COMPLETE"},
                params={"max_depth": number, "n_estimators": 100, "max_features": 0.5},
                metrics={"value": float(rng.random()), "step": 5.0},
            )
            for number in range(1, trials // len(config.datasets) + 1)
        ]
        write_runs(client, name, children, parent=parent)


def seconds_of_a_comparison(calls: int) -> tuple[float, float]:
    """Wall and processor seconds of the fastest call."""
    taken = []
    for _ in range(calls):
        wall, cpu = time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            assert compare_results.main([]) == 0
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(taken)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time compare_results.py on stores with many trial runs.")
    parser.add_argument("--trials", type=int, nargs="+", default=[300, 3000])
    parser.add_argument("--calls", type=int, default=3)
    args = parser.parse_args(argv)
    table = []
    for trials in args.trials:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            shutil.copy(ROOT / "params.yaml", "params.yaml")
            shutil.copytree(ROOT / "metrics/data", "metrics/data")
            build_store(load_config(), trials)
            seconds_of_a_comparison(1)  # imports what is left to import
            wall, cpu = seconds_of_a_comparison(args.calls)
            os.chdir(ROOT)
        print(f"{trials:,} trial runs: {wall:.2f} s, {cpu:.2f} s of them on the processor", flush=True)
        table.append({"trials": trials, "seconds": round(wall, 3), "processor_seconds": round(cpu, 3)})
    ratio = round(table[-1]["processor_seconds"] / table[0]["processor_seconds"], 2)
    print(f"processor time grows {ratio} times from {table[0]['trials']:,} to {table[-1]['trials']:,} trial runs")
    write_json(OUTPUT, {"table": table, "ratio": ratio})
    print(f"wrote {OUTPUT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
