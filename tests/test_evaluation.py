import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS
from joblib.parallel import get_active_backend
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.metrics import Predictions, metric_value, scores
from pipeline.serving.model import TargetWords, served
from pipeline.serving.pyfunc import predictions
from pipeline.settings import load_config
from pipeline.tables.split import Rows, load_parts
from pipeline.training.assess import assess
from pipeline.training.build import resolve_recipe
from pipeline.training.fit import out_of_fold, predict
from pipeline.training.record import columns_of_source
from pipeline.training.threshold import best_f1_threshold


@pytest.fixture
def binary() -> Predictions:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    score = np.round(np.clip(0.3 * y + rng.random(300) * 0.7, 0, 1), 1)  # rounded: many ties
    return Predictions(y, (score >= 0.5).astype(int), score)


def test_binary_metrics_agree_with_scikit_learn(binary: Predictions) -> None:
    found = scores("binary", binary)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(binary.actual, binary.predicted))
    assert found["f1"] == pytest.approx(metrics.f1_score(binary.actual, binary.predicted))
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(binary.actual, binary.score))
    assert found["average_precision"] == pytest.approx(metrics.average_precision_score(binary.actual, binary.score))


def test_regression_metrics_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(1000, 1, 200)  # a large mean shows a cancelling formula
    p = Predictions(y, y + rng.normal(0, 0.5, 200))
    found = scores("regression", p)
    assert found["r2"] == pytest.approx(metrics.r2_score(y, p.predicted))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, p.predicted))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, p.predicted))


def test_multiclass_f1_is_the_mean_over_classes() -> None:
    y = np.array(["a", "a", "b", "c", "c", "c"])
    p = Predictions(y, np.array(["a", "b", "b", "c", "a", "c"]))
    assert metric_value("f1", p) == pytest.approx(metrics.f1_score(y, p.predicted, average="macro"))


def test_average_precision_without_a_positive_row_is_not_defined() -> None:
    assert np.isnan(metric_value("average_precision", Predictions(np.zeros(3), np.zeros(3), np.zeros(3))))


def test_the_threshold_has_the_best_f1_of_all(binary: Predictions) -> None:
    assert binary.score is not None
    found = best_f1_threshold(binary.actual, binary.score)
    best = max(metrics.f1_score(binary.actual, binary.score >= one) for one in np.linspace(0, 1, 1001))
    assert metrics.f1_score(binary.actual, binary.score >= found) == pytest.approx(best)
    # between two scores, as new rows fall there too
    assert not np.isclose(binary.score, found).any()


def test_equal_scores_have_no_threshold_but_the_half() -> None:
    assert best_f1_threshold(np.array([0, 1, 1]), np.full(3, 0.2)) == 0.5


def test_the_threshold_of_a_fold_comes_from_the_other_folds() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 90)
    X = pd.DataFrame({"x": y + rng.normal(0, 1, 90)})
    order = rng.permutation(90)
    folds = [(np.setdiff1d(order, part), part) for part in np.split(order, 3)]
    rows = Rows(X, y, folds)
    model = make_pipeline(StandardScaler(), FixedThresholdClassifier(LogisticRegression(), threshold=0.5))
    plain = out_of_fold(model, rows, "binary")
    tuned = out_of_fold(model, rows, "binary", tune_threshold=True)
    assert plain.score is not None
    assert tuned.score is not None
    assert np.array_equal(plain.score, tuned.score)
    assert np.array_equal(plain.predicted, plain.score >= 0.5)
    thresholds = {best_f1_threshold(y[train], plain.score[train]) for train, _ in folds}
    assert len(thresholds) == 3
    for train, validation in folds:
        threshold = best_f1_threshold(y[train], plain.score[train])
        assert np.array_equal(tuned.predicted[validation], plain.score[validation] >= threshold)


@pytest.mark.parametrize("threshold", [0.5, 0.3, "tuned"])
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
