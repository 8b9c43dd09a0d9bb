"""Whether what is said of labels at a chosen threshold is what new rows see: F1 beside a nested search, cost, hits.

    python -m benchmarks.threshold_bias
    python -m benchmarks.threshold_bias --seeds 0

A fold is labelled at the best threshold of the other folds' predictions. The models behind those predictions have seen
the fold, the threshold has not: is the figure too good for it? On fraud tables of many seeds, cross-validated F1 is set
beside F1 of the same fold models and thresholds on 40,000 fresh rows of the same source. A search by
TunedThresholdClassifierCV inside each training part, four times the fits, is judged the same way. Each seed has a table
of its own, so the differences have a plain t interval. Writes benchmarks/results/threshold_bias.json; with --seeds 0
that file stays as it is.

Then what the report says of a cost, of what a threshold saves and of hits, with its interval, is set beside the same
models and thresholds on fresh rows, on the test part and by cross-validation. Writes benchmarks/results/decisions.json.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import product, repeat
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.paired import paired_interval
from pipeline.files import write_json
from pipeline.generators import GENERATORS
from pipeline.metrics import Predictions, metric_value
from pipeline.settings import Cost, Decision, load_config
from pipeline.tables.columns import normalise_types
from pipeline.tables.split import Rows, features_and_target, fold_indices, rows_of, split
from pipeline.training.build import build_estimator, build_preprocessing, columns_by_kind, resolve_recipe
from pipeline.training.threshold import PER_ROWS, best_f1_threshold, threshold_choice, worth

OUTPUT, DECISIONS = (Path("benchmarks/results") / f"{name}.json" for name in ("threshold_bias", "decisions"))
DATASET = "credit_fraud"
ROWS, FRESH_ROWS, FEWER_FRESH_ROWS = 10_000, 40_000, 20_000
INNER_FOLDS = 3


@dataclass(frozen=True)
class Situation:
    """Tables of a dataset, a model, what a missed row costs in false alarms, and what share can be followed up."""

    dataset: str
    rows: int
    model: str
    missed: float
    share: float


SITUATIONS = (
    Situation("customer_churn", 1000, "gradient_boosting", missed=5, share=0.1),
    Situation("customer_churn", 5000, "logistic_regression", missed=5, share=0.1),
    Situation("credit_fraud", 10_000, "logistic_regression", missed=50, share=0.003),
)
# Ways to choose a threshold, and the figures that are told of their labels.
HALF, TUNED, COST, SAVED, CAPACITY = "0.5", "tuned for F1", "by cost", "by cost, saved beside 0.5", "by capacity"


def f1_found_and_true(model: str, seed: int) -> dict[str, tuple[float, float]]:
    """F1 as cross-validation finds it and F1 of the same models and thresholds on fresh rows, for both searches."""
    config = load_config()
    dataset = config.dataset(DATASET)
    tables = GENERATORS[DATASET](seed, ROWS)[0], GENERATORS[DATASET](10_000 + seed, FRESH_ROWS)[0]
    (X, y), (X_fresh, y_fresh) = (features_and_target(normalise_types(table), dataset) for table in tables)
    recipe = resolve_recipe(dataset, config, model)
    columns = columns_by_kind(recipe, X)
    estimator = build_estimator(recipe, columns)
    if model == "random_forest":
        estimator.set_params(n_jobs=1)
    plain = Pipeline([("preprocess", build_preprocessing(recipe, columns)), ("model", estimator)])
    inner = StratifiedKFold(INNER_FOLDS, shuffle=True, random_state=config.seed)
    nested = clone(plain).set_params(model=TunedThresholdClassifierCV(estimator, scoring="f1", cv=inner))
    folds = fold_indices(X, y, dataset, config)
    score, labels = np.zeros(len(y)), {way: np.zeros(len(y), dtype=int) for way in ("other folds", "nested")}
    fresh: dict[str, list[np.ndarray]] = {"other folds": [], "nested": []}
    models = []
    with threadpool_limits(1):
        for train, validation in folds:
            models.append(clone(plain).fit(X.iloc[train], y[train]))
            score[validation] = models[-1].predict_proba(X.iloc[validation])[:, 1]
            searched = clone(nested).fit(X.iloc[train], y[train])
            labels["nested"][validation] = searched.predict(X.iloc[validation])
            fresh["nested"].append(searched.predict(X_fresh))
        for fitted, (train, validation) in zip(models, folds, strict=True):
            threshold = best_f1_threshold(y[train], score[train])
            labels["other folds"][validation] = score[validation] >= threshold
            fresh["other folds"].append((fitted.predict_proba(X_fresh)[:, 1] >= threshold).astype(int))
    actual = np.tile(y_fresh, len(folds))
    return {way: (f1(y, labels[way]), f1(actual, np.concatenate(predicted))) for way, predicted in fresh.items()}


def f1(actual: np.ndarray, predicted: np.ndarray) -> float:
    return metric_value("f1", Predictions(actual, predicted, predicted.astype(float)))


@dataclass(frozen=True)
class Scored:
    """Judged rows in folds (n,) with their probabilities, and those of k models for fresh rows (k, m)."""

    actual: np.ndarray
    score: np.ndarray
    fold: np.ndarray
    fresh: np.ndarray


def scored(pipeline: Pipeline, rows: Rows, fresh: pd.DataFrame | None = None) -> Scored:
    """Each validated row by a model of its fold's training rows, and fresh ones by all of these."""
    parts, of_fresh = [], []
    for number, (train, validation) in enumerate(rows.folds):
        fitted = clone(pipeline).fit(rows.X.iloc[train], rows.y[train])
        score = fitted.predict_proba(rows.X.iloc[validation])[:, 1]
        parts.append((rows.y[validation], score, np.full(len(validation), number)))
        if fresh is not None:
            of_fresh.append(fitted.predict_proba(fresh)[:, 1])
    actual, score, fold = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Scored(actual, score, fold, np.array(of_fresh))


