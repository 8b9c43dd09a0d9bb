import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, ROOT
from joblib.parallel import get_active_backend
from sklearn import metrics
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, KFold
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.intervals import score_intervals
from pipeline.metrics import METRICS, Predictions, joined, metric_value, metrics_of, scores
from pipeline.serving.model import TargetWords, served
from pipeline.serving.pyfunc import predictions
from pipeline.settings import Cost, Decision, load_config
from pipeline.tables.split import Rows, load_parts
from pipeline.training.assess import assess, naive_predictions
from pipeline.training.build import resolve_recipe
from pipeline.training.calibration import by_other_folds
from pipeline.training.fit import out_of_fold, out_of_fold_and_fitted, predict, validating_fold
from pipeline.training.record import columns_of_source
from pipeline.training.threshold import (
    best_f1_threshold,
    capacity_threshold,
    least_cost_threshold,
    worth,
)


def test_binary_metrics_agree_with_scikit_learn(binary: Predictions) -> None:
    found = scores("binary", binary)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(binary.actual, binary.predicted))
    assert found["f1"] == pytest.approx(metrics.f1_score(binary.actual, binary.predicted))
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(binary.actual, binary.score))
    assert found["average_precision"] == pytest.approx(metrics.average_precision_score(binary.actual, binary.score))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(binary.actual, binary.predicted))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(binary.actual, binary.score))
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(binary.actual, binary.score))


def test_regression_metrics_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(1000, 1, 200)  # a large mean shows a cancelling formula
    p = Predictions(y, y + rng.normal(0, 0.5, 200))
    found = scores("regression", p)
    assert found["r2"] == pytest.approx(metrics.r2_score(y, p.predicted))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, p.predicted))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, p.predicted))
    assert found["median_absolute_error"] == pytest.approx(metrics.median_absolute_error(y, p.predicted))
    assert found["mape"] == pytest.approx(metrics.mean_absolute_percentage_error(y, p.predicted))


WEIGHTED: dict[str, Any] = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "log_loss": metrics.log_loss,
    "brier": metrics.brier_score_loss,
    "rmse": metrics.root_mean_squared_error,
    "mae": metrics.mean_absolute_error,
    "mape": metrics.mean_absolute_percentage_error,
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_count_as_in_scikit_learn(binary: Predictions, name: str) -> None:
    rng = np.random.default_rng(1)
    weights = rng.exponential(size=(3, 300))
    p, found = binary, binary.score if name in ("log_loss", "brier") else binary.predicted
    if "regression" in METRICS[name].tasks:
        y = rng.normal(3, 1, 300)
        p = Predictions(y, found := y + rng.normal(0, 1, 300))
    expected = [WEIGHTED[name](p.actual, found, sample_weight=w) for w in weights]
    assert METRICS[name].of(p)(weights) == pytest.approx(expected)


@pytest.mark.parametrize("rows", [1, 2, 7, 40])
def test_the_median_error_of_a_resample_is_that_of_its_rows(rows: int) -> None:
    rng = np.random.default_rng(rows)
    p = Predictions(np.zeros(rows), rng.integers(0, 9, rows).astype(float))
    counts = rng.multinomial(rows, np.full(rows, 1 / rows), 50)
    expected = [np.median(np.repeat(p.predicted, count)) for count in counts]
    assert METRICS["median_absolute_error"].of(p)(counts.astype(float)) == pytest.approx(expected)


def test_a_class_without_weight_has_no_part_in_balanced_accuracy() -> None:
    p = Predictions(np.array(["a", "a", "b", "c"]), np.array(["a", "b", "b", "a"]))
    weights = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [0, 0, 0, 2]], dtype=float)
    assert METRICS["balanced_accuracy"].of(p)(weights) == pytest.approx([0.5, 0.75, 0])


def test_certainty_that_was_wrong_costs_as_much_as_in_scikit_learn() -> None:
    p = Predictions(np.array([0, 1, 1]), np.array([0, 0, 1]), np.array([0.0, 0.0, 1.0]))
    assert metric_value("log_loss", p) == pytest.approx(metrics.log_loss(p.actual, p.score))


