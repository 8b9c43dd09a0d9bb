"""Tune models with Optuna, and build an ensemble of those that are fitted.

    python tune_hyperparameters.py --dataset california_housing --n-trials 100
    python tune_hyperparameters.py --dataset california_housing --workers 2
    python tune_hyperparameters.py --dataset my_table --timeout 600 --ensemble

By a number of trials one model is tuned; by time all models of params.yaml, where none is named: the seconds go where
they pay, and the winners are scored within them. TPE proposes settings, and poor trials end early. Forests grow step by
step and report their score after each step, out of bag where they can; boosting stops each fold by its validation loss
and reports the running mean of the folds, as other models do. Studies live in mlruns/optuna/<dataset>.db: a killed
search goes on where it was. Writes an MLflow run a trial, reports/<dataset>/tuning/<model>/ and
metrics/tune/<dataset>.json.

--ensemble alone fits nothing: it averages the models that are there, and writes an MLflow run,
reports/<dataset>/ensemble/ and metrics/ensemble/<dataset>.json.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cluster import connect, fits_on
from pipeline.console import (
    PipelineError,
    exit_code,
    positive_float,
    positive_int,
    progress_lines,
    reports_errors,
)
from pipeline.files import earlier_models, file_sha256, hold, remove_others, write_json
from pipeline.gates.results import read_object, read_results, select_model
from pipeline.settings import (
    BOOSTING,
    ENSEMBLE,
    Config,
    Dataset,
    ensemble_sha256,
    estimator_of,
    kind_of,
    load_config,
    search_sha256,
    space_of,
)

if TYPE_CHECKING:
    from distributed import Client
    from mlflow import MlflowClient

    from pipeline.search.cost import Candidate

# The attribute of a study whose search has come to the end that params.yaml sets: its seconds and most trials.
ENDED = "ended"
# The stages whose results an ensemble is made of.
SOURCES = ("data", "train", "tune")


def tune_dataset(
    dataset: Dataset,
    config: Config,
    models: Sequence[str],
    n_trials: int | None,
    timeout: float | None,
    workers: int | None = None,
    cluster: Client | None = None,
    ensemble: bool = False,
) -> Path:
    """Search for settings of the models, refit and score the winners, log all of it; returns the metrics file's path.
    Where a run of the same code has a winner's settings, or the baseline's, its figures are taken from there.

    The search goes on for `n_trials`, or until the rest of `timeout` seconds is needed for the winners, and for the
    `ensemble` where one is to be built in them; without either for `tuning.budget`. So many `workers` (by default as
    many as there are cores), or the threads of the `cluster`, run trials of a single model side by side.
    """
    import joblib

    from pipeline.plots.study import write_study_reports
    from pipeline.search import budget, cost, winner
    from pipeline.search.family import family_of
    from pipeline.search.study import study_database
    from pipeline.search.trials import OutOfTimeError
    from pipeline.store.connect import open_store, store_lock
    from pipeline.store.sqlite import database_errors
    from pipeline.store.system import system_metrics
    from pipeline.tables.split import load_parts, sample_rows

    started, begun, by_budget = time.time(), time.monotonic(), n_trials is None and timeout is None
    seconds = config.tuning.budget if by_budget else timeout
    most, ended = n_trials or config.tuning.trials, [seconds, n_trials or config.tuning.trials, *models]
    parts, data_sha256 = load_parts(dataset, config), file_sha256(Path(dataset.file))
    allowance = cost.Allowance()
    if seconds is not None:
        # the stage that builds an ensemble has time of its own
        for_ensemble = cost.seconds_of_ensemble(parts, seconds) if timeout and ensemble else 0.0 if by_budget else None
        deadline = begun + seconds - cost.seconds_of_pages(seconds)
        allowance = cost.Allowance(seconds, deadline, for_ensemble if len(models) > 1 else None)
    rows = sample_rows(parts.train, dataset, config, config.tuning.search_rows)
    families = [family_of(dataset, config, model, parts, rows, data_sha256) for model in models]
    client, database = open_store(create=True), study_database(dataset.name)
    pages, path = Path("reports") / dataset.name / "tuning", Path("metrics/tune") / f"{dataset.name}.json"
    with ExitStack() as stack:
        for family in families:
            # a second search of the same study waits, then finds the trials done
            lock = database.with_name(f".{dataset.name}-{family.model}.lock")
            stack.enter_context(hold(lock, f"{family.label}: another search goes on"))
        stack.enter_context(database_errors(database))
        machine, spent = stack.enter_context(system_metrics()), budget.Spent()
        # a search that its time has ended is over, unless more is asked for
        if not (by_budget and all(family.kept.user_attrs.get(ENDED) == ended for family in families)):
            at_once = workers or joblib.cpu_count()
            spent = budget.search_families(families, allowance, most, config.tuning.lag, parts, at_once, cluster)
        for family in families if by_budget else ():
            family.kept.set_user_attr(ENDED, ended)
        searched = {family.model: family.searched(most) for family in families}
        order = [family for family in budget.ranked(families) if cost.best_first(family, searched[family.model])]
    if spent.curve:
        print(f"{dataset.name}: {budget.curve_words(spent, dataset.metric)}", flush=True)
    if not order:
        reason = next(trial.user_attrs["reason"] for one in searched.values() for trial in reversed(one.trials))
        raise PipelineError(f"{dataset.name}: every trial failed; the last one: {reason}")

    # of folds that are given up
    warnings.filterwarnings("ignore", "[0-9]+ tasks (which were still being processed|have been successfully executed)")
    results, took, planned = dict[str, Any](), 0.0, 0.0
    compared: dict[str, Sequence[Candidate]] = {}
    for place, family in enumerate(order):
        begun, progress = time.monotonic(), progress_lines(f"{family.label}, winner")
        if results:
            progress = cost.within(allowance.latest(parts, len(results) + 1), progress)
        pace = planned / took if took else 1.0
        bounds = cost.bounds_of_winner(order, place, parts, allowance, len(results), pace)
        found, expected = cost.to_score(family, searched[family.model], parts, bounds)
        if not found:
            print(f"{family.label}: its winner is not scored, there is no time for it", flush=True)
            continue
        if not spent.seconds:
            # the search was over before this call
            found = [winner.as_scored(client, family, one) for one in found]
        compared[family.model] = found
        try:
            with fits_on(cluster):
                best = winner.find_winner(
                    family, found, dataset, config, parts, client, progress, alone=len(families) == 1
                )
            fitted = time.monotonic()
            results[family.model] = winner.log_winner(
                best, family, searched[family.model], found, dataset, parts, client, started, machine
            )
            allowance = replace(allowance, logged=allowance.logged + time.monotonic() - fitted)
            took, planned = took + time.monotonic() - begun, planned + expected
        except OutOfTimeError:
            print(f"{family.label}: its winner is not scored, there is no time for all of its fits", flush=True)
    for family in order:
        if family.model in results:
            more = winner.more_words(family, searched[family.model], compared[family.model], parts, most)
            print(more, end="", flush=True)
    # of several that are searched by time the best alone, as drawing takes time too
    first = order[0].model
    write_study_reports(searched[first], f"{first} on {dataset.name}", dataset.metric, pages / first)
    with store_lock():
        # read and written under one lock: a search of another model may end at the same time
        present = {name: search_sha256(config, dataset, name) for name in config.models}
        results = earlier_models(path, data_sha256, present, "python tune_hyperparameters.py") | results
        curve = spent.curve or former_curve(path, data_sha256)
        told = {"curve": curve} if curve else {}
        write_json(path, {"dataset": dataset.name, "data_sha256": data_sha256, **told, "models": results})
        remove_others(pages, config.models)
    return path


def former_curve(path: Path, data_sha256: str) -> list[Any]:
    """Of the last search over several models, where it was one of the same table."""
    former, _ = read_object(path)
    return former.get("curve", []) if former.get("data_sha256") == data_sha256 else []


def ensemble_dataset(dataset: Dataset, config: Config, stores: Sequence[MlflowClient]) -> Path:
    """Build the weighted ensemble of a dataset's fitted models, and log it where its cross-validated score is better
    than that of the best of them; returns the metrics file's path. The models are those of metrics/, with their runs in
    the `stores`. PipelineError: there are none, or one or its run is missing or stale.
    """
    from pipeline.ensemble.members import read_members
    from pipeline.ensemble.model import assess_ensemble, lead_over, recipe_of, select
    from pipeline.store.connect import open_store, store_lock
    from pipeline.tables.split import load_parts
    from pipeline.training.record import copy_plots, log_run, logged

    started, metric, label = time.time(), dataset.metric, f"{dataset.name} {ENSEMBLE}"
    results, folder = read_results(dataset, config), Path("reports") / dataset.name / ENSEMBLE
    candidates = {name: facts for name, facts in results.models.items() if name != ENSEMBLE}
    # of models that are tuned and not trained there are no baselines
    there = [stage for stage in SOURCES if not candidates or Path("metrics", stage, f"{dataset.name}.json").exists()]
    if wrong := [problem for problem in results.problems if any(f"/{stage}/" in problem for stage in there)]:
        raise PipelineError("; ".join(wrong))
    hashes = {"data_sha256": results.data_sha256, "params_sha256": ensemble_sha256(config, dataset, candidates)}
    parts, most = load_parts(dataset, config), config.ensemble.members
    members = read_members(dataset, config, parts, results.data_sha256, candidates, stores)
    best = select_model({name: candidates[name] for name in members}, metric)
    facts: dict[str, Any] = {"candidates": [*candidates], "best": best}
    models = dict[str, Any]()
    folder.mkdir(parents=True, exist_ok=True)
    if best is None or len(members) == 1:
        print(f"{label}: none is built of fewer than two models")
    else:
        weights, pooled = select(members, parts.train, most)
        lead, (low, high) = lead_over(members[best], pooled)
        facts |= {"lead": round(lead, 6), "lead_interval": [round(low, 6), round(high, 6)]}
        words = f"cross-validated {metric} {lead:+.4f} [{low:+.4f}, {high:+.4f}] against {best}"
        if lead <= 0:
            print(f"{label}: none is built, as it is not ahead: {words}")
        else:
            print(f"{label}: {words}", flush=True)
            recipe, client = recipe_of(members[best].recipe, weights), open_store(create=True)
            tags = {"dataset": dataset.name, "stage": ENSEMBLE, **hashes}
            fitted = logged(client, recipe, parts, tags)
            if fitted:
                copy_plots(fitted.plots, folder)
                print(f"{label}: unchanged, taken from its run")
            else:
                fitted = assess_ensemble(recipe, parts, members, pooled, most)
                log_run(client, fitted, parts, ENSEMBLE, tags, folder, started, dataset.file)
            ends = "{:.4f}, {:.4f}".format(*fitted.interval[metric])
            score = f"{metric} {fitted.score[metric]:.4f} [{ends}]{dataset.doubt}"
            print(f"{label}: {score}, of {', '.join(f'{weight:.2f} {name}' for name, weight in weights.items())}")
            models[ENSEMBLE] = {"params_sha256": hashes["params_sha256"], "weights": weights, **fitted.summary()}
    path = Path("metrics") / ENSEMBLE / f"{dataset.name}.json"
    with store_lock():
        write_json(path, {"dataset": dataset.name, "data_sha256": results.data_sha256, **facts, "models": models})
    return path


def families_of(dataset: Dataset, config: Config) -> list[str]:
    """The models that a budget of time is spent on, in the order of `first_trials`, then of `models`: those with
    settings to search for, whose library is installed, and that no other one stands for.
    """
    from pipeline.training.build import is_installed

    models, missing = list[str](), dict[str, list[str]]()
    for name in config.models:
        path, _ = estimator_of(config, dataset, name)
        if space_of(config.search_spaces.get(name, {}), kind_of(dataset.task)):
            (models if is_installed(path) else missing.setdefault(path.partition(".")[0], [])).append(name)
    for library, names in missing.items():
        words = f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} left out"
        print(f"{dataset.name}: note: {words}, as {library} is not installed")
    for name in {config.models[model].instead_of for model in models} & {*models}:
        print(f"{dataset.name}: note: {name} is left out for one much like it")
        models.remove(name)
    # those with settings that are known to be good, in their order
    order = [*config.first_trials, *models]
    return sorted(models, key=order.index)


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Search for better settings with Optuna, and refit and score the winners; build an ensemble."
    )
    parser.add_argument("--dataset", choices=["all", *config.datasets], default="all", help="default: all")
    parser.add_argument(
        "--model",
        choices=list(config.models),
        help="default: the dataset's `tune` in params.yaml, else by time all, by trials gradient_boosting",
    )
    parser.add_argument(
        "--n-trials",
        type=positive_int,
        help="trials of a model in all, finished ones of an earlier call included (default: the dataset's `trials` in "
        f"params.yaml, else as many as there is time for, {config.tuning.trials} at most)",
    )
    parser.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="processes that run trials of one model side by side, at most tuning.lag of them; the result is the same "
        "with any number (default: one a core)",
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster to search on, as tcp://host:8786")
    parser.add_argument(
        "--timeout",
        type=positive_float,
        metavar="SECONDS",
        help="bound of all that is asked for: searches, winners and ensembles of all datasets (default: without "
        f"trials {config.tuning.budget:g} s a dataset, as tuning.budget says)",
    )
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="build a weighted ensemble of the fitted models; with --model, --n-trials or --timeout after the search",
    )
    parser.add_argument(
        "--tracking-uri",
        action="append",
        metavar="URI",
        help="with --ensemble: an MLflow store with runs of models, can be given several times (default: the own one)",
    )
    return parser


@reports_errors
def main(argv: Sequence[str] | None = None) -> int:
    try:
        config = load_config()
        parser = build_parser(config)
        args = parser.parse_args(argv)
        if args.scheduler and args.workers:
            parser.error("argument --scheduler: goes without --workers")
        if args.tracking_uri and not args.ensemble:
            parser.error("argument --tracking-uri: goes with --ensemble")
        from pipeline.store.connect import open_store, place

        started, search = time.monotonic(), not args.ensemble or args.model or args.n_trials or args.timeout
        names = list(config.datasets) if args.dataset == "all" else [args.dataset]
        with connect(args.scheduler) as cluster:
            for place_of, name in enumerate(names):
                dataset, timeout = config.dataset(name), args.timeout
                if timeout:
                    timeout = (started + timeout - time.monotonic()) / (len(names) - place_of)
                if search:
                    n_trials = args.n_trials or dataset.trials
                    model = args.model or dataset.tune or (BOOSTING if n_trials else "")
                    models = [model] if model else families_of(dataset, config)
                    written = tune_dataset(
                        dataset, config, models, n_trials, timeout, args.workers, cluster, args.ensemble
                    )
                    print(f"wrote {written}, reports/{name}/tuning/ and the MLflow runs in {place()}", flush=True)
                if args.ensemble:
                    stores = [open_store(uri) for uri in args.tracking_uri or [None]]
                    written = ensemble_dataset(dataset, config, stores)
                    print(f"wrote {written} and reports/{name}/{ENSEMBLE}/", flush=True)
    except KeyboardInterrupt:
        words = " ".join(["python", "tune_hyperparameters.py", *(argv if argv is not None else sys.argv[1:])])
        print(f"\nstopped; finished trials are kept. To go on: {words}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
