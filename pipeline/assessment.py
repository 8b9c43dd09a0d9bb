"""How a model is fitted and judged on a dataset, the same for a baseline and for a tuned winner."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import evaluation, tracking
from pipeline.config import SCORES, Config, Dataset, PipelineError
from pipeline.data import features_and_target, fold_indices, in_order_of_time, load_dataset, split, write_atomic
from pipeline.evaluation import Predictions
from pipeline.models import build_estimator, build_model, model_params

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from pipeline.tracking import MlflowClient

# Read by OpenMP when scikit-learn loads it. By default a thread of boosting spins while it waits for the others, and on
# a busy machine takes the core from those that it waits for: fits took 40 times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

IMPORTANCE_ROWS = 1000
IMPORTANCE_REPEATS = 3
EXAMPLE_ROWS = 5
WHOLE_NUMBER = r"-?[1-9]\d*|0"
# Called when work begins and after each fit: what was done, how many fits are done, and how many there are.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Parts:
    """A dataset's rows: all of them, and the shared train and test parts; X are raw features, y targets."""

    X: pd.DataFrame
    y: np.ndarray
    X_train: pd.DataFrame
    y_train: np.ndarray
    X_test: pd.DataFrame
    y_test: np.ndarray


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


def load_parts(dataset: Dataset, config: Config) -> Parts:
    """Read a dataset and split it.

    Raises:
        PipelineError: as load_dataset and split.
    """
    frame = load_dataset(dataset)
    if dataset.time:
        frame = in_order_of_time(frame, dataset)
    train, test = split(frame, dataset, config)
    return Parts(
        *features_and_target(frame, dataset),
        *features_and_target(train, dataset),
        *features_and_target(test, dataset),
    )


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
    pooled = evaluation.out_of_fold(model, parts.X_train, parts.y_train, folds, task, fold_ended, tuned)
    if tuned and pooled.score is not None:
        model.set_params(model__threshold=evaluation.best_f1_threshold(pooled.actual, pooled.score))
    cv = evaluation.scores(task, pooled)
    model, fit_seconds = evaluation.timed_fit(model, parts.X_train, parts.y_train)
    progress("fitted on the training part", len(folds) + 1, fits)
    judged, rows = evaluation.predict(model, parts.X_test, parts.y_test, task), parts.X_test.index
    test = evaluation.scores(task, judged)
    if all_folds:
        fresh = build_model(dataset, config, name, parts.X, overrides)
        judged = evaluation.out_of_fold(fresh, parts.X, parts.y, all_folds, task, fold_over_all_rows_ended, tuned)
        rows = parts.X.index[evaluation.validated_rows(all_folds)]
    return Assessment(
        model=model,
        estimator=type(build_estimator(dataset, config, name, overrides)).__name__,
        params=model_params(dataset, config, name) | dict(overrides or {}),
        cv=cv,
        train=evaluation.scores(task, evaluation.predict(model, parts.X_train, parts.y_train, task)),
        test=test,
        score=evaluation.scores(task, judged),
        interval=evaluation.bootstrap_intervals(task, judged, config.seed),
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
    run = tracking.newest_runs(client, dataset.name, "baseline", **hashes).get(name)
    if run is None or run.tags.get("code_sha256") != code_sha256():
        return None
    try:
        model, predictions = run.load_model(), run.artifact("predictions.csv")
    except PipelineError:
        return None
    metrics, names = run.metrics, SCORES[dataset.task]
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
    for module in ("assessment", "data", "evaluation", "models", "tables"):
        digest.update(Path(__file__).with_name(f"{module}.py").read_bytes())
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
        return evaluation.scores(dataset.task, Predictions(y, np.full(len(y), parts.y_train.mean())))
    labels, counts = np.unique(parts.y_train, return_counts=True)
    majority = np.full(len(y), labels[counts.argmax()])
    constant = np.zeros(len(y)) if dataset.task == "binary" else None
    return evaluation.scores(dataset.task, Predictions(y, majority, constant))


def importances(assessment: Assessment, dataset: Dataset, config: Config, parts: Parts) -> dict[str, float]:
    """Permutation importance (Breiman 2001) of each raw column on at most IMPORTANCE_ROWS rows of the test part:
    drop of the main metric when the column is shuffled, over IMPORTANCE_REPEATS shuffles pooled. Dropped columns
    have none.
    """
    import numpy as np

    rng = np.random.default_rng(config.seed)
    picked = np.arange(len(parts.y_test))
    if len(picked) > IMPORTANCE_ROWS:
        # every rare class keeps its rows, so that a ranking metric stays defined
        rare = np.flatnonzero(parts.y_test == 1) if dataset.task == "binary" else picked[:0]
        others = rng.permutation(np.setdiff1d(picked, rare[:IMPORTANCE_ROWS]))
        picked = np.concatenate([rare[: IMPORTANCE_ROWS // 2], others])[:IMPORTANCE_ROWS]
    X, y = parts.X_test.iloc[picked].reset_index(drop=True), parts.y_test[picked]
    whole = evaluation.metric_value(dataset.metric, evaluation.predict(assessment.model, X, y, dataset.task))
    result = {}
    for column in X:
        if column in dataset.unused:
            continue
        # all repeats in one frame: one call of a forest costs more than its rows
        repeated = X.iloc[np.tile(np.arange(len(X)), IMPORTANCE_REPEATS)].copy()
        orders = [rng.permutation(len(X)) for _ in range(IMPORTANCE_REPEATS)]
        repeated[column] = X[column].to_numpy()[np.concatenate(orders)]
        shuffled = evaluation.predict(assessment.model, repeated, np.tile(y, IMPORTANCE_REPEATS), dataset.task)
        result[str(column)] = whole - evaluation.metric_value(dataset.metric, shuffled)
    return result


def summary(assessment: Assessment) -> dict[str, Any]:
    """The part of an assessment that goes into the committed metrics: no times, ids or paths."""
    return {
        "estimator": assessment.estimator,
        "cv": _rounded(assessment.cv),
        "score": _rounded(assessment.score),
        "interval": {metric: [round(v, 6) for v in bounds] for metric, bounds in assessment.interval.items()},
    }


def save_plots(
    assessment: Assessment,
    importance: Mapping[str, float],
    dataset: Dataset,
    title: str,
    folder: Path,
) -> list[Path]:
    """Write feature_importance, predictions_plot and diagnostics PNGs into the folder; returns their paths."""
    from pipeline import plots

    figures = {
        "feature_importance": plots.feature_importance(importance, title, dataset.metric),
        "predictions_plot": plots.predictions_plot(assessment.predictions, title, dataset.task),
        "diagnostics": plots.diagnostics(assessment.predictions, title, dataset.task),
    }
    paths = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        write_atomic(path, partial(figure.savefig, dpi=110, format="png"))
        paths.append(path)
    return paths


def log_run(
    assessment: Assessment,
    dataset: Dataset,
    config: Config,
    parts: Parts,
    client: MlflowClient,
    name: str,
    tags: Mapping[str, str],
    folder: Path,
    started: float,
) -> None:
    """Write the plots of an assessed model into the folder, and its MLflow run with plots, predictions and model."""
    importance = importances(assessment, dataset, config, parts)
    plots = save_plots(assessment, importance, dataset, f"{dataset.name}: {name}", folder)
    metrics = {**assessment.score, "fit_seconds": assessment.fit_seconds}
    metrics["model_bytes"] = pickled_bytes(assessment.model)
    for prefix, values in (("train", assessment.train), ("test", assessment.test), ("cv", assessment.cv)):
        metrics.update({f"{prefix}_{metric}": value for metric, value in values.items()})
    for metric, (low, high) in assessment.interval.items():
        metrics.update({f"{metric}_low": low, f"{metric}_high": high})
    params = {**assessment.params, "model_type": tags["model_type"], "estimator": assessment.estimator}
    threshold = getattr(assessment.model[-1], "threshold", None)
    record = tracking.RunRecord(
        name=name,
        tags={**tags, "code_sha256": code_sha256()},
        params=params if threshold is None else {**params, "threshold": threshold},
        metrics=metrics,
        files=plots,
        texts={"feature_importance.json": json.dumps(importance), "predictions.csv": _predictions_csv(assessment)},
        start=started,
    )
    example = parts.X_train.head(EXAMPLE_ROWS)
    tracking.write_runs(client, dataset.name, [record], model=assessment.model, example=example)


def pickled_bytes(model: Pipeline) -> int:
    """The size of a model's pickle, which is not held in memory: a forest on millions of rows takes gigabytes."""
    counter = _Counter()
    pickle.dump(model, counter)
    return counter.size


class _Counter:
    """A file that forgets what is written, but not how much."""

    size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        return len(data)


def _predictions_csv(assessment: Assessment) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "actual", "predicted", "score"])
    p = assessment.predictions
    scores = p.score.tolist() if p.score is not None else [""] * len(p.actual)
    writer.writerows(zip(assessment.rows, p.actual.tolist(), p.predicted.tolist(), scores, strict=True))
    return text.getvalue()


def read_predictions(path: Path, task: str) -> Predictions:
    """The artifact predictions.csv of a run: its predictions for the rows that it was judged on."""
    import pandas as pd

    judged = ["actual", "predicted"]
    # labels of classes may read like missing values or numbers (007, inf), and numbers keep their last digit
    kinds = dict.fromkeys(judged, str) if task == "multiclass" else None
    table = pd.read_csv(path, keep_default_na=False, float_precision="round_trip", dtype=kinds)
    if task == "multiclass" and table[judged].stack().str.fullmatch(WHOLE_NUMBER).all():
        table[judged] = table[judged].astype(int)
    score = table["score"].to_numpy() if task == "binary" else None
    return Predictions(table["actual"].to_numpy(), table["predicted"].to_numpy(), score)


def read_rows(path: Path) -> pd.Index:
    """The row labels that belong to read_predictions."""
    import pandas as pd

    return pd.Index(pd.read_csv(path, usecols=["row"])["row"])


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {metric: round(value, 6) for metric, value in values.items()}
