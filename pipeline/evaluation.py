"""Metrics, bootstrap intervals and paired differences on plain arrays; how a model is judged on a dataset.

Every metric is written for a matrix of row weights, so that 1,000 bootstrap resamples are one matrix product
(Efron & Tibshirani, An Introduction to the Bootstrap, 1993, percentile interval) and the plain value is the case of
weights 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.config import SCORES, PipelineError

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

RESAMPLES = 1000
# Resamples drawn at a time: fewer of many rows, so that their counts take 40 MB at most.
CHUNK, CHUNK_CELLS = 100, 5_000_000


@dataclass(frozen=True)
class Predictions:
    """Labels or values per row, and the positive class's probability for binary tasks (None otherwise)."""

    actual: np.ndarray
    predicted: np.ndarray
    score: np.ndarray | None = None


def fit(model: Pipeline, X: pd.DataFrame, y: np.ndarray) -> Pipeline:
    """Fit in place and return it.

    Raises:
        PipelineError: the estimator refuses its settings or the rows.
    """
    from joblib import parallel_config

    estimator = model[-1]
    try:
        # a fit stays in one process, on its cores, wherever joblib takes the fits themselves
        with parallel_config(backend="threading"):
            estimator.fit(empty_columns_as_zero(model[:-1].fit_transform(X, y)), y)
    except Exception as error:
        # an estimator may be any class, and raise what it likes
        inner = estimator.estimator if hasattr(estimator, "threshold") else estimator
        words = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise PipelineError(f"{type(inner).__name__} cannot be fitted: {words}") from error
    return model


def empty_columns_as_zero(features: np.ndarray) -> np.ndarray:
    """Preprocessed rows (n, k), with zeros for a column that has no value in any of them, as one may have in a fold.

    No model learns from a constant, and scikit-learn's boosting cannot bin a column without values.
    """
    empty = np.isnan(features).all(axis=0)
    return np.where(empty, 0.0, features) if empty.any() else features


def timed_fit(model: Pipeline, X: pd.DataFrame, y: np.ndarray) -> tuple[Pipeline, float]:
    """The model fitted, by a worker where joblib's work goes to a cluster, and the seconds that the fit took."""
    from joblib import Parallel, delayed

    def fitted() -> tuple[Pipeline, float]:
        started = time.perf_counter()
        return fit(model, X, y), time.perf_counter() - started

    return Parallel(n_jobs=1)([delayed(fitted)()])[0]


def predict(model: Pipeline, X: pd.DataFrame, y: np.ndarray, task: str) -> Predictions:
    """A fitted model's predictions for the rows of X (n rows each), the same to the last digit in every call."""
    from joblib import parallel_config

    # the threads of a forest add up their trees in any order; one after another they do it in the same
    with parallel_config(backend="sequential"):
        if task != "binary":
            return Predictions(y, model.predict(X))
        estimator, features = model[-1], model[:-1].transform(X)
        score = estimator.predict_proba(features)[:, 1]
    # a threshold wrapper decides elsewhere than at 0.5
    return Predictions(y, (score >= getattr(estimator, "threshold", 0.5)).astype(int), score)


