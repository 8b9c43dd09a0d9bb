"""What moved and what to do, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.drift.column import (
    ABSENT,
    COHEN,
    EXTRA,
    NAMED,
    NO_LABELS,
    NO_NUMBERS,
    STABILITY,
    WASSERSTEIN,
    ColumnDrift,
    listed,
)
from pipeline.drift.score import Score
from pipeline.settings import Dataset, Drift
from pipeline.tables.types import value_text

if TYPE_CHECKING:
    import pandas as pd


def decide(column: ColumnDrift, settings: Drift) -> ColumnDrift:
    """The verdict of a column whose corrected p-values are known, and its reasons in words."""
    bounds = {STABILITY: settings.min_psi, COHEN: settings.min_target_shift}
    bound = bounds.get(column.effect_name or "", settings.min_wasserstein)
    reasons = (
        [f"is {column.note}" if column.note == ABSENT else f"has {column.note}"]
        if column.note in (ABSENT, NO_NUMBERS, NO_LABELS)
        else []
    )
    if column.p_corrected is not None and column.p_corrected < settings.alpha and (column.effect or 0) >= bound:
        reasons.append(f"moved {effect_words(column)}: {column.change} (corrected p {column.p_corrected:.2g})")
    change = abs(column.missing_current - column.missing_reference)
    if column.p_missing is not None and column.p_missing < settings.alpha and change >= settings.min_missing_change:
        reasons.append(
            f"has missing values that went from {column.missing_reference:.1%} to {column.missing_current:.1%}"
        )
    if column.new_categories and column.new_share >= settings.min_new_share:
        reasons.append(f"has new categories in {column.new_share:.1%} of the rows: {listed(column.new_categories)}")
    return replace(column, drift=bool(reasons), reasons=tuple(reasons))


def effect_words(column: ColumnDrift) -> str:
    if column.effect_name == WASSERSTEIN:
        return f"by {column.effect:.2f} standard deviations"
    return f"by {'PSI' if column.effect_name == STABILITY else column.effect_name} {column.effect:.2f}"


def verdict_words(columns: Sequence[ColumnDrift], target: ColumnDrift | None) -> tuple[str, list[str]]:
    """Whether there is drift; and, a line each, which columns moved and by how much, the target first."""
    moved = sorted((column for column in columns if column.drift), key=lambda column: -(column.effect or 0))
    target_moved = target is not None and target.drift
    if not moved and not target_moved:
        return "No drift was found: the tables agree within the set thresholds.", []
    compared = sum(column.note != EXTRA for column in columns)
    places = [f"{len(moved)} of {compared} features"] if moved else []
    lines = [f"{column.column} {'; '.join(column.reasons)}" for column in moved]
    if target is not None and target.drift:
        places.append("the target")
        lines.insert(0, f"the target {target.column} {'; '.join(target.reasons)}")
    return f"Drift was found in {' and in '.join(places)}.", lines


def recommend(
    columns: Sequence[ColumnDrift], target: ColumnDrift | None, score: Score | None, unscored: str
) -> tuple[bool, str]:
    """Whether to retrain, and that with its reason in words.

    A drift is an alarm, unless the score on current rows shows that it has cost nothing. `unscored`: why there is no
    score.
    """
    moved = [column for column in [*columns, *([target] if target is not None else [])] if column.drift]
    faults = [c.column for c in moved if c.note or any("missing values" in r for r in c.reasons)]
    source = (
        f" First find out why {listed(faults)} came that way: a fault of the source is to be mended, not learned."
        if faults
        else ""
    )
    if score is not None:
        words = (
            f" {score.model} reaches {score.metric} {score.current:.4f} "
            f"[{score.current_interval[0]:.4f}, {score.current_interval[1]:.4f}] on the current rows, after "
            f"{score.test:.4f} [{score.test_interval[0]:.4f}, {score.test_interval[1]:.4f}] when it was judged."
        )
        if score.lost and moved:
            return True, f"Retrain the model on rows like the current ones: the drift costs score.{words}{source}"
        if score.lost:
            return True, (
                f"Retrain the model: no column moved, yet it has lost score, so the target depends on them in "
                f"another way than before.{words}"
            )
        if moved:
            return (
                False,
                f"No need to retrain now: no loss of score is shown, so the drift costs nothing.{words}{source}",
            )
        return False, f"There is no reason to retrain.{words}"
    if moved:
        cost = f" What the drift costs is not known: {unscored}." if unscored else ""
        return True, f"The model should be retrained on rows like the current ones.{cost}{source}"
    return False, "There is no reason to retrain."


def target_words(reference: pd.DataFrame, current: pd.DataFrame, dataset: Dataset, target: ColumnDrift | None) -> str:
    """Means or class shares of the target on both sides, and the p-value, in one sentence."""
    if target is None:
        return f"The current table has no target ({dataset.target}), so target drift cannot be tested."
    verdict = "has drifted" if target.drift else "has not drifted"
    if target.test is None:
        return f"The target {dataset.target} {verdict}: {target.note}."
    p_value = f"(p = {target.p_value:.3g}, corrected {target.p_corrected:.3g})"
    old, new = reference[dataset.target].dropna(), current[dataset.target].dropna()
    if target.kind == "numeric":
        return f"The target {verdict} {p_value}: mean {old.mean():.4g} in the reference, {new.mean():.4g} now."
    shares = [side.map(value_text).value_counts(normalize=True) for side in (old, new)]
    labels = list(dict.fromkeys([*shares[0].index, *shares[1].index]))
    parts = [f"{label} {shares[0].get(label, 0):.1%} before, {shares[1].get(label, 0):.1%} now" for label in labels]
    return f"The target {verdict} {p_value}: {'; '.join(parts[:NAMED])}."
