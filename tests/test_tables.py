"""How numbers, dates and the text of files are read: a column at a time, and doubt is said."""

import csv
import io
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.console import PipelineError
from pipeline.tables.columns import Column, as_facts, from_facts, read_columns
from pipeline.tables.csv_text import Layout, csv_frames, decode, find_delimiter, read_csv_bytes
from pipeline.tables.dates import Dates, find_dates, read_dates
from pipeline.tables.numbers import Numbers, find_numbers, number_text, read_numbers


def read(values: list[str], decimal: str = "") -> list[float]:
    evidence = find_numbers(values)
    assert not evidence.word
    if decimal and not evidence.numbers.decimal:
        evidence = evidence.told(decimal)
    return read_numbers(pd.Series(values, dtype=object), evidence.numbers).tolist()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        ("1,234.50", 1234.5),
        ("1'234", 1234),
        ("1\u2019234.5", 1234.5),
        ("1.234,50", 1234.5),
        ("1 234,5", 1234.5),
        ("1\u202f234,5", 1234.5),
        ("1\u00a0234,5", 1234.5),
        ("1,23,456.5", 123456.5),
        ("0,512", 0.512),
        ("26,75", 26.75),
        ("\u22125", -5),
        ("5-", -5),
        ("$5", 5),
        ("5 €", 5),
        ("-$5", -5),
        ("$-5", -5),
        ("R$ 5", 5),
        ("£ +5", 5),
        ("(12)", -12),
        ("($1,200.00)", -1200),
        ("45 %", 0.45),
        ("12 kg", 12),
        ("12kg", 12),
        (".5", 0.5),
        ("1e3", 1000),
        ("1e999", math.inf),
        ("-1.4435313882996355", -1.4435313882996355),
    ],
)
def test_numbers_as_people_write_them(text: str, number: float) -> None:
    assert read([text]) == [number]


@pytest.mark.parametrize(
    "text",
    [
        "-$-5",
        "(5",
        "5)",
        "$",
        "five",
        "5 to 7",
        "12-01",
        "3 % %",
        "1_000",
        "0x1F",
        "1.2.10",
        "10+",
        "R1",
        "12 am",
        "12 34",
    ],
)
def test_what_is_no_number(text: str) -> None:
    assert find_numbers([text]).word == text
    assert math.isnan(read_numbers(pd.Series([text]), Numbers("."))[0])


def test_a_column_is_decided_by_all_of_its_values() -> None:
    assert read(["0,512", "1,250", "12,345"]) == [0.512, 1.25, 12.345]
    assert read(["1.234", "999", "1.234.567"]) == [1234, 999, 1234567]
    assert find_numbers(["12,345", "7"]).doubtful == "12,345"
    assert find_numbers(["1.234", "999"]).doubtful == "1.234"
    assert read(["12,345", "7"], ",") == [12.345, 7]
    assert read(["12,345", "7"], ".") == [12345, 7]
    # what a column tells itself is stronger than its neighbours
    assert read(["1.5"], ",") == [1.5]
    for mixed in (["1,5", "1.5"], ["$5", "€5"], ["5 kg", "500 g"], ["45 %", "45"], ["5 kg", "5"]):
        assert find_numbers(mixed).word


def test_a_kept_way_of_writing_refuses_what_does_not_fit() -> None:
    def one(text: str, numbers: Numbers) -> float:
        return float(read_numbers(pd.Series([text], dtype=object), numbers)[0])

    assert one("1.234", Numbers(",", grouped=True)) == 1234
    # where thousands were never set apart, it may be another's point
    assert math.isnan(one("1.234", Numbers(",")))
    assert one("1.234,5", Numbers(",")) == 1234.5
    assert math.isnan(one("5", Numbers(".", "kg")))
    assert math.isnan(one("1.5", Numbers(",")))
    assert math.isnan(one("1,5", Numbers(".")))
    # nothing has told the sign: what reads alike by both, or by one only, is a number
    assert one("1.5", Numbers()) == one("1,5", Numbers()) == 1.5
    assert math.isnan(one("1.234", Numbers()))
    assert math.isnan(one("5 €", Numbers(".", "$")))
    assert math.isnan(one("0.45", Numbers(".", "%")))
    for numbers in (Numbers("."), Numbers(",", "€"), Numbers(".", "%"), Numbers()):
        assert one(number_text(0.5, numbers), numbers) == 0.5


