"""One check: a current table, or a window of it, against a reference."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from pipeline.console import PipelineError
from pipeline.drift.column import EXTRA, listed
from pipeline.drift.compare import EXPECTED, JOINT_PART, Compared, compare_tables, types_of
from pipeline.drift.expected import ExpectedScore, density_ratio, expected_score
from pipeline.drift.joint import Membership, membership
from pipeline.drift.measure import CONSTANT
from pipeline.drift.model import Model
from pipeline.drift.recoded import copies_of
from pipeline.drift.rows import units_of
from pipeline.drift.score import SCORE_ROWS, Score, score_on_current
from pipeline.drift.together import FEWEST_ROWS, Joint, compare_together, who_moved
from pipeline.drift.verdict import model_words, recommend, verdict_words
from pipeline.settings import Dataset, Drift
from pipeline.tables.split import belonging_of

# Rows of the training table that a score is expected from.
EXPECTED_ROWS = 100_000
# A share of repeated rows that is told, beyond that of the reference.
MANY_TWICE = 0.01


@dataclass(frozen=True)
class Check:
    """What a check found. `drift` is None where it cannot be told. `no_score`, `no_expected`: why there is none."""

    rows: int
    drift: bool | None
    retrain: bool
    verdict: str
    moved: list[str]
    recommendation: str
    compared: Compared
    joint: Joint
    copied: int = 0
    score: Score | None = None
    no_score: str = ""
    expected: ExpectedScore | None = None
    no_expected: str = ""
    model_words: str = ""

    @property
    def effect(self) -> float:
        """The largest change of a share in what speaks most for drift of each column."""
        return max((column.findings[0].change for column in self.compared.all() if column.findings), default=0.0)


def check(
    dataset: Dataset,
    settings: Drift,
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    seed: int,
    alpha: float,
    moving: Collection[str] = (),
    table: pd.DataFrame | None = None,
    model: Model | None = None,
    no_model: str = "",
) -> Check:
    """Compare a current table with the reference: by columns, all together, and by what it means for the model.

    Args:
        moving: columns that are expected to move, beside those of the settings.
        table: the training table, where the current one came as a file.
        model: to be judged on the current rows; `no_model` says why there is none.
    """
    types = types_of(dataset, reference)
    if current.get(dataset.target, pd.Series(dtype=float)).isna().all():
        # a column that waits for its labels is none yet
        current = current.drop(columns=dataset.target, errors="ignore")
    copies = np.zeros(len(current), dtype=bool) if table is None else copies_of(table, current)
    copied, fresh = int(copies.sum()), int((~copies).sum())
    if fresh:
        # what the model was trained on says nothing of new rows
        current = current[~copies]
    else:
        model, no_model = None, "all current rows are rows of the training table"
    grouped = bool(dataset.group) and dataset.group in current and dataset.group in reference
    units = units_of(reference, current, dataset.group if grouped else "")
    compared = compare_tables(
        reference,
        current,
        types,
        units,
        alpha=alpha,
        min_change=settings.min_change,
        seed=seed,
        expected={dataset.time, *moving, *settings.moving.get(dataset.name, ())} - {""},
    )
    kinds = {column.column: column.kind for column in compared.all() if not column.note}
    joint, member = Joint(), None
    if min(len(reference), len(current)) >= FEWEST_ROWS and kinds:
        old, new = np.split(units.of_row, [len(reference)])
        member = membership(reference, current, kinds, seed, (old, new) if units.grouped else None)
        joint = compare_together(member, units, alpha=alpha, part=JOINT_PART, min_change=settings.min_change, seed=seed)
        if joint.drift:
            columns, segment = who_moved(reference, current, kinds, seed)
            joint = replace(joint, columns=columns, segment=segment)
    drift, verdict, moved = verdict_words(compared, joint, fresh, copied, alpha)
    twice = int(current.duplicated().sum())
    if twice / len(current) > float(reference.duplicated().mean()) + MANY_TWICE:
        verdict += f" {twice:,} of the current rows are there a second time."
    if dataset.group and not grouped:
        verdict += f" Without {dataset.group} rows count as independent, so that groups may look like drift."
    score, expected, no_score, no_expected = None, None, no_model, no_model
    if model is not None and table is not None:
        try:
            score = score_on_current(model, dataset, current, {*table[dataset.target]}, seed, settings.margin)
        except PipelineError as error:
            no_score = str(error)
        # a column that may move still matters to the model; the time of a row is no news
        known = {column.column: column.kind for column in compared.columns if column.note in ("", EXPECTED)}
        features = {name: kind for name, kind in known.items() if name not in (dataset.time, *moving)}
        unknown = [c.column for c in compared.columns if c.note not in ("", EXPECTED, EXTRA, CONSTANT)]
        shared = member if reference is table and features == kinds else None
        try:
            expected = expected_on_current(model, dataset, table, current, features, shared, seed)
            if unknown and expected.reliable:
                words = f"{listed(unknown)} of the current rows cannot be compared"
                expected = replace(expected, reliable=False, reason=words)
        except PipelineError as error:
            no_expected = str(error)
    drifted = [column for column in compared.all() if column.drift]
    retrain, recommendation = recommend(
        drift, drifted, score, expected, model, settings.margin, compared.target is not None
    )
    return Check(
        rows=len(current),
        drift=drift,
        retrain=retrain,
        verdict=verdict,
        moved=moved,
        recommendation=recommendation,
        compared=compared,
        joint=joint,
        copied=copied,
        score=score,
        no_score=no_score,
        expected=expected,
        no_expected=no_expected,
        model_words=model_words(model, score, expected, no_score if compared.target else ""),
    )


def expected_on_current(
    model: Model,
    dataset: Dataset,
    table: pd.DataFrame,
    current: pd.DataFrame,
    kinds: Mapping[str, str],
    member: Membership | None,
    seed: int,
) -> ExpectedScore:
    """The score that the model is expected to have on the current rows. PipelineError: why there is no estimate.

    Args:
        kinds: of the features that can be compared.
        member: of the table's and the current rows by these, where it is known.
    """
    if not kinds:
        raise PipelineError("no feature of the current table can be compared")
    if len(current) < FEWEST_ROWS:
        raise PipelineError(f"an estimate needs {FEWEST_ROWS} current rows, not {len(current)}")
    current = current.sample(min(len(current), SCORE_ROWS), random_state=seed)
    predictions = replace(model.predict(current, np.zeros(len(current))), **belonging_of(current, dataset))
    if member is None or len(member.current) != len(current):
        member = membership(table, current, kinds, seed)
    weights, outside = density_ratio(member)
    of_rows = pd.Series(weights, index=table.index)[model.labels].to_numpy()
    judged = model.predictions
    if len(of_rows) > EXPECTED_ROWS:
        chosen = np.random.default_rng(seed).permutation(len(of_rows))[:EXPECTED_ROWS]
        of_rows, judged = of_rows[chosen], judged.of(chosen)
    found = expected_score(model.metric, judged, of_rows, predictions, outside, seed)
    if not np.isfinite([found.value, *found.interval]).all():
        raise PipelineError(found.reason)
    return found
