"""Tables from files, with every fault of a file named; columns of a few types; the contract that new rows are held to.

A frame of this project has float64 columns for numbers and object columns of text (None where missing) for everything
else: categories, text, and dates as ISO 8601, so that a row means the same in a file, in a request and in a model.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import PipelineError

if TYPE_CHECKING:
    import pandas as pd

DELIMITERS = ",;\t|"
# Categories that a contract lists; a column with more distinct values is not held to them.
LISTED_CATEGORIES = 100
TEXT_WORDS = 4
# Trees hold features as 32-bit floats.
LARGEST = 3e38
# A column with so many different values, of which this share are numbers, was meant to hold numbers.
SEVERAL, MOSTLY = 20, 0.9
DECORATED = re.compile(
    r"(?P<open>\()?\s*(?:(?P<sign>[-+])?\s*[$€£¥]?|[$€£¥]\s*(?P<inner>[-+]))\s*(?P<number>\d{1,3}(?:[,']\d{3})+(?:\.\d+)?|\d+(?:\.\d*)?|\.\d+)"
    r"\s*(?P<percent>%)?\s*[$€£¥]?\s*(?P<close>\))?"
)
# pandas takes a number beyond float64 for text
OVERFLOW = re.compile(r"[-+]?\d+(\.\d*)?[eE]\+?\d+|[-+]?\d{300,}(\.\d*)?")
DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}"
    r"|\d{1,2}[ -][A-Za-z]{3,9}\.?,?[ -]\d{4}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4})([T ]\d{1,2}:\d{2}.*)?"
)


def read_table(
    path: Path, mend: str, types: Mapping[str, str] | None = None, delimiter: str = ",", strict: bool = True
) -> pd.DataFrame:
    """A CSV (also gzipped) or Parquet table, its columns as `types` say; the others by what pandas takes them for.

    Args:
        mend: what to do where the file is missing.
        strict: with False a column that does not fit its type stays text, for the caller to report.

    Raises:
        PipelineError: the file is missing or faulty, has no rows, or a column does not fit its type.
    """
    types = types or {}
    as_text = {name for name, kind in types.items() if kind != "number"}
    frame = _read(path, mend, delimiter, as_text)
    return normalise_types(convert(frame, types, path, strict))


def read_text_table(path: Path, mend: str, delimiter: str = ",") -> pd.DataFrame:
    """As read_table, but every CSV column as text, so that nothing is lost before its type is known.

    Raises:
        PipelineError: as read_table.
    """
    return _read(path, mend, delimiter, None)


def normalise_types(frame: pd.DataFrame) -> pd.DataFrame:
    """Numeric columns as float64, all others as text with None for missing."""
    import pandas as pd

    columns = {}
    for name in frame:
        column = frame[name]
        if _is_number(column):
            columns[name] = column.astype("float64")
        elif isinstance(column.dtype, pd.CategoricalDtype) or column.dtype == bool:
            columns[name] = column.astype(object).map(str, na_action="ignore").where(column.notna(), None)
        else:
            columns[name] = column.astype(object).where(column.notna(), None)
    return pd.DataFrame(columns, index=frame.index)


def convert(frame: pd.DataFrame, types: Mapping[str, str], path: Path, strict: bool = True) -> pd.DataFrame:
    """Numbers from text with currency, percent and thousands signs; dates as ISO 8601; the rest as trimmed text.

    Raises:
        PipelineError: a value is no number, no date, or too large; without strict only the latter.
    """
    import numpy as np

    columns = {}
    for name in frame:
        kind, column = types.get(name, ""), frame[name]
        if kind in ("number", "date"):
            parsed = parse_numbers(column) if kind == "number" else parse_dates(column)
            faulty = (parsed.isna() & column.notna()).to_numpy()
            if faulty.any() and strict:
                raise PipelineError(
                    f"{path}: column {name!r}: {_at(column, faulty)} is no {kind}; mend it, or set its type to category"
                )
            column = column if faulty.any() else parsed
        elif kind:
            column = as_trimmed_text(column)
        if _is_number(column):
            beyond = np.abs(column.to_numpy(dtype="float64", na_value=np.nan)) > LARGEST
            if beyond.any():
                raise PipelineError(
                    f"{path}: column {name!r}: {_at(frame[name], beyond)} is infinite or too large for a model; "
                    "mend it, or set its type to ignore"
                )
        columns[name] = column
    return frame.assign(**columns)


def infer_type(column: pd.Series) -> str:
    """number, date, text or category, by the distinct values of a column."""
    import pandas as pd

    if _is_number(column):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(column):
        return "date"
    values = pd.Series(as_trimmed_text(column).dropna().unique(), dtype=object)
    if values.empty:
        return "category"
    # 007 is a code, and 7 another one
    codes = values.str.fullmatch(r"0\d+").any()
    if not codes and parse_numbers(values).notna().all():
        return "number"
    if parse_dates(values).notna().all():
        return "date"
    several_words = values.str.count(r"\s").mean() >= TEXT_WORDS - 1
    return "text" if several_words and len(values) > LISTED_CATEGORIES else "category"


def parse_numbers(column: pd.Series) -> pd.Series:
    """Floats; NaN where a value is missing or no number. `$1,234.50`, `(12)` for -12, `45 %` for 0.45 are numbers."""
    import pandas as pd

    if _is_number(column):
        return column.astype("float64")
    text = as_trimmed_text(column)
    numbers = pd.to_numeric(text, errors="coerce").astype("float64")
    decorated = text[numbers.isna() & text.notna()]
    if decorated.empty:
        return numbers
    known = {value: _decorated_number(value) for value in decorated.unique()}
    return numbers.where(~numbers.index.isin(decorated.index), decorated.map(known).reindex(numbers.index))


def word_among_numbers(column: pd.Series) -> str:
    """The first value of a column that is no number, and its line, where most of its different values are numbers.

    Empty where there is none, for few different values, and for codes such as 007.
    """
    import pandas as pd

    text = as_trimmed_text(column)
    values = pd.Series(text.dropna().unique(), dtype=object)
    if len(values) < SEVERAL or values.str.fullmatch(r"0\d+").any():
        return ""
    # a million different words are told by the first of them
    if parse_numbers(values.head(SEVERAL**2)).notna().mean() < MOSTLY:
        return ""
    words = values[parse_numbers(values).isna()]
    return _at(column, text.isin(words).to_numpy()) if len(words) else ""


def parse_dates(column: pd.Series) -> pd.Series:
    """ISO 8601 text of points in time (UTC where a zone is given); None where a value is missing or no date.

    Day and month are taken in the order in which more values are dates, month first where that does not tell.
    """
    import warnings

    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column):
        best = pd.to_datetime(column, utc=True)
    else:
        text = as_trimmed_text(column)
        looks = text.where(text.str.fullmatch(DATE.pattern, na=False))
        if looks.isna().all():
            return pd.Series(None, index=column.index, dtype=object)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tries = [pd.to_datetime(looks, dayfirst=first, errors="coerce", utc=True) for first in (False, True)]
        best = max(tries, key=lambda found: found.notna().sum())
    whole_days = (best.dropna() == best.dropna().dt.normalize()).all()
    written = best.dt.strftime("%Y-%m-%d" if whole_days else "%Y-%m-%dT%H:%M:%S")
    return written.astype(object).where(best.notna(), None)


def as_trimmed_text(column: pd.Series) -> pd.Series:
    """Text without surrounding white space; None where a value is missing or blank."""
    import pandas as pd

    present = column.notna()
    if pd.api.types.is_datetime64_any_dtype(column):
        text = column.astype(str)
    elif column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) in ("string", "empty"):
        text = column.astype(object).str.strip()
    else:
        text = column.astype(object).map(value_text, na_action="ignore").str.strip() if present.any() else column
    return text.astype(object).where(present & (text != ""), None)


def value_text(value: object) -> str:
    """A value as people write it: a whole float as the whole number that it is."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def learn_contract(frame: pd.DataFrame, types: Mapping[str, str], target: str) -> str:
    """What rows have to be like, as a pandera schema in JSON: types, ranges, categories, missing or not.

    The target may be absent from new rows, and columns of type ignore are held to nothing.
    """
    import pandera.pandas as pa

    columns = {}
    for name in frame:
        column, kind = frame[name].dropna(), types.get(name, "")
        checks = []
        if kind != "ignore" and len(column):
            if column.dtype == "float64":
                checks = [pa.Check.in_range(float(column.min()), float(column.max()))]
            elif kind == "category" and column.nunique() <= LISTED_CATEGORIES:
                checks = [pa.Check.isin(sorted(column.unique()))]
        columns[str(name)] = pa.Column(
            None if kind == "ignore" else str(frame[name].dtype),
            checks,
            nullable=kind == "ignore" or bool(frame[name].isna().any()),
            required=name != target,
        )
    return pa.DataFrameSchema(columns, strict=True).to_json(indent=1) + "\n"


