"""The test for numbers: Kolmogorov-Smirnov and the Wasserstein distance, of sorted values without missing ones."""

from __future__ import annotations

import numpy as np
from scipy import stats

# Below this many rows a side the Kolmogorov-Smirnov p-value is computed exactly.
EXACT_ROWS = 50


def kolmogorov_smirnov(old: np.ndarray, new: np.ndarray) -> tuple[str, float, float]:
    outcome = stats.ks_2samp(old, new, method="exact" if min(len(old), len(new)) < EXACT_ROWS else "asymp")
    return "Kolmogorov-Smirnov", float(outcome.statistic), float(outcome.pvalue)


def wasserstein(old: np.ndarray, new: np.ndarray) -> float:
    """Wasserstein distance in standard deviations of the reference; of both sides where the reference is constant."""
    spread = float(old.std()) or float(np.concatenate([old, new]).std())
    return float(stats.wasserstein_distance(old, new)) / spread