def test_an_error_has_no_share_of_an_actual_value_of_0() -> None:
    p = Predictions(np.array([0.0, 2.0, -4.0]), np.array([1.0, 3.0, -3.0]))
    assert metric_value("mape", p) == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert np.isnan(metric_value("mape", Predictions(np.zeros(2), np.ones(2))))


def test_the_naive_probability_is_the_share_of_the_class() -> None:
    y, judged = np.array([0, 0, 0, 1]), Predictions(np.array([0, 1]), np.array([0, 1]), np.array([0.2, 0.7]))
    found = scores("binary", naive_predictions("binary", y, judged))
    assert found["log_loss"] == pytest.approx(metrics.log_loss([0, 1], [0.25, 0.25]))
    assert (found["roc_auc"], found["f1"]) == (0.5, 0)
    words = np.array(["a", "b", "b", "c"])
    found = scores("multiclass", naive_predictions("multiclass", words, Predictions(words, words)))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(words, [[0.25, 0.5, 0.25]] * 4))
    assert (found["roc_auc"], found["accuracy"]) == (0.5, 0.5)


def test_multiclass_f1_is_the_mean_over_classes() -> None:
    y = np.array(["a", "a", "b", "c", "c", "c"])
    p = Predictions(y, np.array(["a", "b", "b", "c", "a", "c"]))
    assert metric_value("f1", p) == pytest.approx(metrics.f1_score(y, p.predicted, average="macro"))


@pytest.fixture
def three() -> Predictions:
    """Of three classes, with ties among the probabilities."""
    rng = np.random.default_rng(0)
    y = rng.choice(["a", "b", "c"], 300, p=[0.6, 0.3, 0.1])
    shares = np.round(rng.dirichlet([1, 1, 1], 300) + 0.4 * (y[:, None] == ["a", "b", "c"]), 1) + 0.01
    shares /= shares.sum(axis=1, keepdims=True)
    classes = np.array(["a", "b", "c"])
    return Predictions(y, classes[shares.argmax(axis=1)], classes=classes, shares=shares)


def test_multiclass_metrics_agree_with_scikit_learn(three: Predictions) -> None:
    y, labels = three.actual, three.predicted
    weights = np.vstack([np.ones(300), np.random.default_rng(1).exponential(size=(3, 300))])
    for row in weights:
        found = {name: METRICS[name].of(three)(row[None])[0] for name in metrics_of("multiclass")}
        assert found == pytest.approx(
            {
                "accuracy": metrics.accuracy_score(y, labels, sample_weight=row),
                "balanced_accuracy": metrics.balanced_accuracy_score(y, labels, sample_weight=row),
                "f1": metrics.f1_score(y, labels, average="macro", sample_weight=row),
                "roc_auc": np.mean(
                    [
                        metrics.roc_auc_score(y == label, share, sample_weight=row)
                        for label, share in zip("abc", three.shares.T, strict=True)
                    ]
                ),
                "log_loss": metrics.log_loss(y, three.shares, sample_weight=row),
            }
        )
    assert metric_value("roc_auc", three) == pytest.approx(metrics.roc_auc_score(y, three.shares, multi_class="ovr"))


def test_a_class_without_a_row_or_weight_has_no_part_in_roc_auc(three: Predictions) -> None:
    some = three.actual != "c"
    expected = np.mean(
        [metrics.roc_auc_score(three.actual[some] == label, three.shares[some, i]) for i, label in enumerate("ab")]
    )
    assert metric_value("roc_auc", three.of(some)) == pytest.approx(expected)
    assert METRICS["roc_auc"].of(three)(some[None].astype(float))[0] == pytest.approx(expected)
    assert np.isnan(metric_value("roc_auc", three.of(three.actual == "a")))


