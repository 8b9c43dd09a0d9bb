"""What a model has learned: known answers of partial dependence, of contributions, and of which rows are shown."""

import json
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, make_houses, take_in
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor, VotingClassifier, VotingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

import compare_results
import train
import validate
from pipeline.comparison.figures import dependence_words
from pipeline.comparison.words import LINES, parts_of
from pipeline.console import PipelineError
from pipeline.explain import cases, contributions
from pipeline.explain.cases import cell_words, explain_rows, number_words, pick_cases
from pipeline.explain.contributions import BACKGROUND
from pipeline.explain.dependence import GRID, MOST_WORDS, Dependence, grid, partial_dependence
from pipeline.explain.explanation import Explanation, explain_model
from pipeline.explain.importance import importance_intervals
from pipeline.explain.output import Output, output_of
from pipeline.metrics import Predictions
from pipeline.settings import Dataset
from pipeline.tables.split import Parts, Rows

NONE = np.zeros(0)


class Formula(RegressorMixin, BaseEstimator):
    """3 a, 2 more for a villa, 1 less where b is missing, and the year of the day; the column `idle` has no part."""

    def fit(self, X: Any, y: Any = None) -> "Formula":
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        years = X["day"].map(lambda day: 0 if day is None or day != day else int(day[:4]) - 2020)
        found = 3 * X["a"] + 2.0 * (X["kind"] == "villa") - 1.0 * X["b"].isna() + years.astype(float)
        return found.to_numpy()


def make_rows(rows: int = 300, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.normal(size=rows), "idle": rng.normal(size=rows)})
    frame.loc[rng.random(rows) < 0.2, "b"] = np.nan
    frame["kind"] = rng.choice(["flat", "villa", "hut"], rows).astype(object)
    frame["day"] = rng.choice(["2020-01-31", "2021-06-01", "2022-12-24"], rows).astype(object)
    frame.loc[:4, "kind"], frame.loc[5:8, "day"] = None, None
    return frame


def passthrough(X: pd.DataFrame) -> ColumnTransformer:
    """The columns as they are, as an ensemble's first step has them."""
    step = ColumnTransformer([("columns", "passthrough", [*X])], verbose_feature_names_out=False)
    return step.set_output(transform="pandas").fit(X)


def formula(X: pd.DataFrame) -> Output:
    return Output(Pipeline([("columns", passthrough(X)), ("model", Formula())]), "regression", "predicted y")


def parts_for(X: pd.DataFrame, y: np.ndarray, words: Sequence[Any] = (), **belonging: np.ndarray) -> Parts:
    rows = Rows(X, y, [], belonging)
    return Parts(rows, rows, None, tuple(words))


def dataset(task: str, **more: Any) -> Dataset:
    return Dataset(name="d", source="x.csv", file="data/d.csv", target="y", task=task, **more)


def test_partial_dependence_of_a_formula_is_the_formula_and_its_intervals_hold_that_of_all_rows() -> None:
    X, many = make_rows(), formula(make_rows()).values(make_rows(20_000, 1))
    own = partial_dependence(formula(X), X, {}, "a", "number", 0)
    assert len(own.values) == GRID
    assert np.allclose(np.diff(own.levels[:, 0]), 3 * np.diff(np.array(own.values)))
    assert own.missing is None
    # the mean of all other parts, over rows that were not seen
    truth = many.mean() - 3 * make_rows(20_000, 1)["a"].mean() + 3 * np.array(own.values)
    assert (own.levels[:, 1] < truth).all()
    assert (truth < own.levels[:, 2]).all()
    assert own.levels[0, 2] - own.levels[0, 1] < 1


def test_a_column_that_is_not_used_is_flat_and_said_to_be() -> None:
    own = partial_dependence(formula(make_rows()), make_rows(), {}, "idle", "number", 0)
    assert np.ptp(own.levels, axis=0).max() < 1e-9
    flat = replace(own, levels=np.tile(own.levels[:1], (len(own.values), 1)))
    assert re.fullmatch(r"The mean prediction is \S+ \[\S+, \S+\] whatever the value\.", dependence_words(flat))


