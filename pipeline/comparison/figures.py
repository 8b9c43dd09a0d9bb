"""The report's figures, as plain plotly dictionaries."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.comparison.entries import Comparison
from pipeline.metrics import METRICS, Predictions

# told apart by lightness, pattern and symbol too, so that a black and white print can be read
COLOURS = ("#1b4f80", "#e08214", "#7fb3d5", "#8c510a", "#5aae61", "#c2a5cf", "#444444", "#d6604d")
PATTERNS = ("", "/", "x", "-", "\\", "+", ".", "|")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
SCATTER_POINTS = 600
CURVE_POINTS = 200
TOP_FEATURES = 10
LEAST_SHARE = 0.01
CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Plot:
    """A figure: plotly traces and layout, and what it shows in words."""

    key: str
    title: str
    words: str
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]


def dataset_plots(comparison: Comparison, position: int) -> list[Plot]:
    """Every figure of a dataset's section."""
    plots = [score_bars(comparison), metric_heatmap(comparison)]
    plots += [tuning_history(comparison, model) for model in comparison.studies]
    plots.append(trade_off(comparison))
    if comparison.task == "regression":
        plots.append(predicted_against_actual(comparison))
    elif comparison.task == "binary":
        plots += [roc_curves(comparison), precision_recall_curves(comparison), calibration_curves(comparison)]
    plots.append(importance_bars(comparison))
    return [Plot(f"plot-{position}-{n}", p.title, p.words, p.traces, p.layout) for n, p in enumerate(plots)]


def score_bars(comparison: Comparison) -> Plot:
    """Bars of the main metric with intervals; the naive baseline and the ceiling as lines."""
    metric, name = comparison.metric, METRICS[comparison.metric].label
    values = [entry.metrics[metric] for entry in comparison.entries]
    bounds = [entry.intervals[metric] for entry in comparison.entries]
    labels = [f"{_text(entry.name)}  {value:.3f}" for entry, value in zip(comparison.entries, values, strict=True)]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": labels,
        "x": values,
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [high - value for value, (_, high) in zip(values, bounds, strict=True)],
            "arrayminus": [value - low for value, (low, _) in zip(values, bounds, strict=True)],
            "color": "#111111",
        },
        "marker": {
            "color": ["#1b4f80" if entry.name == comparison.chosen else "#a9c3dc" for entry in comparison.entries],
            "pattern": {"shape": ["/" if entry.tuned else "" for entry in comparison.entries]},
        },
        "showlegend": False,
    }
    traces: list[dict[str, Any]] = [bars]
    for label, level, dash in (("achievable ceiling", comparison.ceiling, "dash"), ("naive", comparison.naive, "dot")):
        if level is not None:
            line = {"dash": dash, "color": "#333333", "width": 1.5}
            shown = f"{label} {round(level, 3) + 0.0:.3f}"
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "y": labels,
                    "x": [level] * len(labels),
                    "name": shown,
                    "line": line,
                }
            )
    best = comparison.entry(comparison.chosen)
    words = (
        f"{name} of {len(values)} models with 95 % intervals; chosen by cross-validation: {best.name} with "
        f"{best.metrics[metric]:.3f}. Hatched bars are tuned."
    )
    layout = _layout(x=name) | {"height": 150 + 50 * len(labels)}
    layout["yaxis"]["autorange"] = "reversed"
    return Plot("", f"{name} of every model", words, traces, layout)


