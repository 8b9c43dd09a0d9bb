"""What drift costs: the chosen model's score on current rows that have labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.console import PipelineError
from pipeline.drift.column import listed
from pipeline.gates.results import read_results, select_model
from pipeline.settings import Config, Dataset
from pipeline.tables.split import features_and_target

if TYPE_CHECKING:
    import pandas as pd

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


def score_on_current(dataset: Dataset, config: Config, current: pd.DataFrame, known: set[Any]) -> Score | str:
    """The chosen model's main metric on the current rows beside its judged one; or why there is none.

    It has lost where the difference of the two scores is above zero with 95 % confidence: the interval of a difference
    of independent estimates from their own intervals, MOVER (Zou & Donner 2008). `known`: the target's values so far.
    """
    from pipeline.bootstrap import bootstrap_intervals
    from pipeline.metrics import metric_value
    from pipeline.store.connect import open_store
    from pipeline.store.runs import run_of
    from pipeline.training.fit import predict

    results = read_results(dataset, config)
    chosen = select_model(results.models, dataset.metric)
    if dataset.target not in current:
        return f"the current table has no {dataset.target}"
    if chosen is None:
        return f"no model was trained on the present data and settings (`python train.py --dataset {dataset.name}`)"
    rows = current[current[dataset.target].notna()]
    if dataset.task == "regression" and rows[dataset.target].dtype != "float64":
        return f"{dataset.target} holds no numbers in the current table"
    if dataset.task != "regression":
        rows = rows[rows[dataset.target].isin(known)]
    rows = rows.sample(min(len(rows), SCORE_ROWS), random_state=config.seed)
    if rows.empty:
        return f"{dataset.target} has no value in the current table that the model knows"
    try:
        client = open_store()
        model = run_of(client, dataset.name, chosen, results.data_sha256, results.params_sha256).load_model()
    except PipelineError as error:
        return str(error)
    X, y = features_and_target(rows, dataset)
    absent = [name for name in model.feature_names_in_ if name not in X]
    if absent:
        return f"the model needs {listed(absent)}, absent from the current table"
    try:
        predictions = predict(model, X[list(model.feature_names_in_)], y, dataset.task)
    except (TypeError, ValueError) as error:
        return f"the model cannot read the current rows ({' '.join(str(error).split())[:150]})"
    value = metric_value(dataset.metric, predictions)
    if not math.isfinite(value):
        return f"{dataset.metric} is not defined on these {len(y):,} rows"
    low, high = bootstrap_intervals(dataset.task, predictions, config.seed)[dataset.metric]
    judged = results.models[chosen]
    test, (test_low, test_high) = judged["score"][dataset.metric], judged["interval"][dataset.metric]
    return Score(
        model=chosen,
        metric=dataset.metric,
        rows=len(y),
        current=value,
        current_interval=(low, high),
        test=test,
        test_interval=(test_low, test_high),
        lost=test - value - math.hypot(test - test_low, high - value) > 0,
    )
