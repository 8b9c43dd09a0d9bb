"""Intervals: what is drawn together, how wide they are, and how often they hold the truth."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import PARAMS, make_customers

import train
from pipeline import intervals
from pipeline.console import PipelineError
from pipeline.intervals import (
    degrees_of_freedom,
    newcombe,
    paired_differences,
    paired_leads,
    rough,
    score_intervals,
    units,
)
from pipeline.metrics import Predictions, joined, lead, metric_value
from pipeline.settings import load_config
from pipeline.store.connect import open_store
from pipeline.store.predictions import read_predictions
from pipeline.store.runs import run_of
from pipeline.tables.split import load_parts
from pipeline.training.assess import naive_predictions


def grouped(count: int, size: int, seed: int) -> Predictions:
    """Groups of rows, most of which are right or wrong together: a third of the variance is that between groups."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(count), size)
    right = rng.random(count * size) < rng.beta(1.6, 0.4, count)[group]
    return Predictions(np.ones(count * size, int), right.astype(int), right.astype(float), group)


def width(bounds: list[float]) -> float:
    return bounds[1] - bounds[0]


def test_intervals_of_groups_hold_the_truth_and_those_of_single_rows_do_not() -> None:
    held, ratios = {"groups": 0, "rows": 0}, []
    for table in (grouped(40, 25, seed) for seed in range(60)):
        ways = {"groups": table, "rows": dataclasses.replace(table, group=None)}
        found = {name: score_intervals("binary", p, 0)["accuracy"] for name, p in ways.items()}
        for name, (low, high) in found.items():
            held[name] += low <= 0.8 <= high
        ratios.append(width(found["groups"]) / width(found["rows"]))
    assert held["groups"] >= 53
    assert held["rows"] <= 40
    assert np.median(ratios) > 2.5


def test_a_difference_of_groups_is_as_wide_as_they_say() -> None:
    p, other = grouped(40, 25, 0), grouped(40, 25, 1)
    apart = [dataclasses.replace(one, group=None) for one in (p, other)]
    [(value, by_groups)] = paired_differences("accuracy", p, [other], 0)
    [(same, by_rows)] = paired_differences("accuracy", apart[0], apart[1:], 0)
    assert value == same
    assert width(by_groups) > 2 * width(by_rows)
    assert paired_leads("binary", p, other, 0)["accuracy"] == by_groups
    assert paired_differences("accuracy", p, [], 0) == []


def test_rows_are_drawn_with_their_group_or_block_of_time() -> None:
    zeros = np.zeros(6)
    assert units(Predictions(zeros, zeros)).tolist() == [0, 1, 2, 3, 4, 5]
    words = np.array(["b", "a", "b", None, None, "a"], dtype=object)
    assert units(Predictions(zeros, zeros, group=words)).tolist() == [0, 1, 0, 2, 3, 1]
    days = np.array([f"2024-01-{1 + i // 3:02}" for i in range(90)], dtype=object)
    order = np.random.default_rng(0).permutation(90)
    found = units(Predictions(np.zeros(90), np.zeros(90), time=days[order]))[np.argsort(order)]
    # as many blocks as there can be, in order, and no day in two of them
    assert set(np.diff(found)) == {0, 1}
    assert found.max() + 1 == intervals.BLOCKS
    assert all(len(set(found[days == day])) == 1 for day in days)
    for weights in intervals.resamples(found, 0):
        assert all(np.ptp(weights[:, found == block], axis=1).max() == 0 for block in set(found))


