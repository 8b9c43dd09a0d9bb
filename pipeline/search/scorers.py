"""How a trial is scored: out of bag, by forests grown on folds, by early stopping on folds, or on folds.

A scorer judges a fresh estimator step by step, and yields the step, the score so far, and the share of the work that is
done. Its score is that of the final model's cross-validation: predictions of rows that were not learned from, pooled,
labelled at the dataset's threshold. How many cores there are changes no result: what is fitted side by side is always
cut the same way. A scorer with its rows is a partial of a function of this module, so that it can be sent to another
process.
"""

from __future__ import annotations

import inspect
import math
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from joblib import cpu_count, effective_n_jobs
from pandas import DataFrame
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from pipeline.metrics import Predictions, joined, lead, metric_value
from pipeline.search.space import at_least
from pipeline.settings import THREADS
from pipeline.tables.split import Rows
from pipeline.training.build import Recipe, build_estimator, build_preprocessing
from pipeline.training.calibration import by_other_folds
from pipeline.training.fit import empty_columns_as_zero, predict_preprocessed, threads_of
from pipeline.training.threshold import threshold_choice

# A tree of a search draws half the rows, at most so many; 61 of 100 trees then leave a row out.
TREE_SHARE, TREE_ROWS = 0.5, 4000
# Forests that a trial's forest is grown as, side by side.
FOREST_PARTS = 4
# Trees of a trial at each report, all parts or folds together. A step means the same work in every trial, so that
# trials can be compared, and the last is twice the one before, which tells what further trees would bring.
OUT_OF_BAG_STEPS, FOLDS_STEPS = (8, 16, 32), (20, 40, 80)
# A forest has as many trees as it takes: more would raise its score by less than this share of it.
TREE_TOLERANCE = 0.002
# Boosting iterations without a better validation loss after which the fit of a fold stops. With 20 LightGBM and
# CatBoost lose cross-validated score at slow rates; HistGradientBoosting does not, and takes longer for each.
PATIENCE = {"early stopping": 20, "early stopping of a library": 40}

Steps = Generator[tuple[int, float, float]]
Scorer = Callable[..., Steps]
# Iterations that are timed where a fit has to end by a time: what further ones take tells how long each does.
TIMED = (10, 50)
# What an estimator is given that was scored on folds: the seconds in which one core predicts a row.
SECONDS_A_ROW = "seconds_a_row"
# The setting that a way of scoring finds.
FOUND = {
    "out of bag": "n_estimators",
    "grown on folds": "n_estimators",
    "early stopping": "max_iter",
    "early stopping of a library": "n_estimators",
    "folds": "",
}
# The setting of a boosting library by which it stops early, in a search alone.
ROUNDS = "early_stopping_rounds"
# What LightGBM would have in its place takes no words as classes.
warnings.filterwarnings("ignore", "The argument 'eval_set' is deprecated")
# X_train, y_train, X_validation, y_validation
Fold = tuple[Any, Any, Any, Any]


def way_of_scoring(recipe: Recipe, space: Mapping[str, Any], independent: bool) -> str:
    """How a model's trials are scored: one of FOUND.

    Class weights steer the bootstrap: a rare class is then in every tree, and has no out-of-bag votes at all. Rows that
    are not `independent` (of a group, or in time) would be on both sides of a bootstrap sample.
    """
    baseline = build_estimator(recipe, {"numbers": [], "categories": []})
    if hasattr(baseline, "oob_score") and hasattr(baseline, "warm_start"):
        unweighted = getattr(baseline, "class_weight", None) is None
        fixed = not {"bootstrap", "max_samples", "class_weight"} & {*space, *recipe.settings}
        return "out of bag" if baseline.bootstrap and unweighted and independent and fixed else "grown on folds"
    # by the argument of its fit for the rows that say when
    ways = {"X_val": "early stopping", "eval_set": "early stopping of a library"}
    known = inspect.signature(baseline.fit).parameters
    return next((way for name, way in ways.items() if name in known and FOUND[way] in space), "folds")


