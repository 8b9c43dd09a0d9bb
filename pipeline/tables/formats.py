"""A table from a file of any format that people keep tables in, each value as the file has it."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.console import PipelineError, nearest, one_line
from pipeline.tables.columns import EXACT, value_text
from pipeline.tables.csv_text import Layout, distinct_names, read_csv_bytes

Found = tuple[pd.DataFrame, Layout]
ANY = Layout()
HEAD = 512
# Text that a CSV file can hold: no NUL, and no half of a character.
UTF8 = re.compile("[^\0\ud800-\udfff]*")
FORMATS = "CSV, Excel, JSON lines, Parquet, SQLite or DuckDB"
FAULTS = (OSError, ValueError, EOFError, RecursionError, zlib.error, lzma.LZMAError, pa.ArrowException)
IS = pa.types
# Types of Arrow that hold no plain values.
NOT_PLAIN = (IS.is_nested, IS.is_binary, IS.is_large_binary, IS.is_fixed_size_binary, IS.is_binary_view, IS.is_interval)
PACKED_ENDINGS = (".gz", ".bz2", ".xz", ".zst")
JSON_ENDINGS = (".json", ".jsonl", ".ndjson")
CSV_ENDINGS = (".csv", ".tsv", ".txt")
BOM = rb"(?:\xef\xbb\xbf)?\s*"
# What begins so is no table, and what it is instead.
OTHERS = {
    rb"%PDF-": "is a PDF; save its table as CSV or Excel",
    BOM + rb"(?i:<(!doctype|html|head|meta|style|table)\b)": "is a web page (HTML), whatever its ending says; open it "
    "in a spreadsheet and save it as CSV or Excel",
    BOM + rb"<\?xml\b": "is XML; open it in a spreadsheet and save it as CSV or Excel",
    rb"version https://git-lfs": "is a pointer of Git LFS, not the table; run git lfs pull",
}


def read_source(path: Path, mend: str, given: Layout = ANY, kept: Layout = ANY) -> tuple[pd.DataFrame, Layout]:
    """The bare table, and the layout that was found.

    CSV fields are text, None where empty. Values of other formats stay what they are: a column of numbers, booleans or
    dates alone has such a dtype, a mixed one holds the values as objects, None where missing. Whole numbers beyond
    2**53 keep their digits.

    Args:
        mend: what to do where the file is missing.
        given: what the person has set, which holds.
        kept: what was found on the training table, which is taken where the file leaves a choice.

    PipelineError: the file is missing, faulty, empty or no table, or has several sheets or tables and none is set.
    """
    try:
        frame, layout = _read(path, given, kept)
    except FileNotFoundError:
        raise PipelineError(f"{path}: not found; {mend}") from None
    except FAULTS as error:
        raise PipelineError(f"{path}: cannot be read ({one_line(error)})") from None
    if frame.empty:
        raise PipelineError(f"{path}: has no {'rows' if frame.shape[1] else 'columns'}")
    return frame, layout


def _read(path: Path, given: Layout, kept: Layout) -> Found:
    if path.is_dir():
        return _parquet_folder(path), ANY
    if path.exists() and not path.is_file():
        raise PipelineError(f"{path}: is no file; give {FORMATS}")
    with path.open("rb") as file:
        head = file.read(HEAD)
    reader = _by_magic(READERS, head)
    if reader:
        return reader(path, given, kept)
    with opened(path, head) as file:
        content = file.read()
    if content[:HEAD] != head and _by_magic({**READERS, **PACKED}, content[:HEAD]):
        raise PipelineError(f"{path}: what is packed in it is no text; unpack it first")
    return _text(path, content, given, kept)


def opened(path: Path, head: bytes) -> BinaryIO:
    """A file open for its bytes, unpacked where its first bytes say that it is packed."""
    unpacked: Callable[[str], BinaryIO] = _by_magic(PACKED, head) or partial(open, mode="rb")
    return unpacked(str(path))


def is_csv_text(path: Path, head: bytes, content: bytes) -> bool:
    """Whether a file with this head, and this content at its start once unpacked, is a CSV file by its looks."""
    if _by_magic(READERS, head) or _by_magic({**READERS, **PACKED, **OTHERS}, content[:HEAD]):
        return False
    return not _is_json(content, _ending(path))


def _by_magic(known: dict[bytes, Any], head: bytes) -> Any:
    return next((value for magic, value in known.items() if re.match(magic, head, re.DOTALL)), None)


def _text(path: Path, content: bytes, given: Layout, kept: Layout) -> Found:
    if re.fullmatch(BOM, content):
        raise PipelineError(f"{path}: is empty")
    other = _by_magic(OTHERS, content[:HEAD])
    if other:
        raise PipelineError(f"{path}: {other}")
    if b"\0" in content and not given.encoding and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise PipelineError(f"{path}: is no table that can be read; give {FORMATS} (NUL byte in line {line})")
    if _is_json(content, _ending(path)):
        return _json(path, content), ANY
    return read_csv_bytes(path, content, given, kept)


def _ending(path: Path) -> str:
    """The last ending of a file's name, but for one that says how it is packed."""
    endings = [ending.lower() for ending in path.suffixes if ending.lower() not in PACKED_ENDINGS]
    return endings[-1] if endings else ""


