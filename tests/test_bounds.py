"""Every setting at its bounds and just beyond: all stages take it, or one line names the key in params.yaml."""

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PARAMS, make_customers, make_houses

import compare_results
import detect_drift
import generate_data
import train
import tune_hyperparameters as tune
import validate
from pipeline.console import PipelineError
from pipeline.drift import pages
from pipeline.search import scorers
from pipeline.search.scorers import trees_of
from pipeline.search.space import highest
from pipeline.settings import load_config
from pipeline.training.build import resolve_recipe

HOUSES, CUSTOMERS, FOREST = ("datasets", "houses"), ("datasets", "customers"), ("search_spaces", "forest")
FIRST_OF_FOREST = ("first_trials", "forest", "classification")
PARAMS_OF_FOREST = ("models", "forest", "params")
STAGES = (generate_data, train, tune, detect_drift, compare_results, validate)
Change = tuple[tuple[Any, ...], Any]


def write(*changes: Change) -> None:
    """The settings of a tiny search, and these changes."""
    params: Any = copy.deepcopy(PARAMS)
    params["tuning"] |= {"trials": 3, "startup_trials": 1}
    params["search_spaces"]["forest"]["n_estimators"] = [5, 10]
    params["models"]["forest"]["params"]["n_estimators"] = 6
    # one model of each dataset is enough
    params["datasets"]["houses"]["tune"] = "linear"
    params["search_spaces"]["linear"]["regression"] = {"alpha": [0.1, 10.0]}
    del params["models"]["gradient_boosting"], params["search_spaces"]["gradient_boosting"]
    for key, value in changes:
        section = params
        for name in key[:-1]:
            section = section.setdefault(name, {})
        section[key[-1]] = value
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


@pytest.fixture
def sources(project: Path) -> Path:
    """The project before any stage: two sources, and no table taken in."""
    make_houses().to_csv("x.csv", index=False)
    make_customers().to_csv("y.csv", index=False)
    for table in Path("data").iterdir():
        table.unlink()
    return project


def refused(capsys: pytest.CaptureFixture[str], main: Callable[[Sequence[str]], int], words: str) -> None:
    """Exit 2, one line with these words, and nothing of the libraries below."""
    capsys.readouterr()
    status = main([])
    error = capsys.readouterr().err
    assert status == 2, error
    assert words in error
    assert len(error.splitlines()) == 1
    assert not [name for name in ("Error:", "numpy", "sklearn", "optuna", "pydantic") if name in error.lower()[7:]]


