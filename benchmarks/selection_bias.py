"""How much too good the best of many trials looks on the folds that it was searched on, and who is chosen.

    python -m benchmarks.selection_bias

On tables of many seeds, settings of small forests are drawn at random and cross-validated on the training part. What
is said of the best trial is set beside the score of its models on fresh rows of the same source: on the folds of the
search, on a second set of folds (the same rows, shuffled otherwise), corrected by bootstrap (BBC-CV: the best trial of
the drawn rows is scored on the others; Tsamardinos et al. 2018), and as a dataset is judged: on the test part, or by
cross-validation over all rows. Then rules choose between best trial and baseline: in that search, and in one whose
trials differ by their seed alone, so that the best is truly no better. Writes benchmarks/results/selection_bias.json.
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
from pipeline.intervals import AHEAD, is_ahead
from pipeline.metrics import Predictions, joined, lead, metric_value
from pipeline.search.space import space_of_task, suggest
from pipeline.settings import Config, Dataset, load_config
from pipeline.tables.columns import normalise_types
from pipeline.tables.split import Rows, features_and_target, rows_of, sample_rows, split
from pipeline.training.build import build_estimator, build_preprocessing, columns_by_kind, resolve_recipe

OUTPUT = Path("benchmarks/results/selection_bias.json")
MODEL, DATASETS, SIZES = "random_forest", ("california_housing", "customer_churn"), (500, 2000)
TRIALS, TREES, FRESH_ROWS, RESAMPLES = 30, 10, 4_000, 50
SEARCH, SECOND, CORRECTED = "folds of the search", "second folds", "bootstrap-corrected"
TEST, ALL_ROWS = "test part (`holdout`)", "all rows (`cross_validation`)"
WAYS = (SEARCH, SECOND, CORRECTED, TEST, ALL_ROWS)
# A rule: the folds that it looks at, and the level of the paired interval that has to be above 0; None where the best
# trial is taken unless it is worse.
RULES = {
    "folds of the search, no worse": (SEARCH, None),
    "second folds, no worse": (SECOND, None),
    "second folds, ahead by a standard error": (SECOND, AHEAD),
    "second folds, ahead by the 95 % interval": (SECOND, 0.95),
}
# What trials of a search differ by.
SETTINGS, SEEDS = "settings", "their seed alone"


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
    """Pooled predictions of validation rows, and those of the fold models for fresh rows."""
    found = []
    for learned, *asked in folds:
        fitted = clone(estimator).fit(*learned)
        found.append([Predictions(y, fitted.predict(X)) for X, y in asked])
    out, new = map(joined, zip(*found, strict=True))
    return out, new


def out_of_fold(estimator: Any, folds: list[Any]) -> Predictions:
    """The first of `judged`, which needs no predictions of fresh rows."""
    return judged(estimator, [[*part[:2], part[1]] for part in folds])[0]


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
    """Of one table: by way what it says of the best trial and of the baseline and what is true, and by search and rule
    whether the best trial is taken.
    """
    config: Config = load_config()
    dataset: Dataset = config.dataset(name)
    frame, other = (
        normalise_types(GENERATORS[name](number, count)[0])
        for number, count in ((seed, size), (10_000 + seed, FRESH_ROWS))
    )
    recipe, metric = resolve_recipe(dataset, config, MODEL), dataset.metric
    train, test = split(frame, dataset, config)
    part, whole = (rows_of(rows, dataset, config) for rows in (train, frame))
    both_parts = replace(whole, folds=[tuple(frame.index.get_indexer(rows.index) for rows in (train, test))])
    fresh = Rows(*features_and_target(other, dataset), folds=[])
    space, columns = space_of_task(config.search_spaces[MODEL], MODEL, dataset.task), columns_by_kind(recipe, part.X)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn: list[dict[str, Any]] = [{}, *(suggest(study.ask(), space) for _ in range(TRIALS - 1))]
    estimator = build_estimator(recipe, columns).set_params(n_estimators=TREES, n_jobs=1)
    searches = {
        SETTINGS: [clone(estimator).set_params(**{**one, "n_estimators": TREES}) for one in drawn],
        SEEDS: [clone(estimator).set_params(random_state=TRIALS * seed + k) for k in range(TRIALS)],
    }
    found: dict[str, Any] = {"taken": {}}
    with threadpool_limits(1):
        preprocessing = build_preprocessing(recipe, columns)
        folds = {
            way: prepared(preprocessing, rows, fresh)
            for way, rows in (
                (SEARCH, sample_rows(part, dataset, config, size)),
                (SECOND, part),
                (TEST, both_parts),
                (ALL_ROWS, whole),
            )
        }
        for search, models in searches.items():
            trials = [out_of_fold(model, folds[SEARCH]) for model in models]
            values = [metric_value(metric, one) for one in trials]
            best = max(range(TRIALS), key=lambda k: lead(metric, values[k], 0.0))
            pairs = {
                SEARCH: (trials[best], trials[0]),
                SECOND: (out_of_fold(models[best], folds[SECOND]), out_of_fold(models[0], folds[SECOND])),
            }
            found["taken"][search] = {
                rule: best > 0 and is_taken(metric, *pairs[way], level) for rule, (way, level) in RULES.items()
            }
            if search == SEEDS:
                continue
            for way, parts in folds.items():
                both = [judged(models[k], parts) for k in (best, 0)]
                found[way] = {
                    "said": [metric_value(metric, out) for out, _ in both],
                    "true": [metric_value(metric, new) for _, new in both],
                }
            found[CORRECTED] = {
                "said": [corrected(metric, trials, seed), values[0]],
                "true": found[SEARCH]["true"],
            }
    return found


def is_taken(metric: str, best: Predictions, baseline: Predictions, level: float | None) -> bool:
    """Whether a rule takes the best trial, by both's predictions for the same rows."""
    if level is None:
        return lead(metric, *(metric_value(metric, one) for one in (best, baseline))) >= 0
    return is_ahead(metric, best, baseline, 0, level)


