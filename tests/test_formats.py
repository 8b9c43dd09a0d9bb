"""Tables of every format, written by their own libraries, and the faults of each."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sqlite3
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline.console import PipelineError
from pipeline.tables.csv_text import Layout
from pipeline.tables.formats import read_source

BIG = 2**53 + 1
CSV = b"a,b\n1,x\n2,\n"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
STYLES = {date: 1, datetime: 2, time: 3}


def read(path: Path, **given: str) -> pd.DataFrame:
    return read_source(path, "make it", Layout(**given))[0]


def refusal(path: Path, **given: str) -> str:
    with pytest.raises(PipelineError) as caught:
        read_source(path, "make it", Layout(**given))
    words = str(caught.value)
    assert words.startswith(f"{path}: ")
    assert "\n" not in words
    return words.removeprefix(f"{path}: ")


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def cell(value: Any, place: str) -> str:
    """A cell of a sheet; text that begins with # is an error, as `#N/A`."""
    if isinstance(value, str) and not value.startswith("#"):
        return f'<c r="{place}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    if isinstance(value, bool | str):
        return f'<c r="{place}" t="{"b" if isinstance(value, bool) else "e"}"><v>{escape(str(value))}</v></c>'
    if isinstance(value, datetime):
        value_days: float = (value - datetime(1899, 12, 30)).total_seconds() / 86400
    elif isinstance(value, time):
        value_days = value.hour / 24
    elif isinstance(value, date):
        value_days = (value - date(1899, 12, 30)).days
    else:
        value_days = value
    return f'<c r="{place}" s="{STYLES.get(type(value), 0)}"><v>{value_days}</v></c>'


def workbook(path: Path, sheets: dict[str, dict[str, Any]], hidden: tuple[str, ...] = ()) -> Path:
    """An Excel file: for each sheet its cells by their places, in the order of rows."""
    parts = {f"worksheets/{position}.xml": cells for position, cells in enumerate(sheets.values())}
    links = "".join(
        f'<Relationship Id="r{position}" Type="{OFFICE}/worksheet" Target="{part}"/>'
        for position, part in enumerate(parts)
    )
    states = dict.fromkeys(hidden, 'state="hidden"')
    listed = "".join(
        f'<sheet name="{name}" sheetId="{position + 1}" r:id="r{position}" {states.get(name, "")}/>'
        for position, name in enumerate(sheets)
    )
    formats = "".join(f'<xf numFmtId="{number}"/>' for number in (0, 14, 22, 20))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("[Content_Types].xml", f'<Types xmlns="{PACKAGE}/content-types"/>')
        file.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r" Type="{OFFICE}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        file.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>{listed}</sheets></workbook>'
        )
        file.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{PACKAGE}/relationships">{links}</Relationships>'
        )
        file.writestr(
            "xl/styles.xml", f'<styleSheet xmlns="{MAIN}"><cellXfs count="4">{formats}</cellXfs></styleSheet>'
        )
        for part, cells in parts.items():
            rows: dict[str, str] = {}
            for place, value in cells.items():
                row = place.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
                rows[row] = rows.get(row, "") + cell(value, place)
            data = "".join(f'<row r="{row}">{content}</row>' for row, content in rows.items())
            file.writestr(f"xl/{part}", f'<worksheet xmlns="{MAIN}"><sheetData>{data}</sheetData></worksheet>')
    return path


SMALL = {"A1": "n", "A2": 1}
OTHER = {"A1": "m", "A2": 2}


def database(path: Path, *statements: str) -> Path:
    base = sqlite3.connect(path)
    for statement in statements:
        base.execute(statement)
    base.commit()
    base.close()
    return path


def duck(path: Path, *statements: str) -> Path:
    with duckdb.connect(path) as base:
        for statement in statements:
            base.execute(statement)
    return path


# --- what is no table ---


