"""The check whether predicted probabilities come true."""

from __future__ import annotations

import numpy as np

from pipeline.checks.finding import Finding
from pipeline.checks.levels import (
    LEVEL,
    chance_words,
    holm,
    permutation_chance,
    sampled,
    spread,
    summed,
    too_few,
    upper_tail,
)
from pipeline.metrics import Predictions

FEWEST_UNITS = 100
# Bins at most, and what each has at least of the variance of the number of positives: a sum that is nearly normal.
BINS, BIN_VARIANCE = 10, 5


def calibration(task: str, judged: Predictions, units: np.ndarray | None, in_order: bool, seed: int) -> Finding:
    """Whether the probabilities p of the judged rows (n,) come true.

    The largest of three distances decides: of the mean, z of sum(y - p); of how extreme they are, z of sum((y - p)
    (1 - 2 p)) (Spiegelhalter 1986); and of bins in the order of p, the standardised chi-squared of sum(y - p) in each
    (Hosmer & Lemeshow 1980). Its chance where every p is true comes from drawing y by p (at LEVEL). Where rows belong
    to `units` (n,) they cannot be drawn so: the variances of the two z are those of the units' sums, and a z-test with
    Holm's correction decides. Without a verdict in order of time (`in_order`), which leaves too few independent blocks.
    """
    if task != "binary" or judged.score is None:
        return Finding(None, "Not applicable: only probabilities of two classes are judged.")
    if in_order:
        return Finding(None, "Not judged in order of time: errors of one time hang together.")
    rng = np.random.default_rng(seed)
    rows = sampled(len(judged.actual), rng)
    y, score, n = (judged.actual[rows] == 1).astype(float), judged.score[rows], len(rows)
    units = None if units is None else units[rows]
    if thin := too_few(y, task):
        return Finding(None, f"{thin} are too few to judge probabilities.")
    if units is not None and len(np.unique(units)) < FEWEST_UNITS:
        return Finding(None, f"Rows of {len(np.unique(units))} groups are too few to judge probabilities.")
    # a probability of exactly 0 or 1 stands for one that is too small to come up here
    p = score.clip(1 / (2 * n), 1 - 1 / (2 * n))
    missed, turned, variance = y - p, 1 - 2 * p, p * (1 - p)

    bins = bins_of(p, variance)
    in_bins, several = np.bincount(bins, variance), bins.max() > 0
    by_rows = np.sqrt([variance.sum(), (turned**2 * variance).sum()])

    def z_of(missed: np.ndarray) -> np.ndarray:
        return np.array([missed.sum(), missed @ turned]) / by_rows

    def distance(missed: np.ndarray) -> float:
        chi_squared = (np.bincount(bins, missed) ** 2 / in_bins).sum()
        standard = (chi_squared - len(in_bins)) / np.sqrt(2 * len(in_bins))
        return float(max(abs(z_of(missed)).max(), standard if several else 0))

    z, mean_error = z_of(missed), by_rows[0]
    if units is None:
        chance = permutation_chance(lambda: distance((rng.random(n) < p) - p), distance(missed), LEVEL)
    else:
        by_units = np.sqrt([(summed(part, units) ** 2).sum() for part in (missed, missed * turned)])
        z, mean_error = z * by_rows / by_units, by_units[0]
        chance = holm([2 * upper_tail(abs(value), 1.0) for value in z]).min()
    off, half = -missed.mean(), spread(mean_error) / n
    words = (
        f"{p.mean():.2%} positives are predicted on average and {y.mean():.2%} are, a difference of {off:+.2%} "
        f"[{off - half:+.2%}, {off + half:+.2%}]"
    )
    if several:
        differ = abs(np.bincount(bins, missed)).sum() / n
        words += f"; over {len(in_bins)} bins predicted and true shares differ by {differ:.2%} on average"
    words += f"; Spiegelhalter's z is {z[1]:+.1f} ({chance_words(chance)} in all)"
    if chance > LEVEL:
        return Finding(False, f"No fault is shown: {words}.")
    # what alone would be as rare
    side = "" if 2 * upper_tail(abs(z[1]), 1.0) > LEVEL else f": they are too {'extreme' if z[1] > 0 else 'cautious'}"
    return Finding(True, f"Probabilities do not come true: {words}{side}.")


def bins_of(p: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """The number of each row's bin (n,): at most BINS in the order of p, with about the same variance each."""
    count = int(min(BINS, max(1, variance.sum() // BIN_VARIANCE)))
    order = np.argsort(p, kind="stable")
    bins = np.empty(len(p), dtype=int)
    bins[order] = np.minimum(np.cumsum(variance[order]) / variance.sum() * count, count - 1).astype(int)
    return bins
