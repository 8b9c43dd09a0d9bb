"""Missing values, duplicates and outliers of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.drift.column import listed

if TYPE_CHECKING:
    import pandas as pd

OUTLIER_RANGES = 1.5
MANY_MISSING = 0.05
MANY_DUPLICATES = 0.01


def quality(frame: pd.DataFrame) -> tuple[list[dict[str, Any]], str]:
    """Missing share and outliers (beyond 1.5 interquartile ranges of the quartiles) a column; a verdict in words."""
    rows: list[dict[str, Any]] = []
    for name in frame:
        column, outliers = frame[name], None
        if column.dtype == "float64" and column.notna().any():
            low, high = column.quantile(0.25), column.quantile(0.75)
            reach = OUTLIER_RANGES * (high - low)
            outliers = float(((column < low - reach) | (column > high + reach)).mean())
        rows.append({"column": name, "missing": float(column.isna().mean()), "outliers": outliers})
    duplicates = float(frame.duplicated().mean())
    empty = [row["column"] for row in rows if row["missing"] == 1]
    gaps = [row["column"] for row in rows if MANY_MISSING <= row["missing"] < 1]
    todo = []
    if empty:
        todo.append(f"drop or refill {listed(empty)}, which {'are' if len(empty) > 1 else 'is'} all empty")
    if gaps:
        todo.append(f"find out why {listed(gaps)} {'have' if len(gaps) > 1 else 'has'} missing values")
    if duplicates >= MANY_DUPLICATES:
        todo.append("remove the duplicate rows, or train and test parts will share them")
    words = f"{duplicates:.1%} duplicate rows, at most {max(row['missing'] for row in rows):.1%} missing in a column"
    most = max((row for row in rows if row["outliers"] is not None), key=lambda row: row["outliers"], default=None)
    if most is not None:
        words += f", at most {most['outliers']:.1%} outliers ({most['column']})"
    advice = f"Before training on it: {'; '.join(todo)}." if todo else "Nothing here speaks against training on it."
    return rows, f"Data quality is {'good' if not todo else 'in need of a look'}: {words}. {advice}"
