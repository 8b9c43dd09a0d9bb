"""Every column of two tables compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline.drift.categories import count_labels, find_new_categories, shares
from pipeline.drift.column import EXTRA, KINDS, ColumnDrift, listed
from pipeline.drift.missing import compare_missing
from pipeline.drift.registry import TESTS, effect_words, test_name
from pipeline.settings import Dataset, Drift

ABSENT = "absent from the current table"
ISO_WRITTEN = r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d+)?Z?)?"
NO_NUMBERS = "numbers before, other values now"
NO_LABELS = "categories before, numbers now"
NO_DATES = "dates before, other values now"
FAULTS = {ABSENT: f"is {ABSENT}"} | {note: f"has {note}" for note in (NO_NUMBERS, NO_LABELS, NO_DATES)}


def types_of(dataset: Dataset, reference: pd.DataFrame) -> dict[str, str]:
    """The declared type of every feature, in the order of the reference ("" for none); last that of the target, which
    is "class" where the task has classes.
    """
    features = [name for name in reference if name != dataset.target and name not in dataset.unused]
    classes = {} if dataset.task == "regression" else {dataset.target: "class"}
    return {name: dataset.types.get(name, "") for name in (*features, dataset.target)} | classes


def compare_tables(
    reference: pd.DataFrame, current: pd.DataFrame, types: Mapping[str, str], settings: Drift
) -> tuple[list[ColumnDrift], ColumnDrift | None]:
    """Every feature's comparison and the target's (None where a table lacks it); `types` as types_of gives them.

    p-values are corrected over the columns: by Holm (1979) for distributions and for missing values, and for new
    categories by the union bound over all categories (see `find_new_categories`).
    """
    *features, target = types
    has_target = target in reference and target in current
    raw, labelled = [], {}
    for name in types if has_target else features:
        old, new, is_target = reference[name], current.get(name), name == target
        table = None if new is None else count_labels(old, new, types[name], is_target)
        raw.append(compare_column(name, old, new, table, types[name], is_target))
        if table is not None:
            labelled[name] = table
    p_values = [column.p_value for column in raw]
    moved = [*correct(p_values[: len(features)]), *correct(p_values[len(features) :])]
    missing = correct([column.p_missing for column in raw])
    unseen = find_new_categories(labelled, settings.alpha)
    decided = []
    for column, p_corrected, p_missing in zip(raw, moved, missing, strict=True):
        new_ones, share, p_new = unseen.get(column.column, ((), 0.0, None))
        column = replace(column, p_corrected=p_corrected, p_missing=p_missing)
        decided.append(decide(replace(column, new_categories=new_ones, new_share=share, p_new=p_new), settings))
    extra = [ColumnDrift(name, "other", note=EXTRA) for name in current if name not in reference]
    return decided[: len(features)] + extra, decided[-1] if has_target else None


def compare_column(
    name: str, old: pd.Series, new: pd.Series | None, table: pd.DataFrame | None, declared: str, is_target: bool
) -> ColumnDrift:
    """Test and effect size of one column, missing values left out; `table` has the counts where it holds categories."""
    if new is None:
        return ColumnDrift(name, "other", note=ABSENT)
    before, now, p_missing = compare_missing(old, new)
    column = ColumnDrift(name, "other", missing_reference=before, missing_current=now, p_missing=p_missing)
    note = why_untested(old, new, table, declared)
    if note:
        return replace(column, note=note)
    if table is None:
        kind, sides = "numeric", [np.sort(side.dropna().to_numpy()) for side in (old, new)]
        constant = sides[0][0] == sides[0][-1] == sides[1][0] == sides[1][-1]
        change = f"mean {sides[0].mean():.4g} before, {sides[1].mean():.4g} now"
    else:
        kind, sides, constant = "categorical", list(table.to_numpy().T), len(table) == 1
        share = [shares(side) for side in sides]
        most = int(abs(share[1] - share[0]).argmax())
        change = f"{table.index[most]} {share[0][most]:.1%} before, {share[1][most]:.1%} now"
    if constant:
        return replace(column, kind=kind, note="constant")
    effect_name = test_name(kind, is_target)
    test, statistic, p_value = TESTS[effect_name].test(*sides)
    effect = TESTS[effect_name].effect(*sides)
    return replace(
        column,
        kind=kind,
        test=test,
        statistic=statistic if math.isfinite(statistic) else None,
        p_value=p_value,
        effect_name=effect_name,
        effect=effect if math.isfinite(effect) else None,
        change=change,
    )


def why_untested(old: pd.Series, new: pd.Series, table: pd.DataFrame | None, declared: str) -> str:
    """Why a column cannot be tested, in words; empty where it can."""
    empty = [side for side, values in (("reference", old), ("current", new)) if values.isna().all()]
    if empty:
        return f"all empty in the {' and '.join(empty)} table"
    if table is not None or old.dtype == new.dtype == "float64":
        return ""
    if "float64" in (old.dtype, new.dtype):
        return NO_NUMBERS if old.dtype == "float64" else NO_LABELS
    if declared == "date":
        if not new.dropna().astype(str).str.fullmatch(ISO_WRITTEN).all():
            return NO_DATES
        spans = [f"{side.dropna().min()} to {side.dropna().max()}" for side in (old, new)]
        return f"dates from {spans[0]} before, {spans[1]} now"
    return "text-like or an identifier: nearly every value is different"


def correct(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction, and Bonferroni's for KINDS; columns without a test (None) do not count."""
    # by hand, since statsmodels' multipletests collects garbage in every call, which takes longer than all the tests do
    p = np.array(p_values, dtype=float)
    order, left = np.argsort(p), np.isfinite(p).sum() - np.arange(len(p))
    p[order] = np.minimum(1, np.maximum.accumulate(KINDS * p[order] * left))
    return [None if given is None else float(value) for given, value in zip(p_values, p, strict=True)]


def decide(column: ColumnDrift, settings: Drift) -> ColumnDrift:
    """The verdict of a column whose corrected p-values are known, and its reasons in words."""
    reasons = [FAULTS[column.note]] if column.note in FAULTS else []
    if column.effect_name and below(column.p_corrected, settings.alpha):
        bound = getattr(settings, TESTS[column.effect_name].setting)
        if column.effect is not None and column.effect >= bound:
            words = effect_words(column.effect_name, column.effect)
            reasons.append(f"moved {words}: {column.change} (corrected p {column.p_corrected:.2g})")
    before, now = column.missing_reference, column.missing_current
    if below(column.p_missing, settings.alpha) and abs(now - before) >= settings.min_missing_change:
        reasons.append(f"has missing values that went from {before:.1%} to {now:.1%}")
    if column.new_categories and column.new_share >= settings.min_new_share:
        reasons.append(f"has new categories in {column.new_share:.1%} of the rows: {listed(column.new_categories)}")
    return replace(column, drift=bool(reasons), reasons=tuple(reasons))


def below(p_value: float | None, alpha: float) -> bool:
    return p_value is not None and p_value < alpha
