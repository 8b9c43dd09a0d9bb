"""Metrics, bootstrap intervals and paired differences on plain arrays; how a model is judged on a dataset.

Every metric is written for a matrix of row weights, so that 1,000 bootstrap resamples are one matrix product
(Efron & Tibshirani, An Introduction to the Bootstrap, 1993, percentile interval) and the plain value is the case of
weights 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

METRICS = {
    "regression": ("r2", "rmse", "mae"),
    "binary": ("accuracy", "f1", "roc_auc", "average_precision"),
    "multiclass": ("accuracy", "f1"),
}
RESAMPLES = 1000
CHUNK = 100


@dataclass(frozen=True)
class Predictions:
    """Labels or values per row, and the positive class's probability for binary tasks (None otherwise)."""

    actual: np.ndarray
    predicted: np.ndarray
    score: np.ndarray | None = None


def fit(model: Pipeline, X: pd.DataFrame, y: np.ndarray) -> Pipeline:
    """Fit in place and return it. Where every row gets the same score, there is no threshold to tune: it stays at 0.5."""
    from sklearn.model_selection import FixedThresholdClassifier

    try:
        return model.fit(X, y)
    except ValueError as error:
        if "constant predictions" not in str(error):
            raise
        model.steps[-1] = ("model", FixedThresholdClassifier(model[-1].estimator, threshold=0.5))
        return model.fit(X, y)


def predict(model: Pipeline, X: pd.DataFrame, y: np.ndarray, task: str) -> Predictions:
    """A fitted model's predictions for the rows of X (n rows each)."""
    if task != "binary":
        return Predictions(y, model.predict(X))
    estimator, features = model[-1], model[:-1].transform(X)
    score = estimator.predict_proba(features)[:, 1]
    # a threshold wrapper decides elsewhere than at 0.5
    threshold = getattr(estimator, "best_threshold_", getattr(estimator, "threshold", 0.5))
    return Predictions(y, (score >= threshold).astype(int), score)


def out_of_fold(
    model: Pipeline, X: pd.DataFrame, y: np.ndarray, folds: list[tuple[np.ndarray, np.ndarray]], task: str
) -> Predictions:
    """Each row predicted by a clone fitted on the other folds; thresholds are chosen inside the training folds."""
    from sklearn.base import clone

    parts = []
    for train, validation in folds:
        fitted = fit(clone(model), X.iloc[train], y[train])
        parts.append(predict(fitted, X.iloc[validation], y[validation], task))
    order = np.argsort(np.concatenate([validation for _, validation in folds]))
    score = (
        np.concatenate([part.score for part in parts if part.score is not None])[order] if task == "binary" else None
    )
    return Predictions(y, np.concatenate([part.predicted for part in parts])[order], score)


def metric_value(metric: str, predictions: Predictions) -> float:
    return float(_weighted(metric, predictions, np.ones((1, len(predictions.actual))))[0])


def scores(task: str, predictions: Predictions) -> dict[str, float]:
    """Every metric of the task."""
    return {metric: metric_value(metric, predictions) for metric in METRICS[task]}


def bootstrap_intervals(task: str, predictions: Predictions, seed: int) -> dict[str, list[float]]:
    """95 % percentile bootstrap interval of every metric of the task."""
    values: dict[str, list[np.ndarray]] = {metric: [] for metric in METRICS[task]}
    for chunk in _resamples(len(predictions.actual), seed):
        for metric, found in values.items():
            found.append(_weighted(metric, predictions, chunk))
    return {metric: _percentiles(np.concatenate(found)) for metric, found in values.items()}


def paired_difference(metric: str, first: Predictions, second: Predictions, seed: int) -> tuple[float, list[float]]:
    """first minus second on the same rows, and its 95 % percentile interval over shared resamples."""
    differences = np.concatenate(
        [_weighted(metric, first, w) - _weighted(metric, second, w) for w in _resamples(len(first.actual), seed)]
    )
    return metric_value(metric, first) - metric_value(metric, second), _percentiles(differences)


def _percentiles(values: np.ndarray) -> list[float]:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return [float(low), float(high)]


def _resamples(n: int, seed: int) -> Iterator[np.ndarray]:
    """RESAMPLES rows of bootstrap counts, in chunks of (CHUNK, n)."""
    rng = np.random.default_rng(seed)
    for _ in range(RESAMPLES // CHUNK):
        draws = rng.integers(0, n, (CHUNK, n)) + n * np.arange(CHUNK)[:, None]
        yield np.bincount(draws.ravel(), minlength=CHUNK * n).reshape(CHUNK, n).astype(float)


def _weighted(metric: str, p: Predictions, w: np.ndarray) -> np.ndarray:
    """The metric under each row of weights; w is (b, n), the result (b,). NaN where it is not defined."""
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
    if metric in ("roc_auc", "average_precision"):
        return _ranking(metric, p, w)
    raise ValueError(f"unknown metric {metric!r}")


def _f1(actual: np.ndarray, predicted: np.ndarray, w: np.ndarray) -> np.ndarray:
    both = w @ (actual & predicted)
    either = w @ actual + w @ predicted
    return np.divide(2 * both, either, out=np.zeros_like(both), where=either > 0)


def _ranking(metric: str, p: Predictions, w: np.ndarray) -> np.ndarray:
    """ROC-AUC as the Mann-Whitney statistic, or average precision; ties in the score count as one step."""
    assert p.score is not None
    order = np.argsort(-p.score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(p.score[order]) != 0])
    positive = p.actual[order] == 1
    hits = np.add.reduceat(w[:, order] * positive, starts, axis=1)
    misses = np.add.reduceat(w[:, order] * ~positive, starts, axis=1)
    positives, negatives = hits.sum(axis=1), misses.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric == "roc_auc":
            above = np.cumsum(misses, axis=1) - misses / 2
            return 1 - (hits * above).sum(axis=1) / (positives * negatives)
        reached = np.cumsum(hits, axis=1)
        precision = np.nan_to_num(reached / (reached + np.cumsum(misses, axis=1)))
        return (hits * precision).sum(axis=1) / positives
