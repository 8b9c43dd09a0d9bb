"""The test for categories, and the one for new categories."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.drift.column import KINDS
from pipeline.tables.columns import value_text

TEXT_SHARE = 0.5
TEXT_VALUES = 100


def count_labels(old: pd.Series, new: pd.Series, declared: str = "", is_target: bool = False) -> pd.DataFrame | None:
    """How often each category is there, missing values left out: a row a category as text, columns old and new.

    None where a side holds numbers and is not declared a class, and for dates and free text, which have no distribution
    (nearly every value of the reference is different). An all-empty side holds anything.
    """
    labelled = old.dtype != "float64" and (new.dtype != "float64" or bool(new.isna().all()))
    if declared in ("date", "text") or not (labelled or declared == "class"):
        return None
    sides = [side.value_counts().rename(value_text).groupby(level=0).sum() for side in (old, new)]
    table = pd.concat(sides, axis=1, keys=["old", "new"]).fillna(0.0).sort_index()
    is_text = (table["old"] > 0).sum() > max(TEXT_VALUES, TEXT_SHARE * table["old"].sum())
    return None if is_text and not is_target else table


def chi_squared(old: np.ndarray, new: np.ndarray) -> tuple[str, float, float]:
    """Chi-squared with the rarest categories pooled until each has an expected count of 5 (Cochran 1954); Fisher's
    exact test where even the last two do not reach it.
    """
    counts = np.array([old, new])
    expected = (counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()).min(axis=0)
    order = np.argsort(expected, kind="stable")
    rare = int((expected < 5).sum())
    if rare:
        rare = max(rare, int(np.searchsorted(np.cumsum(expected[order]), 5)) + 1)
        rare = min(rare, counts.shape[1] - 1)
        counts = np.column_stack([counts[:, order[rare:]], counts[:, order[:rare]].sum(axis=1)])
    exact = counts.sum(axis=1).min() * counts.sum(axis=0).min() / counts.sum() < 5
    outcome = stats.fisher_exact(counts) if exact else stats.chi2_contingency(counts)
    return "Fisher's exact" if exact else "chi-squared", float(outcome.statistic), float(outcome.pvalue)


def stability_index(old: np.ndarray, new: np.ndarray) -> float:
    """Population stability index, half a row added where a category is absent on one side."""
    before, now = shares(np.maximum(old, 0.5)), shares(np.maximum(new, 0.5))
    return float(((now - before) * np.log(now / before)).sum())


def cohen_w(old: np.ndarray, new: np.ndarray) -> float:
    """Cohen's w (1988) of the current shares against the reference's; half a row added where that has none."""
    before = shares(np.maximum(old, 0.5))
    return float(np.sqrt(((shares(new) - before) ** 2 / before).sum()))


def shares(counts: np.ndarray) -> np.ndarray:
    return counts / counts.sum()


def find_new_categories(
    labelled: Mapping[str, pd.DataFrame], alpha: float
) -> dict[str, tuple[tuple[str, ...], float, float]]:
    """Columns with categories that the reference never had: which of them are no chance, their share, and p-value.

    Rare categories turn up on one side only by chance. A category with K rows in all lies wholly in the current table
    with the hypergeometric probability C(n, K) / C(N, K), for n current of N rows. The p-value of one is the sum of
    that over all categories of all columns for which it is as small or smaller: the union bound for an alarm from any.
    """
    chances = {}
    for name, table in labelled.items():
        rows = table.sum(axis=1).to_numpy()
        chances[name] = stats.hypergeom.pmf(rows, rows.sum(), rows, table["new"].sum())
    ordered = np.sort(np.concatenate([*chances.values(), [0.0]]))
    sums = np.cumsum(ordered)
    found = {}
    for name, table in labelled.items():
        is_new = (table["old"] == 0).to_numpy()
        if not is_new.any():
            continue
        p_values = np.minimum(1, KINDS * sums[np.searchsorted(ordered, chances[name][is_new], side="right") - 1])
        told = table["new"][is_new][p_values < alpha]
        found[name] = tuple(told.index), float(told.sum() / max(table["new"].sum(), 1)), float(p_values.min())
    return found
