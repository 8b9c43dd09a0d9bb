"""Intervals of metrics and of paired differences: which rows belong together, and how far off a figure may be.

What is left out or drawn are units: single rows; whole groups where rows come in groups (Field & Welsh 2007); where
they come in time, blocks of rows that follow one another. Blocks are few and long (Schmeiser 1982: 10 to 30), and are
left out two neighbours at a time, as overlapping blocks (Künsch 1989), so that rows of different ones hardly hang
together.

The standard error is that of the delete-a-group jackknife (Efron & Tibshirani, An Introduction to the Bootstrap, 1993),
which is not too small with few units, as the bootstrap's is (Efron & Stein 1981). A metric that is not smooth needs
parts of more than the root of n rows (Shao & Wu 1989); where they are smaller it gets the bootstrap's. Intervals are
those of Student's t on a scale where a metric has no bound near, as the log or the logit (Pepe 2003, The Statistical
Evaluation of Medical Tests): there its errors are closer to normal. How often intervals hold the true score is measured
by benchmarks/coverage.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from pipeline.metrics import METRICS, Metric, Predictions, Weighted, lead, metrics_of

# Enough for a standard error (Efron & Tibshirani 1993, chapter 6).
RESAMPLES = 200
# Rows of weights at a time: fewer of many rows, so that they take 40 MB at most.
CHUNK, CHUNK_CELLS = 100, 5_000_000
# Blocks of time.
BLOCKS = 20
# Parts of the units that are left out in turn.
PARTS = 200
# Of the degrees of freedom found, as the kurtosis of few units is found too low, but for counts, whose tails are short;
# and what values of blocks that overlap by half tell beside as many that do not (Meketon & Schmeiser 1984).
CAUTION, LEAST_FREEDOM, OF_OVERLAPPING = 0.75, 2.0, 2 / 3
# The level of an interval that reaches a standard error to either side.
AHEAD = 0.6827
# Below so many rows of the rarer class (of numbers: rows), or units of rows that belong together, intervals are rough.
ENOUGH_ROWS, ENOUGH_UNITS = 30, 20


@dataclass(frozen=True)
class Estimate:
    """A figure, its standard error, and the degrees of freedom of that."""

    value: float
    error: float
    freedom: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Student's t interval of that level (0 to 1)."""
        reach = self.reach(level)
        return self.value - reach, self.value + reach

    def reach(self, level: float) -> float:
        return float(stats.t.isf((1 - level) / 2, max(self.freedom, LEAST_FREEDOM))) * self.error


def score_intervals(task: str, predictions: Predictions, seed: int) -> dict[str, list[float]]:
    """95 % interval of every metric of the task; NaN where a metric is never defined.

    Of single rows, the variance of a count of them follows from the count: few that decide take nothing from its
    degrees of freedom.
    """
    metrics = [METRICS[name] for name in metrics_of(task)]
    found = _estimates([one.of(predictions) for one in metrics], metrics, predictions, seed)
    if predictions.group is None and predictions.time is None:
        freedom = min(len(predictions.actual), PARTS) - 1
        found = [replace(e, freedom=freedom) if one.counts else e for e, one in zip(found, metrics, strict=True)]
    return {name: interval_of(name, own, predictions) for name, own in zip(metrics_of(task), found, strict=True)}


def interval_of(metric: str, found: Estimate, predictions: Predictions) -> list[float]:
    """The 95 % interval of a metric's estimate from these predictions, on the metric's scale.

    The error is carried to the scale by its slope there (the delta method), and the bounds back.
    """
    value, scale = found.value, METRICS[metric].scale
    if scale == "share" and value == 1:
        return [1 - min(1.0, 3 / _deciding_units(metric, predictions)), 1.0]
    if METRICS[metric].of_pairs and 0 < value < 1 and (few := _few_single_rows(predictions)):
        return newcombe(value, *few)
    reach, ways = found.reach(0.95), np.array([-1, 1])
    bounds = value + ways * reach
    if scale == "share" and 0 < value < 1:
        bounds = special.expit(special.logit(value) + ways * reach / (value * (1 - value)))
    elif scale == "loss" and value > 0:
        bounds = value * np.exp(ways * reach / value)
    elif scale == "skill" and value < 1:
        bounds = 1 - (1 - value) * np.exp(-ways * reach / (1 - value))
    return [float(bound) for bound in bounds]


