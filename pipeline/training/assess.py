"""How a model is fitted and judged on a dataset, the same for a baseline and for a tuned winner."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.bootstrap import bootstrap_intervals
from pipeline.console import PipelineError
from pipeline.metrics import Predictions, metrics_of, scores
from pipeline.settings import Config, Dataset
from pipeline.store.predictions import read_predictions, read_rows
from pipeline.store.runs import newest_runs
from pipeline.tables.split import Parts, fold_indices
from pipeline.training.build import build_estimator, build_model, model_params
from pipeline.training.fit import out_of_fold, predict, timed_fit, validated_rows
from pipeline.training.threshold import best_f1_threshold

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from mlflow import MlflowClient
    from sklearn.pipeline import Pipeline

# Called when work begins and after each fit: what was done, how many fits are done, and how many there are.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Assessment:
    """A model fitted on the training part, and what it reached."""

    model: Pipeline
    estimator: str
    params: Mapping[str, Any]
    cv: Mapping[str, float]
    train: Mapping[str, float]
    test: Mapping[str, float]
    score: Mapping[str, float]
    interval: Mapping[str, list[float]]
    predictions: Predictions
    rows: pd.Index
    fit_seconds: float


def assess(
    dataset: Dataset,
    config: Config,
    name: str,
    parts: Parts,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress = lambda step, done, fits: None,
) -> Assessment:
    """Cross-validate on the training part, fit on it, and score once by the dataset's evaluation.

    `cv` comes from pooled out-of-fold predictions on the training part and is what models are chosen by; `score` from
    the test part or, with `evaluation: cross_validation`, from pooled out-of-fold predictions over all rows. A tuned
    threshold has the best F1 for the pooled predictions on the training part; in pooled predictions themselves, each
    fold is labelled by the best threshold of the other folds.
    """
    task, tuned = dataset.task, dataset.threshold == "tuned"
    model = build_model(dataset, config, name, parts.X_train, overrides)
    folds = fold_indices(parts.X_train, parts.y_train, dataset, config)
    all_folds = []
    if dataset.evaluation == "cross_validation":
        all_folds = fold_indices(parts.X, parts.y, dataset, config)
    fits = len(folds) + 1 + len(all_folds)

    def fold_ended(number: int) -> None:
        progress(f"fold {number} of {len(folds)} done", number, fits)

    def fold_over_all_rows_ended(number: int) -> None:
        progress(f"fold {number} of {len(all_folds)} over all rows done", len(folds) + 1 + number, fits)

    progress(f"{fits} fits", 0, fits)
    pooled = out_of_fold(model, parts.X_train, parts.y_train, folds, task, fold_ended, tuned)
    if tuned and pooled.score is not None:
        model.set_params(model__threshold=best_f1_threshold(pooled.actual, pooled.score))
    cv = scores(task, pooled)
    model, fit_seconds = timed_fit(model, parts.X_train, parts.y_train)
    progress("fitted on the training part", len(folds) + 1, fits)
    judged, rows = predict(model, parts.X_test, parts.y_test, task), parts.X_test.index
    test = scores(task, judged)
    if all_folds:
        fresh = build_model(dataset, config, name, parts.X, overrides)
        judged = out_of_fold(fresh, parts.X, parts.y, all_folds, task, fold_over_all_rows_ended, tuned)
        rows = parts.X.index[validated_rows(all_folds)]
    return Assessment(
        model=model,
        estimator=type(build_estimator(dataset, config, name, overrides)).__name__,
        params=model_params(dataset, config, name) | dict(overrides or {}),
        cv=cv,
        train=scores(task, predict(model, parts.X_train, parts.y_train, task)),
        test=test,
        score=scores(task, judged),
        interval=bootstrap_intervals(task, judged, config.seed),
        predictions=judged,
        rows=rows,
        fit_seconds=fit_seconds,
    )


def logged_baseline(
    dataset: Dataset, config: Config, name: str, client: MlflowClient, hashes: Mapping[str, str]
) -> Assessment | None:
    """What train.py found for a model, read from its run: None where there is no whole run of this data, these settings
    and this code.
    """
    run = newest_runs(client, dataset.name, "baseline", **hashes).get(name)
    if run is None or run.tags.get("code_sha256") != code_sha256():
        return None
    try:
        model, predictions = run.load_model(), run.artifact("predictions.csv")
    except PipelineError:
        return None
    metrics, names = run.metrics, metrics_of(dataset.task)
    return Assessment(
        model=model,
        estimator=run.params["estimator"],
        params=model_params(dataset, config, name),
        cv={metric: metrics[f"cv_{metric}"] for metric in names},
        train={metric: metrics[f"train_{metric}"] for metric in names},
        test={metric: metrics[f"test_{metric}"] for metric in names},
        score={metric: metrics[metric] for metric in names},
        interval={metric: [metrics[f"{metric}_low"], metrics[f"{metric}_high"]] for metric in names},
        predictions=read_predictions(predictions, dataset.task),
        rows=read_rows(predictions),
        fit_seconds=metrics["fit_seconds"],
    )


def code_sha256() -> str:
    """Hash of the code that decides what an assessment finds: these modules and scikit-learn's version."""
    import sklearn

    digest = hashlib.sha256(sklearn.__version__.encode())
    root = Path(__file__).parent.parent
    files = [*root.glob("training/*.py"), *root.glob("tables/*.py"), root / "metrics.py", root / "bootstrap.py"]
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def progress_lines(label: str) -> Progress:
    """Prints a line a step, with the time left by the mean time of the fits before it."""
    started = time.monotonic()

    def show(step: str, done: int, fits: int) -> None:
        some = 0 < done < fits
        left = f", about {(time.monotonic() - started) / done * (fits - done):.0f} s left" if some else ""
        print(f"{label}: {step}{left}", flush=True)

    return show


def naive_scores(dataset: Dataset, parts: Parts, y: np.ndarray) -> dict[str, float]:
    """Scores of predicting the training mean or the majority class for the rows that are judged (targets y)."""
    import numpy as np

    if dataset.task == "regression":
        return scores(dataset.task, Predictions(y, np.full(len(y), parts.y_train.mean())))
    labels, counts = np.unique(parts.y_train, return_counts=True)
    majority = np.full(len(y), labels[counts.argmax()])
    constant = np.zeros(len(y)) if dataset.task == "binary" else None
    return scores(dataset.task, Predictions(y, majority, constant))


def summary(assessment: Assessment) -> dict[str, Any]:
    """The part of an assessment that goes into the committed metrics: no times, ids or paths."""
    return {
        "estimator": assessment.estimator,
        "cv": _rounded(assessment.cv),
        "score": _rounded(assessment.score),
        "interval": {metric: [round(v, 6) for v in bounds] for metric, bounds in assessment.interval.items()},
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {metric: round(value, 6) for metric, value in values.items()}
