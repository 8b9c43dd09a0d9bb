"""Checks of single columns: one that gives the target away, and those that a model has no use for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.checks.finding import Finding
from pipeline.checks.levels import FEWEST, LEVEL, UNSEEN, holm, rarest, spread, summed, too_few, upper_tail
from pipeline.metrics import lead
from pipeline.tables.split import Rows

# A column gives the target away that alone explains this share of what there is to explain.
GIVEN_AWAY = 0.9
# Rows a bin at least, and bins at most.
BIN_ROWS, MOST_BINS = 5, 500
# A column is useless that the model loses less by than this share of its lead over the naive prediction.
USELESS = 0.01
NAMED = 5


def column_gives_target_away(task: str, rows: Rows, columns: Sequence[str], units: np.ndarray | None) -> Finding:
    """Whether one column alone explains the target, as one does that is only known together with it.

    Each column predicts out of fold: the mean target of the training rows in the same of up to MOST_BINS bins, or with
    the same word, missing values among themselves. Its share is 1 - sum((y - prediction)^2) / sum((y - mean)^2) over
    the validated rows, for classes summed over an indicator of each (the Brier skill score). A column gives the target
    away where that is above GIVEN_AWAY (one-sided at LEVEL, Holm over the columns, delta method; `units` (n,) are the
    numbers of what rows belong to).
    """
    Y = targets(task, rows.y)
    validated = np.sort(np.concatenate([validation for _, validation in rows.folds]))
    naive = np.zeros(len(Y))
    for train, validation in rows.folds:
        naive[validation] = ((Y[validation] - Y[train].mean(axis=0)) ** 2).sum(axis=1)
    base, own_units = naive[validated], validated if units is None else units[validated]
    unseen = UNSEEN * _most_telling(base, rows.y[validated], task)
    if len(validated) < FEWEST or unseen / (base.sum() + unseen) >= 1 - GIVEN_AWAY:
        which = "rows" if task == "regression" else "rows of the rarest class"
        return Finding(None, f"{rarest(rows.y[validated], task)} {which} in the training part are too few to say.")
    found = []
    for name in columns:
        loss = np.zeros(len(Y))
        for train, validation in rows.folds:
            loss[validation] = ((Y[validation] - by_column(rows.X[name], Y, train, validation)) ** 2).sum(axis=1)
        missed = (loss[validated].sum() + unseen) / (base.sum() + unseen)
        residual = summed(loss[validated] - missed * base, own_units)
        found.append((name, 1 - missed, float(np.sqrt((residual**2).sum()) / (base.sum() + unseen))))
    chances = holm([upper_tail(share - GIVEN_AWAY, error) for _, share, error in found])
    given = [entry for entry, p in zip(found, chances, strict=True) if p <= LEVEL]
    if given:
        words = ", ".join(_share(*entry) for entry in sorted(given, key=lambda e: -e[1])[:NAMED])
        return Finding(
            True,
            f"Alone explains nearly all of the target: {words}. Is it known before the target is? If not, drop it.",
        )
    most = max(found, key=lambda entry: entry[1])
    return Finding(
        False,
        f"None of {len(found)} columns alone is shown to explain {GIVEN_AWAY:.0%} of the target or more; the most is "
        f"{_share(*most)}.",
    )


def targets(task: str, y: np.ndarray) -> np.ndarray:
    """What the columns have to explain (n, k): the number, or an indicator of each class but one of two."""
    if task == "multiclass":
        return (y[:, None] == np.unique(y)).astype(float)
    return y[:, None].astype(float)


def by_column(column: pd.Series, Y: np.ndarray, train: np.ndarray, validation: np.ndarray) -> np.ndarray:
    """The mean of Y (n, k) in the training rows that are like each validation row in a column, with the mean of all as
    one more row.
    """
    code = bins(column, train)
    count = np.bincount(code[train], minlength=code.max() + 1)
    sums = np.stack([np.bincount(code[train], y, minlength=len(count)) for y in Y[train].T], axis=1)
    means = (sums + Y[train].mean(axis=0)) / (count + 1)[:, None]
    return means[code[validation]]


def bins(column: pd.Series, train: np.ndarray, most: int = MOST_BINS) -> np.ndarray:
    """The number of each value's bin (n,), from 0: between quantiles of the training rows, or of each word; the last is
    of missing values.
    """
    if column.dtype != "float64":
        code = pd.factorize(column)[0]
        return np.where(code < 0, code.max() + 1, code)
    values = column.to_numpy()
    known = values[train][~np.isnan(values[train])]
    count = min(most, max(2, len(known) // BIN_ROWS))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, count + 1)[1:-1])) if len(known) else np.zeros(0)
    return np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="left"))


def _most_telling(base: np.ndarray, y: np.ndarray, task: str) -> float:
    """What a missed row costs at most: the mean loss of the rows of the rarest class, or of all."""
    if task == "regression":
        return float(base.mean())
    labels, counts = np.unique(y, return_counts=True)
    return float(base[y == labels[counts.argmin()]].mean())


def _share(name: str, share: float, error: float) -> str:
    low, high = share - spread(error), min(1, share + spread(error))
    return f"{name} with {share:.1%} [{low:.1%}, {high:.1%}]"


def useless_columns(
    task: str,
    metric: str,
    importance: Mapping[str, tuple[float, float]],
    value: float,
    naive: float | None,
    y: np.ndarray,
    unseen: float,
    freedom: float = np.inf,
) -> Finding:
    """Which columns a model is shown to have no use for: what it loses when one of them is shuffled is below USELESS of
    its lead over the naive prediction (a t-test of each column at LEVEL, Holm over the columns).

    Args:
        importance: what is lost by each column, and its standard error.
        value: the metric of the model, `naive` that of the naive prediction.
        y: the target of the rows (n,) that it was measured on.
        unseen: what UNSEEN rows change the metric by, which counts as an error too: a rare value may not have come up.
        freedom: the degrees of freedom of the errors, few where the rows come in few groups.
    """
    if thin := too_few(y, task):
        return Finding(None, f"{thin} in the test part are too few to say.")
    if naive is None or not (bound := USELESS * lead(metric, value, naive)) > 0:
        words = "no better than the naive prediction, so that what a column is worth cannot be said"
        return Finding(None, f"It reaches {value:.4f}, {words}.")
    importance = {name: (lost, float(np.hypot(error, unseen))) for name, (lost, error) in importance.items()}
    chances = holm([upper_tail(bound - lost, error, freedom) for lost, error in importance.values()])
    shown = [(name, *importance[name]) for name, p in zip(importance, chances, strict=True) if p <= LEVEL]
    least = f"{USELESS:.0%} of the lead over the naive prediction ({bound:.2g})"
    if not shown:
        name, (lost, error) = min(importance.items(), key=lambda item: item[1][0])
        return Finding(
            False,
            f"None of {len(importance)} columns is shown to matter less than {least}; the least is {name} with "
            f"{_loss(lost, error, freedom)}.",
        )
    words = ", ".join(
        f"{name} {_loss(lost, error, freedom)}" for name, lost, error in sorted(shown, key=lambda e: e[1])[:NAMED]
    )
    more = f" and {len(shown) - NAMED} more" if len(shown) > NAMED else ""
    return Finding(
        True,
        f"{len(shown)} of {len(importance)} columns, shuffled one at a time, cost less than {least}: {words}{more}. "
        "Another column may say the same.",
    )


def _loss(lost: float, error: float, freedom: float) -> str:
    # no -0.0000
    value, low, high = (round(v, 4) + 0.0 for v in (lost, lost - spread(error, freedom), lost + spread(error, freedom)))
    return f"{value:.4f} [{low:.4f}, {high:.4f}]"
