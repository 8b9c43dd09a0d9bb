"""Train a dataset's models: cross-validate, fit, score, and log a run each.

    python train.py --dataset california_housing --model random_forest
    python train.py --dataset california_housing --tuned
    python train.py --scheduler tcp://host:8786

Reads the table in data/. Writes one MLflow run a model, plots in reports/<dataset>/train/ and
metrics/train/<dataset>.json. A model whose data, settings and code are those of its run is taken from there; --force
trains it all the same. With --tuned the settings come from metrics/tune/<dataset>.json, runs are named
<model>_tuned and plots go to reports/<dataset>/tuning/. With --scheduler the fits of a dataset's models run side by
side on a Dask cluster.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cluster import connect, side_by_side
from pipeline.console import PipelineError, exit_code, progress_lines, reports_errors
from pipeline.files import earlier_models, file_sha256, read_json, remove_others, write_json
from pipeline.metrics import best_of
from pipeline.settings import Config, Dataset, load_config, search_sha256, settings_sha256
from pipeline.uncertainty import uncertainty_words
from pipeline.worth import decision_words

if TYPE_CHECKING:
    from distributed import Client

    from pipeline.store.write import Curves
    from pipeline.training.assess import Assessment
    from pipeline.training.build import Recipe


def train_dataset(
    dataset: Dataset, config: Config, models: Sequence[str], tuned: bool, force: bool, cluster: Client | None
) -> None:
    """Train the named models of a dataset with the settings of params.yaml, or those that tuning found, and log them.

    Baselines have their scores written to metrics/train/; a tuned model's are those that its search has written. Where
    data, settings and code are those of a whole run, its results are taken, unless `force` says to train all the same.
    PipelineError: there are no tuned settings.
    """
    from pipeline.store.connect import open_store, place
    from pipeline.store.system import system_metrics
    from pipeline.tables.split import load_parts
    from pipeline.training.assess import assess
    from pipeline.training.build import resolve_recipe
    from pipeline.training.record import copy_plots, log_run, logged

    settings: Mapping[str, Mapping[str, Any]] = {name: {} for name in models}
    if tuned:
        settings, made_from = tuned_settings(dataset.name, models)
    parts = load_parts(dataset, config)
    data_sha256, sha256_of = file_sha256(Path(dataset.file)), search_sha256 if tuned else settings_sha256
    hashes = {
        name: {"data_sha256": data_sha256, "params_sha256": sha256_of(config, dataset, name)} for name in settings
    }
    if tuned and made_from != hashes:
        print(f"{dataset.name}: note: the settings were tuned on other data or with other params.yaml settings")
    stage, ending, place_of_plots = ("tuned", "_tuned", "tuning") if tuned else ("baseline", "", "train")
    folder = Path("reports") / dataset.name / place_of_plots
    tags = {name: {"dataset": dataset.name, "stage": stage, **own} for name, own in hashes.items()}
    recipes = [resolve_recipe(dataset, config, name) for name in settings]
    labels = {
        recipe.model: f"{dataset.name} {recipe.model}{ending} ({number} of {len(recipes)})"
        for number, recipe in enumerate(recipes, 1)
    }
    client, metric, results = open_store(create=True), dataset.metric, dict[str, Any]()

    def entry_of(fitted: Assessment) -> dict[str, Any]:
        """Its part of the committed metrics."""
        return {"params_sha256": tags[fitted.recipe.model]["params_sha256"], **fitted.summary()}

    def score_of(fitted: Assessment) -> str:
        low, high = fitted.interval[metric]
        return f"{metric} {fitted.score[metric]:.4f} [{low:.4f}, {high:.4f}]{dataset.doubt}"

    def say_more(label: str, entry: Mapping[str, Any]) -> None:
        if "decision" in entry:
            print(f"{label}: {decision_words(entry['decision'], dataset.positive_word, dataset.doubt)}", flush=True)
        if dataset.calibrate or dataset.prediction_interval:
            print(f"{label}: {uncertainty_words(entry['uncertainty'])}", flush=True)

    for recipe in [] if force else recipes:
        name = recipe.model
        if known := logged(client, recipe, parts, tags[name], settings[name]):
            results[name] = entry_of(known)
            copy_plots(known.plots, folder / name)
            print(f"{labels[name]}: unchanged, {score_of(known)} taken from its run", flush=True)
            say_more(labels[name], results[name])

    def fit_one(recipe: Recipe) -> tuple[float, Assessment, Curves]:
        started = time.time()
        with system_metrics() as machine:
            fitted = assess(recipe, parts, settings[recipe.model], progress_lines(labels[recipe.model]))
        return started, fitted, machine

    changed = [recipe for recipe in recipes if recipe.model not in results]
    for started, fitted, machine in side_by_side(fit_one, changed, cluster):
        name = fitted.recipe.model
        log_run(client, fitted, parts, f"{name}{ending}", tags[name], folder / name, started, dataset.file, machine)
        print(
            f"{labels[name]}: {score_of(fitted)}, cross-validated {fitted.cv[metric]:.4f}, "
            f"{time.time() - started:.1f} s",
            flush=True,
        )
        results[name] = entry_of(fitted)
        say_more(labels[name], results[name])
    runs = f"the MLflow runs in {place()}: {', '.join(f'{one.model}{ending}' for one in changed)}" if changed else ""
    if tuned:
        print(f"wrote plots in {folder}/{runs and f' and {runs}'}")
        return
    path = write_scores(dataset, config, data_sha256, results)
    remove_others(folder, config.models)
    print(f"wrote {path}{',' if runs else ' and'} {folder}/{runs and f' and {runs}'}")


def tuned_settings(
    dataset: str, models: Sequence[str]
) -> tuple[dict[str, Mapping[str, Any]], dict[str, dict[str, Any]]]:
    """The settings that tuning found for the models, as far as they were tuned, and the hashes of the data and settings
    that each was found with. PipelineError: none of them was tuned.
    """
    path, command = Path("metrics/tune") / f"{dataset}.json", f"python tune_hyperparameters.py --dataset {dataset}"
    found = read_json(path, command)
    settings = {name: found["models"][name]["params"] for name in models if name in found["models"]}
    if not settings:
        mend = f"run `{command} --model {models[0]}`"
        raise PipelineError(f"{path}: no tuned settings of {', '.join(models)}; {mend}")
    data_sha256, tuned = found.get("data_sha256"), found["models"]
    return settings, {
        name: {"data_sha256": data_sha256, "params_sha256": tuned[name].get("params_sha256")} for name in settings
    }


def write_scores(dataset: Dataset, config: Config, data_sha256: str, results: dict[str, Any]) -> Path:
    """Write metrics/train/<dataset>.json: these results, and earlier ones of the same data and settings."""
    from pipeline.store.connect import store_lock

    path = Path("metrics/train") / f"{dataset.name}.json"
    with store_lock():
        # read and written under one lock: a call for another model may end at the same time
        present = {name: settings_sha256(config, dataset, name) for name in config.models}
        try:
            results = earlier_models(path, data_sha256, present, "python train.py") | results
        except PipelineError:
            # a call for all of them is the mend
            if not results.keys() >= {*config.baselines}:
                raise
        ordered = {name: results[name] for name in config.models if name in results}
        selected = best_of(dataset.metric, {name: facts["cv"][dataset.metric] for name, facts in ordered.items()})
        head = {"task": dataset.task, "metric": dataset.metric, "evaluation": dataset.evaluation, "selected": selected}
        write_json(path, {"dataset": dataset.name, "data_sha256": data_sha256, **head, "models": ordered})
    return path


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train models, score them and log one MLflow run each.")
    parser.add_argument("--dataset", choices=["all", *config.datasets], default="all", help="default: all")
    parser.add_argument(
        "--model", choices=list(config.models), help="default: those without `baseline: false` in params.yaml"
    )
    parser.add_argument(
        "--tuned", action="store_true", help="train with the settings in metrics/tune/ instead of params.yaml's"
    )
    parser.add_argument("--force", action="store_true", help="train also what has not changed since its run")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster to fit on, as tcp://host:8786")
    return parser


@reports_errors
def main(argv: Sequence[str] | None = None) -> int:
    config = load_config()
    args = build_parser(config).parse_args(argv)
    models = [args.model] if args.model else list(config.models) if args.tuned else config.baselines
    with connect(args.scheduler) as cluster:
        for name in list(config.datasets) if args.dataset == "all" else [args.dataset]:
            train_dataset(config.dataset(name), config, models, args.tuned, args.force, cluster)
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
