"""How a model is fitted and judged, the same for a baseline and for a tuned winner."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from pipeline.bootstrap import bootstrap_intervals, paired_leads, rough
from pipeline.cluster import COMPUTING
from pipeline.console import Progress
from pipeline.metrics import Predictions, scores
from pipeline.tables.split import Parts
from pipeline.training.build import Recipe, build_model
from pipeline.training.fit import out_of_fold, predict, timed_fit, validated_rows
from pipeline.training.threshold import threshold_choice, worth


@dataclass(frozen=True)
class Assessment:
    """A model fitted on the training part, and what it reached. `predictions` are those that `score` and `interval`
    come from, `rows` the labels of their rows; `pooled` are the out-of-fold predictions of the training part that `cv`
    comes from, `pooled_rows` the labels of theirs. `naive` are the scores of the naive prediction of the judged rows,
    `over_naive` the 95 % interval of the lead over it. `params` are the estimator's settings, without its own defaults.
    `load` gives the model, where need be from a run's file; `plots` are those of the run that all of it was read from.
    """

    recipe: Recipe
    load: Callable[[], Pipeline]
    params: Mapping[str, Any]
    cv: Mapping[str, float]
    train: Mapping[str, float]
    test: Mapping[str, float]
    score: Mapping[str, float]
    interval: Mapping[str, list[float]]
    naive: Mapping[str, float]
    over_naive: Mapping[str, list[float]]
    predictions: Predictions
    rows: pd.Index
    pooled: Predictions
    pooled_rows: pd.Index
    fit_seconds: float
    plots: Sequence[Path] = ()

    @property
    def model(self) -> Pipeline:
        return self.load()

    @property
    def decision(self) -> dict[str, Any] | None:
        """What the labels of the judged rows are worth, where the threshold is chosen for a cost or a capacity."""
        return worth(self.recipe.threshold, self.predictions, self.recipe.seed)

    def summary(self) -> dict[str, Any]:
        """What goes into the committed metrics: no times, ids or paths."""
        intervals = {"interval": self.interval, "over_naive": self.over_naive}
        return {
            "estimator": self.recipe.label,
            "cv": _rounded(self.cv),
            "score": _rounded(self.score),
            "naive": _rounded(self.naive),
            **{
                name: {metric: [round(bound, 6) for bound in bounds] for metric, bounds in found.items()}
                for name, found in intervals.items()
            },
            "rough": rough(self.recipe.task, self.predictions),
            **({"decision": decision} if (decision := self.decision) else {}),
        }


def assess(
    recipe: Recipe,
    parts: Parts,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress = lambda step, done, fits: None,
) -> Assessment:
    """Cross-validate on the training part, fit on it, and score once.

    `cv` comes from pooled out-of-fold predictions on the training part and is what models are chosen by; `score` from
    the test part or, where the dataset is judged by cross-validation, from pooled out-of-fold predictions over all
    rows. A threshold that is to be chosen (for F1, a cost or a capacity) is chosen on the pooled predictions on the
    training part; in pooled predictions themselves, each fold is labelled by the threshold of the other folds.
    PipelineError: the estimator refuses its settings or the rows, or predicts what is no number.
    """
    task, train, whole = recipe.task, parts.train, parts.whole
    choose = threshold_choice(recipe.threshold, parts.judged_rows)
    model = build_model(recipe, train.X, overrides)
    own = len(train.folds)
    fits = own + 1 + (len(whole.folds) if whole else 0)
    progress(f"{fits} fits", 0, fits)
    pooled = out_of_fold(model, train, task, lambda k: progress(f"fold {k} of {own} done", k, fits), choose)
    if choose is not None and pooled.score is not None:
        model.set_params(model__threshold=choose(pooled.actual, pooled.score))
    model, fit_seconds = timed_fit(model, train.X, train.y)
    progress("fitted on the training part", own + 1, fits)
    judged, rows = predict(model, parts.test.X, parts.test.y, task), parts.test.X.index
    judged = replace(judged, **parts.test.belonging)
    test = scores(task, judged)
    if whole:
        words, fresh = f"of {len(whole.folds)} over all rows done", build_model(recipe, whole.X, overrides)
        judged = out_of_fold(fresh, whole, task, lambda k: progress(f"fold {k} {words}", own + 1 + k, fits), choose)
        rows = whole.X.index[validated_rows(whole.folds)]
    naive, interval = naive_predictions(task, train.y, judged), bootstrap_intervals(task, judged, recipe.seed)
    return Assessment(
        recipe=recipe,
        load=lambda: model,
        params={**recipe.settings, **(overrides or {})},
        cv=scores(task, pooled),
        train=scores(task, predict(model, train.X, train.y, task)),
        test=test,
        score=scores(task, judged),
        interval=interval,
        naive=scores(task, naive),
        over_naive=paired_leads(task, judged, naive, recipe.seed, interval),
        predictions=judged,
        rows=rows,
        pooled=pooled,
        pooled_rows=train.X.index[validated_rows(train.folds)],
        fit_seconds=fit_seconds,
    )


def code_sha256(estimator: type[BaseEstimator]) -> str:
    """Hash of what decides an assessment: the rooms training and tables, metrics, bootstrap, the versions of the
    libraries that compute, and the module and library of the estimator.
    """
    module = sys.modules[estimator.__module__]
    library = sys.modules[module.__name__.partition(".")[0]]
    versions = [*map(version, COMPUTING), getattr(library, "__version__", "")]
    digest = hashlib.sha256(" ".join(versions).encode())
    root = Path(__file__).parent.parent
    files = [*root.glob("training/*.py"), *root.glob("tables/*.py"), root / "metrics.py", root / "bootstrap.py"]
    for file in [*sorted(files), *([Path(module.__file__)] if module.__file__ else [])]:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def naive_predictions(task: str, y_train: np.ndarray, judged: Predictions) -> Predictions:
    """The mean of y_train (m,), or its majority class and the shares of its classes as their probabilities, in place of
    the predictions of the rows that are judged (n,).
    """
    n = len(judged.actual)
    if task == "regression":
        return replace(judged, predicted=np.full(n, y_train.mean()))
    labels, counts = np.unique(y_train, return_counts=True)
    majority, shares = np.full(n, labels[counts.argmax()]), np.tile(counts / len(y_train), (n, 1))
    if task == "binary":
        return replace(judged, predicted=majority, score=shares[:, 1])
    return replace(judged, predicted=majority, classes=labels, shares=shares)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {metric: round(value, 6) for metric, value in values.items()}