def newcombe(value: float, positive: int, negative: int) -> list[float]:
    """The 95 % interval of a ROC-AUC of so many single rows: the values that lie within 1.96 of their own standard
    errors (Newcombe 2006, method 5; the variance is that of Hanley & McNeil 1982 for exponential scores, with the mean
    of both numbers). Where few rows decide, an error that is found from them is too small.
    """
    half = (positive + negative) / 2 - 1

    def beyond(truth: float) -> float:
        variance = truth * (1 - truth) * (1 + half * ((1 - truth) / (2 - truth) + truth / (1 + truth)))
        return float((value - truth) ** 2 - special.ndtri(0.975) ** 2 * variance / (positive * negative))

    return [float(optimize.brentq(beyond, bound, value)) for bound in (0, 1)]


def paired_leads(
    task: str,
    first: Predictions,
    other: Predictions,
    seed: int,
    interval: Mapping[str, list[float]] | None = None,
) -> dict[str, list[float]]:
    """95 % interval of how much better `first` is than the other on the same rows (n,), by every metric of the task.

    Where the other has the same value whichever rows there are, as the naive prediction has by some metrics, it is that
    of the first one's value, less the other's; `interval` has these where they are known.
    """
    names, intervals = metrics_of(task), {}
    some = next(_left_out(*_parts(first, seed)))
    for metric, found in zip(names, _leads(names, [(first, other)] * len(names), seed), strict=True):
        level = METRICS[metric].of(other)(some)
        if np.ptp(level) == 0:
            interval = interval or score_intervals(task, first, seed)
            intervals[metric] = sorted(float(lead(metric, bound, level[0])) for bound in interval[metric])
        else:
            intervals[metric] = [*found.interval()]
    return intervals


def paired_differences(
    metric: str, first: Predictions, others: Sequence[Predictions], seed: int, level: float = 0.95
) -> list[tuple[float, list[float]]]:
    """How much better `first` is than each other on the same rows (n,), with intervals of that level (0 to 1); below 0
    where it is worse.
    """
    leads = _leads([metric] * len(others), [(first, other) for other in others], seed) if others else []
    return [(found.value, [*found.interval(level)]) for found in leads]


def is_ahead(metric: str, first: Predictions, other: Predictions, seed: int, level: float = AHEAD) -> bool:
    """Whether predictions of the same rows (n,) lead others by more than the interval of that level reaches; by default
    a standard error (Breiman et al. 1984, Classification and Regression Trees).
    """
    [(_, (low, _))] = paired_differences(metric, first, [other], seed, level)
    return low > 0


def interval_of_amount(values: np.ndarray, most: float, predictions: Predictions, seed: int) -> list[float]:
    """95 % interval of the mean of amounts of the judged rows (n,), none of which can be below 0 or above `most`.

    The gamma interval of a sum of weighted counts (Fay & Feuer 1997), which allows for one more row of the most that
    one can bring: where dear rows are few, what is left out is never more of them. Without any amount it is the rule of
    three, at 97.5 %.

    Of rows that belong together, their variance is taken as far out as Student's t says, and one more brings as many
    others as their variance is larger than that of single rows.
    """
    n, mean, found = len(values), float(values.mean()), estimate_of(_mean_of(values), None, predictions, seed)
    variance, more = found.error**2, most / n
    if predictions.group is not None or predictions.time is not None:
        alone = float(values.var()) / n
        more *= max(1.0, variance / alone) if alone > 0 else n / (units(predictions).max() + 1)
        variance = (found.reach(0.95) / float(stats.norm.isf(0.025))) ** 2
    low = stats.gamma.ppf(0.025, mean**2 / variance, scale=variance / mean) if variance > 0 else mean
    wider, further = variance + more**2, mean + more
    high = stats.gamma.ppf(0.975, further**2 / wider, scale=wider / further)
    return [float(low), min(float(high), most)]


