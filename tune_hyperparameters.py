"""Tune a model with Optuna: TPE proposes, a median pruner stops poor trials early, the winner is refitted and scored.

    python tune_hyperparameters.py --dataset california_housing --n-trials 100

Forests grow step by step and report their score after each step, out of bag where they can; boosting stops each fold by
its validation loss and reports the running mean of the folds, as other models do. The study lives in
mlruns/optuna/<dataset>.db: a killed search goes on where it was.
Writes an MLflow run a trial, reports/<dataset>/tuning/<model>/ and metrics/tune/<dataset>.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cluster import connect, fits_on
from pipeline.console import PipelineError, exit_code, positive_float, positive_int, without_passwords
from pipeline.files import earlier_models, file_sha256, hold, write_json
from pipeline.plots.study import write_study_reports
from pipeline.search.executor import run_together, run_trials
from pipeline.search.shared_study import end_once, finished, in_memory, open_shared, persistently, release
from pipeline.search.space import search_space
from pipeline.search.study import (
    best_settings,
    check_completed,
    open_study,
    print_result,
    study_database,
    study_name,
    summarise,
    trial_record,
)
from pipeline.search.trials import make_objective
from pipeline.settings import Config, Dataset, load_config, settings_sha256
from pipeline.store.sqlite import STUDIES, database_errors
from pipeline.tables.split import Parts

if TYPE_CHECKING:
    import optuna
    from distributed import Client
    from mlflow import MlflowClient


def tune_dataset(
    dataset: Dataset,
    config: Config,
    model: str,
    n_trials: int,
    timeout: float | None,
    workers: int = 1,
    storage: str | None = None,
    cluster: Client | None = None,
) -> Path | None:
    """Search, refit and score the winner beside the baseline, log all of it; returns the metrics file's path.

    Trials and fits run on the `cluster`, if there is one. `storage` is the address of a database in which other
    processes work on the same study: None where another one of them refits the winner.
    """
    from pipeline.store.connect import open_store
    from pipeline.tables.split import load_parts

    started = time.time()
    space = search_space(dataset, config, model)
    parts = load_parts(dataset, config)
    hashes = {"data_sha256": file_sha256(Path(dataset.file)), "params_sha256": settings_sha256(config, dataset)}
    name = study_name(dataset, config, model, space, hashes)
    shared = open_shared(storage, name) if storage else None
    client = open_store(create=True)
    place = shared.place if shared else None
    end = partial(end_study, dataset, config, model, parts, space, hashes, client, started, place, cluster)
    if shared is not None:
        count = len(persistently(shared, partial(finished, shared.kept)))
        print(f"{dataset.name}: study {name} in {shared.place}, {count} finished trials", flush=True)
        run_together(shared, dataset, config, model, parts, n_trials, timeout, workers)
        study = in_memory(name, persistently(shared, partial(finished, shared.kept)))
        check_completed(study, dataset)
        return end_once(shared, f"{dataset.name} {model}", n_trials, partial(end, study))
    # a second search of the same study waits, then finds the trials done
    lock = STUDIES / f".{dataset.name}-{model}.lock"
    with hold(lock, f"{dataset.name} {model}: another search goes on"), database_errors(study_database(dataset)):
        study = open_study(dataset, model, name)
        if workers > 1:
            shared = open_shared(f"sqlite:///{study_database(dataset).resolve()}", name)
            # whoever has a claim here was killed
            release(shared)
            run_together(shared, dataset, config, model, parts, n_trials, timeout, workers)
        else:
            objective = make_objective(dataset, config, model, parts, space)
            run_trials(study, objective, n_trials, timeout, config, dataset, cluster)
        study = in_memory(name, finished(study))
    check_completed(study, dataset)
    return end(study)


def end_study(
    dataset: Dataset,
    config: Config,
    model: str,
    parts: Parts,
    space: Mapping[str, Any],
    hashes: Mapping[str, str],
    client: MlflowClient,
    started: float,
    place: str | None,
    cluster: Client | None,
    study: optuna.Study,
) -> Path:
    """Refit and score the winner beside the baseline, log all of it; returns the metrics file's path."""
    from pipeline.bootstrap import paired_differences
    from pipeline.store.connect import store_lock
    from pipeline.store.runs import RunRecord, write_runs
    from pipeline.training.assess import assess, logged_baseline, progress_lines
    from pipeline.training.record import log_run

    best = best_settings(study)
    with fits_on(cluster):
        baseline = logged_baseline(dataset, config, model, client, hashes) or assess(
            dataset, config, model, parts, progress=progress_lines(f"{dataset.name} {model}, baseline")
        )
        own = {name: baseline.params[name] for name in space if name in baseline.params}
        winner = baseline
        if best != own:
            winner = assess(dataset, config, model, parts, best, progress_lines(f"{dataset.name} {model}, winner"))
    if winner is baseline or winner.cv[dataset.metric] < baseline.cv[dataset.metric]:
        print(f"{dataset.name} {model}: the search found nothing better than the baseline, which stays")
        winner, best = baseline, own
    [(difference, difference_interval)] = paired_differences(
        dataset.metric, winner.predictions, [baseline.predictions], config.seed
    )
    folder = Path("reports") / dataset.name / "tuning" / model
    write_study_reports(study, folder)

    common = {"dataset": dataset.name, "model_type": model, **hashes}
    parent = RunRecord(
        name=f"{model} study",
        tags={**common, "stage": "study", "study": study.study_name, **({"study_storage": place} if place else {})},
        params={"space": json.dumps(space), "seed": config.seed},
        start=started,
    )
    write_runs(client, dataset.name, [trial_record(trial, common) for trial in study.trials], parent=parent)
    tags = {**common, "stage": "tuned"}
    log_run(winner, dataset, config, parts, client, f"{model}_tuned", tags, folder, started)

    result = summarise(study, best, baseline, winner, dataset.metric)
    result |= {"difference": round(difference, 6), "difference_interval": [round(v, 6) for v in difference_interval]}
    print_result(dataset, model, result, baseline, winner)
    path = Path("metrics/tune") / f"{dataset.name}.json"
    with store_lock():
        # read and written under one lock: a search of another model may end at the same time
        others = earlier_models(path, hashes, "python tune_hyperparameters.py")
        write_json(path, {"dataset": dataset.name, **hashes, "models": {**others, model: result}})
    return path


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Search for better settings with Optuna, and refit and score the winner."
    )
    parser.add_argument("--dataset", choices=["all", *config.datasets], default="all", help="default: all")
    parser.add_argument("--model", choices=list(config.models), help="default: the dataset's `tune` in params.yaml")
    parser.add_argument(
        "--n-trials",
        type=positive_int,
        default=config.tuning.trials,
        help="trials in all, finished ones of an earlier call included (default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=positive_int,
        default=1,
        metavar="N",
        help="processes that share the search; with more than one the order in which trials end decides what is "
        "tried next, so that no two searches are the same (default: %(default)s)",
    )
    parser.add_argument(
        "--storage",
        type=postgresql_address,
        metavar="URL",
        default=os.environ.get("PIPELINE_STUDY_STORAGE") or None,
        help="postgresql://user@host/database: share the search with every machine that is given the same "
        "(default: the variable PIPELINE_STUDY_STORAGE)",
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster to search on, as tcp://host:8786")
    parser.add_argument(
        "--timeout",
        type=positive_float,
        metavar="SECONDS",
        help="bound of a dataset's search; scoring the winner comes on top",
    )
    return parser


def postgresql_address(text: str) -> str:
    if not text.startswith(("postgresql://", "postgresql+psycopg://")):
        # what was given is not repeated: it may hold a password
        raise argparse.ArgumentTypeError("give postgresql://user@host/database; on one machine use --workers")
    return text


def main(argv: Sequence[str] | None = None) -> int:
    try:
        config = load_config()
        parser = build_parser(config)
        args = parser.parse_args(argv)
        if args.scheduler and (args.workers > 1 or args.storage):
            parser.error("argument --scheduler: goes with neither --workers nor --storage")
        from pipeline.store.connect import place

        with connect(args.scheduler) as cluster:
            for name in list(config.datasets) if args.dataset == "all" else [args.dataset]:
                dataset = config.dataset(name)
                model = args.model or dataset.tune
                shares = args.workers, args.storage, cluster
                written = tune_dataset(dataset, config, model, args.n_trials, args.timeout, *shares)
                if written is None:
                    continue
                reports = f"reports/{name}/tuning/{model}/"
                print(f"wrote {written}, {reports} and the study's MLflow runs in {place()}")
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        words = " ".join(["python", "tune_hyperparameters.py", *(argv if argv is not None else sys.argv[1:])])
        print(f"\nstopped; finished trials are kept. To go on: {without_passwords(words)}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
