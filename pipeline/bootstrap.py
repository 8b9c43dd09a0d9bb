"""Bootstrap intervals of metrics and of paired differences: which rows are drawn together, and how wide the draws say.

What is drawn are units: single rows; whole groups where rows come in groups (cluster bootstrap, Field & Welsh 2007);
where they come in time, blocks of rows that follow one another (Künsch 1989, here side by side as in Carlstein 1986).
Blocks are few and long (Schmeiser 1982: 10 to 30), so that rows of neighbouring ones hardly hang together.

The percentile interval (Efron & Tibshirani, An Introduction to the Bootstrap, 1993) is too narrow where few units
decide. So its percentiles are moved out as Student's t says (Hesterberg 2015, What Teachers Should Know About the
Bootstrap). A metric of pairs of rows is better served by the t interval of its logit, above all near 1 and where few
rows of a class decide (Pepe 2003, The Statistical Evaluation of Medical Tests). How often intervals hold the true score
is measured by benchmarks/coverage.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import special, stats

from pipeline.metrics import METRICS, Predictions, lead, metric_value, metrics_of

RESAMPLES = 1000
# Resamples drawn at a time: fewer of many rows, so that their counts take 40 MB at most.
CHUNK, CHUNK_CELLS = 100, 5_000_000
# Blocks of time.
BLOCKS = 20
# Parts of the units that are left out in turn.
PARTS = 200
# Of the degrees of freedom found, as the kurtosis of few units is found too low.
CAUTION, LEAST_FREEDOM = 0.75, 2.0
# Below so many rows of the rarer class (of numbers: rows), or units of rows that belong together, intervals are rough.
ENOUGH_ROWS, ENOUGH_UNITS = 30, 20


def bootstrap_intervals(task: str, predictions: Predictions, seed: int) -> dict[str, list[float]]:
    """95 % interval of every metric of the task; NaN where a metric is never defined."""
    names = metrics_of(task)

    def figures(weights: np.ndarray) -> np.ndarray:
        return np.array([METRICS[metric].compute(predictions, weights) for metric in names])

    found = {}
    for metric, (values, freedom) in zip(names, _resampled(figures, predictions, seed), strict=True):
        value = metric_value(metric, predictions)
        if METRICS[metric].of_pairs and 0 < value < 1:
            found[metric] = _of_logit(value, values, freedom)
        elif task != "regression" and value == 1:
            found[metric] = [1 - min(1.0, 3 / _deciding_units(metric, predictions)), 1.0]
        else:
            found[metric] = _percentiles(values, freedom)
    return found


def paired_leads(
    task: str,
    first: Predictions,
    other: Predictions,
    seed: int,
    interval: Mapping[str, list[float]] | None = None,
) -> dict[str, list[float]]:
    """95 % interval of how much better `first` is than the other on the same rows (n,), by every metric of the task.

    Where the other has the same value in every resample, as the naive prediction has by some metrics, it is that of the
    first one's value, less the other's; `interval` has these where they are known.
    """
    names = metrics_of(task)

    def figures(weights: np.ndarray) -> np.ndarray:
        pairs = [[METRICS[metric].compute(one, weights) for one in (first, other)] for metric in names]
        leads = [lead(metric, *pair) for metric, pair in zip(names, pairs, strict=True)]
        return np.array([*leads, *(pair[1] for pair in pairs)])

    found, intervals = _resampled(figures, first, seed), {}
    for metric, (values, freedom), (others, _) in zip(names, found, found[len(names) :], strict=False):
        level = others[~np.isnan(others)]
        if len(level) and np.ptp(level) == 0:
            interval = interval or bootstrap_intervals(task, first, seed)
            intervals[metric] = sorted(float(lead(metric, bound, level[0])) for bound in interval[metric])
        else:
            intervals[metric] = _percentiles(values, freedom)
    return intervals


def paired_differences(
    metric: str, first: Predictions, others: Sequence[Predictions], seed: int
) -> list[tuple[float, list[float]]]:
    """How much better `first` is than each other on the same rows (n,), with 95 % intervals over shared resamples;
    below 0 where it is worse.
    """
    if not others:
        return []

    def figures(weights: np.ndarray) -> np.ndarray:
        value, *rest = (METRICS[metric].compute(one, weights) for one in (first, *others))
        return np.array([lead(metric, value, other) for other in rest])

    whole = metric_value(metric, first)
    leads = [lead(metric, whole, metric_value(metric, other)) for other in others]
    intervals = (_percentiles(*found) for found in _resampled(figures, first, seed))
    return list(zip(leads, intervals, strict=True))


def interval_of_amount(values: np.ndarray, most: float, predictions: Predictions, seed: int) -> list[float]:
    """95 % interval of the mean of amounts of the judged rows (n,), none of which can be below 0 or above `most`."""
    [found] = _resampled(lambda weights: _means(values[None], weights), predictions, seed)
    return _of_amount(values, most, predictions, *found)


def interval_of_saving(
    before: np.ndarray, now: np.ndarray, most: float, predictions: Predictions, seed: int
) -> list[float]:
    """95 % interval of by how much the mean of amounts of the judged rows (n,), as above, is lower now than before.

    From the intervals of what is gained and what is lost and how these hang together (MOVER, Zou & Donner 2008).
    """
    parts = np.array([before - now, now - before]).clip(0)
    found = _resampled(lambda weights: _means(parts, weights), predictions, seed)
    # where there is none, the next one may be any
    tops = [float(part.max()) or most for part in parts]
    (low, high), (least, largest) = (
        _of_amount(part, top, predictions, *one) for part, top, one in zip(parts, tops, found, strict=True)
    )
    gained, lost = parts.mean(axis=1)
    gains, losses = (values for values, _ in found)
    together = float(np.corrcoef(gains, losses)[0, 1]) if min(np.ptp(gains), np.ptp(losses)) > 0 else 0.0

    def reach(one: float, other: float) -> float:
        return float(np.sqrt(max(0.0, one**2 + other**2 - 2 * together * one * other)))

    difference = float(gained - lost)
    return [difference - reach(gained - low, largest - lost), difference + reach(high - gained, lost - least)]


def _means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The means of k values of n rows (k, n) under weights (b, n), as (k, b)."""
    return values @ weights.T / weights.sum(axis=1)