def metric_heatmap(comparison: Comparison) -> Plot:
    """Every metric of every model; shade from worst to best within a column."""
    metrics = list(comparison.entries[0].metrics)
    values = np.array([[entry.metrics[metric] for metric in metrics] for entry in comparison.entries])
    signs = np.array([METRICS[metric].sign for metric in metrics])
    ranked = values * signs
    spread = np.ptp(ranked, axis=0)
    shade = np.where(spread > 0, (ranked - ranked.min(axis=0)) / np.where(spread > 0, spread, 1), 0.5)
    heatmap = {
        "type": "heatmap",
        "x": [METRICS[metric].label for metric in metrics],
        "y": [_text(entry.name) for entry in comparison.entries],
        "z": shade.round(4).tolist(),
        "text": [[f"{value:.3f}" for value in row] for row in values],
        "texttemplate": "%{text}",
        "hovertemplate": "%{y}, %{x}: %{text}<extra></extra>",
        "colorscale": [[0, "#ffffff"], [1, "#9dc3e0"]],
        "textfont": {"color": "#111111"},
        "showscale": False,
    }
    layout = _layout() | {"yaxis": {"autorange": "reversed", "automargin": True}, "height": 150 + 50 * len(values)}
    return Plot("", "All metrics", "Darker is better within each column.", [heatmap], layout)


def tuning_history(comparison: Comparison, model: str) -> Plot:
    """Each trial's value and the best so far."""
    trials = comparison.studies[model]
    complete = [trial for trial in trials if trial.state == "COMPLETE"]
    pruned = [trial for trial in trials if trial.state == "PRUNED"]
    best = np.maximum.accumulate([trial.value for trial in complete]).tolist()
    traces = [
        _points("complete", [t.number for t in complete], [t.value for t in complete], "#1b4f80", "circle"),
        _points("pruned (last value)", [t.number for t in pruned], [t.value for t in pruned], "#e08214", "x-thin-open"),
        {
            "type": "scatter",
            "mode": "lines",
            "name": "best so far",
            "x": [trial.number for trial in complete],
            "y": best,
            "line": {"shape": "hv", "color": "#111111"},
        },
    ]
    words = f"{len(trials)} trials of {model}, {len(pruned)} of them pruned; best search value {best[-1]:.4f}."
    # a poor trial far below must not flatten all others
    low = (
        float(np.quantile([trial.value for trial in trials], 0.1)) if len(trials) > 10 else min(t.value for t in trials)
    )
    span = max(best[-1] - low, 1e-6)
    layout = _layout(x="trial", y=f"{METRICS[comparison.metric].label} in the search")
    layout["yaxis"]["range"] = [low - 0.15 * span, best[-1] + 0.15 * span]
    return Plot("", f"Tuning of {model}", words, traces, layout)


def trade_off(comparison: Comparison) -> Plot:
    """Score against fit time; the marker's area is the model's size."""
    largest = max(entry.model_bytes for entry in comparison.entries)
    traces = []
    for position, entry in enumerate(comparison.entries):
        trace = _points(
            f"{entry.name} ({entry.model_bytes / 1e6:.2f} MB)",
            [entry.fit_seconds],
            [entry.metrics[comparison.metric]],
            _pick(COLOURS, position),
            _pick(SYMBOLS, position),
        )
        trace["marker"]["size"] = 10 + 24 * (entry.model_bytes / largest) ** 0.5
        traces.append(trace)
    fastest = min(comparison.entries, key=lambda entry: entry.fit_seconds)
    words = f"{fastest.name} fits fastest ({fastest.fit_seconds:.2f} s). Larger markers are larger models."
    layout = _layout(x="seconds to fit (logarithmic)", y=METRICS[comparison.metric].label)
    # room for the markers, which are larger than points
    layout["xaxis"] |= {"type": "log", "range": _padded(np.log10([entry.fit_seconds for entry in comparison.entries]))}
    layout["yaxis"]["range"] = _padded(np.array([entry.metrics[comparison.metric] for entry in comparison.entries]))
    return Plot("", "Score against time and size", words, traces, layout)


