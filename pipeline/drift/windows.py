"""A current table in windows: by the dates, numbers or words of a column."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.console import PipelineError, nearest
from pipeline.tables.columns import value_text

# More windows share one alpha, and each sees less; a window of dates should have this many rows.
MOST_WINDOWS, FEWEST_ROWS = 30, 200
# Periods of dates as NumPy names them, and their words.
PERIODS = (("D", "day"), ("W", "week"), ("M", "month"), ("Y", "year"))


def windows_by(current: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    """The rows of each window, in order: of dates the finest of day, week, month and year that has enough rows a window
    and not too many windows; of other columns one a value. PipelineError: the column is absent, has missing values, or
    too many values.
    """
    if column not in current:
        raise PipelineError(f"--by {column}: no such column; {nearest(column, list(current))}")
    values = current[column]
    if values.isna().any():
        raise PipelineError(
            f"--by {column}: {int(values.isna().sum()):,} rows have no value there; fill or remove them"
        )
    try:
        # numbers are no dates here
        stamps = None if values.dtype == "float64" else _stamps(values)
    except ValueError:
        stamps = None
    if stamps is None:
        keys = values.to_numpy()
    else:
        kinds = [(stamps.astype(f"datetime64[{unit}]"), unit) for unit, _ in PERIODS]
        fitting = [one for one, _ in kinds if len(np.unique(one)) <= MOST_WINDOWS]
        full = [one for one in fitting if np.median(np.unique(one, return_counts=True)[1]) >= FEWEST_ROWS]
        keys = next(iter([*full, *reversed(fitting), kinds[-1][0]]))
    different, codes = np.unique(keys, return_inverse=True)
    if len(different) > MOST_WINDOWS:
        raise PipelineError(
            f"--by {column}: {len(different):,} windows are too many; at most {MOST_WINDOWS} can be judged"
        )
    names = [str(key) if stamps is not None else value_text(key) for key in different]
    return {name: current[codes == place] for place, name in enumerate(names)}


def _stamps(values: pd.Series) -> np.ndarray:
    return np.array([str(text).removesuffix("Z") for text in values], dtype="datetime64[us]")
