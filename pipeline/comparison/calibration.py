"""The check whether predicted probabilities come true."""

from __future__ import annotations

import numpy as np

from pipeline.comparison.entries import Finding
from pipeline.comparison.levels import LEVEL, holm, spread, summed, upper_tail
from pipeline.metrics import Predictions

FEWEST_OF_A_CLASS = 10
FEWEST_UNITS = 20
BINS = 10


def calibration(task: str, judged: Predictions, units: np.ndarray | None) -> Finding:
    """Whether the probabilities p of the judged rows (n,) come true.

    Two z-tests with Holm's correction at LEVEL, both exact in the limit where every p is true: of the mean,
    sum(y - p), and of how decided they are, sum((y - p) (1 - 2 p)) (Spiegelhalter 1986). The variances are those of
    independent rows with chances p; where rows belong to `units` (n,), those of the sums of the units.
    """
    if task != "binary" or judged.score is None:
        return Finding(None, "Not applicable: only models of two classes predict a probability here.")
    y, n = judged.actual == 1, len(judged.actual)
    rarer = int(min(y.sum(), n - y.sum()))
    if rarer < FEWEST_OF_A_CLASS or (units is not None and len(np.unique(units)) < FEWEST_UNITS):
        return Finding(None, f"{rarer} rows of the rarer class are too few to judge probabilities.")
    # a probability of exactly 0 or 1 stands for one that is too small to come up here
    p = judged.score.clip(1 / (2 * n), 1 - 1 / (2 * n))
    missed, turned = y - p, 1 - 2 * p
    tests = []
    for part, variance in ((missed, p * (1 - p)), (missed * turned, turned**2 * p * (1 - p))):
        error = np.sqrt(variance.sum() if units is None else (summed(part, units) ** 2).sum())
        tests.append((float(part.sum()), float(error)))
    (more, error), (undecided, error_of_it) = tests
    chances = holm([2 * upper_tail(abs(value), e) for value, e in tests])
    alarm = bool(chances.min() <= LEVEL)
    half = spread(error)
    mean = (
        f"{p.mean():.2%} positives are predicted on average and {y.mean():.2%} are, a difference of "
        f"{-more / n:+.2%} [{(-more - half) / n:+.2%}, {(-more + half) / n:+.2%}]"
    )
    z = undecided / error_of_it if error_of_it else 0.0
    if not alarm:
        return Finding(False, f"No fault is shown: {mean}, and Spiegelhalter's z is {z:+.1f}; {_error(y, p)}.")
    side = "too extreme" if z > 0 else "too cautious"
    decided = f", and they are {side} (Spiegelhalter's z {z:+.1f})" if chances[1] <= LEVEL else ""
    return Finding(True, f"Probabilities do not come true: {mean}{decided}; {_error(y, p)}.")


def _error(y: np.ndarray, p: np.ndarray) -> str:
    """The mean distance of predicted and true shares over bins of as many rows each, in words."""
    bins = np.array_split(np.argsort(p, kind="stable"), BINS)
    error = sum(abs(y[rows].mean() - p[rows].mean()) * len(rows) for rows in bins if len(rows)) / len(y)
    return f"over {BINS} bins predicted and true shares differ by {error:.2%} on average"
