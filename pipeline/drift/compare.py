"""Every column of two tables compared."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pipeline.drift.chance import chances
from pipeline.drift.column import EXTRA, ColumnDrift, Finding, change_of
from pipeline.drift.measure import NO_DATES, NO_LABELS, NO_NUMBERS, read_column, tallies_of
from pipeline.drift.recoded import recoded, renamed
from pipeline.drift.rows import Tally, Units
from pipeline.settings import Dataset

ABSENT = "absent from the current table"
FAULTS = {ABSENT: f"is {ABSENT}"} | {note: f"has {note}" for note in (NO_NUMBERS, NO_LABELS, NO_DATES)}
EXPECTED = "expected to move"
# Parts of alpha: so much of it is spent on the target, and on all columns together; the rest on the features.
TARGET_PART, JOINT_PART = 0.2, 0.2
# Reasons that are told of a column.
REASONS = 2
# Findings of a column that are kept.
KEPT = 3


@dataclass(frozen=True)
class Compared:
    """The comparison of the features, of the target (None where a table lacks it), and the smallest change of a share
    of one half that would be found nine times in ten.
    """

    columns: list[ColumnDrift]
    target: ColumnDrift | None
    visible: float

    def all(self) -> list[ColumnDrift]:
        return [*self.columns, *([self.target] if self.target else [])]


def types_of(dataset: Dataset, reference: pd.DataFrame) -> dict[str, str]:
    """The declared type of every feature, in the order of the reference ("" for none); last that of the target, which
    is "class" where the task has classes.
    """
    features = [name for name in reference if name != dataset.target and name not in dataset.unused]
    classes = {} if dataset.task == "regression" else {dataset.target: "class"}
    return {name: dataset.types.get(name, "") for name in (*features, dataset.target)} | classes


def compare_tables(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    types: Mapping[str, str],
    units: Units,
    *,
    alpha: float,
    min_change: float,
    seed: int,
    expected: Collection[str] = (),
) -> Compared:
    """Every feature's comparison and the target's.

    Args:
        types: as types_of gives them.
        alpha: how often an alarm of any of them may be false.
        min_change: what a change of a share has to reach to count (see change_of).
        expected: columns that may move, and are not tested.
    """
    *features, target = types
    has_target = target in current and target in reference

    def compared(names: list[str], part: float) -> tuple[list[ColumnDrift], float]:
        drifts, tallies = [], list[tuple[int, Tally]]()
        for place, name in enumerate(names):
            drift, found = compare_column(name, reference[name], current.get(name), types[name], name == target, units)
            if name in expected:
                drift, found = replace(drift, note=EXPECTED), []
            drifts.append(drift)
            tallies += [(place, one) for one in found]
        if not tallies:
            return [decide(drift, alpha, min_change) for drift in drifts], 0.5
        judged = chances([one for _, one in tallies], units, alpha * part, min_change, seed)
        findings: list[list[Finding]] = [[] for _ in names]
        start = 0
        for place, one in tallies:
            end = start + one.sums.shape[1]
            corrected = np.minimum(1, judged.corrected[start:end] / part)
            findings[place].append(most_telling(one, units, judged.p_values[start:end], corrected, alpha, min_change))
            start = end
        drifts = [replace(drift, findings=tuple(of)) for drift, of in zip(drifts, findings, strict=True)]
        return [decide(drift, alpha, min_change) for drift in drifts], judged.visible

    names = renamed(reference, current, types)
    columns, visible = compared(features, 1 - TARGET_PART - JOINT_PART)
    targets, seen = compared([target], TARGET_PART) if has_target else ([None], visible)
    columns = [
        replace(column, reasons=(f"is {ABSENT}; {names[column.column]} has values like it: renamed?",))
        if column.column in names
        else column
        for column in columns
    ]
    extra = [ColumnDrift(name, "other", note=EXTRA) for name in current if name not in reference]
    return Compared(columns + extra, targets[0], visible if features else seen)


def compare_column(
    name: str, old: pd.Series, new: pd.Series | None, declared: str, is_target: bool, units: Units
) -> tuple[ColumnDrift, list[Tally]]:
    """What can be told of a column before chance is judged, and what its tests count."""
    if new is None:
        return ColumnDrift(name, "other", note=ABSENT), []
    column = read_column(old, new, declared, is_target)
    ks, ks_p = column.kolmogorov_smirnov()
    drift = ColumnDrift(
        name,
        column.kind,
        level="" if column.note else column.level(),
        ks=ks,
        ks_p=ks_p,
        missing_reference=float(old.isna().mean()),
        missing_current=float(new.isna().mean()),
        note=column.note,
        hint=recoded(column, old, new),
    )
    return drift, list(tallies_of(column, units))


def most_telling(
    one: Tally, units: Units, p_values: np.ndarray, corrected: np.ndarray, alpha: float, min_change: float
) -> Finding:
    """Of the sets of a test the one that speaks most for drift."""
    sides = [
        one.sums[units.current == side].sum(axis=0) / one.rows[units.current == side].sum() for side in (False, True)
    ]
    if one.variance is not None:
        # how often a current rank is above one of the reference (Mann & Whitney 1947)
        sides = [np.array([0.5]), 0.5 + sides[1] - sides[0]]
    before, now = (np.clip(np.nan_to_num(side), 0, 1) for side in sides)
    findings = [
        Finding(
            test=one.test,
            words=one.words[place if one.variance is None else int(now[0] < before[0])],
            before=float(before[place]),
            now=float(now[place]),
            change=change_of(before[place], now[place]),
            p_value=float(p_values[place]),
            p_corrected=float(corrected[place]),
            pairs=one.variance is not None,
        )
        for place in range(len(before))
    ]
    return min(findings, key=lambda found: _order(found, alpha, min_change))


def _counts(found: Finding, alpha: float, min_change: float) -> bool:
    """Whether a finding is drift: more than chance, and enough to matter."""
    return found.p_corrected < alpha and found.change >= min_change


def _order(found: Finding, alpha: float, min_change: float) -> tuple[bool, float, float]:
    """The most telling finding comes first."""
    return not _counts(found, alpha, min_change), found.p_value, -found.change


def decide(column: ColumnDrift, alpha: float, min_change: float) -> ColumnDrift:
    """The verdict of a column whose corrected p-values are known, its reasons in words, its findings in their order."""
    findings = sorted(column.findings, key=lambda found: _order(found, alpha, min_change))
    # two tests may have looked at the same rows
    told = [*dict.fromkeys(found.text() for found in findings if _counts(found, alpha, min_change))]
    reasons = [FAULTS[column.note]] if column.note in FAULTS else []
    reasons += told[:REASONS]
    if reasons and column.hint:
        reasons.insert(0, column.hint)
    return replace(column, findings=tuple(findings[:KEPT]), drift=bool(reasons), reasons=tuple(reasons))
