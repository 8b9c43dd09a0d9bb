"""The threshold at which probabilities become labels, how it is chosen, and what the labels are worth."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve

from pipeline.console import PipelineError
from pipeline.intervals import interval_of_mean
from pipeline.metrics import Predictions
from pipeline.serving.model import is_positive
from pipeline.settings import Decision

# A threshold from labels 0 and 1 (n,) and probabilities (n,).
Choice = Callable[[np.ndarray, np.ndarray], float]


def threshold_choice(threshold: float | str | Decision, judged_rows: int) -> Choice | None:
    """How a dataset's threshold is chosen; None where it is a number. A capacity is one of the rows that the model is
    judged on. PipelineError: these are fewer.
    """
    if threshold == "tuned":
        return best_f1_threshold
    if not isinstance(threshold, Decision):
        return None
    if threshold.cost is not None:
        return partial(least_cost_threshold, threshold.cost.false_positive, threshold.cost.false_negative)
    assert threshold.capacity is not None
    if threshold.capacity > judged_rows:
        words = f"{threshold.capacity} are more than the {judged_rows:,} rows that models are judged on; give fewer"
        raise PipelineError(f"params.yaml: threshold.capacity: {words}")
    return partial(capacity_threshold, threshold.capacity / judged_rows)


def best_f1_threshold(actual: np.ndarray, score: np.ndarray) -> float:
    """The threshold of probabilities (n,) with the best F1 for labels 0 and 1 (n,), half-way down to the next score.

    Where every row has the same score there is nothing to choose: 0.5.
    """
    precision, recall, thresholds = precision_recall_curve(actual, score)
    if len(thresholds) == 1:
        return 0.5
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    best = int(f1[:-1].argmax())
    return float(thresholds[max(best - 1, 0) : best + 1].mean())


def least_cost_threshold(false_positive: float, false_negative: float, actual: np.ndarray, score: np.ndarray) -> float:
    """The threshold of probabilities (n,) whose wrong labels cost least for labels 0 and 1 (n,); of several that with
    the fewest alarms. It may be above every score.
    """
    values, hits, alarms = _labelled_from(actual, score)
    costs = false_positive * (alarms - hits) + false_negative * (hits[0] - hits)
    return _cut(values, len(values) - int(costs[::-1].argmin()))


def capacity_threshold(share: float, actual: np.ndarray, score: np.ndarray) -> float:
    """The lowest threshold that at most that share of the probabilities (n,) reaches; it may be above all of them."""
    values, _, alarms = _labelled_from(actual, score)
    # a share is a quotient, whose product may lie just below a whole number
    return _cut(values, int(np.argmax(alarms <= share * len(score) + 1e-6)))


def _labelled_from(actual: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct scores (k,), ascending, and how many positive rows and rows in all are labelled from each of them on
    (k + 1,), from none last.
    """
    values, which = np.unique(score, return_inverse=True)
    each = np.bincount(which, actual == 1), np.bincount(which)
    hits, alarms = (np.append(counts[::-1].cumsum()[::-1], 0) for counts in each)
    return values, hits, alarms


def _cut(values: np.ndarray, first: int) -> float:
    """A threshold that the scores (k,) from a place on reach: half-way down to the one before, past the last one
    half-way to 1.
    """
    if first == 0:
        return float(values[0])
    above = values[first] if first < len(values) else 1.0
    return float(max((values[first - 1] + above) / 2, np.nextafter(values[first - 1], np.inf)))


def labels_by_other_folds(actual: np.ndarray, score: np.ndarray, fold: np.ndarray, choose: Choice) -> np.ndarray:
    """Labels 0 and 1 of rows (n,) from their out-of-fold probabilities: those of each fold at the threshold chosen on
    the other folds.
    """
    labels = np.zeros(len(actual), dtype=int)
    for number in np.unique(fold):
        own = fold == number
        labels[own] = is_positive(score[own], choose(actual[~own], score[~own]))
    return labels


def worth(threshold: float | str | Decision, judged: Predictions, seed: int) -> dict[str, Any] | None:
    """What the labels of the judged rows come to by what the threshold was chosen for, with the 95 % interval, beside
    those at 0.5: the `cost` a row, or the `hits` among the `followed` rows, which are all that reach the threshold.
    None where it was chosen for neither.
    """
    if not isinstance(threshold, Decision) or judged.score is None:
        return None
    actual = judged.actual == 1
    chosen, half = judged.predicted == 1, is_positive(judged.score, 0.5)
    if threshold.cost is None:
        n, hits = len(actual), (chosen & actual).astype(float)
        interval = [n * bound for bound in interval_of_mean(hits, judged, seed)]
        return {
            "capacity": threshold.capacity,
            "followed": int(chosen.sum()),
            "hits": int(hits.sum()),
            "interval": [round(bound, 6) for bound in interval],
            "followed_at_half": int(half.sum()),
            "hits_at_half": int((half & actual).sum()),
        }
    unit = threshold.cost
    costs, at_half = (
        unit.false_positive * (labels & ~actual) + unit.false_negative * (actual & ~labels) for labels in (chosen, half)
    )
    return {
        "cost": round(float(costs.mean()), 6),
        "interval": [round(bound, 6) for bound in interval_of_mean(costs, judged, seed)],
        "cost_at_half": round(float(at_half.mean()), 6),
        "saved": round(float((at_half - costs).mean()), 6),
        "saved_interval": [round(bound, 6) for bound in interval_of_mean(at_half - costs, judged, seed)],
    }
