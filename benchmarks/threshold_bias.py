"""Whether F1 at a tuned threshold, as cross-validation finds it, is what new rows see; beside a nested search.

    python -m benchmarks.threshold_bias --seeds 40

A fold is labelled at the best threshold of the other folds' predictions. The models behind those predictions have seen
the fold, the threshold has not: is the figure too good for it? On fraud tables of many seeds, cross-validated F1 is set
beside F1 of the same fold models and thresholds on 40,000 fresh rows of the same source. A search by
TunedThresholdClassifierCV inside each training part, four times the fits, is judged the same way. Each seed has a table
of its own, so the differences have a plain t interval. Writes benchmarks/results/threshold_bias.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.paired import paired_interval
from pipeline.files import write_json
from pipeline.generators import GENERATORS
from pipeline.metrics import Predictions, metric_value
from pipeline.settings import load_config
from pipeline.tables.columns import normalise_types
from pipeline.tables.split import features_and_target, fold_indices
from pipeline.training.build import build_estimator, build_preprocessing, columns_by_kind, resolve_recipe
from pipeline.training.threshold import best_f1_threshold

OUTPUT = Path("benchmarks/results/threshold_bias.json")
DATASET = "credit_fraud"
ROWS, FRESH_ROWS = 10_000, 40_000
INNER_FOLDS = 3


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


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare F1 at tuned thresholds with F1 on fresh rows.")
    parser.add_argument("--seeds", type=int, default=40, help="tables (default: %(default)s)")
    seeds = parser.parse_args(argv).seeds
    rows: list[dict[str, Any]] = []
    models = list(load_config().models)
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
            print(rows[-1], flush=True)
    rounded = json.loads(json.dumps(rows), parse_float=lambda text: round(float(text), 4))
    write_json(OUTPUT, {"seeds": seeds, "rows": rounded})
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
