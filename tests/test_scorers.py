"""How trials are scored: as the final model is, at its threshold, with as many trees or iterations as help."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, make_customers
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.metrics import f1_score, r2_score

from pipeline.metrics import METRICS, Predictions, metric_value, metrics_of
from pipeline.search import scorers
from pipeline.search.scorers import fewest_folds, pooled_value, trees_needed
from pipeline.search.space import at_least, space_of_task
from pipeline.search.trials import Objective, make_objective, propose, run_trial
from pipeline.settings import Config, load_config
from pipeline.tables.split import Parts, Rows, load_parts
from pipeline.training.assess import assess
from pipeline.training.build import Recipe, build_estimator, resolve_recipe
from pipeline.training.fit import empty_columns_as_zero


def customers(model: str, frame: pd.DataFrame, **facts: Any) -> tuple[Config, Recipe, Parts]:
    """The settings, a model's recipe and the rows of a table of customers."""
    dataset = {**PARAMS["datasets"]["customers"], "tune": model, **facts}
    dataset = {name: fact for name, fact in dataset.items() if fact is not None}
    params = {**PARAMS, "gates": {}, "datasets": {"customers": dataset}}
    params["search_spaces"] = {**PARAMS["search_spaces"], "linear": {}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    frame.to_csv("data/customers.csv", index=False)
    config = load_config()
    known = config.dataset("customers")
    return config, resolve_recipe(known, config, model), load_parts(known, config)


def score(recipe: Recipe, parts: Parts, space: dict[str, Any], slot: int = 0, way: str = "folds") -> Any:
    """A trial of a slot, without any before it."""
    objective = make_objective(recipe, space, (), way, parts.train, startup_trials=1)
    trial = run_trial(objective, [], propose(objective, [], [], slot), math.inf)
    assert trial is not None
    return trial


def with_a_rare_class() -> pd.DataFrame:
    frame = make_customers(900)
    chance = np.where(frame["tenure"] < 15, 0.2, 0.01)
    return frame.assign(left=np.where(np.random.default_rng(0).random(900) < chance, "Yes", "No"))


@pytest.mark.parametrize(
    ("metric", "threshold"),
    [
        *[("f1", "tuned"), ("f1", 0.3), ("f1", 0.5), ("accuracy", "tuned"), ("accuracy", 0.3), ("roc_auc", "tuned")],
        *[("f1", {"capacity": 20}), ("accuracy", {"cost": {"false_positive": 1, "false_negative": 5}})],
    ],
)
def test_a_trial_of_two_classes_has_the_score_that_the_final_model_is_judged_by(
    project: Path, metric: str, threshold: Any
) -> None:
    _, recipe, parts = customers("linear", make_customers(400), metric=metric, threshold=threshold)
    recipe = replace(recipe, judged_rows=parts.judged_rows)
    trial = score(recipe, parts, {"C": [0.01, 10.0]}, slot=1)
    settings = trial.user_attrs["settings"]
    assert settings["C"] != 1
    assert trial.value == pytest.approx(assess(recipe, parts, settings).cv[metric], rel=1e-9)
    assert len({assess(replace(recipe, threshold=t), parts, settings).cv[metric] for t in ("tuned", 0.3, 0.5)}) == (
        1 if metric == "roc_auc" else 3
    )


@pytest.mark.parametrize(
    ("task", "metric"),
    [(task, metric) for task in ("regression", "multiclass") for metric in metrics_of(task)],
)
@pytest.mark.parametrize("split", [None, "time"])
def test_a_trial_of_numbers_or_classes_has_the_score_that_the_final_model_is_judged_by(
    project: Path, task: str, metric: str, split: str | None
) -> None:
    frame = make_customers(400).assign(day=range(400))
    rng = np.random.default_rng(0)
    noisy = frame["tenure"] + 20 * (frame["plan"] == "year") + rng.normal(0, 9, 400)
    frame["left"] = noisy if task == "regression" else np.array(["a", "b", "c"])[np.digitize(noisy, [25, 55])]
    facts = {"task": task, "metric": metric, "split": {split: "day"} if split else None}
    _, recipe, parts = customers("linear", frame, positive=None, **{k: v for k, v in facts.items() if v})
    rule = {"alpha" if task == "regression" else "C": [0.01, 10.0]}
    trial = score(recipe, parts, rule, slot=1)
    value = assess(recipe, parts, trial.user_attrs["settings"]).cv[metric]
    assert trial.value == pytest.approx(value, rel=1e-9)


def best_threshold(actual: np.ndarray, found: np.ndarray) -> float:
    """By trying each: the best, half-way down to the next score; NaN where two are as good."""
    candidates = np.unique(found)
    values = np.array([f1_score(actual, found >= candidate, zero_division=0) for candidate in candidates])
    best = int(values.argmax())
    unique = np.isclose(values, values[best]).sum() == 1
    return (candidates[max(best - 1, 0)] + candidates[best]) / 2 if unique else math.nan


@pytest.mark.parametrize("folds", [1, 3])
def test_the_threshold_of_a_fold_is_that_of_the_other_rows(project: Path, folds: int) -> None:
    _, recipe, _ = customers("linear", make_customers(), metric="f1", threshold="tuned")
    rng, compared = np.random.default_rng(0), 0
    for _ in range(60):
        actual = (rng.random(90) < 0.2).astype(int)
        found = np.round(0.2 * actual + 0.6 * rng.random(90), 2)
        fold = rng.permutation(np.arange(90) % folds)
        parts = np.arange(90) % 2 if folds == 1 else fold
        labels = np.zeros(90, dtype=int)
        thresholds = [best_threshold(actual[parts != number], found[parts != number]) for number in np.unique(parts)]
        for number, threshold in zip(np.unique(parts), thresholds, strict=True):
            labels[parts == number] = found[parts == number] >= threshold
        if not np.isnan(thresholds).any():
            compared += 1
            judged = Predictions(actual, actual, found)
            assert pooled_value(recipe, judged, fold) == pytest.approx(f1_score(actual, labels))
    assert compared > 5


def test_a_score_of_exactly_the_threshold_counts_as_positive(project: Path) -> None:
    _, recipe, _ = customers("linear", make_customers(), metric="f1", threshold=0.3)
    actual, found = np.array([1, 0, 1, 0]), np.array([0.3, np.nextafter(0.3, 0), 0.9, 0.1])
    assert pooled_value(recipe, Predictions(actual, 1 - actual, found), np.arange(4) % 2) == 1
    assert pooled_value(recipe, Predictions(1 - actual, actual, found), np.arange(4) % 2) == 0
    # votes of trees come in steps, and half of them are often exactly half
    half = replace(recipe, threshold=0.5)
    judged = Predictions(np.array([1, 0]), np.zeros(2), np.array([0.5, 0.25]))
    assert pooled_value(half, judged, np.zeros(2)) == 1


@pytest.mark.parametrize(
    ("model", "way"), [("forest", "out of bag"), ("forest", "grown on folds"), ("linear", "folds")]
)
def test_trials_on_a_rare_class_do_not_score_0_where_the_threshold_is_tuned(
    project: Path, model: str, way: str
) -> None:
    frame, values = with_a_rare_class(), {}
    assert 0.02 < (frame["left"] == "Yes").mean() < 0.1
    for threshold in ("tuned", 0.5, 0.9):
        _, recipe, parts = customers(model, frame, metric="f1", threshold=threshold)
        space = space_of_task(PARAMS["search_spaces"][model], model, "binary")
        values[threshold] = [score(recipe, parts, space, slot, way).value for slot in (0, 1)]
    assert values[0.9] == [0, 0]
    # better than to call every row, or a row in five, positive
    everyone = f1_score(frame["left"] == "Yes", np.ones(len(frame)))
    assert all(value > 1.5 * everyone for value in values["tuned"])


@pytest.mark.parametrize("metric", ["r2", "rmse", "f1"])
def test_the_trees_needed_are_those_whose_shortfall_is_the_tolerance(
    monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    sign, rng = METRICS[metric].sign, np.random.default_rng(0)
    for _ in range(50):
        whole, lack, trees = rng.uniform(0.5, 0.9), rng.uniform(0.1, 2), rng.uniform(10, 60)

        def value(count: float, whole: float = whole, lack: float = lack) -> float:
            return whole - sign * lack / count

        found = []
        for tolerance in (0.01, 0.001, 0.0001):
            monkeypatch.setattr(scorers, "TREE_TOLERANCE", tolerance)
            found.append(trees_needed(metric, value(trees), value(trees / 2), trees))
            short = abs(whole - value(found[-1]))
            assert short == pytest.approx(tolerance * abs(value(trees)))
        assert found[0] < found[1] < found[2]
    # where half the trees are as good, or better, no more are needed
    assert trees_needed(metric, 0.5, 0.5, 30) == 0
    assert trees_needed(metric, 0.5, 0.5 + sign * 0.1, 30) < 0
    assert trees_needed(metric, 0.0, -sign * 0.1, 30) == math.inf


def test_a_rule_allows_the_least_number_that_is_enough() -> None:
    rules: list[Any] = [[50, 300], {"log": [50, 300]}, {"choice": [300, 50, 100]}]
    for rule in rules:
        allowed = sorted(rule["choice"]) if "choice" in rule else list(range(50, 301))
        for value in (-3, 0, 49.5, 50, 50.2, 99.999, 100, 100.001, 299.5, 300, 301, 1e9, math.inf):
            found = at_least(rule, value)
            assert found == min((number for number in allowed if number >= value), default=300)
            assert type(found) is int
    assert at_least([7, 7], 3) == at_least([7, 7], 30) == 7


def noisy_houses(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 6))
    return X, X[:, 0] * 2 + np.sin(3 * X[:, 1]) + X[:, 2] * X[:, 3] + rng.normal(0, 1, rows)


def test_a_forest_of_the_trees_found_is_as_good_as_one_of_the_most_trees(project: Path) -> None:
    X, y = noisy_houses(900, 0)
    frame = pd.DataFrame(X, columns=list("abcdef")).assign(left=y)
    facts = {"task": "regression", "metric": "r2", "positive": None, "drop": []}
    _, recipe, parts = customers("forest", frame, **facts)
    most = 1500
    X_new, y_new = noisy_houses(4000, 1)
    for way in ("out of bag", "grown on folds"):
        trial = score(recipe, parts, {"n_estimators": [2, most], "max_features": [0.3, 1.0]}, 1, way)
        settings = trial.user_attrs["settings"]
        found = settings["n_estimators"]
        # far from both ends, so that it was found
        assert 20 < found < most / 2
        votes = []
        for seed in range(2):
            forest = RandomForestRegressor(**{**settings, "n_estimators": most}, random_state=seed, max_depth=6)
            fitted = forest.fit(parts.train.X.to_numpy(), parts.train.y)
            votes += [tree.predict(X_new.astype("float32")) for tree in fitted.estimators_]
        of_all, few = r2_score(y_new, np.mean(votes, axis=0)), []
        for start in range(0, len(votes) - found + 1, found):
            few.append(r2_score(y_new, np.mean(votes[start : start + found], axis=0)))
        lack = (of_all - np.mean(few)) / of_all
        # the tolerance, within the noise of an estimate from the trees of one trial; trees that are cut to a third lack
        # more
        assert 0 < lack < 2 * scorers.TREE_TOLERANCE, (way, found, lack)


def test_the_first_trial_keeps_the_trees_of_the_baseline_and_others_find_them(project: Path) -> None:
    _, recipe, parts = customers("forest", make_customers(240))
    space = {"n_estimators": [10, 60], "max_depth": [2, 8]}
    first, second = (score(recipe, parts, space, slot, "out of bag") for slot in (0, 1))
    assert first.user_attrs["settings"] == {"n_estimators": 20, "max_depth": 6}
    assert 10 <= second.user_attrs["settings"]["n_estimators"] <= 60
    assert set(second.params) == {"max_depth"}
    # without a rule the baseline's stay
    other = score(recipe, parts, {"max_depth": [2, 8]}, 1, "out of bag")
    assert set(other.user_attrs["settings"]) == {"max_depth"}


@pytest.mark.parametrize("way", ["out of bag", "grown on folds"])
def test_a_forest_of_any_number_of_trees_is_scored(project: Path, way: str) -> None:
    _, recipe, parts = customers("forest", make_customers(240))
    for most in range(1, 45):
        trial = score(recipe, parts, {"n_estimators": [1, most]}, 1, way)
        assert trial.state.name == "COMPLETE", (most, trial.user_attrs)
        assert 1 <= trial.user_attrs["settings"]["n_estimators"] <= most
        first = score(replace(recipe, settings={**recipe.settings, "n_estimators": most}), parts, {}, 0, way)
        assert first.state.name == "COMPLETE", (most, first.user_attrs)


@pytest.mark.parametrize(("metric", "threshold"), [("f1", "tuned"), ("f1", 0.3), ("roc_auc", 0.5), ("r2", 0.5)])
def test_an_early_stopped_fold_is_scored_at_its_best_iteration(project: Path, metric: str, threshold: Any) -> None:
    frame, regression = make_customers(400), metric == "r2"
    facts: dict[str, Any] = {"metric": metric, "threshold": threshold}
    if regression:
        frame["left"] = frame["tenure"] + np.random.default_rng(0).normal(0, 20, 400)
        facts = {"metric": metric, "task": "regression", "positive": None}
    _, recipe, parts = customers("gradient_boosting", frame, **facts)
    space = {"max_iter": [5, 200], "learning_rate": [0.1, 0.4]}
    objective = make_objective(recipe, space, (), "early stopping", parts.train, startup_trials=1)
    proposed = propose(objective, [], [], 1)
    settings = dict(proposed.user_attrs["settings"])
    trial = run_trial(objective, [], proposed, math.inf)
    assert trial is not None
    # by hand: the iteration of the least loss, then a fit of so many
    found, found_last, fold, best, actual = [], [], [], [], []
    kind = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    preprocessing = scorers.build_preprocessing(recipe, objective.columns)
    for number, (train, validation) in enumerate(parts.train.folds):
        X = empty_columns_as_zero(preprocessing.fit_transform(parts.train.X.iloc[train], parts.train.y[train]))
        asked, y = preprocessing.transform(parts.train.X.iloc[validation]), parts.train.y
        options = build_estimator(recipe, objective.columns, settings).get_params()
        options |= {"scoring": "loss", "n_iter_no_change": scorers.PATIENCE["early stopping"]}
        stopped = kind(**options).fit(X, y[train], X_val=asked, y_val=y[validation])
        losses = -np.array(stopped.validation_score_)
        best.append(max(1, int(losses.argmin())))
        assert best[-1] < stopped.n_iter_
        options |= {"early_stopping": False}
        by_hand = kind(**options | {"max_iter": best[-1]}).fit(X, y[train])
        for votes, model in ((found, by_hand), (found_last, stopped)):
            votes.append(model.predict(asked) if regression else model.predict_proba(asked)[:, 1])
        fold += [number] * len(validation)
        actual.append(y[validation])
    pooled, by_last = (
        Predictions(np.concatenate(actual), votes, None if regression else votes)
        for votes in map(np.concatenate, (found, found_last))
    )
    assert trial.value == pytest.approx(pooled_value(recipe, pooled, np.array(fold)), rel=1e-9)
    if regression or metric == "roc_auc":
        assert trial.value == pytest.approx(metric_value(metric, pooled))
        last = metric_value(metric, by_last)
        assert trial.value != pytest.approx(last, rel=1e-6)
    assert trial.user_attrs["settings"]["max_iter"] == round(np.mean(best))
    assert trial.user_attrs["settings"]["early_stopping"] is False


@pytest.mark.parametrize(
    ("task", "share", "least", "kept"),
    [
        *[("regression", 0.5, 1, 2), ("regression", 0.5, 400, 2), ("regression", 0.5, 401, 3)],
        *[("regression", 0.5, 1000, 5), ("regression", 0.5, 10**30, 5)],
        # twice the rows of the rarer class
        *[("binary", 0.5, 400, 2), ("binary", 0.05, 41, 3), ("binary", 0.05, 80, 4), ("binary", 0.0, 1, 5)],
    ],
)
def test_trials_are_scored_on_as_many_folds_as_have_enough_rows(task: str, share: float, least: int, kept: int) -> None:
    y = np.tile(np.arange(200) < 200 * share, 5).astype(float if task == "regression" else int)
    folds = [(np.delete(np.arange(1000), own), own) for own in np.arange(1000).reshape(5, 200)]
    y[0] = 1
    found = fewest_folds(Rows(pd.DataFrame({"x": y}), y, folds), task, least)
    # in time the last ones have the most rows to learn from
    assert found is folds or found == folds[-kept:]
    assert len(found) == kept


@pytest.mark.parametrize(("seconds", "iterations"), [(math.inf, 300), (66.0, 300), (46.0, 200), (1.0, 50)])
def test_boosting_has_as_many_iterations_as_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch, seconds: float, iterations: int
) -> None:
    clock, fitted = [0.0], list[int]()

    class Timed(HistGradientBoostingRegressor):
        """Each iteration takes a tenth of a second of a simulated clock."""

        def fit(self, *rows: Any, **more: Any) -> Any:
            clock[0] += self.max_iter / 10
            fitted.append(self.max_iter)
            return super().fit(*rows, **more)

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(scorers, "effective_n_jobs", lambda jobs: 1)
    rng = np.random.default_rng(0)
    X = rng.random((60, 2))
    y = X[:, 0] + rng.normal(0, 0.1, 60)
    folds = [(X[:40], y[:40], X[40:], y[40:]), (X[20:], y[20:], X[:20], y[:20])]
    recipe = Recipe("model", Timed, {}, False, "regression", "r2", 0.5, {}, {}, frozenset(), 0)
    estimator = Timed(max_iter=300, early_stopping=True, learning_rate=0.05)
    steps = list(scorers.score_folds(recipe, folds, estimator, seconds=seconds))
    # two folds one after the other, beside one of 10 and one of 50 iterations
    assert fitted == [*([] if seconds == math.inf else [10, 50]), iterations, iterations]
    assert [number for number, *_ in steps] == [1, 2]
    assert estimator.max_iter <= iterations


@pytest.mark.parametrize(
    ("way", "slot", "bound"),
    [("early stopping", 0, False), ("early stopping", 1, True), ("early stopping", 2, False), ("folds", 1, False)],
)
def test_settings_that_are_tried_first_are_cut_by_time_and_not_given_up(way: str, slot: int, bound: bool) -> None:
    given: list[float] = []

    def scorer(estimator: Any, seconds: float = math.inf) -> Any:
        given.append(seconds)
        yield 1, 0.5, 0.5
        yield 2, 0.5, 1.0

    recipe = Recipe("model", HistGradientBoostingRegressor, {}, False, "regression", "r2", 0.5, {}, {}, frozenset(), 0)
    space, first = {"learning_rate": [0.1, 0.2]}, [{"learning_rate": 0.15}]
    objective = Objective(recipe, space, first, way, {"numbers": [], "categories": []}, scorer, 10, 0.0)
    trial = run_trial(objective, [], propose(objective, [], [], slot), -1.0)
    assert (given[0] < 0) == bound
    assert (trial is not None) == bound
