"""Numbers as people write them: which decimal sign, currency or unit a column of text has, and its values by them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

# Kinds of spaces, minus signs and apostrophes that offices write for the plain ones.
SPACES, MINUSES = "\u00a0\u202f\u2009\u2007", "\u2212\u2013\ufe63\uff0d"
PLAIN = str.maketrans({**dict.fromkeys(SPACES, " "), **dict.fromkeys(MINUSES, "-"), "\u2019": "'"})
# fmt: off
CURRENCIES = frozenset((
    "$", "€", "£", "¥", "₹", "₽", "₩", "₺", "₴", "₪", "₫", "฿", "₦", "R$", "A$", "C$", "US$", "NZ$", "HK$",
    "S$", "kr", "kr.", "zł", "zl", "Kč", "Ft", "lei", "руб", "руб.", "Fr", "Fr.", "Rs", "Rs.", "Rp", "USD",
    "EUR", "GBP", "CHF", "JPY", "CNY", "INR", "RUB", "KRW", "TRY", "BRL", "MXN", "CAD", "AUD", "NZD", "SEK",
    "NOK", "DKK", "PLN", "CZK", "HUF", "RON", "ZAR", "SGD", "HKD",
))
# fmt: on
# Units that may stand at a number without a space; with one, any word may.
# fmt: off
UNITS = frozenset((
    "kg", "g", "mg", "t", "lb", "lbs", "oz", "km", "m", "cm", "mm", "mi", "ft", "in", "yd", "nm", "µm", "m²",
    "m³", "km²", "ha", "sqm", "sqft", "l", "L", "ml", "cl", "h", "hr", "hrs", "min", "s", "sec", "ms", "W",
    "kW", "MW", "kWh", "MWh", "mV", "mA", "Hz", "kHz", "MHz", "GHz", "kB", "KB", "MB", "GB", "TB", "px", "pt",
    "°C", "°F", "°", "Pa", "hPa", "kPa", "bar", "mbar", "psi", "km/h", "mph", "m/s", "rpm", "dB", "cal", "kcal",
    "kJ",
))
# fmt: on
# Of clocks, days and large numbers: the number beside them is not the value.
# fmt: off
NO_UNITS = frozenset((
    "am", "pm", "a.m.", "p.m.", "am.", "pm.", "k", "m", "mn", "mio", "bn", "b", "mrd", "st", "nd", "rd", "th",
))
# fmt: on
BODY = r"(?:\d(?:[\d.,' ]*\d)?\.?|[.,]\d+)(?:[eE][-+]?\d+)?"
WORD = r"[^\d\s()+\-.,'](?:[^\d()+\-]*[^\d\s()+\-])?"
NUMBER = re.compile(
    rf"(?P<open>\()?\s*(?P<sign>[-+])?\s*(?P<before>{WORD})?\s*(?P<inner>[-+])?\s*(?P<body>{BODY})"
    rf"(?P<gap>\s*)(?P<after>{WORD})?\s*(?P<last>-)?\s*(?P<close>\))?",
    re.ASCII,
)
# 81.- is 81, and $(5) is ($5)
NO_CENTS, CURRENCY_BEFORE = re.compile(r"(?<=\d)[.,]--?(?!\d)"), re.compile(rf"({WORD})\s*\(([^()]*)\)")
# Thousands in groups of three by one kind of sign, or as in India, for each decimal sign. No group begins with 0.
GROUPS = {
    sign: re.compile(
        rf"(?:[1-9]\d{{0,2}}(?P<by>[{other}' ])\d{{3}}(?:(?P=by)\d{{3}})*|[1-9]\d?(?:{other}\d{{2}})+{other}\d{{3}})"
        rf"(?:{re.escape(sign)}\d*)?"
    )
    for sign, other in ((".", ","), (",", r"\."))
}
ONE_GROUP = re.compile(r"\d{1,3}[.,]\d{3}")
UNGROUPED = {sign: re.compile(rf"\d+(?:{re.escape(sign)}\d*)?|{re.escape(sign)}\d+") for sign in ".,"}
# fmt: off
MARKS = frozenset((
    "na", "n/a", "n.a.", "n.a", "#n/a", "#n/d", "#na", "nan", "null", "(null)", "<na>", "none", "nil", r"\n",
    "-", "--", "---", "—", "–", "?", "??", ".", "..", "…", "*", "**", "***", "k.a.", "k.a", "n.d.", "n.d", "nd",
    "#null!", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "0000-00-00", "1900-01-00", "0001-01-01",
    "9999-12-31",
))
# fmt: on
LONGEST_MARK = max(map(len, MARKS))


@dataclass(frozen=True)
class Numbers:
    """How a column's numbers are written. `decimal` is "" where nothing tells: only what reads alike by both signs is a
    number then. `affix` is the currency or unit beside them, "%" for hundredths. `grouped`: the sign that is not the
    decimal one stands between thousands; where it never did, 1,234 may as well be another's decimal comma.
    """

    decimal: str = ""
    affix: str = ""
    grouped: bool = False


@dataclass(frozen=True)
class Evidence:
    """What the values of a column say: how they are written; a `doubtful` value that reads as two numbers; or a `word`
    that is no number. `signs`: points and commas in them.
    """

    numbers: Numbers
    doubtful: str = ""
    word: str = ""
    signs: frozenset[str] = frozenset()

    def told(self, decimal: str) -> Evidence:
        """The evidence where something else tells the decimal sign, which the values do not."""
        grouped = not self.signs <= {decimal}
        return replace(self, numbers=replace(self.numbers, decimal=decimal, grouped=grouped), doubtful="")


def is_mark(text: str) -> bool:
    """Whether a text stands for a missing number or date."""
    if len(text) > LONGEST_MARK:
        return False
    return text.lower() in MARKS or text.strip("#") == "" or text.rstrip(" -–") in CURRENCIES


def find_numbers(values: Sequence[str]) -> Evidence:
    """How the distinct values of a column are written."""
    plain = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce").notna()
    by_point, by_comma, both, affixes, bare, signs = "", "", "", dict[str, str](), False, set[str]()
    for text, fits in zip(values, plain, strict=True):
        # most are plain, and most of those tell nothing new
        if fits and ("." not in text or by_point):
            bare = True
            continue
        part = split_number(text)
        if part is None:
            return Evidence(Numbers(), word=text)
        # once the sign is told, the others have to fit it
        found = {
            sign: value
            for sign in ("." if by_point else "," if by_comma else ".,")
            if not np.isnan(value := number_of(part, Numbers(sign, part[1], grouped=True)))
        }
        if not found:
            return Evidence(Numbers(), word=text)
        affixes.setdefault(part[1], text)
        signs |= {".", ","}.intersection(part[2])
        by_point = by_point or (text if found.keys() == {"."} else "")
        by_comma = by_comma or (text if found.keys() == {","} else "")
        both = both or (text if len(set(found.values())) == 2 else "")
    bare = affixes.pop("", "") != "" or bare
    if len(affixes) > 1 or (bare and not affixes.keys() <= CURRENCIES):
        return Evidence(Numbers(), word=next(iter(affixes.values())))
    evidence = Evidence(Numbers("", next(iter(affixes), "")), doubtful=both, signs=frozenset(signs))
    return evidence.told("." if by_point else ",") if by_point or by_comma else evidence


def read_numbers(text: pd.Series, numbers: Numbers) -> pd.Series:
    """Floats by a column's way of writing them; NaN where a value is missing, a mark of a missing one, or no number."""
    found = exact_numbers(text)
    # what reads otherwise here: a point between thousands, and a bare number where each has its unit
    if numbers.affix and numbers.affix not in CURRENCIES:
        found[:] = np.nan
    elif numbers.decimal != ".":
        found = found.mask([isinstance(value, str) and "." in value for value in text])
    slow = text[found.isna() & text.notna()]
    if slow.empty:
        return found
    known = {}
    for value in slow.unique():
        part = split_number(value)
        known[value] = np.nan if part is None else number_of(part, numbers)
    return found.fillna(slow.map(known).astype("float64"))


