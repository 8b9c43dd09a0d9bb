import copy
import dataclasses
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, make_customers
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression

import train
import tune_hyperparameters
from pipeline.files import file_sha256
from pipeline.metrics import Predictions, metric_value, scores
from pipeline.plots.run import diagnostics, predictions_plot
from pipeline.settings import load_config, settings_sha256
from pipeline.store.connect import open_store
from pipeline.store.predictions import predictions_csv, read_predictions, read_rows
from pipeline.store.runs import run_of
from pipeline.tables.split import load_parts
from pipeline.training.assess import assess
from pipeline.training.build import resolve_recipe
from pipeline.training.fit import out_of_fold
from pipeline.training.record import logged, pickled_bytes
from pipeline.training.threshold import best_f1_threshold
from pipeline.worth import decision_words


@pytest.mark.pictures
def test_runs_metrics_and_artifacts(project: Path) -> None:
    assert train.main(["--dataset", "customers"]) == 0
    found = json.loads(Path("metrics/train/customers.json").read_text())
    assert list(found["models"]) == ["forest", "gradient_boosting", "linear"]
    assert found["models"][found["selected"]]["cv"]["accuracy"] == max(
        model["cv"]["accuracy"] for model in found["models"].values()
    )
    config = load_config()
    for model, facts in found["models"].items():
        assert facts["params_sha256"] == settings_sha256(config, config.dataset("customers"), model)
        assert run_of(open_store(), "customers", model, found["data_sha256"], facts["params_sha256"]).name == model
    assert found["data_sha256"] == file_sha256(Path("data/customers.csv"))
    run = run_of(open_store(), "customers", "forest", found["data_sha256"], found["models"]["forest"]["params_sha256"])
    assert run.name == "forest"
    assert {"dataset", "model_type", "stage"} <= set(run.tags)
    assert run.params["max_depth"] == "6"
    assert run.metrics["test_accuracy"] == pytest.approx(found["models"]["forest"]["score"]["accuracy"], abs=1e-6)
    for name in ("feature_importance.png", "predictions_plot.png", "diagnostics.png", "predictions.csv"):
        assert run.artifact(name).stat().st_size > 0
    rows = pd.read_csv(run.artifact("predictions.csv"))
    assert (rows["actual"] == rows["predicted"]).mean() == pytest.approx(run.metrics["test_accuracy"])
    assert list(Path("mlruns").glob("**/model.pkl"))


def test_a_run_says_what_it_is_and_shows_its_tables_and_folds(project: Path) -> None:
    assert train.main(["--dataset", "customers", "--model", "linear"]) == 0
    client, sha256 = open_store(), file_sha256(Path("data/customers.csv"))
    [found] = client.search_runs([client.get_experiment_by_name("customers").experiment_id])
    figures = json.loads(Path("metrics/train/customers.json").read_text())["models"]["linear"]
    value, (low, high) = figures["score"]["accuracy"], figures["interval"]["accuracy"]
    note = found.data.tags["mlflow.note.content"]
    assert f"accuracy **{value:.4f}** [{low:.4f}, {high:.4f}] on the test part (60 rows" in note
    assert "`reports/customers/train/linear/`" in note
    inputs = {part.tags[0].value: part.dataset for part in found.inputs.dataset_inputs}
    assert {context: json.loads(part.profile)["num_rows"] for context, part in inputs.items()} == {
        "train": 180,
        "test": 60,
    }
    for context, part in inputs.items():
        assert part.name == "customers"
        assert re.fullmatch(rf"{sha256[:8]}-[0-9a-f]{{8}}-{context}", part.digest)
        assert json.loads(part.source) == {"uri": "data/customers.csv"}
        columns = json.loads(part.schema)["mlflow_colspec"]
        assert {column["name"]: column["type"] for column in columns} == {
            "id": "string",
            "tenure": "double",
            "plan": "string",
        }
    # the folds are of one size
    folds = client.get_metric_history(found.info.run_id, "fold_accuracy")
    assert sorted(fold.step for fold in folds) == [1, 2, 3]
    assert np.mean([fold.value for fold in folds]) == pytest.approx(figures["cv"]["accuracy"], abs=1e-6)
    assert len({fold.value for fold in folds}) > 1
    # other rows of the same table are another input
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "test_size": 0.4}))
    assert train.main(["--dataset", "customers", "--model", "linear"]) == 0
    [second] = [run for run in client.search_runs([found.info.experiment_id]) if run.info.run_id != found.info.run_id]
    rows = {part.tags[0].value: json.loads(part.dataset.profile)["num_rows"] for part in second.inputs.dataset_inputs}
    assert rows == {"train": 144, "test": 96}


