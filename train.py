"""Train a dataset's models: cross-validate, fit, score, and log a run each.

    python train.py --dataset california_housing --model random_forest
    python train.py --dataset california_housing --tuned
    python train.py --scheduler tcp://host:8786

Reads the table in data/. Writes one MLflow run a model, plots in reports/<dataset>/train/ and
metrics/train/<dataset>.json. With --tuned the settings come from metrics/tune/<dataset>.json, runs are named
<model>_tuned and plots go to reports/<dataset>/tuning/. With --scheduler the fits of a dataset's models run side by
side on a Dask cluster.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cluster import connect, side_by_side
from pipeline.console import PipelineError, exit_code
from pipeline.files import earlier_models, file_sha256, read_json, write_json
from pipeline.settings import Config, Dataset, load_config, settings_sha256

if TYPE_CHECKING:
    from distributed import Client

    from pipeline.training.assess import Assessment


def train_dataset(dataset: Dataset, config: Config, models: Sequence[str], workers: Client | None = None) -> Path:
    """Train the named models of one dataset, here or on a cluster's workers; returns the path of the metrics file."""
    from pipeline.store.connect import open_store, store_lock
    from pipeline.tables.split import load_parts
    from pipeline.training.assess import assess, naive_scores, progress_lines, summary
    from pipeline.training.record import log_run

    parts = load_parts(dataset, config)
    hashes = {"data_sha256": file_sha256(Path(dataset.file)), "params_sha256": settings_sha256(config, dataset)}
    metrics_file = Path("metrics/train") / f"{dataset.name}.json"
    results = {}
    client = open_store(create=True)

    def fit_one(name: str) -> tuple[str, float, Assessment]:
        started = time.time()
        label = f"{dataset.name} {name} ({models.index(name) + 1} of {len(models)})"
        return label, started, assess(dataset, config, name, parts, None, progress_lines(label))

    for name, (label, started, fitted) in zip(models, side_by_side(fit_one, models, workers), strict=True):
        folder = Path("reports") / dataset.name / "train" / name
        tags = {"dataset": dataset.name, "model_type": name, "stage": "baseline", **hashes}
        log_run(fitted, dataset, config, parts, client, name, tags, folder, started)
        naive = naive_scores(dataset, parts, fitted.predictions.actual)
        results[name] = {**summary(fitted), "naive": {m: round(v, 6) for m, v in naive.items()}}
        print_score(label, dataset.metric, fitted, started)
    for former in (Path("reports") / dataset.name / "train").iterdir():
        if former.name not in config.models:
            shutil.rmtree(former)
    with store_lock():
        # read and written under one lock: a call for another model may end at the same time
        if len(results) < len(config.models):
            results = earlier_models(metrics_file, hashes, "python train.py") | results
        ordered = {name: results[name] for name in config.models if name in results}
        selected = max(ordered, key=lambda name: ordered[name]["cv"][dataset.metric])
        head = {"task": dataset.task, "metric": dataset.metric, "evaluation": dataset.evaluation, "selected": selected}
        write_json(metrics_file, {"dataset": dataset.name, **hashes, **head, "models": ordered})
    return metrics_file


def train_tuned(dataset: Dataset, config: Config, models: Sequence[str], workers: Client | None = None) -> list[str]:
    """Train with the settings that tuning found, on the table as it is now; returns the names of the runs.

    The run and the plots are those that the search itself ends with; the metrics of the search stay as they are.

    Raises:
        PipelineError: there are no tuned settings.
    """
    from pipeline.store.connect import open_store
    from pipeline.tables.split import load_parts
    from pipeline.training.assess import assess, progress_lines
    from pipeline.training.record import log_run

    command = f"python tune_hyperparameters.py --dataset {dataset.name}"
    metrics_file = Path("metrics/tune") / f"{dataset.name}.json"
    found = read_json(metrics_file, command)
    tuned = [name for name in models if name in found["models"]]
    if not tuned:
        raise PipelineError(
            f"{metrics_file}: no tuned settings of {', '.join(models)}; run `{command} --model {models[0]}`"
        )
    hashes = {"data_sha256": file_sha256(Path(dataset.file)), "params_sha256": settings_sha256(config, dataset)}
    if any(found[key] != value for key, value in hashes.items()):
        print(f"{dataset.name}: note: the settings were tuned on other data or with other params.yaml settings")
    parts = load_parts(dataset, config)
    client = open_store(create=True)

    def fit_one(name: str) -> tuple[str, float, Assessment]:
        started = time.time()
        label = f"{dataset.name} {name}_tuned ({tuned.index(name) + 1} of {len(tuned)})"
        settings, progress = found["models"][name]["params"], progress_lines(label)
        return label, started, assess(dataset, config, name, parts, settings, progress)

    for name, (label, started, fitted) in zip(tuned, side_by_side(fit_one, tuned, workers), strict=True):
        folder = Path("reports") / dataset.name / "tuning" / name
        tags = {"dataset": dataset.name, "model_type": name, "stage": "tuned", **hashes}
        log_run(fitted, dataset, config, parts, client, f"{name}_tuned", tags, folder, started)
        print_score(label, dataset.metric, fitted, started)
    return tuned


def print_score(label: str, metric: str, fitted: Assessment, started: float) -> None:
    low, high = fitted.interval[metric]
    print(
        f"{label}: {metric} {fitted.score[metric]:.4f} [{low:.4f}, {high:.4f}], "
        f"cross-validated {fitted.cv[metric]:.4f}, {time.time() - started:.1f} s",
        flush=True,
    )


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train models, score them and log one MLflow run each.")
    parser.add_argument("--dataset", choices=["all", *config.datasets], default="all", help="default: all")
    parser.add_argument("--model", choices=list(config.models), help="default: every model")
    parser.add_argument(
        "--tuned", action="store_true", help="train with the settings in metrics/tune/ instead of params.yaml's"
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster to fit on, as tcp://host:8786")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    try:
        config = load_config()
        args = build_parser(config).parse_args(argv)
        from pipeline.store.connect import place

        names = list(config.datasets) if args.dataset == "all" else [args.dataset]
        models = [args.model] if args.model else list(config.models)
        with connect(args.scheduler) as workers:
            for name in names:
                if args.tuned:
                    tuned = train_tuned(config.dataset(name), config, models, workers)
                    runs = ", ".join(f"{model}_tuned" for model in tuned)
                    print(f"wrote plots in reports/{name}/tuning/ and the MLflow runs in {place()}: {runs}")
                    continue
                written = train_dataset(config.dataset(name), config, models, workers)
                print(f"wrote {written}, reports/{name}/train/ and {len(models)} MLflow runs in {place()}")
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
