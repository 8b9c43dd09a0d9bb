"""The report's figures, as plain plotly dictionaries; fonts, colours, patterns and symbols are those of page.html.

A new figure is one function that yields Plots, and its line in PLOTS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.comparison.entries import Comparison, Entry
from pipeline.explain.cases import number_words
from pipeline.explain.dependence import Dependence
from pipeline.explain.explanation import Explanation
from pipeline.metrics import CLASSES, METRICS, Predictions, lead
from pipeline.plots import curves
from pipeline.settings import TASKS

BLACK, GREY, BLUE, PALE = "#111111", "#777777", "#1b4f80", "#a9c3dc"
SCATTER_POINTS = 600
CURVE_POINTS = 200
TOP_FEATURES = 10
LONGEST_NAME = 28
Trace = dict[str, Any]


@dataclass(frozen=True)
class Plot:
    """A figure: its title, what it shows in words, plotly traces and layout. Numbers may be arrays."""

    title: str
    words: str
    traces: Sequence[Trace]
    layout: dict[str, Any]


def dataset_plots(comparison: Comparison) -> list[Plot]:
    """Every figure of a dataset's section."""
    return [plot for draw, tasks in PLOTS.items() if comparison.task in tasks for plot in draw(comparison)]


def score_bars(c: Comparison) -> Iterator[Plot]:
    """Bars of the main metric with intervals; the naive baseline and the ceiling as lines."""
    values = np.array([entry.metrics[c.metric] for entry in c.entries])
    lows, highs = np.array([entry.intervals[c.metric] for entry in c.entries]).T
    labels = [f"{entry.name}  {value:.3f}" for entry, value in zip(c.entries, values, strict=True)]
    bars = _bars("", values, labels) | {
        "error_x": {"symmetric": False, "array": highs - values, "arrayminus": values - lows, "color": BLACK},
        "marker": {
            "color": [BLUE if entry.name == c.chosen else PALE for entry in c.entries],
            "pattern": {"shape": ["/" if entry.tuned else "" for entry in c.entries]},
        },
        "showlegend": False,
    }
    lines = [
        _line(f"{name} {round(level, 3) + 0.0:.3f}", [level] * len(labels), labels, color=BLACK, dash=dash)
        for name, level, dash in (("population ceiling", c.ceiling, "dash"), ("naive", c.naive, "dot"))
        if level is not None
    ]
    words = (
        f"{c.main.label} of {len(values)} models with 95 % intervals; chosen by cross-validation: {c.chosen} with "
        f"{c.best.metrics[c.metric]:.3f}{c.doubt}. Hatched bars are tuned."
    )
    layout = _rows(150 + 50 * len(labels), _axis(c))
    yield Plot(f"{c.main.label} of every model", words, [bars, *lines], layout)


def metric_heatmap(c: Comparison) -> Iterator[Plot]:
    """Every metric of every model; shade from worst to best within a column."""
    metrics = list(c.entries[0].metrics)
    values = np.array([[entry.metrics[metric] for metric in metrics] for entry in c.entries])
    ranked = values * [METRICS[metric].sign for metric in metrics]
    spread = np.ptp(ranked, axis=0)
    heatmap = {
        "type": "heatmap",
        "x": [METRICS[metric].label for metric in metrics],
        "y": [entry.name for entry in c.entries],
        "z": np.where(spread > 0, (ranked - ranked.min(axis=0)) / np.where(spread > 0, spread, 1), 0.5),
        "text": [[f"{value:.3f}" for value in row] for row in values],
    }
    yield Plot("All metrics", "Darker is better within each column.", [heatmap], _rows(150 + 50 * len(values)))


