"""The points of curves and bars as plain arrays; the pictures beside a run and the comparison page both draw these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve

from pipeline.metrics import METRICS, Predictions

CALIBRATION_BINS = 10
LEAST_SHARE = 0.01


def roc_points(p: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates (k,), both rising from 0 to 1."""
    rates = sklearn_metrics.roc_curve(p.actual == 1, p.score)
    return rates[0], rates[1]


def precision_recall_points(p: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Recall (k,), rising from 0 to 1, and the best precision that reaches each; the area below these steps is the
    average precision.
    """
    precision, recall, _ = sklearn_metrics.precision_recall_curve(p.actual == 1, p.score)
    precision, recall = precision[::-1], recall[::-1]
    first = np.r_[True, np.diff(recall) > 0]
    return recall[first], precision[first]


def calibration_points(p: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Mean predicted probability and share of positives (k,) in at most CALIBRATION_BINS bins of about as many rows, to
    six digits after the point: the last ones depend on the processor, and would make another picture.
    """
    share, mean = calibration_curve(p.actual == 1, p.score, n_bins=CALIBRATION_BINS, strategy="quantile")
    return mean.round(6), share.round(6)


def most_important(importances: Sequence[Mapping[str, float]], most: int) -> dict[str, float]:
    """The features that matter most to any model and their largest importance, in falling order."""
    largest: dict[str, float] = {}
    for importance in importances:
        largest |= {feature: max(value, largest.get(feature, value)) for feature, value in importance.items()}
    return dict(sorted(largest.items(), key=lambda item: -item[1])[:most])


def notable(importances: Sequence[Mapping[str, float]], most: int) -> dict[str, float]:
    """Of these the ones that matter at least LEAST_SHARE of the first one, which is always there."""
    top = most_important(importances, most)
    first, *_ = top
    return {feature: value for feature, value in top.items() if feature == first or value > LEAST_SHARE * top[first]}


def importance_axis(metric: str) -> str:
    """What permutation importance measures, for the title of an axis."""
    return f"{'drop' if METRICS[metric].higher_is_better else 'rise'} in {METRICS[metric].label} when shuffled"


def shortened(name: object, most: int) -> str:
    text = str(name)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def thinned(x: np.ndarray, y: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """At most so many points of a curve, evenly along it, so that steep parts keep theirs."""
    if len(x) <= most:
        return x, y
    along = np.cumsum(np.r_[0, np.abs(np.diff(x)) + np.abs(np.diff(y))])
    shown = np.unique(np.searchsorted(along, np.linspace(0, along[-1], most)).clip(max=len(x) - 1))
    return x[shown], y[shown]
