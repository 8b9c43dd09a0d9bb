"""The text of a CSV file: its encoding and delimiter found, its faults named."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.console import PipelineError
from pipeline.tables.columns import INVISIBLE

DELIMITERS = ",;\t|"
BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# Bytes by which an encoding is told, and rows by which a delimiter is.
SAMPLE, SAMPLE_ROWS = 100_000, 1_000
LONGEST = 2**31 - 1
# charset-normalizer is sure where its best finds a language, and all others look like noise.
SURE, CLEAR = 0.5, 0.1
# A file by an office program in a western language: letters with accents stand alone among plain ones. Those of Iceland
# would be Turkish ones by another encoding.
ACCENTED = "À-ÏÑ-ÖØ-Üß-ïñ-öø-üÿŒœŠšŽžŸ"
WESTERN = re.compile(
    f"(?:[\x00-\x7f]|[\u00a0€£°²³µ·«»¿¡§©®™½¼¾–—‘’“”„…•×÷±]|(?<![{ACCENTED}])[{ACCENTED}]{{1,2}}(?![{ACCENTED}]))*"
)
# Signs inside a word, or side by side, and capitals inside a word: it is another encoding.
LETTER, SIGN = f"A-Za-z{ACCENTED}", "£°²³µ·«»¿¡§©®™½¼¾„…•×÷±“”"
NOT_WESTERN = re.compile(
    f"[{LETTER}][{SIGN.replace('·', '')}][{LETTER}]|[²³£][{LETTER}]|[{SIGN}][{SIGN}]|[{ACCENTED}][{SIGN}]"
    "|[a-zà-ÿ][À-ÖØ-ÞŒŠŽŸ][a-zà-ÿ]"
)


@dataclass(frozen=True)
class Layout:
    """How a file holds its table, as far as it applies: set by a person, or found."""

    delimiter: str = ""
    encoding: str = ""
    sheet: str = ""
    table: str = ""


def read_csv_bytes(
    path: Path, content: bytes, given: Layout = Layout(), kept: Layout = Layout()
) -> tuple[pd.DataFrame, Layout]:
    """A table of text, None where a field is empty, and its layout. What is `given` holds; what was found on an earlier
    table, `kept`, goes first where this one does not tell. PipelineError: a fault of the file, or two layouts fit.
    """
    text, encoding = decode(path, content, given.encoding, kept.encoding)
    text, delimiter = cut_at(path, text, given, kept)
    frames = list(csv_frames(path, io.StringIO(text, newline=""), delimiter))
    return pd.concat(frames, ignore_index=True), Layout(delimiter, encoding)


def cut_at(path: Path, text: str, given: Layout, kept: Layout) -> tuple[str, str]:
    """The text without a first line that only names the delimiter, as spreadsheets write it, and the delimiter."""
    named = re.match('"?sep=(.)"?\r?\n', text)
    text = text[named.end() :] if named else text
    return text, given.delimiter or (named[1] if named else find_delimiter(path, text, kept.delimiter))


def csv_frames(
    path: Path, text: Iterable[str], delimiter: str, rows: int = 100_000, own: bool = False
) -> Iterator[pd.DataFrame]:
    """The rows of a CSV file as frames of text with at most so many rows, None where a field is empty; one frame at
    least; the pipeline's `own` files have a header, whatever it looks like. PipelineError: a ragged row, a quote left
    open, no header; the message names the line.
    """
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    # a cell may hold any text; an open quote is named where the file ends
    csv.field_size_limit(LONGEST)
    names: list[str] = []
    part: list[list[str]] = []
    line, first = 1, True
    try:
        for row in reader:
            if not names:
                names = distinct_names(path, row) if own else header_names(path, row)
            elif row and len(row) != len(names):
                raise PipelineError(
                    f"{path}: line {line} has {len(row)} fields, the header has {len(names)}; mend the line"
                )
            elif row:
                part.append(row)
            line = reader.line_num + 1
            if len(part) == rows:
                yield _frame(part, names)
                part, first = [], False
    except csv.Error as error:
        words = "a quote is opened and not closed" if "end of data" in str(error) or "limit" in str(error) else error
        raise PipelineError(f"{path}: line {line}: {words}; mend the line") from None
    if part or first:
        yield _frame(part, names)


def _frame(rows: list[list[str]], names: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=names, dtype=object)
    return frame.mask(frame == "", None)


def decode(path: Path, content: bytes, given: str = "", kept: str = "") -> tuple[str, str]:
    """The text and its encoding: by its first bytes, else UTF-8 where it is that, else the kept one, else the one that
    it looks like. PipelineError: it is empty, holds NUL bytes, or its encoding cannot be told.
    """
    if not content.strip():
        raise PipelineError(f"{path}: is empty")
    found = given or next((name for bom, name in BOMS.items() if content.startswith(bom)), "")
    if not found.startswith(("utf-16", "utf-32")) and b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise PipelineError(f"{path}: NUL byte in line {line}; is it a text file?")
    for name in [found] if found else ["utf-8", *([kept] if kept and kept != "utf-16" else [])]:
        try:
            return content.decode(name).removeprefix("\ufeff"), name
        except LookupError:
            raise PipelineError(
                f"{path}: encoding {name!r} is unknown; name it as Python does, cp1252 for one"
            ) from None
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            if name == found:
                words = f"line {line} is not {found.upper()}; save it as that, or set another `encoding`"
                raise PipelineError(f"{path}: {words}") from None
    return _by_its_looks(path, content, line)


def _by_its_looks(path: Path, content: bytes, line: int) -> tuple[str, str]:
    """Text that is not UTF-8 from the given line on: western by its letters, or what charset-normalizer is sure of."""
    from charset_normalizer import from_bytes

    telling = b"\n".join(row for row in content.splitlines() if not row.isascii())[:SAMPLE]
    western = telling.decode("cp1252", errors="replace")
    if WESTERN.fullmatch(western) and not NOT_WESTERN.search(western):
        found = "cp1252"
    else:
        matches = list(from_bytes(telling))
        guess = f"; it looks like {matches[0].encoding}" if matches else ""
        sure = matches and matches[0].chaos == 0 and matches[0].coherence > SURE
        if not sure or any(match.chaos < CLEAR for match in matches[1:]):
            raise PipelineError(f"{path}: line {line} is not UTF-8{guess}; set `encoding:` for it, or save it as UTF-8")
        found = matches[0].encoding
    try:
        return content.decode(found), found
    except UnicodeDecodeError:
        raise PipelineError(
            f"{path}: line {line} is not UTF-8, nor all of it {found}; set `encoding:` for it"
        ) from None


def find_delimiter(path: Path, text: str, kept: str = "") -> str:
    """The sign by which every row has as many fields as the header, and more than one; the kept one, else the comma,
    where there is none. PipelineError: two signs do.
    """
    fitting = [sign for sign in DELIMITERS if _columns(text, sign, SAMPLE_ROWS) > 1]
    if len(fitting) > 1:
        fitting = [sign for sign in fitting if _columns(text, sign) > 1]
    if kept and kept in fitting:
        return kept
    if len(fitting) > 1:
        words = " and ".join(map(repr, fitting))
        raise PipelineError(f"{path}: every row can be cut at {words}; set `delimiter:` for it")
    if fitting:
        return fitting[0]
    # a faulty file: the sign that most of its first line is cut at
    first = text.split("\n", 1)[0]
    return max([kept or ",", *DELIMITERS], key=first.count)


def _columns(text: str, delimiter: str, rows: int | None = None) -> int:
    """The number of fields of every row, or of so many first ones; 0 where rows differ or a quote is left open."""
    width = 0
    try:
        for row in islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), rows):
            width = width or len(row)
            if row and len(row) != width:
                return 0
    except csv.Error:
        return 0
    return width


def header_names(path: Path, row: Sequence[str]) -> list[str]:
    """The names of the columns in a first row. PipelineError: it holds numbers, or a name twice."""
    if any(re.fullmatch(r"[-+]?\d+[.,]\d+", name.strip()) for name in row):
        raise PipelineError(f"{path}: line 1 holds numbers, not names of columns; add a line of names")
    return distinct_names(path, row)


def quoting_of(frame: pd.DataFrame) -> Any:
    """How a table is quoted as CSV: all of its text where it holds a carriage return, which the csv module of Python
    3.11 and 3.12 takes for no reason to quote.
    """
    words = [pd.Series(frame.columns), *(frame[name] for name in frame if frame[name].dtype == object)]
    returns = any(column.astype(str).str.contains("\r", regex=False).any() for column in words)
    return csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL


def distinct_names(path: Path, columns: Iterable[object]) -> list[str]:
    """The names of columns without surrounding white space, `column_3` for one without a name. PipelineError: two
    columns have the same name.
    """
    shown = [str(name).translate(INVISIBLE).strip() for name in columns]
    names = [name or f"column_{position}" for position, name in enumerate(shown, 1)]
    seen: dict[str, int] = {}
    for position, name in enumerate(names, 1):
        if name in seen:
            raise PipelineError(f"{path}: columns {seen[name]} and {position} are both called {name!r}; rename one")
        seen[name] = position
    return names
