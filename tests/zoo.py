"""Small messy tables, each with what a careful person reads in it."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import sqlite3
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest


@dataclass(frozen=True)
class Case:
    """One table. `types` may name several that are right ("category or ignore"), `refused` several words ("row|line").

    `values` are those of the normalised table, in order: floats, text, ISO dates, None for missing.
    `learned` names every column that is learned from, where that is checked.
    """

    name: str
    write: Callable[[Path], Path]
    target: str
    entry: dict[str, Any] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    values: dict[str, list] = field(default_factory=dict)
    task: str = ""
    positive: Any = None
    says: tuple[str, ...] = ()
    refused: str = ""
    learned: tuple[str, ...] = ()


CASES: list[Case] = []
Columns = dict[str, list]
Write = Callable[[Path], Path]
N = 48
NBSP, NARROW, MINUS = "\u00a0", "\u202f", "\u2212"


def case(name: str, write: Write, target: str = "left", **expected: Any) -> None:
    CASES.append(Case(name, write, target, **expected))


# columns


def cycle(values: Iterable[Any], step: int = 1) -> list:
    """The values over and over, N in all."""
    pool = list(values)
    return [pool[(i * step + i // len(pool)) % len(pool)] for i in range(N)]


def numbers(seed: int, low: float, high: float, decimals: int = 2) -> list[float]:
    return [round(float(value), decimals) for value in np.random.default_rng(seed).uniform(low, high, N)]


def whole(seed: int, low: int, high: int) -> list[float]:
    return [float(value) for value in np.random.default_rng(seed).integers(low, high, N)]


def with_gaps(values: list, every: int = 7, gap: Any = None) -> list:
    return [gap if i % every == 3 else value for i, value in enumerate(values)]


AGE = [20 + 7 * i % 31 for i in range(N)]
PLAN = cycle(["month", "year", "free"], 2)
IS_YES = [age + 9 * (i % 4) > 54 for i, age in enumerate(AGE)]


def labels(yes: Any, no: Any) -> list:
    """Two classes; `yes` is the rarer one."""
    return [yes if flag else no for flag in IS_YES]


def full(columns: Columns, target: list | None = None, name: str = "left") -> Columns:
    """These columns between two plain ones, and a target."""
    return {"age": AGE, **columns, "plan": PLAN, name: labels("Yes", "No") if target is None else target}


def grouped(value: float, thousands: str, decimal: str, decimals: int = 2) -> str:
    return f"{value:,.{decimals}f}".translate({ord(","): thousands, ord("."): decimal})


def each(write: Callable[[Any], str], values: list) -> list[str]:
    return ["" if value is None else write(value) for value in values]


def signed(value: float, write: Callable[[float], str], pattern: str) -> str:
    """The number, and in this pattern where it is below zero."""
    return pattern.format(write(-value)) if value < 0 else write(value)


def german(value: float) -> str:
    return grouped(value, ".", ",")


def english(value: float) -> str:
    return grouped(value, ",", ".")


def plain_comma(value: float) -> str:
    return grouped(value, "", ",")


def indian(value: float) -> str:
    """1,23,456.00: three digits, then twos."""
    digits, _, decimals = f"{value:.2f}".partition(".")
    head, tail = digits[:-3], digits[-3:]
    twos = [head[max(end - 2, 0) : end] for end in range(len(head), 0, -2)]
    return f"{','.join([*reversed(twos), tail])}.{decimals}"


PRICES = numbers(1, 5, 9000)
SMALL = numbers(2, 1, 99)
SIGNED = numbers(3, -4000, 4000)
DAYS = [date(2023, 1, 31) + timedelta(days=11 * i) for i in range(N)]
EARLY = [date(2021 + i % 3, 1 + i % 12, 1 + (5 * i + i // 12) % 12) for i in range(N)]
MOMENTS = [datetime(2023, 1, 31, 1, 5, 10) + timedelta(hours=31 * i, minutes=i) for i in range(N)]
MOMENTS = [moment.replace(hour=moment.hour or 9) for moment in MOMENTS]
ISO_DAYS = [day.isoformat() for day in DAYS]
ISO_EARLY = [day.isoformat() for day in EARLY]
ISO_MOMENTS = [moment.isoformat() for moment in MOMENTS]
SENTENCE = "parcel came late again and the box was open so we asked for a refund by phone last week"
WORDS = SENTENCE.split()
NOTES = [" ".join(WORDS[(i * k + k) % len(WORDS)] for k in range(1, 10 + i % 5)) + f" in week {i}" for i in range(N)]


def days(pattern: str, values: list[date] = DAYS) -> list[str]:
    return [value.strftime(pattern) for value in values]


# files


def rows_of(columns: Columns) -> list[list]:
    return [list(columns), *map(list, zip(*columns.values(), strict=True))]


def text_of(rows: list[list], delimiter: str = ",", quoting: int = csv.QUOTE_MINIMAL, newline: str = "\n") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=quoting, lineterminator=newline).writerows(rows)
    return out.getvalue()


def content(name: str, data: bytes | str, encoding: str = "utf-8") -> Write:
    """A file with this content."""

    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode(encoding))
        return path

    return write


def delimited(
    columns: Columns,
    delimiter: str = ",",
    encoding: str = "utf-8",
    quoting: int = csv.QUOTE_MINIMAL,
    newline: str = "\n",
    first: str = "",
    name: str = "table.csv",
) -> Write:
    return content(name, first + text_of(rows_of(columns), delimiter, quoting, newline), encoding)


def zstandard(columns: Columns) -> Write:
    def write(folder: Path) -> Path:
        path = folder / "table.csv.zst"
        with pa.CompressedOutputStream(str(path), "zstd") as out:
            out.write(text_of(rows_of(columns)).encode())
        return path

    return write


def parquet(frame: pd.DataFrame) -> Write:
    def write(folder: Path) -> Path:
        path = folder / "table.parquet"
        frame.to_parquet(path, index=False)
        return path

    return write


def parts(*frames: pd.DataFrame) -> Write:
    def write(folder: Path) -> Path:
        path = folder / "parts"
        path.mkdir()
        for i, frame in enumerate(frames):
            frame.to_parquet(path / f"part-{i:05d}.parquet", index=False)
        return path

    return write


def sqlite(**tables: Columns) -> Write:
    def write(folder: Path) -> Path:
        path = folder / "shop.sqlite"
        base = sqlite3.connect(path)
        for name, columns in tables.items():
            pd.DataFrame(columns).to_sql(name, base, index=False)
        base.close()
        return path

    return write


def duck(**tables: Columns) -> Write:
    def write(folder: Path) -> Path:
        duckdb = pytest.importorskip("duckdb")
        path = folder / "shop.duckdb"
        base = duckdb.connect(str(path))
        for name, columns in tables.items():
            frame = pd.DataFrame(columns)
            base.register("given", frame)
            base.execute(f'CREATE TABLE "{name}" AS SELECT * FROM given')
            base.unregister("given")
        base.close()
        return path

    return write


SHEET_NS = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
REL_NS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
TYPE_NS = "application/vnd.openxmlformats-officedocument.spreadsheetml"
PACKAGE_NS = "http://schemas.openxmlformats.org/package/2006"
XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
STYLES = (
    f'{XML}<styleSheet xmlns="{SHEET_NS}">'
    '<fonts count="1"><font><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    "<borders count='1'><border><left/><right/><top/><bottom/><diagonal/></border></borders>"
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="2"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="14" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>'
    "</styleSheet>"
)


def serial(day: date) -> int:
    """The number that a spreadsheet keeps for a day."""
    return (day - date(1899, 12, 30)).days


def sheet_cell(place: str, value: Any, shared: list[str]) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, date):
        return f'<c r="{place}" s="1"><v>{serial(value)}</v></c>'
    if isinstance(value, int | float):
        return f'<c r="{place}"><v>{value!r}</v></c>'
    if value not in shared:
        shared.append(value)
    return f'<c r="{place}" t="s"><v>{shared.index(value)}</v></c>'


def workbook(**sheets: Columns) -> Write:
    """An .xlsx file as a spreadsheet program saves it: shared strings, empty cells left out, days by their style."""
    shared: list[str] = []
    pages = []
    for columns in sheets.values():
        lines = []
        for y, row in enumerate(rows_of(columns), start=1):
            cells = "".join(sheet_cell(f"{chr(65 + x)}{y}", value, shared) for x, value in enumerate(row))
            lines.append(f'<row r="{y}">{cells}</row>')
        pages.append(
            f'{XML}<worksheet xmlns="{SHEET_NS}"><sheetData>{"".join(lines)}</sheetData></worksheet>',
        )
    strings = "".join(f'<si><t xml:space="preserve">{escape(text)}</t></si>' for text in shared)
    count = range(1, len(pages) + 1)
    extra = [("styles", "styles"), ("sharedStrings", "sharedStrings")]
    overrides = "".join(
        f'<Override PartName="/xl/{part}.xml" ContentType="{TYPE_NS}.{kind}+xml"/>'
        for part, kind in [
            ("workbook", "sheet.main"),
            *extra,
            *((f"worksheets/sheet{i}", "worksheet") for i in count),
        ]
    )
    relations = "".join(
        f'<Relationship Id="rId{i}" Type="{REL_NS}/{kind}" Target="{part}.xml"/>'
        for i, (part, kind) in enumerate(
            [*((f"worksheets/sheet{i}", "worksheet") for i in count), *extra],
            start=1,
        )
    )
    listed = "".join(
        f'<sheet name="{escape(name)}" sheetId="{i}" r:id="rId{i}"/>' for i, name in enumerate(sheets, start=1)
    )
    files = {
        "[Content_Types].xml": f'{XML}<Types xmlns="{PACKAGE_NS}/content-types">'
        f'<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>{overrides}</Types>',
        "_rels/.rels": f'{XML}<Relationships xmlns="{PACKAGE_NS}/relationships">'
        f'<Relationship Id="rId1" Type="{REL_NS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'{XML}<workbook xmlns="{SHEET_NS}" xmlns:r="{REL_NS}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'{XML}<Relationships xmlns="{PACKAGE_NS}/relationships">{relations}'
        "</Relationships>",
        "xl/styles.xml": STYLES,
        "xl/sharedStrings.xml": f'{XML}<sst xmlns="{SHEET_NS}" uniqueCount="{len(shared)}">{strings}</sst>',
        **{f"xl/worksheets/sheet{i}.xml": page for i, page in zip(count, pages, strict=True)},
    }

    def write(folder: Path) -> Path:
        path = folder / "book.xlsx"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in files.items():
                archive.writestr(zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0)), text)
        return path

    return write


def number_case(name: str, cells: Any, values: list, column: str = "amount", **options: Any) -> None:
    """A column of numbers, as cells or as what writes a number; `delimiter`, `encoding`, `quoting` are the file's."""
    if callable(cells):
        cells = each(cells, values)
    file = {key: options.pop(key) for key in ("delimiter", "encoding", "quoting") if key in options}
    expected = {"types": {column: "number"}, "values": {column: values}, **options}
    case(name, delimited(full({column: cells}), **file), **expected)


