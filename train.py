"""Train a dataset's models: cross-validate, fit, score, and log a run each.

    python train.py --dataset california_housing --model random_forest

Reads the table in data/. Writes one MLflow run a model, plots in reports/<dataset>/train/ and
metrics/train/<dataset>.json.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pipeline.config import Config, Dataset, PipelineError, load_config, settings_sha256
from pipeline.console import exit_code
from pipeline.data import earlier_models, file_sha256, write_json


def train_dataset(dataset: Dataset, config: Config, models: Sequence[str]) -> Path:
    """Train the named models of one dataset in this process; returns the path of the metrics file."""
    from pipeline import assessment, tracking

    parts = assessment.load_parts(dataset, config)
    hashes = {"data_sha256": file_sha256(Path(dataset.file)), "params_sha256": settings_sha256(config, dataset)}
    metrics_file = Path("metrics/train") / f"{dataset.name}.json"
    results = {}
    client = tracking.open_store(create=True)
    for position, name in enumerate(models, 1):
        started = time.time()
        label = f"{dataset.name} {name} ({position} of {len(models)})"
        fitted = assessment.assess(dataset, config, name, parts, progress=partial(show_step, label))
        importance = assessment.importances(fitted, dataset, config, parts)
        folder = Path("reports") / dataset.name / "train" / name
        plots = assessment.save_plots(fitted, importance, dataset, f"{dataset.name}: {name}", folder)
        tags = {"dataset": dataset.name, "model_type": name, "stage": "baseline", **hashes}
        record = assessment.run_record(fitted, importance, name, tags, plots, started)
        example = parts.X_train.head(assessment.EXAMPLE_ROWS)
        tracking.write_runs(client, dataset.name, [record], model=fitted.model, example=example)
        naive = assessment.naive_scores(dataset, parts, fitted.predictions.actual)
        results[name] = {**assessment.summary(fitted), "naive": {m: round(v, 6) for m, v in naive.items()}}
        low, high = fitted.interval[dataset.metric]
        print(
            f"{label}: {dataset.metric} {fitted.score[dataset.metric]:.4f} [{low:.4f}, {high:.4f}], "
            f"cross-validated {fitted.cv[dataset.metric]:.4f}, {time.time() - started:.1f} s",
            flush=True,
        )
    for former in (Path("reports") / dataset.name / "train").iterdir():
        if former.name not in config.models:
            shutil.rmtree(former)
    with tracking.store_lock():
        # read and written under one lock: a call for another model may end at the same time
        if len(results) < len(config.models):
            results = earlier_models(metrics_file, hashes, "python train.py") | results
        ordered = {name: results[name] for name in config.models if name in results}
        selected = max(ordered, key=lambda name: ordered[name]["cv"][dataset.metric])
        head = {"task": dataset.task, "metric": dataset.metric, "evaluation": dataset.evaluation, "selected": selected}
        write_json(metrics_file, {"dataset": dataset.name, **hashes, **head, "models": ordered})
    return metrics_file


def show_step(label: str, step: str) -> None:
    print(f"{label}: {step}", flush=True)


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train models, score them and log one MLflow run each.")
    parser.add_argument("--dataset", choices=["all", *config.datasets], default="all", help="default: all")
    parser.add_argument("--model", choices=list(config.models), help="default: every model")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    try:
        config = load_config()
        args = build_parser(config).parse_args(argv)
        names = list(config.datasets) if args.dataset == "all" else [args.dataset]
        models = [args.model] if args.model else list(config.models)
        for name in names:
            written = train_dataset(config.dataset(name), config, models)
            print(f"wrote {written}, reports/{name}/train/ and {len(models)} MLflow runs in mlruns/")
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
