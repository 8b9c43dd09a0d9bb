"""How a trial is scored: out of bag, grown on folds, with early stopping, or on folds."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pipeline.settings import Config, Dataset

if TYPE_CHECKING:
    from pipeline.metrics import Predictions


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
# A scorer judges a fresh estimator step by step: the step, the score so far, and the share of the work that is done.
Scorer = Callable[[Any], Generator[tuple[int, float, float]]]


def way_of_scoring(dataset: Dataset, config: Config, model: str, space: Mapping[str, Any]) -> str:
    """How a model's trials are scored: "out of bag", "grown on folds", "early stopping" or "folds".

    Class weights steer the bootstrap: a rare class is then in every tree, and has no out-of-bag votes at all. Rows that
    belong together or follow one another would be on both sides of a bootstrap sample.
    """
    from pipeline.training.build import build_estimator, model_params

    baseline = build_estimator(dataset, config, model, None)
    if hasattr(baseline, "oob_score") and hasattr(baseline, "warm_start"):
        unweighted = getattr(baseline, "class_weight", None) is None
        random_rows = not dataset.group and not dataset.time
        fixed = not {"bootstrap", "max_samples", "class_weight"} & {*space, *model_params(dataset, config, model)}
        return "out of bag" if baseline.bootstrap and unweighted and random_rows and fixed else "grown on folds"
    if "max_iter" in space and "X_val" in inspect.signature(baseline.fit).parameters:
        return "early stopping"
    return "folds"


def out_of_bag_scorer(preprocessing: Any, X: Any, y: Any, dataset: Dataset, config: Config) -> Scorer:
    """Out-of-bag score (Breiman 2001) of a forest that grows: the trees and votes of a step stay for the next.

    The forest is grown as FOREST_PARTS smaller ones side by side, however many cores there are: the same in any place.
    """
    import numpy as np
    from joblib import cpu_count
    from sklearn.base import clone

    from pipeline.metrics import metric_value

    features = np.asarray(preprocessing.fit_transform(X, y), dtype=np.float32)
    rows = max(1, min(TREE_ROWS, int(TREE_SHARE * len(y))))
    labels = None if dataset.task == "regression" else np.unique(y)
    width = () if labels is None else (len(labels),)

    def score(estimator: Any) -> Generator[tuple[int, float, float]]:
        settings = {"warm_start": True, "max_samples": rows, "n_jobs": 1}
        seeds = range(config.seed, config.seed + FOREST_PARTS)
        forests = [clone(estimator).set_params(**settings, random_state=seed) for seed in seeds]
        votes = np.zeros((FOREST_PARTS, len(y), *width))
        voters = np.zeros((FOREST_PARTS, len(y)))

        def grow(part: int, trees: int) -> None:
            forest = forests[part]
            new = slice(forest.n_estimators if hasattr(forest, "estimators_") else 0, trees)
            forest.set_params(n_estimators=trees).fit(features, y)
            for tree, drawn in zip(forest.estimators_[new], forest.estimators_samples_[new], strict=True):
                left_out = np.ones(len(y), dtype=bool)
                left_out[drawn] = False
                votes[part, left_out] += vote(tree, features[left_out])
                voters[part, left_out] += 1

        with ThreadPoolExecutor(cpu_count()) as threads:
            for trees, done in growth(OUT_OF_BAG_SHARE * estimator.n_estimators, FOREST_PARTS):
                list(threads.map(grow, range(FOREST_PARTS), [trees] * FOREST_PARTS))
                asked = voters.sum(axis=0) > 0
                means = (votes.sum(axis=0)[asked].T / voters.sum(axis=0)[asked]).T
                yield trees, metric_value(dataset.metric, voted(dataset, labels, y[asked], means)), done

    return score


def grown_scorer(preprocessing: Any, X: Any, y: Any, dataset: Dataset, config: Config) -> Scorer:
    """Pooled out-of-fold score of forests that grow, one a fold."""
    import numpy as np
    from joblib import cpu_count
    from sklearn.base import clone

    from pipeline.metrics import metric_value

    folds = preprocessed_folds(preprocessing, X, y, dataset, config, dtype="float32")
    actual = np.concatenate([fold[3] for fold in folds])
    labels = None if dataset.task == "regression" else np.unique(y)
    width = () if labels is None else (len(labels),)

    def score(estimator: Any) -> Generator[tuple[int, float, float]]:
        rows = max(1, min(TREE_ROWS, int(TREE_SHARE * len(folds[0][1]))))
        forests = [clone(estimator).set_params(warm_start=True, n_jobs=1) for _ in folds]
        if estimator.bootstrap and estimator.max_samples is None:
            forests = [forest.set_params(max_samples=rows) for forest in forests]
        votes = [np.zeros((len(fold[3]), *width)) for fold in folds]

        def grow(fold: int, trees: int) -> None:
            forest, (X_train, y_train, X_validation, _) = forests[fold], folds[fold]
            new = slice(forest.n_estimators if hasattr(forest, "estimators_") else 0, trees)
            forest.set_params(n_estimators=trees).fit(X_train, y_train)
            # classes that come up only after the rows that a fold learns from have no votes
            known = slice(None) if labels is None else np.searchsorted(labels, forest.classes_)
            for tree in forest.estimators_[new]:
                votes[fold][..., known] += vote(tree, X_validation)

        with ThreadPoolExecutor(cpu_count()) as threads, warnings.catch_warnings():
            # class weights of a forest that grows: right here, where every fit has the same rows
            warnings.simplefilter("ignore", UserWarning)
            for trees, done in growth(FOLDS_SHARE * estimator.n_estimators, len(folds)):
                list(threads.map(grow, range(len(folds)), [trees] * len(folds)))
                means = np.concatenate([cast / trees for cast in votes])
                yield trees, metric_value(dataset.metric, voted(dataset, labels, actual, means)), done

    return score


def growth(trees: float, parts: int) -> Iterator[tuple[int, float]]:
    """The steps by which forests grow that have so many trees together: trees of each of them, share of the work."""
    size = max(1, round(trees / parts))
    for step in [*(step // parts for step in FOREST_STEPS if parts <= step < size * parts), size]:
        yield step, step / size


def vote(tree: Any, features: Any) -> Any:
    """A tree's votes: values (n,) for regression, else a share a class (n, classes)."""
    return (tree.predict_proba if hasattr(tree, "predict_proba") else tree.predict)(features, check_input=False)


