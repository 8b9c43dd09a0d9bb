"""The comparison as plain values, a CSV table and a few words: the best model of each dataset and over all."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from pipeline.comparison.entries import Comparison
from pipeline.metrics import relative_gain

INTERVAL = ("value", "low", "high")
COLUMNS = ("dataset", "model", "estimator", "metric", *INTERVAL, "fit_seconds", "model_bytes", "evaluation")


def all_scores(comparisons: Sequence[Comparison]) -> dict[str, dict[str, dict[str, float]]]:
    """Each dataset's models and their metrics, to six digits."""
    return {
        c.dataset: {entry.name: {m: round(v, 6) for m, v in entry.metrics.items()} for entry in c.entries}
        for c in comparisons
    }


def all_checks(comparisons: Sequence[Comparison]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Each dataset's models and what was found of them."""
    return {
        c.dataset: {
            entry.name: [
                {"check": name, "alarm": found.alarm, "sentence": found.sentence}
                for name, found in entry.checks.items()
            ]
            for entry in c.entries
        }
        for c in comparisons
    }


def summarise(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Best model a dataset, gain of tuning, and the best over all (most datasets won, ties by mean rank)."""
    datasets: dict[str, Any] = {}
    ranks: dict[str, list[int]] = {}
    for c in comparisons:
        metric, best = c.metric, c.best
        for rank, entry in enumerate(sorted(c.entries, key=lambda entry: -c.main.sign * entry.cv), 1):
            ranks.setdefault(entry.model, []).append(rank)
        datasets[c.dataset] = {
            "best_model": best.name,
            "metric": metric,
            "value": round(best.metrics[metric], 6),
            "interval": [round(bound, 6) for bound in best.intervals[metric]],
            "rough": best.rough,
            "ceiling": c.ceiling,
            "evaluation": c.evaluation,
            **({"decision": best.decision} if best.decision else {}),
            "gain_of_tuning": {
                tuned.model: relative_gain(metric, tuned.metrics[metric], base.metrics[metric])
                for tuned, base in c.tuned_pairs
            },
        }
    won = [c.best.model for c in comparisons]
    overall = min(ranks, key=lambda model: (-won.count(model), fmean(ranks[model])))
    best_overall = {"model": overall, "datasets_won": won.count(overall), "mean_rank": round(fmean(ranks[overall]), 4)}
    return {"datasets": datasets, "best_overall": best_overall}


def comparison_csv(comparisons: Sequence[Comparison]) -> str:
    """One line a dataset, model and metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for c in comparisons:
        for entry in c.entries:
            for metric, value in entry.metrics.items():
                row = [c.dataset, entry.name, entry.estimator, metric, value, *entry.intervals[metric]]
                writer.writerow([*row, entry.fit_seconds, entry.model_bytes, c.evaluation])
    return text.getvalue()


def overall_words(comparisons: Sequence[Comparison], best: Mapping[str, Any]) -> str:
    """`best` over all, and the chosen model of each dataset, in two sentences."""
    parts = []
    for c in comparisons:
        parts.append(f"{c.dataset}: {c.chosen} ({c.main.label} {c.best.metrics[c.metric]:.4f}{c.best.doubts})")
    return (
        f"Best over all is {best['model']}, tuned or not, chosen on {best['datasets_won']} of {len(parts)} datasets "
        f"(mean rank {best['mean_rank']:.2f}). {'; '.join(parts)}."
    )
