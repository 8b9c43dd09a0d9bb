"""What a column is and how its values are written, learned once from a table and kept for every later row.

A frame of this project has float64 columns for numbers and object columns of text (None where missing) for everything
else: categories, text, and dates as ISO 8601, so that a row means the same in a file, in a request and in a model.
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from pipeline.console import PipelineError
from pipeline.tables.dates import Dates, read_dates
from pipeline.tables.numbers import Numbers, exact_numbers, is_mark, read_numbers

# Trees hold features as 32-bit floats.
LARGEST = 3e38
# float64 holds every whole number up to this one.
EXACT = 2**53
# Zero-width spaces and joins, byte order marks, soft hyphens.
INVISIBLE = dict.fromkeys(map(ord, "\u200b\u2060\ufeff\u00ad"))
PLAIN, ISO = Numbers("."), Dates()


@dataclass(frozen=True)
class Column:
    """The type of a column and what its values are written like.

    Args:
        kind: number, category, date, text or ignore.
        numbers, dates: the form of those.
        marks: words for missing values, as a person has listed them.
        words: of a target: its classes, which are told apart without upper and lower case.
        digits: what a number is in a column of words that came as a number, as spreadsheets and pandas make them of
            codes: "" its plain text, "5" text of five digits, "no" cannot be told.
        flags: the words for true and false, for the same reason.
        na_words: one of its words reads as missing to pandas (None, NA, ...).
    """

    kind: str
    numbers: Numbers = PLAIN
    dates: Dates = ISO
    marks: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    digits: str = ""
    flags: tuple[str, ...] = ()
    na_words: bool = False


def as_facts(column: Column) -> dict[str, Any]:
    """What differs from a plain column of its kind, as JSON's values."""
    plain, own = asdict(Column(column.kind)), asdict(column)
    return {name: value for name, value in own.items() if value != plain[name]}


def from_facts(kind: str, facts: Mapping[str, Any]) -> Column:
    """The column that as_facts has written. TypeError: it has not."""
    forms = {"numbers": Numbers, "dates": Dates}
    known = {field.name for field in fields(Column)}
    values: dict[str, Any] = {
        name: forms[name](**value) if name in forms else tuple(value) if isinstance(value, list) else value
        for name, value in facts.items()
    }
    if not values.keys() <= known:
        raise TypeError(f"unknown: {', '.join(values.keys() - known)}")
    return Column(**{**values, "kind": kind})


def read_columns(frame: pd.DataFrame, columns: Mapping[str, Column], where: str, strict: bool = True) -> pd.DataFrame:
    """The frame (n rows) with each column by its kind; columns without one are read as they look to pandas.

    Args:
        where: the file or the like, for messages.
        strict: with False a column with a value that does not fit stays text, for the caller to report.

    PipelineError: a value does not fit its column, or is too large; without strict only the latter.
    """
    read = {}
    for name in frame:
        column = columns.get(str(name))
        values = frame[name]
        found = plain_column(values) if column is None else read_column(values, column, f"{where}: column {name!r}")
        faulty = _faulty(values, found, column) if column and column.kind in ("number", "date") else np.zeros(0)
        if column and faulty.any():
            if strict:
                raise PipelineError(
                    f"{where}: column {name!r}: {at(values, faulty)} is no {column.kind}{_as_written(column)}; mend it"
                    ", or set its type to category"
                )
            found = as_text(values)
        if found.dtype == "float64":
            beyond = np.abs(found.to_numpy()) > LARGEST
            if beyond.any():
                raise PipelineError(
                    f"{where}: column {name!r}: {at(values, beyond)} is infinite or too large for a model; "
                    "mend it, or set its type to ignore"
                )
        read[name] = found
    return pd.DataFrame(read, index=frame.index)


def read_column(values: pd.Series, column: Column, where: str) -> pd.Series:
    """One column by its kind: float64, or text; NaN or None where a value is missing or does not fit."""
    if column.kind == "number":
        found = _numbers(values, column)
        return found.mask(_marked(values if is_number(values) else as_text(values), column)) if column.marks else found
    text = as_text(values, column, where)
    text = text.where(~_marked(text, column), None)
    if column.kind == "date":
        return read_dates(text, column.dates)
    if column.words:
        same = {word.casefold(): word for word in column.words}
        text = text.map(lambda word: same.get(word.casefold(), word), na_action="ignore")
    return text


def plain_column(values: pd.Series) -> pd.Series:
    """Numbers as float64, all other values as text with None for missing."""
    return values.astype("float64") if is_number(values) else as_text(values)


def normalise_types(frame: pd.DataFrame) -> pd.DataFrame:
    """Every column as plain_column has it."""
    return pd.DataFrame({name: plain_column(frame[name]) for name in frame}, index=frame.index)