@pytest.mark.parametrize(
    ("name", "values", "read_as"),
    [
        ("d", ["2024-01-31", "2024/2/1"], ["2024-01-31", "2024-02-01"]),
        ("d", ["13/02/2024", "03/04/2024"], ["2024-02-13", "2024-04-03"]),
        ("d", ["02/13/2024", "03/04/2024"], ["2024-02-13", "2024-03-04"]),
        ("d", ["01.02.2024"], ["2024-02-01"]),
        ("d", ["10/2023"], ["2023-10-01"]),
        ("d", ["2023-W05"], ["2023-01-30"]),
        ("d", ["Q3 2024", "Q1 2023"], ["2024-07-01", "2023-01-01"]),
        ("d", ["2024Q3"], ["2024-07-01"]),
        ("d", ["3 Jan 2024", "12. März 2024"], ["2024-01-03", "2024-03-12"]),
        ("d", ["Jan 3, 2024"], ["2024-01-03"]),
        ("d", ["3-Jan-24"], ["2024-01-03"]),
        ("d", ["31/12/2023 10:15 PM"], ["2023-12-31T22:15:00"]),
        ("d", ["2024-01-31T10:00:00.123"], ["2024-01-31T10:00:00.123000"]),
        ("d", ["2024-01-31T10:00:00+01:00", "2024-01-31 10:00Z"], ["2024-01-31T09:00:00Z", "2024-01-31T10:00:00Z"]),
        ("order_date", ["45000", "45000.5"], ["2023-03-15T00:00:00", "2023-03-15T12:00:00"]),
        ("order_date", ["20240131"], ["2024-01-31"]),
    ],
)
def test_points_in_time_as_people_write_them(name: str, values: list[str], read_as: list[str]) -> None:
    found = find_dates(values, name)
    assert found.dates
    assert not found.doubtful
    assert read_dates(pd.Series(values, dtype=object), found.dates).tolist() == read_as


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("d", ["1.2.10", "2.13.4"]),
        ("version", ["1.2.10", "2.3.11"]),
        ("station", ["45000"]),
        ("d", ["30/02/2024"]),
        ("d", ["2024-13-01"]),
        ("d", ["2024-01-31T10:00:00Z", "2024-01-31T10:00:00"]),
        ("d", ["12:30"]),
        ("d", ["10/2023", "2023-W05"]),
    ],
)
def test_what_is_no_point_in_time(name: str, values: list[str]) -> None:
    assert find_dates(values, name).dates is None


def test_the_order_of_day_and_month_is_told_or_asked_for() -> None:
    for values in (["01/02/2024"], ["05/05/2024"], ["24-01-31", "24-02-11"]):
        assert find_dates(values, "d").doubtful == values[0]
    assert find_dates(["01/02/2024"], "d", dayfirst=False).dates == Dates("month first")
    # and holds for a later file, whose days alone would say otherwise
    assert read_dates(pd.Series(["02/01/2024", "13/01/2024"]), Dates("month first")).tolist() == ["2024-02-01", None]
    zoned = pd.Series(["2024-01-31", "2024-01-31T10:00Z"])
    assert read_dates(zoned, Dates("day first")).tolist() == ["2024-01-31", None]


