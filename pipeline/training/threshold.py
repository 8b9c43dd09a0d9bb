"""The threshold at which probabilities become labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    pass


def best_f1_threshold(actual: np.ndarray, score: np.ndarray) -> float:
    """The threshold of probabilities (n,) with the best F1 for labels 0 and 1 (n,), half-way down to the next score.

    Where every row has the same score there is nothing to choose: 0.5.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(actual, score)
    if len(thresholds) == 1:
        return 0.5
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    best = int(f1[:-1].argmax())
    return float(thresholds[max(best - 1, 0) : best + 1].mean())