def as_text(values: pd.Series, column: Column | None = None, where: str = "") -> pd.Series:
    """Text without surrounding white space; None where a value is missing or blank. PipelineError: a number stands
    where the column's words tell codes apart that are the same number (007 and 7).
    """
    present = values.notna()
    if pd.api.types.is_datetime64_any_dtype(values):
        text = values.map(pd.Timestamp.isoformat, na_action="ignore").astype(object)
    elif values.dtype == object and pd.api.types.infer_dtype(values, skipna=True) in ("string", "empty"):
        words = np.empty(len(values), dtype=object)
        words[:] = [trimmed(value) or None if isinstance(value, str) else None for value in values.to_numpy()]
        return pd.Series(words, index=values.index)
    elif values.dtype == object:
        # 1 and True are one key of a dictionary, and two words
        text = values.map(lambda value: _word(value, column, where), na_action="ignore")
    else:
        known = {value: _word(value, column, where) for value in values[present].unique()}
        text = values.astype(object).map(known, na_action="ignore")
    return text.astype(object).where(present & (text != ""), None)


def trimmed(text: str) -> str:
    """Text without white space around it, and without signs that nobody sees."""
    return (text if text.isascii() else text.translate(INVISIBLE)).strip()


def value_text(value: object) -> str:
    """A value as people write it: a whole float as the whole number that it is."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def at(values: pd.Series, faulty: np.ndarray) -> str:
    """The first faulty value and the line of a CSV file that it stands in, the header being line 1, by its label."""
    position = int(faulty.argmax())
    label = values.index[position]
    line = (label if isinstance(label, (int, np.integer)) else position) + 2
    return f"{str(values.iloc[position])[:40]!r} in line {line}"


def is_number(values: pd.Series) -> bool:
    other = pd.api.types.is_bool_dtype(values) or pd.api.types.is_complex_dtype(values)
    return pd.api.types.is_numeric_dtype(values) and not other


def _word(value: Any, column: Column | None, where: str) -> str:
    if isinstance(value, (bool, np.bool_)):
        flag = str(bool(value))
        flags = [word for word in (column.flags if column else ()) if word.lower() == flag.lower()]
        if len(flags) > 1:
            raise PipelineError(f"{where}: {flag} may be {' or '.join(flags)}; give it as text")
        return flags[0] if flags else flag
    if isinstance(value, (int, float, np.integer, np.floating)):
        if column is not None and isinstance(value, (float, np.floating)) and not abs(float(value)) <= EXACT:
            raise PipelineError(f"{where}: {value} is a number that may have lost digits or a word; give it as text")
        text = value_text(value if isinstance(value, (int, np.integer)) else float(value))
        if column is None or not column.digits:
            return text
        if column.digits == "no" or "." in text:
            raise PipelineError(f"{where}: {text} is a number, its values are words such as 007; give it as text")
        return text.zfill(int(column.digits))
    return value.isoformat() if hasattr(value, "isoformat") else trimmed(str(value))


def _marked(values: pd.Series, column: Column) -> pd.Series:
    """Which values, text or numbers, are marks of missing ones as a person has listed them: -999 also as -999.00."""
    if not column.marks:
        return pd.Series(False, index=values.index)
    marked = values.isin(column.marks)
    if column.kind == "number":
        listed = exact_numbers(pd.Series(column.marks, dtype=object)).dropna()
        marked |= _numbers(values, column).isin(listed)
    return marked


def _numbers(values: pd.Series, column: Column) -> pd.Series:
    """Floats: numbers of a typed format as they are, text by the column's way of writing."""
    if is_number(values):
        return values.astype("float64")
    typed = values.map(is_typed_number).to_numpy(dtype=bool)
    found = read_numbers(as_text(values.mask(typed, None)) if typed.any() else as_text(values), column.numbers)
    return found.mask(typed, values.where(typed).astype("float64")) if typed.any() else found


def is_typed_number(value: object) -> bool:
    """Whether a value is a number already, and no text of one."""
    return isinstance(value, (numbers.Real, Decimal)) and not isinstance(value, (bool, np.bool_)) and value == value


def _faulty(values: pd.Series, found: pd.Series, column: Column) -> np.ndarray:
    """Which values of numbers or dates were not read, though they are there, and no marks of missing ones (n,)."""
    faulty = (found.isna() & values.notna()).to_numpy()
    if faulty.any():
        left = values[faulty]
        text = as_text(left)
        there = text.notna() & ~_marked(text, column) & ~text.map(is_mark, na_action="ignore").eq(True)
        faulty[faulty] = there.to_numpy()
    return faulty


def _as_written(column: Column) -> str:
    """How the column's values are written, in words for a message; empty where it goes without saying."""
    if column.kind == "number":
        sign = {".": " with a decimal point", ",": " with a decimal comma", "": ""}[column.numbers.decimal]
        return sign + (f" and {column.numbers.affix}" if column.numbers.affix else "")
    return f" written as {column.dates.form}" if column.dates.form != "iso" else ""