def date_case(name: str, cells: list[str], values: list, column: str = "when", **options: Any) -> None:
    case(name, delimited(full({column: cells})), types={column: "date"}, values={column: values}, **options)


def word_case(name: str, cells: list[str], column: str = "state", **options: Any) -> None:
    """A column of categories that stay as they are."""
    expected = {"types": {column: "category"}, "values": {column: cells}, **options}
    case(name, delimited(full({column: cells})), **expected)


def target_case(name: str, cells: Any, values: list, task: str, **options: Any) -> None:
    """A target, as cells or as what writes one of its values."""
    if callable(cells):
        cells, values = each(cells, values), [float(value) for value in values]
    file = {key: options.pop(key) for key in ("delimiter", "encoding") if key in options}
    column, prices = options.pop("column", "left"), each(plain_comma, SMALL) if ";" in file.values() else SMALL
    options["values"] = {"price": SMALL, column: values}
    case(name, delimited(full({"price": prices}, cells, column), **file), column, task=task, **options)


def class_case(name: str, cells: list, task: str, **options: Any) -> None:
    """A target of classes that stay as they are."""
    target_case(name, cells, cells, task, **options)


def refused_case(name: str, columns: Columns, column: str, **options: Any) -> None:
    case(name, delimited(full(columns)), refused=column, **options)


# numbers: how offices of the world write them

LAKHS = [round(value * 97, 2) for value in PRICES]
RESIDENTS = [float(value) for value in cycle([999, 12345, 1234567, 88000, 2500001, 410])]
BALANCES, WEIGHTS, OUTSIDE = whole(5, -50, 90), whole(6, 2, 90), numbers(7, -15, 35, 1)

