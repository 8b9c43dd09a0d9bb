"""The weighted mean of fitted models: its weights, what it predicts, and what its score has paid for."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, make_customers, make_houses, take_in
from sklearn.ensemble import RandomForestClassifier, VotingClassifier, VotingRegressor
from sklearn.linear_model import Ridge

import compare_results
import train
import tune_hyperparameters as tune
import validate
from pipeline.ensemble.weights import blend, blend_by_other_folds, greedy_weights
from pipeline.gates.results import read_results
from pipeline.metrics import METRICS, Predictions, metric_value
from pipeline.serving.pyfunc import predictions
from pipeline.settings import ENSEMBLE, load_config
from pipeline.store.connect import open_store
from pipeline.store.runs import StoredRun, run_of
from pipeline.tables.split import load_parts
from pipeline.training import fit

HOUSES, CUSTOMERS = Path("metrics/ensemble/houses.json"), Path("metrics/ensemble/customers.json")


def numbers(actual: np.ndarray, *errors: np.ndarray) -> list[Predictions]:
    return [Predictions(actual, actual + error) for error in errors]


def test_errors_that_cancel_each_other_get_equal_weights_and_a_poor_model_none() -> None:
    rng = np.random.default_rng(0)
    actual, error, noise = rng.normal(size=(3, 2000))
    members = numbers(actual, error, -error, 20 * noise)
    assert greedy_weights("r2", members, 5, 0) == pytest.approx([0.5, 0.5, 0])
    assert metric_value("r2", blend(members, np.array([0.5, 0.5, 0]))) == 1


def test_weights_come_near_the_best_there_are() -> None:
    # independent errors: weights by the inverse of their variance
    rng = np.random.default_rng(1)
    actual, first, second, third = rng.normal(size=(4, 20_000))
    members = numbers(actual, first, 2**0.5 * second, 2 * third)
    assert greedy_weights("rmse", members, 5, 0) == pytest.approx([4 / 7, 2 / 7, 1 / 7], abs=0.05)


def test_the_best_model_alone_where_no_other_helps() -> None:
    rng = np.random.default_rng(2)
    actual, error = rng.normal(size=(2, 1000))
    assert greedy_weights("mae", numbers(actual, 3 * error, error, error), 5, 0).tolist() == [0, 1, 0]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_members_than_allowed(most: int) -> None:
    rng = np.random.default_rng(3)
    actual, *errors = rng.normal(size=(7, 500))
    weights = greedy_weights("r2", numbers(actual, *errors), most, 0)
    assert (weights > 0).sum() == most
    assert weights.sum() == pytest.approx(1)


def test_labels_that_change_by_steps_are_weighed_by_log_loss() -> None:
    rng = np.random.default_rng(4)
    actual = rng.integers(0, 2, 4000)
    chance = np.where(actual == 1, 0.7, 0.3)
    members = []
    for noise in rng.normal(0, 0.15, (2, 4000)):
        score = np.clip(chance + noise, 0.02, 0.98)
        members.append(Predictions(actual, (score >= 0.5).astype(int), score))
    assert METRICS["accuracy"].counts
    found = {metric: greedy_weights(metric, members, 5, 0).tolist() for metric in ("accuracy", "log_loss")}
    assert found["accuracy"] == found["log_loss"]
    assert min(found["accuracy"]) > 0.3


def test_each_fold_is_blended_by_weights_of_the_others_alone() -> None:
    rng = np.random.default_rng(5)
    actual, *errors = rng.normal(size=(4, 300))
    members, fold = numbers(actual, *errors), np.arange(300) % 3
    found = blend_by_other_folds("r2", members, fold, 5, 0)
    # whatever the targets of a fold are, its own predictions are the same
    changed = np.where(fold == 1, rng.permutation(actual), actual)
    other = blend_by_other_folds("r2", [replace(member, actual=changed) for member in members], fold, 5, 0)
    assert (found.predicted[fold == 1] == other.predicted[fold == 1]).all()
    assert (found.predicted[fold != 1] != other.predicted[fold != 1]).any()
    assert (found.actual == actual).all()


def test_in_time_earlier_folds_alone_decide_and_the_first_is_the_plain_mean() -> None:
    rng = np.random.default_rng(6)
    actual, *errors = rng.normal(size=(3, 300))
    time, fold = np.arange(300), np.repeat([0, 1, 2], 100)
    members = [replace(member, time=time) for member in numbers(actual, *errors)]
    found = blend_by_other_folds("r2", members, fold, 5, 0).predicted
    assert found[:100] == pytest.approx(np.mean([member.predicted[:100] for member in members], axis=0))
    later = [replace(member, actual=np.where(fold == 2, 0.0, actual)) for member in members]
    assert (blend_by_other_folds("r2", later, fold, 5, 0).predicted == found).all()


def test_a_score_of_weights_chosen_on_the_same_rows_would_be_too_good() -> None:
    """Many models that are noise: on the rows that chose the weights they look better than they are."""
    rng = np.random.default_rng(7)
    gains = []
    for _ in range(20):
        actual, *errors = rng.normal(size=(13, 60))
        members, fold = numbers(actual, *(2 * error for error in errors)), np.arange(60) % 5
        fresh_actual, *fresh = rng.normal(size=(13, 20_000))
        weights = greedy_weights("rmse", members, 12, 0)
        true = metric_value("rmse", blend(numbers(fresh_actual, *(2 * error for error in fresh)), weights))
        same_rows = metric_value("rmse", blend(members, weights))
        paid = metric_value("rmse", blend_by_other_folds("rmse", members, fold, 12, 0))
        gains.append((true - same_rows, true - paid))
    chosen, honest = np.mean(gains, axis=0)
    assert chosen > 0.03
    assert honest < chosen / 3


def ensemble_run(name: str) -> tuple[dict[str, Any], StoredRun]:
    found = json.loads(Path(f"metrics/ensemble/{name}.json").read_text())
    facts = found["models"][ENSEMBLE]
    return facts, run_of(open_store(), name, ENSEMBLE, found["data_sha256"], facts["params_sha256"])


def settings(**changes: Any) -> None:
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, **changes}, sort_keys=False))


def table_settings(name: str, **changes: Any) -> dict[str, Any]:
    return {"datasets": {**PARAMS["datasets"], name: {**PARAMS["datasets"][name], **changes}}}


@pytest.fixture
def houses(project: Path) -> Path:
    """A table whose models make different mistakes: steps on a slope."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(300, 6)), columns=list("abcdef"))
    frame["price"] = frame[list("abcd")].sum(axis=1) + 3 * ((frame["e"] > 0) & (frame["f"] > 0)) + rng.normal(size=300)
    take_in(frame)
    assert train.main(["--dataset", "houses"]) == 0
    return project


