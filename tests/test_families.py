"""Families of models that the search alone takes: of params.yaml itself, on a small table with all kinds of columns."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, ROOT
from scipy.sparse import issparse
from sklearn.base import clone

import train
import tune_hyperparameters as tune
from pipeline.search.scorers import way_of_scoring
from pipeline.settings import Dataset, load_config
from pipeline.store.connect import open_store
from pipeline.store.runs import newest_run
from pipeline.tables.split import load_parts
from pipeline.training import build
from pipeline.training.build import Recipe, build_model, is_installed, resolve_recipe
from pipeline.training.fit import fit, predict

OURS = yaml.safe_load((ROOT / "params.yaml").read_text())
FAMILIES = [name for name, spec in OURS["models"].items() if not spec.get("baseline", True)]
BOOSTING = ["lightgbm", "catboost"]
TASKS = ["regression", "binary", "multiclass"]


def make_orders(task: str, rows: int = 240) -> pd.DataFrame:
    """Missing values, a constant, words, a hundred categories, and a name that LightGBM would refuse."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.normal(size=rows), "age [years]": rng.integers(0, 50, rows), "same": 1.0})
    frame["kind"] = rng.choice(["flat", "villa", "hut"], rows)
    frame["street"] = [f"street {number}" for number in rng.integers(0, 100, rows)]
    value = 2 * frame["size"] + 3 * (frame["kind"] == "villa") + frame["age [years]"] / 25 + rng.normal(0, 0.3, rows)
    frame.loc[::7, ["size", "kind"]] = None
    cut = np.digitize(value, [1.0, 3.0])
    return frame.assign(
        price={
            "regression": value,
            "binary": np.where(cut > 0, "Yes", "No"),
            "multiclass": np.array(["a", "b", "c"])[cut],
        }[task]
    )


def orders(task: str, rows: int = 240, **changes: Any) -> None:
    """A project of that table alone, with the models of params.yaml."""
    make_orders(task, rows).to_csv("data/orders.csv", index=False)
    table = {"source": "x.csv", "file": "data/orders.csv", "target": "price", "task": task}
    table |= {"positive": "Yes"} if task == "binary" else {}
    table["models"] = {name: {"n_estimators": 20} for name in FAMILIES if name != "splines"}
    parts = {name: OURS[name] for name in ("models", "search_spaces", "first_trials")}
    params = {**PARAMS, "gates": {}, **parts, "datasets": {"orders": table | changes}}
    Path("params.yaml").write_text(yaml.safe_dump(params))


def recipe_of(model: str) -> tuple[Recipe, Dataset]:
    config = load_config()
    dataset = config.dataset("orders")
    return resolve_recipe(dataset, config, model), dataset


def results() -> str:
    return Path("metrics/tune/orders.json").read_text()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", FAMILIES)
def test_a_family_takes_all_kinds_of_columns_and_rows_unlike_those_it_knows(
    project: Path, model: str, task: str
) -> None:
    orders(task)
    recipe, dataset = recipe_of(model)
    rows = load_parts(dataset, load_config()).train
    fitted = fit(build_model(recipe, rows.X), rows.X, rows.y)
    odd = rows.X.head(4).assign(street="elsewhere", kind=None, size=[np.nan, 1e9, -1e9, 0.0])
    found = predict(fitted, odd, rows.y[:4], task)
    assert found.predicted.shape == (4,)
    if task == "regression":
        assert (rows.y.min() - np.ptp(rows.y) < found.predicted).all()
        assert (found.predicted < rows.y.max() + np.ptp(rows.y)).all()
    again = fit(clone(fitted), rows.X, rows.y)
    assert np.array_equal(predict(again, odd, rows.y[:4], task).predicted, found.predicted)