def test_a_missing_an_empty_and_a_special_file_are_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.csv") == "not found; make it"
    assert refusal(write(tmp_path / "e.csv", b"\xef\xbb\xbf \n")) == "is empty"
    assert refusal(write(tmp_path / "e.csv.gz", gzip.compress(b""))) == "is empty"
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe").startswith("is no file; give CSV, Excel")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.xls", "<html><body><table>", "is a web page (HTML)"),
        ("a.xls", "\ufeff\n <!DOCTYPE html>", "is a web page (HTML)"),
        ("a.xls", "<TABLE border=1>", "is a web page (HTML)"),
        ("a.xls", '<?xml version="1.0"?><Workbook>', "is XML"),
        ("a.csv", b"%PDF-1.7\n\0", "is a PDF"),
        ("a.csv", "version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS"),
        (
            "a.csv",
            b"a,b\n1,\0\n",
            "is no table that can be read; give CSV, Excel, JSON lines, Parquet, SQLite or DuckDB (N",
        ),
        ("a.dta", b"\x72\x02\x01\0\x05\0", "is no table that can be read"),
        ("a.xlsx", b"PK\x05\x06" + bytes(18), "is a ZIP archive"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "cannot be read ("),
        ("a.csv", b"PAR1\x15\x04", "cannot be read ("),
        ("a.csv", b"SQLite format 3\0" + bytes(90), "cannot be read ("),
        ("a.csv", b"\n" * 8 + b"DUCK" + bytes(90), "cannot be read ("),
    ],
)
def test_what_is_no_table_is_called_what_it_is(tmp_path: Path, name: str, content: bytes | str, words: str) -> None:
    assert refusal(write(tmp_path / name, content)).startswith(words)


def test_the_line_of_a_nul_byte_is_named(tmp_path: Path) -> None:
    assert refusal(write(tmp_path / "a.csv", b"a,b\n1,2\n1,\0\n")).endswith("(NUL byte in line 3)")


@pytest.mark.parametrize(
    "names", ["PAR1,PAR2", "species,DUCK", "BZh1,b", "PK,b", "SQLite format 3,b", "{a},b", "[1],b"]
)
def test_names_of_columns_that_begin_as_other_formats_do_are_csv(tmp_path: Path, names: str) -> None:
    assert list(read(write(tmp_path / "a", f"{names}\n1,2\n"))) == names.split(",")


# --- CSV, and what is packed ---


def test_csv_is_text_with_its_layout(tmp_path: Path) -> None:
    frame, layout = read_source(write(tmp_path / "a.csv", "a;b\n007;\n1;x\n"), "")
    assert frame.to_dict("list") == {"a": ["007", "1"], "b": [None, "x"]}
    assert layout.delimiter == ";"
    utf16 = write(tmp_path / "b.csv", "a,b\né,1\n".encode("utf-16"))
    assert read(utf16)["a"].tolist() == ["é"]
    bare = write(tmp_path / "d.csv", "a,b\né,1\n".encode("utf-16-le"))
    assert read(bare, encoding="utf-16-le")["a"].tolist() == ["é"]
    assert refusal(write(tmp_path / "c.csv", "a,b\n")) == "has no rows"


PACKERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gz", gzip.compress),
    ("bz2", bz2.compress),
    ("xz", lzma.compress),
    ("zst", lambda content: pa.compress(content, "zstd", asbytes=True)),
]


@pytest.mark.parametrize(("ending", "pack"), PACKERS)
def test_packed_files_are_read_by_what_is_in_them(tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]) -> None:
    # the ending of the packing may be missing, wrong, or be there without it
    for name, content in ((f"a.csv.{ending}", pack(CSV)), ("a.csv", pack(CSV)), (f"b.csv.{ending}", CSV)):
        assert read(write(tmp_path / name, content)).to_dict("list") == {"a": ["1", "2"], "b": ["x", None]}
    lines = write(tmp_path / f"a.jsonl.{ending}", pack(b'{"a": 1.5}\n'))
    assert read(lines)["a"].tolist() == [1.5]
    # the ending before that of the packing says JSON
    assert refusal(write(tmp_path / f"b.jsonl.{ending}", pack(CSV))).startswith("line 1 is no JSON object")


