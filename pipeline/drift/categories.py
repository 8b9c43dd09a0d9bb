"""The test for categories, and for new ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.drift.column import (
    COHEN,
    KINDS,
    STABILITY,
    ColumnDrift,
    LabelCounts,
)
from pipeline.settings import Drift
from pipeline.tables.types import value_text

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TEXT_SHARE = 0.5
TEXT_VALUES = 100


def is_labelled(old: pd.Series, new: pd.Series) -> bool:
    """Both sides hold categories (an all-empty side holds anything)."""
    return old.dtype != "float64" and (new.dtype != "float64" or bool(new.isna().all()))


def count_labels(old: pd.Series, new: pd.Series) -> LabelCounts:
    """Categories of both sides, missing values left out; whole numbers are written without a fraction."""
    import pandas as pd

    sides = []
    for column in (old, new):
        table = column.value_counts()
        table.index = [value_text(value) for value in table.index]
        sides.append(table.groupby(level=0).sum())
    both = pd.concat(sides, axis=1).fillna(0).sort_index()
    return LabelCounts(tuple(both.index), both.to_numpy(dtype=float).T)


def is_text(table: LabelCounts) -> bool:
    """Nearly every value of the reference is different: free text or an identifier, which has no distribution."""
    old = table.counts[0]
    return bool((old > 0).sum() > max(TEXT_VALUES, TEXT_SHARE * old.sum()))


def compare_labels(column: ColumnDrift, table: LabelCounts, is_target: bool = False) -> ColumnDrift:
    """Chi-squared, or Fisher's exact test where counts are too small for it; population stability index.

    For a target the effect is Cohen's w (Cohen 1988), which sees a rare class multiply.
    """
    import numpy as np
    from scipy import stats

    if len(table.labels) == 1:
        return replace(column, note="constant")
    pooled, too_few = pool_rare(table.counts)
    outcome = stats.fisher_exact(pooled) if too_few else stats.chi2_contingency(pooled)
    shares = table.counts / table.counts.sum(axis=1, keepdims=True)
    moved = int(np.abs(shares[1] - shares[0]).argmax())
    effect = cohen_w(table.counts) if is_target else stability_index(table.counts)
    return replace(
        column,
        test="Fisher's exact" if too_few else "chi-squared",
        statistic=float(outcome.statistic) if math.isfinite(outcome.statistic) else None,
        p_value=float(outcome.pvalue),
        effect_name=COHEN if is_target else STABILITY,
        effect=effect,
        change=f"{table.labels[moved]} {shares[0, moved]:.1%} before, {shares[1, moved]:.1%} now",
    )


def pool_rare(counts: np.ndarray) -> tuple[np.ndarray, bool]:
    """Pool the rarest categories until each has an expected count of 5 (Cochran 1954).

    Returns the counts, and whether even the last two do not reach it: then only an exact test is right.
    """
    import numpy as np

    expected = (counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()).min(axis=0)
    order = np.argsort(expected, kind="stable")
    rare = int((expected < 5).sum())
    if rare:
        rare = max(rare, int(np.searchsorted(np.cumsum(expected[order]), 5)) + 1)
        rare = min(rare, counts.shape[1] - 1)
        counts = np.column_stack([counts[:, order[rare:]], counts[:, order[:rare]].sum(axis=1)])
    least = counts.sum(axis=1).min() * counts.sum(axis=0).min() / counts.sum()
    return counts, bool(least < 5)


def stability_index(counts: np.ndarray) -> float:
    """Population stability index of two rows of category counts, half a row added where a category is absent."""
    import numpy as np

    filled = np.maximum(counts, 0.5)
    shares = filled / filled.sum(axis=1, keepdims=True)
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def cohen_w(counts: np.ndarray) -> float:
    """Cohen's w of the current shares against the reference's; half a row added where the reference has none."""
    import numpy as np

    expected = np.maximum(counts[0], 0.5) / np.maximum(counts[0], 0.5).sum()
    return float(np.sqrt(((counts[1] / counts[1].sum() - expected) ** 2 / expected).sum()))


def find_new_categories(
    labelled: Mapping[str, LabelCounts], settings: Drift
) -> dict[str, tuple[tuple[str, ...], float, float]]:
    """Columns with categories that the reference never had: which of them are no chance, their share, and p-value.

    Rare categories turn up on one side only by chance. A category with K rows in all lies wholly in the current table
    with probability C(n, K) / C(N, K), for n current of N rows. The p-value of one is the sum of that over all
    categories of all columns for which it is as small or smaller: the union bound for an alarm from any of them.
    """
    import numpy as np
    from scipy.special import gammaln

    chances = {}
    for name, table in labelled.items():
        total, n = table.counts.sum(axis=0), table.counts[1].sum()
        fits = np.minimum(total, n)
        log_chance = gammaln(n + 1) - gammaln(n - fits + 1) - gammaln(total.sum() + 1) + gammaln(total.sum() - fits + 1)
        chances[name] = np.where(total > n, 0.0, np.exp(log_chance))
    ordered = np.sort(np.concatenate([*chances.values(), [0.0]]))
    sums = np.cumsum(ordered)
    found = {}
    for name, table in labelled.items():
        new = np.flatnonzero(table.counts[0] == 0)
        if not len(new):
            continue
        p_values = np.minimum(1, KINDS * sums[np.searchsorted(ordered, chances[name][new], side="right") - 1])
        told = new[p_values < settings.alpha]
        share = float(table.counts[1, told].sum() / max(table.counts[1].sum(), 1))
        found[name] = tuple(table.labels[position] for position in told), share, float(p_values.min())
    return found
