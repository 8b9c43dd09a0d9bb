"""Fits, predictions, and out-of-fold predictions."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, cpu_count, delayed, parallel_config
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from pipeline.console import PipelineError
from pipeline.metrics import Predictions, joined
from pipeline.serving.model import is_positive
from pipeline.settings import THREADS
from pipeline.tables.split import Rows

# For the whole process, as its threads share the limit: fits run side by side, and the threads of BLAS would wait for
# each other. Its sums also depend on how many there are.
threadpool_limits(1, user_api="blas")
# Folds that are at work.
_AT_WORK: set[threading.Event] = set()


def fit(model: Pipeline, X: pd.DataFrame, y: np.ndarray) -> Pipeline:
    """Fit in place and return it. PipelineError: the estimator refuses its settings or the rows."""
    estimator = model[-1]
    try:
        # a fit stays in one process, on its cores, wherever joblib takes the fits themselves
        with parallel_config(backend="threading"):
            estimator.fit(empty_columns_as_zero(model[:-1].fit_transform(X, y)), y)
    except Exception as error:
        # an estimator may be any class, and raise what it likes
        words = f"{type(bare_estimator(model)).__name__} cannot be fitted: {type(error).__name__}: {error}"
        raise PipelineError(words) from error
    return model


def empty_columns_as_zero(features: Any) -> Any:
    """Preprocessed rows (n, k), with zeros for a column that has no value in any of them, as one may have in a fold.

    No model learns from a constant, and scikit-learn's boosting cannot bin a column without values; the libraries that
    get a frame can.
    """
    if isinstance(features, pd.DataFrame):
        return features
    empty = np.isnan(features).all(axis=0)
    return np.where(empty, 0.0, features) if empty.any() else features


def timed_fit(model: Pipeline, X: pd.DataFrame, y: np.ndarray) -> tuple[Pipeline, float]:
    """The model fitted, by a worker where joblib's work goes to a cluster, and the seconds that the fit took."""

    def fitted() -> tuple[Pipeline, float]:
        started = time.perf_counter()
        return fit(model, X, y), time.perf_counter() - started

    return Parallel(n_jobs=1)([delayed(fitted)()])[0]


def predict(model: Pipeline, X: pd.DataFrame, y: np.ndarray, task: str) -> Predictions:
    """A fitted model's predictions for the rows of X (n rows each), the same to the last digit in every call.
    PipelineError: some are no numbers, which no metric and no threshold can judge.
    """
    # the threads of a forest add up their trees in any order; one after another they do it in the same
    with parallel_config(backend="sequential"):
        found = predict_preprocessed(model[-1], model[:-1].transform(X), y, task)
    for values in (found.predicted if task == "regression" else None, found.score, found.shares):
        if values is not None and not np.isfinite(values).all():
            rows = int((~np.isfinite(values.reshape(len(y), -1))).any(axis=1).sum())
            words = f"predicts what is no number for {rows:,} of {len(y):,} rows"
            raise PipelineError(f"{type(bare_estimator(model)).__name__} {words}; use another estimator or settings")
    return found


def threads_of(estimator: Any) -> int:
    """The threads that an estimator is to fit with; -1 for all cores."""
    given = estimator.get_params(deep=False)
    return next((given[name] for name in sorted(THREADS) if given.get(name)), -1)


def bare_estimator(model: Pipeline) -> Any:
    """The last step of a Pipeline, without the wrapper that holds its threshold."""
    return model[-1].estimator if hasattr(model[-1], "threshold") else model[-1]


def predict_preprocessed(estimator: Any, features: np.ndarray, y: np.ndarray, task: str) -> Predictions:
    """A fitted estimator's predictions for preprocessed rows (n, k), with the probabilities of classes where it gives
    them; of two classes it has to.
    """
    if task == "binary":
        score = estimator.predict_proba(features)[:, 1]
        # a threshold wrapper decides elsewhere than at 0.5
        return Predictions(y, is_positive(score, getattr(estimator, "threshold", 0.5)).astype(int), score)
    # CatBoost gives classes as a column
    predicted = np.ravel(estimator.predict(features))
    if task == "regression" or not hasattr(estimator, "predict_proba"):
        return Predictions(y, predicted)
    return Predictions(y, predicted, classes=estimator.classes_, shares=estimator.predict_proba(features))


def out_of_fold(
    model: Pipeline,
    rows: Rows,
    task: str,
    fold_ended: Callable[[int], None] = lambda number: None,
) -> Predictions:
    """Each validated row predicted by a clone fitted on its fold's training rows, in the order of `validated_rows`,
    with what says which rows belong together.

    `fold_ended` is told how many folds are done. The folds are fitted side by side and share the cores, which wastes
    less than many cores on one fold; an estimator with one thread in its settings keeps to one core.
    """
    return _fitted_on_folds(model, rows, task, fold_ended, and_all=False)[0]


