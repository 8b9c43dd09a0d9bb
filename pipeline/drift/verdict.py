"""What moved and what to do, in words."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pipeline.drift.column import EXTRA, NAMED, ColumnDrift, listed
from pipeline.drift.score import Score
from pipeline.tables.columns import value_text


def verdict_words(columns: Sequence[ColumnDrift], target: ColumnDrift | None) -> tuple[str, list[str]]:
    """Whether there is drift; and, a line each, which columns moved and by how much, the target first."""
    moved = sorted((column for column in columns if column.drift), key=lambda column: -(column.effect or 0))
    places = [f"{len(moved)} of {sum(column.note != EXTRA for column in columns)} features"] if moved else []
    lines = [f"{column.column} {'; '.join(column.reasons)}" for column in moved]
    if target is not None and target.drift:
        places.append("the target")
        lines.insert(0, f"the target {target.column} {'; '.join(target.reasons)}")
    if not places:
        return "No drift was found: the tables agree within the set thresholds.", []
    return f"Drift was found in {' and in '.join(places)}.", lines


def recommend(
    columns: Sequence[ColumnDrift], target: ColumnDrift | None, score: Score | None, unscored: str
) -> tuple[bool, str]:
    """Whether to retrain, and that with its reason in words.

    A drift is an alarm, unless the score on current rows shows that it has cost nothing. `unscored`: why there is no
    score.
    """
    moved = [column for column in (*columns, target) if column is not None and column.drift]
    faults = [c.column for c in moved if c.note or any("missing values" in reason for reason in c.reasons)]
    source = (
        f" First find out why {listed(faults)} came that way: a fault of the source is to be mended, not learned."
        if faults
        else ""
    )
    if score is None:
        if not moved:
            return False, "There is no reason to retrain."
        cost = f" What the drift costs is not known: {unscored}." if unscored else ""
        return True, f"The model should be retrained on rows like the current ones.{cost}{source}"
    words = (
        f" {score.model} reaches {score.metric} {score.current:.4f} "
        f"[{score.current_interval[0]:.4f}, {score.current_interval[1]:.4f}] on the current rows, after "
        f"{score.test:.4f} [{score.test_interval[0]:.4f}, {score.test_interval[1]:.4f}] when it was judged.{source}"
    )
    advice = {
        (True, True): "Retrain the model on rows like the current ones: the drift costs score.",
        (True, False): "Retrain the model: no column moved, yet it has lost score, so the target depends on them in "
        "another way than before.",
        (False, True): "No need to retrain now: no loss of score is shown, so the drift costs nothing.",
        (False, False): "There is no reason to retrain.",
    }
    return score.lost, advice[score.lost, bool(moved)] + words


def target_words(old: pd.Series | None, new: pd.Series | None, name: str, target: ColumnDrift | None) -> str:
    """Means or class shares of the target on both sides, and the p-value, in one sentence."""
    if target is None or old is None or new is None:
        return f"The current table has no target ({name}), so target drift cannot be tested."
    verdict = "has drifted" if target.drift else "has not drifted"
    if target.test is None:
        return f"The target {name} {verdict}: {target.note}."
    words = f"The target {verdict} (p = {target.p_value:.3g}, corrected {target.p_corrected:.3g})"
    if target.kind == "numeric":
        return f"{words}: mean {old.mean():.4g} in the reference, {new.mean():.4g} now."
    before, now = (side.dropna().map(value_text).value_counts(normalize=True) for side in (old, new))
    labels = list(dict.fromkeys([*before.index, *now.index]))
    parts = [f"{label} {before.get(label, 0):.1%} before, {now.get(label, 0):.1%} now" for label in labels]
    return f"{words}: {'; '.join(parts[:NAMED])}."
