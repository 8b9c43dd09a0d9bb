"""The check for the weakest segment of rows: the range or category of a column where a model does worst."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.checks.finding import Finding
from pipeline.checks.levels import LEVEL, spread, summed, upper_tail
from pipeline.metrics import Predictions

RANGES, MOST_WORDS = 4, 20
# A segment has at least this share of the rows, and so many of each half; its loss counts where it is this many times
# that of the other rows.
LEAST_SHARE, LEAST_ROWS, WORSE = 0.05, 20, 1.25
# Of wrong rows in a half, in the segment and outside.
LEAST_WRONG = 5


@dataclass(frozen=True)
class Segment:
    """Rows (n,) that a column puts together, and what they are in words."""

    words: str
    rows: np.ndarray


def weakest_segment(
    task: str, judged: Predictions, X: pd.DataFrame, dates: Collection[str], units: np.ndarray | None, seed: int
) -> Finding:
    """Where a model does worst: quarters of each column of numbers or dates, and frequent words, of the judged rows.

    The segment is searched in one random half of the rows (n, or of the units (n,) they belong to) and judged in the
    other, so that the search costs no level. Its mean absolute error, or for classes its share of wrong labels, is
    above WORSE times that of the other rows in a one-sided test of the logarithm of their ratio at LEVEL.
    """
    loss = (
        abs(judged.actual - judged.predicted)
        if task == "regression"
        else (judged.actual != judged.predicted).astype(float)
    )
    belongs = np.arange(len(loss)) if units is None else np.unique(units, return_inverse=True)[1]
    searched = (np.random.default_rng(seed).permutation(belongs.max() + 1) % 2 == 0)[belongs]
    best, most = None, -np.inf
    for segment in segments(X, dates):
        if segment.rows.sum() < LEAST_SHARE * len(loss):
            continue
        found = log_ratio(loss[searched], segment.rows[searched], belongs[searched], task)
        other = min(segment.rows[~searched].sum(), (~segment.rows[~searched]).sum())
        # what is likely worse, not what only looks so as it is small
        if found is not None and other >= LEAST_ROWS and (worse := found[0] - found[1]) > most:
            best, most = segment, worse
    judge = None if best is None else log_ratio(loss[~searched], best.rows[~searched], belongs[~searched], task)
    if best is None or judge is None:
        return Finding(None, f"{len(loss)} judged rows, or those predicted wrongly, are too few to split by a column.")
    value, error = judge
    inside, outside = (loss[~searched & part].mean() for part in (best.rows, ~best.rows))
    low, high = (float(np.exp(value + side * spread(error))) for side in (-1, 1))
    inner, outer = ("a mean absolute error of {:.4g}", "{:.4g}")
    if task != "regression":
        inner, outer = ("{:.1%} wrong labels", "{:.1%}")
    words = (
        f"{best.words} ({best.rows.sum():,} rows, {best.rows.mean():.0%}): {inner.format(inside)} against "
        f"{outer.format(outside)} of the other rows, {np.exp(value):.2f} times as much [{low:.2f}, {high:.2f}], in the "
        "half of the rows that it was not searched in"
    )
    if upper_tail(value - np.log(WORSE), error) <= LEVEL:
        return Finding(True, f"{words}.")
    return Finding(False, f"{words}; more than {WORSE} times is not shown.")


def log_ratio(loss: np.ndarray, inside: np.ndarray, belongs: np.ndarray, task: str) -> tuple[float, float] | None:
    """The logarithm of the mean loss inside a segment over that of the other rows, and its standard error by the delta
    method; None where rows or wrong labels are too few, or one of the means is 0.
    """
    parts = []
    for part in (inside, ~inside):
        if part.sum() < LEAST_ROWS or (task != "regression" and loss[part].sum() < LEAST_WRONG) or not loss[part].any():
            return None
        mean = loss[part].mean()
        parts.append((float(np.log(mean)), part * (loss - mean) / (part.sum() * mean)))
    # a unit may have rows on both sides
    influence = summed(parts[0][1] - parts[1][1], belongs)
    return parts[0][0] - parts[1][0], float(np.sqrt((influence**2).sum()))


def segments(X: pd.DataFrame, dates: Collection[str]) -> Iterator[Segment]:
    """Each column's segments: quarters by rank of numbers and dates, the most frequent words, and missing values."""
    for name in X:
        column = X[name]
        missing = column.isna().to_numpy()
        if missing.any():
            yield Segment(f"{name} is missing", missing)
        if column.dtype == "float64" or name in dates:
            yield from _ranges(str(name), column, missing)
        else:
            for word in column.value_counts().index[:MOST_WORDS]:
                yield Segment(f"{name} = {word}", (column == word).to_numpy())


def _ranges(name: str, column: pd.Series, missing: np.ndarray) -> Iterator[Segment]:
    # dates are text that is in order
    code, values = pd.factorize(column, sort=True)
    if len(values) < 2:
        return
    known = code[~missing]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, RANGES + 1)[1:-1], method="inverted_cdf"))
    part = np.searchsorted(edges, code, side="left")
    for number in np.unique(part[~missing]):
        rows = (part == number) & ~missing
        low, high = values[code[rows].min()], values[code[rows].max()]
        yield Segment(
            f"{name} from {_value(low)} to {_value(high)}" if low != high else f"{name} = {_value(low)}", rows
        )


def _value(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
