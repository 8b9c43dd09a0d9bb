"""Figures of a fitted model, drawn with matplotlib; functions return a Figure and the caller saves it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from pipeline.metrics import Predictions, metric_value

BLUE, ORANGE, GREY = "#1f5f99", "#d9730d", "#777777"
MOST_FEATURES = 20
# A cell of a density plot has at least this share of the rows, or one row: more rows do not fill it up with stragglers.
LEAST_SHARE = 1 / 5000


def feature_importance(importance: Mapping[str, float], title: str, metric: str) -> Figure:
    """Horizontal bars of the largest permutation importances, largest on top."""
    top = sorted(importance.items(), key=lambda item: item[1])[-MOST_FEATURES:]
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(top)), layout="constrained")
    axes = figure.subplots()
    axes.barh([_short(name) for name, _ in top], [value for _, value in top], color=BLUE)
    axes.set(title=title, xlabel=f"drop in {metric} when the column is shuffled (test part)")
    axes.grid(axis="x", alpha=0.3)
    return figure


def predictions_plot(predictions: Predictions, title: str, task: str) -> Figure:
    """Regression: predicted against actual. Classes: confusion matrix; ROC and precision-recall curves if binary."""
    if task == "regression":
        figure = Figure(figsize=(6, 6), layout="constrained")
        axes = figure.subplots()
        _density(axes, predictions.actual, predictions.predicted)
        low = min(predictions.actual.min(), predictions.predicted.min())
        high = max(predictions.actual.max(), predictions.predicted.max())
        axes.plot([low, high], [low, high], color=ORANGE, linewidth=1)
        axes.set(title=f"{title} (R² {metric_value('r2', predictions):.3f})", xlabel="actual", ylabel="predicted")
        return figure
    panels = 3 if predictions.score is not None else 1
    figure = Figure(figsize=(4.6 * panels, 4.4), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _confusion(axes[0], predictions)
    if predictions.score is not None:
        _curves(axes[1], axes[2], predictions)
    figure.suptitle(title)
    return figure


def diagnostics(predictions: Predictions, title: str, task: str) -> Figure:
    """Regression: residuals against predictions and their histogram. Binary: calibration and scores a class."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    if task == "regression":
        residuals = predictions.actual - predictions.predicted
        _density(left, predictions.predicted, residuals)
        left.axhline(0, color=ORANGE, linewidth=1)
        left.set(xlabel="predicted", ylabel="residual (actual - predicted)")
        right.hist(residuals, bins=60, color=BLUE)
        right.set(xlabel="residual", ylabel="rows")
    elif predictions.score is not None:
        edges = np.linspace(0, 1, 11)
        where = np.clip(np.digitize(predictions.score, edges) - 1, 0, 9)
        filled = [b for b in range(10) if (where == b).any()]
        left.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
        means = [predictions.score[where == b].mean() for b in filled]
        left.plot(means, [predictions.actual[where == b].mean() for b in filled], "o-", color=BLUE)
        left.set(xlabel="predicted probability", ylabel="share of positives", xlim=(0, 1), ylim=(0, 1))
        # told apart by hatching too, for a print without colours
        for label, colour, hatch in ((0, BLUE, ""), (1, ORANGE, "//")):
            scores = predictions.score[predictions.actual == label]
            right.hist(scores, edges, color=colour, alpha=0.6, hatch=hatch, label=f"class {label}")
        right.set(xlabel="predicted probability", ylabel="rows (log)", yscale="log")
        right.legend()
    else:
        labels = np.unique(predictions.actual)
        names = [_short(label) for label in labels]
        hit = predictions.actual == predictions.predicted
        left.barh(names, [hit[predictions.actual == label].mean() for label in labels], color=BLUE)
        left.set(xlabel="recall", xlim=(0, 1))
        right.barh(names, [(predictions.actual == label).sum() for label in labels], color=GREY)
        right.set(xlabel="rows")
    figure.suptitle(title)
    return figure


def _density(axes, x: np.ndarray, y: np.ndarray) -> None:
    """How many rows are where, in hexagons on a logarithmic scale of colours."""
    least = max(1, int(LEAST_SHARE * len(x)))
    axes.hexbin(x, y, gridsize=60, mincnt=least, bins="log", cmap="Blues")
    if least > 1:
        words = f"cells of fewer than {least:,} rows are blank"
        axes.text(0.02, 0.97, words, transform=axes.transAxes, va="top", fontsize=8, color=GREY)


def _confusion(axes, predictions: Predictions) -> None:
    labels = np.unique(np.concatenate([predictions.actual, predictions.predicted]))
    counts = np.array(
        [[((predictions.actual == a) & (predictions.predicted == p)).sum() for p in labels] for a in labels]
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(labels) <= 12:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour)
    ticks = [_short(label) for label in labels]
    axes.set_xticks(range(len(labels)), ticks)
    axes.set_yticks(range(len(labels)), ticks)
    axes.set(xlabel="predicted", ylabel="actual", title="confusion matrix")


def _curves(roc, precision_recall, predictions: Predictions) -> None:
    assert predictions.score is not None
    order = np.argsort(-predictions.score, kind="stable")
    last = np.r_[np.diff(predictions.score[order]) != 0, True]
    positive = predictions.actual[order] == 1
    hits, misses = np.cumsum(positive)[last], np.cumsum(~positive)[last]
    roc.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    roc.plot(np.r_[0, misses / max(misses[-1], 1)], np.r_[0, hits / max(hits[-1], 1)], color=BLUE)
    roc.set(xlabel="false positive rate", ylabel="true positive rate")
    roc.set_title(f"ROC (area {metric_value('roc_auc', predictions):.3f})")
    precision_recall.step(hits / max(hits[-1], 1), hits / (hits + misses), where="pre", color=BLUE)
    precision_recall.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    precision_recall.set_title(f"precision-recall (average {metric_value('average_precision', predictions):.3f})")


def _short(name: object) -> str:
    text = str(name).replace("$", r"\$")
    return text if len(text) <= 32 else text[:31] + "…"
