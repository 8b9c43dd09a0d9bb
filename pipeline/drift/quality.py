"""Missing values, duplicates and outliers of a table."""

from __future__ import annotations

import pandas as pd

from pipeline.drift.column import listed

OUTLIER_RANGES = 1.5
MANY_MISSING = 0.05
MANY_DUPLICATES = 0.01


def quality(frame: pd.DataFrame) -> tuple[dict[str, tuple[float, float | None]], str]:
    """A column's missing share and its outliers (beyond 1.5 interquartile ranges of the quartiles; None where it holds
    no numbers); and a verdict in words.
    """
    missing, duplicates = frame.isna().mean(), float(frame.duplicated().mean())
    numbers = frame.select_dtypes("float64").dropna(axis=1, how="all")
    low, high = numbers.quantile(0.25), numbers.quantile(0.75)
    reach = OUTLIER_RANGES * (high - low)
    outliers = ((numbers < low - reach) | (numbers > high + reach)).mean()
    empty = list(missing.index[missing == 1])
    gaps = list(missing.index[(missing >= MANY_MISSING) & (missing < 1)])
    todo = []
    if empty:
        todo.append(f"drop or refill {listed(empty)}, which {'are' if len(empty) > 1 else 'is'} all empty")
    if gaps:
        todo.append(f"find out why {listed(gaps)} {'have' if len(gaps) > 1 else 'has'} missing values")
    if duplicates >= MANY_DUPLICATES:
        todo.append("remove the duplicate rows, or train and test parts will share them")
    words = f"{duplicates:.1%} duplicate rows, at most {missing.max():.1%} missing in a column"
    if len(outliers):
        words += f", at most {outliers.max():.1%} outliers ({outliers.idxmax()})"
    limits = f"{MANY_MISSING:.0%} missing in a column, {MANY_DUPLICATES:.0%} duplicate rows"
    advice = f"Before training on it: {'; '.join(todo)}." if todo else "Other faults are not looked for here."
    columns = {name: (float(missing[name]), float(outliers[name]) if name in outliers else None) for name in frame}
    verdict = "is in need of a look" if todo else f"is within its limits ({limits})"
    return columns, f"Data quality {verdict}: {words}. {advice}"
