"""Prediction intervals of numbers: what out-of-fold errors say of the errors to come.

Split conformal prediction (Lei et al. 2018, Distribution-Free Predictive Inference for Regression) with the errors of
cross-validation, whose models have learned from a little less than the final one. Bounds differ between bins of the
prediction (Mondrian, Boström & Johansson 2020), as errors often grow with it, and below from above.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from sklearn.pipeline import Pipeline

from pipeline.console import PipelineError
from pipeline.metrics import Predictions
from pipeline.serving.uncertainty import Bounded, bounds
from pipeline.training.calibration import others_of

# At most so many bins, each with at least so many errors beyond either bound.
BINS, BEYOND = 10, 5


@dataclass(frozen=True)
class Errors:
    """As Bounded has it: what is added below and above (b,) in bins of the prediction with the edges (b - 1,)."""

    edges: tuple[float, ...]
    below: tuple[float, ...]
    above: tuple[float, ...]

    def of(self, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lower and upper bounds (n,) of predictions (n,)."""
        return bounds(predicted, **asdict(self))


def learn_errors(p: Predictions, level: float) -> Errors:
    """From predictions of rows that their models have not learned from (n,), for intervals that hold the share `level`
    of new rows. PipelineError: the rows are too few for it.
    """
    n, tail = len(p.actual), (1 - level) / 2
    # the rank from either end, beyond which a new error falls in that share of draws at most
    if (n + 1) * tail < 1:
        words = f"{n} rows are too few for intervals that hold {level:.4g} of all; lower it"
        raise PipelineError(f"params.yaml: prediction_interval: {words}")
    count = int(np.clip(n * tail // BEYOND, 1, BINS))
    edges = np.unique(np.quantile(p.predicted, np.arange(1, count) / count))
    which, error = np.searchsorted(edges, p.predicted, side="right"), p.actual - p.predicted
    below, above = [], []
    for number in range(len(edges) + 1):
        # values that many rows share, as those of a tree, may leave a bin too few
        own = np.sort(error[which == number] if (which == number).sum() * tail >= 1 else error)
        rank = int((len(own) + 1) * tail)
        below.append(float(own[rank - 1]))
        above.append(float(own[-rank]))
    return Errors(tuple(map(float, edges)), tuple(below), tuple(above))


def bound_model(model: Pipeline, errors: Errors) -> None:
    """Let a fitted model give prediction intervals too, in place."""
    name, last = model.steps[-1]
    model.steps[-1] = name, Bounded(last, **asdict(errors))


def bounds_by_other_folds(pooled: Predictions, fold: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """The bounds (n,) of pooled out-of-fold predictions (n,), those of each fold by the errors of the other folds; in
    time, of the earlier ones, and NaN in the first.
    """
    low, high = np.full((2, len(fold)), np.nan)
    for number in np.unique(fold):
        own, others = fold == number, others_of(pooled, fold, number)
        if others.any():
            low[own], high[own] = learn_errors(pooled.of(others), level).of(pooled.predicted[own])
    return low, high