def test_a_model_without_probabilities_is_sure_of_what_it_predicts(three: Predictions) -> None:
    plain = Predictions(three.actual, three.predicted)
    sure = (three.predicted[:, None] == three.classes).astype(float)
    assert metric_value("log_loss", plain) == pytest.approx(metrics.log_loss(three.actual, sure))
    assert metric_value("roc_auc", plain) == pytest.approx(metrics.roc_auc_score(three.actual, sure, multi_class="ovr"))


def test_a_class_that_one_model_did_not_know_has_no_probability_there() -> None:
    first = Predictions(np.array([1, 5]), np.array([1, 5]), classes=np.array([1, 5]), shares=np.array([[0.9, 0.1]] * 2))
    other = Predictions(np.array([3, 5]), np.array([3, 3]), classes=np.array([3, 5]), shares=np.array([[0.6, 0.4]] * 2))
    found = joined([first, other])
    assert found.classes.tolist() == [1, 3, 5]
    assert found.shares.tolist() == [[0.9, 0, 0.1]] * 2 + [[0, 0.6, 0.4]] * 2
    # nor one that no model knows
    unknown = replace(other, actual=np.array([4, 5]))
    assert metric_value("log_loss", unknown) == pytest.approx(-np.log([np.finfo(float).eps, 0.4]).mean())


def test_average_precision_without_a_positive_row_is_not_defined() -> None:
    assert np.isnan(metric_value("average_precision", Predictions(np.zeros(3), np.zeros(3), np.zeros(3))))


def test_the_threshold_has_the_best_f1_of_all(binary: Predictions) -> None:
    assert binary.score is not None
    found = best_f1_threshold(binary.actual, binary.score)
    best = max(metrics.f1_score(binary.actual, binary.score >= one) for one in np.linspace(0, 1, 1001))
    assert metrics.f1_score(binary.actual, binary.score >= found) == pytest.approx(best)
    # between two scores, as new rows fall there too
    assert not np.isclose(binary.score, found).any()


@pytest.mark.parametrize("costs", [(1, 20), (3, 1), (1, 1), (1000, 1), (1, 1000)])
def test_the_threshold_costs_least_of_all(binary: Predictions, costs: tuple[int, int]) -> None:
    def costs_of(threshold: float) -> int:
        labels = binary.score >= threshold
        return costs[0] * (labels & (binary.actual == 0)).sum() + costs[1] * (~labels & (binary.actual == 1)).sum()

    assert binary.score is not None
    found = least_cost_threshold(*costs, binary.actual, binary.score)
    best = [
        threshold
        for threshold in np.linspace(0, 1.01, 1011)
        if costs_of(threshold) == min(map(costs_of, np.linspace(0, 1.01, 1011)))
    ]
    assert costs_of(found) == costs_of(best[0])
    # of several as good that with the fewest alarms
    assert (binary.score >= found).sum() == (binary.score >= best[-1]).sum()


@pytest.mark.parametrize("score", [0.3, 1.0])
def test_a_threshold_may_be_above_every_score(score: float) -> None:
    scores_of_rows = np.full(4, score)
    assert least_cost_threshold(2, 1, np.array([0, 0, 0, 1]), scores_of_rows) > score
    assert least_cost_threshold(1, 4, np.array([0, 0, 0, 1]), scores_of_rows) == score
    # three of four is not all of those that are alike
    assert capacity_threshold(0.75, np.zeros(4), scores_of_rows) > score
    assert capacity_threshold(1.0, np.zeros(4), scores_of_rows) == score


def test_no_more_rows_than_the_capacity_reach_the_threshold() -> None:
    rng = np.random.default_rng(0)
    for rows in (1, 7, 100):
        score, tied = rng.random(rows), np.round(rng.random(rows), 1)
        for capacity in range(1, rows + 1):
            # of ten times as many judged rows
            assert (score >= capacity_threshold(10 * capacity / (10 * rows), score, score)).sum() == capacity
            found = capacity_threshold(capacity / rows, tied, tied)
            assert (tied >= found).sum() <= capacity
            assert (tied >= max(tied[tied < found], default=0)).sum() > capacity or (tied >= found).all()


