from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from pipeline.drift.expected import density_ratio, effective_rows, expected_score
from pipeline.drift.joint import Membership, encoded, membership
from pipeline.metrics import METRICS, Predictions, metric_value, metrics_of

REGRESSION, BINARY = metrics_of("regression"), metrics_of("binary")


def houses(rng: np.random.Generator, x: np.ndarray) -> Predictions:
    """A model that errs the more, the larger x (n,) is, of a target far above 0, as errors are shares of it too."""
    price = 10 + x
    return Predictions(price + rng.normal(0, 0.2 + 0.8 * (x > 0.5), len(x)), price + rng.normal(0, 0.01, len(x)))


def customers(rng: np.random.Generator, x: np.ndarray) -> Predictions:
    """A calibrated model that knows the less, the larger x (n,) is."""
    score = np.clip(0.5 + (1 - x) * rng.choice([-0.45, 0.45], len(x)), 0, 1)
    return Predictions((rng.random(len(x)) < score).astype(int), (score >= 0.5).astype(int), score)


def without_labels(predictions: Predictions) -> Predictions:
    return Predictions(np.zeros_like(predictions.actual), predictions.predicted, predictions.score)


def tables(rng: np.random.Generator, n: int = 4000, m: int = 1500, power: float = 2) -> tuple[np.ndarray, np.ndarray]:
    """x of the reference, uniform on 0 to 1, and of the current rows, with the density power * x ** (power - 1)."""
    return rng.random(n), rng.random(m) ** (1 / power)


def of(metric: str) -> Callable[[np.random.Generator, np.ndarray], Predictions]:
    return houses if metric in REGRESSION else customers


@pytest.mark.parametrize("metric", [*REGRESSION, *BINARY])
def test_weights_of_one_and_the_same_predictions_give_the_plain_score(metric: str) -> None:
    rng = np.random.default_rng(0)
    predictions = of(metric)(rng, rng.random(1000))
    found = expected_score(metric, predictions, np.ones(1000), without_labels(predictions), 0.0, 0)
    assert found.value == pytest.approx(metric_value(metric, predictions), rel=1e-9)
    assert found.effective_rows == pytest.approx(1000)
    assert found.reliable
    assert found.reason == ""
    assert found.interval[0] < found.value < found.interval[1]


def test_whole_numbers_as_target_are_no_classes() -> None:
    rng = np.random.default_rng(0)
    x = 1000 * rng.random(1000)
    whole = Predictions(x.astype(int), x + rng.normal(0, 50, 1000))
    found = expected_score("mae", whole, np.ones(1000), Predictions(whole.actual, x[::-1] + 7), 0.0, 0)
    assert found.value == pytest.approx(metric_value("mae", whole), rel=0.1)


def test_classes_without_scores_are_expected_too() -> None:
    rng = np.random.default_rng(0)
    actual = rng.choice(["a", "b", "c"], 1000)
    predicted = np.where(rng.random(1000) < np.where(actual == "a", 0.9, 0.4), actual, "b")
    everything, sure = Predictions(actual, predicted), predicted == "a"
    plain = expected_score("accuracy", everything, np.ones(1000), everything, 0.0, 0)
    assert plain.value == pytest.approx((actual == predicted).mean())
    only_a = Predictions(actual[sure], predicted[sure])
    assert expected_score("accuracy", everything, np.ones(1000), only_a, 0.0, 0).value > plain.value + 0.1


@pytest.mark.parametrize("metric", [*REGRESSION, *BINARY])
def test_a_known_shift_moves_the_estimate_to_the_truth(metric: str) -> None:
    rng = np.random.default_rng(1)
    errors, unchanged, held = [], [], 0
    for seed in range(20):
        old, new = tables(rng)
        reference, current = of(metric)(rng, old), of(metric)(rng, new)
        found = expected_score(metric, reference, 2 * old, without_labels(current), 0.0, seed)
        true = metric_value(metric, current)
        errors.append(abs(found.value - true))
        unchanged.append(abs(metric_value(metric, reference) - true))
        held += found.interval[0] <= true <= found.interval[1]
    assert np.mean(errors) < 0.6 * np.mean(unchanged)
    assert held >= 17