def _chosen(path: Path, what: str, names: Sequence[str], given: str, kept: str) -> str:
    """The sheet or table that is set, else the only one, else that of the training table."""
    if given:
        if given not in names:
            raise PipelineError(f"{path}: has no {what} {given!r}; {nearest(given, names)}")
        return given
    if not names:
        raise PipelineError(f"{path}: has no {what} with content")
    if len(names) > 1 and kept not in names:
        raise PipelineError(f"{path}: has {len(names)} {what}s ({', '.join(names)}); set `{what}:` to one of them")
    return kept if kept in names else names[0]


def _not_plain(path: Path, column: str, what: str) -> PipelineError:
    return PipelineError(f"{path}: column {column!r} holds {what}; write the table without it, or with plain values")


def _series(values: Sequence[Any]) -> pd.Series:
    """Values of Python, None where missing, as numbers, booleans or dates where all are; else as they are."""
    kinds = {type(value) for value in values}
    some = kinds - {type(None)}
    if some and some <= {int, float}:
        if not any(type(value) is int and abs(value) > EXACT for value in values):
            return pd.Series(values, dtype="int64" if kinds == {int} else "float64")
    elif some and some <= {date, datetime}:
        return pd.Series(np.array(values, dtype="datetime64[us]"))
    return pd.Series(values, dtype=bool if kinds == {bool} else object)


def _frame(path: Path, names: Iterable[object], columns: Iterable[pd.Series]) -> pd.DataFrame:
    return pd.DataFrame(dict(zip(distinct_names(path, map(value_text, names)), columns, strict=True)))


def _parquet(path: Path, given: Layout, kept: Layout) -> Found:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        return _from_arrow(path, file.schema_arrow, file.read), ANY


def _parquet_folder(path: Path) -> pd.DataFrame:
    """Every part below the folder, and a column of text for each `name=value` among the names of folders."""
    from pyarrow import dataset, parquet

    # their folders also hold rows that were deleted since
    if any(next(path.glob(log), None) for log in ("_delta_log", ".hoodie", "metadata/*.metadata.json")):
        raise PipelineError(f"{path}: is a Delta, Hudi or Iceberg table; write its current rows to one Parquet file")
    below = [part.relative_to(path) for part in sorted(path.rglob("*.parquet")) if part.is_file()]
    parts = [part for part in below if not any(name.startswith(("_", ".")) for name in part.parts)]
    if not parts:
        raise PipelineError(f"{path}: is a folder without Parquet; give a file, or a folder of Parquet parts")
    kinds: dict[str, pa.DataType] = {}
    for part in parts:
        try:
            own = {field.name: field.type for field in parquet.read_schema(path / part)}
        except FAULTS as error:
            raise PipelineError(f"{path}: part {part}: cannot be read ({one_line(error)})") from None
        kinds = kinds or dict(own)
        for name in {**kinds, **own}:
            here, before = own.get(name), kinds.get(name)
            # a column without any value in one part has no type there
            if here is None or before is None or (here != before and pa.null() not in (here, before)):
                words = " here, before it is ".join(one_line(kind or "missing", 40) for kind in (here, before))
                raise PipelineError(f"{path}: part {part}: column {name!r} is {words}; write all parts alike")
            kinds[name] = here if before == pa.null() else before
    folders = dict.fromkeys(name.split("=")[0] for part in parts for name in part.parent.parts if "=" in name)
    hive = dataset.partitioning(pa.schema([(name, pa.string()) for name in folders]), flavor="hive")
    files = [str(path / part) for part in parts]
    found = dataset.dataset(files, format="parquet", partitioning=hive, partition_base_dir=str(path))
    schema = pa.schema([(field.name, kinds.get(field.name, field.type)) for field in found.schema])
    return _from_arrow(path, schema, found.replace_schema(schema).to_table)