def out_of_fold(
    model: Pipeline,
    X: pd.DataFrame,
    y: np.ndarray,
    folds: list[tuple[np.ndarray, np.ndarray]],
    task: str,
    fold_ended: Callable[[int], None] = lambda number: None,
    tune_threshold: bool = False,
) -> Predictions:
    """Each validated row predicted by a clone fitted on its fold's training rows, in the order of `validated_rows`.

    With `tune_threshold` the rows of a fold are labelled at the best threshold for the predictions of the other folds.
    `fold_ended` is told how many folds are done. The folds are fitted side by side and share the cores, which wastes
    less than many cores on one fold; an estimator with `n_jobs: 1` keeps to one core.
    """
    from joblib import Parallel, cpu_count, delayed
    from sklearn.base import clone
    from threadpoolctl import threadpool_limits

    jobs = getattr(getattr(model[-1], "estimator", model[-1]), "n_jobs", None) or -1
    cores = 1 if jobs == 1 else max(1, cpu_count() // len(folds))
    model = clone(model)
    model.set_params(**{name: cores for name, value in model.get_params().items() if name.endswith("n_jobs") and value})

    def judged(number: int) -> Predictions:
        # the rows go with the function: see pipeline/cluster.py
        train, validation = folds[number]
        # of this thread alone; boosting on few rows takes twice as long with two
        with threadpool_limits(cores, user_api="openmp"):
            fitted = fit(clone(model), X.iloc[train], y[train])
            return predict(fitted, X.iloc[validation], y[validation], task)

    parts = []
    for part in Parallel(n_jobs=jobs, prefer="threads", return_as="generator")(
        delayed(judged)(number) for number in range(len(folds))
    ):
        parts.append(part)
        fold_ended(len(parts))
    rows = np.concatenate([validation for _, validation in folds])
    order = np.argsort(rows)
    actual, predicted = y[rows[order]], np.concatenate([part.predicted for part in parts])[order]
    if task != "binary":
        return Predictions(actual, predicted)
    score = np.concatenate([part.score for part in parts if part.score is not None])[order]
    if tune_threshold:
        fold = np.repeat(np.arange(len(folds)), [len(validation) for _, validation in folds])[order]
        for number in range(len(folds)):
            threshold = best_f1_threshold(actual[fold != number], score[fold != number])
            predicted[fold == number] = score[fold == number] >= threshold
    return Predictions(actual, predicted, score)


def best_f1_threshold(actual: np.ndarray, score: np.ndarray) -> float:
    """The threshold of probabilities (n,) with the best F1 for labels 0 and 1 (n,), half-way down to the next score.

    Where every row has the same score there is nothing to choose: 0.5.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(actual, score)
    if len(thresholds) == 1:
        return 0.5
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    best = int(f1[:-1].argmax())
    return float(thresholds[max(best - 1, 0) : best + 1].mean())


def validated_rows(folds: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Positions of the rows that any fold validates: all of them, but for folds in order of time."""
    return np.sort(np.concatenate([validation for _, validation in folds]))


def metric_value(metric: str, predictions: Predictions) -> float:
    return float(_weighted(metric, predictions, np.ones((1, len(predictions.actual))))[0])


def scores(task: str, predictions: Predictions) -> dict[str, float]:
    """Every metric of the task."""
    return {metric: metric_value(metric, predictions) for metric in SCORES[task]}


def bootstrap_intervals(task: str, predictions: Predictions, seed: int) -> dict[str, list[float]]:
    """95 % percentile bootstrap interval of every metric of the task."""
    values: dict[str, list[np.ndarray]] = {metric: [] for metric in SCORES[task]}
    for chunk in _resamples(len(predictions.actual), seed):
        for metric, found in values.items():
            found.append(_weighted(metric, predictions, chunk))
    return {metric: _percentiles(np.concatenate(found)) for metric, found in values.items()}


def paired_differences(
    metric: str, first: Predictions, others: Sequence[Predictions], seed: int
) -> list[tuple[float, list[float]]]:
    """first minus each other on the same rows, with 95 % percentile intervals over shared resamples."""
    drawn = [[_weighted(metric, p, w) for p in (first, *others)] for w in _resamples(len(first.actual), seed)]
    values = [np.concatenate(chunks) for chunks in zip(*drawn, strict=True)]
    whole = metric_value(metric, first)
    return [
        (whole - metric_value(metric, other), _percentiles(values[0] - resampled))
        for other, resampled in zip(others, values[1:], strict=True)
    ]


def relative_gain(value: float, base: float) -> float | None:
    """(value - base) / |base| to six digits; None for a base of 0, as an F1 may be."""
    return round((value - base) / abs(base), 6) if base else None


def _percentiles(values: np.ndarray) -> list[float]:
    defined = values[~np.isnan(values)]
    low, high = np.percentile(defined, [2.5, 97.5]) if len(defined) else (np.nan, np.nan)
    return [float(low), float(high)]


def _resamples(n: int, seed: int) -> Iterator[np.ndarray]:
    """RESAMPLES rows of bootstrap counts, in chunks of at most CHUNK rows (k, n)."""
    rng = np.random.default_rng(seed)
    size = max(1, min(CHUNK, CHUNK_CELLS // n))
    for first in range(0, RESAMPLES, size):
        k = min(size, RESAMPLES - first)
        draws = rng.integers(0, n, (k, n)) + n * np.arange(k)[:, None]
        yield np.bincount(draws.ravel(), minlength=k * n).reshape(k, n).astype(float)


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
    if metric == "roc_auc":
        return _roc_auc(p, w)
    if metric == "average_precision":
        return _average_precision(p, w)
    raise ValueError(f"unknown metric {metric!r}")


def _f1(actual: np.ndarray, predicted: np.ndarray, w: np.ndarray) -> np.ndarray:
    both = w @ (actual & predicted)
    either = w @ actual + w @ predicted
    return np.divide(2 * both, either, out=np.zeros_like(both), where=either > 0)


def _roc_auc(p: Predictions, w: np.ndarray) -> np.ndarray:
    """The Mann-Whitney statistic (Hanley & McNeil 1982): share of pairs in order, ties counting half."""
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
