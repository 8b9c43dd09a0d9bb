"""The threshold at which probabilities become labels, how it is chosen, and what the labels are worth."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from pipeline.intervals import interval_of_amount, interval_of_saving
from pipeline.metrics import Predictions
from pipeline.serving.model import is_positive
from pipeline.settings import Decision

# Costs are told for so many rows.
PER_ROWS = 1000
# A threshold from labels 0 and 1 (n,) and probabilities (n,).
Choice = Callable[[np.ndarray, np.ndarray], float]


def threshold_choice(threshold: float | str | Decision, judged_rows: int) -> Choice:
    """How a dataset's threshold is chosen; a number is one whatever the rows are. A capacity is one of so many rows as
    the model is judged on.
    """
    if isinstance(threshold, str):
        return best_f1_threshold
    if not isinstance(threshold, Decision):
        return lambda actual, score: threshold
    if threshold.cost is not None:
        return partial(least_cost_threshold, threshold.cost.false_positive, threshold.cost.false_negative)
    assert threshold.capacity is not None
    return partial(capacity_threshold, threshold.capacity / judged_rows)


def best_f1_threshold(actual: np.ndarray, score: np.ndarray) -> float:
    """The threshold of probabilities (n,) with the best F1 for labels 0 and 1 (n,), half-way down to the next score.

    Where every row has the same score, or none is positive, there is nothing to choose: 0.5.
    """
    values, hits, alarms = _labelled_from(actual, score)
    if len(values) == 1 or not hits[0]:
        return 0.5
    # twice the hits by alarms and positives: van Rijsbergen 1979
    return _cut(values, int((hits / (alarms + hits[0])).argmax()))


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


def worth(threshold: float | str | Decision, judged: Predictions, seed: int) -> dict[str, Any] | None:
    """What the labels of the judged rows come to by what the threshold was chosen for, with the 95 % interval: the
    `cost` per PER_ROWS rows, or the `hits` among the `followed` rows, which are all that reach the threshold. None
    where it was chosen for neither.

    `others` has what other labels of the same rows come to, as pipeline/worth.py names them: at 0.5, of nobody and of
    everybody; a cost also with what the threshold `saved` beside them, hits also those of as many rows drawn at random.
    """
    if not isinstance(threshold, Decision) or judged.score is None:
        return None
    actual, chosen = judged.actual == 1, judged.predicted == 1
    n, half = len(actual), is_positive(judged.score, 0.5)
    if threshold.cost is None:
        hits = chosen & actual
        interval = interval_of_amount(hits.astype(float), 1.0, judged, seed)
        at_random = chosen.sum() * actual.mean()
        return {
            "capacity": threshold.capacity,
            "rows": n,
            "positives": int(actual.sum()),
            "followed": int(chosen.sum()),
            "hits": int(hits.sum()),
            "interval": [_six_digits(n * bound) for bound in interval],
            "others": {
                "half": {"hits": int((half & actual).sum()), "followed": int(half.sum())},
                "random": {"hits": _six_digits(at_random), "followed": int(chosen.sum())},
            },
        }
    cost = threshold.cost
    most = max(cost.false_positive, cost.false_negative)

    def costs_of(labels: np.ndarray) -> np.ndarray:
        return cost.false_positive * (labels & ~actual) + cost.false_negative * (actual & ~labels)

    costs, others = costs_of(chosen), dict[str, dict[str, Any]]()
    labels_of = {"half": half, "nobody": np.zeros(n, dtype=bool), "everybody": np.ones(n, dtype=bool)}
    for way, labels in labels_of.items():
        before = costs_of(labels)
        others[way] = {
            "cost": _six_digits(PER_ROWS * before.mean()),
            "saved": _six_digits(PER_ROWS * (before - costs).mean()),
            "saved_interval": [
                _six_digits(PER_ROWS * bound) for bound in interval_of_saving(before, costs, most, judged, seed)
            ],
        }
    return {
        "cost": _six_digits(PER_ROWS * costs.mean()),
        "per_rows": PER_ROWS,
        "interval": [_six_digits(PER_ROWS * bound) for bound in interval_of_amount(costs, most, judged, seed)],
        "others": others,
    }


def _six_digits(value: float) -> float:
    """Rounded to six digits, as costs may be in any unit."""
    return float(f"{value:.6g}")
