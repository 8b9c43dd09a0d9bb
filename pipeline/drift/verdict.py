"""What moved and what to do, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.drift.column import EXTRA, NAMED, NO_VALUE, ColumnDrift, listed, percent
from pipeline.drift.compare import Compared
from pipeline.drift.expected import ExpectedScore
from pipeline.drift.model import Model
from pipeline.drift.recoded import LATER
from pipeline.drift.score import Score, loss_of
from pipeline.drift.together import Joint
from pipeline.tables.columns import value_text

# Where the smallest change of one half that could be seen is above this, too few rows are there for a verdict.
BLIND = 0.45
# Shares of values that were hardly there before, and are in no small number now.
HARDLY_ANY, NOT_FEW = 0.002, 0.05
UNSEEN = "That the target depends on the columns in another way than before cannot be seen without labels."


def verdict_words(
    found: Compared, joint: Joint, rows: int, copied: int, alpha: float
) -> tuple[bool | None, str, list[str]]:
    """Whether there is drift, None where that cannot be told; the same in words; and, a line each, which columns
    moved and how, the target first.

    Args:
        rows: of the current table that are no rows of the training table; the others, `copied`, were left out.
        alpha: how often the verdict may be a false alarm.
    """
    moved = sorted((column for column in found.columns if column.drift), key=_strength)
    places = [f"{len(moved)} of {sum(c.note != EXTRA for c in found.columns)} features"] if moved else []
    lines = [f"{column.column} {'; '.join(column.reasons)}" for column in moved]
    if found.target is not None and found.target.drift:
        places.append("the target")
        lines.insert(0, f"the target {found.target.column} {'; '.join(found.target.reasons)}")
    if joint.drift:
        places.append("all columns together")
        of = f", mostly by {listed(joint.columns)}" if joint.columns else ""
        lines.append(f"a classifier tells current rows from those of the reference (ROC-AUC {joint.auc:.3f}){of}")
        if joint.segment:
            lines.append(joint.segment)
    if not rows:
        return None, "No verdict: all current rows are rows of the training table.", []
    count = f"{rows:,} current row{'s' if rows > 1 else ''}"
    left_out = f" {copied:,} more are rows of the training table, and were left out." if copied else ""
    if places:
        return True, f"Drift was found in {_and(places)}.{left_out}", lines
    best = f"from 50 % to {percent(0.5 + found.visible)}"
    if found.visible >= 0.5:
        return None, f"No verdict: {count} can show no change of any size.{left_out}", []
    if found.visible > BLIND:
        return None, f"No verdict: {count} can show at best a share of rows that goes {best}.{left_out}", []
    words = f"{count} would have shown a share of rows that goes {best}, nine times in ten"
    return False, f"No drift was found at a false alarm rate of {percent(alpha)}; {words}.{left_out}", []


def _and(places: Sequence[str]) -> str:
    return " and in ".join([*([", in ".join(places[:-1])] if places[1:] else []), places[-1]])


def _strength(column: ColumnDrift) -> float:
    return -(column.findings[0].change if column.findings else 1.0)


def recommend(
    drift: bool | None,
    moved: Sequence[ColumnDrift],
    score: Score | None,
    expected: ExpectedScore | None,
    model: Model | None,
    margin: float,
    labelled: bool,
) -> tuple[bool, str]:
    """Whether to retrain, and that with its reason in words.

    A drift is an alarm, unless labels show, or the expected score, that it costs less than the margin.

    Args:
        moved: the columns that drifted.
        margin: the part of the judged score whose loss counts as none.
        labelled: whether the current rows have the target.
    """
    unseen = "" if labelled else f" {UNSEEN}"
    faults = [column.column for column in moved if is_odd(column)]
    first = (
        f"First find out why {listed(faults)} came that way: a fault of the source is to be mended, not learned. "
        if faults
        else ""
    )
    if score is not None:
        retrain, words = _by_labels(bool(drift), score)
        return retrain, first + words
    if drift is None:
        return False, "Nothing can be said of retraining: bring more rows, or others."
    if expected is not None and model is not None and expected.reliable:
        margin *= abs(model.before)
        _, (low, high) = loss_of(model.metric, model.before, model.before_interval, expected.value, expected.interval)
        if low > margin:
            return True, f"{first}The model should be retrained: a loss of {low:.4f} or more is expected.{unseen}"
        if drift and high <= margin:
            loss = f"By the columns alone the loss is at most {high:.4f}, and up to {margin:.4f} counts as none"
            return False, f"{first}{loss}: retraining can wait for labels.{unseen}"
    if drift:
        return True, f"{first}The model should be retrained on rows like the current ones.{unseen}"
    if labelled:
        return False, "No drift was found; what the model scores on these rows was not looked at here."
    return False, f"Whether to retrain is not known before some of these rows have labels.{unseen}"


def is_odd(column: ColumnDrift) -> bool:
    """Whether a fault of the source is likely: missing values, another kind, or values where hardly any were before."""
    told = [found for found in column.findings if found.text() in column.reasons]
    new = [f for f in told if f.words == NO_VALUE or (f.before < HARDLY_ANY and f.change >= NOT_FEW)]
    return bool(column.note or new or (column.hint and not column.hint.startswith(LATER)))


def model_words(model: Model | None, score: Score | None, expected: ExpectedScore | None, no_score: str) -> str:
    """How the model fares on the current rows: its true score where there are labels, beside the expected one.

    Args:
        no_score: why there is no true one, where there are labels.
    """
    if model is None or (score is None and expected is None):
        return ""
    judged = f"{model.test:.4f} when it was judged"
    if expected is None:
        estimate = ""
    elif not expected.reliable:
        estimate = f"The model's {model.metric} on these rows cannot be told: {expected.reason}"
    else:
        low, high = expected.interval
        reach = f"{model.metric} {expected.value:.4f} [{low:.4f}, {high:.4f}]"
        estimate = f"The model ({model.name}) is expected to reach {reach} here, {judged}"
    if score is None:
        return f"{f'No true score: {no_score}' if no_score else 'No labels yet'}. {estimate}."
    low, high = score.current_interval
    reach = f"{model.metric} {score.current:.4f} [{low:.4f}, {high:.4f}]"
    true = f"{model.name} reaches {reach} on the {score.rows:,} labelled rows, {judged}"
    if expected is None:
        return f"{true}."
    if not expected.reliable:
        return f"{true}. Without labels that could not be told: {expected.reason}."
    without = f"{expected.value:.4f} [{expected.interval[0]:.4f}, {expected.interval[1]:.4f}]"
    return f"{true}; without labels {without} was expected."


def _by_labels(drift: bool, score: Score) -> tuple[bool, str]:
    low, high = score.loss_interval
    before = f"{score.metric} {score.before:.4f} on rows of the training table that it had not seen"
    words = f" The loss is {score.loss:.4f} [{low:.4f}, {high:.4f}], from {before}."
    if score.verdict == "shown":
        because = "" if drift else " No drift was found: the target may depend on the columns in another way."
        return True, f"Retrain the model on rows like the current ones: it has lost score.{because}{words}"
    if score.verdict == "within":
        return False, f"No need to retrain: the loss lies within the margin of {score.margin:.4f}.{words}"
    told = (
        f"{score.more_rows:,} more labelled rows would tell, if they go on like these"
        if score.more_rows is not None
        else "no number of current rows would tell, as the score at judging is too uncertain itself"
    )
    unclear = f"A loss above the margin of {score.margin:.4f} is not shown either way; {told}."
    if drift:
        return True, f"The model should be retrained on rows like the current ones. {unclear}{words}"
    return False, f"{unclear}{words}"


def target_words(sides: tuple[pd.DataFrame, pd.DataFrame], name: str, target: Mapping[str, Any] | None) -> str:
    """Means or class shares of the target on both sides, and the p-value, in one sentence.

    Args:
        target: its comparison, as the metrics file holds it.
    """
    if target is None:
        return f"The current table has no target ({name}), so target drift cannot be tested."
    verdict = "has drifted" if target["drift"] else "shows no drift"
    if target["note"] or not target["findings"]:
        because = f": {target['note']}" if target["note"] else ""
        return f"The target {name} {verdict if target['drift'] else 'could not be tested'}{because}."
    found = target["findings"][0]
    words = f"The target {name} {verdict} (p = {found['p_value']:.3g}, corrected {found['p_corrected']:.3g})"
    old, new = (side[name] for side in sides)
    if target["kind"] == "number":
        return f"{words}: mean {old.mean():.4g} in the reference, {new.mean():.4g} now."
    before, now = (side.dropna().map(value_text).value_counts(normalize=True) for side in (old, new))
    labels = list(dict.fromkeys([*before.index, *now.index]))
    parts = [f"{label} {percent(before.get(label, 0))} before, {percent(now.get(label, 0))} now" for label in labels]
    return f"{words}: {'; '.join(parts[:NAMED])}."