def changes_against(contract: Path, frame: pd.DataFrame) -> list[str]:
    """What in a table is not as its contract says, a line a column and kind of change; empty without a contract.

    Raises:
        PipelineError: the contract cannot be read.
    """
    import pandera.pandas as pa

    try:
        schema = pa.DataFrameSchema.from_json(contract.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PipelineError(f"{contract}: no contract can be read ({error}); delete it, it is learned again") from None
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
    else:
        return []
    changes = []
    for (column, check), found in cases.groupby(["column", "check"], sort=False, dropna=False):
        first = found["failure_case"].iloc[0]
        name = first if check in ("column_in_schema", "column_in_dataframe") else column
        changes.append(f"{name}: {_change(str(check), len(found), len(frame), first, frame, name)}")
    return changes


def _change(check: str, count: int, rows: int, first: object, frame: pd.DataFrame, name: object) -> str:
    if check == "column_in_schema":
        return "a new column"
    if check == "column_in_dataframe":
        return "is absent"
    if check == "not_nullable":
        return f"{count:,} of {rows:,} values are missing, none was before"
    if check.startswith("dtype"):
        return "numbers now, other values before" if frame[name].dtype == "float64" else "no longer numbers only"
    if check.startswith("in_range"):
        return f"{count:,} of {rows:,} values are outside the known range {check.removeprefix('in_range')}"
    return f"{count:,} of {rows:,} values are of unknown categories, for instance {first!r}"


def _read(path: Path, mend: str, delimiter: str, as_text: set[str] | None) -> pd.DataFrame:
    """The bare table; the columns named in as_text, or all of them with None, as text."""
    import pandas as pd

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
        raise PipelineError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from None
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
    """The header of a CSV file in which every row has as many fields.

    Raises:
        PipelineError: a ragged row, a quote left open, another delimiter; the message names the line.
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
    """The names of columns without surrounding white space.

    Raises:
        PipelineError: two columns have the same name.
    """
    names = [str(name).strip() for name in columns]
    seen: dict[str, int] = {}
    for position, name in enumerate(names, 1):
        if name in seen:
            raise PipelineError(f"{path}: columns {seen[name]} and {position} are both called {name!r}; rename one")
        seen[name] = position
    return names


def _decorated_number(text: str) -> float:
    if OVERFLOW.fullmatch(text):
        return float(text)
    match = DECORATED.fullmatch(text)
    if match is None or bool(match["open"]) != bool(match["close"]):
        return float("nan")
    number = float(match["number"].replace(",", "").replace("'", ""))
    number = number / 100 if match["percent"] else number
    return -number if match["open"] or "-" in (match["sign"], match["inner"]) else number


def _at(column: pd.Series, faulty: object) -> str:
    """The first faulty value and the line of a CSV file that it stands in, the header being line 1."""
    position = int(faulty.argmax())  # type: ignore[attr-defined]
    return f"{str(column.iloc[position])[:40]!r} in line {position + 2}"


def _is_number(column: pd.Series) -> bool:
    import pandas as pd

    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