def _from_arrow(path: Path, schema: pa.Schema, load: Callable[[], pa.Table]) -> pd.DataFrame:
    for field in schema:
        kind = field.type.value_type if IS.is_dictionary(field.type) else field.type
        if any(holds(kind) for holds in NOT_PLAIN):
            raise _not_plain(path, field.name, f"{one_line(kind, 40)} values")
    table = load()
    # so pandas calls an index without a name
    table = table.drop_columns([name for name in table.column_names if re.fullmatch(r"__index_level_\d+__", name)])
    try:
        columns = [_from_arrow_column(column) for column in table.columns]
    except KeyError as error:
        raise PipelineError(f"{path}: cannot be read (unknown time zone {error})") from None
    return _frame(path, table.column_names, columns)


def _from_arrow_column(column: pa.ChunkedArray) -> pd.Series:
    from pyarrow.compute import min_max

    kind = column.type
    if IS.is_decimal(kind) and kind.scale <= 0:
        return _series([None if value is None else int(value) for value in column.to_pylist()])
    if IS.is_decimal(kind):
        column = column.cast(pa.string()).cast(pa.float64())
    if IS.is_dictionary(kind):
        column = column.cast(kind.value_type)
    # UUID and JSON
    if isinstance(kind, pa.BaseExtensionType):
        return pd.Series([None if value is None else str(value) for value in column.to_pylist()], dtype=object)
    # whole numbers with gaps would become floats
    bounds = min_max(column).as_py().values() if IS.is_integer(kind) and column.null_count else ()
    beyond = any(abs(bound) > EXACT for bound in bounds if bound is not None)
    types = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()} if beyond else {}
    return column.to_pandas(date_as_object=False, types_mapper=types.get)


def _excel(path: Path, given: Layout, kept: Layout) -> Found:
    from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

    content = path.read_bytes()
    try:
        with CalamineWorkbook.from_filelike(io.BytesIO(content)) as book:
            sheets = {sheet.name: sheet for sheet in book.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet}
            read = [given.sheet] if given.sheet in sheets else sheets
            cells = {name: _without_edges(book.get_sheet_by_name(name).to_python()) for name in read}
    except CalamineError as error:
        if content.startswith(b"PK") and not re.search(rb"xl/|opendocument", content):
            raise PipelineError(f"{path}: is a ZIP archive, no Excel file; unpack it") from None
        raise ValueError(str(error)) from None
    filled = [name for name in cells if cells[name]]
    shown = [name for name in filled if sheets[name].visible == SheetVisibleEnum.Visible]
    sheet = _chosen(path, "sheet", list(sheets) if given.sheet else shown or filled, given.sheet, kept.sheet)
    header, *rows = cells[sheet] or [[]]
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    series = (_series([None if value == "" else value for value in column]) for column in columns)
    return _frame(path, header, series), Layout(sheet=sheet)


def _without_edges(rows: list[list[Any]]) -> list[list[Any]]:
    """Cells from the first to the last row and column that hold anything."""
    high = [place for place, row in enumerate(rows) if any(value != "" for value in row)]
    wide = [place for place, column in enumerate(zip(*rows, strict=True)) if any(value != "" for value in column)]
    return [row[wide[0] : wide[-1] + 1] for row in rows[high[0] : high[-1] + 1]] if high else []


def _sqlite(path: Path, given: Layout, kept: Layout) -> Found:
    import sqlite3

    with path.open("rb") as file:
        logged = file.read(19)[18:] == b"\2"
    # reading would leave two files beside one that keeps a log; without that log nobody has it open
    still = "&immutable=1" if logged and not Path(f"{path}-wal").exists() else ""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{still}", uri=True)) as base:
            query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND substr(name, 1, 7) <> 'sqlite_'"
            table = _chosen(path, "table", [name for (name,) in base.execute(query)], given.table, kept.table)
            cursor = base.execute(f"SELECT * FROM {_quoted(table)}")
            names = [description[0] for description in cursor.description]
            columns = list(zip(*cursor, strict=True)) or [()] * len(names)
    except sqlite3.Error as error:
        raise ValueError(str(error)) from None
    for name, values in zip(names, columns, strict=True):
        if any(isinstance(value, bytes) for value in values):
            raise _not_plain(path, name, "bytes (BLOB)")
    return _frame(path, names, map(_series, columns)), Layout(table=table)


