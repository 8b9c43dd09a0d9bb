"""A run's predictions as artifacts: predictions.csv of the judged rows, out_of_fold.csv of the training part."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.console import PipelineError
from pipeline.metrics import Predictions

SHARE = "probability_"
WHOLE_NUMBER = r"-?[1-9]\d*|0"


def predictions_csv(p: Predictions, rows: pd.Index) -> str:
    """The text of such an artifact: the label of each row, its target, prediction and probability, its group or time
    where rows belong together by it, and of several classes the probability of each.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    belonging = {kind: labels for kind, labels in (("group", p.group), ("time", p.time)) if labels is not None}
    classes, shares = (() if part is None else part.T.tolist() for part in (p.classes, p.shares))
    writer.writerow(["row", "actual", "predicted", "score", *belonging, *(f"{SHARE}{label}" for label in classes)])
    scores = p.score.tolist() if p.score is not None else [""] * len(p.actual)
    columns = p.actual.tolist(), p.predicted.tolist(), scores, *(labels.tolist() for labels in belonging.values())
    writer.writerows(zip(rows, *columns, *shares, strict=True))
    return text.getvalue()


def read_predictions(path: Path, task: str, words: bool | None = None, kept: str = "") -> Predictions:
    """The predictions of such an artifact, in its order.

    Args:
        words: whether the classes of a multiclass target are words; where it is not known, they are where not all read
            like whole numbers.
        kept: what says which rows belong together, "group" or "time".

    PipelineError: that is not there, as in runs of earlier versions.
    """
    judged = ["actual", "predicted"]
    # labels of classes may read like missing values or numbers (007, inf), and numbers keep their last digit
    kinds = dict.fromkeys(["group", *(judged if task == "multiclass" else [])], str)
    table = pd.read_csv(path, keep_default_na=False, float_precision="round_trip", dtype=kinds)
    shares = [name for name in table if name.startswith(SHARE)]
    classes = np.array([name.removeprefix(SHARE) for name in shares], dtype=object)
    if task == "multiclass" and words is None:
        words = not pd.concat([table[judged].stack(), pd.Series(classes)]).str.fullmatch(WHOLE_NUMBER).all()
    if task == "multiclass" and not words:
        table[judged], classes = table[judged].astype(int), classes.astype(int)
    probabilities = {"classes": classes, "shares": table[shares].to_numpy()} if shares else {}
    score = table["score"].to_numpy() if task == "binary" else None
    if kept and kept not in table:
        raise PipelineError(f"{path}: does not say the {kept} of each row, as runs of earlier versions; train again")
    belonging = {kept: table[kept].to_numpy()} if kept else {}
    return Predictions(table["actual"].to_numpy(), table["predicted"].to_numpy(), score, **belonging, **probabilities)


def read_rows(path: Path) -> pd.Index:
    """The row labels that belong to read_predictions."""
    return pd.Index(pd.read_csv(path, usecols=["row"])["row"])
