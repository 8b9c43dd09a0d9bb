"""Calibrated probabilities: from out-of-fold predictions, kept where they help, and how far they are from true.

A model's calibration is learned from its pooled out-of-fold predictions, as in scikit-learn's CalibratedClassifierCV
with `ensemble=False`, but without fitting a model once more, and with the folds of the dataset: by group or in time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import logit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from pipeline.intervals import paired_differences, units
from pipeline.metrics import Predictions, joined
from pipeline.serving.model import is_positive
from pipeline.serving.uncertainty import Calibrated, recalibrated
from pipeline.training.threshold import Choice

# Bins of equally many rows, in the order of their probability.
BINS = 10


@dataclass(frozen=True)
class Calibration:
    """As Calibrated has it: slopes and intercepts (k,) of the classes; of two (1,), of the positive one."""

    slopes: tuple[float, ...]
    intercepts: tuple[float, ...]
    least: float

    def of(self, p: Predictions) -> Predictions:
        """The predictions recalibrated, labelled at 0.5 or with the most probable class."""
        found = recalibrated(_by_class(p), **asdict(self))
        if p.shares is None or p.classes is None:
            return replace(p, score=found[:, 0], predicted=is_positive(found[:, 0], 0.5).astype(int))
        return replace(p, shares=found, predicted=p.classes[found.argmax(axis=1)])


def learn_calibration(p: Predictions) -> Calibration:
    """From predictions of rows that their models have not learned from (n,).

    Targets are Platt's (1999), which keep slopes finite where classes are told apart without a mistake. Rows this few
    do not tell a probability below 1 / 2n from 0.
    """
    n, least = len(p.actual), 1 / (2 * len(p.actual))
    labels = [1] if p.classes is None else p.classes
    found = []
    for label, odds in zip(labels, logit(_by_class(p).clip(least, 1 - least)).T, strict=True):
        is_of = p.actual == label
        ones = int(is_of.sum())
        true = np.where(is_of, (ones + 1) / (ones + 2), 1 / (n - ones + 2))
        fitted = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-8).fit(
            np.tile(odds, 2)[:, None], np.repeat([1, 0], n), sample_weight=np.r_[true, 1 - true]
        )
        found.append((float(fitted.coef_[0, 0]), float(fitted.intercept_[0])))
    slopes, intercepts = zip(*found, strict=True)
    return Calibration(slopes, intercepts, least)


def calibrate_model(model: Pipeline, calibration: Calibration) -> None:
    """Recalibrate a fitted model, in place; a threshold goes with the new probabilities."""
    name, last = model.steps[-1]
    if hasattr(last, "threshold"):
        last.estimator_ = Calibrated(last.estimator_, **asdict(calibration))
    else:
        model.steps[-1] = name, Calibrated(last, **asdict(calibration))


def by_other_folds(pooled: Predictions, fold: np.ndarray, calibrate: bool, choose: Choice) -> Predictions:
    """Pooled out-of-fold predictions (n,): those of each fold (n,) recalibrated where `calibrate` says so, and labelled
    at the threshold that `choose` finds, both by the predictions of the other folds; in time, of the earlier ones.
    """
    parts, places = [], [np.flatnonzero(fold == number) for number in np.unique(fold)]
    for own in places:
        part, others = pooled.of(own), pooled.of(others_of(pooled, fold, fold[own[0]]))
        if calibrate and len(others.actual):
            calibration = learn_calibration(others)
            part, others = calibration.of(part), calibration.of(others)
        if part.score is not None:
            assert others.score is not None
            labels = is_positive(part.score, choose(others.actual, others.score)).astype(int)
            part = replace(part, predicted=labels)
        parts.append(part)
    return joined(parts).of(np.argsort(np.concatenate(places)))


def others_of(pooled: Predictions, fold: np.ndarray, number: int) -> np.ndarray:
    """Which rows (n,) are of other folds than one; in time, of earlier ones, of which the first has none."""
    return fold < number if pooled.time is not None else fold != number


def calibration_gain(pooled: Predictions, recalibrated: Predictions, seed: int) -> tuple[float, list[float]]:
    """By how much recalibration lowers the log loss of pooled out-of-fold predictions (n,), with the 95 % interval."""
    [found] = paired_differences("log_loss", recalibrated, [pooled], seed)
    return found


def calibration_error(p: Predictions) -> tuple[float, list[float]]:
    """The root of the mean squared difference between predicted and true shares, over bins of rows in the order of
    their probability, with the 95 % interval; of several classes the mean square over them.

    What chance alone adds is taken off, as by Kumar, Liang & Ma (2019, Verified Uncertainty Calibration), with the
    variance between the units that rows are drawn in. The sum of squares is taken for a noncentral chi-squared with the
    mean and variance that it has where nothing is off (Satterthwaite 1946); the interval has the noncentralities that
    it leaves possible.
    """
    shares = _by_class(p)
    labels = np.array([1]) if p.classes is None else p.classes
    off = shares - (p.actual[:, None] == labels)
    n, unit = len(off), units(p)
    count = int(unit.max()) + 1
    sums, weights = [], []
    for share, missed in zip(shares.T, off.T, strict=True):
        edges = np.unique(np.quantile(share, np.arange(1, BINS) / BINS))
        bins = np.searchsorted(edges, share, side="left")
        for number in np.unique(bins):
            own = bins == number
            # what a bin adds: the square of its sum over its rows, of all
            sums.append(np.bincount(unit[own], missed[own], count))
            weights.append(n * own.sum() * len(labels))
    by_unit = np.array(sums) / np.sqrt(weights)[:, None]
    distance = float((by_unit.sum(axis=1) ** 2).sum())
    if count == 1:
        return distance**0.5, [0.0, 1.0]
    centred = by_unit - by_unit.mean(axis=1, keepdims=True)
    spread = centred @ centred.T * count / (count - 1)
    mean, squares = float(np.trace(spread)), float((spread**2).sum())
    if mean == 0:
        return distance**0.5, [distance**0.5] * 2
    scale, freedom = squares / mean, mean**2 / squares
    found = [scale * _noncentrality(distance / scale, freedom, tail) for tail in (0.975, 0.025)]
    return max(distance - mean, 0.0) ** 0.5, [bound**0.5 for bound in found]


def _noncentrality(value: float, freedom: float, share: float) -> float:
    """Of a chi-squared that is below a value in that share of draws; 0 where none is."""

    def excess(noncentrality: float) -> float:
        return float(stats.ncx2.cdf(value, freedom, noncentrality)) - share

    if stats.chi2.cdf(value, freedom) <= share:
        return 0.0
    # far enough: ten standard deviations above the value
    return float(brentq(excess, 1e-9, value + 10 * np.sqrt(2 * (freedom + 2 * value)) + 100))


def _by_class(p: Predictions) -> np.ndarray:
    """Probabilities (n, k) of the classes; (n, 1), of the positive one, where there are two."""
    if p.shares is not None:
        return p.shares
    assert p.score is not None
    return p.score[:, None]
