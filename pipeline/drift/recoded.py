"""Columns that were renamed or written in another way as a whole, and rows that are no new ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.drift.column import listed
from pipeline.drift.measure import NO_LABELS, NO_NUMBERS, Column, read_column
from pipeline.tables.columns import value_text

# Columns are distributed alike where Kolmogorov and Smirnov's statistic, or half the sum of what the shares of
# categories differ by, is below this.
ALIKE = 0.1
# Of a recoded column at most this share of current values was there before.
KNOWN_VALUES = 0.05
# A number of which nearly every value is different may be an identifier.
RUNNING = 0.95
LATER = "lies wholly beyond the reference"
# A share of copies that chance does not make.
MORE_THAN_CHANCE = 0.1
# A scale is told where it is this far from 1.
SCALED = 1.25


def renamed(reference: pd.DataFrame, current: pd.DataFrame, types: Mapping[str, str]) -> dict[str, str]:
    """The new names of absent columns, where just one column that only the current table has is called so
    but for capitals, or distributed alike."""
    extra = [name for name in current if name not in reference]
    found = {}
    for name in types:
        if name not in current and name in reference:
            same = [other for other in extra if str(other).casefold() == str(name).casefold()]
            alike = [other for other in extra if _are_alike(reference[name], current[other], types[name])]
            if len(same or alike) == 1:
                found[name] = (same or alike)[0]
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
    if column.kind in ("number", "date") and len(now) > 1 and now.min() > before.max():
        if column.kind == "date":
            return f"{LATER}; if it moves on in time, name it below drift.moving in params.yaml"
        if min(len(np.unique(side)) / len(side) for side in (before, now)) > RUNNING:
            return f"{LATER}; if it is a running number, set its type to ignore"
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
    before, now = (listed(sorted(repr(value_text(v)) for v in side.dropna().unique()[:100])[:4]) for side in (old, new))
    return f"was recoded as a whole: {before} before, {now} now"


def is_part_of(current: pd.DataFrame, reference: pd.DataFrame) -> bool:
    """Whether all current rows are rows of the reference, so that comparing them says nothing."""
    return bool(copies_of(reference, current).all()) or current.equals(reference)


def copies_of(table: pd.DataFrame, current: pd.DataFrame) -> np.ndarray:
    """Which current rows (m,) are rows of the table, by all columns of both, each as often as the table has it.

    None, where not clearly more than chance makes equal: then rows of the table itself are often the same too.
    """
    names = [name for name in table if name in current]
    old, new = (pd.util.hash_pandas_object(side[names], index=False) for side in (table, current))
    copies = (new.groupby(new).cumcount() < new.map(old.value_counts()).fillna(0)).to_numpy()
    chance = float(old.duplicated(keep=False).mean())
    return copies if copies.mean() > chance + MORE_THAN_CHANCE else np.zeros(len(new), dtype=bool)
