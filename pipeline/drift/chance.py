"""How likely what was found is by chance alone: exact where rows are independent, resampled where they are in groups.

Both correct for all that was looked at: of many tables without drift at most the share alpha raises an alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from pipeline.drift.rows import Tally, Units

PERMUTATIONS = 4000
# Permutations at a time, so that 40 MB hold them.
CHUNK_CELLS = 5_000_000
# A change is called visible that would be found this often.
POWER = 0.9
SAME = 1e-12


@dataclass(frozen=True)
class Chances:
    """Of S sets and ranks: p-values (S,), and corrected ones.

    `visible`: the smallest change of a share of one half that is found POWER of the time, as change_of measures it.
    """

    p_values: np.ndarray
    corrected: np.ndarray
    visible: float


def chances(tallies: Sequence[Tally], units: Units, alpha: float, min_change: float, seed: int) -> Chances:
    """What is found in the tallies, as chance alone would bring it, at the level alpha; min_change: see change_of."""
    counts = float(np.arcsin(2 * min_change))
    if units.grouped:
        return _by_groups(tallies, units.current, alpha, counts, seed)
    return _exact(tallies, alpha, counts)


def _exact(tallies: Sequence[Tally], alpha: float, counts: float) -> Chances:
    """Of independent rows; the units are the two tables.

    Sets: how many of K rows are current ones is hypergeometric; twice the smaller tail. Ranks: the normal limit of
    their sum, with its variance under permutation. Correction: the union bound over all for which so small a p-value
    was possible at all (Tarone 1990).
    """
    p_values, smallest = [], []
    for one in tallies:
        old, new = one.rows
        total = old + new
        if one.variance is None:
            members, current = one.sums.sum(axis=0), one.sums[1]
            law = stats.hypergeom(total, members, new)
            p_values.append(2 * np.minimum(law.cdf(current), law.sf(current - 1)))
            ends = np.minimum(members, new), np.maximum(0, members - old)
            smallest.append(2 * np.minimum(law.pmf(ends[0]), law.pmf(ends[1])))
        else:
            # ranks that are all the same have the variance of rounding
            spread = one.variance if one.variance > SAME else 0.0
            error = np.sqrt(one.inflation * spread * total**2 / max(total - 1, 1) / (old * new))
            difference = one.sums[1] / new - one.sums[0] / old
            p_values.append(2 * stats.norm.sf(np.abs(difference) / error) if error else np.ones(1))
            smallest.append(np.zeros(1))
    p, least = np.minimum(1, np.concatenate(p_values)), np.sort(np.concatenate(smallest))
    # a little slack, since both come from sums of small numbers
    possible = np.searchsorted(least, p * (1 + 1e-9), side="right")
    rows = np.max([one.rows for one in tallies], axis=0)
    needed = stats.norm.isf(alpha / (2 * len(p)))
    return Chances(p, np.minimum(1, p * possible), _visible(float(np.sqrt((1 / rows).sum())), needed, counts))


def _by_groups(tallies: Sequence[Tally], current: np.ndarray, alpha: float, counts: float, seed: int) -> Chances:
    """Of rows that come in groups, which are the units.

    Which groups are current ones (current (U,) is true) is drawn again PERMUTATIONS times. Shares are compared on the
    arcsine scale, in standard errors; the corrected p-value is that of the largest of all (Westfall & Young 1993).
    """
    rng = np.random.default_rng(seed)
    chosen = current.astype(float)
    size = max(1, min(PERMUTATIONS, CHUNK_CELLS // max(len(current), sum(one.sums.shape[1] for one in tallies))))
    found = _arcsine(chosen[None], tallies)[0]
    parts = []
    for first in range(0, PERMUTATIONS, size):
        picked = rng.permuted(np.tile(chosen, (min(size, PERMUTATIONS - first), 1)), axis=1)
        parts.append(_arcsine(picked, tallies))
    drawn = np.concatenate(parts)
    center, error = np.nanmean(drawn, axis=0), np.nanstd(drawn, axis=0)
    error[~(error > 0)] = np.inf
    inflation = np.concatenate([np.full(one.sums.shape[1], one.inflation) for one in tallies])
    found, drawn = (
        np.nan_to_num(np.abs(found - center) / error / np.sqrt(inflation)),
        np.nan_to_num(np.abs(drawn - center) / error),
    )
    # what was found is a permutation of its own: it is among those that reach it
    slack = found * (1 - 1e-9)
    p_values = (1 + (drawn >= slack).sum(axis=0)) / (1 + PERMUTATIONS)
    largest = np.sort(drawn.max(axis=1))
    corrected = (1 + PERMUTATIONS - np.searchsorted(largest, slack, side="left")) / (1 + PERMUTATIONS)
    # where too few groups are there, or too much is asked at once, no draw can be rare enough
    blind = max(2 / special.comb(len(current), current.sum()), 1 / (1 + PERMUTATIONS)) >= alpha
    usual = float(np.median(error[np.isfinite(error)])) if np.isfinite(error).any() else np.inf
    needed = float(np.quantile(largest, 1 - alpha))
    return Chances(p_values, corrected, _visible(np.inf if blind else usual, needed, counts))


def _arcsine(picked: np.ndarray, tallies: Sequence[Tally]) -> np.ndarray:
    """Cohen's h of all sets (k, S) between the groups that a row of picked (k, U) has and others; NaN without rows."""
    parts = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for one in tallies:
            now = picked @ one.sums / (picked @ one.rows)[:, None]
            before = (1 - picked) @ one.sums / ((1 - picked) @ one.rows)[:, None]
            parts.append(np.arcsin(np.sqrt(np.clip(now, 0, 1))) - np.arcsin(np.sqrt(np.clip(before, 0, 1))))
    return 2 * np.concatenate(parts, axis=1)


def _visible(error: float, needed: float, counts: float) -> float:
    """The change of one half that is found POWER of the time, where `needed` standard errors and a change of `counts`
    are called drift.

    Args:
        error: of the difference, on the arcsine scale, as `counts` is.
    """
    h = max(error * needed, counts) + error * stats.norm.ppf(POWER)
    return float(0.5 * np.sin(min(h, np.pi / 2)))