def tuning_histories(c: Comparison) -> Iterator[Plot]:
    """Each trial's value and the best so far, a figure a tuned model."""
    sign = c.main.sign
    for model, trials in c.studies.items():
        numbers, values, states = (np.array(column) for column in zip(*trials, strict=True))
        complete, pruned = states == "COMPLETE", states == "PRUNED"
        best = sign * np.maximum.accumulate(sign * values[complete])
        traces = [
            _points("complete", numbers[complete], values[complete], color=BLUE),
            _points("pruned (last value)", numbers[pruned], values[pruned], symbol="x-thin-open"),
            _line("best so far", numbers[complete], best, shape="hv", color=BLACK, dash="solid"),
        ]
        words = f"{len(trials)} trials of {model}, {pruned.sum()} of them pruned; best search value {best[-1]:.4f}."
        # a few poor trials far away must not flatten all others
        worst = sign * np.quantile(sign * values, 0.1 if len(trials) > 10 else 0)
        low, high = sorted((worst, best[-1]))
        free = 0.15 * max(high - low, 1e-2)
        layout = _axes("trial", f"{_axis(c)} in the search")
        layout["yaxis"]["range"] = [low - free, high + free]
        yield Plot(f"Tuning of {model}", words, traces, layout)


def learning_curve(c: Comparison) -> Iterator[Plot]:
    """The best value of a search over several models by its seconds."""
    if not c.curve:
        return
    seconds, values, models = zip(*c.curve, strict=True)
    traces = [_line("best so far", seconds, values, shape="hv", color=BLACK)]
    for model in dict.fromkeys(models):
        own = [place for place, other in enumerate(models) if other == model]
        traces.append(_points(model, [seconds[place] for place in own], [values[place] for place in own]))
    half = max((place for place, second in enumerate(seconds) if second <= seconds[-1] / 2), default=0)
    gain = lead(c.metric, values[-1], values[half])
    words = (
        f"{values[-1]:.4f} by {models[-1]} after {seconds[-1]:.0f} s, {gain:+.4f} of it in the second half: as long "
        "again may bring as much."
    )
    layout = _axes("seconds of search", f"{_axis(c)} in the search")
    yield Plot("Best model by time", words, traces, layout)


def trade_off(c: Comparison) -> Iterator[Plot]:
    """Score against fit time; the marker's area is the model's size."""
    largest = max(entry.model_bytes for entry in c.entries)
    traces = []
    for entry in c.entries:
        name, size = f"{entry.name} ({entry.model_bytes / 1e6:.2f} MB)", 10 + 24 * (entry.model_bytes / largest) ** 0.5
        traces.append(_points(name, [entry.fit_seconds], [entry.metrics[c.metric]], size=size))
    fastest = min(c.entries, key=lambda entry: entry.fit_seconds)
    words = f"{fastest.name} fits fastest ({fastest.fit_seconds:.2f} s). Larger markers are larger models."
    layout = _axes("seconds to fit (logarithmic)", _axis(c))
    ticks = [digit * 10.0**power for power in range(-4, 6) for digit in (1, 2, 5)]
    layout["xaxis"] |= {"type": "log", "tickvals": ticks, "tickformat": "~g"}
    yield Plot("Score against time and size", words, traces, layout)


def predicted_against_actual(c: Comparison) -> Iterator[Plot]:
    """The chosen model's predictions for an even sample of the rows that it is judged on."""
    p = c.best.predictions
    shown = _sample(p)
    ends = [min(p.actual.min(), p.predicted.min()), max(p.actual.max(), p.predicted.max())]
    rows = _points("row", p.actual[shown], p.predicted[shown], symbol="circle-open")
    words = f"{len(shown):,} of {len(p.actual):,} rows; R² {c.best.metrics['r2']:.3f}."
    layout = _axes(f"actual {c.target}", f"predicted {c.target}")
    yield Plot(f"Predicted against actual: {c.chosen}", words, [rows, _diagonal("perfect", ends)], layout)