def fewest_folds(rows: Rows, task: str, least: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The last folds that have at least so many validation rows, of classes each an equal part of them; two at least.
    More would tell settings apart a little better, and let fewer be tried.
    """
    # a regression is one class
    classes = np.zeros(len(rows.y), int) if task == "regression" else np.unique(rows.y, return_inverse=True)[1]
    number_of_classes = classes.max() + 1
    for number in range(2, len(rows.folds)):
        validation = np.concatenate([own for _, own in rows.folds[-number:]])
        if np.bincount(classes[validation], minlength=number_of_classes).min() * number_of_classes >= least:
            return rows.folds[-number:]
    return rows.folds


def make_scorer(
    way: str, recipe: Recipe, space: Mapping[str, Any], columns: Mapping[str, list[str]], rows: Rows
) -> Scorer:
    """The scorer of a way on these rows with their columns by kind; they are preprocessed here, once."""
    preprocessing, trees = build_preprocessing(recipe, columns), space.get("n_estimators")
    if way == "out of bag":
        features = as_numbers(preprocessing.fit_transform(rows.X, rows.y), "float32")
        return partial(score_forest, recipe, trees, [(features, rows.y, None, rows.y)] * FOREST_PARTS)
    if way == "grown on folds":
        return partial(score_forest, recipe, trees, preprocessed_folds(preprocessing, rows, "float32"))
    return partial(score_folds, recipe, preprocessed_folds(preprocessing, rows, "float64"))


def score_forest(recipe: Recipe, rule: Any, folds: Sequence[Fold], estimator: Any) -> Steps:
    """Pooled score of forests that grow, one a fold, whose trees and votes of a step stay for the next: out of fold, or
    out of bag (Breiman 2001) where folds have no validation rows. Where the search space has a rule for the number of
    trees, the estimator gets the fewest that are as good.
    """
    out_of_bag = folds[0][2] is None
    rows = max(1, min(TREE_ROWS, int(TREE_SHARE * len(folds[0][1]))))
    forests = [clone(estimator).set_params(warm_start=True, n_jobs=1) for _ in folds]
    if out_of_bag:
        # of the same rows; where a threshold is tuned, it is chosen on other rows than it labels
        actual, fold = folds[0][1], np.arange(len(folds[0][1])) % len(folds)
        asked = [np.arange(len(actual))] * len(folds)
        seeds = [(recipe.seed + number) % 2**32 for number in range(len(folds))]
        forests = [f.set_params(random_state=seed) for f, seed in zip(forests, seeds, strict=True)]
    else:
        actual = np.concatenate([part[3] for part in folds])
        fold = np.repeat(np.arange(len(folds)), [len(part[3]) for part in folds])
        asked = [np.flatnonzero(fold == number) for number in range(len(folds))]
    if estimator.bootstrap and estimator.max_samples is None:
        forests = [forest.set_params(max_samples=rows) for forest in forests]
    # every row is in the last fold, to learn from or to validate
    labels = None if recipe.task == "regression" else np.unique(np.concatenate([folds[-1][1], folds[-1][3]]))
    votes = np.zeros((len(folds), len(actual), *(() if labels is None else labels.shape)))
    voters = np.zeros((len(folds), len(actual)))

    def grow(number: int, trees: int) -> None:
        X_train, y_train, X_validation, _ = folds[number]
        new = grow_forest(forests[number], trees, X_train, y_train)
        # classes that come up only after the rows that a fold learns from have no votes
        known = slice(None) if labels is None else np.searchsorted(labels, forests[number].classes_)
        drawn = forests[number].estimators_samples_[-len(new) :] if out_of_bag else [None] * len(new)
        for tree, sample in zip(new, drawn, strict=True):
            left = asked[number] if sample is None else np.delete(asked[number], sample)
            cast = vote(tree, X_train[left] if out_of_bag else X_validation)
            if labels is None:
                votes[number, left] += cast
            else:
                votes[number, left[:, None], known] += cast
            voters[number, left] += 1

    def score(votes: np.ndarray, voters: np.ndarray) -> float:
        some = voters > 0
        means = (votes[some].T / voters[some]).T
        return pooled_value(recipe, outcome(recipe.task, labels, actual[some], means), fold[some])

    most = max(1, round(trees_of(estimator) / (len(folds) if out_of_bag else 1)))
    steps = [max(1, step // len(folds)) for step in (OUT_OF_BAG_STEPS if out_of_bag else FOLDS_STEPS)]
    steps = [step for step in steps if step < most] + [most] * (most <= steps[-1])
    with ThreadPoolExecutor(cpu_count()) as threads, warnings.catch_warnings():
        # class weights of a forest that grows: right here, where every fit has the same rows
        warnings.simplefilter("ignore", UserWarning)
        for step in steps:
            before = votes.sum(axis=0), voters.sum(axis=0)
            list(threads.map(grow, range(len(folds)), [step] * len(folds)))
            now = votes.sum(axis=0), voters.sum(axis=0)
            value = score(*now)
            if rule is not None and step == steps[-1] and before[1].any():
                # a part and the rest of the trees, each on its own
                halves = score(*before), score(now[0] - before[0], now[1] - before[1])
                each = float(now[1][now[1] > 0].mean())
                found = trees_needed(recipe.metric, value, float(np.mean(halves)), each)
                estimator.set_params(n_estimators=at_least(rule, found))
            yield step, value, step / steps[-1]


def trees_needed(metric: str, value: float, half: float, trees: float) -> float:
    """The trees past which a forest's score would rise by less than TREE_TOLERANCE of it, from its value with so many
    trees and with half of them.

    What a mean of trees falls short of that of all possible trees goes down as one by their number, as the variance of
    a mean does (Breiman 2001; exact for squared error): with a shortfall of c / trees, half the trees lack c / trees.
    """
    shortfall = lead(metric, value, half) * trees
    return shortfall / (TREE_TOLERANCE * abs(value)) if value else math.inf


def score_folds(recipe: Recipe, folds: Sequence[Fold], estimator: Any, seconds: float = math.inf) -> Steps:
    """Pooled score of the folds so far, from the first for which the metric is defined. With early stopping the
    validation rows say when to stop; the estimator gets the mean of the folds' best iterations. It has no more of them
    than can be fitted in about so many seconds, and no fewer than are timed.

    Where there is more than one core, the folds are fitted side by side, each on one, and looked at in their order.
    What is left when a trial is pruned is dropped.
    """
    settings = estimator.get_params()
    scikit, library = settings.get("early_stopping") is True, bool(settings.get(ROUNDS))
    stopped = (scikit and "max_iter" in settings) or (library and "n_estimators" in settings)
    one_thread = {name: 1 for name in THREADS if settings.get(name)}
    of_iterations = "n_estimators" if library else "max_iter"

    def judge(fold: Fold, own: Mapping[str, int] = one_thread) -> tuple[Predictions, int, float]:
        """The predictions for the validation rows, the best iteration, and the seconds that a row's prediction took."""
        X_train, y_train, X_validation, y_validation = fold
        fitted, best = clone(estimator).set_params(**own), 0
        # in order of time a class may come up after the rows that a fold learns from
        known = slice(None) if recipe.task == "regression" else np.isin(y_validation, y_train)
        with threadpool_limits(1, user_api="openmp"):
            if not stopped:
                fitted.fit(X_train, y_train)
            elif library:
                fitted.fit(X_train, y_train, eval_set=[(X_validation[known], y_validation[known])])
                # CatBoost counts from 0, and cuts what comes after the best one off
                best = getattr(fitted, "tree_count_", None) or fitted.best_iteration_
            else:
                fitted.set_params(n_iter_no_change=PATIENCE["early stopping"], scoring="loss")
                fitted.fit(X_train, y_train, X_val=X_validation[known], y_val=y_validation[known])
                best = max(1, int(np.argmax(fitted.validation_score_)))
            started = time.monotonic()
            if scikit and stopped:
                staged = fitted.staged_predict if recipe.task == "regression" else fitted.staged_predict_proba
                votes = next(islice(staged(X_validation), best - 1, None))
                judged = outcome(recipe.task, getattr(fitted, "classes_", None), y_validation, votes)
            else:
                judged = predict_preprocessed(fitted, X_validation, y_validation, recipe.task)
            return judged, best, (time.monotonic() - started) / len(y_validation)

    found: list[Predictions] = []
    iterations: list[int] = []
    cores = effective_n_jobs(threads_of(estimator))
    threads = ThreadPoolExecutor(cores)

    def time_of(iterations: int) -> float:
        """How long fits of so many iterations take, as many at once as there are cores."""
        started = time.monotonic()
        list(threads.map(partial(judge, own=one_thread | {of_iterations: iterations}), folds[:cores]))
        return time.monotonic() - started

    try:
        if stopped and seconds < math.inf:
            few, more = map(time_of, TIMED)
            each = max(more - few, 1e-9) / (TIMED[1] - TIMED[0]) * math.ceil(len(folds) / cores)
            most = max(TIMED[1], int((seconds - few - more) / each))
            estimator.set_params(**{of_iterations: min(settings[of_iterations], most)})
        for number, (judged, best, of_row) in enumerate((threads.map if cores > 1 else map)(judge, folds), 1):
            found.append(judged)
            iterations.append(best)
            setattr(estimator, SECONDS_A_ROW, of_row)
            if stopped and number == len(folds):
                mean = round(np.mean(iterations))
                off = {ROUNDS: None} if library else {"early_stopping": False}
                estimator.set_params(**{of_iterations: mean}, **off)
            fold = np.repeat(np.arange(number), [len(part.actual) for part in found])
            value = pooled_value(recipe, joined(found), fold)
            # ROC-AUC is not defined for rows of one class
            if math.isfinite(value) or number == len(folds):
                yield number, value, number / len(folds)
    finally:
        threads.shutdown(cancel_futures=True)


def outcome(task: str, labels: np.ndarray | None, actual: np.ndarray, votes: np.ndarray) -> Predictions:
    """What votes for rows of these targets (n,) come to: values (n,) as they are; of shares a label, sorted
    (n, classes), the label of the largest and the probabilities.
    """
    if labels is None:
        return Predictions(actual, votes)
    largest = labels[votes.argmax(axis=1)]
    if task == "binary":
        return Predictions(actual, largest, votes[:, 1])
    return Predictions(actual, largest, classes=labels, shares=votes)


def pooled_value(recipe: Recipe, judged: Predictions, fold: np.ndarray) -> float:
    """The recipe's metric for predictions of rows in folds (n,), of two classes labelled at the recipe's threshold. One
    that is to be chosen is chosen on the other folds; on every other row while there is one fold.

    To ten digits: the last ones depend on the processor, whose kernels add in another order, and would make another
    search of it.
    """
    if judged.score is not None:
        parts = np.arange(len(fold)) % 2 if (fold == fold[0]).all() else fold
        judged = by_other_folds(judged, parts, False, threshold_choice(recipe.threshold, recipe.judged_rows))
    return float(f"{metric_value(recipe.metric, judged):.10g}")


def preprocessed_folds(preprocessing: Any, rows: Rows, dtype: str) -> list[Fold]:
    """The folds as numbers, the preprocessing fitted on the training rows of each."""
    folds = []
    for train, validation in rows.folds:
        fitted = clone(preprocessing)
        # fit_transform, as target encoding is cross-fitted only there
        learned = fitted.fit_transform(rows.X.iloc[train], rows.y[train])
        learned = empty_columns_as_zero(as_numbers(learned, dtype))
        asked = as_numbers(fitted.transform(rows.X.iloc[validation]), dtype)
        folds.append((learned, rows.y[train], asked, rows.y[validation]))
    return folds


def as_numbers(features: Any, dtype: str) -> Any:
    """Preprocessed rows (n, k) in one type; a frame as it is."""
    return features if isinstance(features, DataFrame) else np.asarray(features, dtype=dtype)


def trees_of(estimator: Any) -> int:
    """The trees that a forest is to have. ValueError: they are no whole number of at least 1, which a forest that grows
    from one step to the next would not find out.
    """
    trees = estimator.n_estimators
    if not isinstance(trees, int) or trees < 1:
        raise ValueError(f"n_estimators is {trees!r}, no whole number of at least 1")
    return trees


def grow_forest(forest: Any, trees: int, X: np.ndarray, y: np.ndarray) -> list[Any]:
    """Grow a forest to so many trees; returns the new ones."""
    before = forest.n_estimators if hasattr(forest, "estimators_") else 0
    return forest.set_params(n_estimators=trees).fit(X, y).estimators_[before:]


def vote(tree: Any, features: np.ndarray) -> np.ndarray:
    """A tree's votes: values (n,) for regression, else a share a class (n, classes)."""
    return (tree.predict_proba if hasattr(tree, "predict_proba") else tree.predict)(features, check_input=False)