def finite(value: Any) -> bool:
    """No figure anywhere in a JSON value is NaN or infinite."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(map(finite, inner)) and (not isinstance(value, float) or abs(value) < float("inf"))


TAKEN: dict[str, list[Change]] = {
    "seed of 0, two folds, smallest test part": [(("seed",), 0), (("folds",), 2), (("test_size",), 0.01)],
    "many folds": [(("folds",), 12)],
    "largest test part that leaves rows for the folds": [(("test_size",), 0.95)],
    "fewest searched rows, endless random trials": [
        (("tuning", "search_rows"), 50),
        (("tuning", "validation_rows"), 1),
        (("tuning", "startup_trials"), 10**30),
    ],
    "largest seed, more searched rows than there are, one trial": [
        (("seed",), 2**32 - 1),
        (("tuning", "search_rows"), 10**30),
        (("tuning", "validation_rows"), 10**30),
        (("tuning", "trials"), 1),
    ],
    "longest lag, shortest time": [
        (("tuning", "lag"), 100),
        (("tuning", "budget"), 1e-300),
        ((*CUSTOMERS, "trials"), 4),
        (FIRST_OF_FOREST, [{"max_depth": 8, "max_features": 0.2}]),
    ],
    "one trial knows all before it": [(("tuning", "lag"), 1)],
    "no drift ever": [
        (("drift", "min_change"), 0.5),
        (("drift", "margin"), 1),
        (("drift", "alpha"), 0),
    ],
    "every label positive, out of fold": [
        ((*CUSTOMERS, "threshold"), 0),
        ((*CUSTOMERS, "evaluation"), "cross_validation"),
        ((*HOUSES, "evaluation"), "cross_validation"),
        ((*HOUSES, "metric"), "rmse"),
    ],
    "hardly a label positive, F1 of 0": [((*CUSTOMERS, "threshold"), 1), ((*CUSTOMERS, "metric"), "f1")],
    "a range of one number each": [
        ((*FOREST, "n_estimators"), [7, 7]),
        ((*FOREST, "max_depth"), {"log": [3, 3]}),
        ((*FOREST, "max_features"), {"choice": [None]}),
    ],
    "smallest models, no gates": [
        ((*PARAMS_OF_FOREST, "n_estimators"), 1),
        ((*PARAMS_OF_FOREST, "max_depth"), 1),
        ((*PARAMS_OF_FOREST, "n_jobs"), -1000),
        (("gates",), {}),
        ((*HOUSES, "models"), {}),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("case", TAKEN)
def test_what_the_settings_take_works_in_every_stage(
    sources: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    write(*TAKEN[case])
    for stage in STAGES:
        done = stage.main([])
        # a gate may fail at such settings
        assert done in ((0, 1) if stage is validate else (0,)), capsys.readouterr().err
    assert capsys.readouterr().err == ""
    for path in ("comparison_results.json", "tune/houses.json", "tune/customers.json", "drift/customers.json"):
        assert finite(json.loads(Path("metrics", path).read_text()))
    verdicts = json.loads(Path("metrics/validation.json").read_text())["gates"]
    assert {verdict["dataset"] for verdict in verdicts} == {"houses", "customers"}
    # each was decided by its figure
    assert not [verdict["reason"] for verdict in verdicts if verdict["reason"]]


def test_drift_is_an_alarm_only_where_the_bounds_let_it_be(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the verdict is looked at, and no page
    monkeypatch.setattr(pages, "write_pages", lambda *facts: [])
    moved = make_houses().assign(size=lambda frame: frame["size"] + frame["size"].std() / 2)
    moved.to_csv("moved.csv", index=False)
    write()
    assert generate_data.main(["--dataset", "houses"]) == 0
    for alpha, effect, found in ((0, 0, False), (1, 0.5, False), (1, 0, True), (1e-300, 0, False)):
        write((("drift", "alpha"), alpha), (("drift", "min_change"), effect))
        done = detect_drift.main(["--dataset", "houses", "--current", "moved.csv", "--fail-on-drift"])
        assert (alpha, effect, done) == (alpha, effect, int(found))


NO_RANGE = "give [low, high], {log: [low, high]} or {choice: [...]}"
SETTING = "search_spaces.forest.n_estimators: "
REFUSED: dict[str, tuple[Change, str]] = {
    "negative seed": ((("seed",), -1), "seed: -1 is out of range; give a number of at least 0"),
    "seed of 33 bits": ((("seed",), 2**32), "seed: 4294967296 is out of range; give a number of at most 4294967295"),
    "one fold": ((("folds",), 1), "folds: 1 is out of range; give a number of at least 2"),
    "101 folds": ((("folds",), 101), "folds: 101 is out of range; give a number of at most 100"),
    "no test part": ((("test_size",), 0.0), "test_size: 0.0 is out of range; give a number of at least 0.01"),
    "test part only": ((("test_size",), 1.0), "test_size: 1.0 is out of range; give a number of at most 0.99"),
    "no trials": ((("tuning", "trials"), 0), "tuning.trials: 0 is out of range; give a number of at least 1"),
    "no time": ((("tuning", "budget"), 0), "tuning.budget: 0 is out of range; give a number above 0"),
    "endless time": ((("tuning", "budget"), float("inf")), "tuning.budget: expected a finite number, found inf"),
    "no trials of a table": (((*HOUSES, "trials"), 0), "houses.trials: 0 is out of range; give a number of at least 1"),
    "no lag": ((("tuning", "lag"), 0), "tuning.lag: 0 is out of range; give a number of at least 1"),
    "lag of 101": ((("tuning", "lag"), 101), "tuning.lag: 101 is out of range; give a number of at most 100"),
    "first trial of an unknown setting": (
        (FIRST_OF_FOREST, [{"max_dpth": 3}]),
        "first_trials.forest.classification.0.max_dpth: 'max_dpth' is unknown; did you mean 'max_depth'",
    ),
    "first trial out of range": ((FIRST_OF_FOREST, [{"max_depth": 9}]), "max_depth: 9 is not in its range, [2, 8]"),
    "first trial of a word": ((FIRST_OF_FOREST, [{"max_depth": "3"}]), "max_depth: '3' is not in its range, [2, 8]"),
    "first trials of no list": ((FIRST_OF_FOREST, {"max_depth": 3}), "forest.classification: expected a list"),
    "no random trials": ((("tuning", "startup_trials"), 0), "tuning.startup_trials: 0 is out of range"),
    "one searched row": ((("tuning", "search_rows"), 1), "tuning.search_rows: 1 is out of range; give a number of at "),
    "49 searched rows": ((("tuning", "search_rows"), 49), "give a number of at least 50"),
    "negative alpha": ((("drift", "alpha"), -1e-9), "drift.alpha: -1e-09 is out of range"),
    "alpha above 1": ((("drift", "alpha"), 1.1), "drift.alpha: 1.1 is out of range; give a number of at most 1"),
    "endless alpha": ((("drift", "alpha"), float("inf")), "drift.alpha: expected a finite number, found inf"),
    "negative change": ((("drift", "min_change"), -0.1), "drift.min_change: -0.1 is out of range"),
    "endless change": ((("drift", "min_change"), float("inf")), "min_change: expected a finite number, found inf"),
    "change above a half": ((("drift", "min_change"), 0.51), "give a number of at most 0.5"),
    "margin above 1": ((("drift", "margin"), 1.1), "give a number of at most 1"),
    "columns of no dataset": ((("drift", "moving"), {"house": ["age"]}), "'house' is unknown; did you mean 'houses'"),
    "gate of NaN": ((("gates", "customers"), [{"metric": "f1", "above": float("nan")}]), "expected a finite"),
    "negative threshold": (((*CUSTOMERS, "threshold"), -0.1), "threshold: -0.1 is out of range; give a number of at"),
    "threshold above 1": (((*CUSTOMERS, "threshold"), 1.1), "threshold: 1.1 is out of range; give a number of at most"),
    "999 rows": (((*HOUSES, "rows"), 999), "rows: 999 is out of range; give a number of at least 1000"),
    "more rows than memory": (((*HOUSES, "rows"), 10**30), "give a number of at most 100000000"),
    "low above high": (((*FOREST, "n_estimators"), [10, 5]), SETTING + "10 is above 5; give the lower end first"),
    "log, low above high": (((*FOREST, "n_estimators"), {"log": [9, 5]}), SETTING + "9 is above 5"),
    "logarithm of 0": (((*FOREST, "n_estimators"), {"log": [0, 5]}), SETTING + "0 has no logarithm; start above 0"),
    "logarithm of -1": (((*FOREST, "n_estimators"), {"log": [-1, 5]}), SETTING + "-1 has no logarithm"),
    "range of whole numbers beyond floats": (((*FOREST, "n_estimators"), [1, 10**30]), "numbers of at most 1e+15"),
    "range of all floats": (((*FOREST, "max_features"), [-1e308, 1e308]), "numbers of at most 1e+15"),
    "unknown form": (((*FOREST, "n_estimators"), {"lg": [5, 9]}), f"{SETTING}{{'lg': [5, 9]}} is no range; {NO_RANGE}"),
    "two forms": (((*FOREST, "n_estimators"), {"log": [5, 9], "choice": [5]}), NO_RANGE),
    "no choice": (((*FOREST, "n_estimators"), {"choice": []}), f"{SETTING}{{'choice': []}} is no range"),
    "a choice of no list": (((*FOREST, "n_estimators"), {"choice": "auto"}), NO_RANGE),
    "no search space": ((("search_spaces", "linear"), {}), "search_spaces.linear: nothing to tune for regression"),
    "no search spaces": ((("search_spaces",), {}), "nothing to tune for regression"),
    "space of a task, a list": ((FOREST, {"classification": [1, 2]}), "expected `name: range` lines, found [1, 2]"),
    "task beside settings": (((*FOREST, "regression"), {}), "is unknown; known: regression, classification"),
    "no jobs": (((*PARAMS_OF_FOREST, "n_jobs"), 0), "models.forest.params.n_jobs: expected 1 to 1000 or -1"),
    "endless jobs": (((*PARAMS_OF_FOREST, "n_jobs"), 10**9), "n_jobs: expected 1 to 1000 or -1 for all cores"),
    "jobs of a dataset": (((*HOUSES, "models"), {"forest": {"n_jobs": "all"}}), "models.forest.n_jobs: expected 1 to"),
    "jobs of a classifier": ((("models", "forest", "classification_params"), {"n_jobs": 1.5}), "n_jobs: expected 1"),
    "no models": ((("models",), {}), "tune: 'linear' is unknown"),
    "a model like a tuned one": ((("models", "forest_tuned"), PARAMS["models"]["linear"]), "ends with _tuned"),
    "models but for case": ((("models", "Forest"), PARAMS["models"]["linear"]), "from forest in case only"),
    "datasets but for case": (
        (("datasets", "Houses"), {"source": "x.csv", "file": "data/h.csv", "target": "price"}),
        "datasets.Houses: differs from houses in case only; give another name",
    ),
    "files but for case": (((*CUSTOMERS, "file"), "data/Houses.csv"), "is the file of houses too; give another name"),
    "name of 101 letters": ((("datasets", "a" * 101), PARAMS["datasets"]["houses"]), "give at most 100 characters"),
    "file of 151 letters": (((*HOUSES, "file"), f"data/{'a' * 142}.csv"), "give at most 150 characters"),
} | {
    f"{rule!r} as a range": (((*FOREST, "n_estimators"), rule), f"{SETTING}{rule!r} is no range; {NO_RANGE}")
    for rule in ([], [5], [5, 6, 7], 5, "5", {}, [None, 5], ["a", "b"], [False, True], {"log": None}, {"log": []})
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_lies_beyond_is_refused_in_one_line(project: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    change, words = REFUSED[case]
    write(change)
    refused(capsys, tune.main, words)
    assert not Path("metrics").exists()


@pytest.mark.parametrize(("rows", "folds", "taken"), [(60, 60, True), (60, 61, False)])
def test_searched_rows_fill_the_folds(project: Path, rows: int, folds: int, taken: bool) -> None:
    write((("tuning", "search_rows"), rows), (("folds",), folds))
    if taken:
        assert load_config().folds == folds
        return
    with pytest.raises(PipelineError, match="search_rows: 60 rows cannot fill 61 folds; give more, or lower"):
        load_config()


def test_a_metric_that_no_fold_defines_is_that_of_all_of_them(project: Path) -> None:
    # R² of one row a fold
    write((("folds",), 50), (("tuning", "search_rows"), 50), (("tuning", "trials"), 2))
    assert tune.main(["--dataset", "houses"]) == 0
    assert json.loads(Path("metrics/tune/houses.json").read_text())["models"]["linear"]["best_value"] > 0


def test_a_score_that_is_no_number_is_told_with_the_settings(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorers, "pooled_value", lambda *facts: float("nan"))
    write((("tuning", "trials"), 1))
    assert tune.main(["--dataset", "houses"]) == 2
    error = capsys.readouterr().err
    assert "r2 is nan on the validated rows; fewer `folds` or more `tuning.search_rows` in params.yaml" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("name", ["0", "h" * 100])
def test_names_may_be_short_and_long(sources: Path, name: str) -> None:
    table = {**PARAMS["datasets"]["houses"], "file": f"data/{name}.csv", "tune": "linear"}
    write((("datasets",), {name: table}), (("gates",), {}))
    for stage in STAGES[:4]:
        assert stage.main(["--dataset", name]) == 0
    assert Path("reports", name, "drift_report.html").exists()


@pytest.mark.parametrize(
    ("stage", "flag", "values"),
    [
        (generate_data, "--seed", ["-1", "x", "1.5", "nan", ""]),
        (generate_data, "--rows", ["-1", "0", "999", "x", "1e4", ""]),
        (tune, "--n-trials", ["-1", "0", "x", "1.5", "1e3", ""]),
        (tune, "--timeout", ["-1", "0", "x", "nan", "inf", ""]),
        (tune, "--workers", ["-1", "0", "x", "1.5", ""]),
    ],
)
def test_flags_beyond_their_bounds_are_refused(
    project: Path, capsys: pytest.CaptureFixture[str], stage: Any, flag: str, values: list[str]
) -> None:
    for value in values:
        with pytest.raises(SystemExit) as ended:
            stage.main([flag, value])
        assert ended.value.code == 2
        assert f"argument {flag}: " in capsys.readouterr().err.splitlines()[-1]


def test_a_search_of_endless_trials_ends_with_its_time(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write((("tuning", "trials"), 10**30))
    assert tune.main(["--dataset", "customers", "--timeout", "1e-300"]) == 0
    found = json.loads(Path("metrics/tune/customers.json").read_text())["models"]["forest"]["trials"]
    # the baseline
    assert found == {"complete": 1, "pruned": 0, "failed": 0}
    assert tune.main(["--dataset", "customers", "--timeout", "1e308", "--n-trials", "2"]) == 0
    assert "going on after 1 finished trials" in capsys.readouterr().out


def test_any_number_of_workers_is_taken_and_the_search_does_not_remember_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write()
    words, found = ["--dataset", "customers", "--n-trials"], Path("reports/customers/tuning/forest/trials.csv")
    for trials, workers in (("1", 1), ("2", 10**30), ("3", 2)):
        assert tune.main([*words, trials, "--workers", str(workers)]) == 0
        assert len(found.read_text().splitlines()) == 1 + int(trials)
    assert "a new study starts" not in capsys.readouterr().out


@pytest.mark.parametrize("trees", [0, -5, 5.5, "many", None])
def test_a_forest_of_no_number_of_trees_fails_its_trial(project: Path, trees: object) -> None:
    write()
    config = load_config()
    forest = resolve_recipe(config.dataset("customers"), config, "forest").estimator
    assert trees_of(forest(n_estimators=1)) == 1
    with pytest.raises(ValueError, match="no whole number of at least 1"):
        trees_of(forest(n_estimators=trees))


def test_a_search_whose_every_range_is_refused_by_the_estimator_keeps_the_baseline(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write((FOREST, {"n_estimators": [0, 0]}))
    assert tune.main(["--dataset", "customers"]) == 0
    assert "1 complete, 0 pruned, 2 failed" in capsys.readouterr().out


def test_the_highest_of_a_range_is_a_number() -> None:
    assert [highest(rule) for rule in ([5, 9], {"log": [5, 9]}, {"choice": [9, 5]})] == [9, 9, 9]
    with pytest.raises(PipelineError, match="5]} has no highest value; give numbers"):
        highest({"choice": ["auto", 5]})
