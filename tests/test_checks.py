"""Each check of a model is seen to alarm, to stay silent, and to say that it cannot tell."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, ROOT, make_customers, make_houses
from sklearn.linear_model import LinearRegression

import compare_results
import generate_data
import train
import tune_hyperparameters
from pipeline.checks.calibration import calibration
from pipeline.checks.check import CHECKS, measured
from pipeline.checks.edges import beyond, place_of, winner_at_the_edge
from pipeline.checks.finding import Finding
from pipeline.checks.folds import folds_disagree
from pipeline.checks.levels import holm, jackknife_error, permutation_chance, redrawn, unseen_error, without_each_group
from pipeline.checks.rivals import Rival, overfitting, simpler_as_good
from pipeline.checks.segments import segments, weakest_segment
from pipeline.checks.single_columns import by_column, column_gives_target_away, useless_columns
from pipeline.checks.twins import same_rows
from pipeline.metrics import Predictions, metric_value
from pipeline.tables.split import Rows
from pipeline.training.build import Recipe, build_model
from pipeline.training.fit import fit
from pipeline.training.importance import importances


def regression(n: int, error: float, seed: int = 0) -> Predictions:
    """The same targets for every error."""
    rng = np.random.default_rng(seed)
    signal, noise, own = rng.normal(size=(3, n))
    return Predictions(signal + 0.3 * noise, signal + error * own)


def classes(n: int, seed: int = 0, stretch: float = 1.0) -> Predictions:
    """Of true probabilities, whose log-odds are stretched."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 1.5, n)
    actual = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(int)
    score = 1 / (1 + np.exp(-stretch * logit))
    return Predictions(actual, (score >= 0.5).astype(int), score)


def rivals(metric: str, models: list[Predictions], train: list[float]) -> list[Rival]:
    without = without_each_group(metric, models, np.arange(len(models[0].actual)), 0)
    return [
        Rival(f"m{k}", 10 ** (6 - 2 * k), score, metric_value(metric, p), without[:, k])
        for k, (p, score) in enumerate(zip(models, train, strict=True))
    ]


def overfit(own: float, other: float, pooled: float, n: int = 600, train: tuple[float, float] = (0.99, 0.9)) -> Finding:
    models = [regression(n, own), regression(n, other)]
    first, *others = rivals("r2", models, list(train))
    promised = regression(2400, pooled, seed=1)
    return overfitting("regression", "r2", first, others, promised, models[0], None, False, 0)


def test_a_gap_to_the_training_rows_is_no_fault_by_itself() -> None:
    found = overfit(0.4, 0.4, 0.4)
    assert found.alarm is False
    assert found.sentence.startswith("It reaches R² 0.9900 on its training rows and 0.7")


def test_overfitting_is_to_fit_closer_and_do_worse_or_to_keep_no_promise() -> None:
    found = overfit(0.6, 0.4, 0.6)
    assert found.alarm
    assert "m1 fits its training rows less well (0.9000), and is better on the judged ones by +0.2" in found.sentence
    # a better model that fits more closely is only better
    assert overfit(0.6, 0.4, 0.6, train=(0.9, 0.99)).alarm is False
    found = overfit(0.6, 0.6, 0.3)
    assert found.alarm
    assert "less than chance explains (p < 0.001)" in found.sentence
    assert overfit(0.3, 0.3, 0.3, n=20).alarm is None