@pytest.mark.parametrize("kept", ["", "group", "time"])
def test_the_error_of_a_mean_is_that_of_its_formula(kept: str) -> None:
    rng, n = np.random.default_rng(0), 2000
    noise = np.repeat(rng.normal(size=20), 100) + rng.normal(size=n)
    p = Predictions(np.zeros(n), noise, **({kept: np.arange(n) // 100} if kept else {}))
    found = intervals.estimate_of(lambda w: w @ noise / w.sum(axis=1), None, p, 0)
    means = noise.reshape(20, 100).mean(axis=1) - noise.mean()
    spread = (means**2).mean() / 19
    if kept == "time":
        # blocks of two neighbours, each block being in two of them
        spread = ((means + np.roll(means, 1)) ** 2).mean() / 2 / 18
    assert found.value == pytest.approx(noise.mean())
    assert found.error == pytest.approx(
        np.sqrt(spread) if kept else noise.std(ddof=1) / np.sqrt(n), rel=0.15 * (not kept)
    )
    assert 5 < found.freedom < (200 if not kept else 20)


def test_a_metric_that_is_not_smooth_has_the_error_of_resamples() -> None:
    rng, width_of = np.random.default_rng(0), []
    for n in (200, 50_000):
        p = Predictions(np.zeros(n), rng.normal(size=n))
        low, high = score_intervals("regression", p, 0)["median_absolute_error"]
        # the sample median's standard error by its density (Cramér 1946): 0.787 / sqrt(n)
        width_of.append((high - low) * np.sqrt(n) / (2 * 1.96 * 0.787))
    assert width_of == pytest.approx([1, 1], abs=0.3)


def test_a_ranking_of_few_rows_has_an_interval_that_does_not_rest_on_them() -> None:
    low, high = newcombe(0.9, 20, 400)
    assert 0.75 < low < 0.85 < 0.93 < high < 0.97
    # alike for the classes turned round
    assert newcombe(0.1, 400, 20) == pytest.approx([1 - high, 1 - low])
    actual = np.r_[np.ones(20, int), np.zeros(400, int)]
    score = np.r_[np.linspace(0.5, 1, 20), np.linspace(0, 0.6, 400)]
    p = Predictions(actual, (score > 0.5).astype(int), score)
    assert score_intervals("binary", p, 0)["roc_auc"] == newcombe(metric_value("roc_auc", p), 20, 400)


def test_units_that_decide_are_counted() -> None:
    rng = np.random.default_rng(0)
    alike = degrees_of_freedom(rng.normal(size=200))
    few = rng.normal(size=200) * np.r_[np.full(10, 10.0), np.full(190, 0.1)]
    assert 100 < alike < 200 * intervals.CAUTION
    assert degrees_of_freedom(few) < 10
    assert degrees_of_freedom(np.ones(5)) < 5


@pytest.mark.parametrize(("rows", "positives", "accuracy", "auc"), [(40, 3, 37 / 40, 0.0), (2000, 8, 0.9985, 0.625)])
def test_a_model_without_a_mistake_is_as_sure_as_the_rows_that_could_have_shown_one(
    rows: int, positives: int, accuracy: float, auc: float
) -> None:
    actual = (np.arange(rows) < positives).astype(int)
    perfect = Predictions(actual, actual, actual.astype(float))
    found = score_intervals("binary", perfect, 0)
    assert found["accuracy"] == pytest.approx([accuracy, 1])
    for metric in ("roc_auc", "average_precision", "f1"):
        assert found[metric] == pytest.approx([auc, 1]), metric
    naive = Predictions(actual, np.zeros(rows, dtype=int), np.full(rows, 0.5))
    # over what is the same in every resample it is the same interval
    assert paired_leads("binary", perfect, naive, 0)["roc_auc"] == pytest.approx([auc - 0.5, 0.5])


@pytest.mark.parametrize("kept", ["group", "time"])
def test_one_group_or_time_says_no_certainty(kept: str) -> None:
    rng = np.random.default_rng(0)
    actual = rng.normal(size=50)
    p = Predictions(actual, actual + rng.normal(size=50), **{kept: np.full(50, 2024)})
    assert rough("regression", p) == {"group": "1 group", "time": "1 point in time"}[kept]
    low, high = score_intervals("regression", p, 0)["r2"]
    assert high - low > 0.2


def test_a_model_that_finds_no_positive_is_rough() -> None:
    actual, none = np.arange(200) % 2, np.zeros(200, dtype=int)
    assert rough("binary", Predictions(actual, none, np.full(200, 0.1))) == "no row predicted positive"


def test_too_few_rows_of_a_class_or_groups_are_called_rough(binary: Predictions) -> None:
    assert rough("binary", binary) == ""
    rare = dataclasses.replace(binary, actual=np.where(np.arange(300) < 20, 1, 0))
    assert rough("binary", rare) == "20 rows of the rarer class"
    assert rough("binary", dataclasses.replace(binary, group=np.arange(300) % 19)) == "19 groups"
    assert rough("binary", dataclasses.replace(binary, time=np.arange(300) % 7)) == "7 points in time"
    assert rough("binary", dataclasses.replace(binary, time=np.arange(300))) == ""
    assert rough("regression", Predictions(np.arange(30.0), np.zeros(30))) == ""
    assert rough("regression", Predictions(np.arange(29.0), np.zeros(29))) == "29 rows"
    assert rough("binary", dataclasses.replace(binary, predicted=binary.actual)) == "no row predicted wrongly"


def test_the_lead_over_the_naive_prediction_is_that_of_the_same_rows(binary: Predictions) -> None:
    naive = naive_predictions("binary", np.array([0, 0, 1]), binary)
    assert set(naive.predicted) == {0}
    leads = paired_leads("binary", binary, naive, 0)
    for metric, (low, high) in leads.items():
        assert low <= lead(metric, metric_value(metric, binary), metric_value(metric, naive)) <= high
    # against a constant, the interval of F1 and of ROC-AUC is that of the model
    assert leads["f1"] == score_intervals("binary", binary, 0)["f1"]


@pytest.mark.parametrize(("kept", "column"), [("group", "visits"), ("time", "day")])
def test_rows_that_belong_together_do_so_in_every_stage(project: Path, kept: str, column: str) -> None:
    params = {**PARAMS, "datasets": {"customers": PARAMS["datasets"]["customers"] | {"split": {kept: column}}}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    table = make_customers()
    days = np.arange(len(table)) // 3
    table = table.assign(visits=[f"v{i // 4}" for i in range(len(table))], day=days)
    table.to_csv("data/customers.csv", index=False)
    assert train.main(["--model", "linear"]) == 0
    found = json.loads(Path("metrics/train/customers.json").read_text())
    config = load_config()
    dataset = config.dataset("customers")
    run = run_of(open_store(), "customers", "linear", found["data_sha256"], found["models"]["linear"]["params_sha256"])
    stored, parts = run.predictions("binary", kept), load_parts(dataset, config)
    labels = getattr(stored, kept)
    assert [*map(str, labels)] == [*map(str, parts.test.X[column])]
    intervals = found["models"]["linear"]["interval"]
    again = score_intervals("binary", stored, config.seed)
    assert {metric: [round(bound, 6) for bound in bounds] for metric, bounds in again.items()} == intervals
    both = joined([stored, stored])
    assert len(getattr(both, kept)) == 2 * len(labels)
    # a run of an earlier version does not say it, and is not taken for one of single rows
    former = Path("predictions.csv")
    lines = run.artifact("predictions.csv").read_text().splitlines()
    former.write_text("\n".join(line.rpartition(",")[0] for line in lines))
    assert read_predictions(former, "binary").actual.tolist() == stored.actual.tolist()
    with pytest.raises(PipelineError, match=f"does not say the {kept} of each row.*train again"):
        read_predictions(former, "binary", kept=kept)


@pytest.mark.filterwarnings("error")
def test_the_interval_of_a_metric_that_is_never_defined_is_none() -> None:
    one_class = Predictions(np.zeros(9, int), np.zeros(9, int), np.linspace(0, 1, 9))
    intervals = score_intervals("binary", one_class, 0)
    assert np.isnan(intervals["roc_auc"]).all()
    # nine rows without a mistake leave a third of a chance for one
    assert intervals["accuracy"] == pytest.approx([1 - 3 / 9, 1])


def test_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        y = np.ones(150, dtype=int)
        predicted = (rng.random(150) < 0.8).astype(int)
        low, high = score_intervals("binary", Predictions(y, predicted, predicted.astype(float)), 0)["accuracy"]
        covered += low <= 0.8 <= high
    assert 180 <= covered <= 199


def test_paired_difference_is_narrower_than_two_intervals(binary: Predictions) -> None:
    other = Predictions(binary.actual, np.where(np.arange(300) < 12, binary.actual, binary.predicted), binary.score)
    [(difference, (low, high))] = paired_differences("accuracy", other, [binary], 0)
    assert difference == pytest.approx(metric_value("accuracy", other) - metric_value("accuracy", binary))
    assert 0 <= low <= difference <= high
    single = score_intervals("binary", binary, 0)["accuracy"]
    assert high - low < (single[1] - single[0]) / 2


def test_many_rows_are_resampled_in_smaller_chunks_to_the_same_interval(
    binary: Predictions, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = score_intervals("binary", binary, 0)
    monkeypatch.setattr("pipeline.intervals.CHUNK_CELLS", 7 * len(binary.actual))
    for metric, bounds in score_intervals("binary", binary, 0).items():
        assert bounds == pytest.approx(whole[metric], rel=1e-12)


def test_a_paired_interval_of_a_higher_level_is_wider(binary: Predictions) -> None:
    rng = np.random.default_rng(1)
    other = dataclasses.replace(binary, predicted=np.where(rng.random(300) < 0.2, 1 - binary.predicted, binary.actual))
    found = [paired_differences("accuracy", binary, [other], 0, level)[0] for level in (0.95, 0.99, 0.9999)]
    assert found[0] == paired_differences("accuracy", binary, [other], 0)[0]
    reach = [difference - low for difference, (low, _) in found]
    # as the quantiles of the normal distribution have it, a little more for 300 rows
    assert [one / reach[0] for one in reach] == pytest.approx([1, 1.314, 1.985], abs=0.07)