@pytest.mark.parametrize(("name", "model"), [("customers", "linear"), ("houses", "forest")])
def test_out_of_fold_predictions_of_the_training_part_give_the_scores_of_cross_validation(
    project: Path, name: str, model: str
) -> None:
    assert train.main(["--dataset", name, "--model", model]) == 0
    config = load_config()
    dataset = config.dataset(name)
    hashes = (file_sha256(Path(dataset.file)), settings_sha256(config, dataset, model))
    run = run_of(open_store(), name, model, *hashes)
    file = run.artifact("out_of_fold.csv")
    for metric, value in scores(dataset.task, read_predictions(file, dataset.task)).items():
        assert run.metrics[f"cv_{metric}"] == pytest.approx(value, abs=1e-12)
    parts = load_parts(dataset, config)
    part = parts.train
    assert read_rows(file).equals(part.X.index)
    assert np.array_equal(read_predictions(file, dataset.task).actual, part.y)
    tags = {"dataset": name, "stage": "baseline", "data_sha256": hashes[0], "params_sha256": hashes[1]}
    found = logged(open_store(), resolve_recipe(dataset, config, model), parts, tags)
    assert found is not None
    assert found.pooled_rows.equals(part.X.index)
    assert scores(dataset.task, found.pooled) == pytest.approx(found.cv, abs=1e-12)


def test_a_tuned_threshold_is_chosen_on_the_training_part_and_used(project: Path) -> None:
    config = load_config()
    dataset = dataclasses.replace(config.dataset("customers"), threshold="tuned")
    parts = load_parts(dataset, config)
    found = assess(resolve_recipe(dataset, config, "linear"), parts)
    pooled = out_of_fold(found.model, parts.train, "binary")
    assert pooled.score is not None
    assert found.predictions.score is not None
    threshold = best_f1_threshold(pooled.actual, pooled.score)
    assert found.model[-1].threshold == threshold != 0.5
    assert np.array_equal(found.predictions.predicted, found.predictions.score >= threshold)
    assert np.array_equal(found.model.predict(parts.test.X), found.predictions.predicted)


def test_the_threshold_of_a_model_is_a_parameter_of_its_run(project: Path) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["datasets"]["customers"]["threshold"] = "tuned"
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert train.main(["--model", "linear"]) == 0
    runs = {}
    for name in ("customers", "houses"):
        found = json.loads(Path(f"metrics/train/{name}.json").read_text())
        runs[name] = run_of(
            open_store(), name, "linear", found["data_sha256"], found["models"]["linear"]["params_sha256"]
        )
    assert float(runs["customers"].params["threshold"]) == runs["customers"].load_model()[-1].threshold != 0.5
    assert "threshold" not in runs["houses"].params


@pytest.mark.parametrize(
    ("actual", "predicted"),
    [(["007", "7", "a"], ["007", "7", "7"]), (["inf", "nan", "NA"], ["inf"] * 3), ([1, 2, 10], [1, 1, 10])],
)
def test_classes_that_read_like_something_else_come_back(tmp_path: Path, actual: list, predicted: list) -> None:
    path = tmp_path / "predictions.csv"
    rows = [f"0,{label},{guess},\n" for label, guess in zip(actual, predicted, strict=True)]
    path.write_text("".join(["row,actual,predicted,score\n", *rows]))
    found = read_predictions(path, "multiclass")
    assert found.actual.tolist() == actual
    assert found.predicted.tolist() == predicted


@pytest.mark.parametrize("classes", [["007", "7", "a, b"], ["NA", "inf", "nan"], [1, 2, 10]])
def test_the_probabilities_of_classes_come_back_to_the_last_digit(tmp_path: Path, classes: list) -> None:
    labels, group = np.array(classes, dtype=object if isinstance(classes[0], str) else None), np.array(["x", "x", "y"])
    shares = np.random.default_rng(0).dirichlet([1, 1, 1], 3)
    written = Predictions(labels, labels[[0, 0, 2]], group=group, classes=labels, shares=shares)
    path = tmp_path / "predictions.csv"
    path.write_text(predictions_csv(written, pd.Index([3, 4, 5])))
    for words in (None, isinstance(classes[0], str)):
        found = read_predictions(path, "multiclass", words, kept="group")
        assert found.classes.tolist() == classes
        assert np.array_equal(found.shares, shares)
        assert found.group.tolist() == group.tolist()
        assert metric_value("log_loss", found) == metric_value("log_loss", written)