def residuals(c: Comparison) -> Iterator[Plot]:
    """The chosen model's errors for the same rows."""
    p = c.best.predictions
    shown, errors = _sample(p), p.actual - p.predicted
    level = [p.predicted.min(), p.predicted.max()]
    rows = _points("row", p.predicted[shown], errors[shown], symbol="circle-open")
    low, high = np.quantile(errors, [0.05, 0.95])
    words = f"Nine of ten errors are between {low:.3g} and {high:.3g}; above 0 the prediction is too low."
    layout = _axes(f"predicted {c.target}", f"actual - predicted {c.target}")
    yield Plot(
        f"Residuals: {c.chosen}", words, [rows, _line("no error", level, [0, 0], color=GREY, dash="solid")], layout
    )


def confusion_matrix(c: Comparison) -> Iterator[Plot]:
    """Rows of the judged part by their actual class and the one that the chosen model predicts."""
    p = c.best.predictions
    labels = np.unique(np.concatenate([p.actual, p.predicted]))
    counts = np.array([[((p.actual == a) & (p.predicted == b)).sum() for b in labels] for a in labels])
    names = [c.classes[label] if c.classes else str(label) for label in labels]
    heatmap = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": counts / counts.sum(axis=1, keepdims=True).clip(min=1),
        "text": [[f"{count:,}" for count in row] for row in counts],
    }
    words = f"{np.trace(counts):,} of {counts.sum():,} rows are right. Darker: a larger share of the actual class."
    layout = _axes(f"predicted {c.target}", f"actual {c.target}", height=max(320, 150 + 24 * len(labels)))
    # names that look like numbers are names
    layout["xaxis"] |= {"type": "category"}
    layout["yaxis"] |= {"type": "category", "autorange": "reversed"}
    yield Plot(f"Confusion matrix: {c.chosen}", words, [heatmap], layout)


def roc_curves(c: Comparison) -> Iterator[Plot]:
    traces, areas = _curves(c, curves.roc_points, "roc_auc")
    layout = _axes("false positive rate", f"true positive rate ({_positive(c)})")
    yield Plot("ROC curves", f"Area under the curve: {areas}.", [*traces, _diagonal("chance")], layout)


def precision_recall_curves(c: Comparison) -> Iterator[Plot]:
    traces, areas = _curves(c, curves.precision_recall_points, "average_precision", shape="vh")
    share = (c.best.predictions.actual == 1).mean()
    words = f"Average precision: {areas}. Chance is the share of {_positive(c)}, {share:.3f}."
    yield Plot("Precision-recall curves", words, traces, _axes("recall", "precision"))


def calibration_curves(c: Comparison) -> Iterator[Plot]:
    """Mean predicted probability against share of positives, in bins that hold about the same number of rows."""
    traces = [_line(entry.name, *curves.calibration_points(entry.predictions)) for entry in c.entries]
    # a rare class leaves all bins in a corner
    largest = max(max(*trace["x"], *trace["y"]) for trace in traces)
    words = f"At most {curves.CALIBRATION_BINS} bins, with about the same number of rows each."
    layout = _axes("mean predicted probability", f"share of {_positive(c)}")
    marked = [trace | {"mode": "lines+markers"} for trace in traces]
    yield Plot("Calibration", words, [*marked, _diagonal("perfect", [0, largest])], layout)


def importance_bars(c: Comparison) -> Iterator[Plot]:
    """Permutation importance of the features that matter most to any model, side by side."""
    features = [*curves.notable([entry.importance for entry in c.entries], TOP_FEATURES)]
    traces = [
        _bars(entry.name, [entry.importance.get(f, 0.0) for f in features], features)
        | {"error_x": _reach(entry, features) | {"thickness": 1, "width": 2}}
        for entry in c.entries
    ]
    words = f"Permutation importance, with 95 % intervals. Most important to any model: {', '.join(features[:3])}."
    layout = _rows(150 + len(features) * (12 + 9 * len(c.entries)), curves.importance_axis(c.metric))
    layout["yaxis"] |= _short_ticks(features)
    yield Plot("Feature importance side by side", words, traces, layout)