def test_cost_and_hits_are_those_of_the_labels_beside_those_of_other_ways(binary: Predictions) -> None:
    p = replace(binary, predicted=(binary.score >= 0.35).astype(int))

    def cost_of(labels: np.ndarray) -> float:
        false_alarms, missed = metrics.confusion_matrix(p.actual, labels).ravel()[1:3]
        return 1000 * (false_alarms + 20 * missed) / 300

    found = worth(Decision(cost=Cost(1, 20)), p, 0)
    assert found["cost"] == pytest.approx(cost_of(p.predicted), rel=1e-5)
    low, high = found["interval"]
    assert low < found["cost"] < high
    others = {"half": p.score >= 0.5, "nobody": np.zeros(300), "everybody": np.ones(300)}
    assert found["others"].keys() == others.keys()
    for way, labels in others.items():
        other = found["others"][way]
        assert other["cost"] == pytest.approx(cost_of(labels), rel=1e-5)
        assert other["saved"] == pytest.approx(other["cost"] - found["cost"], rel=1e-3)
        low, high = other["saved_interval"]
        assert low < other["saved"] < high
    # a mean's interval is that of the accuracy, where what costs is a mistake
    plain = worth(Decision(cost=Cost(1, 1)), p, 0)
    assert plain["interval"] == pytest.approx(
        [1000 * (1 - b) for b in score_intervals("binary", p, 0)["accuracy"]][::-1], rel=0.05
    )
    hits = worth(Decision(capacity=70), p, 0)
    assert (hits["capacity"], hits["rows"], hits["positives"]) == (70, 300, p.actual.sum())
    assert (hits["followed"], hits["hits"]) == (p.predicted.sum(), (p.predicted * p.actual).sum())
    half, random = hits["others"]["half"], hits["others"]["random"]
    assert half == {"hits": (p.actual * (p.score >= 0.5)).sum(), "followed": (p.score >= 0.5).sum()}
    at_random = pytest.approx(p.predicted.sum() * p.actual.mean(), rel=1e-5)
    assert random == {"hits": at_random, "followed": p.predicted.sum()}
    assert hits["interval"][0] < hits["hits"] < hits["interval"][1]
    # rows that belong together are drawn together
    grouped = replace(p, group=np.argsort(np.argsort(p.predicted, kind="stable")) // 30)
    assert np.ptp(worth(Decision(capacity=70), grouped, 0)["interval"]) > 2 * np.ptp(hits["interval"])
    assert worth("tuned", p, 0) is worth(0.3, p, 0) is None


def test_no_mistake_is_no_certainty_of_none() -> None:
    actual = np.arange(200) % 2
    p = Predictions(actual, actual, 0.1 + 0.8 * actual)
    found = worth(Decision(cost=Cost(1, 20)), p, 0)
    low, high = found["interval"]
    # the rule of three, at 97.5 %: of mistakes that cost as much as any
    assert (found["cost"], low) == (0, 0)
    assert high == pytest.approx(1000 * 20 * 3.689 / 200, rel=1e-3)
    # the same labels, and perhaps not the same on other rows
    low, high = found["others"]["half"]["saved_interval"]
    assert low < 0 < high
    assert found["others"]["nobody"]["saved_interval"][0] > 0
    missed = worth(Decision(capacity=5), replace(p, predicted=np.zeros(200, dtype=int)), 0)
    assert (missed["hits"], missed["followed"]) == (0, 0)
    assert missed["interval"] == pytest.approx([0, 3.689], rel=1e-3)
    groups = worth(Decision(cost=Cost(1, 20)), replace(p, group=np.arange(200) // 10), 0)
    assert groups["interval"][1] == pytest.approx(10 * 1000 * 20 * 3.689 / 200, rel=1e-3)


def test_the_interval_of_a_cost_holds_the_true_one_where_few_mistakes_are_dear() -> None:
    rng, holds = np.random.default_rng(0), 0
    for _ in range(200):
        # one in a hundred is missed, at twenty times the cost of a false alarm
        kind = rng.choice(3, 200, p=[0.79, 0.2, 0.01])
        p = Predictions((kind == 2).astype(int), (kind == 1).astype(int), np.zeros(200))
        low, high = worth(Decision(cost=Cost(1, 20)), p, 0)["interval"]
        holds += low <= 1000 * (0.2 + 20 * 0.01) <= high
    assert holds >= 190


def test_costs_in_any_unit_keep_their_digits(binary: Predictions) -> None:
    plain, small = (worth(Decision(cost=Cost(unit, 20 * unit)), binary, 0) for unit in (1, 1e-9))
    assert small["cost"] == pytest.approx(1e-9 * plain["cost"], rel=1e-5)
    assert small["interval"] == pytest.approx([1e-9 * bound for bound in plain["interval"]], rel=1e-5)


def test_equal_scores_have_no_threshold_but_the_half() -> None:
    assert best_f1_threshold(np.array([0, 1, 1]), np.full(3, 0.2)) == 0.5


def test_rows_without_a_positive_one_tell_no_best_threshold() -> None:
    # as in the other folds of a group that holds all of them
    assert best_f1_threshold(np.zeros(3, dtype=int), np.array([0.1, 0.2, 0.3])) == 0.5
    actual, score, fold = np.array([0, 0, 1, 1]), np.array([0.2, 0.6, 0.4, 0.7]), np.array([0, 0, 1, 1])
    labelled = by_other_folds(Predictions(actual, actual, score), fold, False, best_f1_threshold)
    assert [*labelled.predicted][2:] == [0, 1]


def test_the_best_threshold_lies_above_a_score_that_is_not_to_reach_it() -> None:
    # no number lies between two that are next to each other, and their mean is rounded to the even one
    for lower in (0.5, np.nextafter(0.5, 1)):
        score = np.array([lower, np.nextafter(lower, 1)])
        assert [*(score >= best_f1_threshold(np.array([0, 1]), score))] == [False, True]


def test_the_threshold_of_a_fold_comes_from_the_other_folds() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 90)
    X = pd.DataFrame({"x": y + rng.normal(0, 1, 90)})
    order = rng.permutation(90)
    folds = [(np.setdiff1d(order, part), part) for part in np.split(order, 3)]
    rows = Rows(X, y, folds)
    model = make_pipeline(StandardScaler(), FixedThresholdClassifier(LogisticRegression(), threshold=0.5))
    plain = out_of_fold(model, rows, "binary")
    tuned = by_other_folds(plain, validating_fold(folds), False, best_f1_threshold)
    assert plain.score is not None
    assert tuned.score is not None
    assert np.array_equal(plain.score, tuned.score)
    assert np.array_equal(plain.predicted, plain.score >= 0.5)
    thresholds = {best_f1_threshold(y[train], plain.score[train]) for train, _ in folds}
    assert len(thresholds) == 3
    for train, validation in folds:
        threshold = best_f1_threshold(y[train], plain.score[train])
        assert np.array_equal(tuned.predicted[validation], plain.score[validation] >= threshold)


@pytest.mark.parametrize(
    "threshold", [0.5, 0.3, "tuned", {"capacity": 5}, {"cost": {"false_positive": 1, "false_negative": 3}}]
)
def test_a_probability_of_exactly_the_threshold_is_positive_when_judged_and_when_served(
    project: Path, threshold: float | str
) -> None:
    params = copy.deepcopy(PARAMS)
    params["datasets"]["customers"]["threshold"] = threshold
    # few trees, whose votes are often a half
    params["models"]["forest"]["params"] = {"n_estimators": 4}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    config = load_config()
    dataset = config.dataset("customers")
    parts, recipe = load_parts(dataset, config), resolve_recipe(dataset, config, "forest")
    model = assess(recipe, parts).model
    if threshold != 0.5:
        # here on one of the scores
        scores_of_rows = np.unique(predict(model, parts.test.X, parts.test.y, "binary").score)
        model.set_params(model__threshold=float(scores_of_rows[len(scores_of_rows) // 2]))
    judged = predict(model, parts.test.X, parts.test.y, "binary")
    ties = judged.score == getattr(model[-1], "threshold", 0.5)
    assert ties.any()
    assert judged.predicted[ties].all()
    answer = predictions(served(model, columns_of_source(recipe, parts), parts.words), parts.test.X)
    assert [*answer["probability_Yes"]] == [*judged.score]
    assert [*answer["prediction"]] == [parts.words[label] for label in judged.predicted]


def test_a_served_forest_adds_up_its_trees_in_the_order_of_the_judged_one() -> None:
    class Watched:
        def predict_proba(self, X: np.ndarray) -> np.ndarray:
            self.backend = type(get_active_backend()[0]).__name__
            return np.full((len(X), 2), 0.5)

    forest = Watched()
    assert [*TargetWords(forest, ("No", "Yes"), 0.5).predict(np.zeros((2, 1)))] == ["Yes", "Yes"]
    assert forest.backend == "SequentialBackend"


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingRegressor(max_iter=30, early_stopping=False, random_state=0),
        KNeighborsRegressor(3, n_jobs=-1),
        RandomForestRegressor(20, random_state=0, n_jobs=-1),
    ],
)
def test_a_model_fitted_beside_the_folds_is_the_one_fitted_alone(estimator: Any) -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.random(90), "z": rng.random(90)})
    y = np.asarray(X["x"] + rng.normal(0, 0.1, 90))
    rows = Rows(X, y, list(KFold(3).split(X)))
    model, ended = Pipeline([("all", "passthrough"), ("model", estimator)]), list[int]()
    predictions, fitted, seconds = out_of_fold_and_fitted(model, rows, "regression", ended.append)
    assert np.array_equal(predictions.predicted, out_of_fold(model, rows, "regression").predicted)
    alone = predict(clone(model).fit(X, y), X, y, "regression")
    assert np.array_equal(predict(fitted, X, y, "regression").predicted, alone.predicted)
    assert ended == [1, 2, 3]
    assert seconds > 0
    # it keeps no part of the folds' settings
    assert fitted[-1].get_params() == estimator.get_params()


# The first fold is over at once; the others are given up while they learn.
GIVEN_UP = """
import time
import numpy as np
import pandas as pd
from sklearn.dummy import DummyRegressor
from sklearn.pipeline import Pipeline
from pipeline.tables.split import Rows
from pipeline.training.fit import out_of_fold

class Slow(DummyRegressor):
    def __init__(self, n_jobs=3):
        super().__init__()
        self.n_jobs = n_jobs
    def fit(self, X, y):
        time.sleep(0.1 if len(y) == 10 else 2.0)
        print(len(y), "rows learned from", flush=True)
        return super().fit(X, y)

def give_up(number):
    raise SystemExit(7)

rows = np.arange(40)
folds = [(rows[:10], rows[10:20]), (rows[:20], rows[20:30]), (rows[:30], rows[30:])]
model = Pipeline([("all", "passthrough"), ("model", Slow())])
out_of_fold(model, Rows(pd.DataFrame({"x": rows}), rows, folds), "regression", give_up)
"""


def test_a_process_ends_after_the_folds_that_it_has_begun() -> None:
    ended = subprocess.run([sys.executable, "-c", GIVEN_UP], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout.count("rows learned from")) == (7, 3), ended.stderr


def test_blas_has_one_thread_where_models_are_fitted() -> None:
    limits = "[each['num_threads'] for each in threadpool_info() if each['user_api'] == 'blas']"
    code = f"from threadpoolctl import threadpool_info; import {{}}; print({limits})"
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    numbers = [
        json.loads(subprocess.check_output([sys.executable, "-c", code.format(name)], cwd=ROOT, env=environment))
        for name in ("sklearn.linear_model", "pipeline.training.fit", "pipeline.search.scorers")
    ]
    # numpy's and scipy's; as many as the environment says where nothing else does
    assert [set(each) for each in numbers] == [{2}, {1}, {1}]