def _of_amount(
    values: np.ndarray, most: float, predictions: Predictions, resampled: np.ndarray, freedom: float
) -> list[float]:
    """The gamma interval of a sum of weighted counts (Fay & Feuer 1997), which allows for one more row of the most that
    one can bring: where dear rows are few, no resample may have more of them than there are. Without any amount it is
    the rule of three, at 97.5 %.

    Of rows that belong together, their variance is taken as far out as Student's t says, and one more brings as many
    others as their variance is larger than that of single rows.
    """
    n, mean, variance = len(values), float(values.mean()), float(resampled.var())
    more = most / n
    if predictions.group is not None or predictions.time is not None:
        alone = float(values.var()) / n
        more *= max(1.0, variance / alone) if alone > 0 else n / (units(predictions).max() + 1)
        variance *= (_reach(0.025, freedom) / float(stats.norm.isf(0.025))) ** 2
    low = stats.gamma.ppf(0.025, mean**2 / variance, scale=variance / mean) if variance > 0 else mean
    wider, further = variance + more**2, mean + more
    high = stats.gamma.ppf(0.975, further**2 / wider, scale=wider / further)
    return [float(low), min(float(high), most)]


def paired_t_interval(
    metric: str, first: Predictions, other: Predictions, seed: int, level: float
) -> tuple[float, tuple[float, float]]:
    """How much better `first` is than the other on the same rows (n,), with the t interval of that level (0 to 1).

    By the standard deviation of the resampled differences: for levels so high that RESAMPLES have no such percentile.
    """

    def figures(weights: np.ndarray) -> np.ndarray:
        return np.array([lead(metric, *(METRICS[metric].compute(one, weights) for one in (first, other)))])

    [(values, freedom)] = _resampled(figures, first, seed)
    difference = lead(metric, metric_value(metric, first), metric_value(metric, other))
    reach = _reach((1 - level) / 2, freedom) * float(np.nanstd(values, ddof=1))
    return difference, (difference - reach, difference + reach)


def rough(task: str, predictions: Predictions) -> str:
    """Why the intervals of these predictions are rough, as what decides them is too little, in words; empty where they
    are not.
    """
    count = int(units(predictions).max()) + 1
    one, several = ("group", "groups") if predictions.group is not None else ("point in time", "points in time")
    if count < ENOUGH_UNITS and not (predictions.group is None and predictions.time is None):
        return f"{count} {one if count == 1 else several}"
    if task == "regression":
        rows, which = len(predictions.actual), "rows"
    else:
        rows, which = int(np.unique(predictions.actual, return_counts=True)[1].min()), "rows of the rarer class"
        if (predictions.actual == predictions.predicted).all():
            return "no row predicted wrongly"
        if task == "binary" and not (predictions.predicted == 1).any():
            return "no row predicted positive"
    return f"{rows} {which}" if rows < ENOUGH_ROWS else ""


