"""What a logged model says of its own uncertainty: calibrated probabilities of classes, bounds of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from pipeline.serving.fitted import Fitted


class Calibrated(ClassifierMixin, Fitted):
    """A fitted classifier with recalibrated probabilities; of several classes it predicts the most probable one."""

    def __init__(
        self, estimator: BaseEstimator, slopes: Sequence[float], intercepts: Sequence[float], least: float
    ) -> None:
        self.estimator, self.slopes, self.intercepts, self.least = estimator, slopes, intercepts, least

    @property
    def classes_(self) -> np.ndarray:
        return self.estimator.classes_

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities (n, k), in the order of classes_."""
        shares = self.estimator.predict_proba(X)
        if shares.shape[1] > 2:
            return recalibrated(shares, self.slopes, self.intercepts, self.least)
        positive = recalibrated(shares[:, 1:], self.slopes, self.intercepts, self.least)
        return np.hstack([1 - positive, positive])

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The classes (n,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def recalibrated(shares: np.ndarray, slopes: Sequence[float], intercepts: Sequence[float], least: float) -> np.ndarray:
    """Probabilities (n, k) of k classes, each moved on the scale of log-odds by the slope and intercept of its class:
    logistic recalibration (Cox 1958; Platt 1999). Those below `least` count as that; several classes' add up to 1.
    """
    found = expit(logit(shares.clip(least, 1 - least)) * slopes + intercepts)
    return found / found.sum(axis=1, keepdims=True) if found.shape[1] > 1 else found


class Bounded(RegressorMixin, Fitted):
    """A fitted regressor that gives the bounds of a prediction interval too."""

    def __init__(
        self, estimator: BaseEstimator, edges: Sequence[float], below: Sequence[float], above: Sequence[float]
    ) -> None:
        self.estimator, self.edges, self.below, self.above = estimator, edges, below, above

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The predictions (n,), in the target's unit."""
        return self.estimator.predict(X)

    def predict_interval(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lower and the upper bounds (n,), in the target's unit."""
        return bounds(self.predict(X), self.edges, self.below, self.above)


def bounds(
    predicted: np.ndarray, edges: Sequence[float], below: Sequence[float], above: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """The lower and upper bounds (n,) of predictions (n,): each with what `below` and `above` add in its bin, of b bins
    with the `edges` (b - 1,) between them.
    """
    which = np.searchsorted(edges, predicted, side="right")
    return predicted + np.asarray(below)[which], predicted + np.asarray(above)[which]
