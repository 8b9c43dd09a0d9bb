"""The chosen model, and its predictions of rows that it had not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from pipeline.console import PipelineError, one_line
from pipeline.drift.column import listed
from pipeline.gates.results import read_results, select_model
from pipeline.intervals import score_intervals
from pipeline.metrics import Predictions, joined, metric_value
from pipeline.settings import Config, Dataset
from pipeline.store.connect import open_store
from pipeline.store.predictions import read_predictions, read_rows
from pipeline.store.runs import run_of
from pipeline.training.fit import columns_of_other_kind, predict


@dataclass(frozen=True)
class Model:
    """The model that cross-validation selects, and its main metric as it was judged (`test`).

    `predictions` of the n rows `labels` of the training table, each by a fit that had not seen the row: those of the
    test part and the out-of-fold ones of the training part. `before`: the metric of all of these, with a 95 % interval;
    of more rows than the test part has, so that a loss is seen sooner. `unused`: columns that it does not learn from.
    """

    name: str
    metric: str
    task: str
    pipeline: Pipeline
    test: float
    before: float
    before_interval: tuple[float, float]
    predictions: Predictions
    labels: pd.Index
    unused: frozenset[str] = frozenset()

    def predict(self, X: pd.DataFrame, y: np.ndarray) -> Predictions:
        """Its predictions of n rows. PipelineError: it cannot read them."""
        needed = self.pipeline.feature_names_in_
        X = X.assign(**{name: None for name in self.unused if name in needed and name not in X})
        absent = [name for name in needed if name not in X]
        if absent:
            raise PipelineError(f"the model needs {listed(absent)}, absent from the current table")
        other = columns_of_other_kind(self.pipeline, X[X.columns[X.notna().any()]])
        if other:
            raise PipelineError(f"the model cannot read the current rows: {listed(other)} is written otherwise")
        try:
            return predict(self.pipeline, X[list(needed)], y, self.task)
        except (TypeError, ValueError) as error:
            raise PipelineError(f"the model cannot read the current rows ({one_line(error, 150)})") from None


def judged_model(dataset: Dataset, config: Config) -> Model:
    """The chosen model of the present data and settings. PipelineError: there is none, or its run is not whole."""
    results = read_results(dataset, config)
    chosen, metric, task = select_model(results.models, dataset.metric), dataset.metric, dataset.task
    if chosen is None:
        raise PipelineError(
            f"no model was trained on the present data and settings (`python train.py --dataset {dataset.name}`)"
        )
    if stale := [problem for problem in results.problems if "/train/" in problem]:
        # the choice is not known before all are trained
        raise PipelineError("; ".join(stale))
    run = run_of(open_store(), dataset.name, chosen, results.data_sha256, results.models[chosen]["params_sha256"])
    paths = [run.artifact("predictions.csv")]
    if dataset.evaluation != "cross_validation":
        # else the judged predictions are out of fold themselves, and of all rows
        paths.append(run.artifact("out_of_fold.csv"))
    predictions = joined([read_predictions(path, task, kept=dataset.kept) for path in paths])
    low, high = score_intervals(task, predictions, config.seed)[metric]
    return Model(
        name=chosen,
        metric=metric,
        task=task,
        pipeline=run.load_model(),
        test=results.models[chosen]["score"][metric],
        before=metric_value(metric, predictions),
        before_interval=(low, high),
        predictions=predictions,
        labels=pd.Index(np.concatenate([read_rows(path) for path in paths])),
        unused=dataset.unused,
    )
