"""Permutation importance of the raw columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.metrics import metric_value
from pipeline.settings import Config, Dataset
from pipeline.tables.split import Parts
from pipeline.training.assess import Assessment
from pipeline.training.fit import predict

if TYPE_CHECKING:
    pass

IMPORTANCE_ROWS = 1000
IMPORTANCE_REPEATS = 3


def importances(assessment: Assessment, dataset: Dataset, config: Config, parts: Parts) -> dict[str, float]:
    """Permutation importance (Breiman 2001) of each raw column on at most IMPORTANCE_ROWS rows of the test part:
    drop of the main metric when the column is shuffled, over IMPORTANCE_REPEATS shuffles pooled. Dropped columns
    have none.
    """
    import numpy as np

    rng = np.random.default_rng(config.seed)
    picked = np.arange(len(parts.y_test))
    if len(picked) > IMPORTANCE_ROWS:
        # every rare class keeps its rows, so that a ranking metric stays defined
        rare = np.flatnonzero(parts.y_test == 1) if dataset.task == "binary" else picked[:0]
        others = rng.permutation(np.setdiff1d(picked, rare[:IMPORTANCE_ROWS]))
        picked = np.concatenate([rare[: IMPORTANCE_ROWS // 2], others])[:IMPORTANCE_ROWS]
    X, y = parts.X_test.iloc[picked].reset_index(drop=True), parts.y_test[picked]
    whole = metric_value(dataset.metric, predict(assessment.model, X, y, dataset.task))
    result = {}
    for column in X:
        if column in dataset.unused:
            continue
        # all repeats in one frame: one call of a forest costs more than its rows
        repeated = X.iloc[np.tile(np.arange(len(X)), IMPORTANCE_REPEATS)].copy()
        orders = [rng.permutation(len(X)) for _ in range(IMPORTANCE_REPEATS)]
        repeated[column] = X[column].to_numpy()[np.concatenate(orders)]
        shuffled = predict(assessment.model, repeated, np.tile(y, IMPORTANCE_REPEATS), dataset.task)
        result[str(column)] = whole - metric_value(dataset.metric, shuffled)
    return result
