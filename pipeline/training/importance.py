"""Permutation importance of the raw columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
from joblib import parallel_config
from sklearn.inspection import permutation_importance
from sklearn.pipeline import Pipeline

from pipeline.metrics import METRICS, metric_value
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

    def score(fitted: Pipeline, X: pd.DataFrame, y: np.ndarray) -> float:
        return METRICS[recipe.metric].sign * metric_value(recipe.metric, predict(fitted, X, y, recipe.task))

    with parallel_config(backend="threading", n_jobs=-1):
        found = permutation_importance(
            model, X, rows.y[picked], scoring=score, n_repeats=IMPORTANCE_REPEATS, random_state=recipe.seed
        )
    return dict(zip(map(str, X), found.importances_mean.tolist(), strict=True))


def _pick(y: np.ndarray, is_binary: bool, seed: int) -> np.ndarray:
    """Positions of at most IMPORTANCE_ROWS rows; a rare positive class keeps its rows, so that a ranking metric stays
    defined.
    """
    positions = np.random.default_rng(seed).permutation(len(y))
    if is_binary and len(y) > IMPORTANCE_ROWS:
        rare = positions[y[positions] == 1][: IMPORTANCE_ROWS // 2]
        positions = np.concatenate([rare, np.setdiff1d(positions, rare, assume_unique=True)])
    return positions[:IMPORTANCE_ROWS]
