"""The rows of a file a part at a time, so that a CSV file of any length fits into memory."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from pipeline.console import PipelineError, one_line
from pipeline.tables.csv_text import BOMS, Layout, csv_frames, cut_at, decode
from pipeline.tables.formats import FAULTS, HEAD, is_csv_text, opened, read_source

BLOCK = 2**20


def read_parts(path: Path, mend: str, given: Layout, kept: Layout, rows: int) -> Iterator[pd.DataFrame]:
    """As read_source, in frames of at most so many rows. PipelineError: as read_source, on the way."""
    try:
        head = b"" if path.is_dir() else _start(path)
        with opened(path, head) if head else io.BytesIO() as file:
            start = file.read(BLOCK)
        if not is_csv_text(path, head, start) or not start.strip():
            frame, _ = read_source(path, mend, given, kept)
            yield from (frame[first : first + rows] for first in range(0, len(frame), rows))
            return
        encoding = find_encoding(path, head, given.encoding, kept.encoding)
        with io.TextIOWrapper(opened(path, head), encoding, newline="") as text:
            # the delimiter is told by whole lines; the byte order mark is none of the first name
            lines = text.readlines(BLOCK)
            rest, delimiter = cut_at(path, "".join(lines).removeprefix("\ufeff"), given, kept)
            for part in csv_frames(path, _lines(rest, text), delimiter, rows):
                if part.empty:
                    raise PipelineError(f"{path}: has no rows")
                yield part
    except FileNotFoundError:
        raise PipelineError(f"{path}: not found; {mend}") from None
    except FAULTS as error:
        raise PipelineError(f"{path}: cannot be read ({one_line(error)})") from None


def find_encoding(path: Path, head: bytes, given: str, kept: str) -> str:
    """The encoding of a file by all of its bytes. PipelineError: it cannot be told."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with opened(path, head) as file:
        block = file.read(BLOCK)
        known = given or next((name for bom, name in BOMS.items() if block.startswith(bom)), "")
        while block and not known:
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                # with the rest of its last line, where the first telling letter may stand
                return decode(path, block + file.readline(), given, kept)[1]
            block = file.read(BLOCK)
    try:
        return codecs.lookup(known or "utf-8") and (known or "utf-8")
    except LookupError:
        raise PipelineError(f"{path}: encoding {known!r} is unknown; name it as Python does, cp1252 for one") from None


def _lines(rest: str, text: io.TextIOWrapper) -> Iterator[str]:
    yield from io.StringIO(rest, newline="")
    yield from text


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)