# In the order of the page: the function that draws, and its tasks.
PLOTS: dict[Callable[[Comparison], Iterator[Plot]], tuple[str, ...]] = {
    score_bars: TASKS,
    metric_heatmap: TASKS,
    tuning_histories: TASKS,
    learning_curve: TASKS,
    trade_off: TASKS,
    predicted_against_actual: ("regression",),
    residuals: ("regression",),
    confusion_matrix: CLASSES,
    roc_curves: ("binary",),
    precision_recall_curves: ("binary",),
    calibration_curves: ("binary",),
    importance_bars: TASKS,
}


def learned_plots(c: Comparison) -> list[Plot]:
    """What the chosen model has learned: which columns matter to it, and how predictions go with the leading ones."""
    shown = c.explanation.dependence if isinstance(c.explanation, Explanation) else ()
    if not shown:
        return [own_importance(c)]
    levels = np.concatenate([[*own.levels, *([own.missing] if own.missing else [])] for own in shown])
    free = 0.05 * float(np.ptp(levels)) or 0.5
    # one axis for all, so that a flat one looks flat
    ends = [float(levels.min()) - free, float(levels.max()) + free]
    return [own_importance(c), *(dependence(c, own, ends) for own in shown)]


def own_importance(c: Comparison) -> Plot:
    """Permutation importance of the columns that matter most to the chosen model, paler where the interval holds 0."""
    features = [*curves.notable([c.best.importance], TOP_FEATURES)]
    bounds = c.best.importance_interval
    sure = [bounds.get(feature, (0.0, 0.0))[0] > 0 for feature in features]
    values = [c.best.importance[feature] for feature in features]
    bars = _bars("", values, features) | {
        "error_x": _reach(c.best, features),
        "marker": {"color": [BLUE if one else PALE for one in sure], "pattern": {"shape": ""}},
        "showlegend": False,
    }
    told = [
        f"{curves.shortened(feature, LONGEST_NAME)} {value:.4f}"
        + (f" [{bounds[feature][0]:.4f}, {bounds[feature][1]:.4f}]" if feature in bounds else "")
        for feature, value in zip(features[:3], values, strict=False)
    ]
    shown = sum(low > 0 for low, _ in bounds.values())
    words = (
        f"Permutation importance ({curves.importance_axis(c.metric)}), with 95 % intervals: {', '.join(told)}. "
        f"{shown} of {len(c.best.importance)} columns are shown to matter; a bar is pale where the interval holds 0."
    )
    layout = _rows(max(200, 120 + 30 * len(features)), curves.importance_axis(c.metric))
    layout["yaxis"] |= _short_ticks(features)
    return Plot("The columns that matter most to it", words, [bars], layout)


def dependence(c: Comparison, own: Dependence, ends: list[float]) -> Plot:
    """The partial dependence of a column between the ends of the axis."""
    assert isinstance(c.explanation, Explanation)
    middle, low, high = own.levels.T
    name = curves.shortened(own.column, LONGEST_NAME)
    reach = {"symmetric": False, "array": high - middle, "arrayminus": middle - low, "color": BLACK, "thickness": 1}
    axis, labels = {"title": {"text": c.explanation.output}, "range": ends}, [*own.values]
    if own.kind == "category":
        # by number, as two long words may begin alike
        places = np.arange(len(labels))
        trace = _points("", middle, places, symbol="circle", color=BLUE, size=9) | {"error_x": reach}
        ticks = [curves.shortened(label, LONGEST_NAME) for label in labels]
        layout = _axes(height=120 + 30 * len(labels))
        layout |= {"xaxis": axis, "yaxis": {"tickvals": places, "ticktext": ticks}}
    else:
        trace = _line("", labels, middle, color=BLUE, dash="solid") | {"mode": "lines+markers", "error_y": reach}
        trace |= {"marker": {"symbol": "circle", "color": BLUE}}
        layout = _axes(name, height=340) | {"yaxis": axis}
        layout["xaxis"] |= {"type": "date" if own.kind == "date" else "linear"}
    words = dependence_words(own)
    if c.best.importance_interval.get(own.column, (0.0, 0.0))[0] <= 0:
        words += " That the column matters is not shown."
    return Plot(f"Partial dependence on {name}", words, [trace | {"showlegend": False}], layout)


