"""Figures of a fitted model, drawn with matplotlib; functions return a Figure and the caller saves it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, RocCurveDisplay, confusion_matrix

from pipeline.metrics import Predictions, metric_value
from pipeline.plots import curves

BLUE, ORANGE, GREY = "#1f5f99", "#d9730d", "#777777"
MOST_FEATURES = 20
LONGEST_NAME = 32
# More classes than this have no room for a count in each cell.
MOST_COUNTS = 12
# A cell of a density plot has at least this share of the rows, or one row: more rows do not fill it up with stragglers.
LEAST_SHARE = 1 / 5000


def feature_importance(importance: Mapping[str, float], title: str, metric: str) -> Figure:
    """Horizontal bars of the largest permutation importances, largest on top."""
    top = curves.most_important([importance], MOST_FEATURES)
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(top)), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(top)), list(top.values()), tick_label=_short(top), color=BLUE)
    axes.invert_yaxis()
    axes.set(title=title, xlabel=f"{curves.importance_axis(metric)} (test part)")
    axes.grid(axis="x", alpha=0.3)
    return figure


def predictions_plot(predictions: Predictions, title: str, task: str, words: Sequence[Any] = ()) -> Figure:
    """Regression: predicted against actual. Classes: confusion matrix; ROC and precision-recall curves if binary.
    `words`: of the two classes 0 and 1.
    """
    if task == "regression":
        figure = Figure(figsize=(6, 6), layout="constrained")
        axes = figure.subplots()
        _density(axes, predictions.actual, predictions.predicted)
        axes.axline((predictions.actual[0],) * 2, slope=1, color=ORANGE, linewidth=1)
        axes.set(title=f"{title} (R² {metric_value('r2', predictions):.3f})", xlabel="actual", ylabel="predicted")
        return figure
    if predictions.score is None:
        figure = Figure(figsize=(7, 6.4), layout="constrained")
        _confusion(figure.subplots(), predictions, ())
    else:
        figure = Figure(figsize=(13.8, 5.1), layout="compressed")
        left, middle, right = figure.subplots(1, 3)
        _confusion(left, predictions, words)
        x, y = curves.roc_points(predictions)
        chance: dict[str, Any] = {"plot_chance_level": True, "chance_level_kw": {"color": GREY}}
        RocCurveDisplay(fpr=x, tpr=y).plot(middle, curve_kwargs={"color": BLUE}, **chance)
        middle.set_title(f"ROC (area {metric_value('roc_auc', predictions):.3f})")
        x, y = curves.precision_recall_points(predictions)
        share = float((predictions.actual == 1).mean())
        steps = {"color": BLUE, "drawstyle": "steps-pre"}
        PrecisionRecallDisplay(y, x, prevalence_pos_label=share).plot(right, curve_kwargs=steps, **chance)
        right.set_title(f"precision-recall (average {metric_value('average_precision', predictions):.3f})")
    figure.suptitle(title)
    return figure


def diagnostics(predictions: Predictions, title: str, task: str, words: Sequence[Any] = ()) -> Figure:
    """Regression: residuals against predictions and their histogram. Binary: calibration and scores a class, by their
    `words`. Multiclass: recall and rows a class.
    """
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=task == "multiclass")
    if task == "regression":
        residuals = predictions.actual - predictions.predicted
        _density(left, predictions.predicted, residuals)
        left.axhline(0, color=ORANGE, linewidth=1)
        left.set(xlabel="predicted", ylabel="residual (actual - predicted)")
        right.hist(residuals, bins=60, color=BLUE)
        right.set(xlabel="residual", ylabel="rows")
    elif predictions.score is not None:
        x, y = curves.calibration_points(predictions)
        CalibrationDisplay(y, x, predictions.score).plot(ax=left, color=BLUE)
        # a rare class leaves all bins in a corner
        left.set(xlim=(0, 1.05 * max(*x, *y)), ylim=(0, 1.05 * max(*x, *y)))
        # told apart by hatching too, for a print without colours
        for label, colour, hatch in ((0, BLUE, ""), (1, ORANGE, "//")):
            scores = predictions.score[predictions.actual == label]
            [name] = _short([words[label] if words else f"class {label}"])
            right.hist(scores, np.linspace(0, 1, 11), color=colour, alpha=0.6, hatch=hatch, label=name)
        right.set(xlabel="predicted probability", ylabel="rows (log)", yscale="log")
        right.legend()
    else:
        labels, rows = np.unique(predictions.actual, return_counts=True)
        hit = predictions.actual == predictions.predicted
        recalls = [hit[predictions.actual == label].mean() for label in labels]
        left.barh(range(len(labels)), recalls, tick_label=_short(labels), color=BLUE)
        left.set(xlabel="recall", xlim=(0, 1))
        right.barh(range(len(labels)), rows, color=GREY)
        right.set(xlabel="rows")
    figure.suptitle(title)
    return figure


def _density(axes, x: np.ndarray, y: np.ndarray) -> None:
    """How many rows are where, in hexagons on a logarithmic scale of colours.

    PredictionErrorDisplay would draw each row as a point, or a random 1,000 of them.
    """
    least = max(1, int(LEAST_SHARE * len(x)))
    # the scale begins below the least count: its lightest colours do not show on white
    axes.hexbin(x, y, gridsize=60, mincnt=least, norm=LogNorm(vmin=least / 4), cmap="Blues")
    if least > 1:
        words = f"cells of fewer than {least:,} rows are blank"
        axes.text(0.02, 0.97, words, transform=axes.transAxes, va="top", fontsize=8, color=GREY)


def _confusion(axes, predictions: Predictions, words: Sequence[Any]) -> None:
    """Counts, on colours of their share of the actual class."""
    labels = np.unique(np.concatenate([predictions.actual, predictions.predicted]))
    counts = confusion_matrix(predictions.actual, predictions.predicted, labels=labels)
    names = _short([words[label] for label in labels] if words else labels)
    display = ConfusionMatrixDisplay(counts / counts.sum(axis=1, keepdims=True).clip(min=1), display_labels=names)
    turned = "vertical" if max(map(len, names)) > 4 else "horizontal"
    show = {"include_values": len(labels) <= MOST_COUNTS, "xticks_rotation": turned, "colorbar": False}
    display.plot(ax=axes, cmap="Blues", im_kw={"vmin": 0, "vmax": 1}, **show)
    if display.text_ is not None:
        for text, count in zip(display.text_.flat, counts.flat, strict=True):
            text.set_text(f"{count:,}")
    axes.set(xlabel="predicted", ylabel="actual", title="confusion matrix")


def _short(names: Iterable[object]) -> list[str]:
    """Without mathematics, which is what matplotlib takes dollars for."""
    return [curves.shortened(name, LONGEST_NAME).replace("$", r"\$") for name in names]