def _duckdb(path: Path, given: Layout, kept: Layout) -> Found:
    import duckdb

    try:
        with duckdb.connect(path.resolve(), read_only=True, config={"autoinstall_known_extensions": False}) as base:
            # times read alike on every machine; a view reads no other file
            base.execute("SET TimeZone = 'UTC'; SET enable_external_access = false")
            found = base.execute("SELECT table_schema, table_name FROM information_schema.tables").fetchall()
            tables = {name if schema == "main" else f"{schema}.{name}": (schema, name) for schema, name in found}
            table = _chosen(path, "table", sorted(tables), given.table, kept.table)
            rows = base.sql(f"SELECT * FROM {'.'.join(map(_quoted, tables[table]))}").to_arrow_table()
    except duckdb.Error as error:
        raise ValueError(str(error)) from None
    return _from_arrow(path, rows.schema, lambda: rows), Layout(table=table)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _is_json(content: bytes, ending: str) -> bool:
    """By its ending, else by an object at its start."""
    start = re.match(BOM + rb"(?:\[\s*)?(?=\{)", content)
    if ending in JSON_ENDINGS or ending in CSV_ENDINGS or not start:
        return ending in JSON_ENDINGS
    try:
        json.JSONDecoder().raw_decode(content[start.end() :].decode())
    except (ValueError, RecursionError):
        return False
    return True


def _json(path: Path, content: bytes) -> pd.DataFrame:
    """An object a line, or one array of objects."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PipelineError(f"{path}: line {line} is not UTF-8, as JSON has to be; save it as UTF-8") from None
    rows: dict[str, Any] = {}
    if text.lstrip().startswith("["):
        rows = {f"object {position}": row for position, row in enumerate(_loads(text), 1)}
    else:
        for number, row in enumerate(text.split("\n"), 1):
            try:
                rows |= {f"line {number}": _loads(row)} if row.strip() else {}
            except (ValueError, RecursionError) as error:
                words = one_line(getattr(error, "msg", error))
                raise PipelineError(f"{path}: line {number} is no JSON object ({words}); mend the line") from None
    for place, row in rows.items():
        if not isinstance(row, dict):
            raise PipelineError(f"{path}: {place} is no JSON object; give an object of names and values for each row")
        nested = next((name for name, value in row.items() if isinstance(value, dict | list)), None)
        if nested is not None:
            raise _not_plain(path, nested, f"nested values ({place})")
    if not rows:
        raise PipelineError(f"{path}: has no rows")
    for place, row in rows.items():
        texts = [value for value in (*row, *row.values()) if isinstance(value, str)]
        if odd := next((text for text in texts if not UTF8.fullmatch(text)), ""):
            raise PipelineError(f"{path}: {place} holds {odd[:40]!r}, which no file of text can hold; mend it")
    names = dict.fromkeys(name for row in rows.values() for name in row)
    return _frame(path, names, (_series([row.get(name) for row in rows.values()]) for name in names))


def _loads(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_distinct_keys)


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key is in it twice")
    return row


# How a file begins, and what reads it; also the sign after PAR1 and DUCK, with which names of columns could begin too.
READERS: dict[bytes, Callable[[Path, Layout, Layout], Found]] = {
    rb"PAR1[\0-\x08\x0e-\x1f]": _parquet,
    rb"PK[\x03\x05\x07][\x04\x06\x08]": _excel,
    rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": _excel,
    rb"SQLite format 3\0": _sqlite,
    rb".{8}DUCK.{0,7}\0": _duckdb,
}
PACKED: dict[bytes, Callable[[str], Any]] = {
    rb"\x1f\x8b": gzip.open,
    rb"BZh[1-9](1AY&SY|\x17rE8P\x90)": bz2.open,
    rb"\xfd7zXZ\0": lzma.open,
    rb"\x28\xb5\x2f\xfd": partial(pa.input_stream, compression="zstd"),
}