number_case("comma_decimals", plain_comma, SMALL, delimiter=";")
number_case("comma_decimals_below_one", lambda v: grouped(v, "", ",", 3), numbers(4, 0, 0.999, 3), delimiter=";")
number_case("comma_decimals_quoted", plain_comma, SMALL)
number_case("german_amounts", german, PRICES, delimiter=";")
number_case("german_amounts_euro_in_front", lambda v: f"€ {german(v)}", PRICES, delimiter=";")
number_case("french_spaces", lambda v: grouped(v, " ", ","), PRICES, delimiter=";")
number_case("french_no_break_spaces", lambda v: grouped(v, NBSP, ","), PRICES, delimiter=";")
number_case("french_narrow_spaces", lambda v: grouped(v, NARROW, ","), PRICES, delimiter="\t")
number_case("french_euros_windows", lambda v: f"{grouped(v, NBSP, ',')} €", PRICES, delimiter=";", encoding="cp1252")
number_case("swiss_apostrophes", lambda v: grouped(v, "'", "."), PRICES, delimiter=";")
number_case("swiss_typographic_apostrophes", lambda v: grouped(v, "\u2019", "."), PRICES)
number_case("swiss_francs", lambda v: "CHF " + grouped(v, "'", "."), PRICES)
number_case("brazilian_reais", lambda v: f"R$ {german(v)}", PRICES, delimiter=";")
number_case("indian_lakhs", indian, LAKHS)
number_case("indian_rupees", lambda v: f"₹ {indian(v)}", LAKHS)
number_case("dollars", lambda v: f"${english(v)}", PRICES)
number_case("dollars_minus_in_front", lambda v: signed(v, lambda x: f"${english(x)}", "-{}"), SIGNED)
number_case("dollars_in_parentheses", lambda v: signed(v, lambda x: f"${english(x)}", "({})"), SIGNED)
number_case("pounds_windows", lambda v: f"£{english(v)}", PRICES, encoding="cp1252")
number_case("zloty_at_the_end", lambda v: f"{grouped(v, ' ', ',')} zł", PRICES, delimiter=";")
number_case("euro_code_at_the_end", lambda v: f"{german(v)} EUR", PRICES, delimiter=";")
number_case("kilograms_in_every_row", lambda v: f"{v:.0f} kg", WEIGHTS, "weight")
number_case("kilograms_without_space", lambda v: f"{v:.1f}kg", numbers(8, 2, 90, 1), "weight")
number_case("degrees_in_every_row", lambda v: f"{v:.1f} °C", OUTSIDE, "outside")
number_case("unit_and_gaps", lambda v: f"{v:.0f} km", with_gaps(WEIGHTS), "way")
PERCENT = [value / 100 for value in whole(9, 0, 100)]
QUARTER_PERCENT = [value / 400 for value in whole(10, 0, 400)]
number_case("percent_in_every_row", lambda v: f"{100 * v:.0f} %", PERCENT, "discount")
number_case("percent_with_decimals", lambda v: f"{100 * v:.2f}%", QUARTER_PERCENT, "discount")
number_case("unicode_minus", lambda v: f"{v:.1f}".replace("-", MINUS), OUTSIDE, "outside")
number_case("trailing_minus", lambda v: signed(v, lambda x: f"{x:.0f}", "{}-"), BALANCES, "balance")
number_case("sap_trailing_minus_german", lambda v: signed(v, german, "{}-"), SIGNED, delimiter=";")
number_case("parentheses_whole", lambda v: signed(v, lambda x: f"{x:.0f}", "({})"), BALANCES, "balance")
number_case("parentheses_grouped", lambda v: signed(v, english, "({})"), SIGNED)
number_case("plus_signs", lambda v: f"{v:+.1f}", OUTSIDE, "change")
POWERS = [float(f"{value:.2e}") for value in PRICES]
number_case("powers_of_ten", lambda v: f"{v:.2e}", POWERS, "load")
number_case("powers_of_ten_with_comma", lambda v: f"{v:.2E}".replace(".", ","), POWERS, "load", delimiter=";")
number_case("full_precision_floats", repr, [float(x) for x in np.random.default_rng(15).normal(size=N)], "score")
number_case("numbers_all_quoted", str, SMALL, quoting=csv.QUOTE_ALL)
number_case("numbers_with_spaces_around", [f"  {v} " if i % 2 else f"{v}  " for i, v in enumerate(SMALL)], SMALL)
number_case("whole_numbers_as_floats", str, with_gaps(whole(16, 1, 9)), "rooms")
number_case("dots_as_thousands_seen_twice", lambda v: grouped(v, ".", ",", 0), RESIDENTS, "residents", delimiter=";")
number_case("commas_as_thousands_seen_twice", lambda v: f"{v:,.0f}", RESIDENTS, "residents")
number_case("coordinates", lambda v: f"{v:.6f}", numbers(17, -52, 52, 6), "latitude")
number_case("commas_as_thousands_in_a_pipe_file", english, PRICES, delimiter="|")

# numbers: where the sign is not clear

UNCLEAR = cycle([12345, 999, 1234, 45678, 870, 310250, 2500, 17001])
UNCLEAR_COMMAS = [f"{x:,}" for x in UNCLEAR]
UNCLEAR_DOTS = [f"{x:,}".replace(",", ".") for x in UNCLEAR]
AS_WHOLE = [float(x) for x in UNCLEAR]
AS_DECIMAL = [x / 1000 if x > 999 else float(x) for x in UNCLEAR]
refused_case("unclear_commas", {"volume": UNCLEAR_COMMAS}, "volume")
refused_case("unclear_dots", {"volume": UNCLEAR_DOTS}, "volume")
number_case("unclear_commas_sign_given", UNCLEAR_COMMAS, AS_DECIMAL, "volume", entry={"decimal": ","})
number_case("unclear_commas_dot_given", UNCLEAR_COMMAS, AS_WHOLE, "volume", entry={"decimal": "."})
number_case("unclear_dots_dot_given", UNCLEAR_DOTS, AS_DECIMAL, "volume", entry={"decimal": "."})
number_case("unclear_dots_by_column", UNCLEAR_DOTS, AS_WHOLE, "volume", entry={"decimal": {"volume": ","}})
case(
    "sign_shown_by_another_column_comma",
    delimited(full({"volume": UNCLEAR_DOTS, "price": each(plain_comma, SMALL)}), ";"),
    types={"volume": "number", "price": "number"},
    values={"volume": AS_WHOLE, "price": SMALL},
)
case(
    "sign_shown_by_another_column_decimals",
    delimited(full({"volume": UNCLEAR_COMMAS, "price": each(plain_comma, SMALL)}), ";"),
    types={"volume": "number"},
    values={"volume": AS_DECIMAL, "price": SMALL},
)
case(
    "sign_shown_by_another_column_dot",
    delimited(full({"volume": UNCLEAR_COMMAS, "price": [f"{v:.2f}" for v in SMALL]})),
    types={"volume": "number"},
    values={"volume": AS_WHOLE, "price": SMALL},
)
refused_case(
    "sign_shown_both_ways",
    {
        "volume": UNCLEAR_COMMAS,
        "price": [f"{v:.2f}" for v in SMALL],
        "tax": each(plain_comma, numbers(18, 1, 20)),
    },
    "volume",
)
word_case("unclear_numbers_meant_as_words", UNCLEAR_COMMAS, "volume", entry={"types": {"volume": "category"}})
case(
    "unclear_numbers_dropped",
    delimited(full({"volume": UNCLEAR_COMMAS, "rooms": cycle([1, 2, 3, 4, 5])})),
    entry={"drop": ["volume"]},
    types={"rooms": "number"},
)

# numbers that are none

word_case("two_currencies", cycle(["$5", "€7", "$12", "€9", "$40", "€25"]), "fee")
word_case("percent_in_some_rows", cycle(["45%", "0.3", "20%", "0.15", "60%", "0.5"]), "discount")
word_case("kilograms_and_grams", cycle(["2 kg", "500 g", "1 kg", "750 g", "3 kg"]), "weight")
word_case("unit_in_some_rows", cycle(["2 kg", "5", "1 kg", "7", "3 kg"]), "weight")
word_case("age_ranges", cycle(["18-25", "26-35", "36-50", "51-65"]), "band")
word_case("staff_ranges_like_days", cycle(["1-5", "6-10", "11-12", "50+"]), "staff")
word_case("open_top", cycle(["1", "2", "3", "10+"]), "rooms")
word_case("stars_of_five", cycle(["3/5", "4/5", "5/5", "1/5"]), "stars")
word_case("school_years", cycle(["2019/20", "2020/21", "2021/22", "2022/23"]), "season")
word_case("network_addresses", cycle(["10.0.0.1", "10.0.0.12", "192.168.1.7", "8.8.8.8"]), "host")
word_case("versions", cycle(["1.2.10", "1.2.9", "2.0.1", "1.10.3"]), "release")
word_case("a_word_among_numbers", cycle(["1", "2", "3", "several", "4"]), "children")
word_case("paper_sizes", cycle(["A4", "A3", "B5", "C6"]), "format")
case(
    "below_the_detection_limit",
    delimited(full({"lead": ["<0.5" if v < 20 else str(v) for v in SMALL], "iron": PRICES})),
    types={"lead": "category or text or ignore", "iron": "number"},
)

# codes