def predicted_against_actual(comparison: Comparison) -> Plot:
    """The chosen model's predictions for an even sample of the rows that it is judged on."""
    entry = comparison.entry(comparison.chosen)
    p = entry.predictions
    shown = np.linspace(0, len(p.actual) - 1, min(len(p.actual), SCATTER_POINTS)).astype(int)
    low, high = float(min(p.actual.min(), p.predicted.min())), float(max(p.actual.max(), p.predicted.max()))
    traces = [
        _points("row", _round(p.actual[shown]), _round(p.predicted[shown]), "#1b4f80", "circle-open"),
        {
            "type": "scatter",
            "mode": "lines",
            "name": "perfect",
            "x": [low, high],
            "y": [low, high],
            "line": {"color": "#333333", "dash": "dash"},
        },
    ]
    words = f"{len(shown):,} of {len(p.actual):,} rows; R² {entry.metrics['r2']:.3f}."
    target = _text(comparison.target)
    layout = _layout(x=f"actual {target}", y=f"predicted {target}")
    return Plot("", f"Predicted against actual: {entry.name}", words, traces, layout)


def _diagonal(name: str) -> dict[str, Any]:
    line = {"color": "#777777", "width": 1}
    return {"type": "scatter", "mode": "lines", "name": name, "x": [0, 1], "y": [0, 1], "line": line}


def roc_curves(comparison: Comparison) -> Plot:
    traces: list[dict[str, Any]] = []
    for position, entry in enumerate(comparison.entries):
        hits, misses = _operating_points(entry.predictions)
        x, y = np.r_[0, misses / misses[-1]], np.r_[0, hits / hits[-1]]
        # thinned along the curve: rows would leave nothing of its first bend
        shown = np.unique(np.searchsorted(x + y, np.linspace(0, x[-1] + y[-1], CURVE_POINTS)))
        x, y = x[shown], y[shown]
        traces.append(_line(f"{entry.name} ({entry.metrics['roc_auc']:.3f})", x, y, position))
    traces.append(_diagonal("chance"))
    words = "; ".join(f"{entry.name} {entry.metrics['roc_auc']:.3f}" for entry in comparison.entries)
    layout = _layout(x="false positive rate", y="true positive rate")
    return Plot("", "ROC curves", f"Area under the curve: {words}.", traces, layout)


def precision_recall_curves(comparison: Comparison) -> Plot:
    traces = []
    for position, entry in enumerate(comparison.entries):
        hits, misses = _operating_points(entry.predictions)
        label = f"{entry.name} ({entry.metrics['average_precision']:.3f})"
        # the first threshold that reaches a recall has its best precision
        first = np.flatnonzero(np.diff(hits, prepend=0))
        recall, precision = hits[first] / hits[-1], hits[first] / (hits + misses)[first]
        trace = _line(label, np.r_[0, recall], np.r_[precision[:1], precision], position)
        trace["line"]["shape"] = "vh"
        traces.append(trace)
    words = "; ".join(f"{entry.name} {entry.metrics['average_precision']:.3f}" for entry in comparison.entries)
    share = float((comparison.entries[0].predictions.actual == 1).mean())
    words = f"Average precision: {words}. Chance is the share of positives, {share:.3f}."
    return Plot("", "Precision-recall curves", words, traces, _layout(x="recall", y="precision"))


def calibration_curves(comparison: Comparison) -> Plot:
    """Mean predicted probability against share of positives, in bins that hold the same number of rows."""
    traces = [_diagonal("perfect")]
    largest = 0.0
    for position, entry in enumerate(comparison.entries):
        score = entry.predictions.score
        assert score is not None
        bins = np.array_split(np.argsort(score, kind="stable"), CALIBRATION_BINS)
        x = np.array([score[b].mean() for b in bins if len(b)])
        y = np.array([entry.predictions.actual[b].mean() for b in bins if len(b)])
        traces.append(_line(entry.name, x, y, position, mode="lines+markers"))
        largest = max(largest, x.max(), y.max())
    layout = _layout(x="mean predicted probability", y="share of positives")
    # a rare class leaves all bins in a corner
    span = [-0.03 * largest, 1.05 * largest]
    layout["xaxis"]["range"], layout["yaxis"]["range"] = span, span
    return Plot("", "Calibration", f"{CALIBRATION_BINS} bins with the same number of rows each.", traces, layout)


