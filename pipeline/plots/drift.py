"""Checks for drift over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def drift_over_time(points: Sequence[Mapping[str, Any]], metric: str, min_change: float) -> Figure:
    """The largest change of any column at each point, drifted ones marked; below it, where there is a model, its
    expected score and its true one, with 95 % intervals.

    Args:
        points: each with window, effect, drift, metric, and expected and score: value and interval, or None.
            Scores of another metric are left out.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    scored = any(point["metric"] == metric and (point["expected"] or point["score"]) for point in points)
    figure, axes = pyplot.subplots(
        2 if scored else 1, 1, sharex=True, squeeze=False, figsize=(9, 4.6 if scored else 2.6)
    )
    places = range(len(points))
    top = axes[0, 0]
    top.plot(places, [point["effect"] for point in points], color="0.55", zorder=1)
    for drift, color, label in (
        (True, "#b2400e", "drift"),
        (False, "#1b4f80", "none found"),
        (None, "0.7", "no verdict"),
    ):
        chosen = [place for place in places if points[place]["drift"] is drift]
        if chosen:
            top.scatter(chosen, [points[place]["effect"] for place in chosen], color=color, label=label, zorder=2)
    top.axhline(min_change, color="0.3", linestyle=":", label="what counts")
    top.set_ylabel("largest change\n(share of rows)")
    top.set_ylim(0, 0.68)
    top.legend(fontsize="small", loc="upper left", ncols=4)
    if scored:
        below = axes[1, 0]
        for key, color, label, offset in (
            ("expected", "#e08214", "expected", -0.08),
            ("score", "#1b4f80", "true", 0.08),
        ):
            chosen = [place for place in places if points[place]["metric"] == metric and points[place][key]]
            if chosen:
                found = [points[place][key] for place in chosen]
                ends = [[abs(one["value"] - one["interval"][end]) for one in found] for end in (0, 1)]
                at = [place + offset for place in chosen]
                below.errorbar(at, [one["value"] for one in found], ends, fmt="o", color=color, label=label, capsize=2)
        below.set_ylabel(metric)
        below.legend(fontsize="small", loc="lower left", ncols=2)
    axes[-1, 0].set_xticks(
        list(places), [str(point["window"]) for point in points], rotation=40, ha="right", fontsize="small"
    )
    figure.tight_layout()
    pyplot.close(figure)
    return figure
