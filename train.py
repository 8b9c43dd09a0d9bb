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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cluster import connect, side_by_side
from pipeline.console import PipelineError, exit_code
from pipeline.files import earlier_models, file_sha256, read_json, write_json
from pipeline.gates.results import select_model
from pipeline.settings import Config, Dataset, load_config, settings_sha256

if TYPE_CHECKING:
    from distributed import Client

    from pipeline.tables.split import Parts
    from pipeline.training.assess import Assessment
    from pipeline.training.build import Recipe


def train_baselines(dataset: Dataset, config: Config, models: Sequence[str], cluster: Client | None) -> None:
    """Train the named models of a dataset with the settings of params.yaml, and write their metrics."""
    from pipeline.store.connect import place, store_lock
    from pipeline.tables.split import load_parts
    from pipeline.training.assess import naive_scores
    from pipeline.training.build import resolve_recipe

    parts = load_parts(dataset, config)
    hashes = {"data_sha256": file_sha256(Path(dataset.file)), "params_sha256": settings_sha256(config, dataset)}
    recipes = {name: resolve_recipe(dataset, config, name) for name in models}
    folder, results = Path("reports") / dataset.name / "train", {}
    tags = {"dataset": dataset.name, "stage": "baseline", **hashes}
    for name, fitted in fit_and_log(recipes, {}, parts, tags, folder, cluster):
        naive = naive_scores(dataset.task, parts.train.y, fitted.predictions.actual)
        results[name] = {**fitted.summary(), "naive": naive}
    for former in folder.iterdir():
        if former.name not in config.models:
            shutil.rmtree(former)
    path = Path("metrics/train") / f"{dataset.name}.json"
    with store_lock():
        # read and written under one lock: a call for another model may end at the same time
        if len(results) < len(config.models):
            results = earlier_models(path, hashes, "python train.py") | results
        ordered = {name: results[name] for name in config.models if name in results}
        selected = select_model(ordered, dataset.metric)
        head = {"task": dataset.task, "metric": dataset.metric, "evaluation": dataset.evaluation, "selected": selected}
        write_json(path, {"dataset": dataset.name, **hashes, **head, "models": ordered})
    print(f"wrote {path}, {folder}/ and {len(models)} MLflow runs in {place()}")


def train_tuned(dataset: Dataset, config: Config, models: Sequence[str], cluster: Client | None) -> None:
    """Train with the settings that tuning found, on the table as it is now.

    The run and the plots are those that the search itself ends with; the metrics of the search stay as they are.

    Raises:
        PipelineError: there are no tuned settings.
    """
    from pipeline.store.connect import place
    from pipeline.tables.split import load_parts
    from pipeline.training.build import resolve_recipe

    path, command = Path("metrics/tune") / f"{dataset.name}.json", f"tune_hyperparameters.py --dataset {dataset.name}"
    found = read_json(path, f"python {command}")
    settings = {name: found["models"][name]["params"] for name in models if name in found["models"]}
    if not settings:
        mend = f"run `python {command} --model {models[0]}`"
        raise PipelineError(f"{path}: no tuned settings of {', '.join(models)}; {mend}")
    hashes = {"data_sha256": file_sha256(Path(dataset.file)), "params_sha256": settings_sha256(config, dataset)}
    if any(found[key] != value for key, value in hashes.items()):
        print(f"{dataset.name}: note: the settings were tuned on other data or with other params.yaml settings")
    parts = load_parts(dataset, config)
    recipes = {name: resolve_recipe(dataset, config, name) for name in settings}
    folder, tags = Path("reports") / dataset.name / "tuning", {"dataset": dataset.name, "stage": "tuned", **hashes}
    runs = [f"{name}_tuned" for name, _ in fit_and_log(recipes, settings, parts, tags, folder, cluster)]
    print(f"wrote plots in {folder}/ and the MLflow runs in {place()}: {', '.join(runs)}")


def fit_and_log(
    recipes: Mapping[str, Recipe],
    settings: Mapping[str, Mapping[str, Any]],
    parts: Parts,
    tags: Mapping[str, str],
    folder: Path,
    cluster: Client | None,
) -> Iterator[tuple[str, Assessment]]:
    """Each model fitted, judged and logged; the tuned `settings` of a model give its run another name."""
    from pipeline.store.connect import open_store
    from pipeline.training.assess import assess, progress_lines
    from pipeline.training.record import log_run

    client, names = open_store(create=True), list(recipes)
    runs = {name: f"{name}_tuned" if name in settings else name for name in names}
    labels = {
        name: f"{tags['dataset']} {runs[name]} ({number} of {len(names)})" for number, name in enumerate(names, 1)
    }

    def fit_one(name: str) -> tuple[str, float, Assessment]:
        started = time.time()
        return name, started, assess(recipes[name], parts, settings.get(name), progress_lines(labels[name]))

    for name, started, fitted in side_by_side(fit_one, names, cluster):
        log_run(client, fitted, parts, runs[name], tags, folder / name, started)
        metric = fitted.recipe.metric
        low, high = fitted.interval[metric]
        print(
            f"{labels[name]}: {metric} {fitted.score[metric]:.4f} [{low:.4f}, {high:.4f}], "
            f"cross-validated {fitted.cv[metric]:.4f}, {time.time() - started:.1f} s",
            flush=True,
        )
        yield name, fitted


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
        models = [args.model] if args.model else list(config.models)
        with connect(args.scheduler) as cluster:
            for name in list(config.datasets) if args.dataset == "all" else [args.dataset]:
                train = train_tuned if args.tuned else train_baselines
                train(config.dataset(name), config, models, cluster)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
