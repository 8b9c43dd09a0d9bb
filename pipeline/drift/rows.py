"""What tests look at: sets of rows, and rankings of rows, of both tables together.

A test never knows which rows are current ones. So without drift each of its sets falls on the two tables by chance
alone, and the p-value of how it fell is exact, whatever the column holds; that of a ranking is its normal limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

# How a value is written in words.
Say = Callable[[Any], str]


@dataclass(frozen=True)
class Sets:
    """S sets of rows. `words`: which rows each holds. `codes` (N,): the set of each row, S and above for none.

    `rows`: where a row may be in several sets, the row of each code; by default all, in their order.
    """

    words: Sequence[str]
    codes: np.ndarray
    rows: np.ndarray | None = None


def sets_of(masks: Iterable[tuple[str, np.ndarray]]) -> Sets | None:
    """Sets from their words and whether each row (N,) is in them; those of all rows or of none tell nothing."""
    telling = [(words, inside) for words, inside in masks if inside.any() and not inside.all()]
    if not telling:
        return None
    codes, rows = np.nonzero(np.array([inside for _, inside in telling]))
    return Sets([words for words, _ in telling], codes, rows)


@dataclass(frozen=True)
class Ranks:
    """The rank of each row, 0 to 1, ties sharing theirs. `words`: what larger and what smaller ranks mean."""

    words: tuple[str, str]
    values: np.ndarray


@dataclass(frozen=True)
class Units:
    """What falls on one table or the other as a whole: rows or, where rows come in groups, the groups.

    `of_row` (N,): the unit of each row, the reference's first; where rows are independent just 0 and 1, the two tables.
    `current` (U,): whether a unit is of the current table.
    """

    of_row: np.ndarray
    current: np.ndarray
    grouped: bool = False


@dataclass(frozen=True)
class Tally:
    """What the units have of S sets, or of one ranking: `sums` (U, S), and the number of their `rows` (U,).

    `words` of each set, or of larger and smaller ranks. `variance` of the ranks of all rows; None for sets.
    `inflation`: how much larger the variance of a share is than where rows fall on the tables by chance.
    """

    test: str
    words: Sequence[str]
    sums: np.ndarray
    rows: np.ndarray
    variance: float | None = None
    inflation: float = 1.0


def tally(test: str, measured: Sets | Ranks, units: np.ndarray, count: int) -> Tally:
    """The sums of `count` units; `units` (N,) has the unit of each row."""
    rows = np.bincount(units, minlength=count).astype(float)
    if isinstance(measured, Ranks):
        sums = np.bincount(units, measured.values, count)[:, None]
        return Tally(test, measured.words, sums, rows, float(measured.values.var()))
    size = len(measured.words)
    inside = measured.codes < size
    of_unit = units if measured.rows is None else units[measured.rows]
    cells = of_unit[inside] * size + measured.codes[inside]
    sums = np.bincount(cells, minlength=count * size).reshape(count, size).astype(float)
    return Tally(test, measured.words, sums, rows)


def units_of(reference: pd.DataFrame, current: pd.DataFrame, group: str) -> Units:
    """The units of two tables. A group with rows in both counts as one of each: that errs on the side of no alarm."""
    side = np.repeat([0, 1], [len(reference), len(current)])
    if not group:
        return Units(side, np.array([False, True]))
    labels = pd.factorize(pd.concat([reference[group], current[group]], ignore_index=True))[0]
    # a row without a group is one of its own
    alone = labels < 0
    labels[alone] = labels.max() + 1 + np.arange(alone.sum())
    different, codes = np.unique(2 * labels + side, return_inverse=True)
    return Units(codes, different % 2 == 1, grouped=True)