def importance_bars(comparison: Comparison) -> Plot:
    """Permutation importance of the features that matter most to any model, side by side."""
    largest: dict[str, float] = {}
    for entry in comparison.entries:
        for feature, value in entry.importance.items():
            largest[feature] = max(largest.get(feature, value), value)
    ordered = sorted(largest, key=lambda feature: largest[feature])[-TOP_FEATURES:]
    features = [f for f in ordered if largest[f] > LEAST_SHARE * largest[ordered[-1]]] or ordered[-1:]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": _text(entry.name),
            "y": [_text(_short(feature)) for feature in features],
            "x": _round(np.array([entry.importance.get(feature, 0.0) for feature in features])),
            "marker": {
                "color": _pick(COLOURS, position),
                "pattern": {"shape": _pick(PATTERNS, position)},
            },
        }
        for position, entry in enumerate(comparison.entries)
    ]
    layout = _layout(x=f"drop in {METRICS[comparison.metric].label} when shuffled")
    layout |= {"barmode": "group", "height": 140 + len(features) * (12 + 9 * len(comparison.entries))}
    words = f"Permutation importance. Most important to any model: {', '.join(features[::-1][:3])}."
    return Plot("", "Feature importance side by side", words, traces, layout)


def _layout(x: str = "", y: str = "") -> dict[str, Any]:
    axis = {"automargin": True, "gridcolor": "#e3e3e3", "zerolinecolor": "#bbbbbb"}
    return {
        "height": 400,
        "margin": {"l": 60, "r": 20, "t": 16, "b": 64},
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#1b1b1b"},
        "xaxis": {**axis, "title": {"text": x, "font": {"size": 13}}},
        "yaxis": {**axis, "title": {"text": y, "font": {"size": 13}}},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
    }


def _padded(values: np.ndarray) -> list[float]:
    """An axis range with a fifth of the spread free on both sides."""
    pad = 0.2 * max(float(np.ptp(values)), 1e-3)
    return [float(values.min()) - pad, float(values.max()) + pad]


def _points(name: str, x: Sequence[float], y: Sequence[float], colour: str, symbol: str) -> dict[str, Any]:
    marker = {"color": colour, "symbol": symbol, "size": 7, "line": {"width": 1, "color": colour}}
    return {"type": "scatter", "mode": "markers", "name": _text(name), "x": x, "y": y, "marker": marker}


def _line(name: str, x: np.ndarray, y: np.ndarray, position: int, mode: str = "lines") -> dict[str, Any]:
    shown = np.unique(np.linspace(0, len(x) - 1, min(len(x), CURVE_POINTS)).astype(int))
    return {
        "type": "scatter",
        "mode": mode,
        "name": _text(name),
        "x": _round(x[shown]),
        "y": _round(y[shown]),
        "line": {"color": _pick(COLOURS, position), "dash": _pick(("solid", "dash", "dot", "dashdot"), position)},
        "marker": {"symbol": _pick(SYMBOLS, position)},
    }


def _operating_points(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives at each distinct score, highest first."""
    assert predictions.score is not None
    order = np.argsort(-predictions.score, kind="stable")
    last = np.r_[np.diff(predictions.score[order]) != 0, True]
    positive = predictions.actual[order] == 1
    return np.cumsum(positive)[last], np.maximum(np.cumsum(~positive)[last], 1e-9)


def _round(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _pick(choices: Sequence[str], position: int) -> str:
    return choices[position % len(choices)]


def _short(text: str) -> str:
    return text if len(text) <= 28 else text[:27] + "…"


def _text(value: object) -> str:
    """Plotly reads a few HTML tags in its labels; names from data are to show as they are."""
    return html.escape(str(value), quote=False)
