"""How many rows a search needs on tables of more than 100,000: the winner of a search on a sample, fitted on all rows.

    python -m benchmarks.search_rows path/to/flights.csv:arr_delay

Tables from the generators and those given, of at most --rows rows, a fifth of them to test on. For each seed and number
of rows the same settings are tried, boosting's first trials and random ones. The best is fitted on all training rows
and scored on the test part. Writes benchmarks/results/search_rows.json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.own_tables import dataset_of
from benchmarks.paired import paired_interval
from pipeline.files import write_json
from pipeline.generators import GENERATORS
from pipeline.ingest.infer import take_in_file
from pipeline.metrics import lead, metric_value
from pipeline.search import queue, scorers, space, study, trials
from pipeline.settings import Config, Dataset, kind_of, load_config
from pipeline.tables.columns import normalise_types
from pipeline.tables.split import Rows, features_and_target, rows_of, sample_rows, split
from pipeline.training.build import build_model, resolve_recipe
from pipeline.training.fit import fit, predict

OUTPUT = Path("benchmarks/results/search_rows.json")
MODEL, SIZES = "gradient_boosting", (2_500, 5_000, 10_000, 20_000, 50_000)


def searched(dataset: Dataset, config: Config, rows: Rows, n_trials: int) -> tuple[dict[str, Any], float]:
    """The settings that a search of so many trials finds on the rows, and its seconds."""
    recipe = resolve_recipe(dataset, config, MODEL)
    ranges = space.space_of_task(config.search_spaces[MODEL], MODEL, dataset.task)
    first = getattr(config.first_trials[MODEL], kind_of(dataset.task))
    way, started = scorers.way_of_scoring(recipe, ranges, rows.independent), time.perf_counter()
    # of random settings, so that all samples are asked for the same
    objective = trials.make_objective(recipe, ranges, first, way, rows, n_trials)
    kept = study.in_memory("kept", recipe.metric, [])
    with contextlib.redirect_stdout(io.StringIO()):
        queue.run_trials(kept, objective, n_trials, None, 1, 1, None, "")
    return kept.best_trial.user_attrs["settings"], time.perf_counter() - started


def row(dataset: Dataset, config: Config, frame: pd.DataFrame, seed: int, n_trials: int) -> dict[str, Any]:
    """By number of rows: what the winner reaches on the test part, and the seconds of the search."""
    seeded = replace(config, seed=seed)
    train, test = split(frame, dataset, seeded)
    rows, (X, y) = rows_of(train, dataset, seeded), features_and_target(test, dataset)
    recipe, found = resolve_recipe(dataset, seeded, MODEL), dict[str, Any]()
    for size in SIZES:
        settings, seconds = searched(dataset, seeded, sample_rows(rows, dataset, seeded, size), n_trials)
        model = fit(build_model(recipe, rows.X, settings), rows.X, rows.y)
        value = metric_value(dataset.metric, predict(model, X, y, dataset.task))
        found[str(size)] = {"score": value, "seconds": seconds, "max_iter": settings["max_iter"]}
        print(f"{dataset.name}, seed {seed}, {size:,} rows: {value:.4f}, {seconds:.0f} s, {settings}", flush=True)
    return {"table": dataset.name, "metric": dataset.metric, "rows": len(train), "seed": seed, "sizes": found}


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By number of rows: what is lost to the largest sample, with its interval over tables and seeds; and the seconds
    of a search.
    """
    facts, largest = {}, str(SIZES[-1])
    for size in map(str, SIZES):
        lost = [lead(one["metric"], one["sizes"][largest]["score"], one["sizes"][size]["score"]) for one in found]
        interval = [*paired_interval(lost)] if len(lost) > 1 else None
        seconds = float(np.mean([one["sizes"][size]["seconds"] for one in found]))
        facts[size] = {"lost": float(np.mean(lost)), "interval": interval, "seconds": seconds}
    return facts


def main(argv: Sequence[str] | None = None) -> int:
    config = load_config()
    parser = argparse.ArgumentParser(description="How many rows a search needs on large tables.")
    parser.add_argument("tables", nargs="*", metavar="FILE:TARGET")
    parser.add_argument("--rows", type=int, default=150_000, help="of each table at most (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--trials", type=int, default=10, help="of a search (default: %(default)s)")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    found = []
    for seed in range(args.seeds):
        tables = []
        for name in ("california_housing", "customer_churn"):
            dataset = replace(config.dataset(name), metric="r2" if name == "california_housing" else "roc_auc")
            frame, _ = GENERATORS[name](seed, args.rows)
            tables.append((dataset, normalise_types(frame)))
        for given in args.tables:
            taken = take_in_file(dataset_of(given), config)
            tables.append((taken.dataset, taken.frame.sample(min(args.rows, len(taken.frame)), random_state=seed)))
        found += [row(dataset, config, frame, seed, args.trials) for dataset, frame in tables]
        sizes = {"seeds": args.seeds, "trials": args.trials}
        results = {**sizes, "sizes": summary(found), "table": found}
        write_json(OUTPUT, json.loads(json.dumps(results), parse_float=lambda text: round(float(text), 5)))
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
