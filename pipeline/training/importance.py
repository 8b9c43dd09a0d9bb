"""Permutation importance of the raw columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from pipeline.metrics import METRICS, Predictions, lead, metric_value
from pipeline.tables.split import Rows
from pipeline.training.build import Recipe
from pipeline.training.fit import predict

IMPORTANCE_ROWS = 1000
IMPORTANCE_REPEATS, FEWEST = 3, 30
# Of the rows, for the standard error.
IMPORTANCE_RESAMPLES = 100


def importances(model: Pipeline, recipe: Recipe, rows: Rows) -> dict[str, tuple[float, float]]:
    """Permutation importance (Breiman 2001) of each raw column that is learned from, on at most IMPORTANCE_ROWS of the
    rows: by how much the main metric gets worse when the column is shuffled, and its bootstrap standard error, which is
    NaN where the metric is defined in no resample.
    """
    picked = _pick(rows.y, recipe.task == "binary", recipe.seed)
    X = rows.X.iloc[picked].drop(columns=[name for name in rows.X if name in recipe.unused])
    y, rng = rows.y[picked], np.random.default_rng(recipe.seed)

    counts = resample_counts(len(picked), recipe.seed)

    def judged(X: pd.DataFrame, y: np.ndarray) -> list[Predictions]:
        """Of each copy of the picked rows in X; one call for all, as scikit-learn's one a copy takes twice the time."""
        found = predict(model, X, y, recipe.task)
        return [found.of(slice(first, first + len(picked))) for first in range(0, len(X), len(picked))]

    def resampled(p: Predictions) -> np.ndarray:
        return METRICS[recipe.metric].compute(p, counts)

    [whole] = judged(X, y)
    value, over_resamples = metric_value(recipe.metric, whole), resampled(whole)
    copies, labels = pd.concat([X] * IMPORTANCE_REPEATS, ignore_index=True), np.tile(y, IMPORTANCE_REPEATS)
    found = {}
    for name in X:
        orders = np.concatenate([rng.permutation(len(picked)) for _ in range(IMPORTANCE_REPEATS)])
        shuffled = copies.copy()
        shuffled[name] = X[name].iloc[orders].set_axis(copies.index)
        parts = judged(shuffled, labels)
        losses = [lead(recipe.metric, value, metric_value(recipe.metric, part)) for part in parts]
        spread = np.mean([lead(recipe.metric, over_resamples, resampled(part)) for part in parts], axis=0)
        defined = spread[~np.isnan(spread)]
        found[str(name)] = float(np.mean(losses)), float(defined.std()) if len(defined) else np.nan
    return found


def resample_counts(n: int, seed: int) -> np.ndarray:
    """How often each of n rows is drawn in each resample (IMPORTANCE_RESAMPLES, n)."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), IMPORTANCE_RESAMPLES).astype(float)


def _pick(y: np.ndarray, is_binary: bool, seed: int) -> np.ndarray:
    """Positions of at most IMPORTANCE_ROWS rows, with the shares of the classes; a rare positive class keeps FEWEST of
    its rows, so that a ranking metric stays defined.
    """
    positions = np.random.default_rng(seed).permutation(len(y))
    if is_binary and len(y) > IMPORTANCE_ROWS:
        share = round(IMPORTANCE_ROWS * float((y == 1).mean()))
        rare = positions[y[positions] == 1][: max(share, FEWEST)]
        positions = np.concatenate([rare, positions[y[positions] != 1]])
    return positions[:IMPORTANCE_ROWS]