def test_a_model_of_several_classes_is_chosen_by_its_probabilities(project: Path) -> None:
    table = make_customers()
    table["left"] = np.where(table["tenure"] < 20, "soon", np.where(table["plan"] == "year", "later", "never"))
    table.to_csv("data/customers.csv", index=False)
    customers = {key: fact for key, fact in PARAMS["datasets"]["customers"].items() if key != "positive"}
    customers |= {"task": "multiclass", "metric": "log_loss"}
    params = {**PARAMS, "datasets": {"customers": customers}, "gates": {}}
    # it gives no probabilities, and is trained all the same
    params["models"] = {**PARAMS["models"], "ridge": {**PARAMS["models"]["linear"]}}
    params["models"]["ridge"]["classification"] = "sklearn.linear_model.RidgeClassifier"
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert train.main([]) == 0
    found = json.loads(Path("metrics/train/customers.json").read_text())
    losses = {name: model["cv"]["log_loss"] for name, model in found["models"].items()}
    assert found["selected"] == min(losses, key=losses.__getitem__)
    assert losses["ridge"] > 1
    for model in found["models"].values():
        low, high = model["interval"]["log_loss"]
        assert low < model["score"]["log_loss"] < high
    # and read from its run again
    config = load_config()
    dataset = config.dataset("customers")
    parts = load_parts(dataset, config)
    sha256 = found["models"]["forest"]["params_sha256"]
    run = run_of(open_store(), "customers", "forest", found["data_sha256"], sha256)
    pooled = read_predictions(run.artifact("out_of_fold.csv"), "multiclass")
    assert round(metric_value("log_loss", pooled), 6) == losses["forest"]
    again = assess(resolve_recipe(dataset, config, "forest"), parts)
    assert np.array_equal(again.pooled.shares, pooled.shares)


@pytest.mark.parametrize(
    "threshold", [{"cost": {"false_positive": 1, "false_negative": 20}}, {"capacity": 10}], ids=["cost", "capacity"]
)
@pytest.mark.parametrize("evaluation", ["holdout", "cross_validation"])
def test_what_labels_are_worth_is_in_the_metrics(
    project: Path, threshold: dict[str, Any], evaluation: str, capsys: pytest.CaptureFixture[str]
) -> None:
    params = copy.deepcopy(PARAMS)
    params["datasets"]["customers"] |= {"threshold": threshold, "evaluation": evaluation}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert train.main(["--dataset", "customers", "--model", "linear"]) == 0
    first = Path("metrics/train/customers.json").read_text()
    found = json.loads(first)
    decision = found["models"]["linear"]["decision"]
    sha256 = found["models"]["linear"]["params_sha256"]
    judged = pd.read_csv(
        run_of(open_store(), "customers", "linear", found["data_sha256"], sha256).artifact("predictions.csv")
    )
    said = capsys.readouterr().out
    note = " (no untouched rows)" if evaluation == "cross_validation" else ""
    run = run_of(open_store(), "customers", "linear", found["data_sha256"], sha256)
    half = decision["others"]["half"]
    if "cost" in threshold:
        # missing a row is dear, so that fewer are missed than at a half
        assert decision["cost"] < half["cost"]
        low, high = half["saved_interval"]
        assert low < half["saved"] < high
        assert f"per 1,000 rows{note}; at 0.5 " in said
        assert run.metrics["cost_per_1000"] == decision["cost"]
        assert run.metrics["cost_per_1000_nobody"] == decision["others"]["nobody"]["cost"]
    else:
        # of the 60 rows of the test part, or of all 240
        assert decision["followed"] == judged["predicted"].sum()
        assert 0 < decision["followed"] < 20
        assert half["followed"] == (judged["score"] >= 0.5).sum()
        assert decision["hits"] <= decision["followed"]
        assert f"capacity 10){note}; at 0.5 " in said
        assert (run.metrics["hits"], run.metrics["hits_high"]) == (decision["hits"], decision["interval"][1])
    assert decision_words(decision, "Yes") in run.tags["mlflow.note.content"]
    assert ("no untouched rows" in run.tags["mlflow.note.content"]) == (evaluation == "cross_validation")
    assert re.search(rf"accuracy 0.\d+ \[0.\d+, [01].\d+\]{re.escape(note)}, cross-validated", said)
    # and the same where the model is taken from its run
    capsys.readouterr()
    assert train.main(["--dataset", "customers", "--model", "linear"]) == 0
    again = capsys.readouterr().out
    assert "unchanged" in again
    assert decision_words(decision, "Yes", note) in again
    assert Path("metrics/train/customers.json").read_text() == first


