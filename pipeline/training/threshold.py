"""The threshold at which probabilities become labels."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import precision_recall_curve

from pipeline.serving.model import is_positive


def best_f1_threshold(actual: np.ndarray, score: np.ndarray) -> float:
    """The threshold of probabilities (n,) with the best F1 for labels 0 and 1 (n,), half-way down to the next score.

    Where every row has the same score there is nothing to choose: 0.5.
    """
    precision, recall, thresholds = precision_recall_curve(actual, score)
    if len(thresholds) == 1:
        return 0.5
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    best = int(f1[:-1].argmax())
    return float(thresholds[max(best - 1, 0) : best + 1].mean())


def labels_by_other_folds(actual: np.ndarray, score: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Labels 0 and 1 of rows (n,) from their out-of-fold probabilities: those of each fold at the best threshold for
    the other folds.
    """
    labels = np.zeros(len(actual), dtype=int)
    for number in np.unique(fold):
        own = fold == number
        labels[own] = is_positive(score[own], best_f1_threshold(actual[~own], score[~own]))
    return labels