def interval_of_saving(
    before: np.ndarray, now: np.ndarray, most: float, predictions: Predictions, seed: int
) -> list[float]:
    """95 % interval of by how much the mean of amounts of the judged rows (n,), as above, is lower now than before.

    From the intervals of what is gained and what is lost and how these hang together (MOVER, Zou & Donner 2008).
    """
    parts = np.array([before - now, now - before]).clip(0)
    # where there is none, the next one may be any
    (low, high), (least, largest) = (
        interval_of_amount(part, float(part.max()) or most, predictions, seed) for part in parts
    )
    gained, lost = parts.mean(axis=1)
    left_out = _computed([_mean_of(part) for part in parts], _left_out(*_parts(predictions, seed)))
    together = float(np.corrcoef(left_out)[0, 1]) if np.ptp(left_out, axis=1).min() > 0 else 0.0

    def reach(one: float, other: float) -> float:
        return float(np.sqrt(max(0.0, one**2 + other**2 - 2 * together * one * other)))

    difference = float(gained - lost)
    return [difference - reach(gained - low, largest - lost), difference + reach(high - gained, lost - least)]


def _mean_of(values: np.ndarray) -> Weighted:
    return lambda weights: weights @ values / weights.sum(axis=1)


def estimate_of(figure: Weighted, metric: str | None, predictions: Predictions, seed: int) -> Estimate:
    """The estimate of a figure of the judged rows (n,), computed (k,) for weights (k, n), that is made of values of a
    metric; of a mean over the rows (None).
    """
    return _estimates([figure], [METRICS[metric] if metric else None], predictions, seed)[0]


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


def _leads(names: Sequence[str], pairs: Sequence[tuple[Predictions, Predictions]], seed: int) -> list[Estimate]:
    """How much better the first of each pair is by its metric."""

    def of_pair(metric: str, pair: Sequence[Predictions]) -> Weighted:
        own, other = (METRICS[metric].of(one) for one in pair)
        return lambda weights: lead(metric, own(weights), other(weights))

    return _estimates([*map(of_pair, names, pairs)], [METRICS[name] for name in names], pairs[0][0], seed)


def _estimates(
    figures: Sequence[Weighted], metrics: Sequence[Metric | None], predictions: Predictions, seed: int
) -> list[Estimate]:
    """The estimates of figures of the rows (n,), each computed (k,) for weights (k, n), and the metrics that they are
    made of.
    """
    unit = _apart(predictions)
    part, times = _parts(predictions, seed)
    n, rows_left_out = len(part), times * len(part) / (part.max() + 1)
    [values] = _computed(figures, [np.ones((1, n))]).T
    left_out = _computed(figures, _left_out(part, times))
    errors = [jackknife_error(own, times) for own in left_out]
    drawn = [at for at, metric in enumerate(metrics) if metric and not metric.smooth]
    if drawn and rows_left_out < n**0.5:
        for at, own in zip(drawn, _computed([figures[at] for at in drawn], resamples(unit, seed)), strict=True):
            errors[at] = float(np.std(own[np.isfinite(own)], ddof=1)) if np.isfinite(own).sum() > 1 else np.nan
    caution = [1.0 if metric and metric.counts else CAUTION for metric in metrics]
    freedoms = [degrees_of_freedom(own, times, part) for own, part in zip(left_out, caution, strict=True)]
    return [Estimate(float(value), *of) for value, *of in zip(values, errors, freedoms, strict=True)]


def _computed(figures: Sequence[Weighted], chunks: Iterable[np.ndarray]) -> np.ndarray:
    """Figures (f, k) for weights (k, n) that come in chunks."""
    return np.concatenate([np.array([figure(weights) for figure in figures]) for weights in chunks], axis=1)


