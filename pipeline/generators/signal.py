"""Parts that the signals of the calibrated tables are made of."""

from __future__ import annotations

import numpy as np


def standardise(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def without_linear_part(values: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Residuals of a least-squares fit on an intercept and the design's columns (n x k)."""
    scaled = (design - design.mean(axis=0)) / design.std(axis=0)
    full = np.column_stack([np.ones(len(values)), scaled])
    return values - full @ np.linalg.lstsq(full, values, rcond=None)[0]
