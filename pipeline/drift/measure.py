"""What is tested of a column: its kind, its values, and what each test makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.drift.column import NO_VALUE, percent
from pipeline.drift.registry import MISSING, ODD, TESTS
from pipeline.drift.rows import Ranks, Sets, Tally, Units, tally
from pipeline.drift.words import counted
from pipeline.tables.columns import value_text

NO_NUMBERS = "numbers before, other values now"
NO_LABELS = "categories before, numbers now"
NO_DATES = "dates before, other values now"
# A column with a larger share of values that are none of its kind, in either table, is of another one now.
MOST_ODD = 0.5
MANY_DIGITS = 1e6
# Ranks are compared where the smaller table has so many rows, those of tied values counted as what they tell.
FEWEST_UNTIED = 20
STAMP = "datetime64[us]"
CONSTANT = "constant"
# Words of a column with more different ones, and in this share of its rows, are text.
TEXT_VALUES, TEXT_SHARE = 100, 0.5
ISO_WRITTEN = r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d+)?Z?)?"


@dataclass(frozen=True)
class Column:
    """A column of both tables as it is tested: the values (N,) of rows that have one, the `old` ones of the reference
    first; in `gaps` (n,) which of all rows have none, and in `odd` (n,) whose value is none of its kind. `note`: why it
    is not tested, in words; then without values.
    """

    kind: str
    values: np.ndarray
    old: int
    gaps: np.ndarray
    odd: np.ndarray
    note: str = ""

    def say(self, value: Any) -> str:
        """A value in words."""
        if self.kind == "date":
            return str(np.datetime64(int(value), "s")).removesuffix("T00:00:00")
        if isinstance(value, str):
            return repr(value)
        # whole numbers of many digits, such as times in seconds, differ in the last ones
        return f"{value:.{15 if abs(value) >= MANY_DIGITS else 6}g}"

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
    odd, is_old = np.zeros(len(both), dtype=bool), np.arange(len(both)) < len(old)

    def column(kind: str, values: np.ndarray, note: str = "") -> Column:
        return Column(kind, values, 0 if note else int((is_old & ~gaps & ~odd).sum()), gaps, odd, note)

    def untested(note: str) -> Column:
        return column("other", np.array([]), note)

    empty = [side for side, found in (("reference", old), ("current", new)) if found.isna().all()]
    if empty:
        return untested(f"all empty in the {' and '.join(empty)} table")
    numbers = [side.dtype == "float64" for side in (old, new)]
    if declared != "class" and (numbers[0] or (declared == "date" and not numbers[1])):
        parsed = pd.to_numeric(both, errors="coerce").to_numpy(dtype=float) if numbers[0] else seconds(both)
        odd = np.isnan(parsed) & ~gaps
        if any(odd[side & ~gaps].mean() > MOST_ODD for side in (is_old, ~is_old)):
            return untested(NO_NUMBERS if numbers[0] else NO_DATES)
        values = parsed[~gaps & ~odd]
        return column("number" if numbers[0] else "date", values) if np.ptp(values) or odd.any() else untested(CONSTANT)
    if declared != "class" and numbers[1]:
        return untested(NO_LABELS)
    words = both[~gaps].map(value_text).to_numpy(dtype=object)
    if len(pd.unique(words)) == 1:
        return untested(CONSTANT)
    before = words[: (is_old & ~gaps).sum()]
    many = len(pd.unique(before)) > max(TEXT_VALUES, TEXT_SHARE * len(before))
    is_text = declared == "text" or (many and declared not in ("class", "category") and not is_target)
    return column("text" if is_text else "category", words)


def seconds(values: pd.Series) -> np.ndarray:
    """Dates as ISO 8601 writes them, in seconds since 1970, of any year; NaN for what is missing or no date."""
    found = np.full(len(values), np.nan)
    written = values.astype(str).str.fullmatch(ISO_WRITTEN).to_numpy() & values.notna().to_numpy()
    texts = [text.removesuffix("Z") for text in values[written]]
    try:
        stamps = np.array(texts, dtype=STAMP)
    except ValueError:
        stamps = np.array([_stamp(text) for text in texts], dtype=STAMP)
    found[written] = np.where(np.isnat(stamps), np.nan, stamps.astype("datetime64[s]").astype(float))
    return found


def _stamp(text: str) -> np.datetime64:
    try:
        return np.datetime64(text, "us")
    except ValueError:
        # such as 30 February
        return np.datetime64("NaT", "us")


def tallies_of(column: Column, units: Units) -> Iterator[Tally]:
    """What every test of its kind makes of a column, and how missing values and odd ones fall."""
    count = len(units.current)
    if column.gaps.any() and not column.gaps.all():
        yield tally(MISSING, Sets([NO_VALUE], np.where(column.gaps, 0, 1)), units.of_row, count)
    if column.note:
        return
    if column.odd.any():
        odd = Sets([f"a value that is no {column.kind}"], np.where(column.odd, 0, 1)[~column.gaps])
        yield tally(ODD, odd, units.of_row[~column.gaps], count)
    filled = units.of_row[~column.gaps & ~column.odd]
    views = [("", column.kind, column.values)]
    if column.kind == "text":
        views += [(name, "number", numbers) for name, numbers in counted(column.values).items()]
    for of, kind, values in views:
        for name, test in TESTS.items():
            measured = test.measure(values, column.say) if kind in test.kinds else None
            if isinstance(measured, Sets):
                words = [f"a {of} of {word}" for word in measured.words] if of else measured.words
                yield tally(name, replace(measured, words=words), filled, count)
            elif measured is not None and is_normal(measured, units, filled):
                more, less = (f"{word} of its {of}" if of else word for word in measured.words)
                yield tally(name, replace(measured, words=(more, less)), filled, count)


def is_normal(ranks: Ranks, units: Units, filled: np.ndarray) -> bool:
    """Whether the sum of ranks is near enough to normal: not where few rows are not of the commonest value."""
    smaller = min(np.bincount(units.current[filled].astype(int), minlength=2))
    shares = np.unique(ranks.values, return_counts=True)[1] / len(ranks.values)
    return bool(smaller * (1 - (shares**2).sum()) >= FEWEST_UNTIED)