def jackknife_error(left_out: np.ndarray, times: int = 1) -> float:
    """The standard error of a figure, from its values (g,) with one part after the other left out, each row so often;
    NaN where fewer than two are defined.
    """
    values = left_out[np.isfinite(left_out)]
    if len(values) < 2:
        return np.nan
    return float(np.sqrt((1 - times / len(values)) / times * ((values - values.mean()) ** 2).sum()))


def degrees_of_freedom(left_out: np.ndarray, times: int = 1, caution: float = CAUTION) -> float:
    """Of the variance of a figure, from its values (g,) as jackknife_error has them: about g for units of like weight,
    as few as those that decide where some weigh more (Satterthwaite 1946, by the kurtosis of the values).
    """
    values = left_out[np.isfinite(left_out)]
    squares = (values - values.mean()) ** 2 if len(values) else np.zeros(1)
    spread = float((squares**2).sum() - squares.sum() ** 2 / len(squares))
    found = 2 * float(squares.sum()) ** 2 / spread if spread > 0 else np.inf
    return caution * min(found, len(squares)) * (1 if times == 1 else OF_OVERLAPPING) - 1


def _few_single_rows(predictions: Predictions) -> tuple[int, int] | None:
    """How many rows are positive and negative where these are two classes of single rows, and one of them too small."""
    positive = int((predictions.actual == 1).sum())
    few = 0 < min(positive, len(predictions.actual) - positive) < ENOUGH_ROWS
    single = predictions.group is None and predictions.time is None and predictions.score is not None
    return (positive, len(predictions.actual) - positive) if few and single else None


def _deciding_units(metric: str, predictions: Predictions) -> int:
    """All for a mean over rows, else those of the rarest class. So many without a mistake leave a chance of 3 in them
    for one, 95 times in 100 (the rule of three, Hanley & Lippman-Hand 1983).
    """
    unit, classes = units(predictions), np.unique(predictions.actual)
    if METRICS[metric].of_rows:
        return len(np.unique(unit))
    return min(len(np.unique(unit[predictions.actual == label])) for label in classes)


def _apart(predictions: Predictions) -> np.ndarray:
    """The unit (n,) of each row; itself where there is but one group or time: how others would differ is not known
    then, and the interval is called rough.
    """
    unit = units(predictions)
    return unit if unit.max() else np.arange(len(unit))


def _parts(predictions: Predictions, seed: int) -> tuple[np.ndarray, int]:
    """The part (n,) that each row is left out with, from 0: its unit, or a share of many units; and how often that is:
    twice in time, once with the block before and once with the next.
    """
    unit = _apart(predictions)
    count = int(unit.max()) + 1
    if count > PARTS:
        return (np.random.default_rng(seed).permutation(count) % PARTS)[unit], 1
    in_time = predictions.time is not None and predictions.group is None and np.ptp(units(predictions)) > 2
    return unit, 2 if in_time else 1


def _left_out(part: np.ndarray, times: int) -> Iterator[np.ndarray]:
    """Weights 1 of rows, in chunks (k, n), without one part after the other, and without the next one where each is
    left out twice.
    """
    count, first = int(part.max()) + 1, 0
    for k in _chunks(count, len(part)):
        number = np.arange(first, first + k)[:, None]
        kept = part != number
        if times == 2:
            kept &= part != (number + 1) % count
        yield kept.astype(float)
        first += k


def resamples(unit: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """RESAMPLES rows of bootstrap counts, in chunks of at most CHUNK rows (k, n): each row's count is its unit's."""
    rng, n, count = np.random.default_rng(seed), len(unit), int(unit.max()) + 1
    for k in _chunks(RESAMPLES, n):
        draws = rng.integers(0, count, (k, count)) + count * np.arange(k)[:, None]
        counts = np.bincount(draws.ravel(), minlength=k * count).reshape(k, count).astype(float)
        yield counts if count == n else counts[:, unit]


def _chunks(total: int, n: int) -> Iterator[int]:
    """Parts of a total that are small enough for n rows."""
    size = max(1, min(CHUNK, CHUNK_CELLS // n))
    for first in range(0, total, size):
        yield min(size, total - first)