def test_a_promise_is_tested_by_whole_groups_and_not_in_order_of_time() -> None:
    pooled, test = regression(2400, 0.3, seed=1), regression(600, 0.6)
    [own] = rivals("r2", [test], [0.9])
    for units, in_order, alarm in ((None, False, True), (np.arange(3000) // 10, False, True), (None, True, False)):
        assert overfitting("regression", "r2", own, [], pooled, test, units, in_order, 0).alarm is alarm


def test_a_simpler_model_is_as_good_only_where_that_is_shown() -> None:
    def found(n: int, other: float, naive: float | None = 0.0) -> Finding:
        large, small = regression(n, 0.4), regression(n, other)
        # with errors of its own
        models = [large, replace(small, predicted=small.predicted + 0.1 * np.random.default_rng(9).normal(size=n))]
        own, small = rivals("r2", models, [0.9, 0.9])
        return simpler_as_good("regression", "r2", own, [small], naive, models[0].actual, n)

    assert found(4000, 0.4).alarm
    assert "100 times smaller, is as good" in found(4000, 0.4).sentence
    assert "is worse" in found(4000, 0.8).sentence
    assert found(4000, 0.8).alarm is False
    # no difference is shown, nor that there is none
    assert "is not shown to be as good" in found(60, 0.4).sentence
    assert found(20, 0.4).alarm is None
    assert found(4000, 0.4, naive=None).alarm is None
    [own] = rivals("r2", [regression(60, 0.4)], [0.9])
    assert (
        "No other model is half as large"
        in simpler_as_good("regression", "r2", own, [], 0.0, np.zeros(60), 60).sentence
    )


@pytest.mark.parametrize("task", ["regression", "binary"])
def test_folds_disagree_where_one_is_broken(task: str) -> None:
    pooled = regression(1000, 0.3) if task == "regression" else classes(1000)
    metric, fold = ("r2" if task == "regression" else "accuracy"), np.arange(1000) % 5 + 1
    assert folds_disagree(task, metric, pooled, fold, False, False, 0).alarm is False
    predicted = pooled.predicted.copy()
    predicted[fold == 4] = np.random.default_rng(0).permutation(predicted[fold == 4])
    found = folds_disagree(task, metric, replace(pooled, predicted=predicted), fold, False, False, 0)
    assert found.alarm
    assert "fold 4 with" in found.sentence
    assert folds_disagree(task, metric, pooled, fold, True, True, 0).alarm is None
    assert folds_disagree(task, metric, pooled.of(slice(20)), fold[:20], False, False, 0).alarm is None


def test_folds_of_one_class_have_no_ranking() -> None:
    pooled = classes(200)
    assert folds_disagree("binary", "roc_auc", pooled, pooled.actual + 1, False, False, 0).alarm is None


def rows_of(X: pd.DataFrame, y: np.ndarray) -> Rows:
    number = np.arange(len(y)) % 5
    return Rows(X, y, [(np.flatnonzero(number != k), np.flatnonzero(number == k)) for k in range(5)])


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_a_column_that_gives_the_target_away_is_named(task: str) -> None:
    rng = np.random.default_rng(0)
    y = {
        "regression": rng.normal(size=600),
        "binary": rng.integers(2, size=600),
        "multiclass": rng.choice(["a", "b", "c"], 600),
    }[task]
    words = pd.Series(y).map({0: "no", "a": "A", "b": "B"} if task != "regression" else str)
    X = pd.DataFrame({"x": rng.normal(size=600), "<b> %s": y * 3.0 + 1 if task == "regression" else words})
    X.loc[:20, "x"] = np.nan
    found = column_gives_target_away(task, rows_of(X, y), [*X], None)
    assert found.alarm
    assert "<b> %s with 9" in found.sentence
    assert "x with" not in found.sentence
    found = column_gives_target_away(task, rows_of(X, y), ["x"], None)
    assert found.alarm is False
    assert "the most is x with" in found.sentence
    thin = rows_of(X[:25], y[:25])
    assert column_gives_target_away(task, thin, [*X], None).alarm is None


def test_a_word_that_training_rows_lack_says_nothing() -> None:
    column, Y = pd.Series(["a", "a", "b", None]), np.array([[1.0], [3.0], [9.0], [5.0]])
    found = by_column(column, Y, np.array([0, 1]), np.array([0, 2, 3]))
    assert found.ravel().tolist() == [2, 2, 2]


def test_useless_columns_are_those_shown_to_cost_nothing() -> None:
    y = np.arange(100) % 2
    importance = {"a": (0.2, 0.01), "b": (0.0001, 0.0005), "c": (0.0, 0.1), "d": (0.0, 0.0), "e": (0.0, np.nan)}
    found = useless_columns("binary", "accuracy", importance, 0.9, 0.5, y, 0.0)
    assert found.alarm
    assert found.sentence.startswith("2 of 5 columns")
    assert re.findall(r"[:,] (\w) -?\d", found.sentence) == ["d", "b"]
    found = useless_columns("binary", "accuracy", {"a": (0.2, 0.01), "c": (0.0, 0.1)}, 0.9, 0.5, y, 0.0)
    assert found.alarm is False
    assert "the least is c with" in found.sentence
    # few groups of rows show less
    few = useless_columns("binary", "accuracy", importance, 0.9, 0.5, y, 0.0, freedom=2)
    assert few.sentence.startswith("1 of 5 columns")
    assert useless_columns("binary", "accuracy", importance, 0.5, 0.5, y, 0.0).alarm is None
    assert useless_columns("binary", "accuracy", importance, 0.9, 0.5, y[:20], 0.0).alarm is None
    assert (
        useless_columns("binary", "accuracy", importance, 0.9, 0.5, (np.arange(100) < 4).astype(int), 0.0).alarm is None
    )


def test_the_error_of_an_importance_goes_by_the_groups_that_rows_come_in() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(30), 20)
    X = pd.DataFrame({"a": rng.normal(size=30)[group], "b": rng.normal(size=600)})
    y = (X["a"] + X["b"]).to_numpy() + rng.normal(size=30)[group]
    recipe = Recipe("m", LinearRegression, {}, True, "regression", "r2", 0.5, {}, {}, frozenset(), 0)
    model = fit(build_model(recipe, X), X, y)
    single, grouped = (importances(model, recipe, Rows(X, y, [], kept)) for kept in ({}, {"group": group}))
    assert single["a"][0] == grouped["a"][0]
    assert grouped["a"][1] > 1.3 * single["a"][1]


def parts_of(seed: int = 0, fine: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.normal(size=1000), "kind": rng.choice(["a", "b"], 1000)})
    frame["target"] = rng.integers(2, size=1000).astype(float)
    if not fine:
        frame["x"] = np.round(frame["x"])
    frame.loc[::50, "kind"] = None
    return frame[:800].reset_index(drop=True), frame[800:].reset_index(drop=True)