def test_categories_dates_and_missing_values_have_levels_of_their_own() -> None:
    X = make_rows()
    kind = partial_dependence(formula(X), X, {}, "kind", "category", 0)
    levels = dict(zip(kind.values, kind.levels[:, 0], strict=True))
    assert [*kind.values][-1] == "villa"
    assert levels["villa"] - levels["hut"] == pytest.approx(2)
    assert levels["flat"] == pytest.approx(levels["hut"])
    assert kind.missing is not None
    assert kind.missing[0] == pytest.approx(levels["hut"])
    day = partial_dependence(formula(X), X, {}, "day", "date", 0)
    assert day.values == ["2020-01-31", "2021-06-01", "2022-12-24"]
    assert np.allclose(np.diff(day.levels[:, 0]), 1)
    b = partial_dependence(formula(X), X, {}, "b", "number", 0)
    assert b.missing is not None
    assert b.levels[0, 0] - b.missing[0] == pytest.approx(1)
    assert "Where it is missing: " in dependence_words(b)


def test_a_column_without_any_value_in_these_rows_is_left_out() -> None:
    X = make_rows(60).assign(b=np.nan)
    found = explain_model(
        formula(X).model, dataset("regression", metric="r2"), parts_for(X, X["a"].to_numpy()), {"a": 2.0, "b": 1.0}, 7
    )
    assert [own.column for own in found.dependence] == ["a"]


def test_a_grid_is_of_values_that_rows_have() -> None:
    a = pd.Series(np.random.default_rng(0).normal(size=500))
    found = grid(a, "number")
    assert len(found) == GRID
    assert set(found) <= set(a)
    assert a.quantile(0.02) < found[0] < found[-1] < a.quantile(0.98)
    assert grid(pd.Series([2.0, 1.0, 2.0, np.nan]), "number") == [1.0, 2.0]
    words = pd.Series([f"w{n}" for n in range(50) for _ in range(n + 1)], dtype=object)
    assert grid(words, "category") == [f"w{n}" for n in range(49, 49 - MOST_WORDS, -1)]


def test_rows_of_groups_have_wider_intervals_than_as_many_single_rows() -> None:
    X = make_rows(400)
    group = np.repeat(np.arange(20), 20)
    X["a"] = np.random.default_rng(1).normal(size=20)[group]
    single, grouped = (partial_dependence(formula(X), X, of, "b", "number", 0) for of in ({}, {"group": group}))
    widths = [float(np.diff(own.levels[0, 1:])[0]) for own in (single, grouped)]
    assert widths[1] > 2 * widths[0]


def test_contributions_of_a_linear_model_are_the_exact_shapley_values() -> None:
    pytest.importorskip("shap")
    X = make_rows()[["a", "idle"]].assign(b=1.5)
    X["b"] = np.random.default_rng(3).normal(size=len(X))
    model = Pipeline([("columns", passthrough(X)), ("model", LinearRegression().fit(X, 3 * X["a"] - 2 * X["b"] + 5))])
    output, background, rows = Output(model, "regression", "y"), X[:40], X[100:105]
    state = np.random.get_state()[1].copy()  # type: ignore[union-attr]
    found = contributions.contributions(output, rows, background, [["a"], ["idle"], ["b"]], 7)
    assert (np.random.get_state()[1] == state).all()  # type: ignore[union-attr]
    assert found is not None
    exact = (rows - background.mean())[["a", "idle", "b"]].to_numpy() * [3, 0, -2]
    assert np.allclose(found[1], exact)
    assert np.allclose(found[0] + found[1].sum(axis=1), output.values(rows))
    # columns that come in together
    both = contributions.contributions(output, rows, background, [["a"], ["idle", "b"]], 7)
    assert both is not None
    assert np.allclose(both[1], np.c_[exact[:, 0], exact[:, 1] + exact[:, 2]])


def test_contributions_of_words_dates_and_gaps_are_those_of_the_formula_and_the_same_in_each_call() -> None:
    pytest.importorskip("shap")
    X = make_rows()
    output, rows, background = formula(X), X[:6], X[50:90]
    base, found = contributions.contributions(output, rows, background, [[name] for name in X], 7) or (0.0, NONE)
    of = dict(zip(X, found.T, strict=True))
    assert base == pytest.approx(output.values(background).mean())
    assert np.allclose(of["idle"], 0)
    assert np.allclose(of["a"], 3 * (rows["a"] - background["a"].mean()))
    villas = [(frame["kind"] == "villa").astype(float) for frame in (rows, background)]
    assert np.allclose(of["kind"], 2 * (villas[0] - villas[1].mean()))
    assert np.allclose(of["b"], background["b"].isna().mean() - rows["b"].isna())
    again = contributions.contributions(output, rows, background, [[name] for name in X], 7)
    assert again is not None
    assert (again[1] == found).all()