def exact_numbers(text: pd.Series) -> pd.Series:
    """Floats of plain numbers with a decimal point, to their last digit, which pandas is not; NaN for all else."""
    found = pd.to_numeric(text, errors="coerce").astype("float64")
    plain = found.notna()
    return found.mask(plain, text[plain].astype("float64"))


def split_number(text: str) -> tuple[bool, str, str] | None:
    """Whether it is negative, its currency or unit, and its digits with signs between them; None for no number."""
    plain = NO_CENTS.sub("", text.translate(PLAIN))
    match = NUMBER.fullmatch(CURRENCY_BEFORE.sub(r"(\g<1>\g<2>)", plain))
    if match is None or bool(match["open"]) != bool(match["close"]):
        return None
    before, after = match["before"] or "", match["after"] or ""
    minuses = [match[name] for name in ("sign", "inner", "last") if match[name]]
    if len(minuses) > 1 or (match["open"] and minuses) or (before and after):
        return None
    affix = before or after
    if before and before not in CURRENCIES:
        return None
    known = after in CURRENCIES or after == "%" or after in UNITS
    if after and not known and (not match["gap"] or after.lower() in NO_UNITS or not any(map(str.isalpha, after))):
        return None
    return bool(match["open"]) or minuses == ["-"], affix, match["body"]


def number_of(part: tuple[bool, str, str], numbers: Numbers) -> float:
    """A split number by a column's way of writing; NaN where it does not fit it."""
    negative, affix, body = part
    if affix != numbers.affix and (affix or numbers.affix not in CURRENCIES):
        return np.nan
    if not numbers.decimal:
        first, second = (number_of(part, Numbers(sign, numbers.affix, grouped=True)) for sign in ".,")
        return second if np.isnan(first) else first if np.isnan(second) or first == second else np.nan
    digits, exponent, power = body.replace("E", "e").partition("e")
    if not (UNGROUPED[numbers.decimal].fullmatch(digits) or GROUPS[numbers.decimal].fullmatch(digits)):
        return np.nan
    if not numbers.grouped and ONE_GROUP.fullmatch(digits) and numbers.decimal not in digits:
        return np.nan
    for sign in {".", ",", "'", " "} - {numbers.decimal}:
        digits = digits.replace(sign, "")
    value = float(digits.replace(numbers.decimal, ".") + exponent + power)
    value = value / 100 if numbers.affix == "%" else value
    return -value if negative else value


def number_text(value: float, numbers: Numbers) -> str:
    """A number as its column writes it."""
    value = value * 100 if numbers.affix == "%" else value
    text = str(int(value)) if value.is_integer() else repr(value).replace(".", numbers.decimal or ".")
    return f"{text} {numbers.affix}".strip()
