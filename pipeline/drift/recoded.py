"""Columns that were renamed or written in another way as a whole, and rows that are no new ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.drift.column import listed
from pipeline.drift.measure import NO_LABELS, NO_NUMBERS, Column, read_column

# Columns are distributed alike where Kolmogorov and Smirnov's statistic, or half the sum of what the shares of
# categories differ by, is below this.
ALIKE = 0.1
# Of a recoded column at most this share of current values was there before.
KNOWN_VALUES = 0.05
# A scale is told where it is this far from 1.
SCALED = 1.25


def renamed(reference: pd.DataFrame, current: pd.DataFrame, types: Mapping[str, str]) -> dict[str, str]:
    """The new names of absent columns, where just one column that only the current table has is distributed alike."""
    extra = [name for name in current if name not in reference]
    found = {}
    for name in types:
        if name not in current and name in reference:
            alike = [other for other in extra if _are_alike(reference[name], current[other], types[name])]
            if len(alike) == 1:
                found[name] = alike[0]
    return found


def _are_alike(old: pd.Series, new: pd.Series, declared: str) -> bool:
    if old.dtype == "float64" and new.dtype != "float64":
        # a column that nobody knows is words
        new = pd.to_numeric(new, errors="coerce").astype(float)
    column = read_column(old, new, declared)
    before, now = column.values[: column.old], column.values[column.old :]
    if column.note or column.kind == "text":
        return False
    if column.kind == "category":
        shares = [pd.Series(side).value_counts(normalize=True) for side in (before, now)]
        return bool(shares[0].sub(shares[1], fill_value=0.0).abs().sum() / 2 < ALIKE)
    return bool(stats.ks_2samp(before, now).statistic < ALIKE)


def recoded(column: Column, old: pd.Series, new: pd.Series) -> str:
    """How a column is written otherwise as a whole, in words; empty where it is not."""
    if column.note in (NO_NUMBERS, NO_LABELS):
        return _words(old, new)
    before, now = column.values[: column.old], column.values[column.old :]
    if column.kind == "category":
        return _words(pd.Series(before), pd.Series(now)) if pd.Series(now).isin(before).mean() <= KNOWN_VALUES else ""
    if column.kind != "number":
        return ""
    at = np.linspace(0.05, 0.95, 19)
    q_before, q_now = np.quantile(before, at), np.quantile(now, at)
    for sign in (1, -1):
        # the other sign turns the order round
        shape = q_before if sign == 1 else -q_before[::-1]
        if shape @ shape == 0:
            continue
        scale = float(shape @ q_now / (shape @ shape))
        if scale > 0 and stats.ks_2samp(sign * scale * before, now).statistic < ALIKE:
            same = sign == 1 and 1 / SCALED < scale < SCALED
            return "" if same else f"has values that are about {sign * scale:.3g} times those before"
    return ""


def _words(old: pd.Series, new: pd.Series) -> str:
    before, now = (listed(sorted(map(str, side.dropna().unique()[:100]))[:4]) for side in (old, new))
    return f"was recoded as a whole: {before} before, {now} now"


def share_of_copies(table: pd.DataFrame, current: pd.DataFrame) -> float:
    """The share of current rows that are rows of the table, by all columns of both; 0 where rows of the table itself
    come up several times, so that it tells nothing.
    """
    names = [name for name in table if name in current]
    hashes = [pd.util.hash_pandas_object(side[names], index=False) for side in (table, current)]
    if hashes[0].duplicated(keep=False).mean() > 0.5:
        return 0.0
    return float(hashes[1].isin(set(hashes[0])).mean())