def test_contributions_that_do_not_add_up_are_an_error() -> None:
    pytest.importorskip("shap")

    class Restless(Formula):
        def predict(self, X: pd.DataFrame) -> np.ndarray:
            return np.random.default_rng().normal(size=len(X))

    X = make_rows()
    output = Output(Pipeline([("columns", passthrough(X)), ("model", Restless())]), "regression", "y")
    with pytest.raises(PipelineError, match="do not add up"):
        contributions.contributions(output, X[:5], X[:20], [[name] for name in X], 7)


def ensemble(X: pd.DataFrame, y: np.ndarray, task: str) -> Pipeline:
    """Fitted models under one vote, as an ensemble is made of them."""
    regression = task == "regression"
    words = X.select_dtypes(object).columns
    encode = ColumnTransformer([("words", OneHotEncoder(handle_unknown="ignore"), words)], remainder="passthrough")
    fill = FunctionTransformer(lambda X: X.fillna({"b": 0.0, "day": "none", "kind": "none"}))
    forest = RandomForestRegressor if regression else RandomForestClassifier
    linear = Ridge() if regression else LogisticRegression()
    members = [
        (f"m{n}", FrozenEstimator(make_pipeline(fill, encode, one).fit(X, y)))
        for n, one in enumerate((forest(10, max_depth=4, random_state=0), linear))
    ]
    vote: Any = VotingRegressor(members) if regression else VotingClassifier(members, voting="soft")
    vote.fit(X, y)
    if task == "binary":
        vote = FixedThresholdClassifier(FrozenEstimator(vote), threshold=0.3).fit(X, y)
    return Pipeline([("columns", passthrough(X)), ("model", vote)])


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_an_ensemble_of_any_task_is_explained_in_whole(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contributions, "SETS", 30)
    X = make_rows(240)
    y: np.ndarray = formula(X).values(X)
    words: tuple[str, ...] = ()
    if task == "binary":
        y, words = (y > 2).astype(int), ("No", "Yes")
    if task == "multiclass":
        y = np.array(["low", "middle", "high"], dtype=object)[np.digitize(y, [0, 4])]
    parts = parts_for(X, y, words)
    importance = {"a": 0.5, "kind": 0.3, "day": 0.2, "idle": -0.1, "b": 0.1}
    model = ensemble(X, y, task)
    settings = {"metric": "r2" if task == "regression" else "accuracy", "types": {"day": "date"}}
    more = {"positive": "Yes"} if task == "binary" else {}
    found = explain_model(model, dataset(task, **settings, **more), parts, importance, 7)
    assert [(own.column, own.kind) for own in found.dependence] == [
        ("a", "number"),
        ("kind", "category"),
        ("day", "date"),
        ("b", "number"),
    ]
    told = {"regression": "predicted y", "binary": "probability of y = Yes", "multiclass": "probability of y = middle"}
    assert found.output == told[task]
    assert (found.rows, found.looked_at, found.whole, found.background) == (240, 240, True, BACKGROUND)
    assert len(found.cases) == 5
    assert all([*case.values] == ["a", "kind", "day", "b", "idle"] for case in found.cases)
    values = [case.value for case in found.cases[:3]]
    assert values == sorted(values)
    if task != "regression":
        assert {case.actual for case in found.cases} <= {*words, *np.unique(y).astype(str)}
    if importlib_has_shap():
        for case in found.cases:
            assert case.base is not None
            assert case.added is not None
            assert case.base + sum(case.added.values()) + case.rest == pytest.approx(case.value)
    again = explain_model(model, dataset(task, **settings, **more), parts, importance, 7)
    assert json.dumps([vars(case) for case in again.cases]) == json.dumps([vars(case) for case in found.cases])