word_case("codes_with_zeros", cycle(["007", "012", "100", "001", "023"]), "shop")
word_case("codes_of_two_digits", cycle(["00", "01", "02", "10", "11"]), "region_key")
word_case("codes_of_one_value_with_zero", cycle(["101", "205", "033", "410", "520"]), "department")
word_case("sixteen_digits", [str(4929000011112223 + 1111000 * (i % 6)) for i in range(N)], "device")
case(
    "seventeen_digits_all_different",
    delimited(full({"serial": [str(10**16 + 977 * i * i + i) for i in range(N)], "price": SMALL})),
    types={"serial": "category or ignore", "price": "number"},
)
case(
    "codes_meant_as_numbers",
    delimited(full({"level": cycle(["007", "012", "100", "001"])})),
    entry={"types": {"level": "number"}},
    types={"level": "number"},
    values={"level": cycle([7.0, 12.0, 100.0, 1.0])},
)
case(
    "phone_numbers",
    delimited(
        full(
            {
                "phone": [f"555{(i * 7919 + 1234567) % 10**7:07d}" for i in range(N)],
                "mobile": [f"+49 170 {(i * 6151 + 2345678) % 10**7:07d}" for i in range(N)],
                "price": SMALL,
            }
        )
    ),
    types={"phone": "category or ignore", "mobile": "category or ignore", "price": "number"},
)
case(
    "postcodes",
    delimited(full({"postcode": cycle(["80331", "10115", "50667", "20095", "60311"]), "price": SMALL})),
    types={"postcode": "category"},
    values={"postcode": cycle(["80331", "10115", "50667", "20095", "60311"])},
)
case(
    "zip_codes_with_zeros",
    delimited(full({"zip": cycle(["02139", "10001", "94105", "07030"]), "price": SMALL})),
    types={"zip": "category"},
    values={"zip": cycle(["02139", "10001", "94105", "07030"])},
)
case(
    "account_numbers",
    delimited(full({"account_number": [str(31000000 + 7919 * (i * i % 47) + i) for i in range(N)], "price": SMALL})),
    types={"account_number": "category or ignore", "price": "number"},
)
case(
    "long_numbers_of_one_length",
    delimited(full({"reference": [str(4500000000 + 104729 * (i * i % 43) + i) for i in range(N)], "price": SMALL})),
    types={"reference": "category or ignore", "price": "number"},
)
case(
    "customer_ids",
    delimited({"customer_id": [3000 + 17 * (i * 29 % N) for i in range(N)], **full({"price": SMALL})}),
    types={"customer_id": "ignore", "age": "number", "price": "number", "plan": "category"},
    says=("customer_id",),
)
case(
    "customer_ids_with_letters",
    delimited({"customer_id": [f"C-{i * 29 % N:05d}" for i in range(N)], **full({"price": SMALL})}),
    types={"customer_id": "ignore", "price": "number"},
    says=("customer_id",),
)
case(
    "row_numbers",
    delimited({"row": list(range(1, N + 1)), **full({"price": SMALL})}),
    types={"row": "ignore", "age": "number"},
    values={"price": SMALL},
    learned=("age", "price", "plan"),
    says=("row",),
)
case(
    "index_without_a_name",
    delimited({"": list(range(N)), **full({"price": SMALL})}),
    types={"age": "number", "price": "number"},
    values={"price": SMALL},
    learned=("age", "price", "plan"),
)
case(
    "index_saved_twice",
    delimited({"Unnamed: 0": list(range(N)), **full({"price": SMALL})}),
    types={"Unnamed: 0": "ignore"},
    learned=("age", "price", "plan"),
)
case(
    "r_export_with_row_names",
    delimited(
        {"": [str(i) for i in range(1, N + 1)], **full({"income": with_gaps(each(str, PRICES), gap="NA")})},
        quoting=csv.QUOTE_NONNUMERIC,
    ),
    types={"income": "number"},
    values={"income": with_gaps(PRICES)},
    learned=("age", "income", "plan"),
    says=("income",),
)
number_case("years_one_a_row", lambda v: f"{v:.0f}", [1970.0 + i for i in range(N)], "year")
case(
    "indices_are_quantities",
    delimited(
        full(
            {
                "air_quality_index": [31 + 5 * (i * 29 % N) for i in range(N)],
                "rooms_index": [100 + (i * 31 % N) for i in range(N)],
            }
        )
    ),
    types={"air_quality_index": "number", "rooms_index": "number"},
    values={"air_quality_index": [31.0 + 5 * (i * 29 % N) for i in range(N)]},
    learned=("age", "air_quality_index", "rooms_index", "plan"),
)

# what is missing

MARKS = ["NA", "N/A", "n/a", "NaN", "null", "None", "-", "--", "?", "#N/A", "."]
for mark_name, mark in zip(
    ("na", "n_slash_a", "nan", "null", "none", "dash", "question", "excel_na", "dot"),
    ("NA", "N/A", "NaN", "null", "None", "-", "?", "#N/A", "."),
    strict=True,
):
    number_case(
        f"mark_{mark_name}_among_numbers",
        with_gaps(each(str, PRICES), gap=mark),
        with_gaps(PRICES),
        "income",
        says=("income",),
    )
