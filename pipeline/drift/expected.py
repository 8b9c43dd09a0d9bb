"""What a model scores on current rows without their labels, where only the features moved (covariate shift).

The reference rows have labels and predictions of models that had not seen them. They are weighted until they look like
the current rows: by the ratio of the sides' densities (Shimodaira 2000), from a classifier that tells the sides apart,
then by how the model's own predictions are spread over the current rows. The second step is the idea of CBPE and PAPE
(arXiv 2505.05295, 2401.08348): among rows of like prediction the weighted reference tells how often it is wrong, the
current rows how frequent such predictions are. All metrics take row weights, so nothing more is needed.

The estimate holds while the target depends on the features as before. It cannot see a change of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from pipeline.drift.joint import Membership
from pipeline.intervals import units
from pipeline.metrics import METRICS, Predictions

# No row stands for more than this many, neither by the densities nor by its prediction.
MOST_WEIGHT, MOST_FACTOR = 50.0, 10.0
# A current row is outside the reference where rows like it are this many times as frequent as there, and fewer than so
# many reference rows look as much like current ones.
OUTSIDE_ODDS, OUTSIDE_ROWS = 5.0, 10
# Bands of predicted numbers. Scores have two: models of folds are less sure of theirs than the model of all rows.
BANDS = 10
# What an estimate needs: weighted rows, in all and of the smallest class, expected current rows of that class, and at
# most this share of current rows outside.
LEAST_ROWS, LEAST_OF_CLASS, LEAST_CURRENT, MOST_OUTSIDE = 100, 50, 10, 0.05
RESAMPLES, CHUNK_CELLS = 500, 5_000_000
# A quarter wider than the middle 95 %, for what resamples do not show: errors of the density ratio, and that the models
# of folds have learned from fewer rows than the model they stand for. Measured by benchmarks/expected_score.py.
PERCENTILES = (0.75, 99.25)


@dataclass(frozen=True)
class ExpectedScore:
    """A metric as it is expected on the current rows, with the 95 % interval of what their labels will show.

    `effective_rows`: how many rows of weight 1 tell as much as the weighted reference (Kish 1965). `reason`: why the
    estimate is not reliable; empty where it is.
    """

    metric: str
    value: float
    interval: tuple[float, float]
    effective_rows: float
    reliable: bool
    reason: str


def density_ratio(found: Membership) -> tuple[np.ndarray, float]:
    """Weights of the n reference rows, of mean 1, and the share of current rows where there is hardly any reference.

    The odds of the held-out probabilities after a logistic recalibration (Platt 1999): a classifier that has learned
    noise gets weights near 1.
    """
    n, m = len(found.reference), len(found.current)
    p = np.clip(np.concatenate([found.reference, found.current]), 1e-6, 1 - 1e-6)
    logits, is_current = np.log(p / (1 - p))[:, None], np.arange(n + m) >= n
    if np.ptp(logits) < 1e-9:
        return np.ones(n), 0.0
    platt = LogisticRegression(C=1e6, class_weight="balanced").fit(logits, is_current)
    if platt.coef_[0, 0] <= 0:
        return np.ones(n), 0.0
    odds = np.exp(platt.decision_function(logits))
    old, new = odds[:n], odds[n:]
    bound = max(OUTSIDE_ODDS, np.sort(old)[-min(n, OUTSIDE_ROWS)])
    weights = np.minimum(old / old.mean(), MOST_WEIGHT)
    return weights / weights.mean(), float((new > bound).mean())


def effective_rows(weights: np.ndarray) -> float:
    """Kish's (sum w)^2 / sum w^2 of weights (n,); 0 without any."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def expected_score(
    metric: str,
    predictions: Predictions,
    weights: np.ndarray,
    current: Predictions,
    outside: float,
    seed: int,
) -> ExpectedScore:
    """The metric expected on m current rows.

    Args:
        predictions: of the n reference rows, each by a model that had not seen the row.
        weights: density ratio of the reference rows (n,).
        current: the model's predictions for the current rows; `actual` is not looked at, and may be anything.
        outside: share of current rows where there is hardly any reference.

    The interval is of 500 resamples of the reference rows (the error of the estimate), each followed by a draw of m
    rows from it by their weights (the noise of the current rows themselves), and is taken somewhat wider (PERCENTILES).
    Rows that belong together are drawn together, as far as both tables say which do.
    """
    old, new = _bands(predictions, current, "regression" in METRICS[metric].tasks)
    share = np.bincount(new, minlength=old.max() + 1) / len(new)
    weighted = METRICS[metric].of(predictions)
    matched = _matched(weights[None], old, share)
    many = int(units(current).max()) + 1
    drawn = [weighted(_matched(w, old, share)) for w in _draws(weights, units(predictions), many, seed)]
    values = np.concatenate(drawn)
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, PERCENTILES) if len(values) else (np.nan, np.nan)
    value = float(weighted(matched)[0])
    reason = _doubt(metric, predictions, matched[0], len(new), outside)
    if not reason and not np.isfinite([value, low, high]).all():
        reason = f"{METRICS[metric].label} is not defined on the weighted reference rows"
    return ExpectedScore(metric, value, (float(low), float(high)), effective_rows(matched[0]), not reason, reason)