def test_the_interval_narrows_with_current_rows_and_with_reference_rows() -> None:
    rng = np.random.default_rng(2)

    def width(n: int, m: int) -> float:
        reference, current = customers(rng, rng.random(n)), customers(rng, rng.random(m))
        low, high = expected_score("accuracy", reference, np.ones(n), without_labels(current), 0.0, 0).interval
        return high - low

    few, more_current, more_reference = width(1000, 200), width(1000, 5000), width(20_000, 200)
    assert more_current < 0.8 * few
    assert more_reference < 0.97 * few


def test_rows_that_belong_together_are_drawn_together() -> None:
    rng = np.random.default_rng(4)

    def width(grouped: bool) -> float:
        sides = []
        for n in (2000, 1000):
            group = np.arange(n) // 50
            right = (rng.random(n) < rng.beta(1.6, 0.4, n // 50)[group]).astype(int)
            sides.append(Predictions(right, np.ones(n, int), np.ones(n), group if grouped else None))
        reference, current = sides
        low, high = expected_score("accuracy", reference, np.ones(2000), current, 0.0, 0).interval
        return high - low

    assert width(True) > 2.5 * width(False)


def test_the_predictions_of_the_current_rows_count() -> None:
    rng = np.random.default_rng(3)
    reference = customers(rng, rng.random(3000))
    # only sure ones, which the weights do not know
    current = customers(rng, np.full(1000, 0.05))
    found = expected_score("accuracy", reference, np.ones(3000), without_labels(current), 0.0, 0)
    assert found.value > metric_value("accuracy", reference) + 0.03
    low = Predictions(current.actual, np.zeros(1000, int), current.score)
    assert expected_score("f1", reference, np.ones(3000), low, 0.0, 0).value < metric_value("f1", reference) - 0.2


@pytest.mark.parametrize(
    ("weights", "outside", "positives", "words"),
    [
        (np.ones(2000), 0.2, 0.5, "20% of the current rows lie where there are hardly any reference rows"),
        (np.r_[np.full(20, 1e4), np.ones(1980)], 0.0, 0.5, "rows that look like the current ones tell no more than"),
        (np.ones(2000), 0.0, 0.002, "positive reference rows tell no more than"),
        (np.ones(2000), 0.0, 0.998, "negative reference rows tell no more than"),
    ],
)
def test_an_estimate_says_why_it_is_not_reliable(
    weights: np.ndarray, outside: float, positives: float, words: str
) -> None:
    rng = np.random.default_rng(4)
    actual = (np.arange(2000) % 1000 < 1000 * positives).astype(int)
    score = rng.random(2000)
    predictions = Predictions(actual, (score > 0.5).astype(int), score)
    found = expected_score("roc_auc", predictions, weights, predictions, outside, 0)
    assert not found.reliable
    assert words in found.reason


def test_few_current_rows_of_a_class_are_a_reason() -> None:
    rng = np.random.default_rng(5)
    score = rng.beta(1, 20, 10_000)
    reference = Predictions((rng.random(10_000) < score).astype(int), (score > 0.5).astype(int), score)
    current = Predictions(np.zeros(100), (score[:100] > 0.5).astype(int), score[:100])
    found = expected_score("roc_auc", reference, np.ones(10_000), current, 0.0, 0)
    assert "of the current rows are positive" in found.reason


def test_no_shift_gives_weights_of_one_and_a_shift_the_ratio_of_densities() -> None:
    rng = np.random.default_rng(6)
    old, new = tables(rng, 6000, 3000, power=3)
    same = membership(pd.DataFrame({"x": old[:4000]}), pd.DataFrame({"x": old[4000:]}), {"x": "number"}, 0)
    weights, outside = density_ratio(same)
    assert effective_rows(weights) > 0.95 * 4000
    assert outside < 0.02
    moved = membership(pd.DataFrame({"x": old}), pd.DataFrame({"x": new}), {"x": "number"}, 0)
    weights, outside = density_ratio(moved)
    assert weights.mean() == pytest.approx(1)
    assert np.abs(weights - 3 * old**2).mean() < 0.25
    assert outside < 0.05


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_current_rows_without_reference_are_outside(share: float) -> None:
    rng = np.random.default_rng(7)
    new = np.where(rng.random(2000) < share, 1 + rng.random(2000), rng.random(2000))
    found = membership(pd.DataFrame({"x": rng.random(4000)}), pd.DataFrame({"x": new}), {"x": "number"}, 0)
    assert density_ratio(found)[1] == pytest.approx((new > 1).mean(), abs=0.02)


def test_what_cannot_be_told_apart_is_weighted_alike() -> None:
    nothing = Membership(np.full(50, 0.5), np.full(20, 0.5), np.zeros(50, int), np.zeros(20, int))
    weights, outside = density_ratio(nothing)
    assert weights.tolist() == [1.0] * 50
    assert outside == 0.0
    wrong = Membership(np.linspace(0.4, 0.6, 50), np.linspace(0.3, 0.5, 20), np.zeros(50, int), np.zeros(20, int))
    assert density_ratio(wrong)[0].tolist() == [1.0] * 50


def test_probabilities_are_held_out_and_groups_stay_together() -> None:
    rng = np.random.default_rng(8)
    frame = pd.DataFrame({"noise": rng.normal(size=3000)})
    old, new = frame.iloc[:2000], frame.iloc[2000:]
    found = membership(old, new, {"noise": "number"}, 0)
    # nothing is there to be learned; a classifier that had seen the rows would tell them apart
    assert abs(found.current.mean() - found.reference.mean()) < 0.01
    assert set(found.fold_reference) == set(found.fold_current) == {0, 1, 2}
    groups = rng.integers(0, 40, 2000), rng.integers(0, 40, 1000)
    found = membership(old, new, {"noise": "number"}, 0, groups)
    fold = pd.Series(np.concatenate([found.fold_reference, found.fold_current]))
    assert (fold.groupby(np.concatenate(groups)).nunique() == 1).all()


def test_one_group_a_side_teaches_nothing() -> None:
    frame = pd.DataFrame({"x": np.r_[np.zeros(100), np.ones(50)]})
    groups = np.zeros(100), np.ones(50)
    found = membership(frame.iloc[:100], frame.iloc[100:], {"x": "number"}, 0, groups)
    assert set(found.reference) == set(found.current) == {0.5}


def test_a_column_without_values_teaches_nothing() -> None:
    rng = np.random.default_rng(9)
    frame = pd.DataFrame({"x": rng.random(900), "empty": np.nan, "one": [1.0] + [np.nan] * 899, "day": None})
    kinds = {"empty": "number", "one": "number", "day": "date"}
    nothing = membership(frame.iloc[:600], frame.iloc[600:], kinds, 0)
    assert np.ptp(nothing.reference) < 0.01
    with_x = membership(frame.iloc[:600], frame.iloc[600:], {"x": "number"} | kinds, 0)
    assert np.array_equal(with_x.current, membership(frame.iloc[:600], frame.iloc[600:], {"x": "number"}, 0).current)


def test_columns_of_every_kind_become_numbers() -> None:
    frame = pd.DataFrame(
        {
            "number": [1.5, np.nan] * 10,
            "category": ["a"] * 12 + ["b"] * 4 + ["c", None, "d", "e"],
            "date": ["1970-01-02", None] * 9 + ["1970-01-01T00:00:05", "no date"],
            "text": ["two words", None] * 9 + ["", "12"],
        },
        dtype=object,
    ).astype({"number": float})
    found = encoded(frame, {name: name for name in frame})
    assert found.shape == (20, 6)
    assert found[0].tolist() == [1.5, 0, 86400, 9, 2, pytest.approx(1 / 9)]
    assert np.isnan(found[1]).tolist() == [True, False, True, True, True, True]
    # rare ones together, missing ones apart
    assert found[12:17, 1].tolist() == [1] * 5
    assert np.isnan(found[17, 1])
    assert found[18, 2] == 5
    assert np.isnan(found[19, 2])
    assert found[19, 3:].tolist() == [2, 1, 1]


def test_every_metric_of_a_task_is_known_here() -> None:
    assert {*REGRESSION, *BINARY} == METRICS.keys()
