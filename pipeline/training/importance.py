"""Permutation importance of the raw columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from pipeline.metrics import lead, metric_value
from pipeline.tables.split import Rows
from pipeline.training.build import Recipe
from pipeline.training.fit import predict

IMPORTANCE_ROWS = 1000
IMPORTANCE_REPEATS = 3


def importances(model: Pipeline, recipe: Recipe, rows: Rows) -> dict[str, float]:
    """Permutation importance (Breiman 2001) of each raw column that is learned from, on at most IMPORTANCE_ROWS of the
    rows: by how much the main metric gets worse when the column is shuffled.
    """
    picked = _pick(rows.y, recipe.task == "binary", recipe.seed)
    X = rows.X.iloc[picked].drop(columns=[name for name in rows.X if name in recipe.unused])
    y, rng = rows.y[picked], np.random.default_rng(recipe.seed)

    def score(X: pd.DataFrame, y: np.ndarray) -> list[float]:
        """Of each copy of the picked rows in X; one call for all, as scikit-learn's one a copy takes twice the time."""
        judged = predict(model, X, y, recipe.task)
        parts = (slice(first, first + len(picked)) for first in range(0, len(X), len(picked)))
        return [metric_value(recipe.metric, judged.of(part)) for part in parts]

    [whole] = score(X, y)
    copies, labels = pd.concat([X] * IMPORTANCE_REPEATS, ignore_index=True), np.tile(y, IMPORTANCE_REPEATS)
    found = {}
    for name in X:
        orders = np.concatenate([rng.permutation(len(picked)) for _ in range(IMPORTANCE_REPEATS)])
        shuffled = copies.copy()
        shuffled[name] = X[name].iloc[orders].set_axis(copies.index)
        found[str(name)] = float(np.mean([lead(recipe.metric, whole, value) for value in score(shuffled, labels)]))
    return found


def _pick(y: np.ndarray, is_binary: bool, seed: int) -> np.ndarray:
    """Positions of at most IMPORTANCE_ROWS rows; a rare positive class keeps its rows, so that a ranking metric stays
    defined.
    """
    positions = np.random.default_rng(seed).permutation(len(y))
    if is_binary and len(y) > IMPORTANCE_ROWS:
        rare = positions[y[positions] == 1][: IMPORTANCE_ROWS // 2]
        positions = np.concatenate([rare, np.setdiff1d(positions, rare, assume_unique=True)])
    return positions[:IMPORTANCE_ROWS]
