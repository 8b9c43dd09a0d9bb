"""What a metric is, in one entry each: its label, its tasks, its direction, and how it is computed.

Every metric is computed under a matrix of row weights, so that all resamples are one matrix product and the plain value
is the case of weights 1. What does not depend on the weights, as the order of the rows, is found once. A new metric is
one more entry of METRICS; every stage takes it from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    import numpy as np

CLASSES = ("binary", "multiclass")
Figure = TypeVar("Figure", float, "np.ndarray")
# The values (b,) for weights (b, n).
Weighted = Callable[["np.ndarray"], "np.ndarray"]


@dataclass(frozen=True)
class Predictions:
    """Labels or values per row, and the positive class's probability for binary tasks (None otherwise); each (n,).

    Where the dataset is split by it also the `group` of each row, or its `time`, which sorts. Multiclass: `shares`
    (n, k), the probability of each of `classes` (k,), in order; None where the model gives none.
    """

    actual: np.ndarray
    predicted: np.ndarray
    score: np.ndarray | None = None
    group: np.ndarray | None = None
    time: np.ndarray | None = None
    classes: np.ndarray | None = None
    shares: np.ndarray | None = None

    def of(self, rows: np.ndarray | slice) -> Predictions:
        """Those of some rows, by position or mask."""
        parts = (self.score, self.group, self.time, self.shares)
        score, group, time, shares = (part if part is None else part[rows] for part in parts)
        return Predictions(self.actual[rows], self.predicted[rows], score, group, time, self.classes, shares)


def joined(parts: Sequence[Predictions]) -> Predictions:
    """The predictions of several tables, one after the other. A class that the model of one did not know has the
    probability 0 there.
    """
    import numpy as np

    def column(name: str) -> Any:
        found = [getattr(part, name) for part in parts]
        return None if found[0] is None else np.concatenate(found)

    whole = Predictions(*map(column, ("actual", "predicted", "score", "group", "time")))
    known = [(part.classes, part.shares) for part in parts if part.classes is not None and part.shares is not None]
    if len(known) < len(parts):
        return whole
    classes = np.unique(np.concatenate([own for own, _ in known]))
    shares = np.zeros((sum(len(found) for _, found in known), len(classes)))
    first = 0
    for own, found in known:
        shares[first : first + len(found), np.searchsorted(classes, own)] = found
        first += len(found)
    return replace(whole, classes=classes, shares=shares)


@dataclass(frozen=True)
class Metric:
    """One metric. `of` takes predictions of n rows, and returns what finds its b values for weights (b, n), NaN where
    the metric is not defined. `meaning` is for the glossary of the pages. `default_of`: the tasks whose models are
    compared by it where params.yaml names none.

    The rest decides how its interval is found. `scale`: a share is between 0 and 1, a skill at most 1, a loss at least
    0, and only of that less is better. `of_rows` and `of_pairs`: it is a share of rows, or of pairs of rows. `counts`:
    it is found from counts of rows. `smooth`: False where leaving out single rows does not tell how rows move it.
    """

    label: str
    meaning: str
    tasks: tuple[str, ...]
    of: Callable[[Predictions], Weighted]
    default_of: tuple[str, ...] = ()
    scale: Literal["share", "skill", "loss"] = "share"
    of_rows: bool = False
    of_pairs: bool = False
    counts: bool = False
    smooth: bool = True

    @property
    def higher_is_better(self) -> bool:
        return self.scale != "loss"

    @property
    def sign(self) -> int:
        """1 or -1: a value times this is the larger, the better."""
        return 1 if self.higher_is_better else -1


def _r2(p: Predictions) -> Weighted:
    import numpy as np

    centred, losses = p.actual - p.actual.mean(), (p.actual - p.predicted) ** 2
    squares = centred**2

    def r2(w: np.ndarray) -> np.ndarray:
        spread = w @ squares - (w @ centred) ** 2 / w.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(spread > 0, 1 - w @ losses / spread, np.nan)

    return r2


def _mean(losses: np.ndarray) -> Weighted:
    """The mean of a loss (n,) of each row."""
    return lambda w: w @ losses / w.sum(axis=1)


def _rmse(p: Predictions) -> Weighted:
    squared = _mean((p.actual - p.predicted) ** 2)
    return lambda w: squared(w) ** 0.5


def _mae(p: Predictions) -> Weighted:
    return _mean(abs(p.actual - p.predicted))


def _median_absolute_error(p: Predictions) -> Weighted:
    """The weighted median of the errors: the mean of both where half the weight lies on either side of a gap."""
    import numpy as np

    errors = abs(p.actual - p.predicted)
    order = np.argsort(errors, kind="stable")
    ordered = errors[order]

    def median(w: np.ndarray) -> np.ndarray:
        reached = np.cumsum(w[:, order], axis=1)
        half = reached[:, -1:] / 2
        lower, upper = (reached < half).sum(axis=1), (reached <= half).sum(axis=1)
        return ordered[np.stack([lower, upper]).clip(max=len(order) - 1)].mean(axis=0)

    return median


def _mape(p: Predictions) -> Weighted:
    import numpy as np

    some = np.flatnonzero(p.actual != 0)
    mean = _mean(abs(1 - p.predicted[some] / p.actual[some]))

    def mape(w: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return mean(w if len(some) == w.shape[1] else w[:, some])

    return mape


def _accuracy(p: Predictions) -> Weighted:
    return _mean((p.actual == p.predicted).astype(float))


def _balanced_accuracy(p: Predictions) -> Weighted:
    """The mean over the classes that have weight."""
    import numpy as np

    is_of = p.actual[:, None] == np.unique(p.actual)
    right, every = (is_of & (p.actual == p.predicted)[:, None]).astype(float), is_of.astype(float)

    def balanced(w: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.nanmean((w @ right) / (w @ every), axis=1)

    return balanced


def _f1(p: Predictions) -> Weighted:
    """Binary: of the positive class. Multiclass: the mean over the classes (macro)."""
    import numpy as np

    def of_class(label: object) -> Weighted:
        actual, predicted = p.actual == label, p.predicted == label
        both, either = (actual & predicted).astype(float), actual.astype(float) + predicted

        def f1(w: np.ndarray) -> np.ndarray:
            hits, rows = w @ both, w @ either
            return np.divide(2 * hits, rows, out=np.zeros_like(hits), where=rows > 0)

        return f1

    classes = [of_class(label) for label in ([1] if p.score is not None else np.unique(p.actual))]
    return lambda w: np.mean([f1(w) for f1 in classes], axis=0)


def _roc_auc(p: Predictions) -> Weighted:
    """Multiclass: the mean over the classes that have weight, each against the rest."""
    import numpy as np

    if p.score is not None:
        return _in_order(p.actual == 1, p.score)
    classes = [_in_order(p.actual == label, share) for label, share in zip(*_by_class(p), strict=True)]

    def mean(w: np.ndarray) -> np.ndarray:
        found = [in_order(w) for in_order in classes]
        defined = np.isfinite(found)
        with np.errstate(invalid="ignore"):
            return np.where(defined, found, 0).sum(axis=0) / defined.sum(axis=0)

    return mean


def _by_class(p: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """The classes (k,) that rows are of, and the probability of each (k, n): of a model that gives none, all of it to
    the class that it predicts.
    """
    import numpy as np

    labels = np.unique(p.actual)
    if p.classes is None or p.shares is None:
        return labels, (p.predicted == labels[:, None]).astype(float)
    known, found = np.isin(labels, p.classes), np.zeros((len(labels), len(p.actual)))
    found[known] = p.shares.T[np.searchsorted(p.classes, labels[known])]
    return labels, found


def _in_order(is_positive: np.ndarray, score: np.ndarray) -> Weighted:
    """The Mann-Whitney statistic (Hanley & McNeil 1982): share of pairs in order, ties counting half."""
    import numpy as np

    positive, negative = np.flatnonzero(is_positive), np.flatnonzero(~is_positive)
    negative = negative[np.argsort(score[negative], kind="stable")]
    lower, upper = (np.searchsorted(score[negative], score[positive], side) for side in ("left", "right"))

    def share(w: np.ndarray) -> np.ndarray:
        below = np.zeros((len(w), len(negative) + 1))
        np.cumsum(w[:, negative], axis=1, out=below[:, 1:])
        hits = w[:, positive]
        wins = (hits * (below[:, lower] + below[:, upper])).sum(axis=1) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            return wins / (hits.sum(axis=1) * below[:, -1])

    return share


def _average_precision(p: Predictions) -> Weighted:
    """Mean precision at each step of recall; ties in the score count as one step.

    Recall rises only at steps with a positive row, so the rows between two of them are summed up at once.
    """
    import numpy as np

    assert p.score is not None
    order = np.argsort(-p.score, kind="stable")
    ranked = p.score[order]
    positive = np.flatnonzero(p.actual[order] == 1)
    if not len(positive):
        return lambda w: np.full(len(w), np.nan)
    firsts = np.flatnonzero(np.r_[True, np.diff(ranked[positive]) != 0])
    ends = np.searchsorted(-ranked, -ranked[positive[firsts]], "right")
    positive, steps = order[positive], np.r_[0, ends[:-1]]
    reached_rows = order[: ends[-1]]

    def precision(w: np.ndarray) -> np.ndarray:
        hits = np.add.reduceat(w[:, positive], firsts, axis=1)
        rows = np.add.reduceat(w[:, reached_rows], steps, axis=1)
        reached = np.cumsum(hits, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.nan_to_num(reached / np.cumsum(rows, axis=1))
            return (hits * precision).sum(axis=1) / reached[:, -1]

    return precision


def _log_loss(p: Predictions) -> Weighted:
    """Probabilities of 0 count as the smallest step of a float, as in scikit-learn: the loss of a row is 36 at most."""
    import numpy as np

    if p.score is not None:
        likelihood = np.where(p.actual == 1, p.score, 1 - p.score)
    else:
        labels, shares = _by_class(p)
        likelihood = shares[np.searchsorted(labels, p.actual), np.arange(len(p.actual))]
    return _mean(-np.log(likelihood.clip(np.finfo(float).eps)))


def _brier(p: Predictions) -> Weighted:
    """Brier (1950), of the positive class alone: half of what he has for two classes."""
    assert p.score is not None
    return _mean((p.score - (p.actual == 1)) ** 2)


# In the order in which files and pages list them.
METRICS = {
    "r2": Metric(
        "R²",
        "The share of the target's variance that the predictions explain: 1 is perfect, 0 is no better than its mean.",
        ("regression",),
        _r2,
        default_of=("regression",),
        scale="skill",
    ),
    "rmse": Metric(
        "RMSE",
        "The root of the mean squared error, in the target's unit; large errors count most. Lower is better.",
        ("regression",),
        _rmse,
        scale="loss",
    ),
    "mae": Metric(
        "MAE",
        "The mean absolute error, in the target's unit. Lower is better.",
        ("regression",),
        _mae,
        scale="loss",
    ),
    "median_absolute_error": Metric(
        "median absolute error",
        "Half of the rows are predicted closer than this, in the target's unit. Lower is better.",
        ("regression",),
        _median_absolute_error,
        scale="loss",
        smooth=False,
    ),
    "mape": Metric(
        "MAPE",
        "The mean absolute error as a share of the actual value, of rows whose value is not 0: 0.1 is 10 %. Lower is "
        "better.",
        ("regression",),
        _mape,
        scale="loss",
    ),
    "accuracy": Metric(
        "accuracy",
        "The share of rows whose class is predicted.",
        CLASSES,
        _accuracy,
        default_of=("multiclass",),
        of_rows=True,
        counts=True,
    ),
    "balanced_accuracy": Metric(
        "balanced accuracy",
        "The share of a class's rows whose class is predicted, mean over the classes: however rare, each counts alike.",
        CLASSES,
        _balanced_accuracy,
        counts=True,
    ),
    "f1": Metric(
        "F1",
        "The harmonic mean of precision (the share of alarms that are right) and recall (the share of positives that "
        "are found); of several classes the mean over them.",
        CLASSES,
        _f1,
        counts=True,
    ),
    "roc_auc": Metric(
        "ROC-AUC",
        "How often a positive row is ranked above a negative one: 0.5 is chance, 1 is perfect; of several classes the "
        "mean over each against the rest.",
        CLASSES,
        _roc_auc,
        default_of=("binary",),
        of_pairs=True,
    ),
    "average_precision": Metric(
        "average precision",
        "The mean precision from the first positive found to the last: the share of positives is chance, 1 is perfect.",
        ("binary",),
        _average_precision,
        smooth=False,
    ),
    "log_loss": Metric(
        "log loss",
        "The mean of -log(p), p the probability that was given to the actual class; it asks for true probabilities. "
        "Lower is better.",
        CLASSES,
        _log_loss,
        scale="loss",
    ),
    "brier": Metric(
        "Brier score",
        "The mean squared error of the positive class's probability; it asks for true probabilities. Lower is better.",
        ("binary",),
        _brier,
        scale="loss",
    ),
}


def metrics_of(task: str) -> tuple[str, ...]:
    """The metrics that models of a task are scored with; those of every task where it is not known yet ("")."""
    return tuple(name for name, metric in METRICS.items() if not task or task in metric.tasks)


def default_metric(task: str) -> str:
    return next(name for name, metric in METRICS.items() if task in metric.default_of)


def metric_value(metric: str, predictions: Predictions) -> float:
    import numpy as np

    return float(METRICS[metric].of(predictions)(np.ones((1, len(predictions.actual))))[0])


def scores(task: str, predictions: Predictions) -> dict[str, float]:
    """Every metric of the task."""
    return {metric: metric_value(metric, predictions) for metric in metrics_of(task)}


def best_of(metric: str, values: Mapping[str, float]) -> str | None:
    """The name of the best value; None without any."""
    return max(values, key=lambda name: METRICS[metric].sign * values[name], default=None)


def lead(metric: str, value: Figure, other: Figure) -> Figure:
    """By how much a value is better than another; below 0 where it is worse."""
    return METRICS[metric].sign * (value - other)


def relative_gain(metric: str, value: float, base: float) -> float | None:
    """lead / |base| to six digits; None for a base of 0, as an F1 may be."""
    return round(lead(metric, value, base) / abs(base), 6) if base else None
