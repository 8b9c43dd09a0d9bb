"""Tables from files, with every fault of a file named."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from pipeline.console import PipelineError, one_line
from pipeline.tables.types import convert, normalise_types

DELIMITERS = ",;\t|"


def read_table(
    path: Path, mend: str, types: Mapping[str, str] | None = None, delimiter: str = ",", strict: bool = True
) -> pd.DataFrame:
    """A CSV (also gzipped) or Parquet table, its columns as `types` say; the others by what pandas takes them for.

    Args:
        mend: what to do where the file is missing.
        strict: with False a column that does not fit its type stays text, for the caller to report.

    PipelineError: the file is missing or faulty, has no rows, or a column does not fit its type.
    """
    types = types or {}
    as_text = {name for name, kind in types.items() if kind != "number"}
    frame = _read(path, mend, delimiter, as_text)
    return normalise_types(convert(frame, types, path, strict))


def read_text_table(path: Path, mend: str, delimiter: str = ",") -> pd.DataFrame:
    """As read_table, but every CSV column as text, so that nothing is lost before its type is known. PipelineError: as
    read_table.
    """
    return _read(path, mend, delimiter, None)


def _read(path: Path, mend: str, delimiter: str, as_text: set[str] | None) -> pd.DataFrame:
    """The bare table; the columns named in as_text, or all of them with None, as text."""
    if path.exists() and not path.is_file():
        raise PipelineError(f"{path}: is no file; give a CSV or Parquet file")
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        else:
            text = _decode(path, path.read_bytes())
            header = check_csv(path, text, delimiter)
            kinds = dict.fromkeys(header if as_text is None else as_text & set(header), str)
            names = [name or f"column_{position}" for position, name in enumerate(distinct_names(path, header), 1)]
            frame = pd.read_csv(io.StringIO(text), sep=delimiter, names=names, header=0, dtype=kinds, index_col=False)
    except FileNotFoundError:
        raise PipelineError(f"{path}: not found; {mend}") from None
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise PipelineError(f"{path}: cannot be read ({one_line(error)})") from None
    frame.columns = distinct_names(path, frame.columns)
    if frame.empty:
        raise PipelineError(f"{path}: has no rows")
    return frame


def _decode(path: Path, content: bytes) -> str:
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    if not content.strip():
        raise PipelineError(f"{path}: is empty")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise PipelineError(f"{path}: is UTF-16, not UTF-8; save it as UTF-8")
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise PipelineError(f"{path}: NUL byte in line {line}; is it a text file?")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        from charset_normalizer import from_bytes

        line = content[: error.start].count(b"\n") + 1
        found = from_bytes(content[:100_000]).best()
        guess = f"; it looks like {found.encoding}" if found else ""
        raise PipelineError(f"{path}: line {line} is not UTF-8{guess}; save it as UTF-8") from None


def check_csv(path: Path, text: str, delimiter: str) -> list[str]:
    """The header of a CSV file in which every row has as many fields. PipelineError: a ragged row, a quote left open,
    another delimiter; the message names the line.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    line = 1
    try:
        for row in reader:
            if not header:
                header = row
            elif row and len(row) != len(header):
                raise PipelineError(
                    f"{path}: line {line} has {len(row)} fields, the header has {len(header)}; mend the line"
                )
            line = reader.line_num + 1
    except csv.Error as error:
        words = "a quote is opened and not closed" if "end of data" in str(error) or "limit" in str(error) else error
        raise PipelineError(f"{path}: line {line}: {words}; mend the line") from None
    others = [other for other in DELIMITERS if other != delimiter and any(other in name for name in header)]
    if len(header) == 1 and others:
        raise PipelineError(
            f"{path}: one column only; the delimiter looks like {others[0]!r}: set `delimiter: {others[0]!r}` for it"
        )
    return header


def distinct_names(path: Path, columns: Iterable[object]) -> list[str]:
    """The names of columns without surrounding white space. PipelineError: two columns have the same name."""
    names = [str(name).strip() for name in columns]
    seen: dict[str, int] = {}
    for position, name in enumerate(names, 1):
        if name in seen:
            raise PipelineError(f"{path}: columns {seen[name]} and {position} are both called {name!r}; rename one")
        seen[name] = position
    return names
