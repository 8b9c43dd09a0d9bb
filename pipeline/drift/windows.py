"""A current table in windows: by the dates, numbers or words of a column."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.console import PipelineError, nearest
from pipeline.drift.measure import seconds
from pipeline.tables.columns import value_text

# More windows share one alpha, and each sees less; a window of dates should have this many rows.
MOST_WINDOWS, FEWEST_ROWS = 30, 200


def windows_by(current: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    """The rows of each window, in order: of dates the finest of day, week, month, quarter and year that has enough rows
    a window and not too many windows; of other columns one a value. PipelineError: the column is absent, has missing
    values, or too many values.
    """
    if column not in current:
        raise PipelineError(f"--by {column}: no such column; {nearest(column, list(current))}")
    values = current[column]
    if values.isna().any():
        raise PipelineError(
            f"--by {column}: {int(values.isna().sum()):,} rows have no value there; fill or remove them"
        )
    stamps = np.full(len(values), np.nan) if values.dtype == "float64" else seconds(values)
    dated = not np.isnan(stamps).any()
    keys = values.to_numpy()
    if dated:
        starts = [_starts(stamps, unit) for unit in ("D", "W", "M", "Q", "Y")]
        fitting = [one for one in starts if len(np.unique(one)) <= MOST_WINDOWS]
        full = [one for one in fitting if np.median(np.unique(one, return_counts=True)[1]) >= FEWEST_ROWS]
        keys = next(iter([*full, *reversed(fitting), starts[-1]]))
    different, codes = np.unique(keys, return_inverse=True)
    if len(different) > MOST_WINDOWS:
        raise PipelineError(
            f"--by {column}: {len(different):,} windows are too many; at most {MOST_WINDOWS} can be judged"
        )
    names = [str(key) if dated else value_text(key) for key in different]
    return {name: current[codes == place] for place, name in enumerate(names)}


def _starts(stamps: np.ndarray, unit: str) -> np.ndarray:
    """The first day of the period of each point in time (n,), in seconds since 1970; weeks begin on Monday."""
    days = stamps.astype("datetime64[s]").astype("datetime64[D]")
    if unit == "Q":
        months = days.astype("datetime64[M]")
        return months - months.astype(int) % 3
    if unit == "W":
        # NumPy's weeks begin on the Thursday of 1970-01-01
        return (days + 3).astype("datetime64[W]").astype("datetime64[D]") - 3
    return days.astype(f"datetime64[{unit}]")