def decisions_of(situation: Situation, seed: int) -> dict[tuple[str, str], dict[str, float]]:
    """Of one table, by evaluation and figure: what the report says, whether its interval holds the true figure, and
    that; of hits also the share of fresh rows that is followed up, by the share that can be.
    """
    config = load_config()
    dataset = config.dataset(situation.dataset)
    frame, other = (
        normalise_types(GENERATORS[situation.dataset](number, count)[0])
        for number, count in ((seed, situation.rows), (10_000 + seed, FEWER_FRESH_ROWS))
    )
    X_fresh, y_fresh = features_and_target(other, dataset)
    recipe = resolve_recipe(dataset, config, situation.model)
    train, test = split(frame, dataset, config)
    part, whole = (rows_of(rows, dataset, config) for rows in (train, frame))
    ends = [(frame.index.get_indexer(train.index), frame.index.get_indexer(test.index))]
    columns = columns_by_kind(recipe, part.X)
    steps = ("preprocess", build_preprocessing(recipe, columns)), ("model", build_estimator(recipe, columns))
    with threadpool_limits(1):
        pipeline = Pipeline([*steps])
        trained = scored(pipeline, part)
        tested, all_rows = (scored(pipeline, rows, X_fresh) for rows in (replace(whole, folds=ends), whole))
        found = {}
        for evaluation, judged in (("holdout", tested), ("cross_validation", all_rows)):
            n = len(judged.actual)
            cost = Decision(cost=Cost(1.0, situation.missed))
            capacity = Decision(capacity=round(situation.share * n))
            for threshold, way in ((0.5, HALF), ("tuned", TUNED), (cost, COST), (capacity, CAPACITY)):
                choose = threshold_choice(threshold, n)
                if evaluation == "holdout":
                    thresholds = [choose(trained.actual, trained.score)]
                else:
                    parts = [judged.fold != number for number in np.unique(judged.fold)]
                    thresholds = [choose(judged.actual[rest], judged.score[rest]) for rest in parts]
                cut = np.array(thresholds)
                labels = (judged.score >= cut[judged.fold]).astype(int)
                said = worth(
                    threshold if isinstance(threshold, Decision) else cost,
                    Predictions(judged.actual, labels, judged.score),
                    seed,
                )
                assert said is not None
                of_fresh, positive = judged.fresh >= cut[:, None], y_fresh == 1
                if way == CAPACITY:
                    hits, followed = (n * float(part.mean()) for part in (of_fresh & positive, of_fresh))
                    found[evaluation, way] = held(said["hits"], said["interval"], hits)
                    found[evaluation, way]["followed"] = followed / said["capacity"]
                    continue
                true, at_half = (
                    PER_ROWS * float(((part & ~positive) + situation.missed * (positive & ~part)).mean())
                    for part in (of_fresh, judged.fresh >= 0.5)
                )
                found[evaluation, way] = held(said["cost"], said["interval"], true)
                if way == COST:
                    saved = said["others"]["half"]
                    found[evaluation, SAVED] = held(saved["saved"], saved["saved_interval"], at_half - true)
    return found


