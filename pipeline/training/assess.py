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
from sklearn.metrics import mean_pinball_loss
from sklearn.pipeline import Pipeline

from pipeline.cluster import COMPUTING
from pipeline.console import Progress
from pipeline.intervals import interval_of_amount, paired_leads, rough, score_intervals
from pipeline.metrics import Predictions, scores
from pipeline.tables.split import Parts
from pipeline.training.build import Recipe, build_model
from pipeline.training.calibration import (
    by_other_folds,
    calibrate_model,
    calibration_error,
    calibration_gain,
    learn_calibration,
)
from pipeline.training.conformal import Errors, bound_model, bounds_by_other_folds, learn_errors
from pipeline.training.fit import (
    out_of_fold,
    out_of_fold_and_fitted,
    predict,
    timed_fit,
    validated_rows,
    validating_fold,
)
from pipeline.training.threshold import Choice, threshold_choice, worth


@dataclass(frozen=True)
class Assessment:
    """A model fitted on the training part, and what it reached. `predictions` are those that `score` and `interval`
    come from, `rows` the labels of their rows; `pooled` are the out-of-fold predictions of the training part that `cv`
    comes from, `pooled_rows` the labels of theirs. `uncertainty` is as classes_came_true or intervals_held has it.
    `naive` are the scores of the naive prediction of the judged rows, `over_naive` the 95 % interval of the lead over
    it. `params` are the estimator's settings, without its own defaults. `load` gives the model, where need be from a
    run's file; `plots` are those of the run that all of it was read from.
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
    uncertainty: Mapping[str, Any]
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
                name: {metric: _to_six_digits(bounds) for metric, bounds in found.items()}
                for name, found in intervals.items()
            },
            "rough": rough(self.recipe.task, self.predictions),
            **({"decision": decision} if (decision := self.decision) else {}),
            **({"uncertainty": self.uncertainty} if self.uncertainty else {}),
        }


def assess(
    recipe: Recipe,
    parts: Parts,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress = lambda step, done, fits: None,
    raw: Predictions | None = None,
) -> Assessment:
    """Cross-validate on the training part, where its `raw` out-of-fold predictions are not known yet, fit on it, and
    score once.

    `cv` comes from pooled out-of-fold predictions on the training part and is what models are chosen by; `score` from
    the test part or, where the dataset is judged by cross-validation, from pooled out-of-fold predictions over all
    rows. A threshold that is to be chosen (for F1, a cost or a capacity) is chosen on the pooled predictions on the
    training part; in pooled predictions themselves, each fold is labelled by the threshold of the other folds.
    Probabilities are recalibrated and prediction intervals found likewise.
    PipelineError: the estimator refuses its settings or the rows, or predicts what is no number, or the rows are too
    few for the prediction intervals.
    """
    train, whole = parts.train, parts.whole
    model = build_model(recipe, train.X, overrides)
    own = len(train.folds)
    fits = own + 1 + (len(whole.folds) if whole else 0)
    if raw is None:
        progress(f"{fits} fits", 0, fits)
        raw, model, fit_seconds = out_of_fold_and_fitted(
            model, train, recipe.task, lambda k: progress(f"fold {k} of {own} done", k, fits)
        )
    else:
        model, fit_seconds = timed_fit(model, train.X, train.y)
    progress("fitted on the training part", own + 1, fits)
    of_whole = None
    if whole:
        words, fresh = f"of {len(whole.folds)} over all rows done", build_model(recipe, whole.X, overrides)
        of_whole = out_of_fold(fresh, whole, recipe.task, lambda k: progress(f"fold {k} {words}", own + 1 + k, fits))
    return judge_model(recipe, parts, model, raw, of_whole, {**recipe.settings, **(overrides or {})}, fit_seconds)


def judge_model(
    recipe: Recipe,
    parts: Parts,
    model: Pipeline,
    raw: Predictions,
    of_whole: Predictions | None,
    params: Mapping[str, Any],
    fit_seconds: float,
) -> Assessment:
    """A model that is fitted on the training part, completed by `finish` and scored once, as `assess` has it.

    `raw` are its out-of-fold predictions of the training part, `of_whole` those of all rows where it is judged by them,
    neither recalibrated nor labelled at a chosen threshold. `params` and `fit_seconds` are as Assessment has them.
    PipelineError: it predicts what is no number, or the rows are too few for the prediction intervals.
    """
    task, train = recipe.task, parts.train
    choose = threshold_choice(recipe.threshold, parts.judged_rows)
    fold, gives_shares = validating_fold(train.folds), raw.score is not None or raw.shares is not None
    pooled, gain, calibrate = by_other_folds(raw, fold, False, choose), None, False
    if recipe.calibrate and gives_shares:
        recalibrated = by_other_folds(raw, fold, True, choose)
        gain = calibration_gain(raw, recalibrated, recipe.seed)
        if calibrate := gain[1][0] > 0:
            pooled = recalibrated
    level = recipe.prediction_interval
    errors = learn_errors(raw, level) if level else None
    finish(model, raw, calibrate, choose, errors)
    judged, rows = predict(model, parts.test.X, parts.test.y, task), parts.test.X.index
    judged = replace(judged, **parts.test.belonging)
    test, bounds = scores(task, judged), errors.of(judged.predicted) if errors else None
    if of_whole and parts.whole:
        fold = validating_fold(parts.whole.folds)
        judged = by_other_folds(of_whole, fold, calibrate, choose)
        bounds = bounds_by_other_folds(of_whole, fold, level) if level else None
        rows = parts.whole.X.index[validated_rows(parts.whole.folds)]
    naive, interval = naive_predictions(task, train.y, judged), score_intervals(task, judged, recipe.seed)
    uncertainty = classes_came_true(judged, gain) if gives_shares else {}
    if level and bounds:
        uncertainty = intervals_held(judged, *bounds, train.y, level, recipe.seed)
    return Assessment(
        recipe=recipe,
        load=lambda: model,
        params=params,
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
        uncertainty=uncertainty,
        fit_seconds=fit_seconds,
    )


def finish(model: Pipeline, raw: Predictions, calibrate: bool, choose: Choice, errors: Errors | None) -> None:
    """Complete a fitted model, in place, with what out-of-fold predictions of its training rows (n,) say: calibration,
    then the threshold; prediction intervals.
    """
    if calibrate:
        calibration = learn_calibration(raw)
        calibrate_model(model, calibration)
        raw = calibration.of(raw)
    if hasattr(model[-1], "threshold"):
        assert raw.score is not None
        model.set_params(model__threshold=choose(raw.actual, raw.score))
    if errors:
        bound_model(model, errors)


def classes_came_true(judged: Predictions, gain: tuple[float, list[float]] | None) -> dict[str, Any]:
    """The calibration error of the judged rows, with its 95 % interval; where recalibration was asked for (`gain`),
    also by how much it lowers the log loss of the training part, with the interval, and whether it is kept for that.
    """
    error, interval = calibration_error(judged)
    found: dict[str, Any] = {"calibration_error": round(error, 6), "interval": _to_six_digits(interval)}
    if gain:
        kept = {"recalibrated": gain[1][0] > 0, "log_loss_gain": round(gain[0], 6)}
        found |= kept | {"log_loss_gain_interval": _to_six_digits(gain[1])}
    return found


def intervals_held(
    judged: Predictions, low: np.ndarray, high: np.ndarray, y_train: np.ndarray, level: float, seed: int
) -> dict[str, Any]:
    """Which share of the judged rows (n,) lies within their prediction intervals, with the 95 % interval of that share,
    beside the `level` that is to. `width` is their mean width and `pinball` the mean loss of both bounds as quantiles
    (Koenker & Bassett 1978), in the target's unit, beside those of the same quantiles of y_train (m,).
    """
    known = ~np.isnan(low)
    judged, low, high = judged.of(known), low[known], high[known]
    held = ((low <= judged.actual) & (judged.actual <= high)).astype(float)
    tails = (1 - level) / 2, (1 + level) / 2
    ends = np.quantile(y_train, tails)

    def pinball(*quantiles: np.ndarray) -> float:
        pairs = zip(quantiles, tails, strict=True)
        return float(np.mean([mean_pinball_loss(judged.actual, values, alpha=tail) for values, tail in pairs]))

    return {
        "level": level,
        "coverage": round(float(held.mean()), 6),
        "interval": _to_six_digits(interval_of_amount(held, 1.0, judged, seed)),
        "width": round(float((high - low).mean()), 6),
        "width_of_target": round(float(np.ptp(ends)), 6),
        "pinball": round(pinball(low, high), 6),
        "pinball_of_target": round(pinball(*(np.full(len(held), end) for end in ends)), 6),
    }


def code_sha256(estimator: type[BaseEstimator]) -> str:
    """Hash of what decides an assessment: the rooms training and tables, metrics, intervals, the versions of the
    libraries that compute, and the module and library of the estimator.
    """
    module = sys.modules[estimator.__module__]
    library = sys.modules[module.__name__.partition(".")[0]]
    versions = [*map(version, COMPUTING), getattr(library, "__version__", "")]
    digest = hashlib.sha256(" ".join(versions).encode())
    root = Path(__file__).parent.parent
    files = [*root.glob("training/*.py"), *root.glob("tables/*.py"), root / "metrics.py", root / "intervals.py"]
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


def _to_six_digits(bounds: Sequence[float]) -> list[float]:
    return [round(bound, 6) for bound in bounds]


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {metric: round(value, 6) for metric, value in values.items()}