number_case(
    "every_mark_among_numbers",
    [MARKS[i // 4] if i % 4 == 1 and i // 4 < len(MARKS) else str(v) for i, v in enumerate(PRICES)],
    [None if i % 4 == 1 and i // 4 < len(MARKS) else v for i, v in enumerate(PRICES)],
    "income",
    says=("income",),
)
number_case(
    "dash_among_german_amounts",
    with_gaps(each(german, SIGNED), gap="-"),
    with_gaps(SIGNED),
    delimiter=";",
    says=("amount",),
)
number_case("empty_among_numbers", str, with_gaps(PRICES), "income")
number_case("blank_among_numbers", with_gaps(each(str, PRICES), gap="   "), with_gaps(PRICES), "income")
number_case("not_listed_marks_stay_numbers", with_gaps(each(str, SMALL), gap="-999"), with_gaps(SMALL, gap=-999.0))
word_case("words_like_marks", cycle(["None", "NA", "null", "nan", "N/A", "Garage"]), "parking")
word_case("countries_with_namibia", cycle(["NA", "DE", "FR", "ZA"]), "country")
case(
    "empty_among_words",
    delimited(full({"parking": with_gaps(cycle(["None", "Garage", "Street"]), gap=""), "price": SMALL})),
    types={"parking": "category"},
    values={"parking": with_gaps(cycle(["None", "Garage", "Street"]))},
)
case(
    "listed_marks",
    delimited(
        full(
            {
                "income": with_gaps(each(str, PRICES), gap="-99"),
                "city": with_gaps(cycle(["Bern", "Basel", "Chur"]), 5, "unknown"),
            }
        )
    ),
    entry={"missing": ["-99", "unknown"]},
    types={"income": "number", "city": "category"},
    values={"income": with_gaps(PRICES), "city": with_gaps(cycle(["Bern", "Basel", "Chur"]), 5)},
)
case(
    "listed_marks_by_column",
    delimited(
        full(
            {
                "income": with_gaps(each(str, PRICES), gap="-1"),
                "change": with_gaps(each(str, SMALL), gap="-1"),
                "city": with_gaps(cycle(["Bern", "Basel", "Chur"]), 5, "none"),
                "tour": with_gaps(cycle(["day", "night"]), 5, "none"),
            }
        )
    ),
    entry={"missing": {"income": ["-1"], "city": ["none"]}},
    values={
        "income": with_gaps(PRICES),
        "change": with_gaps(SMALL, gap=-1.0),
        "city": with_gaps(cycle(["Bern", "Basel", "Chur"]), 5),
        "tour": with_gaps(cycle(["day", "night"]), 5, "none"),
    },
)
number_case(
    "eurostat_colons",
    with_gaps(each(str, PRICES), gap=":"),
    with_gaps(PRICES),
    "income",
    delimiter="\t",
    entry={"missing": [":"]},
)

# dates

date_case("iso_days", ISO_DAYS, ISO_DAYS)
date_case("iso_days_with_gaps", with_gaps(ISO_DAYS, gap=""), with_gaps(ISO_DAYS))
date_case("year_first_slashes", days("%Y/%m/%d"), ISO_DAYS)
date_case("year_first_dots", days("%Y.%m.%d"), ISO_DAYS)
date_case("day_first_slashes", days("%d/%m/%Y"), ISO_DAYS)
date_case("day_first_unpadded", [f"{d.day}/{d.month}/{d.year}" for d in DAYS], ISO_DAYS)
date_case("day_first_dashes", days("%d-%m-%Y"), ISO_DAYS)
date_case("month_first_slashes", days("%m/%d/%Y"), ISO_DAYS)
date_case("day_first_dots_never_above_twelve", days("%d.%m.%Y", EARLY), ISO_EARLY)
date_case("dots_and_short_years", days("%d.%m.%y"), ISO_DAYS)
date_case("slashes_and_short_years", days("%m/%d/%y"), ISO_DAYS)
date_case("months_and_years", days("%m/%Y"), [d.replace(day=1).isoformat() for d in DAYS], "month")
date_case("years_and_months", days("%Y-%m"), [d.replace(day=1).isoformat() for d in DAYS], "month")
WEEKS = [(2022 + i % 2, 1 + i) for i in range(N)]
date_case(
    "iso_weeks",
    [f"{year}-W{week:02d}" for year, week in WEEKS],
    [date.fromisocalendar(year, week, 1).isoformat() for year, week in WEEKS],
    "week",
)
QUARTERS = [(2015 + i // 5, 1 + (3 * i) % 4) for i in range(N)]
QUARTER_DAYS = [f"{year}-{3 * quarter - 2:02d}-01" for year, quarter in QUARTERS]
date_case("quarters_first", [f"Q{quarter} {year}" for year, quarter in QUARTERS], QUARTER_DAYS, "quarter")
date_case("quarters_last", [f"{year}Q{quarter}" for year, quarter in QUARTERS], QUARTER_DAYS, "quarter")
date_case("month_names_after_the_day", [f"{d.day} {d:%b} {d.year}" for d in DAYS], ISO_DAYS)
date_case("month_names_before_the_day", [f"{d:%b} {d.day}, {d.year}" for d in DAYS], ISO_DAYS)
date_case("month_names_and_short_years", [f"{d.day}-{d:%b-%y}" for d in DAYS], ISO_DAYS)
date_case("moments_with_t", ISO_MOMENTS, ISO_MOMENTS)
date_case("moments_with_a_space", [str(moment) for moment in MOMENTS], ISO_MOMENTS)
date_case(
    "german_moments",
    [f"{m:%d.%m.%Y %H:%M}" for m in MOMENTS],
    [m.replace(second=0).isoformat() for m in MOMENTS],
)
date_case(
    "american_afternoons",
    [f"{m.month}/{m.day}/{m.year} {(m.hour - 1) % 12 + 1}:{m:%M} {'PM' if m.hour > 11 else 'AM'}" for m in MOMENTS],
    [m.replace(second=0).isoformat() for m in MOMENTS],
)
ZONES = cycle([1, 2, -5])
UTC = [f"{(m - timedelta(hours=zone)).isoformat()}Z" for m, zone in zip(MOMENTS, ZONES, strict=True)]
date_case("zones", [f"{m.isoformat()}{zone:+03d}:00" for m, zone in zip(MOMENTS, ZONES, strict=True)], UTC)
date_case("zones_as_shops_write_them", [f"{m} {zone:+03d}00" for m, zone in zip(MOMENTS, ZONES, strict=True)], UTC)
date_case("zulu_time", [f"{m.isoformat()}Z" for m in MOMENTS], [f"{m.isoformat()}Z" for m in MOMENTS])
word_case(
    "zoned_and_naive_mixed",
    cycle(["2024-01-31T10:00:00+01:00", "2024-01-31T10:00:00", "2024-02-28T09:30:00Z", "2024-03-05T08:15:00"]),
    "when",
)
date_case("excel_days", [str(serial(d)) for d in DAYS], ISO_DAYS, "order_date")
number_case("numbers_like_excel_days", lambda v: f"{v:.0f}", [float(serial(d)) for d in cycle(DAYS[:20], 7)], "steps")
date_case("days_as_eight_digits", days("%Y%m%d"), ISO_DAYS, "booking_date")
date_case(
    "listed_marks_among_dates",
    with_gaps(ISO_DAYS, gap="0000-00-00"),
    with_gaps(ISO_DAYS),
    entry={"missing": ["0000-00-00"]},
)
refused_case("unclear_slashes", {"when": days("%d/%m/%Y", EARLY)}, "when")
refused_case("unclear_dashes", {"when": days("%d-%m-%Y", EARLY)}, "when")
refused_case("unclear_slashes_with_times", {"when": days("%d/%m/%Y 10:30", EARLY)}, "when")
date_case("unclear_slashes_day_first", days("%d/%m/%Y", EARLY), ISO_EARLY, entry={"dayfirst": True})
date_case("unclear_slashes_month_first", days("%m/%d/%Y", EARLY), ISO_EARLY, entry={"dayfirst": False})
date_case("unclear_slashes_by_column", days("%d/%m/%Y", EARLY), ISO_EARLY, entry={"dayfirst": {"when": True}})
case(
    "order_shown_by_another_column",
    delimited(full({"ordered": days("%d/%m/%Y", EARLY), "paid": days("%d/%m/%Y"), "price": SMALL})),
    types={"ordered": "date", "paid": "date"},
    values={"ordered": ISO_EARLY, "paid": ISO_DAYS},
)
case(
    "month_order_shown_by_another_column",
    delimited(full({"ordered": days("%m/%d/%Y", EARLY), "paid": days("%m/%d/%Y"), "price": SMALL})),
    types={"ordered": "date", "paid": "date"},
    values={"ordered": ISO_EARLY, "paid": ISO_DAYS},
)
refused_case(
    "order_shown_both_ways",
    {"ordered": days("%d/%m/%Y", EARLY), "paid": days("%d/%m/%Y"), "sent": days("%m/%d/%Y")},
    "ordered",
)
case(
    "unclear_dates_dropped",
    delimited(full({"when": days("%d/%m/%Y", EARLY), "price": SMALL})),
    entry={"drop": ["when"]},
    types={"price": "number"},
)

# targets

SPELLED = [("Yes" if i % 5 else "yes") if flag else ("No" if i % 4 else "NO") for i, flag in enumerate(IS_YES)]
target_case("classes_in_mixed_case", SPELLED, labels("Yes", "No"), "binary", positive="Yes")
target_case(
    "classes_with_spaces",
    [f"{x} " if i % 3 else x for i, x in enumerate(labels("Yes", "No"))],
    labels("Yes", "No"),
    "binary",
    positive="Yes",
)
target_case(
    "ratings",
    str,
    cycle([1, 2, 3, 4, 5]),
    "multiclass",
    column="stars",
)
target_case(
    "ten_whole_numbers",
    str,
    cycle(range(10)),
    "multiclass",
    column="grade",
)
target_case("counts", str, cycle(range(24)), "regression", column="visits")
target_case("decimal_target", str, PRICES, "regression", column="rent")
target_case(
    "half_grades",
    str,
    cycle([1, 1.5, 2, 2.5]),
    "regression",
    column="grade",
)
target_case(
    "half_grades_as_classes",
    str,
    cycle([1, 1.5, 2, 2.5]),
    "multiclass",
    column="grade",
    entry={"task": "multiclass"},
)
target_case("german_target", german, PRICES, "regression", column="Miete", delimiter=";")
target_case("target_in_euros", lambda v: f"€{english(v)}", PRICES, "regression", column="rent")
class_case("class_none", cycle(["None", "Mild", "Severe"]), "multiclass", column="pain")
class_case("class_na", cycle(["NA", "EMEA", "APAC"]), "multiclass", column="market")
class_case("class_null_of_two", labels("null", "set"), "binary", column="pointer", positive="null")
target_case("zero_and_one", str, labels(0, 1), "binary", positive=1)
target_case(
    "zero_and_one_as_floats",
    str,
    labels(1.0, 0.0),
    "binary",
    positive=1,
)
class_case("true_and_false", labels("FALSE", "TRUE"), "binary", positive="TRUE")
class_case("ja_nein", labels("nein", "ja"), "binary", column="Kündigung?", encoding="cp1252", positive="ja")
class_case("oui_non", labels("non", "oui"), "binary", column="résilié", positive="oui")
class_case("si_no", labels("no", "sí"), "binary", column="baja", encoding="cp1252", positive="sí")
class_case("da_net", labels("нет", "да"), "binary", column="уход", positive="да")
class_case("churned", labels("Retained", "Churned"), "binary", positive="Churned")
class_case("malignant", labels("benign", "malignant"), "binary", column="finding", positive="malignant")
class_case("good_and_bad", labels("good", "bad"), "binary", column="risk", positive="bad")
class_case("fraud", labels("fraud", "ok"), "binary", column="verdict", positive="fraud")
class_case("loan_default", labels("paid", "default"), "binary", column="outcome", positive="default")
class_case("rarer_of_two", labels("red", "blue"), "binary", column="team", positive="red")
class_case("positive_given", labels("Yes", "No"), "binary", entry={"task": "binary", "positive": "No"}, positive="No")

# files

PLAIN = full({"price": SMALL, "city": cycle(["Zürich", "Genève", "Bern", "Köln"])})
PLAIN_EXPECTED = {
    "types": {"age": "number", "price": "number", "city": "category", "plan": "category"},
    "values": {"price": SMALL, "city": PLAIN["city"], "left": PLAIN["left"], "age": [float(x) for x in AGE]},
    "task": "binary",
    "positive": "Yes",
}
PLAIN_TEXT = text_of(rows_of(PLAIN))
for file_name, file in {
    "tabs": delimited(PLAIN, "\t", name="table.tsv"),
    "pipes": delimited(PLAIN, "|", name="table.txt"),
    "semicolons": delimited(PLAIN, ";"),
    "byte_order_mark": delimited(PLAIN, encoding="utf-8-sig"),
    "utf_16": delimited(PLAIN, "\t", encoding="utf-16"),
    "windows_text": delimited(PLAIN, ";", encoding="cp1252"),
    "windows_line_ends": delimited(PLAIN, newline="\r\n"),
    "sep_line": delimited(PLAIN, ";", first="sep=;\n"),
    "sep_line_windows": delimited(PLAIN, ";", encoding="utf-8-sig", newline="\r\n", first="sep=;\r\n"),
    "blank_lines_at_the_end": content("table.csv", PLAIN_TEXT + "\n\n"),
    "no_line_end_at_the_end": content("table.csv", PLAIN_TEXT.rstrip("\n")),
    "gzip": content("table.csv.gz", gzip.compress(PLAIN_TEXT.encode(), mtime=0)),
    "bzip2": content("table.csv.bz2", bz2.compress(PLAIN_TEXT.encode())),
    "xz": content("table.csv.xz", lzma.compress(PLAIN_TEXT.encode())),
    "zstandard": zstandard(PLAIN),
    "parquet": parquet(pd.DataFrame(PLAIN)),
    "parquet_parts": parts(pd.DataFrame(PLAIN)[:20], pd.DataFrame(PLAIN)[20:]),
    "sqlite": sqlite(clients=PLAIN),
    "duckdb": duck(clients=PLAIN),
    "xlsx": workbook(Data=PLAIN),
    "json_array": content("table.json", pd.DataFrame(PLAIN).to_json(orient="records", force_ascii=False)),
    "json_lines": content("table.jsonl", pd.DataFrame(PLAIN).to_json(orient="records", lines=True, force_ascii=False)),
}.items():
    case(f"file_{file_name}", file, **PLAIN_EXPECTED)
case("file_other_delimiter", delimited(PLAIN, "~", name="table.txt"), entry={"delimiter": "~"}, **PLAIN_EXPECTED)
case("file_encoding_given", delimited(PLAIN, ";", encoding="cp850"), entry={"encoding": "cp850"}, **PLAIN_EXPECTED)
case(
    "file_cyrillic_windows",
    delimited(full({"город": cycle(["Москва", "Казань", "Томск"]), "price": SMALL}), ";", encoding="cp1251"),
    entry={"encoding": "cp1251"},
    types={"город": "category"},
    values={"город": cycle(["Москва", "Казань", "Томск"]), "price": SMALL},
)
case("file_sqlite_table_given", sqlite(clients=PLAIN, notes={"x": [1]}), entry={"table": "clients"}, **PLAIN_EXPECTED)
case("file_sqlite_two_tables", sqlite(clients=PLAIN, notes={"x": [1]}), refused="table|clients")
case("file_duckdb_two_tables", duck(clients=PLAIN, notes={"x": [1]}), refused="table|clients")
case("file_xlsx_sheet_given", workbook(Notes={"x": [1]}, Data=PLAIN), entry={"sheet": "Data"}, **PLAIN_EXPECTED)
case("file_xlsx_two_sheets", workbook(Data=PLAIN, Notes={"x": [1]}), refused="sheet|Data")
case(
    "file_xlsx_typed_cells",
    workbook(
        Sheet1=full(
            {
                "order_date": with_gaps(DAYS),
                "paid": cycle([True, False, True]),
                "price": with_gaps(PRICES, 5),
                "shop": cycle(["007", "012", "R&D"]),
                "comment": with_gaps(cycle(["fine", "late"]), 4),
            }
        )
    ),
    types={"order_date": "date", "price": "number", "shop": "category", "comment": "category"},
    values={
        "order_date": with_gaps(ISO_DAYS),
        "price": with_gaps(PRICES, 5),
        "shop": cycle(["007", "012", "R&D"]),
        "comment": with_gaps(cycle(["fine", "late"]), 4),
    },
)
case(
    "file_parquet_typed_columns",
    parquet(
        pd.DataFrame(full({"when": DAYS, "seen": pd.to_datetime(MOMENTS)})).assign(
            rooms=pd.array(with_gaps(cycle([1, 2, 3])), dtype="Int64"),
            city=pd.Categorical(cycle(["Bern", "NA", "Chur"])),
            paid=cycle([True, False, True]),
        )
    ),
    types={"when": "date", "seen": "date", "rooms": "number", "city": "category"},
    values={
        "when": ISO_DAYS,
        "seen": ISO_MOMENTS,
        "rooms": [None if x is None else float(x) for x in with_gaps(cycle([1, 2, 3]))],
        "city": cycle(["Bern", "NA", "Chur"]),
    },
)
case(
    "file_parquet_true_and_false",
    parquet(pd.DataFrame(full({"price": SMALL}, labels(False, True)))),
    task="binary",
    positive=True,
    types={"price": "number"},
)
case(
    "file_parquet_parts_of_two_kinds",
    parts(pd.DataFrame(PLAIN)[:20], pd.DataFrame(PLAIN)[20:].rename(columns={"price": "cost"})),
    refused="price|cost|part-00001",
)
case(
    "file_json_lines_keys_left_out",
    content(
        "table.jsonl",
        "".join(
            json.dumps(
                {"age": age, "left": left, "city": "None" if i % 3 else "Bern"}
                | ({} if i % 7 == 3 else {"price": price})
                | ({"rooms": None} if i % 5 == 3 else {"rooms": i % 4})
            )
            + "\n"
            for i, (age, left, price) in enumerate(zip(AGE, labels("Yes", "No"), SMALL, strict=True))
        ),
    ),
    types={"price": "number", "rooms": "number", "city": "category"},
    values={
        "price": with_gaps(SMALL),
        "rooms": with_gaps([float(i % 4) for i in range(N)], 5),
        "city": ["None" if i % 3 else "Bern" for i in range(N)],
    },
)
case(
    "file_json_text_numbers",
    content(
        "table.json",
        pd.DataFrame(full({"shop": cycle(["007", "012", "100"]), "price": each(german, PRICES)})).to_json(
            orient="records"
        ),
    ),
    types={"shop": "category", "price": "number"},
    values={"shop": cycle(["007", "012", "100"]), "price": PRICES},
)
case(
    "file_json_nested",
    content(
        "table.jsonl",
        pd.DataFrame(full({"address": [{"city": "Bern", "floor": age % 4} for age in AGE]})).to_json(
            orient="records", lines=True
        ),
    ),
    refused="address",
)
case(
    "file_json_lists",
    content(
        "table.json", pd.DataFrame(full({"tags": [["a", "b"][: age % 3] for age in AGE]})).to_json(orient="records")
    ),
    refused="tags",
)
case(
    "file_sqlite_text_amounts",
    sqlite(sales=full({"amount": [f"{v:,.2f}" for v in PRICES], "shop": cycle(["007", "012", "100"])})),
    types={"amount": "number", "shop": "category"},
    values={"amount": PRICES, "shop": cycle(["007", "012", "100"])},
)

# broken files

LINES = PLAIN_TEXT.splitlines()
case(
    "broken_row_with_a_field_more",
    content("table.csv", "\n".join([*LINES[:12], LINES[12] + ",7", *LINES[13:]]) + "\n"),
    refused="row|line|field",
)
case(
    "broken_row_with_a_field_less",
    content("table.csv", "\n".join([*LINES[:20], LINES[20].rpartition(",")[0], *LINES[21:]]) + "\n"),
    refused="row|line|field",
)
case(
    "broken_last_row",
    content("table.csv", PLAIN_TEXT.rstrip("\n").rpartition(",")[0]),
    refused="row|line|field",
)
case(
    "broken_decimal_commas_not_quoted",
    content(
        "table.csv",
        "age,price,left\n"
        + "".join(
            f"{age},{str(v).replace('.', ',')},{left}\n"
            for age, v, left in zip(AGE, numbers(19, 1, 99), labels("Yes", "No"), strict=True)
        ),
    ),
    refused="row|line|field|column",
)
case(
    "broken_open_quote",
    content("table.csv", "\n".join([*LINES[:12], LINES[12].replace(",", ',"', 1), *LINES[13:]]) + "\n"),
    refused="quote|row|line",
)
case(
    "broken_two_columns_of_one_name",
    content("table.csv", "\n".join(["age,price,price,plan,left", *LINES[1:]]) + "\n"),
    refused="price",
)
case(
    "broken_no_header",
    content("table.csv", "\n".join(LINES[1:]) + "\n"),
    LINES[1].rpartition(",")[2],
    refused="header|column name|names",
)
case("broken_one_column", delimited({"left": labels("Yes", "No")}), refused="column|left")
case("broken_empty_file", content("table.csv", ""), refused="empty|no rows|table.csv")
case("broken_header_only", content("table.csv", LINES[0] + "\n"), refused="row|empty")
case("broken_target_not_there", delimited(PLAIN), "churn", refused="churn")
case(
    "broken_only_columns_that_say_nothing",
    delimited({"customer_id": [f"C-{i:05d}" for i in range(N)], "left": labels("Yes", "No")}),
    refused="column|feature|customer_id",
)

# splits and settings of columns

case(
    "split_by_time",
    delimited(full({"when": days("%d/%m/%Y"), "price": SMALL})),
    entry={"split": {"time": "when"}},
    types={"when": "date"},
    values={"when": ISO_DAYS},
)
case(
    "split_by_time_of_words",
    delimited(full({"stage": cycle(["early", "middle", "late"]), "price": SMALL})),
    entry={"split": {"time": "stage"}},
    refused="stage",
)
case(
    "split_by_time_of_notes",
    delimited(full({"note": NOTES, "price": SMALL})),
    entry={"split": {"time": "note"}},
    refused="note",
)
case(
    "split_by_group",
    delimited(full({"patient": [f"P{i % 16:03d}" for i in range(N)], "price": SMALL})),
    entry={"split": {"group": "patient"}},
    types={"price": "number"},
)
case(
    "types_given",
    delimited(full({"stars": cycle([1, 2, 3, 4, 5]), "internal": SMALL, "price": SMALL[::-1]})),
    entry={"types": {"stars": "category", "internal": "ignore"}},
    types={"stars": "category", "internal": "ignore", "price": "number"},
    values={"stars": cycle(["1", "2", "3", "4", "5"]), "price": SMALL[::-1]},
)

# other columns

case(
    "empty_columns",
    delimited(full({"fax": [""] * N, "telex": [" "] * N, "price": SMALL})),
    types={"fax": "ignore", "telex": "ignore", "price": "number"},
    says=("fax", "telex"),
)
case(
    "delimiter_at_every_line_end",
    content("table.csv", "".join(f"{line};\n" for line in text_of(rows_of(PLAIN), ";").splitlines())),
    types={"price": "number"},
    values={"price": SMALL, "left": PLAIN["left"]},
    learned=("age", "price", "city", "plan"),
)
case(
    "constant_columns",
    delimited(full({"currency": ["EUR"] * N, "unit": [1] * N, "price": SMALL})),
    types={"currency": "ignore", "unit": "ignore", "price": "number"},
    says=("currency", "unit"),
)
case(
    "columns_twice_under_two_names",
    delimited(full({"price": SMALL, "price_copy": SMALL})),
    types={"price": "number", "price_copy": "number or ignore"},
    values={"price": SMALL},
)
case(
    "booleans_of_all_kinds",
    delimited(
        full(
            {
                "partner": cycle(["TRUE", "FALSE", "TRUE"]),
                "mieter": cycle(["ja", "nein", "nein"]),
                "active": cycle([0, 1, 1]),
                "member": cycle(["Y", "N", "N"]),
                "price": SMALL,
            }
        )
    ),
    types={"partner": "category", "mieter": "category", "active": "number or category", "member": "category"},
    values={"partner": cycle(["TRUE", "FALSE", "TRUE"]), "mieter": cycle(["ja", "nein", "nein"])},
)
case(
    "long_texts",
    delimited(full({"note": [f"{note} {' '.join(NOTES)}"[: 900 + 40 * i] for i, note in enumerate(NOTES)]})),
    types={"note": "text"},
    values={"left": labels("Yes", "No")},
)
case(
    "texts_over_lines",
    delimited(
        full({"note": [note.replace(" the ", ',\nthe "', 1) + ';\n\nbye"' for note in NOTES], "price": SMALL}),
        newline="\r\n",
    ),
    types={"note": "text", "price": "number"},
    values={"price": SMALL, "left": labels("Yes", "No")},
)
case(
    "commas_in_texts_of_a_semicolon_file",
    delimited(
        full({"note": [note.replace(" ", ", ") for note in NOTES], "price": each(plain_comma, SMALL)}),
        ";",
    ),
    types={"note": "text", "price": "number"},
    values={"price": SMALL, "note": [note.replace(" ", ", ") for note in NOTES]},
)
case(
    "names_with_accents",
    delimited(full({"Größe (m²)": SMALL, "Überfällig": cycle(["früh", "spät"])}), ";", encoding="cp1252"),
    types={"Größe (m²)": "number", "Überfällig": "category"},
    values={"Größe (m²)": SMALL, "Überfällig": cycle(["früh", "spät"])},
)
word_case("smileys", cycle(["😀", "😐", "🙁"]), "mood")
word_case("words_with_quotes_and_commas", cycle(['6" pipe', "O'Neil, Ltd.", "a;b|c", "plain"]), "article")

# whole exports

STAFF, TOWNS = cycle([12, 1250, 480, 1234567, 75]), cycle([1250, 640000, 87, 12400])
TEMPERATURES, HUMIDITY, QUANTITIES = numbers(21, -5, 30, 1), whole(22, 20, 95), numbers(20, -3000, 9000, 3)
SALARIES, SERVICE = whole(23, 21000, 95000), whole(24, 0, 30)

case(
    "export_bank_statement",
    delimited(
        {
            "Buchungstag": days("%d.%m.%Y"),
            "Verwendungszweck": [f"Rechnung {3 * i + 7} {note}" for i, note in enumerate(NOTES)],
            "IBAN": [f"DE{10 + i:02d}5001051754{i * 7919 % 10**8:08d}" for i in range(N)],
            "Betrag": each(german, SIGNED),
            "Währung": ["EUR"] * N,
            "Art": cycle(["Lastschrift", "Überweisung", "Dauerauftrag"]),
            "Rückläufer": labels("ja", "nein"),
        },
        ";",
        "cp1252",
        csv.QUOTE_ALL,
        "\r\n",
    ),
    "Rückläufer",
    types={
        "Buchungstag": "date",
        "IBAN": "category or ignore",
        "Betrag": "number",
        "Währung": "ignore",
        "Art": "category",
        "Verwendungszweck": "text",
    },
    values={"Buchungstag": ISO_DAYS, "Betrag": SIGNED},
    task="binary",
    positive="ja",
)
case(
    "export_sap_list",
    delimited(
        {
            "Material": [f"{(i * 13 % 7) + 45001234:018d}" for i in range(N)],
            "Werk": cycle(["0100", "0200", "1000"]),
            "Menge": [grouped(abs(v), ".", ",", 3) + ("-" if v < 0 else " ") for v in QUANTITIES],
            "Preis": each(german, PRICES),
            "Gebucht": days("%d.%m.%Y", EARLY),
            "Storno": labels("X", "O"),
        },
        "|",
        "utf-16",
    ),
    "Storno",
    types={"Material": "category", "Werk": "category", "Menge": "number", "Preis": "number", "Gebucht": "date"},
    values={
        "Material": [f"{(i * 13 % 7) + 45001234:018d}" for i in range(N)],
        "Menge": QUANTITIES,
        "Preis": PRICES,
        "Gebucht": ISO_EARLY,
    },
    positive="X",
)
case(
    "export_survey",
    delimited(
        {
            "Timestamp": [f"{m.month}/{m.day}/{m.year} {m:%H:%M:%S}" for m in MOMENTS],
            "How satisfied are you, overall?": cycle(["1 - Not at all", "2 - Somewhat", "3 - Very"]),
            "Would you recommend us (0-10)?": cycle(range(11)),
            "Gender": cycle(["Female", "Male", "Prefer not to say"]),
            "What can we do better?": ["" if i % 6 == 2 else note for i, note in enumerate(NOTES)],
            "Will you come again?": labels("No", "Yes"),
        },
        encoding="utf-8-sig",
        quoting=csv.QUOTE_ALL,
    ),
    "Will you come again?",
    types={
        "Timestamp": "date",
        "How satisfied are you, overall?": "category",
        "Would you recommend us (0-10)?": "number",
        "What can we do better?": "text",
    },
    values={
        "Timestamp": ISO_MOMENTS,
        "Would you recommend us (0-10)?": [float(x) for x in cycle(range(11))],
        "What can we do better?": [None if i % 6 == 2 else note for i, note in enumerate(NOTES)],
    },
    positive="Yes",
)
case(
    "export_sensor_log",
    delimited(
        {
            "ts": [f"{m.isoformat()}Z" for m in MOMENTS],
            "sensor": cycle(["north", "south"]),
            "temp": with_gaps(each(str, TEMPERATURES), gap="NaN"),
            "humidity": [f"{x:.0f} %" for x in HUMIDITY],
            "status": cycle(["OK", "OK", "WARN"]),
            "power": each(str, PRICES),
        },
        "\t",
        name="log.tsv",
    ),
    "power",
    types={"ts": "date", "temp": "number", "humidity": "number", "status": "category"},
    values={
        "ts": [f"{m.isoformat()}Z" for m in MOMENTS],
        "temp": with_gaps(TEMPERATURES),
        "humidity": [x / 100 for x in HUMIDITY],
        "power": PRICES,
    },
    task="regression",
    says=("temp",),
)
case(
    "export_customers",
    delimited(
        {
            "Account ID": [f"0015g{i * 7919 % 100000:05d}XyZAA" for i in range(N)],
            "Phone": [f"(0{30 + i % 9}) {1234567 + 7919 * i}" for i in range(N)],
            "Email": [f"user{i}@example.org" for i in range(N)],
            "Employees": [f"{x:,}" for x in STAFF],
            "Revenue": [f"${x:,.2f}" for x in PRICES],
            "Last contact": [f"{d.day}-{d:%b-%y}" for d in DAYS],
            "Segment": cycle(["SMB", "Enterprise", "None"]),
            "Churned": labels("TRUE", "FALSE"),
        },
        encoding="utf-8-sig",
        newline="\r\n",
    ),
    "Churned",
    types={
        "Account ID": "ignore",
        "Phone": "category or ignore",
        "Email": "category or ignore or text",
        "Employees": "number",
        "Revenue": "number",
        "Last contact": "date",
        "Segment": "category",
    },
    values={
        "Employees": [float(x) for x in STAFF],
        "Revenue": PRICES,
        "Last contact": ISO_DAYS,
        "Segment": cycle(["SMB", "Enterprise", "None"]),
    },
    task="binary",
    positive="TRUE",
)
case(
    "export_staff_list",
    delimited(
        {
            "employee_no": [f"{i * 29 % 97:06d}" for i in range(N)],
            "salary": [f"£{x:,.0f}" for x in SALARIES],
            "bonus": [f"£{x:.2f}" for x in SMALL],
            "service": [f"{x:.0f} yrs" for x in SERVICE],
            "started": days("%d/%m/%Y"),
            "reviewed": days("%d/%m/%Y", EARLY),
            "left": labels("Yes", "No"),
        },
        encoding="cp1252",
    ),
    types={
        "employee_no": "category or ignore",
        "salary": "number",
        "bonus": "number",
        "service": "number",
        "started": "date",
        "reviewed": "date",
    },
    values={
        "salary": SALARIES,
        "bonus": SMALL,
        "service": SERVICE,
        "started": ISO_DAYS,
        "reviewed": ISO_EARLY,
    },
)
case(
    "export_statistics_office",
    delimited(
        full(
            {
                "Gemeinde": cycle(["Łódź", "Kraków", "Gdańsk"]),
                "Einwohner": [grouped(x, NARROW, ",", 0) for x in TOWNS],
                "Dichte": with_gaps([grouped(x, NARROW, ",", 1) for x in PRICES], gap="."),
            }
        ),
        ";",
        "utf-8-sig",
    ),
    types={"Gemeinde": "category", "Einwohner": "number", "Dichte": "number"},
    values={"Einwohner": [float(x) for x in TOWNS], "Dichte": with_gaps([round(x, 1) for x in PRICES])},
    says=("Dichte",),
)
