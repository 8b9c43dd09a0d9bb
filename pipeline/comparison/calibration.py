"""The check whether predicted probabilities come true."""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2

from pipeline.comparison.entries import Finding
from pipeline.comparison.levels import LEVEL, chance_words, holm, spread, summed, too_few, upper_tail
from pipeline.metrics import Predictions

FEWEST_UNITS = 20
# Bins at most, and what each has at least of the variance of the number of positives: a sum that is nearly normal.
BINS, BIN_VARIANCE = 10, 5


def calibration(task: str, judged: Predictions, units: np.ndarray | None) -> Finding:
    """Whether the probabilities p of the judged rows (n,) come true.

    Three tests with Holm's correction at LEVEL, each right where every p is true: of the mean, z of sum(y - p); of how
    extreme they are, z of sum((y - p) (1 - 2 p)) (Spiegelhalter 1986); and of bins in the order of p, chi-squared of
    sum(y - p) in each (Hosmer & Lemeshow 1980, for rows that were not fitted: as many degrees of freedom as bins). The
    variances are those of independent rows with chances p; where rows belong to `units` (n,), of the units' sums.
    """
    if task != "binary" or judged.score is None:
        return Finding(None, "Not applicable: only models of two classes predict a probability here.")
    y, n = (judged.actual == 1).astype(float), len(judged.actual)
    if thin := too_few(judged.actual, task):
        return Finding(None, f"{thin} are too few to judge probabilities.")
    if units is not None and len(np.unique(units)) < FEWEST_UNITS:
        return Finding(None, f"Rows of {len(np.unique(units))} groups are too few to judge probabilities.")
    # a probability of exactly 0 or 1 stands for one that is too small to come up here
    p = judged.score.clip(1 / (2 * n), 1 - 1 / (2 * n))
    missed, turned, variance = y - p, 1 - 2 * p, p * (1 - p)

    def error(part: np.ndarray, of_part: np.ndarray) -> float:
        return float(np.sqrt(of_part.sum() if units is None else (summed(part, units) ** 2).sum()))

    mean_error = error(missed, variance)
    z = float((missed * turned).sum()) / (error(missed * turned, turned**2 * variance) or np.inf)
    bins = bins_of(p, variance)
    in_bins = [(missed * (bins == k), variance * (bins == k)) for k in range(bins.max() + 1)]
    distance = sum((part.sum() / error(part, of_part)) ** 2 for part, of_part in in_bins)
    chances = holm(
        [
            2 * upper_tail(abs(missed.sum()), mean_error),
            2 * upper_tail(abs(z), 1.0),
            float(chi2.sf(distance, len(in_bins))),
        ]
    )
    off, half = -missed.mean(), spread(mean_error) / n
    differ = sum(abs(part.sum()) for part, _ in in_bins) / n
    over_bins = (
        f"; over {len(in_bins)} bins predicted and true shares differ by {differ:.2%} on average "
        f"({chance_words(chances[2])})"
    )
    words = (
        f"{p.mean():.2%} positives are predicted on average and {y.mean():.2%} are, a difference of {off:+.2%} "
        f"[{off - half:+.2%}, {off + half:+.2%}]{over_bins if len(in_bins) > 1 else ''}; Spiegelhalter's z is {z:+.1f}"
    )
    if chances.min() > LEVEL:
        return Finding(False, f"No fault is shown: {words}.")
    side = ""
    if chances[1] <= LEVEL:
        side = ", so they are too extreme" if z > 0 else ", so they are too cautious"
    return Finding(True, f"Probabilities do not come true: {words}{side}.")


def bins_of(p: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """The number of each row's bin (n,): at most BINS in the order of p, with about the same variance each."""
    count = int(min(BINS, max(1, variance.sum() // BIN_VARIANCE)))
    order = np.argsort(p, kind="stable")
    bins = np.empty(len(p), dtype=int)
    bins[order] = np.minimum(np.cumsum(variance[order]) / variance.sum() * count, count - 1).astype(int)
    return bins
