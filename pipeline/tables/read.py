"""Tables from files: the pipeline's own copies, and new rows that are written as the source was."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.console import PipelineError, one_line
from pipeline.settings import Dataset
from pipeline.tables.columns import Column, from_facts, read_columns
from pipeline.tables.csv_text import Layout, csv_frames, decode
from pipeline.tables.formats import read_source
from pipeline.tables.numbers import Numbers, exact_numbers

# Of the pipeline's own copies, whose numbers have decimal points, and whose dates are ISO 8601.
WORDS = dict.fromkeys(("category", "date", "text", "ignore"), Column("category"))
PLAIN = {**WORDS, "number": Column("number", numbers=Numbers("."))}


def read_table(path: Path, mend: str, types: Mapping[str, str] | None = None) -> pd.DataFrame:
    """A table in data/, CSV or Parquet, its columns as `types` say; the others by what pandas takes them for.

    Args:
        mend: what to do where the file is missing.

    PipelineError: the file is missing or faulty, has no rows, or a column does not fit its type.
    """
    types = types or {}
    if path.exists() and not path.is_file():
        raise PipelineError(f"{path}: is no file; {mend}")
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        else:
            text, _ = decode(path, path.read_bytes(), "utf-8")
            parts = list(csv_frames(path, io.StringIO(text, newline=""), ",", own=True))
            frame = pd.concat(parts, ignore_index=True)
            # numbers have points here, whatever the columns are called
            for name in frame:
                if types.get(name, "number") == "number":
                    numbers = exact_numbers(frame[name])
                    frame[name] = numbers if (numbers.notna() == frame[name].notna()).all() else frame[name]
    except FileNotFoundError:
        raise PipelineError(f"{path}: not found; {mend}") from None
    except (OSError, ValueError) as error:
        raise PipelineError(f"{path}: cannot be read ({one_line(error)})") from None
    if frame.empty:
        raise PipelineError(f"{path}: has no rows")
    return read_columns(frame, {name: PLAIN[kind] for name, kind in types.items()}, str(path))


def source_columns(types: Mapping[str, str], reading: Mapping[str, object], table: pd.DataFrame) -> dict[str, Column]:
    """How the source writes each column of a table in data/; where nothing was found out, plainly."""
    found: Any = reading.get("columns", {})
    kinds = {str(name): "number" if table[name].dtype == "float64" else "category" for name in table} | dict(types)
    try:
        return {str(name): from_facts(kinds[str(name)], found.get(str(name), {})) for name in table}
    except (TypeError, AttributeError) as error:
        words = "its facts in metrics/data/ cannot be read; make them again with generate_data.py"
        raise PipelineError(f"the table: {words} ({one_line(error)})") from None


def given_layout(dataset: Dataset) -> Layout:
    """What the settings say of how files of a dataset hold their table."""
    return Layout(dataset.delimiter, dataset.encoding, dataset.sheet, dataset.table)


def kept_layout(dataset: Dataset) -> Layout:
    """What was found of how the dataset's source holds its table."""
    known, found = {field.name for field in fields(Layout)}, dataset.reading.get("layout", {})
    return Layout(**{name: str(found[name]) for name in known & found.keys()})


def read_rows(path: Path, dataset: Dataset, columns: Mapping[str, Column]) -> pd.DataFrame:
    """A file with rows of a dataset, written as its source is. A column with a value that does not fit stays text.
    PipelineError: the file is missing or faulty, or a number is too large.
    """
    raw, _ = read_source(path, "give an existing file", given_layout(dataset), kept_layout(dataset))
    return read_columns(raw, columns, str(path), strict=False)
