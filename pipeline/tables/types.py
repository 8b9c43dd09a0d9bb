"""Values and what a column is: numbers, dates, text or categories.

A frame of this project has float64 columns for numbers and object columns of text (None where missing) for everything
else: categories, text, and dates as ISO 8601, so that a row means the same in a file, in a request and in a model.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.console import PipelineError

# Categories that a contract lists; a column with more distinct values is not held to them.
LISTED_CATEGORIES = 100
TEXT_WORDS = 4
# Trees hold features as 32-bit floats.
LARGEST = 3e38
# A column with so many different values, of which this share are numbers, was meant to hold numbers.
SEVERAL, MOSTLY = 20, 0.9
DECORATED = re.compile(
    r"(?P<open>\()?\s*(?:(?P<sign>[-+])?\s*[$€£¥]?|[$€£¥]\s*(?P<inner>[-+]))\s*(?P<number>\d{1,3}(?:[,']\d{3})+(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)"
    r"\s*(?P<percent>%)?\s*[$€£¥]?\s*(?P<close>\))?"
)
# pandas takes a number beyond float64 for text
OVERFLOW = re.compile(r"[-+]?\d+(\.\d*)?[eE]\+?\d+|[-+]?\d{300,}(\.\d*)?")
DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}"
    r"|\d{1,2}[ -][A-Za-z]{3,9}\.?,?[ -]\d{4}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4})([T ]\d{1,2}:\d{2}.*)?"
)


def normalise_types(frame: pd.DataFrame) -> pd.DataFrame:
    """Numeric columns as float64, all others as text with None for missing."""
    columns = {}
    for name in frame:
        column = frame[name]
        if _is_number(column):
            columns[name] = column.astype("float64")
        elif isinstance(column.dtype, pd.CategoricalDtype) or column.dtype == bool:
            columns[name] = column.astype(object).map(str, na_action="ignore").where(column.notna(), None)
        else:
            columns[name] = column.astype(object).where(column.notna(), None)
    return pd.DataFrame(columns, index=frame.index)


def convert(frame: pd.DataFrame, types: Mapping[str, str], path: Path, strict: bool = True) -> pd.DataFrame:
    """Numbers from text with currency, percent and thousands signs; dates as ISO 8601; the rest as trimmed text.
    PipelineError: a value is no number, no date, or too large; without strict only the latter.
    """
    columns = {}
    for name in frame:
        kind, column = types.get(name, ""), frame[name]
        if kind in ("number", "date"):
            parsed = parse_numbers(column) if kind == "number" else parse_dates(column)
            faulty = (parsed.isna() & column.notna()).to_numpy()
            if faulty.any() and strict:
                raise PipelineError(
                    f"{path}: column {name!r}: {_at(column, faulty)} is no {kind}; mend it, or set its type to category"
                )
            column = column if faulty.any() else parsed
        elif kind:
            column = as_trimmed_text(column)
        if _is_number(column):
            beyond = np.abs(column.to_numpy(dtype="float64", na_value=np.nan)) > LARGEST
            if beyond.any():
                raise PipelineError(
                    f"{path}: column {name!r}: {_at(frame[name], beyond)} is infinite or too large for a model; "
                    "mend it, or set its type to ignore"
                )
        columns[name] = column
    return frame.assign(**columns)


def infer_type(column: pd.Series) -> str:
    """number, date, text or category, by the distinct values of a column."""
    if _is_number(column):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(column):
        return "date"
    values = pd.Series(as_trimmed_text(column).dropna().unique(), dtype=object)
    if values.empty:
        return "category"
    # 007 is a code, and 7 another one
    codes = values.str.fullmatch(r"0\d+").any()
    if not codes and parse_numbers(values).notna().all():
        return "number"
    if parse_dates(values).notna().all():
        return "date"
    several_words = values.str.count(r"\s").mean() >= TEXT_WORDS - 1
    return "text" if several_words and len(values) > LISTED_CATEGORIES else "category"


def parse_numbers(column: pd.Series) -> pd.Series:
    """Floats; NaN where a value is missing or no number. `$1,234.50`, `(12)` for -12, `45 %` for 0.45 are numbers."""
    if _is_number(column):
        return column.astype("float64")
    text = as_trimmed_text(column)
    numbers = pd.to_numeric(text, errors="coerce").astype("float64")
    decorated = text[numbers.isna() & text.notna()]
    if decorated.empty:
        return numbers
    known = {value: _decorated_number(value) for value in decorated.unique()}
    return numbers.where(~numbers.index.isin(decorated.index), decorated.map(known).reindex(numbers.index))


def word_among_numbers(column: pd.Series) -> str:
    """The first value of a column that is no number, and its line, where most of its different values are numbers.

    Empty where there is none, for few different values, and for codes such as 007.
    """
    text = as_trimmed_text(column)
    values = pd.Series(text.dropna().unique(), dtype=object)
    if len(values) < SEVERAL or values.str.fullmatch(r"0\d+").any():
        return ""
    # a million different words are told by the first of them
    if parse_numbers(values.head(SEVERAL**2)).notna().mean() < MOSTLY:
        return ""
    words = values[parse_numbers(values).isna()]
    return _at(column, text.isin(words).to_numpy()) if len(words) else ""


def parse_dates(column: pd.Series) -> pd.Series:
    """ISO 8601 text of points in time (UTC where a zone is given); None where a value is missing or no date.

    Day and month are taken in the order in which more values are dates, month first where that does not tell.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        best = pd.to_datetime(column, utc=True)
    else:
        text = as_trimmed_text(column)
        looks = text.where(text.str.fullmatch(DATE.pattern, na=False))
        if looks.isna().all():
            return pd.Series(None, index=column.index, dtype=object)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tries = [pd.to_datetime(looks, dayfirst=first, errors="coerce", utc=True) for first in (False, True)]
        best = max(tries, key=lambda found: found.notna().sum())
    whole_days = (best.dropna() == best.dropna().dt.normalize()).all()
    written = best.dt.strftime("%Y-%m-%d" if whole_days else "%Y-%m-%dT%H:%M:%S")
    return written.astype(object).where(best.notna(), None)


def as_trimmed_text(column: pd.Series) -> pd.Series:
    """Text without surrounding white space; None where a value is missing or blank."""
    present = column.notna()
    if pd.api.types.is_datetime64_any_dtype(column):
        text = column.astype(str)
    elif column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) in ("string", "empty"):
        text = column.astype(object).str.strip()
    else:
        text = column.astype(object).map(value_text, na_action="ignore").str.strip() if present.any() else column
    return text.astype(object).where(present & (text != ""), None)


def value_text(value: object) -> str:
    """A value as people write it: a whole float as the whole number that it is."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _decorated_number(text: str) -> float:
    if OVERFLOW.fullmatch(text):
        return float(text)
    match = DECORATED.fullmatch(text)
    if match is None or bool(match["open"]) != bool(match["close"]):
        return float("nan")
    number = float(match["number"].replace(",", "").replace("'", ""))
    number = number / 100 if match["percent"] else number
    return -number if match["open"] or "-" in (match["sign"], match["inner"]) else number


def _at(column: pd.Series, faulty: object) -> str:
    """The first faulty value and the line of a CSV file that it stands in, the header being line 1."""
    position = int(faulty.argmax())  # type: ignore[attr-defined]
    return f"{str(column.iloc[position])[:40]!r} in line {position + 2}"


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
