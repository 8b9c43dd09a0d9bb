"""The test for missing values."""

from __future__ import annotations

import pandas as pd
from scipy import stats


def compare_missing(old: pd.Series, new: pd.Series) -> tuple[float, float, float | None]:
    """The shares of missing values before and now, and the p-value of Fisher's exact test (None without any)."""
    counts = [[int(side.isna().sum()), int(side.notna().sum())] for side in (old, new)]
    p_value = float(stats.fisher_exact(counts).pvalue) if counts[0][0] or counts[1][0] else None
    return counts[0][0] / len(old), counts[1][0] / len(new), p_value