def voted(dataset: Dataset, labels: Any, actual: Any, means: Any) -> Predictions:
    """Predictions from the mean votes of trees: values (n,) for regression, else a share for each of the labels, sorted
    (n, classes).
    """
    from pipeline.metrics import Predictions

    if labels is None:
        return Predictions(actual, means)
    return Predictions(actual, labels[means.argmax(axis=1)], means[:, 1] if dataset.task == "binary" else None)


def fold_scorer(preprocessing: Any, X: Any, y: Any, dataset: Dataset, config: Config) -> Scorer:
    """Running mean over the folds for which the metric is defined. With early stopping the validation rows say when to
    stop; the estimator gets the mean of the folds' best iterations.

    The folds are fitted side by side, each on one core, and looked at in their order: how many cores there are changes
    no result. What is left when a trial is pruned is dropped.
    """
    import numpy as np
    from joblib import effective_n_jobs
    from sklearn.base import clone
    from threadpoolctl import threadpool_limits

    from pipeline.metrics import Predictions, metric_value

    folds = preprocessed_folds(preprocessing, X, y, dataset, config)

    def score(estimator: Any) -> Generator[tuple[int, float, float]]:
        values: list[float] = []
        iterations: list[int] = []
        stopped = getattr(estimator, "early_stopping", False) is True and hasattr(estimator, "max_iter")

        def judge(fold: tuple[Any, Any, Any, Any]) -> tuple[float, int]:
            X_train, y_train, X_validation, y_validation = fold
            # in order of time a class may come up after the rows that a fold learns from
            known = slice(None) if dataset.task == "regression" else np.isin(y_validation, y_train)
            fitted = clone(estimator)
            with threadpool_limits(1, user_api="openmp"):
                if stopped:
                    fitted.set_params(n_iter_no_change=PATIENCE, scoring="loss")
                    fitted.fit(X_train, y_train, X_val=X_validation[known], y_val=y_validation[known])
                else:
                    fitted.fit(X_train, y_train)
                probability = fitted.predict_proba(X_validation)[:, 1] if dataset.task == "binary" else None
                predictions = Predictions(y_validation, fitted.predict(X_validation), probability)
            best = max(1, int(np.argmax(fitted.validation_score_))) if stopped else 0
            return metric_value(dataset.metric, predictions), best

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

    return score


def preprocessed_folds(
    preprocessing: Any, X: Any, y: Any, dataset: Dataset, config: Config, dtype: str = "float64"
) -> list[tuple[Any, Any, Any, Any]]:
    """Each fold's X_train, y_train, X_validation, y_validation, the preprocessing fitted on its own training rows."""
    import numpy as np
    from sklearn.base import clone

    from pipeline.tables.split import fold_indices
    from pipeline.training.fit import empty_columns_as_zero

    folds = []
    for train, validation in fold_indices(X, y, dataset, config):
        fitted = clone(preprocessing)
        # fit_transform, as target encoding is cross-fitted only there
        learned = empty_columns_as_zero(np.asarray(fitted.fit_transform(X.iloc[train], y[train]), dtype=dtype))
        asked = np.asarray(fitted.transform(X.iloc[validation]), dtype=dtype)
        folds.append((learned, y[train], asked, y[validation]))
    return folds
