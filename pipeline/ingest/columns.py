"""What each column of a user's table is: decided by all of its values and its name, and said where it is not plain."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pipeline.console import PipelineError
from pipeline.settings import Dataset
from pipeline.tables.columns import Column, as_text, at, is_number, is_typed_number, trimmed, value_text
from pipeline.tables.dates import (
    DATE_NAME,
    ORDERS,
    PATTERNS,
    SHORT_YEAR,
    DateEvidence,
    Dates,
    are_days,
    are_months,
    find_dates,
    read_dates,
)
from pipeline.tables.numbers import Evidence, Numbers, find_numbers, is_mark

# Categories that a contract lists; a column with more distinct values is not held to them.
LISTED_CATEGORIES = 100
TEXT_WORDS = 4
# A column with so many different values, of which this share are numbers or dates, was meant to hold them.
SEVERAL, MOSTLY = 20, 0.9
# A float tells whole numbers apart up to so many digits.
EXACT_DIGITS = 15
LONG_CODE, CODES_DISTINCT = 9, 0.5
# By its last word, or with a word for number behind it, in the languages of exports; and a few whole names.
CODE_NAME = re.compile(
    r"(.*_)?(phone|telephone|telefono?|tel|mobile?|handy|fax|msisdn|zip|zip_?code|postcode|plz|postleitzahl|iban|bic|ssn|sku"
    r"|ean|upc|gtin|isbn|imei|barcode|siret|siren|passport|mcc|naics|icd_?\d*|code|codes|id|ids|uuid|konto|kostenstelle"
    r"|departement|version|chapter|account|acct|[a-z]+(nr|nummer|number))|cap"
    r"|(.*_)?(phone|telephone|tel|mobile|fax|account|acct|card|konto|policy|invoice|order|contract|tax|vat|serial|licen[cs]e"
    r"|article|artikel|item|kunden|customer|client|part)_(number|no|nr|num|nummer)|(code|codigo|codice)_.*"
)
# Of a column of words: it begins as a quantity does, and was perhaps meant as one.
QUANTITY = re.compile(r"[^\w]{0,3}(?:[A-Z]{0,3}[$€£¥₹] ?)?[-+(~]?\d.*")
CODED_POWERS, CODED_POWER = 3, re.compile(r"\d+[eE]\d+")
PHONE = re.compile(r"\+\d[\d ()./-]{7,}")
SEPARATORS = re.compile(r"[\s.'/()-]")
# What people write for a missing number where a number has to stand.
SENTINELS = (-999.0, -9999.0, -99999.0, 9999.0, 99999.0, 999999.0)
WHOLE, PLAIN_NUMBER = re.compile(r"\d+(\.0)?"), re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
# Seconds, and thousandths of them, since 1970.
SECONDS, THOUSANDTHS = (9e8, 2.2e9), (9e11, 2.2e12)
SECONDS_NAME = re.compile(r"(?i).*(time|epoch|unix|date|stamp|(^|_)ts($|_)|_at$).*")
# What is said of columns of codes.
CODES = "codes"
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


@dataclass(frozen=True)
class Seen:
    """A column as its source has it: trimmed `text` (n,) without what the settings list as missing, its distinct
    `values` but for the `marks` of missing numbers, and those `written` as text. `source`: number, time or text, as the
    format types it.
    """

    name: str
    text: pd.Series
    values: Sequence[str]
    written: Sequence[str]
    marks: Sequence[str]
    source: str

    @property
    def leading_zeros(self) -> bool:
        return any(len(value) > 1 and value[0] == "0" and value.isdecimal() for value in self.values)

    @property
    def taken_for_missing(self) -> str:
        """Which words a column of numbers or dates takes for missing, in words."""
        if not self.marks or self.source == "number":
            return ""
        return f"{', '.join(sorted(self.marks))} in {self.text.isin(self.marks).sum():,} rows taken for missing"


def decide_columns(seen: Mapping[str, Seen], dataset: Dataset) -> dict[str, Decision]:
    """What each column of a table is, by all of them. PipelineError: the numbers or dates of a column read as two
    different ones, and nothing in the file or the settings tells which.
    """
    found = {name: evidence_of(column, dataset) for name, column in seen.items()}
    codes = {name: "" if found[name][0].word else why_code(column) for name, column in seen.items()}
    written = [name for name, column in seen.items() if column.source == "text"]
    quantities = [found[name][0] for name in written if not found[name][0].word and not codes[name]]
    signs = {numbers.numbers.decimal for numbers in quantities} - {""}
    told = [found[name][1] for name in written if not found[name][1].doubtful]
    orders = {dates.dates.form == "day first" for dates in told if dates.dates and dates.dates.form in ORDERS}
    hints = Hints(*(signs if len(signs) == 1 else [""]), *(orders if len(orders) == 1 else [None]))
    return {name: decide(column, *found[name], codes[name], hints, dataset) for name, column in seen.items()}


def look_at(name: str, raw: pd.Series, dataset: Dataset) -> Seen:
    """A column of a table, its values as the source has them."""
    listed, text = marks_of(dataset, name), as_text(raw)
    text = text.where(~text.isin(listed), None) if listed else text
    distinct = [value for value in text.unique() if value is not None]
    source = "number" if is_number(raw) else "time" if pd.api.types.is_datetime64_any_dtype(raw) else "text"
    marks = {value for value in distinct if is_mark(value)}
    if name == dataset.target and dataset.task in ("binary", "multiclass"):
        # a class may have any name
        marks = {value for value in marks if not any(map(str.isalpha, value))}
    values = [value for value in distinct if value not in marks]
    mixed = raw.dtype == object and raw.map(is_typed_number).any()
    words = {trimmed(value) for value in raw if isinstance(value, str)} if mixed else set(values)
    return Seen(name, text, values, [value for value in values if value in words], sorted(marks), source)


def evidence_of(seen: Seen, dataset: Dataset) -> tuple[Evidence, DateEvidence]:
    """What the values of a column say of it as numbers and as dates, by themselves."""
    kind, name = kind_set(seen.name, dataset), seen.name
    numbers, dates = Evidence(Numbers(), word="none"), DateEvidence()
    if seen.source == "number" and kind in ("", "number"):
        numbers = Evidence(Numbers("."))
    elif seen.source == "text" and (kind == "number" or (not kind and seen.values and not seen.leading_zeros)):
        numbers = find_numbers(seen.written) if seen.written else Evidence(Numbers("."))
        # 10.2023 and 2023.01 among others are months
        numbers = replace(numbers, word=seen.values[0]) if not kind and are_months(seen.values) else numbers
    # bare numbers are dates only where the header says so
    if kind == "date" or (not kind and (numbers.word or DATE_NAME.fullmatch(name) or are_days(seen.values))):
        dates = find_dates(seen.values, name, by_column(dataset.dayfirst, name))
    return numbers, dates


def kind_set(name: str, dataset: Dataset) -> str:
    """The type of a column that the settings say; empty where they say none."""
    if name == dataset.target and dataset.task == "regression":
        return "number"
    return dataset.types.get(name) or ("ignore" if name in dataset.drop else "")


def decide(seen: Seen, numbers: Evidence, dates: DateEvidence, code: str, hints: Hints, dataset: Dataset) -> Decision:
    """What a column is, by the evidence, why its numbers are codes (or ""), the settings and what its neighbours say.
    PipelineError: as decide_columns.
    """
    name, kind = seen.name, kind_set(seen.name, dataset)
    where, column = f"{dataset.source}: column {name!r}", Column(kind or "category", marks=marks_of(dataset, name))
    if dates.doubtful:
        dates = find_dates(seen.values, name, hints.dayfirst)
    if dates.doubtful:
        raise PipelineError(
            f"{where}: {dates.doubtful!r} reads as two different days; set `dayfirst: true` or `dayfirst: false` for "
            "it, or its type to category"
        )
    if dates.dates:
        return date_decision(seen, replace(column, kind="date", dates=dates.dates))
    if code and not kind:
        return word_decision(seen, column, code)
    told = by_column(dataset.decimal, name) or ""
    if told and numbers.numbers.decimal not in ("", told) and not numbers.word and seen.source == "text":
        raise PipelineError(
            f"{where}: its numbers are not written with {told!r}; "
            f"set `decimal: {{{name}: {numbers.numbers.decimal!r}}}`"
        )
    by_others = not told and bool(numbers.doubtful) and hints.decimal != ""
    if not numbers.word and not numbers.numbers.decimal and (told or hints.decimal):
        numbers = numbers.told(told or hints.decimal)
    if kind == "number" or not numbers.word:
        if numbers.doubtful:
            raise PipelineError(
                f"{where}: {numbers.doubtful!r} reads as two different numbers; set `decimal: '.'` or `decimal: ','` "
                "for it, or its type to category"
            )
        return number_decision(seen, replace(column, kind="number", numbers=numbers.numbers), by_others)
    zeros = not kind and seen.leading_zeros
    return word_decision(seen, column, "numbers with leading zeros are codes" if zeros else "")


def date_decision(seen: Seen, column: Column) -> Decision:
    """A column of points in time, with how they are written in words."""
    form, name = column.dates.form, seen.name
    words = {"iso": "", "spreadsheet days": "days as spreadsheets count them"}.get(form, form)
    zones = "with time zones, as UTC" if column.dates.zoned else ""
    short = any(SHORT_YEAR.fullmatch(value) for value in seen.values) and form not in ("iso", "digits")
    years = "years of two digits are 1969 to 2068" if short else ""
    decided = ", ".join(filter(None, (words, zones, years, seen.taken_for_missing)))
    if form in ("digits", "spreadsheet days"):
        why = "its values are bare numbers, and all of them days"
        why = "the header says date, its values are bare numbers" if DATE_NAME.fullmatch(name) else why
        return Decision(column, decided, why, f"types: {{{name}: number}}")
    if form in ORDERS:
        return Decision(column, decided, "", f"dayfirst: {{{name}: {str(form != 'day first').lower()}}}")
    return Decision(column, decided, "", f"types: {{{name}: category}}" if decided else "")


def number_decision(seen: Seen, column: Column, by_others: bool) -> Decision:
    """A column of quantities, with how they are written in words; `by_others`: other columns tell the decimal sign."""
    sign = {",": "decimal comma", ".": "decimal point"}.get(column.numbers.decimal, "")
    sign = f"{sign}, as other columns have it" if by_others else sign if sign == "decimal comma" else ""
    unit = {"": "", "%": "percent, as hundredths"}.get(column.numbers.affix, f"in {column.numbers.affix}")
    words = ", ".join(filter(None, (sign, unit, seen.taken_for_missing)))
    return Decision(column, words, "", f"types: {{{seen.name}: category}}" if words else "")


def word_decision(seen: Seen, column: Column, code: str = "") -> Decision:
    """A column of words: categories, or text where there are many of several words; `code`: why numbers are none."""
    values, name, declared = [*seen.values, *seen.marks], seen.name, column.kind != "category"
    many = len(values) > LISTED_CATEGORIES or len(values) >= max(SEVERAL, MOSTLY * seen.text.notna().sum())
    if not declared and many and sum(len(value.split()) for value in values) >= TEXT_WORDS * len(values):
        column = replace(column, kind="text")
    column = with_words(column, values)
    if code:
        return Decision(column, CODES, code, f"types: {{{name}: number}}")
    if not declared and column.kind == "category":
        if len(values) >= SEVERAL and sum(map(bool, map(QUANTITY.fullmatch, values))) >= MOSTLY * len(values):
            return Decision(column, "words", f"values such as {values[0][:30]!r} are read as no numbers or dates", "")
        spellings: dict[str, str] = {}
        twins = [(spellings.setdefault("".join(value.casefold().split()), value), value) for value in values]
        first, second = next((pair for pair in twins if pair[0] != pair[1]), ("", ""))
        if second and len(values) <= LISTED_CATEGORIES:
            return Decision(column, "words", f"{first!r} and {second!r} are two categories", "")
    return Decision(column)


def odd_one_out(seen: Seen) -> tuple[str, str]:
    """The first value of a column of words that is no number (or date), with its line, and "number" or "date", where
    most of its different values are such; two empty texts where there is none.
    """
    if len(seen.values) < SEVERAL or seen.leading_zeros:
        return "", ""
    # a million different words are told by the first of them
    sample = seen.values[: SEVERAL**2]
    numbers = [value for value in sample if not find_numbers([value]).word]
    if len(numbers) >= MOSTLY * len(sample):
        odd = next((value for value in sample if value not in set(numbers)), find_numbers(seen.values).word)
        return (at(seen.text, (seen.text == odd).to_numpy()), "number") if odd else ("", "")
    forms = {form: [value for value in sample if pattern.fullmatch(value)] for form, pattern in PATTERNS.items()}
    form = max(forms, key=lambda form: read_dates(pd.Series(forms[form], dtype=object), Dates(form)).notna().sum())
    dates = read_dates(seen.text, Dates(form))
    odd_rows = (dates.isna() & seen.text.notna()).to_numpy()
    if odd_rows.any() and dates.notna().sum() >= MOSTLY * seen.text.notna().sum():
        return at(seen.text, odd_rows), "date"
    return "", ""


def with_words(column: Column, values: Sequence[str]) -> Column:
    """The column with what its words are where other programs have read them as numbers, true and false, or missing."""
    flags = tuple(sorted(word for word in values if word.lower() in ("true", "false")))
    digits = [word for word in values if PLAIN_NUMBER.fullmatch(word)]
    rule = ""
    if any(value_text(float(word)) != word for word in digits):
        widths = {len(word) for word in digits}
        rule = str(widths.pop()) if len(widths) == 1 and all(map(str.isdecimal, digits)) else "no"
    return replace(column, flags=flags, digits=rule, na_words=not PANDAS_MISSING.isdisjoint(values))


def why_code(seen: Seen) -> str:
    """Why a column of numbers holds no quantities; empty where it may."""
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+", "_", seen.name).strip("_").lower()
    sample = seen.values[: SEVERAL**2]
    powers = sum(map(bool, map(CODED_POWER.fullmatch, sample))) if seen.source == "text" else 0
    if powers >= CODED_POWERS and not any("." in value for value in sample):
        return "whole numbers with an E between them are codes"
    if any(map(PHONE.fullmatch, sample)):
        return "phone numbers are codes"
    digits = [SEPARATORS.sub("", value.removesuffix(".0") if seen.source == "number" else value) for value in sample]
    if CODE_NAME.fullmatch(plain) and all(map(str.isdecimal, digits)):
        return "by its name it holds codes, no quantities"
    if not sample or not all(map(WHOLE.fullmatch, sample)) or not all(map(WHOLE.fullmatch, seen.values)):
        return ""
    widths = {len(value.removesuffix(".0")) for value in seen.values}
    if max(widths) > EXACT_DIGITS:
        return f"whole numbers of {max(widths)} digits are codes"
    many = len(seen.values) > max(CODES_DISTINCT * seen.text.notna().sum(), SEVERAL)
    if len(widths) == 1 and max(widths) >= LONG_CODE and many and not SECONDS_NAME.fullmatch(seen.name):
        numbers = pd.Series(seen.values, dtype="float64")
        if not numbers.between(*SECONDS).all() and not numbers.between(*THOUSANDTHS).all():
            return f"whole numbers of {max(widths)} digits each are codes"
    return ""


def sentinel(read: pd.Series) -> str:
    """A number of a column (n,) that may stand for a missing one: far from all others, several times; else empty."""
    counts = read.value_counts()
    for value in SENTINELS:
        others = counts.index[counts.index != value].to_numpy()
        if counts.get(value, 0) > 1 and len(others) > 1 and np.abs(others).max() < abs(value) / 2:
            return f"{value:g} in {counts[value]:,} rows"
    return ""


def by_column(setting: Any, name: str) -> Any:
    """A setting of the whole table, or of the column where it names columns."""
    return setting.get(name) if isinstance(setting, Mapping) else setting


def marks_of(dataset: Dataset, name: str) -> tuple[str, ...]:
    """What the settings list as missing in a column."""
    return tuple(by_column(dataset.missing, name) or ())