def importlib_has_shap() -> bool:
    try:
        import shap  # noqa: F401
    except ImportError:
        return False
    return True


def test_classes_without_probabilities_are_explained_by_what_is_predicted() -> None:
    X = make_rows()[["a", "idle"]]
    y = np.array(["low", "high"])[(X["a"] > 0.2).astype(int)]
    model = Pipeline([("columns", passthrough(X)), ("model", RidgeClassifier().fit(X, y))])
    output = output_of(model, "multiclass", "y", parts_for(X, y))
    assert output.words == "share of rows predicted y = low"
    assert set(output.values(X)) == {0.0, 1.0}
    wrong = pick_cases(output, Predictions(np.array(["low", "high", "low"]), np.array(["low", "low", "low"])))
    assert wrong[1].endswith("the largest error")


def test_five_rows_are_shown_each_for_a_true_reason() -> None:
    output = Output(Pipeline([("model", Formula())]), "regression", "y")
    predicted = np.array([5.0, 1.0, 9.0, 3.0, 7.0, 2.0, 8.0])
    actual = predicted + np.array([0, 0, 0, 4, -3, 1, 0.5])
    assert pick_cases(output, Predictions(actual, predicted)) == {
        1: "the lowest prediction",
        0: "the median prediction",
        2: "the highest prediction",
        3: "the largest error",
        4: "the second largest error",
    }
    # one row with two reasons makes room for another error, and no error is none
    actual = predicted + np.array([0, 0, 5, 4, -3, 0, 0])
    assert pick_cases(output, Predictions(actual, predicted)) == {
        1: "the lowest prediction",
        0: "the median prediction",
        2: "the highest prediction, and the largest error",
        3: "the second largest error",
        4: "the third largest error",
    }
    assert len(pick_cases(output, Predictions(predicted, predicted))) == 3
    assert pick_cases(output, Predictions(predicted[:1], predicted[:1])) == {
        0: "the lowest prediction and median prediction and highest prediction"
    }


def test_of_many_columns_the_last_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("shap")
    monkeypatch.setattr(cases, "MOST_PLAYERS", 2)
    X = make_rows()
    output = formula(X)
    found = explain_rows(output, X, output.values(X) + 1, (), ["a", "b", "kind", "day", "idle"], 7)
    for case in found:
        assert case.added is not None
        assert [*case.added] == ["a", "b"]
        assert case.base is not None
        assert case.base + sum(case.added.values()) + case.rest == pytest.approx(case.value)
        shown, others = parts_of(case)
        assert [part.column for part in others] == ["kind", "day", "idle"]
        assert case.base + sum(part.added or 0.0 for part in shown) == pytest.approx(case.value)


def test_lines_of_a_row_add_up_and_leave_nothing_out() -> None:
    added = {f"c{n}": (-1) ** n * float(n) for n in range(10)}
    case = cases.Case("why", "1", "2", "3", 5.0, dict.fromkeys(added, "x"), 10.0, added)
    shown, others = parts_of(case)
    assert [part.column for part in shown] == ["c9", "c8", "c7", "c6", "c5", "c4", "4 other columns"]
    assert sum(part.added or 0.0 for part in shown) == pytest.approx(sum(added.values()))
    assert [part.column for part in others] == ["c3", "c2", "c1", "c0"]
    assert shown[0].size == 1
    plain, left = parts_of(replace(case, added=None, base=None))
    assert len(plain) == LINES
    assert [part.column for part in plain + left] == [*added]


def test_intervals_of_importance_widen_with_few_groups() -> None:
    importance = {"a": (0.2, 0.05), "b": (0.1, np.nan)}
    rows = Predictions(np.zeros(500), np.zeros(500))
    single = importance_intervals(importance, rows)
    assert [*single] == ["a"]
    assert single["a"] == pytest.approx((0.2 - 1.972 * 0.05, 0.2 + 1.972 * 0.05), abs=1e-4)
    few = replace(rows, group=np.repeat(np.arange(20), 25))
    assert importance_intervals(importance, few)["a"][0] == pytest.approx(0.2 - 2.093 * 0.05, abs=1e-4)
    # of a fifth of the groups
    assert importance_intervals(importance, few, 0.2)["a"][0] == pytest.approx(0.2 - 3.182 * 0.05, abs=1e-4)


