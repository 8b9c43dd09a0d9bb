"""What is tested of a column: its kind, its values, and what each test makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.drift.column import percent
from pipeline.drift.registry import MISSING, TESTS
from pipeline.drift.rows import Sets, Tally, Units, tally
from pipeline.drift.words import counted
from pipeline.tables.columns import value_text

NO_NUMBERS = "numbers before, other values now"
NO_LABELS = "categories before, numbers now"
NO_DATES = "dates before, other values now"
CONSTANT = "constant"
# Words of a column with more different ones, and in this share of its rows, are text.
TEXT_VALUES, TEXT_SHARE = 100, 0.5
ISO_WRITTEN = r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d+)?Z?)?"


@dataclass(frozen=True)
class Column:
    """A column of both tables as it is tested: the values (N,) of rows that have one, the `old` ones of the reference
    first, and in `gaps` (n,) which of all rows have none. `note`: why it is not tested, in words; then without values.
    """

    kind: str
    values: np.ndarray
    old: int
    gaps: np.ndarray
    note: str = ""

    def say(self, value: Any) -> str:
        """A value in words."""
        if self.kind == "date":
            text = np.datetime64(int(value), "s").item().isoformat()
            return text.removesuffix("T00:00:00")
        return value_text(value) if isinstance(value, str) else f"{value:.6g}"

    def level(self) -> str:
        """Median of numbers and dates, share of the category that moved most, before and now, in words."""
        sides = self.values[: self.old], self.values[self.old :]
        if self.kind in ("number", "date"):
            before, now = (self.say(np.quantile(side, 0.5, method="lower")) for side in sides)
            return f"median {before} before, {now} now"
        if self.kind == "text":
            before, now = (f"{np.median([len(text) for text in side]):g}" for side in sides)
            return f"median length {before} before, {now} now"
        old, new = (pd.Series(side).value_counts(normalize=True) for side in sides)
        moved = new.sub(old, fill_value=0.0)
        most = moved.abs().sort_index().idxmax()
        return f"{most} {percent(old.get(most, 0.0))} before, {percent(new.get(most, 0.0))} now"

    def kolmogorov_smirnov(self) -> tuple[float, float] | tuple[None, None]:
        """Statistic and p-value of numbers, for those who know it by heart."""
        if self.kind != "number":
            return None, None
        found = stats.ks_2samp(self.values[: self.old], self.values[self.old :])
        return float(found.statistic), float(found.pvalue)


def read_column(old: pd.Series, new: pd.Series, declared: str, is_target: bool = False) -> Column:
    """A column of both tables; `declared` is its type, "class" for classes and "" where none is."""
    both = pd.concat([old, new], ignore_index=True)
    gaps = both.isna().to_numpy()
    values, before = both[~gaps], int((~gaps[: len(old)]).sum())

    def untested(note: str) -> Column:
        return Column("other", np.array([]), 0, gaps, note)

    empty = [side for side, found in (("reference", old), ("current", new)) if found.isna().all()]
    if empty:
        return untested(f"all empty in the {' and '.join(empty)} table")
    numbers = [side.dtype == "float64" for side in (old, new)]
    if declared == "class" or not any(numbers):
        words = values.map(value_text).to_numpy(dtype=object)
    elif not all(numbers):
        return untested(NO_NUMBERS if numbers[0] else NO_LABELS)
    else:
        words = values.to_numpy(dtype=float)
    if len(pd.unique(words)) == 1:
        return untested(CONSTANT)
    if declared == "date" and not any(numbers):
        if not pd.Series(words).str.fullmatch(ISO_WRITTEN).all():
            return untested(NO_DATES)
        try:
            stamps = np.array([text.removesuffix("Z") for text in words], dtype="datetime64[us]")
        except ValueError:
            return untested(NO_DATES)
        return Column("date", stamps.astype("datetime64[s]").astype(float), before, gaps)
    if all(numbers) and declared != "class":
        return Column("number", words, before, gaps)
    many = len(pd.unique(words[:before])) > max(TEXT_VALUES, TEXT_SHARE * before)
    is_text = declared == "text" or (many and declared not in ("class", "category") and not is_target)
    return Column("text" if is_text else "category", words, before, gaps)


def tallies_of(column: Column, units: Units) -> Iterator[Tally]:
    """What every test of its kind makes of a column, and how missing values fall."""
    count = len(units.current)
    if column.gaps.any() and not column.gaps.all():
        yield tally(MISSING, Sets(["no value"], np.where(column.gaps, 0, 1)), units.of_row, count)
    if column.note:
        return
    filled = units.of_row[~column.gaps]
    for name, test in TESTS.items():
        if column.kind in test.kinds and (measured := test.measure(column.values, column.say)):
            yield tally(name, measured, filled, count)
    if column.kind == "text":
        for property_, numbers in counted(column.values).items():
            for name, test in TESTS.items():
                if "number" in test.kinds and (measured := test.measure(numbers, _say_of(property_))):
                    yield tally(name, measured, filled, count)


def _say_of(words: str) -> Callable[[Any], str]:
    return lambda value: f"{value:.3g} as {words}"
