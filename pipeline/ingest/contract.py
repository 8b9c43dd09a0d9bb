"""The contract of a table: what new rows are held to."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.console import PipelineError
from pipeline.ingest.columns import LISTED_CATEGORIES


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
        with warnings.catch_warnings():
            # pandera's own use of pandas
            warnings.simplefilter("ignore", FutureWarning)
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
