"""The check whether the folds of cross-validation disagree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.checks.finding import Finding
from pipeline.checks.levels import FEWEST, LEVEL, chance_words, permutation_chance, redrawn, sampled, strata_of
from pipeline.metrics import METRICS, Predictions, metric_value

# A fold counts that is so many times farther away than chance explains.
FARTHER = 1.25


def folds_disagree(
    task: str, metric: str, pooled: Predictions, fold: np.ndarray, kept: bool, in_order: bool, seed: int
) -> Finding:
    """Whether a fold's score is farther from the others than the rows that fell into it by chance explain.

    A permutation test at LEVEL: folds (m,) are drawn anew among the m out-of-fold predictions, within classes, and the
    largest distance of a fold's score from their mean is compared. It has to be FARTHER times as large: each fold has a
    model of its own, so scores differ by a little more than rows explain, trees most. Without a verdict where rows are
    kept together (`kept`): folds of whole groups differ where the groups do, and in order of time (`in_order`) the
    first folds learn from fewer rows.
    """
    rng = np.random.default_rng(seed)
    rows = sampled(len(fold), rng)
    pooled, fold = pooled.of(rows), fold[rows]
    numbers, part = np.unique(fold, return_inverse=True)

    def scores(folds: Sequence[np.ndarray]) -> np.ndarray:
        return np.array([metric_value(metric, pooled.of(rows)) for rows in folds])

    label, found = METRICS[metric].label, scores([np.flatnonzero(fold == number) for number in numbers])
    if len(fold) < FEWEST or np.isnan(found).any():
        return Finding(None, f"Folds of {len(fold)} rows, or of one class, cannot be compared.")
    words = f"The {len(numbers)} folds reach {label} {found.min():.4f} to {found.max():.4f}"
    if in_order:
        return Finding(None, f"{words}; in order of time the first learn from fewer rows and may differ for that.")
    if kept:
        return Finding(None, f"{words}; folds of whole groups may differ as the groups do.")
    strata = strata_of(pooled, task)
    p = permutation_chance(lambda: _farthest(scores(redrawn(part, strata, rng))), _farthest(found) / FARTHER, LEVEL)
    if p > LEVEL:
        return Finding(
            False,
            f"{words}; that one is {FARTHER} times as far from their mean as folds drawn by chance is not shown "
            f"({chance_words(p)}).",
        )
    worst = int(np.argmax(abs(found - found.mean())))
    return Finding(
        True,
        f"{words}: fold {numbers[worst]} with {found[worst]:.4f} is more than {FARTHER} times as far from their mean, "
        f"{found.mean():.4f}, as folds drawn by chance ({chance_words(p)}).",
    )


def _farthest(scores: np.ndarray) -> float:
    return float(abs(scores - scores.mean()).max())
