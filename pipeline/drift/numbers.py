"""The test for numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.drift.column import (
    WASSERSTEIN,
    ColumnDrift,
)

if TYPE_CHECKING:
    import numpy as np

# Below this many rows a side the Kolmogorov-Smirnov p-value is computed exactly.
EXACT_ROWS = 50


def compare_numbers(column: ColumnDrift, old: np.ndarray, new: np.ndarray) -> ColumnDrift:
    """Kolmogorov-Smirnov, and the Wasserstein distance in standard deviations of the reference."""
    import numpy as np
    from scipy import stats

    if old.min() == old.max() == new.min() == new.max():
        return replace(column, note="constant")
    outcome = stats.ks_2samp(old, new, method="exact" if min(len(old), len(new)) < EXACT_ROWS else "asymp")
    # a constant reference has no spread of its own
    spread = float(old.std()) or float(np.concatenate([old, new]).std())
    effect = float(stats.wasserstein_distance(old, new)) / spread
    return replace(
        column,
        test="Kolmogorov-Smirnov",
        statistic=float(outcome.statistic),
        p_value=float(outcome.pvalue),
        effect_name=WASSERSTEIN,
        effect=effect if math.isfinite(effect) else None,
        change=f"mean {old.mean():.4g} before, {new.mean():.4g} now",
    )
