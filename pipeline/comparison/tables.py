"""What DVC's own plots are drawn from: a CSV file a kind of plot, with the dataset and the model of each point."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from pipeline.comparison.entries import Comparison
from pipeline.metrics import Predictions
from pipeline.plots import curves

POINTS = 200
TOP_FEATURES = 10
Row = tuple[str | float, ...]


def plot_tables(comparisons: Sequence[Comparison]) -> dict[str, str]:
    """The text of each file by its name; only titles where no dataset has such a plot. Figures have five digits."""
    return {f"{name}.csv": _csv(columns, rows, comparisons) for name, (columns, rows) in TABLES.items()}


def curve(points: Callable[[Predictions], tuple[np.ndarray, np.ndarray]], c: Comparison) -> Iterator[Row]:
    """The points of every model's curve, where there are two classes."""
    for entry in c.entries if c.task == "binary" else ():
        x, y = curves.thinned(*points(entry.predictions), POINTS)
        yield from ((entry.name, *point) for point in zip(x, y, strict=True))


def predicted(c: Comparison) -> Iterator[Row]:
    """An even sample of the rows that the chosen model is judged on."""
    p = c.best.predictions
    if c.task == "regression":
        for row in np.linspace(0, len(p.actual) - 1, min(len(p.actual), POINTS)).astype(int):
            yield c.chosen, p.actual[row], p.predicted[row], p.actual[row] - p.predicted[row]


def importance(c: Comparison) -> Iterator[Row]:
    top = curves.most_important([entry.importance for entry in c.entries], TOP_FEATURES)
    for entry in c.entries:
        yield from ((entry.name, feature, entry.importance.get(feature, 0.0)) for feature in top)


def tuning(c: Comparison) -> Iterator[Row]:
    """The best complete trial so far."""
    for model, trials in c.studies.items():
        best = -np.inf
        for number, value, state in trials:
            if state == "COMPLETE" and c.main.sign * value > best:
                best = c.main.sign * value
            yield model, number, c.main.sign * best


# Columns after `dataset` and `model`; dvc.yaml names them.
TABLES: dict[str, tuple[tuple[str, ...], Callable[[Comparison], Iterator[Row]]]] = {
    "roc": (("false_positive_rate", "true_positive_rate"), partial(curve, curves.roc_points)),
    "precision_recall": (("recall", "precision"), partial(curve, curves.precision_recall_points)),
    "calibration": (("predicted", "share"), partial(curve, curves.calibration_points)),
    "predicted": (("actual", "predicted", "residual"), predicted),
    "importance": (("feature", "importance"), importance),
    "tuning": (("trial", "best"), tuning),
}


def _csv(columns: Sequence[str], rows: Callable[[Comparison], Iterator[Row]], comparisons: Sequence[Comparison]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["dataset", "model", *columns])
    for c in comparisons:
        for row in rows(c):
            writer.writerow([c.dataset, *(value if isinstance(value, str) else f"{value:.5g}" for value in row)])
    return text.getvalue()
