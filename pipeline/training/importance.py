"""Permutation importance of the raw columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from pipeline.intervals import estimate_of
from pipeline.metrics import METRICS, Predictions, Weighted, lead
from pipeline.tables.split import Rows
from pipeline.training.build import Recipe
from pipeline.training.fit import predict

IMPORTANCE_ROWS = 1000
# How often a column is shuffled; of many columns less often, as the rows decide the error more than the order does.
IMPORTANCE_REPEATS, SHUFFLES, FEWEST = 3, 50, 30
# So many rows are predicted at once: a call takes as long for some hundred as for some thousand.
ROWS_AT_ONCE = 20_000


def importances(model: Pipeline, recipe: Recipe, rows: Rows) -> dict[str, tuple[float, float]]:
    """Permutation importance (Breiman 2001) of each raw column that is learned from, on at most IMPORTANCE_ROWS of the
    rows: by how much the main metric gets worse when the column is shuffled, and its standard error, from rows, or the
    groups or blocks of time that they come in.
    """
    picked = _pick(rows.y, recipe.task == "binary", recipe.seed)
    X = rows.X.iloc[picked].drop(columns=[name for name in rows.X if name in recipe.unused])
    y, rng = rows.y[picked], np.random.default_rng(recipe.seed)
    metric = METRICS[recipe.metric]

    def judged(copies: Sequence[pd.DataFrame]) -> list[Predictions]:
        """Of each copy of the picked rows."""
        found = predict(model, pd.concat(copies, ignore_index=True), np.tile(y, len(copies)), recipe.task)
        return [found.of(slice(first, first + len(picked))) for first in range(0, len(found.actual), len(picked))]

    [whole] = judged([X])
    whole = replace(whole, **{name: labels[picked] for name, labels in rows.belonging.items()})
    own = metric.of(whole)
    repeats = _repeats(X.shape[1])
    at_once = max(ROWS_AT_ONCE // (len(picked) * repeats), 1)
    found = {}
    for first in range(0, X.shape[1], at_once):
        names = X.columns[first : first + at_once]
        copies = [shuffled(X, name, rng) for name in names for _ in range(repeats)]
        judgements = [metric.of(part) for part in judged(copies)]
        for number, name in enumerate(names):
            parts = judgements[number * repeats : (number + 1) * repeats]

            def lost(weights: np.ndarray, parts: Sequence[Weighted] = parts) -> np.ndarray:
                return np.mean([lead(recipe.metric, own(weights), part(weights)) for part in parts], axis=0)

            of_column = estimate_of(lost, recipe.metric, whole, recipe.seed)
            found[str(name)] = of_column.value, of_column.error
    return found


def rows_to_predict(rows: Rows) -> int:
    """How many rows are predicted to find the columns' importance on these."""
    return min(len(rows.y), IMPORTANCE_ROWS) * (1 + rows.X.shape[1] * _repeats(rows.X.shape[1]))


def _repeats(columns: int) -> int:
    return min(max(SHUFFLES // max(columns, 1), 1), IMPORTANCE_REPEATS)


def shuffled(X: pd.DataFrame, name: str, rng: np.random.Generator) -> pd.DataFrame:
    """A copy of the rows with one column in another order."""
    return X.assign(**{name: X[name].iloc[rng.permutation(len(X))].set_axis(X.index)})


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
