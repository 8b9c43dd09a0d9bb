"""Points in time as people write them: which form a column of text has, and its values as ISO 8601 text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

# How months begin in the languages that exports are written in most: English, German, French, Spanish, Italian,
# Portuguese, Dutch, Turkish, Polish, Czech, Russian.
MONTHS = {
    word: month
    for month, words in enumerate(
        (
            "jan ene gen janv oca sty led янв",
            "feb fev fév févr febb şub lut úno фев",
            "mar mär mrz maa mars mrt bře мар",
            "apr abr avr avri nis kwi dub апр",
            "may mai mag mei maio maj kvě май мая",
            "jun giu juin haz cze červen června июн",
            "jul lug juil tem lip červenec července июл",
            "aug ago aoû août aou ağu sie srp авг",
            "sep set sept eyl wrz zář сен",
            "oct okt ott out eki paź říj окт",
            "nov kas lis ноя",
            "dec dez déc dic des ara gru pro дек",
        ),
        1,
    )
    for word in words.split()
}
# In full, of the first six of these languages.
# fmt: off
NAMES_OF_MONTHS = frozenset((
    "january", "february", "march", "april", "june", "july", "august", "september", "october", "november",
    "december", "januar", "februar", "märz", "juni", "juli", "oktober", "dezember", "janvier", "février",
    "mars", "avril", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre", "enero",
    "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre",
    "diciembre", "gennaio", "febbraio", "aprile", "maggio", "giugno", "luglio", "settembre", "ottobre",
    "dicembre", "janeiro", "fevereiro", "março", "junho", "julho", "setembro", "outubro", "novembro", "dezembro",
))
# fmt: on
SECONDS = r"(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?"
CLOCK = rf"(?:(?:T|,? )(?P<H>\d{{1,2}}):(?P<M>\d{{2}}){SECONDS}(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?)?"
ZONE = r"(?P<zone> ?(?:Z|UTC|GMT)| ?[+-]\d{2}(?::?\d{2})?)?"
YEAR = r"(?P<y>\d{4}|\d{2})"
NAME = r"(?P<b>[^\W\d_]{3,10})"
# By name: a column has one of them beside ISO, which is never in doubt.
FORMS = {
    "iso": r"(?P<y>\d{4})(?P<by>[-/.])(?P<m>\d{1,2})(?P=by)(?P<d>\d{1,2})",
    "day first": r"(?P<d>\d{1,2})(?P<by>[-/.])(?P<m>\d{1,2})(?P=by)" + YEAR,
    "month first": r"(?P<m>\d{1,2})(?P<by>[-/.])(?P<d>\d{1,2})(?P=by)" + YEAR,
    "short year first": r"(?P<y>\d{2})(?P<by>[-/.])(?P<m>\d{1,2})(?P=by)(?P<d>\d{1,2})",
    "named month": rf"(?:[^\W\d_]{{2,10}},? )?(?P<d>\d{{1,2}})\.?(?:[ -]| de ){NAME}\.?,?(?:[ -]| de ){YEAR}",
    "named month first": rf"(?:[^\W\d_]{{2,10}},? )?{NAME}\.?[ -](?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?[ -](?P<y>\d{{4}})",
    "年月日": r"(?P<y>\d{4})年(?P<m>\d{1,2})月(?P<d>\d{1,2})日",
    "digits": r"(?P<y>(?:18|19|20|21)\d{2})(?P<m>\d{2})(?P<d>\d{2})",
    "month": r"(?P<m>\d{1,2})[-/.](?P<y>\d{4})",
    "year and month": r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})",
    "named month and year": NAME + r"\.?,?[ -](?P<y>\d{4})",
    "week": r"(?P<y>\d{4})[- ]?[Ww](?P<w>\d{1,2})",
    "quarter": r"[Qq](?P<q>[1-4])[- /]?(?P<y>\d{4})",
    "year and quarter": r"(?P<y>\d{4})[- /]?[Qq](?P<q>[1-4])",
}
# Forms of which a column may fit two.
ORDERS = ("day first", "month first", "short year first")
PATTERNS = {name: re.compile(form + CLOCK + ZONE) for name, form in FORMS.items()}
DAY_DIGITS = re.compile(r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
MANY_DAYS, SEVERAL_MONTHS = 20, 3
# With a year of two digits, at either end.
SHORT_YEAR = re.compile(r"(?:.*\D)?\d{1,2}\D(?:\d{1,2}|[^\W\d]+)\D\d{2}(?: .*)?|\d{2}[-/.]\d{1,2}[-/.]\d{1,2}")
# Days since 1899-12-30, as spreadsheets count them: 1927 to 2119.
SERIAL = re.compile(r"[1-7]\d{4}(?:\.\d+)?")
# Months with a point, which read as numbers too.
POINTED_MONTH = re.compile(r"(0?[1-9]|1[0-2])\.(19|20)\d{2}|(19|20)\d{2}\.(0[1-9]|1[0-2])")
# Names of columns that hold a day: only there are bare digits one.
DATE_NAME = re.compile(
    r"(?i:(.*[^a-z])?(date|datum|fecha|dob|birthday|birthdate|dt|on|at)([^a-z].*)?)|.*[a-z](Date|At|On|Datum)"
)
SERIAL_NAME = re.compile(r"(?i:(.*[^a-z])?(date|datum|fecha|dob|birthday|birthdate)([^a-z].*)?)|.*[a-z](Date|Datum)")


@dataclass(frozen=True)
class Dates:
    """How a column's points in time are written; `zoned` ones have a time zone each, others none."""

    form: str = "iso"
    zoned: bool = False


@dataclass(frozen=True)
class DateEvidence:
    """What the values of a column say: how they are written, None for no dates; a `doubtful` one is of two days."""

    dates: Dates | None = None
    doubtful: str = ""