def units(predictions: Predictions) -> np.ndarray:
    """The unit (n,) that each row is drawn with, from 0: itself, its group, or its block of time.

    Blocks have about as many rows each; rows of one time are in one block. A row without a group is a unit of its own,
    rows without a time come last.
    """
    n = len(predictions.actual)
    if predictions.group is not None:
        codes = pd.factorize(predictions.group)[0]
        alone = codes < 0
        codes[alone] = codes.max() + 1 + np.arange(alone.sum())
        return codes
    if predictions.time is not None:
        times = pd.factorize(predictions.time, sort=True)[0]
        times[times < 0] = times.max() + 1
        before = np.cumsum(np.r_[0, np.bincount(times)[:-1]])
        return np.unique(before[times] * BLOCKS // n, return_inverse=True)[1]
    return np.arange(n)


def _resampled(
    figures: Callable[[np.ndarray], np.ndarray], predictions: Predictions, seed: int
) -> list[tuple[np.ndarray, float]]:
    """The resampled values of f figures, and their degrees of freedom; `figures` computes (f, k) for weights (k, n)."""
    unit = units(predictions)
    if unit.max() == 0:
        # one group or time: how others would differ is not known, and the interval is called rough
        unit = np.arange(len(unit))
    drawn, short = (
        np.concatenate([figures(weights) for weights in chunks], axis=1)
        for chunks in (resamples(unit, seed), _left_out(unit, seed))
    )
    return [(values, degrees_of_freedom(left_out)) for values, left_out in zip(drawn, short, strict=True)]


def degrees_of_freedom(left_out: np.ndarray) -> float:
    """Of the variance of a figure, from its values (g,) with each unit left out in turn: about g for units of like
    weight, as few as those that decide where some weigh more (Satterthwaite 1946, by the kurtosis of the values).
    """
    values = left_out[np.isfinite(left_out)]
    squares = (values - values.mean()) ** 2 if len(values) else np.zeros(1)
    spread = float((squares**2).sum() - squares.sum() ** 2 / len(squares))
    found = 2 * float(squares.sum()) ** 2 / spread if spread > 0 else np.inf
    return CAUTION * min(found, len(squares)) - 1


def _percentiles(values: np.ndarray, freedom: float) -> list[float]:
    """The middle 95 % of resampled values, with their percentiles moved out as far as the bounds of Student's t."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return [float("nan")] * 2
    freedom = max(freedom, LEAST_FREEDOM)
    tail = stats.norm.cdf(stats.t.ppf(0.025, freedom) * np.sqrt((freedom + 1) / freedom))
    low, high = np.quantile(defined, [tail, 1 - tail])
    return [float(low), float(high)]


def _of_logit(value: float, values: np.ndarray, freedom: float) -> list[float]:
    """The t interval of the logit of a value between 0 and 1, by the standard deviation of its resampled values."""
    error = np.nanstd(values, ddof=1) / (value * (1 - value))
    reach = _reach(0.025, freedom) * error
    return [float(special.expit(special.logit(value) + way * reach)) for way in (-1, 1)]


def _reach(tail: float, freedom: float) -> float:
    """How many standard errors a t interval reaches to either side that leaves out so much there."""
    return float(stats.t.isf(tail, max(freedom, LEAST_FREEDOM)))


def _deciding_units(metric: str, predictions: Predictions) -> int:
    """All for a mean over rows, else those of the rarest class. So many without a mistake leave a chance of 3 in them
    for one, 95 times in 100 (the rule of three, Hanley & Lippman-Hand 1983).
    """
    unit, classes = units(predictions), np.unique(predictions.actual)
    if METRICS[metric].of_rows:
        return len(np.unique(unit))
    return min(len(np.unique(unit[predictions.actual == label])) for label in classes)


def resamples(unit: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """RESAMPLES rows of bootstrap counts, in chunks of at most CHUNK rows (k, n): each row's count is its unit's."""
    rng, n, count = np.random.default_rng(seed), len(unit), int(unit.max()) + 1
    for k in _chunks(RESAMPLES, n):
        draws = rng.integers(0, count, (k, count)) + count * np.arange(k)[:, None]
        counts = np.bincount(draws.ravel(), minlength=k * count).reshape(k, count).astype(float)
        yield counts if count == n else counts[:, unit]


def _left_out(unit: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Weights 1 of rows, in chunks (k, n), with each unit left out in turn; of many, each of PARTS parts of them."""
    n, count = len(unit), int(unit.max()) + 1
    part = unit
    if count > PARTS:
        part = (np.random.default_rng(seed).permutation(count) % PARTS)[unit]
    first = 0
    for k in _chunks(min(count, PARTS), n):
        yield (part != np.arange(first, first + k)[:, None]).astype(float)
        first += k


def _chunks(total: int, n: int) -> Iterator[int]:
    """Parts of a total that are small enough for n rows."""
    size = max(1, min(CHUNK, CHUNK_CELLS // n))
    for first in range(0, total, size):
        yield min(size, total - first)
