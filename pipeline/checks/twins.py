"""The check whether rows of the training part are in the test part again."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import binom

from pipeline.checks.finding import Finding
from pipeline.checks.levels import LEVEL, holm

# A number that more of the training rows have comes up again by itself.
RARE, MOST_SAME = 0.01, 50


def same_rows(train: pd.DataFrame, test: pd.DataFrame) -> Finding:
    """Whether test rows (n, d) are training rows (m, d) copied, in all columns that are learned from and the target.

    Where columns hold few values, rows are alike by chance. So a number that test and training rows share is compared
    with its neighbours, where at most RARE of the training rows, and MOST_SAME, have it: how many of these test rows
    equal one of the k training rows of the same number in all other columns, and how many one of the k rows of the next
    numbers? Rows that are alike by chance are so about as often in both; a copy is so in the first alone. A sign test
    of the rows that are so in one of the two (one-sided at LEVEL, Holm over the columns of numbers). Where no such
    number is shared, or all columns hold words, nothing can be told.
    """
    first, again = hashed(train), hashed(test)
    whole, of_test = first.sum(axis=1), again.sum(axis=1)
    twin = np.isin(of_test, whole)
    found = f"{twin.sum():,} of {len(test):,} rows of the test part"
    if not twin.any():
        return Finding(False, f"None of {len(test):,} rows of the test part equals a row of the training part.")
    numbers = [place for place, name in enumerate(train) if train[name].dtype == "float64"]
    counts = []
    for place in numbers:
        values, other = train.iloc[:, place].to_numpy(), test.iloc[:, place].to_numpy()
        pair = agreement(values, other, whole - first[:, place], of_test - again[:, place])
        if sum(pair):
            counts.append(pair)
    if not counts:
        return Finding(
            None, f"{found} equal a training row in every column, which values that come up often bring by themselves."
        )
    chances = holm([float(binom.sf(same - 1, same + near, 0.5)) for same, near in counts])
    same, near = counts[int(chances.argmin())]
    beside = f"{same} of those with a rare number equal a row that has it and none with the next, {near} the reverse"
    if chances.min() <= LEVEL:
        share = f"{found} ({twin.mean():.1%}) equal a training row in every column"
        return Finding(True, f"{share}: {beside}. They were seen in training.")
    return Finding(False, f"{found} equal a training row in every column, not shown to be more than chance: {beside}.")


def hashed(frame: pd.DataFrame) -> np.ndarray:
    """A number for each value (n, d), by value and column; their sum over a row tells rows apart."""
    columns = []
    for place, name in enumerate(frame):
        values = frame[name]
        # 0 and -0 are one number
        values = values + 0.0 if values.dtype == "float64" else values.astype(object).where(values.notna(), None)
        key = f"{place:016d}"
        columns.append(pd.util.hash_array(values.to_numpy(), hash_key=key, categorize=True))
    # of equal numbers in two columns too
    odd = np.random.default_rng(0).integers(1, 2**63, len(columns), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    return np.stack(columns, axis=1) * odd


def agreement(values: np.ndarray, other: np.ndarray, rest: np.ndarray, other_rest: np.ndarray) -> tuple[int, int]:
    """How many test rows agree with a training row of the same number alone, and with one of the next number alone.

    Args:
        values, other: a column of numbers in the training (m,) and test rows (n,).
        rest, other_rest: what tells the other columns of these rows apart.
    """
    order = np.lexsort((rest, values))
    order = order[~np.isnan(values[order])]
    values, rest = values[order], rest[order]
    low, high = np.searchsorted(values, other, "left"), np.searchsorted(values, other, "right")
    count = high - low
    most = min(MOST_SAME, max(1, int(RARE * len(values))))
    # the same number of rows on one side or the other, whichever has them; sides in turn
    above, below = high + count <= len(values), low - count >= 0
    picked = np.flatnonzero((count > 0) & (count <= most) & (above | below) & ~np.isnan(other))
    up = np.where(above & below, np.arange(len(other)) % 2 == 0, above)[picked]
    start = np.where(up, high[picked], low[picked] - count[picked])
    same, near = np.zeros(len(picked), dtype=bool), np.zeros(len(picked), dtype=bool)
    for step in range(int(count[picked].max(initial=0))):
        within = step < count[picked]
        for found, begin in ((same, low[picked]), (near, start)):
            found |= within & (rest[np.minimum(begin + step, len(rest) - 1)] == other_rest[picked])
    return int((same & ~near).sum()), int((near & ~same).sum())