def find_dates(values: Sequence[str], name: str, dayfirst: bool | None = None) -> DateEvidence:
    """How the distinct values of the column `name` are written; `dayfirst` where they do not tell it."""
    texts = pd.Series(list(values), dtype=object)
    if texts.empty:
        return DateEvidence()
    by_digits = DATE_NAME.fullmatch(name) is not None or are_days(values)
    if SERIAL_NAME.fullmatch(name) and texts.str.fullmatch(SERIAL.pattern).all():
        return DateEvidence(Dates("spreadsheet days"))
    others = texts[~texts.str.fullmatch(PATTERNS["iso"].pattern)]
    names = ["iso"] if others.empty else [form for form in FORMS if form != "iso" and (form != "digits" or by_digits)]
    fits = []
    for form in names:
        if all(map(PATTERNS[form].fullmatch, others)):
            zones = texts.map(lambda text, form=form: zone_of(text, form)).map(bool)
            if zones.nunique() > 1:
                continue
            dates = Dates(form, bool(zones.iloc[0]))
            if read_dates(texts, dates).notna().all():
                fits.append(dates)
    if len(fits) > 1:
        by_dots = fits[0].form == "day first" and all("." in text.split(" ")[0] for text in others)
        if dayfirst is None and not by_dots:
            first, second = (read_dates(others, dates) for dates in fits[:2])
            differing = others[(first != second).to_numpy()]
            return DateEvidence(fits[0], doubtful=str([*differing, *others][0]))
        wanted, unwanted = ("month first", "day first") if dayfirst is False else ("day first", "month first")
        left = [dates for dates in fits if dates.form != unwanted]
        fits = [dates for dates in left if dates.form == wanted] or left
    if fits and fits[0].form in ORDERS and not by_digits and others.map(_like_a_version).all():
        return DateEvidence()
    return DateEvidence(fits[0] if fits else None)


def are_days(values: Sequence[str]) -> bool:
    """Whether numbers are days, whatever the header says: many different ones, each as 20240131."""
    return len(values) >= MANY_DAYS and all(map(DAY_DIGITS.fullmatch, values))


def are_months(values: Sequence[str]) -> bool:
    """Whether numbers with a point are months, as 01.2024 or 2024.01: several, and all of them."""
    return len(values) >= SEVERAL_MONTHS and all(map(POINTED_MONTH.fullmatch, values))


def zone_of(text: str, form: str) -> str:
    """The time zone that a text of a form, or of ISO 8601, ends with."""
    match = PATTERNS["iso"].fullmatch(text) or (form in PATTERNS and PATTERNS[form].fullmatch(text))
    return (match["zone"] or "") if match else ""


def read_dates(text: pd.Series, dates: Dates) -> pd.Series:
    """ISO 8601 text of points in time by a column's way of writing them, in UTC where they have zones; None where a
    value is missing or no such date.

    Months, weeks and quarters are their first day; years of two digits are 1969 to 2068, as in POSIX.
    """
    distinct = text.dropna().unique()
    iso = pd.Series([_iso(value, dates) for value in distinct], dtype=object)
    points = pd.to_datetime(iso, format="ISO8601", errors="coerce", utc=True)
    whole_days = not dates.zoned and (points.dropna() == points.dropna().dt.normalize()).all()
    if whole_days:
        written = points.dt.strftime("%Y-%m-%d")
    else:
        fraction = (points.dropna().dt.microsecond > 0).any()
        written = points.dt.strftime(f"%Y-%m-%dT%H:%M:%S{'.%f' if fraction else ''}{'Z' if dates.zoned else ''}")
    known = dict(zip(distinct, written.astype(object).where(points.notna(), None), strict=True))
    return text.map(known).astype(object).where(text.notna(), None)


def _iso(text: str, dates: Dates) -> str | None:
    if dates.form == "spreadsheet days" and SERIAL.fullmatch(text):
        return (pd.Timestamp("1899-12-30") + pd.Timedelta(round(float(text) * 86400), "s")).isoformat()
    match = PATTERNS["iso"].fullmatch(text) or (dates.form in PATTERNS and PATTERNS[dates.form].fullmatch(text))
    if not match or bool(match["zone"]) != dates.zoned:
        return None
    found = match.groupdict()
    year = int(found["y"])
    year += 0 if len(found["y"]) == 4 else 2000 if year < 69 else 1900
    month, day = int(found.get("m") or 1), int(found.get("d") or 1)
    if found.get("b"):
        word = found["b"].lower()
        # without a day beside it a name may be anybody's
        if dates.form == "named month and year" and word not in MONTHS and word not in NAMES_OF_MONTHS:
            return None
        named = MONTHS.get(word) or MONTHS.get(word[:4]) or MONTHS.get(word[:3])
        if named is None:
            return None
        month = named
    if found.get("q"):
        month = 3 * int(found["q"]) - 2
    hour = int(found["H"] or 0)
    if found["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found["half"] in "Pp" else 0)
    clock = f"T{hour:02d}:{found['M'] or '00'}:{found['S'] or '00'}.{found['f'] or '0'}"
    zone = (found["zone"] or "").strip().replace("UTC", "Z").replace("GMT", "Z")
    if found.get("w"):
        try:
            return pd.Timestamp.fromisocalendar(year, int(found["w"]), 1).strftime("%Y-%m-%d") + clock + zone
        except ValueError:
            return None
    return f"{year:04d}-{month:02d}-{day:02d}{clock}{zone}"


def _like_a_version(text: str) -> bool:
    """1.2.10: without two digits for day and month and four for the year, dots are no sign of a date."""
    parts = text.split(" ")[0].split(".")
    return len(parts) == 3 and len(parts[2]) == 2 and min(map(len, parts)) == 1
