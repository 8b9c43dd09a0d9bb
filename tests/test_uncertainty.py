"""Recalibrated probabilities, the calibration error, and prediction intervals: learned out of fold, judged, served."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import PARAMS
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

import train
from pipeline.console import PipelineError
from pipeline.metrics import Predictions, metric_value
from pipeline.serving.model import served
from pipeline.serving.pyfunc import predictions
from pipeline.settings import load_config
from pipeline.store.connect import open_store
from pipeline.store.runs import newest_run
from pipeline.tables.split import load_parts
from pipeline.training.assess import Assessment, assess
from pipeline.training.build import resolve_recipe
from pipeline.training.calibration import by_other_folds, calibration_error, calibration_gain, learn_calibration
from pipeline.training.conformal import bounds_by_other_folds, learn_errors
from pipeline.training.fit import validating_fold
from pipeline.training.record import columns_of_source, logged
from pipeline.uncertainty import uncertainty_words


def classes(rows: int, slope: float = 1.0, intercept: float = 0.0, seed: int = 0) -> Predictions:
    """Rows with the probabilities of a model whose log-odds are off by a slope and an intercept."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-1, 1.5, rows)
    score = expit(slope * odds + intercept)
    return Predictions((rng.random(rows) < expit(odds)).astype(int), (score >= 0.5).astype(int), score)


