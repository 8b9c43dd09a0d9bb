"""Tests of numbers and of points in time. All go by ranks and shares, which no outlier can spoil."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from pipeline.drift.rows import Ranks, Say, Sets, sets_of

# Numbers of at most this many different values are looked at one by one.
FEW_VALUES = 20
# Shares of both tables together that lie beyond a cut, at either end.
TAILS = (0.001, 0.005, 0.025)
COMMON_VALUES = 5
FEWEST_ROWS = 5


def level(values: np.ndarray, say: Say) -> Ranks:
    """Mann & Whitney (1947): how often a current value is above one of the reference."""
    return Ranks(("larger values", "smaller values"), rankdata(values) / len(values))


def spread(values: np.ndarray, say: Say) -> Ranks:
    """The same of distances from the median."""
    distances = np.abs(values - np.median(values))
    words = "values farther from the middle", "values closer to the middle"
    return Ranks(words, rankdata(distances) / len(values))


def distribution(values: np.ndarray, say: Say) -> Sets | None:
    """The shares below each of 19 quantiles, where Kolmogorov and Smirnov look at all of them."""
    cuts = np.unique(np.quantile(values, np.linspace(0.05, 0.95, 19), method="lower"))
    return sets_of((f"at most {say(cut)}", values <= cut) for cut in cuts)


def tails(values: np.ndarray, say: Say) -> Sets | None:
    """The shares beyond the outer quantiles of both tables."""
    low = np.unique(np.quantile(values, TAILS, method="higher"))
    high = np.unique(np.quantile(values, [1 - share for share in TAILS], method="lower"))
    ends = [(f"at least {say(cut)}", values >= cut) for cut in high]
    return sets_of([*((f"at most {say(cut)}", values <= cut) for cut in low), *ends])


def few_values(values: np.ndarray, say: Say) -> Sets | None:
    """Each value of a column of few."""
    different, codes = np.unique(values, return_inverse=True)
    return Sets([say(value) for value in different], codes) if len(different) <= FEW_VALUES else None


def common_values(values: np.ndarray, say: Say) -> Sets | None:
    """The values that come up most, such as a code for "unknown" or the reading of a stuck sensor."""
    different, counts = np.unique(values, return_counts=True)
    common = np.argsort(-counts, kind="stable")[:COMMON_VALUES]
    chosen = different[common[counts[common] >= FEWEST_ROWS]]
    several = len(different) > FEW_VALUES
    return sets_of((f"exactly {say(value)}", values == value) for value in chosen) if several else None


def whole_numbers(values: np.ndarray, say: Say) -> Sets | None:
    """The share of whole numbers, which rounding changes."""
    return sets_of([("a whole number", values == np.round(values))])