def test_the_same_rows_in_both_parts_are_copies_where_chance_brings_none() -> None:
    train_part, test_part = parts_of()
    assert same_rows(train_part, test_part).alarm is False
    copied = pd.concat([test_part, train_part[:40]], ignore_index=True)
    found = same_rows(train_part, copied)
    assert found.alarm
    assert found.sentence.startswith("40 of 240 rows of the test part (16.7%) equal a training row in every column")


def test_rows_that_are_alike_by_chance_are_no_copies() -> None:
    # a few values only: each is too frequent to tell, or its neighbour has as many such rows
    assert same_rows(*parts_of(fine=False)).alarm is not True
    words = [part.drop(columns=["x", "target"]) for part in parts_of()]
    found = same_rows(*words)
    assert found.alarm is None
    assert "200 of 200" in found.sentence


SPACE = {"a": [1, 9], "b": {"log": [0.01, 1.0]}, "c": {"choice": [1, 2]}}


def trials_of(n: int, slope: float) -> list[tuple[dict[str, str], float]]:
    rng = np.random.default_rng(0)
    settings = [{"a": str(rng.integers(1, 10)), "b": str(0.1 ** rng.uniform(0, 2)), "c": "1"} for _ in range(n)]
    return [({}, 0.0), *((s, slope * int(s["a"]) - np.log(float(s["b"]) / 0.1) ** 2 + rng.normal()) for s in settings)]


def test_a_winner_at_the_edge_alarms_where_trials_get_better_towards_it() -> None:
    def found(a: str, slope: float, n: int = 60, allowed: bool = True) -> Finding:
        return winner_at_the_edge({"a": a, "b": "0.1", "c": "2"}, SPACE, trials_of(n, slope), lambda *_: allowed)

    assert found("9", 0.8).alarm
    assert "a 9 of 1 to 9" in found("9", 0.8).sentence
    assert found("9", 0.0).alarm is False
    assert "is not shown (p = " in found("9", 0.0).sentence
    assert found("1", 0.8).alarm is False
    assert found("5", 0.8).alarm is False
    assert found("9", 0.8, n=10).alarm is None
    # what the estimator refuses is no lack of the search
    assert found("9", 0.8, allowed=False).alarm is False
    assert found("None", 0.8).alarm is False
    # nor is a value outside the range, which the search did not find
    assert found("10", 0.8).alarm is False


def test_places_in_a_range_and_beyond_it() -> None:
    assert [place_of(v, [1, 9]) for v in ("1", 5, "9")] == [0, 0.5, 1]
    assert place_of("0.1", {"log": [0.01, 1]}) == pytest.approx(0.5)
    assert np.isnan([place_of(v, [1, 9]) for v in (None, "sqrt")]).all()
    assert np.isnan(place_of(0, {"log": [0.01, 1]}))
    assert (beyond([1, 9], 1), beyond([1, 9], -1)) == (10, 0)
    assert beyond([0.0, 1.0], 1) == pytest.approx(1.1)
    assert beyond({"log": [0.01, 1.0]}, -1) == pytest.approx(0.01 / 100**0.1)


def test_folds_of_groups_are_not_judged() -> None:
    pooled, fold = classes(500), np.arange(500) % 5
    found = folds_disagree("binary", "roc_auc", pooled, fold, True, False, 0)
    assert found.alarm is None
    assert "folds of whole groups may differ as the groups do" in found.sentence