@pytest.mark.parametrize("model", FAMILIES)
def test_a_family_is_tuned_and_served_and_a_second_search_is_the_same(
    project: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for folder in ("one", "two"):
        (project / folder / "data").mkdir(parents=True)
        monkeypatch.chdir(project / folder)
        orders("multiclass")
        assert tune.main(["--dataset", "orders", "--model", model, "--n-trials", "3"]) == 0
        found.append(results())
    assert found[0] == found[1]
    facts = json.loads(found[0])["models"][model]
    assert facts["trials"]["failed"] == 0
    assert facts["cv"]["accuracy"] > 0.5
    hashes = json.loads(found[0])["data_sha256"], facts["params_sha256"]
    run = newest_run(open_store(), "orders", "tuned", model, *hashes)
    assert run is not None
    rows = make_orders("multiclass").drop(columns="price").head(3).astype(object)
    answer = run.load_model().predict(rows.where(rows.notna(), None))
    assert set(np.ravel(answer)) <= {"a", "b", "c"}
    needed = next(Path("mlruns").glob("**/requirements.txt")).read_text()
    assert (f"{model}==" in needed) == (model in BOOSTING)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", BOOSTING)
def test_a_boosting_library_finds_its_rounds(project: Path, model: str, task: str) -> None:
    orders(task)
    assert tune.main(["--dataset", "orders", "--model", model, "--n-trials", "3", "--workers", "1"]) == 0
    storage = "sqlite:///mlruns/optuna/orders.db"
    [name] = optuna.get_all_study_names(storage)
    trials = optuna.load_study(study_name=name, storage=storage).trials
    assert all("n_estimators" not in trial.params for trial in trials)
    done = [trial.user_attrs["settings"] for trial in trials[1:] if trial.state.name == "COMPLETE"]
    assert done
    assert all(1 <= settings["n_estimators"] < 1000 for settings in done)
    assert all("early_stopping_rounds" not in settings for settings in done)


def test_how_the_trials_of_a_family_are_scored(project: Path) -> None:
    orders("regression")
    ways = {}
    for model in FAMILIES:
        recipe, _ = recipe_of(model)
        space = OURS["search_spaces"][model]
        ways[model] = way_of_scoring(recipe, space.get("regression", space), independent=True)
    assert ways == {
        "extra_trees": "grown on folds",
        "splines": "folds",
        "lightgbm": "early stopping of a library",
        "lightgbm_large": "early stopping of a library",
        "catboost": "early stopping of a library",
        "catboost_deep": "early stopping of a library",
    }


def test_splines_are_sparse_where_they_would_be_far_larger_otherwise_and_mean_the_same(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders("regression")
    recipe, dataset = recipe_of("splines")
    rows = load_parts(dataset, load_config()).train
    predicted = []
    # by default dense, in a table of a few columns
    for sparse in (0.0, 1.0, build.SPARSE):
        monkeypatch.setattr(build, "SPARSE", sparse)
        model = fit(build_model(recipe, rows.X), rows.X, rows.y)
        assert issparse(model[0].transform(rows.X)) == (sparse == 1.0)
        predicted.append(predict(model, rows.X, rows.y, "regression").predicted)
    np.testing.assert_allclose(predicted[1], predicted[0])
    many = pd.DataFrame(np.random.default_rng(0).integers(0, 40, (240, 5)).astype(str)).add_prefix("code")
    wide = rows.X[["kind"]].reset_index(drop=True).join(many)
    assert issparse(build_model(recipe, wide)[0].fit_transform(wide, np.zeros(len(wide))))


@pytest.mark.parametrize("model", BOOSTING)
def test_categories_are_told_to_a_boosting_library_however_many(project: Path, model: str) -> None:
    orders("regression")
    recipe, dataset = recipe_of(model)
    rows = load_parts(dataset, load_config()).train
    model_of_rows = build_model(recipe, rows.X)
    features = model_of_rows[:-1].fit_transform(rows.X, rows.y)
    told = model_of_rows[-1].get_params()[recipe.categories]
    assert [str(features[place].dtype) for place in told] == ["int64", "int64"]
    assert features[told[1]].nunique() > 50
    assert set(features.dtypes.astype(str)) == {"int64", "float64"}


@pytest.mark.parametrize("model", FAMILIES)
def test_a_wrong_setting_of_a_family_is_named(project: Path, capsys: pytest.CaptureFixture[str], model: str) -> None:
    orders("regression", models={model: {"learning_rat": 0.1}})
    assert train.main(["--model", model]) == 2
    assert f"models.{model}: " in (error := capsys.readouterr().err)
    assert "has no setting 'learning_rat'" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("model", BOOSTING)
def test_a_library_that_is_not_installed_is_told_in_a_line(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    orders("regression")
    path = OURS["models"][model]["regression"]
    assert is_installed(path)
    monkeypatch.setitem(sys.modules, model, None)
    assert not is_installed(path)
    assert not is_installed("nosuch.Regressor")
    for script in (train, tune):
        assert script.main(["--model", model]) == 2
        name = {"lightgbm": "LightGBM", "catboost": "CatBoost"}[model]
        assert capsys.readouterr().err == f"error: {name} is not installed; install it with `make boost`\n"


def test_without_a_name_baselines_alone_are_trained_and_others_stay(project: Path) -> None:
    orders("regression")
    assert train.main(["--model", "splines"]) == 0
    assert train.main([]) == 0
    trained = json.loads(Path("metrics/train/orders.json").read_text())["models"]
    assert {*trained} == {"random_forest", "gradient_boosting", "logistic_regression", "splines"}
    # a file that cannot be read is mended by the same call
    Path("metrics/train/orders.json").write_text("{")
    assert train.main([]) == 0
    again = json.loads(Path("metrics/train/orders.json").read_text())["models"]
    assert {*again} == {*load_config().baselines} == {*trained} - {"splines"}


def test_catboost_writes_no_files_and_says_nothing(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    orders("regression")
    assert train.main(["--model", "catboost"]) == 0
    said = capfd.readouterr()
    assert said.err == ""
    assert not Path("catboost_info").exists()
    assert all(line.startswith(("orders ", "wrote ")) for line in said.out.splitlines())
