"""How a trial is scored: out of bag, by forests grown on folds, by early stopping on folds, or on folds.

A scorer judges a fresh estimator step by step, and yields the step, the score so far, and the share of the work that is
done. How many cores there are changes no result: what is fitted side by side is always cut the same way. A scorer with
its rows is a partial of a function of this module, so that it can be sent to another process.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from joblib import cpu_count, effective_n_jobs
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from pipeline.metrics import Predictions, metric_value
from pipeline.tables.split import Rows
from pipeline.training.build import Recipe, build_estimator, build_preprocessing
from pipeline.training.fit import empty_columns_as_zero

# A tree of a search draws half the rows, at most so many; 61 of 100 trees then leave a row out.
TREE_SHARE, TREE_ROWS = 0.5, 4000
# Shares of a trial's trees that a search grows, out of bag and on folds: either way a tenth of them votes on each row,
# for five folds. Winners of larger shares were no better when cross-validated.
OUT_OF_BAG_SHARE, FOLDS_SHARE = 0.2, 0.5
# Forests that a trial's forest is grown as, side by side.
FOREST_PARTS = 4
# Trees grown before each report: a step means the same work in every trial, so that trials can be compared.
FOREST_STEPS = (10, 20)
# Boosting iterations without a better validation loss after which the fit of a fold stops.
PATIENCE = 20

Steps = Generator[tuple[int, float, float]]
Scorer = Callable[[Any], Steps]
# X_train, y_train, X_validation, y_validation
Fold = tuple[Any, Any, Any, Any]


def way_of_scoring(recipe: Recipe, space: Mapping[str, Any], independent: bool) -> str:
    """How a model's trials are scored: "out of bag", "grown on folds", "early stopping" or "folds".

    Class weights steer the bootstrap: a rare class is then in every tree, and has no out-of-bag votes at all. Rows that
    are not `independent` (of a group, or in time) would be on both sides of a bootstrap sample.
    """
    baseline = build_estimator(recipe, {"numbers": [], "categories": []})
    if hasattr(baseline, "oob_score") and hasattr(baseline, "warm_start"):
        unweighted = getattr(baseline, "class_weight", None) is None
        fixed = not {"bootstrap", "max_samples", "class_weight"} & {*space, *recipe.settings}
        return "out of bag" if baseline.bootstrap and unweighted and independent and fixed else "grown on folds"
    if "max_iter" in space and "X_val" in inspect.signature(baseline.fit).parameters:
        return "early stopping"
    return "folds"


def make_scorer(way: str, recipe: Recipe, columns: Mapping[str, list[str]], rows: Rows) -> Scorer:
    """The scorer of a way on these rows with their columns by kind; they are preprocessed here, once."""
    preprocessing = build_preprocessing(recipe, columns)
    if way == "out of bag":
        features = np.asarray(preprocessing.fit_transform(rows.X, rows.y), dtype=np.float32)
        return partial(score_out_of_bag, recipe, features, rows.y)
    if way == "grown on folds":
        return partial(score_grown, recipe, preprocessed_folds(preprocessing, rows, "float32"))
    return partial(score_folds, recipe, preprocessed_folds(preprocessing, rows, "float64"))


def score_out_of_bag(recipe: Recipe, features: np.ndarray, y: np.ndarray, estimator: Any) -> Steps:
    """Out-of-bag score (Breiman 2001) of a forest that grows: the trees and votes of a step stay for the next.

    Args:
        features, y: the preprocessed rows (n, k) and their targets (n,).
    """
    labels = None if recipe.task == "regression" else np.unique(y)
    settings = {"warm_start": True, "max_samples": max(1, min(TREE_ROWS, int(TREE_SHARE * len(y)))), "n_jobs": 1}
    seeds = [(recipe.seed + part) % 2**32 for part in range(FOREST_PARTS)]
    forests = [clone(estimator).set_params(**settings, random_state=seed) for seed in seeds]
    votes = np.zeros((FOREST_PARTS, len(y), *(() if labels is None else labels.shape)))
    voters = np.zeros((FOREST_PARTS, len(y)))

    def grow(part: int, trees: int) -> None:
        new = grow_forest(forests[part], trees, features, y)
        for tree, drawn in zip(new, forests[part].estimators_samples_[-len(new) :], strict=True):
            left_out = np.ones(len(y), dtype=bool)
            left_out[drawn] = False
            votes[part, left_out] += vote(tree, features[left_out])
            voters[part, left_out] += 1

    with ThreadPoolExecutor(cpu_count()) as threads:
        for trees, done in growth(OUT_OF_BAG_SHARE * trees_of(estimator), FOREST_PARTS):
            list(threads.map(grow, range(FOREST_PARTS), [trees] * FOREST_PARTS))
            asked = voters.sum(axis=0) > 0
            means = (votes.sum(axis=0)[asked].T / voters.sum(axis=0)[asked]).T
            yield trees, metric_value(recipe.metric, voted(recipe.task, labels, y[asked], means)), done


def score_grown(recipe: Recipe, folds: Sequence[Fold], estimator: Any) -> Steps:
    """Pooled out-of-fold score of forests that grow, one a fold."""
    actual = np.concatenate([fold[3] for fold in folds])
    # every row is in the last fold, to learn from or to validate
    labels = None if recipe.task == "regression" else np.unique(np.concatenate([folds[-1][1], folds[-1][3]]))
    rows = max(1, min(TREE_ROWS, int(TREE_SHARE * len(folds[0][1]))))
    forests = [clone(estimator).set_params(warm_start=True, n_jobs=1) for _ in folds]
    if estimator.bootstrap and estimator.max_samples is None:
        forests = [forest.set_params(max_samples=rows) for forest in forests]
    votes = [np.zeros((len(fold[3]), *(() if labels is None else labels.shape))) for fold in folds]

    def grow(number: int, trees: int) -> None:
        X_train, y_train, X_validation, _ = folds[number]
        new = grow_forest(forests[number], trees, X_train, y_train)
        # classes that come up only after the rows that a fold learns from have no votes
        known = slice(None) if labels is None else np.searchsorted(labels, forests[number].classes_)
        for tree in new:
            votes[number][..., known] += vote(tree, X_validation)

    with ThreadPoolExecutor(cpu_count()) as threads, warnings.catch_warnings():
        # class weights of a forest that grows: right here, where every fit has the same rows
        warnings.simplefilter("ignore", UserWarning)
        for trees, done in growth(FOLDS_SHARE * trees_of(estimator), len(folds)):
            list(threads.map(grow, range(len(folds)), [trees] * len(folds)))
            means = np.concatenate([cast / trees for cast in votes])
            yield trees, metric_value(recipe.metric, voted(recipe.task, labels, actual, means)), done


def score_folds(recipe: Recipe, folds: Sequence[Fold], estimator: Any) -> Steps:
    """Running mean over the folds for which the metric is defined. With early stopping the validation rows say when to
    stop; the estimator gets the mean of the folds' best iterations.

    The folds are fitted side by side, each on one core, and looked at in their order. What is left when a trial is
    pruned is dropped.
    """
    stopped = getattr(estimator, "early_stopping", False) is True and hasattr(estimator, "max_iter")

    def judge(fold: Fold) -> tuple[float, int]:
        X_train, y_train, X_validation, y_validation = fold
        # in order of time a class may come up after the rows that a fold learns from
        known = slice(None) if recipe.task == "regression" else np.isin(y_validation, y_train)
        fitted = clone(estimator)
        with threadpool_limits(1, user_api="openmp"):
            if stopped:
                fitted.set_params(n_iter_no_change=PATIENCE, scoring="loss")
                fitted.fit(X_train, y_train, X_val=X_validation[known], y_val=y_validation[known])
            else:
                fitted.fit(X_train, y_train)
            probability = fitted.predict_proba(X_validation)[:, 1] if recipe.task == "binary" else None
            predictions = Predictions(y_validation, fitted.predict(X_validation), probability)
        best = max(1, int(np.argmax(fitted.validation_score_))) if stopped else 0
        return metric_value(recipe.metric, predictions), best

    values: list[float] = []
    iterations: list[int] = []
    threads = ThreadPoolExecutor(effective_n_jobs(getattr(estimator, "n_jobs", None) or -1))
    try:
        for number, (value, best) in enumerate(threads.map(judge, folds), 1):
            # ROC-AUC is not defined for a fold of one class
            values += [value] if math.isfinite(value) else []
            iterations.append(best)
            if stopped and number == len(folds):
                estimator.set_params(max_iter=round(np.mean(iterations)), early_stopping=False)
            if values or number == len(folds):
                yield number, float(np.mean(values)) if values else math.nan, number / len(folds)
    finally:
        threads.shutdown(cancel_futures=True)


def preprocessed_folds(preprocessing: Any, rows: Rows, dtype: str) -> list[Fold]:
    """The folds as numbers, the preprocessing fitted on the training rows of each."""
    folds = []
    for train, validation in rows.folds:
        fitted = clone(preprocessing)
        # fit_transform, as target encoding is cross-fitted only there
        learned = fitted.fit_transform(rows.X.iloc[train], rows.y[train])
        learned = empty_columns_as_zero(np.asarray(learned, dtype=dtype))
        asked = np.asarray(fitted.transform(rows.X.iloc[validation]), dtype=dtype)
        folds.append((learned, rows.y[train], asked, rows.y[validation]))
    return folds


def trees_of(estimator: Any) -> int:
    """The trees that a forest is to have. ValueError: they are no whole number of at least 1, which a forest that grows
    from one step to the next would not find out.
    """
    trees = estimator.n_estimators
    if not isinstance(trees, int) or trees < 1:
        raise ValueError(f"n_estimators is {trees!r}, no whole number of at least 1")
    return trees


def growth(trees: float, parts: int) -> Iterator[tuple[int, float]]:
    """The steps by which forests grow that have so many trees together: trees of each of them, share of the work."""
    size = max(1, round(trees / parts))
    for step in [*(step // parts for step in FOREST_STEPS if parts <= step < size * parts), size]:
        yield step, step / size


def grow_forest(forest: Any, trees: int, X: np.ndarray, y: np.ndarray) -> list[Any]:
    """Grow a forest to so many trees; returns the new ones."""
    before = forest.n_estimators if hasattr(forest, "estimators_") else 0
    return forest.set_params(n_estimators=trees).fit(X, y).estimators_[before:]


def vote(tree: Any, features: np.ndarray) -> np.ndarray:
    """A tree's votes: values (n,) for regression, else a share a class (n, classes)."""
    return (tree.predict_proba if hasattr(tree, "predict_proba") else tree.predict)(features, check_input=False)


def voted(task: str, labels: np.ndarray | None, actual: np.ndarray, means: np.ndarray) -> Predictions:
    """Predictions from the mean votes of trees: values (n,) for regression, else a share for each of the labels, sorted
    (n, classes).
    """
    if labels is None:
        return Predictions(actual, means)
    return Predictions(actual, labels[means.argmax(axis=1)], means[:, 1] if task == "binary" else None)
