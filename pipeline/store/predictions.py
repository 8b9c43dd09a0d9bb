"""A run's predictions as artifacts: predictions.csv of the judged rows, out_of_fold.csv of the training part."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd

from pipeline.metrics import Predictions

WHOLE_NUMBER = r"-?[1-9]\d*|0"


def predictions_csv(p: Predictions, rows: pd.Index) -> str:
    """The text of such an artifact: the label of each row, its target, prediction and probability."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "actual", "predicted", "score"])
    scores = p.score.tolist() if p.score is not None else [""] * len(p.actual)
    writer.writerows(zip(rows, p.actual.tolist(), p.predicted.tolist(), scores, strict=True))
    return text.getvalue()


def read_predictions(path: Path, task: str, words: bool | None = None) -> Predictions:
    """The predictions of such an artifact, in its order. `words`: whether the classes of a multiclass target are words;
    where it is not known, they are where not all read like whole numbers.
    """
    judged = ["actual", "predicted"]
    # labels of classes may read like missing values or numbers (007, inf), and numbers keep their last digit
    kinds = dict.fromkeys(judged, str) if task == "multiclass" else None
    table = pd.read_csv(path, keep_default_na=False, float_precision="round_trip", dtype=kinds)
    if task == "multiclass" and words is None:
        words = not table[judged].stack().str.fullmatch(WHOLE_NUMBER).all()
    if task == "multiclass" and not words:
        table[judged] = table[judged].astype(int)
    score = table["score"].to_numpy() if task == "binary" else None
    return Predictions(table["actual"].to_numpy(), table["predicted"].to_numpy(), score)


def read_rows(path: Path) -> pd.Index:
    """The row labels that belong to read_predictions."""
    return pd.Index(pd.read_csv(path, usecols=["row"])["row"])
