"""The one number of each row that is explained: the predicted value, or the probability of a class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from pipeline.metrics import Predictions
from pipeline.tables.columns import value_text
from pipeline.tables.split import Parts
from pipeline.training.fit import predict


@dataclass(frozen=True)
class Output:
    """A fitted model of a frame's columns, and what is explained of it: for classes (0 and 1, or labels) the
    probability of `label`, or where the model gives none, whether it predicts that one. `words` say what it is.
    """

    model: Pipeline
    task: str
    words: str
    label: Any = None

    @property
    def has_shares(self) -> bool:
        """Whether it gives probabilities of classes."""
        return self.task != "regression" and hasattr(self.model[-1], "predict_proba")

    @property
    def columns(self) -> list[str]:
        """The columns that the model learns from."""
        return [*dict.fromkeys(name for _, _, names in self.model[0].transformers for name in names)]

    def predicted(self, X: pd.DataFrame, y: np.ndarray) -> Predictions:
        """PipelineError: as predict."""
        return predict(self.model, X, y, self.task)

    def values(self, X: pd.DataFrame) -> np.ndarray:
        """The explained number of each row of X (n,). PipelineError: as predict."""
        return self.of(self.predicted(X, np.zeros(len(X))))

    def of(self, found: Predictions) -> np.ndarray:
        """The explained number of each of n predictions (n,)."""
        if self.task == "regression":
            return np.asarray(found.predicted, dtype=float)
        if found.score is not None:
            return found.score
        if found.shares is None or found.classes is None:
            return (found.predicted == self.label).astype(float)
        return found.shares[:, found.classes == self.label].sum(axis=1)


def output_of(model: Pipeline, task: str, target: str, parts: Parts) -> Output:
    """What is explained of a model: of two classes the positive one, of several the most frequent where it learned."""
    if task == "regression":
        return Output(model, task, f"predicted {target}")
    if task == "binary":
        return Output(model, task, f"probability of {target} = {value_text(parts.words[1])}", 1)
    labels, counts = np.unique(parts.train.y, return_counts=True)
    label = labels[counts.argmax()]
    found = Output(model, task, "", label)
    kind = "probability of" if found.has_shares else "share of rows predicted"
    return replace(found, words=f"{kind} {target} = {label}")