def test_values_read_well() -> None:
    assert [number_words(value) for value in (3.0, 0.123456, 206855.21, -1638.4, 1e20)] == [
        "3",
        "0.1235",
        "206,855",
        "-1638",
        "1e+20",
    ]
    assert cell_words(None) == cell_words(np.nan) == "missing"
    assert cell_words("x" * 100) == "x" * 39 + "…"


def test_levels_are_told_with_the_digits_of_their_interval() -> None:
    levels = np.array([[1.23456, 1.21, 1.26], [2066.4, 2000.0, 2130.0]])
    own = Dependence("a", "category", ["low", "high"], levels)
    assert dependence_words(own) == (
        "The mean prediction is lowest, 1.235 [1.210, 1.260] at low, and highest, 2,066 [2,000, 2,130] at high."
    )


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two trained tables, compared."""
    folder = tmp_path_factory.mktemp("explained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        Path("params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
        take_in(make_houses().assign(sold="2024-05-01"))
        assert train.main([]) == 0
        assert compare_results.main([]) == 0
    return folder


@pytest.fixture
def copy(compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shutil.copytree(compared, tmp_path / "project"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Path("reports/comparison_report.html")


def learned(page: Path) -> list[str]:
    """The sections of what models have learned, without tags."""
    sections = re.findall(r'<section class="learned".*?</section>', page.read_text(), re.DOTALL)
    return [" ".join(re.sub(r"<[^>]*>", " ", section).split()) for section in sections]


def test_the_page_says_what_the_chosen_models_have_learned(compared: Path) -> None:
    pytest.importorskip("shap")
    houses, customers = learned(compared / "reports/comparison_report.html")
    for section, column in ((houses, "size"), (customers, "plan")):
        assert "Weakest segment of rows: " in section
        assert "The columns that matter most to it" in section
        assert f"Partial dependence on {column}" in section
        assert re.search(r"The mean prediction is lowest, \S+ \[\S+, \S+\] at ", section)
        assert "5 rows explained" in section
        for why in ("the lowest prediction", "the median prediction", "the highest prediction"):
            assert why in section
    assert "Contributions add up to the predicted price" in houses
    assert "Contributions add up to the probability of left = Yes" in customers


def test_the_page_is_the_same_in_each_call(copy: Path) -> None:
    before = learned(copy)
    assert compare_results.main([]) == 0
    assert learned(copy) == before


def test_without_shap_all_else_is_there_and_the_page_says_how_to_get_it(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shap", None)
    assert compare_results.main([]) == 0
    for section in learned(copy):
        assert "make explain installs it" in section
        assert "Partial dependence on" in section
        assert "the median prediction" in section
        assert "Contributions" not in section
        assert "Adds" not in section


def test_without_the_table_or_the_model_the_page_says_so(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("data/houses.csv").unlink()
    # the package of a model may not be installed where runs are compared
    for logged in Path("mlruns").rglob("model.pkl"):
        logged.unlink()
    assert compare_results.main([]) == 0
    houses, customers = learned(copy)
    assert "data/houses.csv was not there when this page was made" in houses
    assert "could not be loaded and asked for predictions" in customers
    assert "customers: " in capsys.readouterr().err
    for section in (houses, customers):
        assert "Weakest segment of rows: " in section
        assert "The columns that matter most to it" in section
        assert "Partial dependence on" not in section


def test_the_card_names_the_leading_columns_with_intervals(copy: Path) -> None:
    assert validate.main(["--promote"]) == 0
    card = Path("reports/customers/model_card.md").read_text()
    section = card.partition("## What it has learned")[2].partition("\n## ")[0]
    assert "permutation importance), with 95 % intervals" in section
    assert re.search(r"\| +plan +\| +0\.\d{4} +\| -?\d\.\d{4} to \d\.\d{4} +\|", section)


def test_an_explanation_knows_how_many_rows_it_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.explain.explanation.MOST_ROWS", 60)
    X = make_rows(90)
    found: Explanation = explain_model(
        formula(X).model, dataset("regression", metric="r2"), parts_for(X, X["a"].to_numpy()), {}, 7
    )
    assert (found.rows, found.looked_at, found.whole, found.background) == (60, 60, False, 60)
    assert not found.dependence
