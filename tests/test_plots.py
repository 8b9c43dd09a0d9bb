import io

import numpy as np
import pytest

from pipeline.metrics import Predictions, metric_value
from pipeline.plots import curves
from pipeline.plots.drift import drift_over_time
from pipeline.plots.run import diagnostics, feature_importance, predictions_plot


def scored(rows: int, ties: float) -> Predictions:
    """Binary predictions; a share of the scores ties with others."""
    rng = np.random.default_rng(0)
    actual = rng.integers(0, 2, rows)
    score = np.where(rng.random(rows) < ties, rng.integers(0, 8, rows) / 8, rng.random(rows)) * 0.6 + 0.3 * actual
    return Predictions(actual, (score > 0.5).astype(int), score)


def test_checks_over_time_show_the_scores_of_one_metric() -> None:
    score = {"value": 0.8, "interval": [0.7, 0.9]}
    points = [
        {
            "window": f"week {n}",
            "effect": 0.1 * n,
            "drift": drift,
            "metric": metric,
            "expected": expected,
            "score": None,
        }
        for n, (drift, metric, expected) in enumerate([(False, "f1", score), (True, "r2", score), (None, "", None)])
    ]
    changes, scores = drift_over_time(points, "f1", 0.02).axes
    assert [text.get_text() for text in changes.get_legend().get_texts()] == [
        "drift",
        "none found",
        "no verdict",
        "what counts",
    ]
    [shown] = scores.containers
    assert shown.lines[0].get_ydata().tolist() == [0.8]
    [changes] = drift_over_time(points[2:], "", 0.02).axes


@pytest.mark.parametrize("ties", [0, 0.5, 1])
def test_curves_have_the_area_of_their_metric(ties: float) -> None:
    p = scored(3000, ties)
    x, y = curves.roc_points(p)
    assert np.trapezoid(y, x) == pytest.approx(metric_value("roc_auc", p))
    recall, precision = curves.precision_recall_points(p)
    assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(metric_value("average_precision", p))
    assert (np.diff(recall) > 0).all()


def test_a_thinned_curve_keeps_its_ends_and_its_area() -> None:
    x, y = curves.precision_recall_points(scored(3000, 0))
    few_x, few_y = curves.thinned(x, y, 200)
    assert len(few_x) <= 200 < len(x)
    assert (few_x[0], few_y[0], few_x[-1], few_y[-1]) == (x[0], y[0], x[-1], y[-1])
    assert np.trapezoid(few_y, few_x) == pytest.approx(np.trapezoid(y, x), abs=2e-3)


def test_calibration_bins_hold_as_many_rows_each() -> None:
    p = scored(3000, 0)
    mean, share = curves.calibration_points(p)
    assert len(mean) == curves.CALIBRATION_BINS
    assert share.mean() == pytest.approx(p.actual.mean())
    assert mean.mean() == pytest.approx(p.score.mean())
    assert len(curves.calibration_points(scored(3000, 1))[0]) <= curves.CALIBRATION_BINS


def test_features_are_ranked_by_what_they_matter_to_any_model() -> None:
    first, second = {"a": 0.1, "b": -0.2}, {"a": 0.05, "c": 0.3}
    assert curves.most_important([first, second], 2) == {"c": 0.3, "a": 0.1}
    assert list(curves.most_important([first], 9)) == ["a", "b"]


def test_importance_is_a_rise_of_a_metric_that_is_better_when_lower() -> None:
    assert curves.importance_axis("r2") == "drop in R² when shuffled"
    assert curves.importance_axis("rmse") == "rise in RMSE when shuffled"


@pytest.mark.pictures
def test_long_names_of_one_beginning_have_a_bar_each() -> None:
    names = [f"{'$x ' * 20}{number}" for number in range(3)]
    labels = np.array(names * 20)
    figures = [feature_importance(dict.fromkeys(names, 0.1), "title", "accuracy")]
    figures += [draw(Predictions(labels, labels), "title", "multiclass") for draw in (diagnostics, predictions_plot)]
    for figure, bars in zip(figures, (3, 6, 0), strict=True):
        figure.savefig(io.BytesIO(), format="png")
        places = {(axes, patch.get_y()) for axes in figure.axes for patch in axes.patches}
        assert len(places) == bars