def _bands(predictions: Predictions, current: Predictions, regression: bool) -> tuple[np.ndarray, np.ndarray]:
    """The band of each reference row (n,) and current row (m,) by its prediction: tenths of the current values, or the
    predicted class, for two classes with the lower and upper half of the scores.
    """
    both = np.concatenate([predictions.predicted, current.predicted])
    if regression:
        bands = np.searchsorted(np.unique(np.quantile(current.predicted, np.arange(1, BANDS) / BANDS)), both, "right")
    else:
        bands = np.unique(both, return_inverse=True)[1]
    if predictions.score is not None and current.score is not None:
        bands = 2 * bands + (np.concatenate([predictions.score, current.score]) > np.median(current.score))
    old, new = np.split(bands, [len(predictions.predicted)])
    return old, new


def _matched(weights: np.ndarray, bands: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Weights (k, n) of sum 1 a row, their bands as frequent as `share` says (post-stratification)."""
    weights = weights / weights.sum(axis=1, keepdims=True)
    count = max(len(share), bands.max() + 1)
    is_in = (bands[:, None] == np.arange(count)).astype(float)
    wanted = np.zeros(count)
    wanted[: len(share)] = share
    sums = weights @ is_in
    factors = np.divide(wanted, sums, out=np.zeros_like(sums), where=sums > 0).clip(1 / MOST_FACTOR, MOST_FACTOR)
    weights = weights * factors[:, bands]
    return weights / weights.sum(axis=1, keepdims=True)


def _draws(weights: np.ndarray, unit: np.ndarray, m: int, seed: int) -> Iterator[np.ndarray]:
    """Counts (k, n), chunk by chunk, of m units drawn by their weights from a resample of the units of the n reference
    rows. A drawn unit counts for its rows by their weights.
    """
    rng, n, count = np.random.default_rng(seed), len(weights), int(unit.max()) + 1
    of_unit = np.bincount(unit, weights, count)
    share = np.divide(weights, of_unit[unit], out=np.zeros(n), where=weights > 0)
    size = max(1, min(100, CHUNK_CELLS // n))
    for first in range(0, RESAMPLES, size):
        counts = np.empty((min(size, RESAMPLES - first), n))
        for row in counts:
            ends = np.cumsum(of_unit * np.bincount(rng.integers(0, count, count), minlength=count))
            # uniform numbers in order, as sums of exponential ones (Devroye 1986): sorted ones are found much faster
            steps = rng.standard_exponential(m + 1).cumsum()
            drawn = np.diff(np.searchsorted(steps[:-1] * (ends[-1] / steps[-1]), ends, "right"), prepend=0)
            row[:] = share * drawn[unit]
        yield counts


def _doubt(metric: str, predictions: Predictions, weights: np.ndarray, m: int, outside: float) -> str:
    """Why an estimate from weights (n,) for m current rows is not reliable; empty where it is."""
    if outside > MOST_OUTSIDE:
        return f"{outside:.0%} of the current rows lie where there are hardly any reference rows"
    rows = effective_rows(weights)
    if rows < LEAST_ROWS:
        return f"the reference rows that look like the current ones tell no more than {rows:.0f} rows"
    if predictions.score is None:
        return ""
    for label in (0, 1):
        of_class = predictions.actual == label
        rows, now = effective_rows(weights[of_class]), m * float(weights[of_class].sum() / weights.sum())
        which = "positive" if label else "negative"
        if rows < LEAST_OF_CLASS:
            return f"the {which} reference rows tell no more than {rows:.0f} rows"
        if now < LEAST_CURRENT:
            return f"only about {now:.0f} of the current rows are {which}"
    return ""