def test_a_column_whose_rare_value_did_not_come_up_is_not_called_useless() -> None:
    y, never = np.arange(200) % 2, {"flag": (0.0, 0.0)}
    judged = Predictions(y, np.where(np.arange(200) % 5 == 0, 1 - y, y))
    without = without_each_group("accuracy", [judged], np.arange(200), 0)[:, 0]
    unseen = unseen_error(without, 200, 200)
    assert unseen == pytest.approx(3 * 0.4 / 200, rel=0.1)
    assert useless_columns("binary", "accuracy", never, 0.8, 0.5, y, 0.0).alarm
    assert useless_columns("binary", "accuracy", never, 0.8, 0.5, y, unseen).alarm is False


def test_calibration_of_true_and_of_stretched_probabilities() -> None:
    assert calibration("binary", classes(2000), None, False, 0).alarm is False
    found = calibration("binary", classes(2000, stretch=1.6), None, False, 0)
    assert found.alarm
    assert "they are too extreme" in found.sentence
    assert "they are too cautious" in calibration("binary", classes(2000, stretch=0.5), None, False, 0).sentence
    groups = np.arange(2000) // 10
    assert calibration("binary", classes(2000), groups, False, 0).alarm is False
    assert calibration("binary", classes(2000, stretch=1.6), groups, False, 0).alarm
    for thin in (classes(20), classes(200).of(classes(200).actual == 1)):
        assert calibration("binary", thin, None, False, 0).alarm is None
    assert calibration("binary", classes(200), np.arange(200) // 50, False, 0).alarm is None
    assert "Not applicable" in calibration("regression", regression(100, 0.3), None, False, 0).sentence


def test_bins_find_what_mean_and_spread_do_not() -> None:
    p = classes(4000)
    assert p.score is not None
    rng = np.random.default_rng(1)
    # too low where low and where high, too high between: mean and spread are about right
    true = (p.score + np.where(abs(p.score - 0.5) < 0.25, -0.08, 0.08)).clip(0.01, 0.99)
    found = calibration("binary", replace(p, actual=(rng.random(4000) < true).astype(int)), None, False, 0)
    assert found.alarm


def columns(n: int = 1200) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    X = pd.DataFrame({"<i>size": rng.normal(size=n), "day": rng.choice(["2024-01-01", "2024-05-01"], n)})
    X["kind"] = rng.choice(["flat", "hut", "villa"], n)
    X.loc[rng.random(n) < 0.2, "<i>size"] = np.nan
    X["constant"] = 1.0
    return X


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
@pytest.mark.parametrize("weak", ["kind = villa", "<i>size is missing"])
def test_the_weakest_segment_is_found_with_its_size_and_interval(task: str, weak: str) -> None:
    X, rng = columns(), np.random.default_rng(0)
    rows = next(segment.rows for segment in segments(X, {"day"}) if segment.words == weak)
    wrong = rng.random(len(X)) < np.where(rows, 0.6, 0.1)
    actual = rng.integers(2, size=len(X))
    if task == "multiclass":
        actual = np.array(["a", "b"])[actual]
    other = np.where(actual == "a", "b", "a") if task == "multiclass" else 1 - actual
    judged = Predictions(actual, np.where(wrong, other, actual))
    if task == "regression":
        judged = Predictions(np.zeros(len(X)), rng.normal(size=len(X)) * np.where(rows, 3, 1))
    found = weakest_segment(task, judged, X, {"day"}, None, 0)
    assert found.alarm
    assert found.sentence.startswith(f"{weak} ({rows.sum():,} rows, {rows.mean():.0%}): ")
    assert re.search(r"\d\.\d\d times as much \[\d\.\d\d, \d+\.\d\d\]", found.sentence)
    even = Predictions(actual, np.where(rng.random(len(X)) < 0.1, other, actual))
    if task == "regression":
        even = Predictions(np.zeros(len(X)), rng.normal(size=len(X)))
    assert weakest_segment(task, even, X, {"day"}, None, 0).alarm is False
    few = weakest_segment(task, judged.of(slice(40)), X[:40], {"day"}, None, 0)
    assert few.alarm is None
    assert weakest_segment(task, judged, X[["constant"]], (), None, 0).alarm is None
    # the rows of a group are one observation: twelve groups show nothing
    assert weakest_segment(task, judged, X, {"day"}, np.arange(len(X)) // 100, 0).alarm is not None


def test_segments_are_quarters_words_and_what_is_missing() -> None:
    words = [segment.words for segment in segments(columns(), {"day"})]
    assert words[0] == "<i>size is missing"
    assert len([word for word in words if word.startswith("<i>size")]) == 5
    assert {"day = 2024-01-01", "day = 2024-05-01", "kind = hut"} <= {*words}
    assert not [word for word in words if word.startswith("constant")]


def test_holm_draws_and_errors() -> None:
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert permutation_chance(lambda: 1.0, 0.0, 0.01) == 1
    assert permutation_chance(lambda: 0.0, 1.0, 0.01) == pytest.approx(0.001)
    rng = np.random.default_rng(0)
    parts = redrawn(np.array([0, 0, 1, 1]), [np.array([0, 2]), np.array([1, 3])], rng)
    assert [sorted(part % 2) for part in parts] == [[0, 1], [0, 1]]
    values = rng.normal(size=1000)
    p = Predictions(values, np.zeros(1000))
    error, freedom = jackknife_error(without_each_group("mae", [p], np.arange(1000), 0)[:, 0])
    assert error == pytest.approx(abs(values).std() / 1000**0.5, rel=0.25)
    assert freedom == 99


def test_every_check_is_measured_and_seldom_wrong() -> None:
    found = json.loads((ROOT / "benchmarks/results/checks.json").read_text())
    assert measured().keys() == found["false_alarms"].keys() == CHECKS.keys()
    assert measured(Path("none.json")) == {}
    for row in found["false_alarms"].values():
        assert row["draws"] >= 300
        assert row["interval"][1] <= 0.05


def test_every_stage_up_to_the_page_tells_of_the_checks(project: Path) -> None:
    houses, customers = make_houses(600), make_customers()
    for frame in (houses, customers):
        rng = np.random.default_rng(1)
        frame["owner"] = [f"o{k}" for k in rng.integers(0, 60, len(frame))]
        frame["day"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.permutation(len(frame)), unit="D")
    houses["<b>price"] = houses["price"] * 2
    customers["target"] = customers["tenure"] % 7
    houses.loc[::9, "size"] = np.nan
    houses.to_csv("x.csv", index=False)
    customers.to_csv("y.csv", index=False)
    datasets = {
        "houses": {**PARAMS["datasets"]["houses"], "tune": "forest", "split": {"time": "day"}},
        "customers": {
            **PARAMS["datasets"]["customers"],
            "evaluation": "cross_validation",
            "split": {"group": "owner"},
        },
    }
    models = {name: PARAMS["models"][name] for name in ("forest", "linear")}
    spaces = {name: PARAMS["search_spaces"][name] for name in models}
    Path("params.yaml").write_text(
        yaml.safe_dump({**PARAMS, "datasets": datasets, "models": models, "search_spaces": spaces})
    )
    assert generate_data.main([]) == 0
    assert train.main([]) == 0
    assert tune_hyperparameters.main(["--model", "forest", "--n-trials", "3"]) == 0
    assert compare_results.main([]) == 0
    found = json.loads(Path("metrics/checks.json").read_text())
    assert found.keys() == datasets.keys()
    for models_of in found.values():
        assert models_of.keys() == {"forest", "forest_tuned", "linear"}
        for checks in models_of.values():
            assert [check["check"] for check in checks] == [*CHECKS]
    by_name = {check["check"]: check for check in found["houses"]["forest"]}
    assert by_name["giveaway"]["alarm"]
    assert "<b>price with" in by_name["giveaway"]["sentence"]
    page = Path("reports/comparison_report.html").read_text()
    assert "&lt;b&gt;price with" in page
    assert page.count("<caption>Checks of ") == 6
    assert page.count("<details>") == 4
    assert all(check.title in page for check in CHECKS.values())
    before = Path("metrics/checks.json").read_bytes()
    assert compare_results.main([]) == 0
    assert Path("metrics/checks.json").read_bytes() == before


def test_another_table_than_the_metrics_tell_of_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_customers().to_csv("y.csv", index=False)
    params = {**PARAMS, "gates": {}, "datasets": {"customers": PARAMS["datasets"]["customers"]}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert generate_data.main([]) == 0
    assert train.main(["--model", "linear"]) == 0
    path = Path("data/customers.csv")
    path.write_text(path.read_text().replace("month", "Month"))
    assert compare_results.main([]) == 2
    assert "is not the table that metrics/ tell of; make it with `python generate_data.py" in capsys.readouterr().err
