"""All columns together: whether how they go together moved, which columns did, and which rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from pipeline.drift.chance import chances
from pipeline.drift.column import change_of, percent
from pipeline.drift.joint import Membership, classifier, encoded
from pipeline.drift.rows import Ranks, Units, tally

CROSS_FITTED = 2.0
# Fewer rows a side teach a classifier nothing.
FEWEST_ROWS = 50
# Rows a side that segments are looked for in.
SEGMENT_ROWS = 10_000
# Of the rows of a side that a segment has at least; and one condition is told where it says nearly as much as two.
SEGMENT_SHARE, ENOUGH = 0.02, 0.85
# Standard errors, on the arcsine scale, that the share of a segment has to have moved.
CLEAR = 4.0
MOST_CATEGORIES, CUTS = 15, np.linspace(0.1, 0.9, 9)
# A column is named where its values, shuffled, cost this much of the ROC-AUC, and this part of what the first costs.
NAMED_COLUMNS, LEAST_LOSS, LEAST_PART = 4, 0.01, 0.1


@dataclass(frozen=True)
class Joint:
    """How well current rows are told from those of the reference: the cross-fitted ROC-AUC (0.5 where nothing moved),
    and its p-value, corrected so that it compares with alpha as it is; both None where too few rows are there.
    `columns`: those that tell them apart, the most telling first. `segment`: which rows moved, in words.
    """

    auc: float | None = None
    p_value: float | None = None
    drift: bool = False
    columns: tuple[str, ...] = ()
    segment: str = ""


def compare_together(
    member: Membership, units: Units, *, alpha: float, part: float, min_change: float, seed: int
) -> Joint:
    """Whether the classifier's held-out scores rank current rows higher than chance would (Lopez-Paz & Oquab 2017).

    The scores stay as they are and the labels of rows, or of groups, are permuted over them. The folds are not
    independent: each pair of rows of two folds has a say in both, which doubles the variance at most.

    Args:
        part: of alpha that is spent on this.
    """
    scores = np.concatenate([member.reference, member.current])
    folds = np.concatenate([member.fold_reference, member.fold_current])
    ranks = np.empty(len(scores))
    for number in np.unique(folds):
        # the scores of different folds are of different classifiers
        held_out = folds == number
        ranks[held_out] = rankdata(scores[held_out]) / held_out.sum()
    one = replace(tally("joint", Ranks(("", ""), ranks), units.of_row, len(units.current)), inflation=CROSS_FITTED)
    now, before = (ranks[units.current[units.of_row] == side].mean() for side in (True, False))
    auc = float(np.clip(0.5 + now - before, 0, 1))
    p_value = min(1.0, float(chances([one], units, alpha * part, min_change, seed).p_values[0]) / part)
    # a classifier that ranks them the wrong way round has learned nothing
    drift = p_value < alpha and auc > 0.5 and change_of(0.5, auc) >= min_change
    return Joint(auc, p_value, drift)


def who_moved(
    reference: pd.DataFrame, current: pd.DataFrame, kinds: Mapping[str, str], seed: int
) -> tuple[tuple[str, ...], str]:
    """The columns by which a classifier tells rows of both sides apart, and the segment of rows whose share moved most,
    in words; both are looked for in one half of the rows and measured on the other.

    Args:
        kinds: of the columns, as membership takes them.
    """
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(seed)
    picked = [side[list(kinds)].iloc[rng.permutation(len(side))[:SEGMENT_ROWS]] for side in (reference, current)]
    frame = pd.concat(picked, ignore_index=True)
    is_current = np.repeat([False, True], [*map(len, picked)])
    learned = np.arange(len(frame)) % 2 == 0
    encodings = {name: encoded(frame, {name: kind}) for name, kind in kinds.items()}
    model = classifier(np.hstack([*encodings.values()])[learned], is_current[learned], seed)

    def auc(shuffled: str = "") -> float:
        parts = [
            rng.permutation(part[~learned]) if name == shuffled else part[~learned] for name, part in encodings.items()
        ]
        return float(roc_auc_score(is_current[~learned], model.predict_proba(np.hstack(parts))[:, 1]))

    whole = auc()
    lost = {name: whole - auc(name) for name in kinds}
    least = max(LEAST_LOSS, LEAST_PART * max(lost.values()))
    columns = [name for name in sorted(lost, key=lambda name: -lost[name]) if lost[name] >= least][:NAMED_COLUMNS]
    return tuple(columns), moved_segment(frame[columns], {name: kinds[name] for name in columns}, is_current, learned)


def moved_segment(frame: pd.DataFrame, kinds: Mapping[str, str], is_current: np.ndarray, learned: np.ndarray) -> str:
    """Of all segments of at most two conditions the one whose share of rows moved most, in words.

    Args:
        learned: the rows (n,) that it is chosen by; its shares are those of the others.
    """
    conditions = _conditions(frame, kinds)
    if not conditions:
        return ""
    holds = np.column_stack([condition.holds for condition in conditions]).astype(np.float32)

    def shares(rows: np.ndarray) -> np.ndarray:
        # of each pair of conditions; on the diagonal those of one
        return holds[rows].T @ holds[rows] / rows.sum()

    before, now = shares(learned & ~is_current), shares(learned & is_current)
    h = np.abs(np.arcsin(np.sqrt(np.clip(now, 0, 1))) - np.arcsin(np.sqrt(np.clip(before, 0, 1))))
    h = np.where(np.maximum(before, now) < SEGMENT_SHARE, 0.0, h)
    first, second = map(int, np.unravel_index(h.argmax(), h.shape))
    single = int(h.diagonal().argmax())
    if h[single, single] >= ENOUGH * h[first, second]:
        first = second = single
    chosen = sorted({first, second})
    inside = holds[:, chosen].min(axis=1) > 0
    share_now, share_before = (float(inside[~learned & (is_current == side)].mean()) for side in (True, False))
    error = np.sqrt(sum(1 / (~learned & (is_current == side)).sum() for side in (True, False)))
    if change_of(share_before, share_now) < 0.5 * np.sin(min(CLEAR * error, np.pi / 2)):
        return ""
    words = " and ".join(conditions[place].words for place in chosen)
    return f"rows with {words} went from {percent(share_before)} to {percent(share_now)}"


@dataclass(frozen=True)
class _Condition:
    """What can be said of a row, in words, and of which rows (n,) it holds."""

    words: str
    holds: np.ndarray


def _conditions(frame: pd.DataFrame, kinds: Mapping[str, str]) -> list[_Condition]:
    found = []
    for name, kind in kinds.items():
        values, missing = frame[name], frame[name].isna()
        found.append(_Condition(f"no {name}", missing.to_numpy()))
        if kind == "number":
            numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
            for cut in np.unique(np.nanquantile(numbers, CUTS, method="lower")):
                found.append(_Condition(f"{name} at most {cut:.6g}", numbers <= cut))
                found.append(_Condition(f"{name} above {cut:.6g}", numbers > cut))
        elif kind == "date":
            known = values[~missing]
            for cut in known.sort_values().iloc[:: max(1, len(known) // len(CUTS))].unique():
                late = (known > cut).reindex(values.index, fill_value=False).to_numpy()
                found.append(_Condition(f"{name} up to {cut}", ~late & ~missing.to_numpy()))
                found.append(_Condition(f"{name} after {cut}", late))
        elif kind == "category":
            for label in values.value_counts().index[:MOST_CATEGORIES]:
                found.append(_Condition(f"{name} = {label}", (values == label).to_numpy()))
    return [one for one in found if one.holds.any() and not one.holds.all()]