def test_a_capacity_beyond_the_judged_rows_and_costs_of_numbers_are_mistakes(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, words in (
        ("customers", "params.yaml: datasets.customers.threshold.capacity: 61 are more than the 60 rows that models"),
        ("houses", "regression"),
    ):
        params = copy.deepcopy(PARAMS)
        params["datasets"][name]["threshold"] = {"capacity": 61}
        Path("params.yaml").write_text(yaml.safe_dump(params))
        assert train.main(["--dataset", name, "--model", "linear"]) == 2
        told = capsys.readouterr().err
        assert words in told
        assert told.count("\n") == 1


class Broken(LogisticRegression):
    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        found = super().predict_proba(X)
        found[::7] = np.nan
        return found


@pytest.mark.parametrize("threshold", [0.5, "tuned", {"capacity": 5}])
def test_probabilities_that_are_no_numbers_are_told_in_a_line(
    project: Path, capsys: pytest.CaptureFixture[str], threshold: Any
) -> None:
    params = copy.deepcopy(PARAMS)
    params["datasets"]["customers"]["threshold"] = threshold
    params["models"]["linear"]["classification"] = f"{__name__}.Broken"
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert train.main(["--dataset", "customers", "--model", "linear"]) == 2
    told = capsys.readouterr().err
    assert "Broken predicts what is no number for 9 of 60 rows" in told
    assert told.count("\n") == 1


def test_a_tuned_threshold_goes_with_groups(project: Path) -> None:
    params = copy.deepcopy(PARAMS)
    params["datasets"]["customers"] |= {"threshold": "tuned", "split": {"group": "visits"}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    table = make_customers()
    table.assign(visits=np.arange(len(table)) // 4).to_csv("data/customers.csv", index=False)
    assert train.main(["--dataset", "customers", "--model", "linear"]) == 0
    found = json.loads(Path("metrics/train/customers.json").read_text())["models"]["linear"]
    assert found["cv"]["f1"] > 0.5


def test_tuned_settings_train_the_model_that_the_search_ended_with(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train.main(["--dataset", "customers", "--tuned"]) == 2
    assert "python tune_hyperparameters.py --dataset customers" in capsys.readouterr().err
    tune_hyperparameters.main(["--dataset", "customers", "--n-trials", "6"])
    found = json.loads(Path("metrics/tune/customers.json").read_text())
    # as in a fresh clone: metrics, and no store
    for name in ("data", "metrics"):
        shutil.copytree(name, project / "clone" / name)
    shutil.copy("params.yaml", project / "clone")
    monkeypatch.chdir(project / "clone")
    assert train.main(["--dataset", "customers", "--tuned"]) == 0
    assert "note" not in capsys.readouterr().out
    facts = found["models"]["forest"]
    run = run_of(open_store(), "customers", "forest_tuned", found["data_sha256"], facts["params_sha256"])
    assert run.name == "forest_tuned"
    for setting, value in found["models"]["forest"]["params"].items():
        assert run.params[setting] == str(value)
    for metric, value in found["models"]["forest"]["score"].items():
        assert run.metrics[metric] == pytest.approx(value, abs=1e-6)
    assert not Path("metrics/train/customers.json").exists()
    assert train.main(["--dataset", "customers", "--model", "linear", "--tuned"]) == 2
    assert "no tuned settings of linear" in capsys.readouterr().err
    make_customers(300).to_csv("data/customers.csv", index=False)
    assert train.main(["--dataset", "customers", "--tuned"]) == 0
    assert "note: the settings were tuned on other data" in capsys.readouterr().out


def test_progress_tells_dataset_model_fold_and_time_left(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train.main(["--dataset", "customers", "--model", "forest"])
    printed = capsys.readouterr().out
    assert "customers forest (1 of 1): 4 fits\n" in printed
    assert re.search(r"customers forest \(1 of 1\): fold 3 of 3 done, about \d+ s left\n", printed)


def test_the_size_of_a_model_is_that_of_its_pickle() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 3))
    forest = RandomForestRegressor(5, random_state=0).fit(X, X[:, 0])
    for model in (forest, np.zeros(100_000), {"a": 1}):
        assert pickled_bytes(model) == len(pickle.dumps(model))


@pytest.mark.pictures
def test_a_picture_of_many_rows_is_no_larger() -> None:
    rng = np.random.default_rng(0)

    def sizes(rows: int) -> list[int]:
        actual = rng.normal(size=rows)
        predictions = Predictions(actual, actual + rng.normal(0, 0.5, rows))
        files = [io.BytesIO(), io.BytesIO()]
        for file, draw in zip(files, (predictions_plot, diagnostics), strict=True):
            draw(predictions, "title", "regression").savefig(file, dpi=110, format="png")
        return [len(file.getvalue()) for file in files]

    for few, many in zip(sizes(4_000), sizes(200_000), strict=True):
        assert many < 1.05 * few


def test_shuffled_labels_score_no_better_than_naive(project: Path) -> None:
    frame = make_customers(800)
    frame["left"] = np.random.default_rng(3).permutation(frame["left"])
    frame.to_csv("data/customers.csv", index=False)
    assert train.main(["--dataset", "customers", "--model", "linear"]) == 0
    model = json.loads(Path("metrics/train/customers.json").read_text())["models"]["linear"]
    assert model["cv"]["accuracy"] < model["naive"]["accuracy"] + 0.03
    assert abs(model["cv"]["roc_auc"] - 0.5) < 0.07


def test_same_seed_same_metrics_and_one_model_keeps_the_others(project: Path) -> None:
    train.main(["--dataset", "houses"])
    before = Path("metrics/train/houses.json").read_text()
    for words in (["--model", "forest"], [], ["--force"]):
        train.main(["--dataset", "houses", *words])
        assert Path("metrics/train/houses.json").read_text() == before


def test_a_fourth_model_is_one_entry(project: Path) -> None:
    more = {
        "regression": "sklearn.ensemble.ExtraTreesRegressor",
        "classification": "sklearn.ensemble.ExtraTreesClassifier",
        "params": {"n_estimators": 10},
    }
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "models": {**PARAMS["models"], "extra_trees": more}}))
    assert train.main(["--model", "extra_trees"]) == 0
    for name, estimator in (("houses", "ExtraTreesRegressor"), ("customers", "ExtraTreesClassifier")):
        found = json.loads(Path(f"metrics/train/{name}.json").read_text())["models"]["extra_trees"]
        assert found["estimator"] == estimator