def several(rows: int, sharpness: float, seed: int = 0) -> Predictions:
    """Rows of three classes with probabilities that are true at a sharpness of 1."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 1.5, (rows, 3))
    true, shares = (np.exp(k * odds) / np.exp(k * odds).sum(axis=1, keepdims=True) for k in (1, sharpness))
    names = np.array(["a", "b", "c"], dtype=object)
    actual = names[(true.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1)]
    return Predictions(actual, names[shares.argmax(axis=1)], classes=names, shares=shares)


def test_recalibration_finds_the_log_odds_that_are_true() -> None:
    found = learn_calibration(classes(100_000, slope=2.0, intercept=1.0))
    # odds of the model are 2 o + 1: true ones are half of them, less a half
    assert found.slopes == pytest.approx((0.5,), abs=0.02)
    assert found.intercepts == pytest.approx((-0.5,), abs=0.03)
    # as scikit-learn's own, which looks at log-odds where a model gives them
    p = classes(4000, slope=0.8, intercept=1.0)
    odds = np.log(p.score / (1 - p.score))[:, None]
    linear = LogisticRegression()
    linear.classes_, linear.coef_, linear.intercept_ = np.array([0, 1]), np.array([[1.0]]), np.zeros(1)
    theirs = CalibratedClassifierCV(FrozenEstimator(linear), method="sigmoid", cv=2, ensemble=False)
    assert learn_calibration(p).of(p).score == pytest.approx(
        theirs.fit(odds, p.actual).predict_proba(odds)[:, 1], abs=1e-3
    )


def test_probabilities_of_several_classes_are_recalibrated_to_a_sum_of_one() -> None:
    p = several(5000, 2.0)
    better = learn_calibration(p).of(p)
    assert better.shares.sum(axis=1) == pytest.approx(1.0)
    assert metric_value("log_loss", better) < metric_value("log_loss", p) - 0.05
    assert calibration_error(better)[0] < calibration_error(p)[0] / 3


def test_recalibration_is_kept_for_probabilities_that_are_off_and_not_for_true_ones() -> None:
    fold = np.arange(1000) % 5

    def gain_of(p: Predictions) -> tuple[float, list[float]]:
        return calibration_gain(p, by_other_folds(p, fold, True, lambda *_: 0.5), seed=0)

    for make in (classes, several):
        gain, (low, _) = gain_of(make(1000, 2.0))
        assert 0 < low < gain
        gain, (low, _) = gain_of(make(1000, 1.0))
        assert low < 0


def test_perfect_probabilities_keep_finite_log_odds() -> None:
    p = Predictions(np.r_[np.zeros(50), np.ones(50)].astype(int), np.zeros(100), np.r_[np.zeros(50), np.ones(50)])
    better = learn_calibration(p).of(p)
    assert 0 < better.score.min() < 0.05
    assert 0.95 < better.score.max() < 1


def test_a_fold_is_recalibrated_by_the_other_folds_and_in_time_by_the_earlier_ones() -> None:
    p, fold = classes(300, 2.0), np.arange(300) // 100
    mixed = by_other_folds(p, fold, True, lambda *_: 0.5)
    in_time = by_other_folds(replace(p, time=np.arange(300)), fold, True, lambda *_: 0.5)
    for number, others, earlier in ((0, [1, 2], []), (1, [0, 2], [0]), (2, [0, 1], [0, 1])):
        own = p.of(fold == number)
        assert np.array_equal(
            mixed.of(fold == number).score, learn_calibration(p.of(np.isin(fold, others))).of(own).score
        )
        known = learn_calibration(p.of(np.isin(fold, earlier))).of(own) if earlier else own
        assert np.array_equal(in_time.of(fold == number).score, known.score)
    # the labels of a fold do not change what it is recalibrated by
    other = replace(p, actual=np.where(fold == 1, 1 - p.actual, p.actual))
    again = by_other_folds(other, fold, True, lambda *_: 0.5)
    assert np.array_equal(again.of(fold == 1).score, mixed.of(fold == 1).score)


def test_a_calibration_error_leaves_out_what_chance_adds_and_counts_units() -> None:
    true = [calibration_error(classes(400, seed=seed)) for seed in range(40)]
    assert np.mean([low == 0 for _, (low, _) in true]) > 0.9
    error, (low, high) = calibration_error(classes(4000, intercept=1.0))
    assert 0.15 < low < error < high < 0.22
    # ten copies of each row are no further rows
    p = classes(200, intercept=1.0)
    copies = p.of(np.repeat(np.arange(200), 10))
    grouped = replace(copies, group=np.repeat(np.arange(200), 10))
    assert calibration_error(grouped)[1] == pytest.approx(calibration_error(p)[1], abs=0.01)
    assert np.ptp(calibration_error(copies)[1]) < np.ptp(calibration_error(grouped)[1]) / 2
    assert calibration_error(replace(p, group=np.zeros(200)))[1] == [0.0, 1.0]
    # probabilities without a spread or an error have one too
    level = Predictions(np.tile([0, 1], 50), np.zeros(100), np.full(100, 0.5))
    assert calibration_error(level)[0] == 0
    assert calibration_error(replace(level, score=level.actual.astype(float))) == (0.0, [0.0, 0.0])


def test_prediction_intervals_hold_their_share_of_new_rows_in_every_part() -> None:
    def rows(count: int, seed: int) -> Predictions:
        rng = np.random.default_rng(seed)
        predicted = rng.uniform(0, 3, count)
        return Predictions(predicted + (rng.exponential(1, count) - 1) * predicted, predicted)

    learned, fresh = learn_errors(rows(8000, 0), 0.8), rows(50_000, 1)
    low, high = learned.of(fresh.predicted)
    held = (low <= fresh.actual) & (fresh.actual <= high)
    assert held.mean() == pytest.approx(0.8, abs=0.015)
    for part in (fresh.predicted < 0.6, fresh.predicted > 2.4):
        assert held[part].mean() == pytest.approx(0.8, abs=0.05)
    # as many errors lie beyond either side
    assert (fresh.actual < low).mean() == pytest.approx(0.1, abs=0.01)


def test_intervals_of_a_fold_come_from_the_other_folds_and_few_rows_are_refused() -> None:
    rng = np.random.default_rng(0)
    p, fold = Predictions(rng.normal(size=120), np.zeros(120)), np.arange(120) // 40
    low, high = bounds_by_other_folds(p, fold, 0.9)
    for number in range(3):
        others = np.sort(p.actual[fold != number])
        # 81 gaps between 80 errors: four beyond either bound
        assert set(low[fold == number]) == {others[3]}
        assert set(high[fold == number]) == {others[-4]}
    assert np.isnan(bounds_by_other_folds(replace(p, time=np.arange(120)), fold, 0.9)[0][:40]).all()
    with pytest.raises(PipelineError, match=r"120 rows are too few for intervals that hold 0\.99 of all; lower it"):
        learn_errors(p, 0.99)
    # a tree's few values leave a bin too few rows
    few = Predictions(rng.normal(size=1000), np.r_[np.zeros(995), np.arange(1, 6)])
    assert np.isfinite(learn_errors(few, 0.9).of(few.predicted)).all()


def found_of(name: str, model: str, settings: dict[str, object]) -> tuple[Assessment, object]:
    params = copy.deepcopy(PARAMS)
    params["datasets"][name] |= settings
    Path("params.yaml").write_text(yaml.safe_dump(params))
    config = load_config()
    dataset = config.dataset(name)
    parts = load_parts(dataset, config)
    return assess(resolve_recipe(dataset, config, model), parts), parts


@pytest.mark.parametrize("threshold", [0.5, 0.3, "tuned"])
@pytest.mark.parametrize("evaluation", ["holdout", "cross_validation"])
def test_a_recalibrated_model_serves_the_probabilities_and_labels_that_it_was_judged_by(
    project: Path, threshold: float | str, evaluation: str
) -> None:
    # one deep tree is far too sure
    params = copy.deepcopy(PARAMS)
    params["models"]["forest"]["params"] = {"n_estimators": 2, "max_depth": 20}
    params["datasets"]["customers"] |= {"calibrate": True, "threshold": threshold, "evaluation": evaluation}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    config = load_config()
    dataset = config.dataset("customers")
    parts, recipe = load_parts(dataset, config), resolve_recipe(dataset, config, "forest")
    found, raw = assess(recipe, parts), assess(replace(recipe, calibrate=False), parts)
    assert found.uncertainty["recalibrated"]
    assert 0 < found.uncertainty["log_loss_gain_interval"][0] < found.uncertainty["log_loss_gain"]
    assert found.cv["log_loss"] == pytest.approx(raw.cv["log_loss"] - found.uncertainty["log_loss_gain"], abs=1e-6)
    assert found.score["log_loss"] < raw.score["log_loss"]
    assert found.uncertainty["calibration_error"] < raw.uncertainty["calibration_error"]
    answer = predictions(served(found.model, columns_of_source(recipe, parts), parts.words), parts.test.X)
    label = found.model.predict(parts.test.X)
    assert [*answer["prediction"]] == [parts.words[one] for one in label]
    if evaluation == "holdout":
        assert [*answer["probability_Yes"]] == [*found.predictions.score]
        assert np.array_equal(found.predictions.predicted, label)
    else:
        fold = validating_fold(parts.whole.folds)
        assert len(fold) == len(found.predictions.actual)
        again = by_other_folds(raw.predictions, fold, True, lambda *_: 0.5)
        assert np.array_equal(again.score, found.predictions.score)


def test_true_probabilities_are_left_as_they_are(project: Path) -> None:
    found, _ = found_of("customers", "linear", {"calibrate": True})
    plain, _ = found_of("customers", "linear", {})
    assert found.uncertainty["recalibrated"] is False
    assert np.array_equal(found.predictions.score, plain.predictions.score)
    assert plain.uncertainty.keys() == {"calibration_error", "interval"}


@pytest.mark.parametrize("evaluation", ["holdout", "cross_validation"])
def test_a_model_of_numbers_gives_intervals_whose_coverage_is_shown(project: Path, evaluation: str) -> None:
    settings = {"prediction_interval": 0.8, "evaluation": evaluation}
    found, parts = found_of("houses", "linear", settings)
    facts = found.uncertainty
    low, high = facts["interval"]
    assert low < facts["coverage"] < high
    assert 0.65 < facts["coverage"] < 0.92
    assert 0 < facts["width"] < facts["width_of_target"]
    assert 0 < facts["pinball"] < facts["pinball_of_target"]
    recipe = replace(found.recipe)
    answer = predictions(served(found.model, columns_of_source(recipe, parts), ()), parts.test.X)
    assert [*answer] == ["prediction", "prediction_low", "prediction_high"]
    assert (answer["prediction_low"] < answer["prediction_high"]).all()
    if evaluation == "holdout":
        held = (answer["prediction_low"] <= parts.test.y) & (parts.test.y <= answer["prediction_high"])
        assert held.mean() == pytest.approx(facts["coverage"], abs=1e-6)
    assert np.array_equal(answer["prediction"], found.model.predict(parts.test.X))


def test_what_was_found_is_written_and_taken_from_the_run(project: Path) -> None:
    params = copy.deepcopy(PARAMS)
    params["datasets"]["houses"]["prediction_interval"] = 0.8
    params["datasets"]["customers"]["calibrate"] = True
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert train.main(["--model", "linear"]) == 0
    config = load_config()
    for name, metric in (("houses", "coverage"), ("customers", "calibration_error")):
        figures = json.loads(Path(f"metrics/train/{name}.json").read_text())
        found = figures["models"]["linear"]["uncertainty"]
        hashes = figures["data_sha256"], figures["models"]["linear"]["params_sha256"]
        run = newest_run(open_store(), name, "baseline", "linear", *hashes)
        assert run.metrics[metric] == found[metric]
        assert [run.metrics[f"{metric}_{end}"] for end in ("low", "high")] == found["interval"]
        dataset = config.dataset(name)
        tags = dict(zip(("data_sha256", "params_sha256"), hashes, strict=True))
        tags |= {"dataset": name, "stage": "baseline"}
        known = logged(open_store(), resolve_recipe(dataset, config, "linear"), load_parts(dataset, config), tags)
        assert known.uncertainty == found


def test_what_is_known_of_uncertainty_is_said() -> None:
    held = {"level": 0.9, "coverage": 0.85, "width": 2.0, "width_of_target": 5.0, "pinball": 0.1}
    held["pinball_of_target"] = 0.25
    for bounds, words in (([0.8, 0.95], "judged rows; they"), ([0.8, 0.89], "judged rows, fewer than asked for; they")):
        assert words in uncertainty_words({**held, "interval": bounds})
    off = {
        "calibration_error": 0.021,
        "interval": [0.01, 0.03],
        "log_loss_gain": 0.1,
        "log_loss_gain_interval": [0, 0.2],
    }
    assert "are 2.1% [1.0%, 3.0%] off" in uncertainty_words(off)
    assert "Recalibration lowers the log loss of the training part by 0.1" in uncertainty_words(
        off | {"recalibrated": True}
    )
    assert "is not kept, as it is not shown to help" in uncertainty_words(off | {"recalibrated": False})


@pytest.mark.parametrize(
    ("name", "setting", "words"),
    [
        ("houses", {"calibrate": True}, "datasets.houses.calibrate: it goes with classes, not with regression"),
        ("houses", {"threshold": "tuned"}, "datasets.houses.threshold: it goes with two classes, not with regression"),
        ("houses", {"threshold": {"capacity": 5}}, "it goes with two classes, not with regression; take the line out"),
        ("customers", {"prediction_interval": 0.9}, "prediction_interval: it goes with regression, not with binary"),
        ("houses", {"prediction_interval": 1}, "1 is out of range; give a number below 1"),
        ("houses", {"prediction_interval": 90}, "out of range"),
        ("houses", {"prediction_interval": 0.999}, "too few for intervals that hold 0.999 of all; lower it"),
        ("customers", {"calibrate": "yes"}, "calibrate"),
    ],
)
def test_a_setting_that_does_not_fit_is_told(
    project: Path, name: str, setting: dict[str, object], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    params = copy.deepcopy(PARAMS)
    params["datasets"][name] |= setting
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert train.main(["--dataset", name, "--model", "linear"]) == 2
    assert words in capsys.readouterr().err
