"""The comparison as plain values: the best model a dataset and over all, and a CSV table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from pipeline.comparison.entries import Comparison


def summarise(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Best model a dataset, gain of tuning, and the best over all (most datasets won, ties by mean rank)."""
    from pipeline.metrics import relative_gain

    datasets: dict[str, Any] = {}
    ranks: dict[str, list[int]] = {}
    for comparison in comparisons:
        metric = comparison.metric
        best = comparison.entry(comparison.chosen)
        ordered = sorted(comparison.entries, key=lambda entry: -entry.cv)
        for rank, entry in enumerate(ordered, 1):
            ranks.setdefault(entry.model, []).append(rank)
        gains = {}
        for tuned in (entry for entry in comparison.entries if entry.tuned):
            base = next((entry for entry in comparison.entries if entry.name == tuned.model), None)
            if base is not None:
                gains[tuned.model] = relative_gain(metric, tuned.metrics[metric], base.metrics[metric])
        datasets[comparison.dataset] = {
            "best_model": best.name,
            "metric": metric,
            "value": round(best.metrics[metric], 6),
            "interval": [round(bound, 6) for bound in best.intervals[metric]],
            "ceiling": comparison.ceiling,
            "evaluation": comparison.evaluation,
            "gain_of_tuning": gains,
        }
    won = [comparison.entry(comparison.chosen).model for comparison in comparisons]
    overall = min(ranks, key=lambda model: (-won.count(model), sum(ranks[model]) / len(ranks[model])))
    return {
        "datasets": datasets,
        "best_overall": {
            "model": overall,
            "datasets_won": won.count(overall),
            "mean_rank": round(sum(ranks[overall]) / len(ranks[overall]), 4),
        },
    }


def comparison_csv(comparisons: Sequence[Comparison]) -> str:
    """One line a dataset, model and metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["dataset", "model", "estimator", "metric", "value", "low", "high", "fit_seconds", "model_bytes"])
    for comparison in comparisons:
        for entry in comparison.entries:
            for metric, value in entry.metrics.items():
                low, high = entry.intervals[metric]
                row = [comparison.dataset, entry.name, entry.estimator, metric, value, low, high]
                writer.writerow([*row, entry.fit_seconds, entry.model_bytes])
    return text.getvalue()