def dependence_words(own: Dependence) -> str:
    """The lowest and the highest mean prediction, and where these are."""
    least, most = (int(at) for at in (own.levels[:, 0].argmin(), own.levels[:, 0].argmax()))

    def at(place: int) -> str:
        value = own.values[place]
        where = number_words(value) if isinstance(value, float) else curves.shortened(value, LONGEST_NAME)
        return f"{_level(own.levels[place])} at {where}"

    words = f"The mean prediction is lowest, {at(least)}, and highest, {at(most)}."
    if np.ptp(own.levels[:, 0]) == 0:
        words = f"The mean prediction is {_level(own.levels[0])} whatever the value."
    if own.missing:
        words += f" Where it is missing: {_level(own.missing)}."
    return words


def _level(level: Sequence[float]) -> str:
    value, low, high = level
    # so many digits that two of the interval's width are seen
    digits = 4 if high <= low else int(np.clip(1 - np.floor(np.log10(high - low)), 0, 10))
    return f"{value:,.{digits}f} [{low:,.{digits}f}, {high:,.{digits}f}]"


def _reach(entry: Entry, features: Sequence[str]) -> dict[str, Any]:
    """Error bars of the importance of columns, of no length where an interval is not known."""
    known = [(entry.importance.get(f, 0.0), entry.importance_interval.get(f)) for f in features]
    above = [bounds[1] - value if bounds else 0.0 for value, bounds in known]
    return {"symmetric": True, "array": above, "color": BLACK}


def _short_ticks(names: Sequence[str]) -> dict[str, Any]:
    """Two long names may begin with the same letters, so that the ticks alone are shortened."""
    return {"tickvals": names, "ticktext": [curves.shortened(name, LONGEST_NAME) for name in names]}


def _curves(
    c: Comparison, points: Callable[[Predictions], tuple[np.ndarray, np.ndarray]], area: str, **line: Any
) -> tuple[list[Trace], str]:
    """A curve a model, and the metric that is the area below it in words."""
    named = [(entry, f"{entry.metrics[area]:.3f}") for entry in c.entries]
    traces = [
        _line(f"{entry.name} ({value})", *curves.thinned(*points(entry.predictions), CURVE_POINTS), **line)
        for entry, value in named
    ]
    return traces, "; ".join(f"{entry.name} {value}" for entry, value in named)


def _sample(p: Predictions) -> np.ndarray:
    """The places of at most SCATTER_POINTS rows, evenly spread."""
    return np.linspace(0, len(p.actual) - 1, min(len(p.actual), SCATTER_POINTS)).astype(int)


def _positive(c: Comparison) -> str:
    return f"{c.target} = {c.classes[1]}"


def _axis(c: Comparison) -> str:
    return c.main.label + ("" if c.main.higher_is_better else " (lower is better)")


def _axes(x: str = "", y: str = "", **layout: Any) -> dict[str, Any]:
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}, **layout}


def _rows(height: int, x: str = "") -> dict[str, Any]:
    """A layout of rows, the first on top."""
    return _axes(x, height=height) | {"yaxis": {"autorange": "reversed"}}


def _bars(name: str, x: Any, y: Any) -> Trace:
    return {"type": "bar", "orientation": "h", "name": name, "x": x, "y": y}


def _points(name: str, x: Any, y: Any, **marker: Any) -> Trace:
    return _line(name, x, y) | {"mode": "markers", "marker": marker}


def _line(name: str, x: Any, y: Any, **line: Any) -> Trace:
    return {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "line": line}


def _diagonal(name: str, ends: Sequence[float] = (0, 1)) -> Trace:
    return _line(name, ends, ends, color=GREY, dash="solid", width=1)