@pytest.mark.parametrize(("ending", "pack"), PACKERS)
def test_a_truncated_or_faulty_packed_file_is_refused(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    whole = pack(os.urandom(500).hex().encode())
    faulty = [whole[: len(whole) // 2], whole[:12], whole[:-1]]
    # what pyarrow writes as zst has no checksum
    faulty += [whole[:100] + bytes(100) + whole[200:]] if ending != "zst" else [whole + b"more"]
    for content in faulty:
        assert refusal(write(tmp_path / f"a.csv.{ending}", content)).startswith("cannot be read (")
    parts = write(tmp_path / f"a.parquet.{ending}", pack(b"PAR1\x15\x04"))
    assert refusal(parts) == "what is packed in it is no text; unpack it first"


# --- Parquet ---


def parquet_file(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path)
    return path


def test_values_of_parquet_stay_what_they_are(tmp_path: Path) -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5)
    path = parquet_file(
        tmp_path / "a.csv",
        **{
            "whole": pa.array([1, 2]),
            "gap": pa.array([1, None]),
            "real": pa.array([0.5, None]),
            "flag": pa.array([True, False]),
            "maybe": pa.array([True, None]),
            "text": pa.array(["NA", None]),
            "day": pa.array([date(2024, 1, 2), None]),
            "far": pa.array([date(9999, 12, 31), None]),
            "moment": pa.array([moment, None], pa.timestamp("us")),
            "zoned": pa.array([moment, None], pa.timestamp("us", "Europe/Berlin")),
            "money": pa.array([Decimal("12.34"), None], pa.decimal128(20, 4)),
            "kind": pa.array(["x", None]).dictionary_encode(),
            "nothing": pa.array([None, None]),
            "key": pa.array([uuid.UUID(int=1).bytes, None], pa.uuid()),
            " padded ": pa.array([1, 2]),
        },
    )
    frame = read(path)
    assert frame.dtypes.astype(str).to_dict() == {
        "whole": "int64",
        "gap": "float64",
        "real": "float64",
        "flag": "bool",
        "maybe": "object",
        "text": "object",
        "day": "datetime64[ms]",
        "far": "datetime64[ms]",
        "moment": "datetime64[us]",
        "zoned": "datetime64[us, Europe/Berlin]",
        "money": "float64",
        "kind": "object",
        "nothing": "object",
        "key": "object",
        "padded": "int64",
    }
    first, second = frame.iloc[0], frame.iloc[1]
    assert [first[name] for name in ("text", "money", "kind")] == ["NA", 12.34, "x"]
    assert str(first["far"].date()) == "9999-12-31"
    assert first["key"] == str(uuid.UUID(int=1))
    assert first["maybe"] is True
    assert all(second[name] is None for name in ("maybe", "text", "kind", "nothing", "key"))


def test_whole_numbers_of_parquet_keep_their_digits(tmp_path: Path) -> None:
    frame = read(
        parquet_file(
            tmp_path / "a.parquet",
            a=pa.array([BIG, 1]),
            b=pa.array([BIG, None]),
            c=pa.array([2**64 - 1, None], pa.uint64()),
            d=pa.array([Decimal(BIG), None], pa.decimal128(38, 0)),
            e=pa.array([Decimal(7), Decimal(8)], pa.decimal128(38, 0)),
        )
    )
    assert [int(frame[name][0]) for name in "abcd"] == [BIG, BIG, 2**64 - 1, BIG]
    assert frame["b"].isna().tolist() == [False, True]
    assert str(frame["e"].dtype) == "int64"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pa.array([[1]]), "column 'c' holds list<"),
        (pa.array([{"x": 1}]), "column 'c' holds struct<"),
        (pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())), "column 'c' holds map<"),
        (pa.array([b"\0"]), "column 'c' holds binary values"),
        (pa.array([b"12"], pa.binary(2)), "column 'c' holds fixed_size_binary[2] values"),
    ],
)
def test_columns_of_parquet_without_plain_values_are_named(tmp_path: Path, values: pa.Array, words: str) -> None:
    assert refusal(parquet_file(tmp_path / "a.parquet", a=[1], c=values)).startswith(words)


