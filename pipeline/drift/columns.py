"""Every column of two tables compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.drift.categories import compare_labels, count_labels, find_new_categories, is_labelled, is_text
from pipeline.drift.column import (
    ABSENT,
    EXTRA,
    KINDS,
    NO_LABELS,
    NO_NUMBERS,
    ColumnDrift,
    LabelCounts,
)
from pipeline.drift.numbers import compare_numbers
from pipeline.drift.verdict import decide
from pipeline.settings import Dataset, Drift

if TYPE_CHECKING:
    import pandas as pd


def compare_tables(
    reference: pd.DataFrame, current: pd.DataFrame, dataset: Dataset, settings: Drift
) -> tuple[list[ColumnDrift], ColumnDrift | None]:
    """Every feature's comparison and the target's (None where a table lacks it).

    p-values are corrected over the columns: by Holm (1979) for distributions and for missing values, and for new
    categories by the union bound over all categories (see `find_new_categories`).
    """
    features = [name for name in reference if name != dataset.target and name not in dataset.unused]
    has_target = dataset.target in reference and dataset.target in current
    names = [*features, dataset.target] if has_target else features
    labelled = {}
    for name in (name for name in names if name in current and dataset.types.get(name) not in ("date", "text")):
        is_class = name == dataset.target and dataset.task != "regression"
        if is_class or is_labelled(reference[name], current[name]):
            table = count_labels(reference[name], current[name])
            if name == dataset.target or not is_text(table):
                labelled[name] = table
    raw = [
        compare_column(
            name,
            reference[name],
            current.get(name),
            labelled.get(name),
            is_target=name == dataset.target,
            is_date=dataset.types.get(name) == "date",
        )
        for name in names
    ]
    moved = holm([column.p_value for column in raw[: len(features)]])
    moved += [None if column.p_value is None else min(1.0, KINDS * column.p_value) for column in raw[len(features) :]]
    missing = holm([column.p_missing for column in raw])
    unseen = find_new_categories(labelled, settings)
    decided = []
    for column, p_corrected, p_missing in zip(raw, moved, missing, strict=True):
        labels, share, p_new = unseen.get(column.column, ((), 0.0, None))
        known = replace(column, p_corrected=p_corrected, p_missing=p_missing)
        decided.append(decide(replace(known, new_categories=labels, new_share=share, p_new=p_new), settings))
    extra = [ColumnDrift(name, "other", note=EXTRA) for name in current if name not in reference]
    return decided[: len(features)] + extra, decided[-1] if has_target else None


def compare_column(
    name: str,
    old: pd.Series,
    new: pd.Series | None,
    table: LabelCounts | None = None,
    is_target: bool = False,
    is_date: bool = False,
) -> ColumnDrift:
    """Test and effect size of one column, missing values left out; `table` has the counts where it holds categories.

    Missing values: Fisher's exact test of the two shares.
    """
    import numpy as np
    from scipy import stats

    if new is None:
        return ColumnDrift(name, "other", note=ABSENT)
    missing = np.array([[side.isna().sum(), side.notna().sum()] for side in (old, new)])
    kind = "numeric" if old.dtype == "float64" and table is None else "categorical"
    column = ColumnDrift(
        name,
        kind,
        missing_reference=float(missing[0, 0] / len(old)),
        missing_current=float(missing[1, 0] / len(new)),
        p_missing=float(stats.fisher_exact(missing).pvalue) if missing[:, 0].any() else None,
    )
    if not missing[:, 1].all():
        sides = " and ".join(side for side, (_, n) in zip(("reference", "current"), missing, strict=True) if not n)
        return replace(column, kind="other", note=f"all empty in the {sides} table")
    if table is not None:
        return compare_labels(column, table, is_target)
    if kind == "categorical" and new.dtype == "float64":
        return replace(column, kind="other", note=NO_LABELS)
    if is_date:
        spans = [f"{side.dropna().min()} to {side.dropna().max()}" for side in (old, new)]
        return replace(column, kind="other", note=f"dates from {spans[0]} before, {spans[1]} now")
    if kind == "categorical":
        return replace(column, kind="other", note="text-like or an identifier: nearly every value is different")
    if new.dtype != "float64":
        return replace(column, kind="other", note=NO_NUMBERS)
    return compare_numbers(column, np.sort(old.dropna().to_numpy()), np.sort(new.dropna().to_numpy()))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction, and Bonferroni's for KINDS; columns without a test (None) do not count."""
    order = sorted((p, position) for position, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, position) in enumerate(order):
        largest = max(largest, min(1.0, KINDS * p * (len(order) - rank)))
        corrected[position] = largest
    return corrected
