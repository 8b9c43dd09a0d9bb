"""What each column of a user's table is: decided by all of its values and its name, and said where it is not plain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from pipeline.console import PipelineError
from pipeline.settings import Dataset
from pipeline.tables.columns import Column, as_text, at, is_number, value_text
from pipeline.tables.dates import DATE_NAME, ORDERS, DateEvidence, find_dates
from pipeline.tables.numbers import Evidence, Numbers, find_numbers, is_mark

# Categories that a contract lists; a column with more distinct values is not held to them.
LISTED_CATEGORIES = 100
TEXT_WORDS = 4
# A column with so many different values, of which this share are numbers or dates, was meant to hold them.
SEVERAL, MOSTLY = 20, 0.9
# A float tells whole numbers apart up to so many digits.
EXACT_DIGITS = 15
LONG_CODE, CODES_DISTINCT = 9, 0.5
CODE_NAME = re.compile(
    r"(.*_)?(phone|telephone|tel|mobile|fax|msisdn|zip|zip_?code|postcode|postal_?code|plz|postleitzahl|cap|iban|bic|ssn|sku|ean|upc"
    r"|gtin|isbn|imei|barcode|siret|siren|passport|(phone|telephone|tel|mobile|fax|account|acct|card|konto|konto_?nr|policy|invoice"
    r"|order|contract|tax|vat|serial|licen[cs]e)(_?(number|no|nr|num|code))|account|acct)"
)
SECONDS, SECONDS_NAME = (9e8, 2.2e9), re.compile(r"(?i).*(time|epoch|unix|date|stamp|(^|_)ts($|_)|_at$).*")
# Words that pandas reads as missing; a column where they are values needs rows that it has not read.
# fmt: off
PANDAS_MISSING = frozenset((
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
))
# fmt: on


@dataclass(frozen=True)
class Decision:
    """A column, how it was read in words, and where that is not plain, why and what to write to change it."""

    column: Column
    decided: str = ""
    why: str = ""
    change: str = ""


@dataclass(frozen=True)
class Understood:
    """A line of the table of columns that people read.

    `role`: target, group, time, dropped or "". `examples`: values as the source has them. `missing`: their share.
    """

    column: str
    kind: str
    role: str
    examples: tuple[str, ...]
    missing: float
    decided: str
    why: str
    change: str

    @property
    def said(self) -> str:
        """What was decided and why, where it is not plain."""
        return "; ".join(filter(None, (self.decided, self.why)))


@dataclass(frozen=True)
class Hints:
    """What columns that are plain say of the file: its decimal sign ("" where they say none, or two), and whether the
    day comes first in its dates.
    """

    decimal: str = ""
    dayfirst: bool | None = None


def decide_columns(raw: pd.DataFrame, dataset: Dataset) -> dict[str, Decision]:
    """What each column of a table is, its values as the source has them. PipelineError: the numbers or dates of a
    column read as two different ones, and nothing in the file or the settings tells which.
    """
    texts = {str(name): _unmarked(as_text(raw[name]), str(name), dataset) for name in raw}
    found = {name: evidence_of(name, text, raw[name], dataset) for name, text in texts.items()}
    signs = {numbers.numbers.decimal for numbers, _ in found.values() if not numbers.word} - {""}
    orders = {
        dates.dates.form == "day first"
        for _, dates in found.values()
        if dates.dates and dates.dates.form in ORDERS and not dates.doubtful
    }
    hints = Hints(*(signs if len(signs) == 1 else [""]), *(orders if len(orders) == 1 else [None]))
    return {name: decide(name, text, raw[name], *found[name], hints, dataset) for name, text in texts.items()}


def evidence_of(name: str, text: pd.Series, raw: pd.Series, dataset: Dataset) -> tuple[Evidence, DateEvidence]:
    """What the values of a column say of it as numbers and as dates, by themselves."""
    kind, values = kind_set(name, dataset), readable(text)
    numbers, dates = Evidence(Numbers(), word="none"), DateEvidence()
    if pd.api.types.is_datetime64_any_dtype(raw):
        return numbers, find_dates(values, name)
    if kind in ("", "number") and values:
        if is_number(raw):
            numbers = Evidence(Numbers("."))
        elif kind or not any(map(_leading_zero, values)):
            numbers = find_numbers(values)
    # bare numbers are dates only where the header says so
    if kind == "date" or (not kind and (numbers.word or DATE_NAME.fullmatch(name))):
        dates = find_dates(values, name, _setting(dataset.dayfirst, name))
    return numbers, dates


def kind_set(name: str, dataset: Dataset) -> str:
    """The type of a column that the settings say; empty where they say none."""
    if name == dataset.target and dataset.task == "regression":
        return "number"
    return dataset.types.get(name) or ("ignore" if name in dataset.drop else "")


def decide(
    name: str,
    text: pd.Series,
    raw: pd.Series,
    numbers: Evidence,
    dates: DateEvidence,
    hints: Hints,
    dataset: Dataset,
) -> Decision:
    """What a column is, by the evidence, the settings and what its neighbours say. PipelineError: as decide_columns."""
    kind, values, where = kind_set(name, dataset), readable(text), f"{dataset.source}: column {name!r}"
    column = Column(kind or "category", marks=_marks(dataset, name))
    if dates.doubtful:
        dates = find_dates(values, name, hints.dayfirst)
    if dates.doubtful:
        raise PipelineError(
            f"{where}: {dates.doubtful!r} reads as two different days; set `dayfirst: true` or `dayfirst: false` for "
            "it, or its type to category"
        )
    if dates.dates:
        return date_decision(name, text, replace(column, kind="date", dates=dates.dates))
    told = _setting(dataset.decimal, name) or ""
    if told and numbers.numbers.decimal not in ("", told) and not numbers.word and not is_number(raw):
        raise PipelineError(
            f"{where}: its numbers are not written with {told!r}; "
            f"set `decimal: {{{name}: {numbers.numbers.decimal!r}}}`"
        )
    if not numbers.word and not numbers.numbers.decimal:
        numbers = find_numbers(values, told or hints.decimal)
    if kind == "number" or not numbers.word:
        code = "" if kind else why_code(name, text)
        if code:
            return word_decision(name, text, column, code)
        if numbers.doubtful:
            raise PipelineError(
                f"{where}: {numbers.doubtful!r} reads as two different numbers; set `decimal: '.'` or `decimal: ','` "
                "for it, or its type to category"
            )
        return number_decision(name, text, is_number(raw), replace(column, kind="number", numbers=numbers.numbers))
    zeros = not kind and any(map(_leading_zero, values))
    return word_decision(name, text, column, "numbers with leading zeros are codes" if zeros else "")


def date_decision(name: str, text: pd.Series, column: Column) -> Decision:
    """A column of points in time, with how they are written in words."""
    form, values = column.dates.form, readable(text)
    words = {"iso": "", "spreadsheet days": "days as spreadsheets count them"}.get(form, form)
    zones = "with time zones, as UTC" if column.dates.zoned else ""
    decided = ", ".join(filter(None, (words, zones, _taken_for_missing(text))))
    if all(re.fullmatch(r"[\d.]+", value) for value in values) and form in ("digits", "spreadsheet days"):
        return Decision(
            column, decided, "the header says date, its values are bare numbers", f"types: {{{name}: number}}"
        )
    if form in ORDERS:
        return Decision(column, decided, "", f"dayfirst: {{{name}: {str(form != 'day first').lower()}}}")
    return Decision(column, decided, "", f"types: {{{name}: category}}" if decided else "")


def number_decision(name: str, text: pd.Series, typed: bool, column: Column) -> Decision:
    """A column of quantities, with how they are written in words; typed ones are numbers in the source."""
    sign = "decimal comma" if column.numbers.decimal == "," else ""
    unit = {"": "", "%": "percent, as hundredths"}.get(column.numbers.affix, f"in {column.numbers.affix}")
    words = ", ".join(filter(None, (sign, unit, "" if typed else _taken_for_missing(text))))
    return Decision(column, words, "", f"types: {{{name}: category}}" if words else "")


def word_decision(name: str, text: pd.Series, column: Column, code: str = "") -> Decision:
    """A column of words: categories, or text where there are many of several words; `code`: why numbers are none."""
    values = list(text.dropna().unique())
    kind = column.kind
    many = len(values) > LISTED_CATEGORIES or len(values) >= max(SEVERAL, MOSTLY * text.notna().sum())
    if kind == "category" and many:
        kind = "text" if pd.Series(values).str.count(r"\s").mean() >= TEXT_WORDS - 1 else "category"
    column = with_words(replace(column, kind=kind), values)
    return Decision(column, "codes" if code else "", code, f"types: {{{name}: number}}" if code else "")


def odd_one_out(text: pd.Series, name: str) -> tuple[str, str]:
    """The first value of a column of words that is no number (or date), with its line, and "number" or "date", where
    most of its different values are such; two empty texts where there is none.
    """
    values = readable(text)
    if len(values) < SEVERAL or any(map(_leading_zero, values)):
        return "", ""
    # a million different words are told by the first of them
    sample = values[: SEVERAL**2]
    for kind in ("number", "date"):
        fits = [
            bool(not find_numbers([value]).word if kind == "number" else find_dates([value], name).dates)
            for value in sample
        ]
        if sum(fits) >= MOSTLY * len(fits):
            odd = next((value for value, fit in zip(sample, fits, strict=True) if not fit), None)
            if odd is None and kind == "number":
                odd = find_numbers(values).word
            if odd is None:
                return "", ""
            return at(text, (text == odd).to_numpy()), kind
    return "", ""


def with_words(column: Column, values: list[str]) -> Column:
    """The column with what its words are where other programs have read them as numbers, true and false, or missing."""
    flags = sorted(word for word in values if word.lower() in ("true", "false"))
    digits = [word for word in values if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", word)]
    rule = ""
    if any(value_text(float(word)) != word for word in digits):
        widths = {len(word) for word in digits}
        rule = str(widths.pop()) if len(widths) == 1 and all(map(str.isdecimal, digits)) else "no"
    return replace(
        column,
        flags=tuple(flags) if len({flag.lower() for flag in flags}) == len(flags) else (),
        digits=rule,
        na_words=any(word in PANDAS_MISSING for word in values),
    )


def why_code(name: str, text: pd.Series) -> str:
    """Why a column of numbers holds no quantities; empty where it may."""
    values = text[~text.map(is_mark, na_action="ignore").eq(True)].dropna()
    whole = values.str.fullmatch(r"\d+(?:\.0)?")
    if values.empty or not whole.all():
        return ""
    digits = values.str.removesuffix(".0").str.len()
    if digits.max() > EXACT_DIGITS:
        return f"whole numbers of {digits.max()} digits are codes"
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+", "_", name).strip("_").lower()
    if CODE_NAME.fullmatch(plain):
        return "by its name it holds codes, no quantities"
    if (
        digits.nunique() == 1
        and digits.iloc[0] >= LONG_CODE
        and values.nunique() > max(CODES_DISTINCT * len(values), SEVERAL)
    ):
        seconds = SECONDS_NAME.fullmatch(name) or pd.to_numeric(values).between(*SECONDS).all()
        return "" if seconds else f"whole numbers of {digits.iloc[0]} digits each are codes"
    return ""


def readable(text: pd.Series) -> list[str]:
    """The distinct values of a column but for marks of missing numbers."""
    return [value for value in text.dropna().unique() if not is_mark(value)]


def _taken_for_missing(text: pd.Series) -> str:
    """Which words a column of numbers or dates takes for missing, in words."""
    marks = text[text.map(is_mark, na_action="ignore").eq(True)]
    if marks.empty:
        return ""
    return f"{', '.join(sorted(marks.unique()))} in {len(marks):,} rows taken for missing"


def _leading_zero(value: str) -> bool:
    return len(value) > 1 and value[0] == "0" and value.isdecimal()


def _setting(setting: Any, name: str) -> Any:
    """A setting of the whole table, or of the column where it names columns."""
    return setting.get(name) if isinstance(setting, Mapping) else setting


def _marks(dataset: Dataset, name: str) -> tuple[str, ...]:
    return tuple(_setting(dataset.missing, name) or ())


def _unmarked(text: pd.Series, name: str, dataset: Dataset) -> pd.Series:
    marks = _marks(dataset, name)
    return text.where(~text.isin(marks), None) if marks else text
