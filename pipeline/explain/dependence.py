"""Partial dependence (Friedman 2001): the mean prediction of the same rows with one column set to one value after
another.

Its intervals are those of the mean over rows, or the groups or blocks of time that they come in: what other rows would
give with the same fitted model. Where columns hang together, some of the rows that are made are like none that exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.explain.output import Output
from pipeline.intervals import estimate_of
from pipeline.metrics import Predictions, Weighted

Kind = Literal["number", "date", "category"]
# Values of a column, cells of the frame that they are predicted in, and rows that these leave at least.
GRID, CELLS, LEAST_ROWS = 20, 20_000_000, 100
MOST_WORDS = 12
# Numbers and dates are drawn over so large a middle part of the rows.
MIDDLE = 0.95
Level = tuple[float, float, float]


@dataclass(frozen=True)
class Dependence:
    """Of a column: k values in order, and the mean prediction with each (k, 3): value, lower and upper bound.
    `missing`: likewise where it has no value, None where all rows have one.
    """

    column: str
    kind: Kind
    values: Sequence[float | str]
    levels: np.ndarray
    missing: Level | None = None


def partial_dependence(
    output: Output, X: pd.DataFrame, belonging: Mapping[str, np.ndarray], column: str, kind: Kind, seed: int
) -> Dependence:
    """The partial dependence of a column over rows (n x d). `belonging`: the group or time of each, as Rows has it.
    PipelineError: as predict.
    """
    rows = min(len(X), max(LEAST_ROWS, CELLS // (GRID * X.shape[1])))
    X, belonging = X[:rows], {name: labels[:rows] for name, labels in belonging.items()}
    values: list[float | str | None] = [*grid(X[column], kind)]
    whole, holes = len(values), X[column].isna().any()
    if holes:
        values.append(None)
    copies = pd.concat([X] * len(values), ignore_index=True)
    copies[column] = pd.Series(np.repeat(np.array(values, dtype=object), rows), dtype=X[column].dtype)
    none = np.zeros(rows)
    judged = Predictions(none, none, **belonging)
    levels = np.array([level_of(own, judged, seed) for own in output.values(copies).reshape(-1, rows)])
    order = np.argsort(levels[:whole, 0], kind="stable") if kind == "category" else np.arange(whole)
    return Dependence(
        column=column,
        kind=kind,
        values=[values[at] for at in order],
        levels=levels[order],
        missing=tuple(levels[-1]) if holes else None,
    )


def grid(column: pd.Series, kind: Kind) -> list[float | str]:
    """The values that a column of rows (n,) is set to: at most GRID quantiles of its middle part, which are values that
    rows have, or all where there are no more; of categories the most frequent.
    """
    known = column.dropna()
    if kind == "category":
        return known.value_counts().index[:MOST_WORDS].tolist()
    # dates are text that is in order
    code, distinct = pd.factorize(known, sort=True)
    if len(distinct) > GRID:
        edge = (1 - MIDDLE) / 2
        code = np.quantile(code, np.linspace(edge, 1 - edge, GRID), method="inverted_cdf")
    return distinct[np.unique(code)].tolist()


def level_of(values: np.ndarray, judged: Predictions, seed: int) -> Level:
    """The mean of the rows' values (n,), and its 95 % interval."""

    def mean(weights: np.ndarray) -> np.ndarray:
        return weights @ values / weights.sum(axis=1)

    figure: Weighted = mean
    found = estimate_of(figure, None, judged, seed)
    return found.value, *found.interval()
