"""What the checks decide by: one level, Holm's correction, and errors from rows that may belong together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from pipeline.metrics import METRICS, Predictions

# How often a check may raise its alarm where nothing is wrong.
LEVEL = 0.01
# Fewer rows, or rows of the rarer class, say nothing.
FEWEST, FEWEST_OF_A_CLASS = 30, 10
# So many rows that tell may not have come up, each as telling as others are: without any among n rows, 3 in n is what
# cannot be excluded (the rule of three).
UNSEEN = 3
# Of more rows a permutation test takes a sample.
MOST_ROWS = 50_000
# A permutation test ends with so many draws that reach what was observed.
REACHED = 10
# Groups of rows that are left out in turn, and cells of weights held at a time.
GROUPS, CELLS = 100, 5_000_000


def holm(p: Sequence[float]) -> np.ndarray:
    """The p-values (k,) corrected for their number: the largest running product of p, sorted, and how many are left
    (Holm 1979).
    """
    values, k = np.asarray(p, dtype=float), len(p)
    order = np.argsort(values, kind="stable")
    corrected = np.empty(k)
    corrected[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(k, 0, -1)))
    return corrected


def upper_tail(estimate: float, error: float, freedom: float = np.inf) -> float:
    """The chance of an estimate this far above 0 where the truth is 0; without an error the sign alone decides, and
    what is not a number shows nothing.
    """
    if not (np.isfinite(estimate) and np.isfinite(error)):
        return 1.0
    if error == 0:
        return 0.0 if estimate > 0 else 1.0
    return float(_law(freedom).sf(estimate / error))


def spread(error: float, freedom: float = np.inf) -> float:
    """Half the width of the two-sided interval whose ends are each passed with a chance of LEVEL / 2: 99 %."""
    return float(_law(freedom).isf(LEVEL / 2) * error)


def _law(freedom: float) -> Any:
    return stats.t(freedom) if np.isfinite(freedom) else stats.norm


def without_each_group(metric: str, models: Sequence[Predictions], units: np.ndarray, seed: int) -> np.ndarray:
    """The metric of each model on the same n rows, without one group of them after the other (k, models).

    Groups are drawn from the units (n,), the numbers of what rows belong to; k is GROUPS, or the number of units.
    """
    _, unit = np.unique(units, return_inverse=True)
    count = int(unit.max()) + 1
    k = min(GROUPS, count)
    group = (np.random.default_rng(seed).permutation(count) % k)[unit]
    size = max(1, CELLS // len(group))
    weighted, found = [METRICS[metric].of(p) for p in models], []
    for first in range(0, k, size):
        weights = (group != np.arange(first, min(k, first + size))[:, None]).astype(float)
        found.append(np.stack([of_weights(weights) for of_weights in weighted], axis=1))
    return np.concatenate(found)


def jackknife_error(values: np.ndarray) -> tuple[float, float]:
    """The standard error of an estimate from its values without each of k groups (k,), and its degrees of freedom
    (delete-a-group jackknife, Efron & Tibshirani 1993, chapter 11); NaN where a value is.
    """
    k = len(values)
    return float(np.sqrt((k - 1) / k * ((values - values.mean()) ** 2).sum())), k - 1


def unseen_error(without: np.ndarray, units: int, measured: int) -> float:
    """What UNSEEN of `measured` rows, or groups of them, change a metric by: from its values without each group of the
    rows that it is judged on (k,), which are of so many units.
    """
    return float(UNSEEN * jackknife_error(without)[0] * np.sqrt(units) / measured)


def summed(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """The sums of values (n,) over the units (n,) that their rows belong to."""
    _, unit = np.unique(units, return_inverse=True)
    return np.bincount(unit, values)


def sampled(n: int, rng: np.random.Generator) -> np.ndarray:
    """The positions of n rows, or of a sample of MOST_ROWS of them, in order."""
    return np.arange(n) if n <= MOST_ROWS else np.sort(rng.permutation(n)[:MOST_ROWS])


def permutation_chance(draw: Callable[[], float], observed: float, level: float) -> float:
    """The chance that a draw reaches what was observed, exact as a test at the level: up to REACHED / level - 1 draws,
    fewer where REACHED of them do before (Besag & Clifford 1991).
    """
    reached, most = 0, round(REACHED / level) - 1
    for drawn in range(1, most + 1):
        # what is not a number reaches all
        reached += not draw() < observed
        if reached == REACHED:
            return REACHED / drawn
    return (reached + 1) / (most + 1)


def rarest(y: np.ndarray, task: str) -> int:
    """How many rows of the rarest class there are; all rows where numbers are predicted."""
    if task == "regression":
        return len(y)
    return int(min((y == 1).sum(), (y != 1).sum()) if task == "binary" else np.unique(y, return_counts=True)[1].min())


def chance_words(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def too_few(y: np.ndarray, task: str) -> str:
    """Which rows are too few to judge on, in words; empty where they are enough."""
    if len(y) < FEWEST:
        return f"{len(y)} rows"
    return f"{rare} rows of the rarest class" if (rare := rarest(y, task)) < FEWEST_OF_A_CLASS else ""


def redrawn(part: np.ndarray, strata: Sequence[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """The rows of each part, drawn anew: as many of each stratum as there are in it.

    Args:
        part: the number of each row's part (n,), from 0.
        strata: the positions of the rows of each stratum.
    """
    pieces: list[list[np.ndarray]] = [[] for _ in range(int(part.max()) + 1)]
    for rows in strata:
        ends = np.cumsum(np.bincount(part[rows], minlength=len(pieces)))
        for piece, drawn in zip(pieces, np.split(rng.permutation(rows), ends[:-1]), strict=True):
            piece.append(drawn)
    return [np.concatenate(piece) for piece in pieces]


def strata_of(predictions: Predictions, task: str) -> list[np.ndarray]:
    """The rows of each class, as parts and folds are stratified; all together where numbers are predicted."""
    if task == "regression":
        return [np.arange(len(predictions.actual))]
    return [np.flatnonzero(predictions.actual == label) for label in np.unique(predictions.actual)]