def test_missing_table_exits_2_with_the_command(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("data/houses.csv").unlink()
    assert train.main(["--dataset", "houses"]) == 2
    error = capsys.readouterr().err
    assert "python generate_data.py --dataset houses" in error
    assert len(error.splitlines()) == 1


def test_a_run_left_running_by_a_kill_is_removed(project: Path) -> None:
    train.main(["--dataset", "houses", "--model", "linear"])
    client = open_store()
    experiment = client.get_experiment_by_name("houses").experiment_id
    orphan = client.create_run(experiment, tags={"stage": "baseline"})
    own = client.create_run(experiment)
    train.main(["--dataset", "houses", "--model", "linear", "--force"])
    states = {run.info.run_id: run.info.status for run in client.search_runs([experiment])}
    assert orphan.info.run_id not in states
    assert states.pop(own.info.run_id) == "RUNNING"
    assert list(states.values()) == ["FINISHED"]


@pytest.mark.slow
def test_mlflow_models_predict_takes_raw_rows_without_this_project(project: Path) -> None:
    train.main(["--dataset", "customers", "--model", "forest"])
    model = next(Path("mlruns").glob("**/model.pkl")).resolve().parent
    away = project / "elsewhere"
    away.mkdir()
    (away / "rows.csv").write_text("id,tenure,plan\nnew,,decade\nc1,3,month\n")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-m", "mlflow", "models", "predict", "--env-manager", "local"]
    done = subprocess.run(
        [*command, "-m", str(model), "-i", "rows.csv", "-t", "csv"],
        cwd=away,
        env=environment | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert len(answer["predictions"]) == 2
    for row in answer["predictions"]:
        assert row["prediction"] in ("Yes", "No")
        assert row["probability_Yes"] + row["probability_No"] == pytest.approx(1)


def test_a_scheduler_without_dask_is_told_in_a_line(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert train.main(["--scheduler", "tcp://127.0.0.1:8786"]) == 2
    assert capsys.readouterr().err == "error: Dask is not installed; install it with `make scale`\n"