def bias_of(name: str, size: int, way: str, tables: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the file has of a way on the tables of a dataset and size, with 95 % intervals of means."""
    metric = load_config().dataset(name).metric
    said, true = ([lead(metric, *table[way][part]) for table in tables] for part in ("said", "true"))
    return {
        "dataset": name,
        "metric": metric,
        "rows": size,
        "way": way,
        "too_good": mean_interval([lead(metric, table[way]["said"][0], table[way]["true"][0]) for table in tables]),
        "baseline_too_good": mean_interval(
            [lead(metric, table[way]["said"][1], table[way]["true"][1]) for table in tables]
        ),
        "lead_too_good": mean_interval([one - other for one, other in zip(said, true, strict=True)]),
    }


def choice_of(name: str, size: int, rule: str, tables: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the file has of a rule likewise: how often the baseline stays, by what trials differ by, and what the rule
    gains on it in truth.
    """
    metric = load_config().dataset(name).metric
    # which of the two is better is one truth for all rules
    truly = [mean(lead(metric, *table[way]["true"]) for way in (SEARCH, SECOND, TEST, ALL_ROWS)) for table in tables]
    taken = [table["taken"][SETTINGS][rule] for table in tables]
    return {
        "dataset": name,
        "metric": metric,
        "rows": size,
        "rule": rule,
        "kept_if_no_better": sum(not table["taken"][SEEDS][rule] for table in tables),
        "taken": sum(taken),
        "taken_and_worse": sum(one and gain < 0 for one, gain in zip(taken, truly, strict=True)),
        "left_and_better": sum(not one and gain > 0 for one, gain in zip(taken, truly, strict=True)),
        "gained": mean_interval([one * gain for one, gain in zip(taken, truly, strict=True)]),
        "best_trial_ahead": mean_interval(truly),
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
    by_kind = {kind: results[number :: len(kinds)] for number, kind in enumerate(kinds)}
    rows = [bias_of(*kind, way, found) for kind, found in by_kind.items() for way in WAYS]
    choices = [choice_of(*kind, rule, found) for kind, found in by_kind.items() for rule in RULES]
    facts = {"tables": tables, "trials": TRIALS, "rows": rows, "choices": choices}
    write_json(OUTPUT, json.loads(json.dumps(facts), parse_float=lambda text: round(float(text), 4)))
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
