"""What drift costs: the chosen model's score on current rows that have labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.bootstrap import bootstrap_intervals
from pipeline.console import PipelineError, one_line
from pipeline.drift.column import listed
from pipeline.gates.results import Results, select_model
from pipeline.metrics import METRICS, lead, metric_value
from pipeline.settings import Dataset
from pipeline.store.connect import open_store
from pipeline.store.runs import run_of
from pipeline.tables.split import features_and_target
from pipeline.training.fit import columns_of_other_kind, predict

# Current rows that the model is scored on: the interval of more is narrower than anyone needs.
SCORE_ROWS = 50_000


@dataclass(frozen=True)
class Score:
    """The chosen model's main metric on current rows and as it was judged, each with a 95 % interval."""

    model: str
    metric: str
    rows: int
    current: float
    current_interval: tuple[float, float]
    test: float
    test_interval: tuple[float, float]
    lost: bool


def score_on_current(dataset: Dataset, results: Results, current: pd.DataFrame, known: set[Any], seed: int) -> Score:
    """The chosen model's main metric on the current rows beside its judged one; `known`: the target's values so far.
    PipelineError: why there is no score.
    """
    chosen, target, metric = select_model(results.models, dataset.metric), dataset.target, dataset.metric
    if target not in current:
        raise PipelineError(f"the current table has no {target}")
    if chosen is None:
        raise PipelineError(
            f"no model was trained on the present data and settings (`python train.py --dataset {dataset.name}`)"
        )
    rows = current[current[target].notna()]
    if dataset.task != "regression":
        rows = rows[rows[target].isin(known)]
    elif rows[target].dtype != "float64":
        raise PipelineError(f"{target} holds no numbers in the current table")
    if rows.empty:
        raise PipelineError(f"{target} has no value in the current table that the model knows")
    rows = rows.sample(min(len(rows), SCORE_ROWS), random_state=seed)
    model = run_of(open_store(), dataset.name, chosen, results.data_sha256, results.params_sha256).load_model()
    X, y = features_and_target(rows, dataset)
    absent = [name for name in model.feature_names_in_ if name not in X]
    if absent:
        raise PipelineError(f"the model needs {listed(absent)}, absent from the current table")
    other = columns_of_other_kind(model, X[X.columns[X.notna().any()]])
    if other:
        raise PipelineError(f"the model cannot read the current rows: {listed(other)} is written otherwise")
    try:
        predictions = predict(model, X[list(model.feature_names_in_)], y, dataset.task)
    except (TypeError, ValueError) as error:
        raise PipelineError(f"the model cannot read the current rows ({one_line(error, 150)})") from None
    value = metric_value(metric, predictions)
    if not math.isfinite(value):
        raise PipelineError(f"{metric} is not defined on these {len(y):,} rows")
    low, high = bootstrap_intervals(dataset.task, predictions, seed)[metric]
    test, (test_low, test_high) = results.models[chosen]["score"][metric], results.models[chosen]["interval"][metric]
    lost = has_lost(metric, test, (test_low, test_high), value, (low, high))
    return Score(chosen, metric, len(y), value, (low, high), test, (test_low, test_high), lost)


def has_lost(
    metric: str, old: float, old_interval: tuple[float, float], new: float, new_interval: tuple[float, float]
) -> bool:
    """The new score is worse with 95 % confidence: the interval of a difference of independent estimates from their own
    intervals, MOVER (Zou & Donner 2008).
    """
    # the ends of both intervals that lie towards each other where the score got worse
    worse, better = (0, 1) if METRICS[metric].higher_is_better else (1, 0)
    return lead(metric, old, new) > math.hypot(old - old_interval[worse], new_interval[better] - new)