def test_the_index_of_pandas_is_a_column_where_it_has_a_name(tmp_path: Path) -> None:
    frame = pd.DataFrame({"v": [1, 2]}, index=[5, 7])
    frame.to_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").equals(pd.DataFrame({"v": [1, 2]}))
    frame.rename_axis("id").to_parquet(tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet").to_dict("list") == {"v": [1, 2], "id": [5, 7]}


def test_faults_of_parquet(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "a.parquet", a=[1, 2])
    write(tmp_path / "b.parquet", path.read_bytes()[:-20])
    assert refusal(tmp_path / "b.parquet").startswith("cannot be read (")
    parquet.write_table(pa.table([[1], [2]], names=["a", "a "]), tmp_path / "c.parquet")
    assert refusal(tmp_path / "c.parquet") == "columns 1 and 2 are both called 'a'; rename one"
    assert refusal(parquet_file(tmp_path / "d.parquet", a=pa.array([], pa.int8()))) == "has no rows"
    assert refusal(parquet_file(tmp_path / "e.parquet")) == "has no columns"
    zoned = pa.array([0], pa.timestamp("us", "No/Where"))
    assert "unknown time zone 'No/Where'" in refusal(parquet_file(tmp_path / "f.parquet", a=zoned))


def test_parts_in_a_folder_are_one_table(tmp_path: Path) -> None:
    table = tmp_path / "month=09" / "t"
    parquet_file(table / "month=02" / "p.parquet", a=[2], b=["x"])
    parquet_file(table / "month=01" / "p.parquet", b=pa.array([None], pa.null()), a=[1])
    parquet_file(table / "_temporary" / "p.parquet", z=[1])
    (table / "folder.parquet").mkdir()
    write(table / "_SUCCESS", "")
    write(table / "README.md", "words")
    frame, layout = read_source(table, "")
    assert frame[["a", "b", "month"]].to_dict("list") == {"a": [1, 2], "b": [None, "x"], "month": ["01", "02"]}
    assert layout == Layout()


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"a": [1.5], "b": ["x"]}, "part 2.parquet: column 'a' is double here, before it is int64;"),
        ({"a": [1]}, "part 2.parquet: column 'b' is missing here, before it is string;"),
        ({"a": [1], "b": ["x"], "c": [1]}, "part 2.parquet: column 'c' is int64 here, before it is missing;"),
    ],
)
def test_parts_that_differ_are_refused(tmp_path: Path, second: dict[str, Any], words: str) -> None:
    parquet_file(tmp_path / "t" / "1.parquet", a=[1], b=["x"])
    parquet_file(tmp_path / "t" / "2.parquet", **second)
    assert refusal(tmp_path / "t").startswith(words)


def test_folders_that_are_no_table(tmp_path: Path) -> None:
    parquet_file(tmp_path / "t" / "1.parquet", a=[1])
    write(tmp_path / "t" / "2.parquet", "no")
    assert refusal(tmp_path / "t").startswith("part 2.parquet: cannot be read (")
    (tmp_path / "none").mkdir()
    assert refusal(tmp_path / "none").endswith("give a file, or a folder of Parquet parts")
    (tmp_path / "t" / "_delta_log").mkdir()
    assert refusal(tmp_path / "t").startswith("is a Delta, Hudi or Iceberg table")


# --- Excel ---


def test_values_of_excel_stay_what_they_are(tmp_path: Path) -> None:
    names = {"B3": "id", "C3": 2020, "D3": date(2024, 1, 2), "F3": "flag", "G3": "mixed", "H3": "when", "I3": "hour"}
    first = {"B4": 1, "C4": "#N/A", "D4": date(2024, 1, 2), "F4": True, "G4": "007", "H4": datetime(2024, 1, 2, 12)}
    second = {"B6": 2, "C6": 0.5, "F6": False, "G6": 7, "H6": date(2024, 1, 3), "I6": time(6)}
    cells = {**names, **first, **second, "Z9": ""}
    frame, layout = read_source(workbook(tmp_path / "a.csv", {"one": cells, "two": {}}), "")
    assert layout == Layout(sheet="one")
    assert list(frame) == ["id", "2020", "2024-01-02", "column_4", "flag", "mixed", "when", "hour"]
    assert frame["id"].tolist()[::2] == [1.0, 2.0]
    assert frame["2020"].isna().tolist() == [True, True, False]
    assert frame["2024-01-02"][0] == pd.Timestamp(2024, 1, 2)
    # the row between them is empty, and stays
    assert frame["flag"].tolist() == [True, None, False]
    assert frame["mixed"].tolist() == ["007", None, 7.0]
    assert frame["hour"].tolist() == [None, None, time(6)]
    assert frame["when"].dropna().tolist() == [pd.Timestamp(2024, 1, 2, 12), pd.Timestamp(2024, 1, 3)]


