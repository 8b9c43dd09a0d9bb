"""The t interval of paired differences, by which the benchmarks say whether a difference is shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def paired_interval(differences: ArrayLike, test_share: float = 0.0) -> tuple[float, float]:
    """95 % t interval of the mean of J paired differences, two or more.

    Args:
        test_share: part of the rows that is tested on in each split, where all splits are of one table. Their training
            rows overlap, so that the differences hang together: their variance counts 1 / J + test / training rows
            instead of 1 / J times (Nadeau & Bengio 2003; of folds, Bouckaert & Frank 2004). 0 where each difference is
            of a table of its own.
    """
    values = np.asarray(differences, dtype=float)
    count = len(values)
    error = values.std(ddof=1) * np.sqrt(1 / count + test_share / (1 - test_share))
    half = float(stats.t.ppf(0.975, count - 1) * error)
    return float(values.mean()) - half, float(values.mean()) + half