def held(said: float, interval: Sequence[float], true: float) -> dict[str, float]:
    return {"said": said, "true": true, "held": float(interval[0] <= true <= interval[1])}


def decision_rows(situation: Situation, tables: Sequence[dict[tuple[str, str], dict[str, float]]]) -> list[Any]:
    """What the file has of a situation: means over its tables, and how often intervals hold."""
    rows = []
    for evaluation, figure in tables[0]:
        found = [table[evaluation, figure] for table in tables]
        differences = [one["said"] - one["true"] for one in found]
        row: dict[str, Any] = {"evaluation": evaluation, "threshold": figure}
        row |= {name: mean(one[name] for one in found) for name in found[0]}
        error = stdev(differences) / math.sqrt(len(tables))
        rows.append(asdict(situation) | row | {"difference": mean(differences), "standard_error": error})
    return rows


def f1_rows(seeds: int) -> list[dict[str, Any]]:
    """What threshold_bias.json has of every model and way."""
    rows: list[dict[str, Any]] = []
    models = load_config().baselines
    with ProcessPoolExecutor() as processes:
        work = [*product(models, range(seeds))]
        results = [*tqdm(processes.map(f1_found_and_true, *zip(*work, strict=True)), total=len(work))]
    for number, model in enumerate(models):
        for way in ("other folds", "nested"):
            found = [result[way] for result in results[number * seeds : (number + 1) * seeds]]
            differences = [cross_validated - true for cross_validated, true in found]
            rows.append(
                {
                    "model": model,
                    "threshold": way,
                    "cross_validated": mean(pair[0] for pair in found),
                    "fresh_rows": mean(pair[1] for pair in found),
                    "difference": mean(differences),
                    "interval": [*paired_interval(differences)],
                }
            )
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare what is said of labels at thresholds with fresh rows.")
    parser.add_argument("--seeds", type=int, default=40, help="tables for F1; 0: leave it out (default: %(default)s)")
    parser.add_argument("--tables", type=int, default=100, help="of each situation (default: %(default)s)")
    args = parser.parse_args(argv)
    if args.seeds:
        write_rounded(OUTPUT, {"seeds": args.seeds, "rows": f1_rows(args.seeds)})
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor() as processes:
        for situation in SITUATIONS:
            work = processes.map(decisions_of, repeat(situation), range(args.tables))
            rows += decision_rows(situation, [*tqdm(work, total=args.tables, desc=situation.dataset)])
    write_rounded(DECISIONS, {"tables": args.tables, "fresh_rows": FEWER_FRESH_ROWS, "rows": rows})
    return 0


def write_rounded(path: Path, facts: dict[str, Any]) -> None:
    write_json(path, json.loads(json.dumps(facts), parse_float=lambda text: round(float(text), 4)))
    print(f"wrote {path}")


if __name__ == "__main__":
    raise SystemExit(main())
