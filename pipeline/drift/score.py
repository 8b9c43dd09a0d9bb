"""What drift costs: the chosen model's score on current rows that have labels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from pipeline.console import PipelineError
from pipeline.drift.model import Model
from pipeline.intervals import score_intervals
from pipeline.metrics import METRICS, lead, metric_value
from pipeline.settings import Dataset
from pipeline.tables.split import belonging_of, features_and_target

# Current rows that the model is scored on: the interval of more is narrower than anyone needs.
SCORE_ROWS = 50_000
# And the fewest: an interval of fewer means nothing.
FEWEST_ROWS = 20


@dataclass(frozen=True)
class Score:
    """The chosen model's main metric on current rows and `before`, on rows of the training table that it had not seen,
    each with a 95 % interval.

    `loss`: by how much the score got worse, above 0 whichever way the metric goes, with its 95 % interval. It is
    "shown" where the interval is above 0 and reaches beyond `margin`, "within" where it ends within the margin, else
    "open": then `more_rows` with labels would tell, were the loss to stay; None where no number would.
    """

    model: str
    metric: str
    rows: int
    current: float
    current_interval: tuple[float, float]
    before: float
    before_interval: tuple[float, float]
    loss: float
    loss_interval: tuple[float, float]
    margin: float
    verdict: str
    more_rows: int | None = None


def score_on_current(
    model: Model, dataset: Dataset, current: pd.DataFrame, known: set[Any], seed: int, margin: float
) -> Score:
    """The model's main metric on the current rows beside its judged one. PipelineError: why there is no score.

    Args:
        known: the target's values so far.
        margin: the part of the judged score whose loss counts as none.
    """
    target, metric = dataset.target, model.metric
    if target not in current:
        raise PipelineError(f"the current table has no {target}")
    rows = current[current[target].notna()]
    if dataset.task != "regression":
        rows = rows[rows[target].isin(known)]
    elif rows[target].dtype != "float64":
        raise PipelineError(f"{target} holds no numbers in the current table")
    if rows.empty:
        raise PipelineError(f"{target} has no value in the current table that the model knows")
    if len(rows) < FEWEST_ROWS:
        raise PipelineError(f"a score needs {FEWEST_ROWS} labelled rows, not {len(rows)}")
    rows = rows.sample(min(len(rows), SCORE_ROWS), random_state=seed)
    predictions = replace(model.predict(*features_and_target(rows, dataset)), **belonging_of(rows, dataset))
    value = metric_value(metric, predictions)
    if not math.isfinite(value):
        raise PipelineError(f"{metric} is not defined on these {len(rows):,} rows")
    low, high = score_intervals(dataset.task, predictions, seed)[metric]
    return judged_loss(model, len(rows), value, (low, high), margin * abs(model.before))


def judged_loss(model: Model, rows: int, value: float, interval: tuple[float, float], margin: float) -> Score:
    """What a score on so many current rows, with its interval, says of a loss of `margin` and more."""
    loss, bounds = loss_of(model.metric, model.before, model.before_interval, value, interval)
    verdict = "within" if bounds[1] <= margin else "shown" if bounds[0] > 0 else "open"
    _, better = _ends(model.metric)
    # how far the loss found is from what it has to be told from, the margin or nothing
    apart = max(margin - loss, loss)
    spare = apart**2 - (model.before_interval[better] - model.before) ** 2 if apart > 0 else 0.0
    needed = rows * (value - interval[1 - better]) ** 2 / spare if spare > 0 else math.inf
    more = max(1, math.ceil(needed - rows)) if verdict == "open" and math.isfinite(needed) else None
    return Score(
        model=model.name,
        metric=model.metric,
        rows=rows,
        current=value,
        current_interval=interval,
        before=model.before,
        before_interval=model.before_interval,
        loss=loss,
        loss_interval=bounds,
        margin=margin,
        verdict=verdict,
        more_rows=more,
    )


def loss_of(
    metric: str, old: float, old_interval: tuple[float, float], new: float, new_interval: tuple[float, float]
) -> tuple[float, tuple[float, float]]:
    """How much worse the new score is, with the 95 % interval of a difference of independent estimates from their own
    intervals, MOVER (Zou & Donner 2008).
    """
    loss, (worse, better) = lead(metric, old, new), _ends(metric)
    low = loss - math.hypot(old - old_interval[worse], new_interval[better] - new)
    return loss, (low, loss + math.hypot(old_interval[better] - old, new - new_interval[worse]))


def _ends(metric: str) -> tuple[int, int]:
    """The places of the worse and of the better end of an interval."""
    return (0, 1) if METRICS[metric].higher_is_better else (1, 0)
