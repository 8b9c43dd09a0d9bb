"""Tune a model with Optuna: TPE proposes, a median pruner stops poor trials early, the winner is refitted and scored.

    python tune_hyperparameters.py --dataset california_housing --n-trials 100
    python tune_hyperparameters.py --dataset california_housing --workers 2

Forests grow step by step and report their score after each step, out of bag where they can; boosting stops each fold by
its validation loss and reports the running mean of the folds, as other models do. The study lives in
mlruns/optuna/<dataset>.db: a killed search goes on where it was.
Writes an MLflow run a trial, reports/<dataset>/tuning/<model>/ and metrics/tune/<dataset>.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cluster import connect, fits_on
from pipeline.console import exit_code, positive_float, positive_int, progress_lines, reports_errors
from pipeline.files import earlier_models, file_sha256, hold, remove_others, write_json
from pipeline.settings import Config, Dataset, kind_of, load_config, search_sha256, settings_sha256
from pipeline.worth import decision_words

if TYPE_CHECKING:
    from distributed import Client

    from pipeline.training.assess import Assessment

# The attribute of a study whose search has come to the end that params.yaml sets: its seconds and most trials.
ENDED = "ended"


def tune_dataset(
    dataset: Dataset,
    config: Config,
    model: str,
    n_trials: int | None,
    timeout: float | None,
    workers: int | None = None,
    cluster: Client | None = None,
) -> Path:
    """Search, refit and score the winner beside the baseline, log all of it; returns the metrics file's path. Where a
    run of the same code has the winner's settings or the baseline's, its figures are taken from there.

    So many `workers` (by default as many as there are cores), or the threads of the `cluster`, run trials side by side.
    """
    import joblib

    from pipeline.plots.study import write_study_reports
    from pipeline.search import queue, scorers, space, study, trials, winner
    from pipeline.store.connect import open_store, store_lock
    from pipeline.store.sqlite import database_errors
    from pipeline.store.system import system_metrics
    from pipeline.store.write import write_runs
    from pipeline.tables.split import load_parts, sample_rows
    from pipeline.training.assess import assess
    from pipeline.training.build import resolve_recipe
    from pipeline.training.record import copy_plots, log_run, logged

    started, label = time.time(), f"{dataset.name} {model}"
    recipe = resolve_recipe(dataset, config, model)
    ranges, kind = space.space_of_task(config.search_spaces.get(model, {}), model, dataset.task), kind_of(dataset.task)
    first = getattr(config.first_trials[model], kind) if model in config.first_trials else ()
    n_trials = n_trials or dataset.trials
    by_time = n_trials is None and timeout is None
    if by_time:
        timeout = config.tuning.seconds
    n_trials = n_trials or config.tuning.trials
    parts = load_parts(dataset, config)
    recipe = replace(recipe, judged_rows=parts.judged_rows)
    rows = sample_rows(parts.train, dataset, config, config.tuning.search_rows)
    way = scorers.way_of_scoring(recipe, ranges, rows.independent)
    if any(trials.FOUND[way] in settings for settings in first):
        print(
            f"{label}: note: first_trials gives {trials.FOUND[way]}, which the search finds by itself; it is not used"
        )
    data_sha256 = file_sha256(Path(dataset.file))
    hashes = {"data_sha256": data_sha256, "params_sha256": search_sha256(config, dataset, model)}
    name = study.study_name(model, way, hashes)
    client = open_store(create=True)

    # a second search of the same study waits, then finds the trials done
    database = study.study_database(dataset.name)
    lock = database.with_name(f".{dataset.name}-{model}.lock")
    with hold(lock, f"{label}: another search goes on"), database_errors(database), system_metrics() as machine:
        kept = study.open_study(dataset.name, model, name, recipe.metric)
        objective = trials.make_objective(recipe, ranges, first, way, rows, config.tuning.startup_trials)
        workers, bound = workers or joblib.cpu_count(), [timeout, n_trials]
        # a search that its time has ended is over, unless more is asked for
        if not (by_time and kept.user_attrs.get(ENDED) == bound):
            queue.run_trials(kept, objective, n_trials, timeout, config.tuning.lag, workers, cluster, dataset.name)
        if by_time:
            kept.set_user_attr(ENDED, bound)
        searched = study.in_memory(name, recipe.metric, study.trials_of(kept, n_trials))
    if len(searched.trials) < n_trials:
        command = f"python tune_hyperparameters.py --dataset {dataset.name} --model {model}"
        words = f"the time was up; `{command} --n-trials {len(searched.trials)}` finds the same"
        print(f"{label}: {words}", flush=True)

    found = winner.best_settings(searched, dataset.name)
    tags = {"dataset": dataset.name, **hashes}
    of_baseline = {**tags, "stage": "baseline", "params_sha256": settings_sha256(config, dataset, model)}
    of_winner, tried = {**tags, "stage": "tuned"}, {"best_trial": json.dumps(found)}
    with fits_on(cluster):
        progress = progress_lines(f"{label}, baseline")
        baseline = logged(client, recipe, parts, of_baseline) or assess(recipe, parts, progress=progress)
        progress = progress_lines(f"{label}, winner")
        # the run of an earlier call: of these settings, or of the baseline's, as these were no better
        known = logged(client, recipe, parts, of_winner, found) or logged(client, recipe, parts, of_winner | tried)
        tuned, best = winner.choose(
            baseline, found, ranges, lambda: known or assess(recipe, parts, found, progress), label
        )
    result = {"params_sha256": hashes["params_sha256"], **winner.summarise(searched, best, baseline, tuned)}

    folder = Path("reports") / dataset.name / "tuning" / model
    write_study_reports(searched, f"{model} on {dataset.name}", recipe.metric, folder)
    parent, records = winner.study_records(
        searched, {**tags, "model_type": model}, ranges, config.seed, started, folder
    )
    write_runs(client, dataset.name, records, parent=replace(parent, curves={**parent.curves, **machine}))
    if known and known.params == tuned.params:
        copy_plots(known, folder)
        print(f"{label}: unchanged, the winner is taken from its run", flush=True)
    else:
        log_run(client, tuned, parts, f"{model}_tuned", of_winner | tried, folder, started, dataset.file)
    print("\n".join(result_lines(label, result, baseline, tuned, dataset)), flush=True)
    path = Path("metrics/tune") / f"{dataset.name}.json"
    with store_lock():
        # read and written under one lock: a search of another model may end at the same time
        present = {name: search_sha256(config, dataset, name) for name in config.models}
        others = earlier_models(path, data_sha256, present, "python tune_hyperparameters.py")
        write_json(path, {"dataset": dataset.name, "data_sha256": data_sha256, "models": {**others, model: result}})
        remove_others(folder.parent, config.models)
    return path


def result_lines(
    label: str, result: Mapping[str, Any], baseline: Assessment, winner: Assessment, dataset: Dataset
) -> list[str]:
    """What a search found, for the terminal."""
    metric, trials = winner.recipe.metric, result["trials"]
    low, high = result["difference_interval"]
    decision = result.get("decision")
    worth = decision_words(decision, dataset.positive_word, dataset.doubt) if decision else ""
    return [
        f"{label}: best settings {json.dumps(result['params'])}",
        f"  trials: {trials['complete']} complete, {trials['pruned']} pruned, {trials['failed']} failed; "
        f"pruning saved {result['pruned_work']:.0%} of the search's work",
        f"  cross-validated {metric}: baseline {baseline.cv[metric]:.4f}, tuned {winner.cv[metric]:.4f}",
        f"  {metric}: baseline {baseline.score[metric]:.4f}, tuned {winner.score[metric]:.4f}, "
        f"difference {result['difference']:+.4f} [{low:+.4f}, {high:+.4f}]{dataset.doubt}",
        *([f"  {worth}"] if worth else []),
    ]


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Search for better settings with Optuna, and refit and score the winner."
    )
    parser.add_argument("--dataset", choices=["all", *config.datasets], default="all", help="default: all")
    parser.add_argument("--model", choices=list(config.models), help="default: the dataset's `tune` in params.yaml")
    parser.add_argument(
        "--n-trials",
        type=positive_int,
        help="trials in all, finished ones of an earlier call included (default: the dataset's `trials` in "
        f"params.yaml, else as many as {config.tuning.seconds:g} seconds allow, {config.tuning.trials} at most)",
    )
    parser.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="processes that run trials side by side, at most tuning.lag of them; the result is the same with any "
        "number (default: one a core)",
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster to search on, as tcp://host:8786")
    parser.add_argument(
        "--timeout",
        type=positive_float,
        metavar="SECONDS",
        help="bound of a dataset's search; scoring the winner comes on top",
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
        from pipeline.store.connect import place

        with connect(args.scheduler) as cluster:
            for name in list(config.datasets) if args.dataset == "all" else [args.dataset]:
                dataset = config.dataset(name)
                model = args.model or dataset.tune
                written = tune_dataset(dataset, config, model, args.n_trials, args.timeout, args.workers, cluster)
                reports = f"reports/{name}/tuning/{model}/"
                print(f"wrote {written}, {reports} and the study's MLflow runs in {place()}")
    except KeyboardInterrupt:
        words = " ".join(["python", "tune_hyperparameters.py", *(argv if argv is not None else sys.argv[1:])])
        print(f"\nstopped; finished trials are kept. To go on: {words}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
