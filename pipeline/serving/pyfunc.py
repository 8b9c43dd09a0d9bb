"""How MLflow serves a logged model: predictions in the words of the target, with the probability of each class."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

from pipeline.console import PipelineError
from pipeline.serving.uncertainty import Bounded


class ServedModel:
    """A logged model as MLflow calls it."""

    def __init__(self, model: Pipeline) -> None:
        self.model = model

    def predict(self, rows: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame | np.ndarray:
        """As `predictions`, with a mistake in the rows told as MLflow's server tells the caller's mistakes."""
        try:
            return predictions(self.model, rows)
        except PipelineError as error:
            from mlflow.exceptions import MlflowException
            from mlflow.protos.databricks_pb2 import BAD_REQUEST

            raise MlflowException(str(error), error_code=BAD_REQUEST) from None


def predictions(model: Pipeline, rows: pd.DataFrame) -> pd.DataFrame | np.ndarray:
    """Of numbers the predictions (n,), or a frame with the columns `prediction`, `prediction_low` and `prediction_high`
    where the model gives prediction intervals; of classes a frame with the column `prediction`, and
    `probability_<class>` for each class. PipelineError: a row cannot be read.
    """
    features, last = model[:-1].transform(rows), model[-1]
    # CatBoost gives classes as a column
    answer = {"prediction": np.ravel(last.predict(features))}
    if isinstance(last, Bounded):
        answer["prediction_low"], answer["prediction_high"] = last.predict_interval(features)
    elif not is_classifier(model):
        return answer["prediction"]
    elif hasattr(last, "predict_proba"):
        shares = last.predict_proba(features).T
        answer |= {f"probability_{word}": share for word, share in zip(last.classes_, shares, strict=True)}
    return pd.DataFrame(answer, index=rows.index)


def _load_pyfunc(path: str) -> ServedModel:
    file = Path(path)
    with (file / "model.pkl" if file.is_dir() else file).open("rb") as opened:
        return ServedModel(pickle.load(opened))