def test_columns_are_kept_as_plain_values() -> None:
    for column in (
        Column("number", numbers=Numbers(",", "kg"), marks=("-1",)),
        Column("date", dates=Dates("day first", zoned=True)),
        Column("category", words=("Yes", "No"), digits="5", flags=("TRUE",), na_words=True),
        Column("text"),
    ):
        assert from_facts(column.kind, as_facts(column)) == column
    with pytest.raises(TypeError, match="unknown: size"):
        from_facts("number", {"size": 3})


def test_a_value_that_fits_no_way_of_writing_is_named() -> None:
    columns = {"x": Column("number", numbers=Numbers(",")), "c": Column("category", marks=("?",))}
    frame = pd.DataFrame({"x": ["1,5", "n/a", "2.5"], "c": ["?", "NA", " a "]})
    with pytest.raises(PipelineError, match=r"t: column 'x': '2\.5' in line 4 is no number with a decimal comma"):
        read_columns(frame, columns, "t")
    read_frame = read_columns(frame[:2], columns, "t")
    np.testing.assert_array_equal(read_frame["x"], [1.5, np.nan])
    assert read_columns(frame, columns, "t", strict=False)["x"].tolist() == ["1,5", "n/a", "2.5"]
    assert read_columns(frame, columns, "t", strict=False)["c"].tolist() == [None, "NA", "a"]


def test_the_delimiter_is_what_cuts_every_row_alike() -> None:
    path = Path("t.csv")
    assert find_delimiter(path, "a;b\n1,5;2,5\n") == ";"
    assert find_delimiter(path, "a\tb\n1\t2,5\n") == "\t"
    assert find_delimiter(path, '"a;b";"c"\n1;2\n') == ";"
    assert find_delimiter(path, "a\n1\n") == ","
    both = "name, first;age, years\nDoe, John;5, 6\n"
    with pytest.raises(PipelineError, match="can be cut at ',' and ';'; set `delimiter:`"):
        find_delimiter(path, both)
    assert find_delimiter(path, both, kept=";") == ";"
    frame, layout = read_csv_bytes(path, b"sep=;\r\na;b\r\nNA;\r\n")
    assert layout == Layout(";", "utf-8")
    assert frame.to_dict("list") == {"a": ["NA"], "b": [None]}


@pytest.mark.parametrize(
    ("text", "encoding", "found"),
    [
        ("Zürich,Genève\nSão Paulo,5 €\n", "cp1252", "cp1252"),
        ("имя;город;да\nИван;Москва;нет\nАнна;Казань;да\nПётр;Тверь;да\n", "cp1251", "cp1251"),
        ("a,b\n1,é\n", "utf-8-sig", "utf-8-sig"),
        ("a,b\n1,é\n", "utf-16", "utf-16"),
    ],
)
def test_the_encoding_is_found(text: str, encoding: str, found: str) -> None:
    assert decode(Path("t"), text.encode(encoding)) == (text, found)


@pytest.mark.parametrize(
    ("text", "encoding"), [("Łódź;Gdańsk;żółw\n", "cp1250"), ("İstanbul;şehir;ğ\n", "cp1254"), ("имя;да\n", "koi8-r")]
)
def test_an_encoding_that_may_be_two_is_asked_for(text: str, encoding: str) -> None:
    with pytest.raises(PipelineError, match=r"line 1 is not UTF-8.*set `encoding:`"):
        decode(Path("t"), text.encode(encoding))
    assert decode(Path("t"), text.encode(encoding), given=encoding)[0] == text
    assert decode(Path("t"), text.encode(encoding), kept=encoding)[0] == text


def test_a_csv_file_is_read_in_parts() -> None:
    frame = pd.DataFrame({"a": [f'x "{i}"\n,' for i in range(25)], "b": ["", "None"] * 12 + ["1"]})
    text = frame.to_csv(index=False, quoting=csv.QUOTE_ALL)
    parts = list(csv_frames(Path("t"), io.StringIO(text, newline=""), ",", rows=10))
    assert [len(part) for part in parts] == [10, 10, 5]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), frame.mask(frame == "", None))
