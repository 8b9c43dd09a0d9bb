"""What a lag costs a search: the best value after 100 trials with each lag, beside that of trials one after the other.

    python -m benchmarks.lag path/to/ames.csv:Sale_Price path/to/credit_data.csv:Status

The tables of params.yaml and those given, a sample of each (but of the frauds, of which a sample has two or three);
boosting and forests; the same seeds for every lag. A value is the share of the way from the baseline to the best value
that any search of that table and seed found. Writes benchmarks/results/lag.json.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.own_tables import dataset_of
from benchmarks.paired import paired_interval
from pipeline.files import write_json
from pipeline.ingest.infer import take_in_file
from pipeline.metrics import lead
from pipeline.search import queue, scorers, space, study, trials
from pipeline.settings import Config, Dataset, load_config
from pipeline.tables.split import Rows, load_dataset, rows_of, sample_rows
from pipeline.training.build import resolve_recipe

OUTPUT = Path("benchmarks/results/lag.json")
MODELS, LAGS = ("random_forest", "gradient_boosting"), (1, 4, 8)


def best_value(
    dataset: Dataset, config: Config, model: str, rows: Rows, n_trials: int, lag: int
) -> tuple[float, float]:
    """The first and the best value of a search, the larger the better."""
    recipe = resolve_recipe(dataset, config, model)
    ranges = space.space_of_task(config.search_spaces[model], model, dataset.task)
    way = scorers.way_of_scoring(recipe, ranges, rows.independent)
    objective = trials.make_objective(recipe, ranges, (), way, rows, config.tuning.startup_trials)
    kept = study.in_memory("kept", recipe.metric, [])
    with contextlib.redirect_stdout(io.StringIO()):
        queue.run_trials(kept, objective, n_trials, None, lag, 1, None, "")
    first = study.trials_of(kept, n_trials)[0].value
    assert first is not None
    return lead(recipe.metric, first, 0.0), lead(recipe.metric, kept.best_value, 0.0)


def row(dataset: Dataset, config: Config, frame: Any, model: str, args: argparse.Namespace) -> dict[str, Any]:
    """Shares of the way to the best by lag, a list with one a seed."""
    found: dict[int, list[tuple[float, float]]] = {lag: [] for lag in LAGS}
    for seed in range(args.seeds):
        seeded = replace(config, seed=seed)
        rows = sample_rows(rows_of(frame, dataset, seeded), dataset, seeded, args.rows)
        for lag in LAGS:
            found[lag].append(best_value(dataset, seeded, model, rows, args.trials, lag))
    best = [max(found[lag][seed][1] for lag in LAGS) for seed in range(args.seeds)]
    shares = {
        str(lag): [
            1.0 if top == first else (value - first) / (top - first)
            for (first, value), top in zip(found[lag], best, strict=True)
        ]
        for lag in LAGS
    }
    means = {lag: round(float(np.mean(values)), 3) for lag, values in shares.items()}
    print(dataset.name, model, means, flush=True)
    return {"table": dataset.name, "model": model, "shares": {k: np.round(v, 4).tolist() for k, v in shares.items()}}


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By lag: the mean share over all searches, and how much less than with a lag of 1, with its 95 % interval."""
    pooled = {lag: np.concatenate([each["shares"][str(lag)] for each in found]) for lag in LAGS}
    facts = {}
    for lag in LAGS:
        less = pooled[1] - pooled[lag]
        facts[str(lag)] = {
            "share": round(float(pooled[lag].mean()), 4),
            "loss": round(float(less.mean()), 4),
            "loss_interval": [round(bound, 4) for bound in paired_interval(less)],
        }
    return facts


def main(argv: Sequence[str] | None = None) -> int:
    config = load_config()
    parser = argparse.ArgumentParser(description="What a lag costs a search.")
    parser.add_argument("tables", nargs="*", metavar="FILE:TARGET")
    parser.add_argument("--rows", type=int, default=1000, help="of each table (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--trials", type=int, default=100, help="of a search (default: %(default)s)")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    names = [name for name in config.datasets if name != "credit_fraud"]
    tables = [(dataset, load_dataset(dataset)) for dataset in map(config.dataset, names)]
    for given in args.tables:
        taken = take_in_file(dataset_of(given), config)
        tables.append((taken.dataset, taken.frame))
    found = [row(dataset, config, frame, model, args) for dataset, frame in tables for model in MODELS]
    sizes = {"rows": args.rows, "seeds": args.seeds, "trials": args.trials}
    write_json(OUTPUT, {**sizes, "lags": summary(found), "table": found})
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
