"""Five rows of the test part, each for a reason, with what the model makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.explain.contributions import BACKGROUND, contributions
from pipeline.explain.output import Output
from pipeline.metrics import Predictions
from pipeline.tables.columns import value_text

# Columns that count for themselves, in the order of their importance; all others count together.
MOST_PLAYERS = 40
CASES, LONGEST = 5, 40
RANKS = ("largest", *(f"{rank} largest" for rank in ("second", "third", "fourth", "fifth")))


@dataclass(frozen=True)
class Case:
    """A row of the table, by its label as in predictions.csv. `value`: the number that is explained. `added`: what each
    column adds to `base`, and the `rest` of them together, how many these are; none where that is not known.
    """

    why: str
    row: str
    predicted: str
    actual: str
    value: float
    values: Mapping[str, str]
    base: float | None = None
    added: Mapping[str, float] | None = None
    rest: float = 0.0


def explain_rows(
    output: Output, X: pd.DataFrame, y: np.ndarray, words: Sequence[object], ranked: Sequence[str], seed: int
) -> list[Case]:
    """Five of n rows and their targets, with contributions where shap is installed. `ranked`: the model's columns, the
    most important first. PipelineError: as predict, and contributions.
    """
    found = output.predicted(X, y)
    picked = pick_cases(output, found)
    chosen = X.iloc[[*picked]]
    single, others = ranked[:MOST_PLAYERS], ranked[MOST_PLAYERS:]
    players = [*([name] for name in single), *([others] if others else [])]
    parts = contributions(output, chosen[[*ranked]], X[:BACKGROUND][[*ranked]], players, seed)
    explained = output.of(found)
    cases = []
    for number, (at, why) in enumerate(picked.items()):
        base, added, rest = None, None, 0.0
        if parts is not None:
            base, own = parts[0], parts[1][number]
            added = dict(zip(single, own.tolist(), strict=False))
            rest = float(own[len(single) :].sum())
        cases.append(
            Case(
                why=why,
                row=value_text(X.index[at]),
                predicted=label_words(output, found.predicted[at], words),
                actual=label_words(output, found.actual[at], words),
                value=float(explained[at]),
                values={name: cell_words(X[name].iloc[at]) for name in ranked},
                base=base,
                added=added,
                rest=rest,
            )
        )
    return cases


def pick_cases(output: Output, found: Predictions) -> dict[int, str]:
    """The places of at most five rows and why they are shown: both ends and the middle of what is predicted, then the
    largest errors, as far as there are any; a row may have two reasons.
    """
    value, loss = output.of(found), errors_of(output, found)
    order = np.argsort(value, kind="stable")
    reasons = zip(("lowest", "median", "highest"), order[[0, (len(order) - 1) // 2, -1]], strict=True)
    taken: dict[int, str] = {}
    for which, at in reasons:
        taken[at] = f"{taken[at]} and {which} prediction" if at in taken else f"the {which} prediction"
    for which, at in zip(RANKS, np.argsort(-loss, kind="stable"), strict=False):
        if len(taken) < CASES and loss[at] > 0:
            reason = f"the {which} error{' of a probability' if output.has_shares else ''}"
            taken[at] = f"{taken[at]}, and {reason}" if at in taken else reason
    return {int(at): why for at, why in taken.items()}


def errors_of(output: Output, found: Predictions) -> np.ndarray:
    """By how much each prediction is wrong (n,): the distance of numbers, and of classes 1 less the probability of the
    actual one, or 1 where another one is predicted and there are none.
    """
    if output.task == "regression":
        return abs(found.actual - found.predicted)
    if found.score is not None:
        return abs(found.actual - found.score)
    if found.shares is None or found.classes is None:
        return (found.actual != found.predicted).astype(float)
    return 1 - (found.shares * (found.actual[:, None] == found.classes)).sum(axis=1)


def label_words(output: Output, value: object, words: Sequence[object]) -> str:
    """A target or a predicted one in the table's words."""
    if output.task == "regression":
        return number_words(float(value))  # type: ignore[arg-type]
    return value_text(words[int(value)] if output.task == "binary" else value)  # type: ignore[call-overload]


def cell_words(value: object) -> str:
    if value is None or value != value:
        return "missing"
    text = number_words(value) if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def number_words(value: float) -> str:
    """A number of any size, as short as can be read: whole ones whole, others to four digits."""
    if value.is_integer() or abs(value) >= 1e4:
        return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.4g}"
    return f"{value:.4g}"
