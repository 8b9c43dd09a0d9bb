"""What a metric is: its name, tasks, direction, and how it is computed under weights of the rows.

Every metric is written for a matrix of row weights, so that 1,000 bootstrap resamples are one matrix product and the
plain value is the case of weights 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


METRICS = {
    "regression": ("r2",),
    "binary": ("roc_auc", "accuracy", "f1", "average_precision"),
    "multiclass": ("accuracy", "f1"),
}
# Every score that a model of a task gets; `metric` above is what models can be chosen by (higher is better).
SCORES = {
    "regression": ("r2", "rmse", "mae"),
    "binary": ("accuracy", "f1", "roc_auc", "average_precision"),
    "multiclass": ("accuracy", "f1"),
}
LOWER_IS_BETTER = ("rmse", "mae")
NAMES = {
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
    "accuracy": "accuracy",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "average_precision": "average precision",
}


@dataclass(frozen=True)
class Predictions:
    """Labels or values per row, and the positive class's probability for binary tasks (None otherwise)."""

    actual: np.ndarray
    predicted: np.ndarray
    score: np.ndarray | None = None


def metric_value(metric: str, predictions: Predictions) -> float:
    import numpy as np

    return float(_weighted(metric, predictions, np.ones((1, len(predictions.actual))))[0])


def scores(task: str, predictions: Predictions) -> dict[str, float]:
    """Every metric of the task."""
    return {metric: metric_value(metric, predictions) for metric in SCORES[task]}


def relative_gain(value: float, base: float) -> float | None:
    """(value - base) / |base| to six digits; None for a base of 0, as an F1 may be."""
    return round((value - base) / abs(base), 6) if base else None


def _weighted(metric: str, p: Predictions, w: np.ndarray) -> np.ndarray:
    """The metric under each row of weights; w is (b, n), the result (b,). NaN where it is not defined."""
    import numpy as np

    total = w.sum(axis=1)
    if metric in ("rmse", "mae", "r2"):
        error = p.actual - p.predicted
        if metric == "mae":
            return w @ np.abs(error) / total
        squared = w @ error**2
        if metric == "rmse":
            return np.sqrt(squared / total)
        centred = p.actual - p.actual.mean()
        spread = w @ centred**2 - (w @ centred) ** 2 / total
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(spread > 0, 1 - squared / spread, np.nan)
    if metric == "accuracy":
        return w @ (p.actual == p.predicted) / total
    if metric == "f1":
        # binary: F1 of the positive class; multiclass: mean F1 over the classes (macro)
        classes = [1] if p.score is not None else list(np.unique(p.actual))
        return np.mean([_f1(p.actual == c, p.predicted == c, w) for c in classes], axis=0)
    if metric == "roc_auc":
        return _roc_auc(p, w)
    if metric == "average_precision":
        return _average_precision(p, w)
    raise ValueError(f"unknown metric {metric!r}")


def _f1(actual: np.ndarray, predicted: np.ndarray, w: np.ndarray) -> np.ndarray:
    import numpy as np

    both = w @ (actual & predicted)
    either = w @ actual + w @ predicted
    return np.divide(2 * both, either, out=np.zeros_like(both), where=either > 0)


def _roc_auc(p: Predictions, w: np.ndarray) -> np.ndarray:
    """The Mann-Whitney statistic (Hanley & McNeil 1982): share of pairs in order, ties counting half."""
    import numpy as np

    assert p.score is not None
    positive = np.flatnonzero(p.actual == 1)
    negative = np.flatnonzero(p.actual != 1)
    negative = negative[np.argsort(p.score[negative], kind="stable")]
    below = np.zeros((len(w), len(negative) + 1))
    np.cumsum(w[:, negative], axis=1, out=below[:, 1:])
    scores = p.score[negative]
    lower, upper = (np.searchsorted(scores, p.score[positive], side) for side in ("left", "right"))
    hits = w[:, positive]
    wins = (hits * (below[:, lower] + below[:, upper])).sum(axis=1) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return wins / (hits.sum(axis=1) * below[:, -1])


def _average_precision(p: Predictions, w: np.ndarray) -> np.ndarray:
    """Mean precision at each step of recall; ties in the score count as one step.

    Recall rises only at steps with a positive row, so the rows between two of them are summed up at once.
    """
    import numpy as np

    assert p.score is not None
    order = np.argsort(-p.score, kind="stable")
    ranked = p.score[order]
    positive = np.flatnonzero(p.actual[order] == 1)
    if not len(positive):
        return np.full(len(w), np.nan)
    firsts = np.flatnonzero(np.r_[True, np.diff(ranked[positive]) != 0])
    ends = np.searchsorted(-ranked, -ranked[positive[firsts]], "right")
    hits = np.add.reduceat(w[:, order[positive]], firsts, axis=1)
    rows = np.add.reduceat(w[:, order[: ends[-1]]], np.r_[0, ends[:-1]], axis=1)
    reached = np.cumsum(hits, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.nan_to_num(reached / np.cumsum(rows, axis=1))
        return (hits * precision).sum(axis=1) / reached[:, -1]