def test_several_sheets_are_refused_unless_one_is_set_or_known(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", {"one": SMALL, "two": OTHER})
    assert refusal(path) == "has 2 sheets (one, two); set `sheet:` to one of them"
    assert list(read(path, sheet="two")) == ["m"]
    assert refusal(path, sheet="twoo") == "has no sheet 'twoo'; did you mean 'two'?"
    frame, layout = read_source(path, "", kept=Layout(sheet="two"))
    assert (list(frame), layout.sheet) == (["m"], "two")
    with pytest.raises(PipelineError, match="has 2 sheets"):
        read_source(path, "", kept=Layout(sheet="three"))
    # what was set holds over what was found before
    assert list(read_source(path, "", Layout(sheet="one"), Layout(sheet="two"))[0]) == ["n"]
    only = workbook(tmp_path / "b.xlsx", {"other": SMALL})
    assert read_source(only, "", kept=Layout(sheet="two"))[1].sheet == "other"


def test_hidden_and_empty_sheets(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", {"lists": OTHER, "data": SMALL}, hidden=("lists",))
    assert list(read(path)) == ["n"]
    assert list(read(path, sheet="lists")) == ["m"]
    empty = workbook(tmp_path / "b.xlsx", {"one": {}})
    assert refusal(empty) == "has no sheet with content"
    assert refusal(empty, sheet="one") == "has no columns"
    assert refusal(workbook(tmp_path / "c.xlsx", {"one": {"A1": "n"}})) == "has no rows"
    assert "both called 'n'" in refusal(workbook(tmp_path / "d.xlsx", {"one": {"A1": "n", "B1": "n", "A2": 1}}))


def test_a_damaged_workbook_and_a_zip_archive(tmp_path: Path) -> None:
    whole = workbook(tmp_path / "a.xlsx", {"one": SMALL}).read_bytes()
    assert refusal(write(tmp_path / "b.xlsx", whole[:-30])).startswith("cannot be read (")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as file:
        file.writestr("a.csv", CSV)
    assert refusal(tmp_path / "c.zip") == "is a ZIP archive, no Excel file; unpack it"


# --- databases ---


def test_values_of_sqlite_stay_what_they_are(tmp_path: Path) -> None:
    path = database(
        tmp_path / "a #?%.csv",
        'CREATE TABLE "my ""t" (id INTEGER PRIMARY KEY AUTOINCREMENT, big, gap, real, text, mixed)',
        f"""INSERT INTO "my ""t" VALUES (1, {BIG}, 1, 0.5, '007', 1), (2, NULL, NULL, 1, NULL, 'x')""",
    )
    frame, layout = read_source(path, "")
    assert layout == Layout(table='my "t')
    assert frame.dtypes.astype(str).tolist() == ["int64", "object", "float64", "float64", "object", "object"]
    assert frame["big"].tolist() == [BIG, None]
    assert frame["text"].tolist() == ["007", None]
    assert frame["mixed"].tolist() == [1, "x"]


def test_tables_of_sqlite_are_chosen(tmp_path: Path) -> None:
    path = database(
        tmp_path / "a.db",
        "CREATE TABLE one (n)",
        "INSERT INTO one VALUES (1)",
        "CREATE VIEW two AS SELECT n AS m FROM one",
    )
    assert refusal(path) == "has 2 tables (one, two); set `table:` to one of them"
    assert list(read(path, table="two")) == ["m"]
    assert read_source(path, "", kept=Layout(table="two"))[1].table == "two"
    assert refusal(path, table="ones") == "has no table 'ones'; did you mean 'one'?"
    empty = database(tmp_path / "b.db", "CREATE TABLE one (n)")
    assert refusal(empty) == "has no rows"
    assert refusal(database(tmp_path / "c.db", "CREATE TABLE one (n)", "DROP TABLE one")) == "has no table with content"


def test_faults_of_sqlite(tmp_path: Path) -> None:
    blob = database(tmp_path / "a.db", "CREATE TABLE t (a, b)", "INSERT INTO t VALUES (1, 'x'), (2, x'00')")
    assert refusal(blob).startswith("column 'b' holds bytes (BLOB)")
    latin = database(tmp_path / "b.db", "CREATE TABLE t (a)", "INSERT INTO t VALUES (CAST(x'ff' AS TEXT))")
    assert "UTF-8" in refusal(latin)
    view = database(tmp_path / "c.db", "CREATE TABLE t (a)", "CREATE VIEW v AS SELECT a FROM t", "DROP TABLE t")
    assert "no such table" in refusal(view)


def test_reading_sqlite_leaves_nothing_beside_it_and_sees_its_log(tmp_path: Path) -> None:
    path = database(tmp_path / "a.db", "PRAGMA journal_mode = wal", "CREATE TABLE t (a)", "INSERT INTO t VALUES (1)")
    assert len(read(path)) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.db"]
    base = sqlite3.connect(path)
    base.execute("INSERT INTO t VALUES (2)")
    base.commit()
    assert len(read(path)) == 2
    base.close()


def test_values_of_duckdb_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    path = duck(
        tmp_path / "a.csv",
        f"""CREATE TABLE t AS SELECT {BIG}::BIGINT big, {BIG}::HUGEINT huge, 12.34::DECIMAL(10, 2) money,
        'x'::ENUM('x') kind, DATE '9999-12-31' AS day, TIMESTAMPTZ '2024-01-02 03:04:05+00' AS zoned, uuid() AS key,
        true AS flag, '007' AS text""",
        "INSERT INTO t (flag) VALUES (true)",
    )
    frame, layout = read_source(path, "")
    assert layout == Layout(table="t")
    assert frame.dtypes.astype(str).to_dict() == {
        "big": "Int64",
        "huge": "object",
        "money": "float64",
        "kind": "object",
        "day": "datetime64[ms]",
        "zoned": "datetime64[us, UTC]",
        "key": "object",
        "flag": "bool",
        "text": "object",
    }
    assert [frame[name][0] for name in ("big", "huge", "money", "kind", "text")] == [BIG, BIG, 12.34, "x", "007"]
    assert str(frame["zoned"][0]) == "2024-01-02 03:04:05+00:00"
    assert isinstance(frame["key"][0], str)


def test_tables_of_duckdb_are_chosen(tmp_path: Path) -> None:
    path = duck(
        tmp_path / "a.db",
        "CREATE TABLE one AS SELECT 1 AS n",
        "CREATE SCHEMA s",
        'CREATE VIEW s."my ""v" AS SELECT n AS m FROM one',
    )
    assert refusal(path) == 'has 2 tables (one, s.my "v); set `table:` to one of them'
    assert list(read(path, table='s.my "v')) == ["m"]
    assert read_source(path, "", kept=Layout(table="one"))[1].table == "one"
    assert refusal(path, table="ones") == "has no table 'ones'; did you mean 'one'?"
    assert refusal(duck(tmp_path / "b.db", "CREATE TABLE t (a INT)")) == "has no rows"
    assert refusal(duck(tmp_path / "c.db")) == "has no table with content"


def test_faults_of_duckdb(tmp_path: Path) -> None:
    assert refusal(duck(tmp_path / "a.db", "CREATE TABLE t AS SELECT 'x'::BLOB b")).startswith(
        "column 'b' holds binary"
    )
    assert refusal(duck(tmp_path / "b.db", "CREATE TABLE t AS SELECT [1] b")).startswith("column 'b' holds list<")
    interval = duck(tmp_path / "c.db", "CREATE TABLE t AS SELECT INTERVAL 3 DAY AS b")
    assert refusal(interval).startswith("column 'b' holds month_day_nano_interval")
    write(tmp_path / "x.csv", CSV)
    view = duck(tmp_path / "d.db", f"CREATE VIEW v AS SELECT * FROM '{tmp_path / 'x.csv'}'")
    assert refusal(view).startswith("cannot be read (Permission Error")
    whole = duck(tmp_path / "e.db", "CREATE TABLE t AS SELECT 1 AS a").read_bytes()
    assert refusal(write(tmp_path / "f.db", whole[:5000])).startswith("cannot be read (")


def test_the_log_of_duckdb_is_read(tmp_path: Path) -> None:
    words = f"""import duckdb, os
base = duckdb.connect({str(tmp_path / "a.db")!r})
base.execute("CREATE TABLE t (a INT, b TIMESTAMPTZ DEFAULT now())")
base.execute("CHECKPOINT")
base.execute("INSERT INTO t (a) VALUES (1)")
os._exit(0)"""
    subprocess.run([sys.executable, "-c", words], check=True)
    assert (tmp_path / "a.db.wal").exists()
    assert read(tmp_path / "a.db")["a"].tolist() == [1]


# --- JSON ---


def test_values_of_json_stay_what_they_are(tmp_path: Path) -> None:
    lines = (
        f'{{"id": 1, "big": {BIG}, "text": "a\u2028b", "flag": true, "mixed": "x", "none": null}}\r\n\n'
        '{"late": 0.1, "id": 2, "big": null, "mixed": 7, "flag": false, "text": ""}\n'
    )
    frame = read(write(tmp_path / "a.jsonl", "\ufeff" + lines))
    assert list(frame) == ["id", "big", "text", "flag", "mixed", "none", "late"]
    assert frame.dtypes.astype(str).to_dict() == {
        **dict.fromkeys(frame, "object"),
        "id": "int64",
        "flag": "bool",
        "late": "float64",
    }
    assert frame["big"].tolist() == [BIG, None]
    assert frame["text"].tolist() == ["a\u2028b", ""]
    assert frame["mixed"].tolist() == ["x", 7]
    assert frame["late"][1] == 0.1


def test_json_is_told_by_its_ending_or_its_start(tmp_path: Path) -> None:
    for name in ("a.json", "a.data", "a"):
        assert read(write(tmp_path / name, '[{"a": 1},\n {"a": 2}]'))["a"].tolist() == [1, 2]
        assert read(write(tmp_path / name, '{"a": 1}\n{"a": 2}'))["a"].tolist() == [1, 2]
    assert list(read(write(tmp_path / "a.csv", "{},b\n1,2\n"))) == ["{}", "b"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1}\n{"a": [1]}', "column 'a' holds nested values (line 2)"),
        ('[{"a": 1}, {"a": {"b": 1}}]', "column 'a' holds nested values (object 2)"),
        ('{"a": 1}\n\n{"a": 1', "line 3 is no JSON object (Expecting ',' delimiter); mend the line"),
        ('{"a": 1}\n5', "line 2 is no JSON object; give an object"),
        ("[1]", "object 1 is no JSON object"),
        ('{"a": 1, "a": 2}', "line 1 is no JSON object (a key is in it twice)"),
        ('[{"a": 1}\n{"a": 2}]', "cannot be read (Expecting ',' delimiter: line 2"),
        (b'{"a": 1}\n{"a": "\xff"}', "line 2 is not UTF-8"),
        ("a,b\n1,2\n", "line 1 is no JSON object"),
        ("[" * 100_000, "cannot be read ("),
        ("[]", "has no rows"),
        ("{}", "has no columns"),
        ('{"a": 1, "a ": 2}', "columns 1 and 2 are both called 'a'"),
    ],
)
def test_faults_of_json_are_named(tmp_path: Path, text: str | bytes, words: str) -> None:
    assert refusal(write(tmp_path / "a.json", text)).startswith(words)