def out_of_fold_and_fitted(
    model: Pipeline, rows: Rows, task: str, fold_ended: Callable[[int], None]
) -> tuple[Predictions, Pipeline, float]:
    """Predictions as of `out_of_fold`, the model fitted on all rows, and the seconds that this fit took: beside the
    last folds, where these leave cores idle.
    """
    predictions, fitted = _fitted_on_folds(model, rows, task, fold_ended, and_all=_leaves_cores(model))
    return predictions, *(fitted or timed_fit(model, rows.X, rows.y))


def _leaves_cores(model: Pipeline) -> bool:
    """Whether a fit of the last fold does not take the cores that have none left: all but forests."""
    return not hasattr(bare_estimator(model), "oob_score")


def _fitted_on_folds(
    model: Pipeline, rows: Rows, task: str, fold_ended: Callable[[int], None], and_all: bool
) -> tuple[Predictions, tuple[Pipeline, float] | None]:
    """The predictions of `out_of_fold`, and where asked for, a clone fitted on all rows with its seconds."""
    X, y, folds = rows.X, rows.y, rows.folds
    jobs = threads_of(bare_estimator(model))
    whole = 1 if jobs == 1 else cpu_count()
    names = [name for name, value in model.get_params().items() if name.rpartition("__")[2] in THREADS and value]
    shared = not _leaves_cores(model)

    def fitted(number: int) -> Any:
        # the rows go with the function: joblib would scatter them to some workers, and a lost one takes the only copy
        # the folds that are left when each core has had as many share the cores; not of boosting, whose threads wait
        # for each other: it takes longer with two where another fold keeps one of their cores, and LightGBM has one
        # number of threads for all fits of a process, which must not change while one goes on
        left = len(folds) % whole if number >= len(folds) - len(folds) % whole and shared else len(folds)
        own = clone(model).set_params(**dict.fromkeys(names, max(1, whole // left)))
        # of this thread alone
        with _at_work(), threadpool_limits(max(1, whole // len(folds)), user_api="openmp"):
            if number == len(folds):
                started = time.perf_counter()
                done = fit(own, X, y)
                seconds, estimator = time.perf_counter() - started, bare_estimator(done)
                # it predicts on as many cores as before; CatBoost on all of them, and cannot be told otherwise
                for name in THREADS & vars(estimator).keys():
                    estimator.set_params(**{name: getattr(bare_estimator(model), name)})
                return done, seconds
            train, validation = folds[number]
            one = fit(own, X.iloc[train], y[train])
            return predict(one, X.iloc[validation], y[validation], task)

    found, fitting = [], Parallel(n_jobs=jobs, prefer="threads", return_as="generator")
    with closing(fitting(delayed(fitted)(number) for number in range(len(folds) + and_all))) as ended:
        for one in ended:
            found.append(one)
            if len(found) <= len(folds):
                fold_ended(len(found))
    parts: list[Predictions] = found[: len(folds)]
    order = np.argsort(np.concatenate([validation for _, validation in folds]))
    belonging = {kind: labels[validated_rows(folds)] for kind, labels in rows.belonging.items()}
    return replace(joined(parts).of(order), **belonging), found[-1] if and_all else None


@contextmanager
def _at_work() -> Iterator[None]:
    """What is done inside is over before the process ends."""
    over = threading.Event()
    _AT_WORK.add(over)
    try:
        yield
    finally:
        _AT_WORK.discard(over)
        over.set()


@atexit.register
def _end_work() -> None:
    """Wait for the folds that go on when the others are given up: joblib's threads would be ended in the middle of
    a fit, in which CatBoost crashes.
    """
    for over in list(_AT_WORK):
        over.wait()


def columns_of_other_kind(model: Pipeline, X: pd.DataFrame) -> list[str]:
    """The columns of X that are numbers where the fitted model has learned from words, or the other way round."""
    kinds = {name: kind for kind, _, names in model[0].transformers for name in names}
    return [name for name, kind in kinds.items() if name in X and (kind == "numbers") != (X[name].dtype == "float64")]


def validated_rows(folds: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Positions of the rows that any fold validates: all of them, but for folds in order of time."""
    return np.sort(np.concatenate([validation for _, validation in folds]))


def validating_fold(folds: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The number of the fold, from 0, that validates each of the rows of `validated_rows`."""
    number = np.repeat(np.arange(len(folds)), [len(validation) for _, validation in folds])
    return number[np.argsort(np.concatenate([validation for _, validation in folds]))]
