"""How much too good the best of many trials looks on the folds that it was searched on, and who is chosen.

    python -m benchmarks.selection_bias

On small tables of many seeds, settings of small forests are drawn at random and cross-validated. What cross-validation
says of the best trial is set beside the score of its fold models on fresh rows of the same source: on the folds of the
search, on a second set of folds (the same rows, shuffled otherwise), and corrected by bootstrap (BBC-CV: the best trial
of the drawn rows is scored on the others; Tsamardinos et al. 2018). Each way then chooses between best trial and
baseline. Writes benchmarks/results/selection_bias.json.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import optuna
from scipy import stats
from sklearn.base import clone
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from pipeline.files import write_json
from pipeline.generators import GENERATORS
from pipeline.metrics import Predictions, joined, lead, metric_value
from pipeline.search.space import space_of_task, suggest
from pipeline.settings import Config, Dataset, load_config
from pipeline.tables.columns import normalise_types
from pipeline.tables.split import Rows, features_and_target, rows_of
from pipeline.training.build import build_estimator, build_preprocessing, columns_by_kind, resolve_recipe

OUTPUT = Path("benchmarks/results/selection_bias.json")
MODEL, DATASETS, SIZES = "random_forest", ("california_housing", "customer_churn"), (500,)
TRIALS, TREES, FRESH_ROWS, RESAMPLES = 30, 10, 4_000, 50
WAYS = ("folds of the search", "second folds", "bootstrap-corrected")


def prepared(preprocessing: Any, rows: Rows, fresh: Rows) -> list[Any]:
    """Of each fold: its training, validation and fresh rows as (features, targets), preprocessed as it learns."""
    found = []
    for train, validation in rows.folds:
        fitted = clone(preprocessing)
        learned = fitted.fit_transform(rows.X.iloc[train], rows.y[train]), rows.y[train]
        asked = [(rows.X.iloc[validation], rows.y[validation]), (fresh.X, fresh.y)]
        found.append([learned, *((fitted.transform(X), y) for X, y in asked)])
    return found


def judged(estimator: Any, folds: list[Any]) -> tuple[Predictions, Predictions]:
    """Pooled out-of-fold predictions, and those of the fold models for fresh rows."""
    found = []
    for learned, *asked in folds:
        fitted = clone(estimator).fit(*learned)
        found.append([Predictions(y, fitted.predict(X)) for X, y in asked])
    out, new = map(joined, zip(*found, strict=True))
    return out, new


def corrected(metric: str, trials: Sequence[Predictions], seed: int) -> float:
    """The score of the best of the trials by BBC-CV; their predictions are of the same rows in the same order."""
    rng, n, found = np.random.default_rng(seed), len(trials[0].actual), []
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, n, n)
        values = [metric_value(metric, one.of(drawn)) for one in trials]
        best = max(range(len(trials)), key=lambda k: lead(metric, values[k], 0.0))
        found.append(metric_value(metric, trials[best].of(np.setdiff1d(np.arange(n), drawn))))
    return mean(found)


def of_table(name: str, size: int, seed: int) -> dict[str, Any]:
    """Of one table, by way: what it says of the best trial and what is true, and the same of the baseline."""
    config: Config = load_config()
    dataset: Dataset = config.dataset(name)
    frame, other = (
        normalise_types(GENERATORS[name](number, count)[0])
        for number, count in ((seed, size), (10_000 + seed, FRESH_ROWS))
    )
    recipe, metric, task = resolve_recipe(dataset, config, MODEL), dataset.metric, dataset.task
    rows = rows_of(frame, dataset, config)
    second = rows_of(frame, dataset, replace(config, seed=config.seed + 1))
    fresh = Rows(*features_and_target(other, dataset), folds=[])
    space, columns = space_of_task(config.search_spaces[MODEL], MODEL, task), columns_by_kind(recipe, rows.X)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    settings: list[dict[str, Any]] = [{}, *(suggest(study.ask(), space) for _ in range(TRIALS - 1))]
    estimator = build_estimator(recipe, columns)
    models = [clone(estimator).set_params(**{**one, "n_estimators": TREES, "n_jobs": 1}) for one in settings]
    with threadpool_limits(1):
        first, other_folds = (prepared(build_preprocessing(recipe, columns), part, fresh) for part in (rows, second))
        trials = [judged(model, first)[0] for model in models]
        values = [metric_value(metric, one) for one in trials]
        best = max(range(TRIALS), key=lambda k: lead(metric, values[k], 0.0))
        found: dict[str, Any] = {"best_is_baseline": best == 0}
        for way, part in (("folds of the search", first), ("second folds", other_folds)):
            pairs = [judged(models[k], part) for k in (best, 0)]
            said = [metric_value(metric, out) for out, _ in pairs]
            true = [metric_value(metric, new) for _, new in pairs]
            found[way] = {"said": said, "true": true}
        found["bootstrap-corrected"] = {
            "said": [corrected(metric, trials, seed), values[0]],
            "true": found["folds of the search"]["true"],
        }
    return found


def row_of(name: str, size: int, way: str, tables: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the file has of a way on the tables of a dataset and size, with 95 % intervals of means."""
    metric = load_config().dataset(name).metric
    said, true = ([lead(metric, *table[way][part]) for table in tables] for part in ("said", "true"))
    # which of the two is better is one truth for all ways
    truly = [mean(lead(metric, *table[other]["true"]) for other in WAYS[:2]) for table in tables]
    taken = [value >= 0 and not table["best_is_baseline"] for value, table in zip(said, tables, strict=True)]
    return {
        "dataset": name,
        "metric": metric,
        "rows": size,
        "way": way,
        "too_good": mean_interval([table[way]["said"][0] - table[way]["true"][0] for table in tables]),
        "baseline_too_good": mean_interval([table[way]["said"][1] - table[way]["true"][1] for table in tables]),
        "lead_too_good": mean_interval([one - other for one, other in zip(said, true, strict=True)]),
        "taken": sum(taken),
        "taken_and_worse": sum(one and lost < 0 for one, lost in zip(taken, truly, strict=True)),
        "left_and_better": sum(not one and gain > 0 for one, gain in zip(taken, truly, strict=True)),
        "gained": mean_interval([one * gain for one, gain in zip(taken, truly, strict=True)]),
    }


def mean_interval(values: Sequence[float]) -> list[float]:
    """The mean and its 95 % t interval."""
    reach = float(stats.t.isf(0.025, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return [mean(values), mean(values) - reach, mean(values) + reach]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare cross-validation of the best trial with fresh rows.")
    parser.add_argument("--tables", type=int, default=40, help="of each kind and size (default: %(default)s)")
    tables = parser.parse_args(argv).tables
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kinds = [*product(DATASETS, SIZES)]
    work = [(*kind, seed) for seed in range(tables) for kind in kinds]
    with ProcessPoolExecutor() as processes:
        results = [*tqdm(processes.map(of_table, *zip(*work, strict=True)), total=len(work))]
    rows = [row_of(*kind, way, results[number :: len(kinds)]) for number, kind in enumerate(kinds) for way in WAYS]
    rounded = json.loads(json.dumps(rows), parse_float=lambda text: round(float(text), 4))
    write_json(OUTPUT, {"tables": tables, "trials": TRIALS, "rows": rounded})
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