def test_nothing_is_fitted_and_the_run_predicts_the_weighted_mean(
    houses: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fitted(*facts: Any) -> None:
        raise AssertionError("a model is fitted")

    with monkeypatch.context() as patch:
        for estimator in (RandomForestClassifier, Ridge):
            patch.setattr(estimator, "fit", fitted)
        patch.setattr(fit, "fit", fitted)
        assert tune.main(["--dataset", "houses", "--ensemble"]) == 0
    facts, run = ensemble_run("houses")
    assert "houses ensemble: cross-validated r2 +" in capsys.readouterr().out
    found = json.loads(HOUSES.read_text())
    assert found["candidates"] == ["forest", "gradient_boosting", "linear"]
    assert 1 < len(facts["weights"]) <= 5
    assert sum(facts["weights"].values()) == pytest.approx(1)
    config, trained = load_config(), json.loads(Path("metrics/train/houses.json").read_text())["models"]
    parts = load_parts(config.dataset("houses"), config)
    hashes = {name: (found["data_sha256"], trained[name]["params_sha256"]) for name in facts["weights"]}
    models = {name: run_of(open_store(), "houses", name, *own).load_model() for name, own in hashes.items()}
    mean = sum(weight * models[name].predict(parts.test.X) for name, weight in facts["weights"].items())
    model = run.load_model()
    assert isinstance(model[-1], VotingRegressor)
    assert model.predict(parts.test.X) == pytest.approx(mean)
    assert facts["score"]["r2"] == pytest.approx(metric_value("r2", Predictions(parts.test.y, mean)), abs=1e-6)
    assert facts["cv"]["r2"] == pytest.approx(found["lead"] + trained[found["best"]]["cv"]["r2"], abs=1e-5)
    assert run.metrics["fit_seconds"] == pytest.approx(
        sum(run_of(open_store(), "houses", name, *own).metrics["fit_seconds"] for name, own in hashes.items())
    )
    picture = run.artifact("model.html").read_text(encoding="utf-8")
    assert all(f"<h2>{name}</h2>" in picture for name in models)
    assert {path.name for path in Path("reports/houses/ensemble").iterdir()} == {
        "feature_importance.png",
        "predictions_plot.png",
        "diagnostics.png",
    }


def test_it_is_compared_gated_and_promoted_like_any_model(houses: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings(gates={"houses": [{"metric": "r2", "above": 0.5}]})
    assert train.main(["--dataset", "customers"]) == 0
    assert tune.main(["--ensemble"]) == 0
    assert compare_results.main([]) == 0
    assert ENSEMBLE in json.loads(Path("metrics/comparison_results.json").read_text())["houses"]
    page = Path("reports/comparison_report.html").read_text()
    assert "The ensemble is the weighted mean of" in page
    assert validate.main(["--promote"]) == 0
    champion = json.loads(Path("metrics/champion/houses.json").read_text())
    assert champion["model"] == ENSEMBLE
    assert "VotingRegressor" in Path("reports/houses/model_card.html").read_text()
    capsys.readouterr()
    # again: nothing is made twice
    runs = len(open_store().search_runs([open_store().get_experiment_by_name("houses").experiment_id]))
    assert tune.main(["--dataset", "houses", "--ensemble"]) == 0
    assert "unchanged, taken from its run" in capsys.readouterr().out
    assert len(open_store().search_runs([open_store().get_experiment_by_name("houses").experiment_id])) == runs


def test_another_member_makes_it_stale(houses: Path) -> None:
    assert tune.main(["--dataset", "houses", "--ensemble"]) == 0
    config = load_config()
    assert ENSEMBLE in read_results(config.dataset("houses"), config).models
    path = Path("metrics/train/houses.json")
    found = json.loads(path.read_text())
    found["models"]["linear"]["cv"]["r2"] -= 0.1
    path.write_text(json.dumps(found))
    results = read_results(config.dataset("houses"), config)
    assert ENSEMBLE not in results.models
    words = "run `python tune_hyperparameters.py --dataset houses --ensemble`, or remove the file"
    assert results.problems == (f"metrics/ensemble/houses.json: ensemble is stale (of other settings); {words}",)
    # another cap is another ensemble
    found["models"]["linear"]["cv"]["r2"] += 0.1
    path.write_text(json.dumps(found))
    settings(ensemble={"members": 1})
    config = load_config()
    assert ENSEMBLE not in read_results(config.dataset("houses"), config).models


def leads_by(lead: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ensemble leads the best of its members by so much."""
    monkeypatch.setattr("pipeline.ensemble.model.lead_over", lambda *facts: (lead, [lead - 0.1, lead + 0.1]))


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": "tuned"},
        {"threshold": 0.3, "evaluation": "cross_validation"},
        {"threshold": "tuned", "evaluation": "cross_validation", "calibrate": True, "metric": "roc_auc"},
        {"metric": "log_loss", "calibrate": True},
    ],
    ids=str,
)
def test_classes_with_thresholds_and_calibration(
    project: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    leads_by(0.1, monkeypatch)
    settings(**table_settings("customers", **changes))
    take_in(customers=make_customers(600))
    assert train.main(["--dataset", "customers"]) == tune.main(["--dataset", "customers", "--ensemble"]) == 0
    facts, run = ensemble_run("customers")
    rows = pd.DataFrame({"tenure": ["3", "60"], "plan": ["month", "year"], "id": ["a", "b"]})
    answer = predictions(run.served_model(), rows)
    assert answer["prediction"].tolist() == ["Yes", "No"]
    assert answer["probability_Yes"][0] > answer["probability_Yes"][1]
    judged = run.predictions("binary", "")
    for metric, value in facts["score"].items():
        assert metric_value(metric, judged) == pytest.approx(value, abs=1e-6), metric
    assert len(judged.actual) == (600 if changes.get("evaluation") else 150)


def test_several_classes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leads_by(0.1, monkeypatch)
    table = {"target": "kind", "task": "multiclass", "metric": "log_loss"}
    frame = make_houses(400)
    frame["kind"] = np.where(frame["price"] > 2, "villa", np.where(frame["age"] > 25, "hut", "flat"))
    settings(**table_settings("houses", **table))
    take_in(frame)
    assert train.main(["--dataset", "houses"]) == tune.main(["--dataset", "houses", "--ensemble"]) == 0
    _, run = ensemble_run("houses")
    model, config = run.load_model(), load_config()
    assert isinstance(model[-1], VotingClassifier)
    X = load_parts(config.dataset("houses"), config).test.X
    assert model.classes_.tolist() == ["flat", "hut", "villa"]
    assert model.predict_proba(X).sum(axis=1) == pytest.approx(1)
    assert set(model.predict(X)) <= {"flat", "hut", "villa"}


@pytest.mark.parametrize("split", [{"group": "street"}, {"time": "day"}])
def test_groups_and_time(project: Path, monkeypatch: pytest.MonkeyPatch, split: dict[str, str]) -> None:
    leads_by(0.1, monkeypatch)
    frame = make_houses()
    frame["street"], frame["day"] = np.arange(len(frame)) % 40, np.arange(len(frame))
    for evaluation in ("holdout", "cross_validation"):
        settings(**table_settings("houses", split=split, evaluation=evaluation))
        take_in(frame)
        assert train.main(["--dataset", "houses"]) == tune.main(["--dataset", "houses", "--ensemble"]) == 0
        facts, run = ensemble_run("houses")
        judged = run.predictions("regression", next(iter(split)))
        assert metric_value("r2", judged) == pytest.approx(facts["score"]["r2"], abs=1e-6)


def test_none_is_built_where_it_is_not_ahead(
    houses: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    leads_by(0.0, monkeypatch)
    assert tune.main(["--dataset", "houses", "--ensemble"]) == 0
    assert "houses ensemble: none is built, as it is not ahead" in capsys.readouterr().out
    assert json.loads(HOUSES.read_text())["models"] == {}
    config = load_config()
    results = read_results(config.dataset("houses"), config)
    assert (ENSEMBLE in results.models, results.problems) == (False, ())


def test_none_is_built_of_one_model(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take_in()
    assert train.main(["--dataset", "customers", "--model", "linear"]) == 0
    assert tune.main(["--dataset", "customers", "--ensemble"]) == 0
    assert "customers ensemble: none is built of fewer than two models" in capsys.readouterr().out
    assert json.loads(CUSTOMERS.read_text())["models"] == {}


def test_mistakes_are_one_line(
    houses: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str) -> str:
        assert tune.main([*words]) == 2
        [line] = capsys.readouterr().err.splitlines()
        return line

    assert "metrics/train/customers.json is missing" in told("--dataset", "customers", "--ensemble")
    Path("elsewhere").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{(houses / 'elsewhere/db.sqlite').as_posix()}")
    assert "no MLflow store yet" in told("--dataset", "houses", "--ensemble")
    assert train.main(["--dataset", "houses", "--model", "linear"]) == 0
    line = told("--dataset", "houses", "--ensemble")
    assert line.endswith("`python train.py --dataset houses --model gradient_boosting`")
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        tune.main(["--tracking-uri", "sqlite:///elsewhere.sqlite"])
    assert stop.value.code == 2
    assert "--tracking-uri: goes with --ensemble" in capsys.readouterr().err
    settings(models={**PARAMS["models"], ENSEMBLE: PARAMS["models"]["linear"]})
    assert "models.ensemble: stands for the ensemble of all models" in told("--ensemble")


def test_members_may_be_in_several_stores(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = []
    take_in()
    for place, model in (("a", "forest"), ("b", "linear")):
        (tmp_path / place).mkdir()
        uri = f"sqlite:///{(tmp_path / place / 'db.sqlite').as_posix()}"
        stores += ["--tracking-uri", uri]
        with monkeypatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", uri)
            assert train.main(["--dataset", "houses", "--model", model]) == 0
    leads_by(0.1, monkeypatch)
    assert tune.main(["--dataset", "houses", "--ensemble", *stores]) == 0
    assert ensemble_run("houses")[1].name == ENSEMBLE
