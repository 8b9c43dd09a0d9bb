"""What labels at a threshold that was chosen for a cost or a capacity come to: in words, and as figures of a run.

The part `decision` of a model's metrics, which pipeline/training/threshold.py computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Other ways to label the same rows, as pages call them.
WAYS = {
    "half": "at 0.5",
    "nobody": "nobody followed up",
    "everybody": "everybody followed up",
    "random": "as many at random",
}


def decision_words(found: Mapping[str, Any], positive: str, doubt: str = "") -> str:
    """What the labels at the chosen threshold come to beside those of other ways, in a sentence.

    Args:
        positive: the class that is looked for.
        doubt: what goes behind every score of the dataset.
    """
    others = ", ".join(f"{WAYS[way]} {words}" for way, words in others_of(found).items())
    if "cost" in found:
        each = f"per {found['per_rows']:,} rows{doubt}"
        return f"At its threshold wrong predictions cost {threshold_words(found)} {each}; {others}."
    return (
        f"At its threshold {threshold_words(found)} rows that are followed up are {positive} (of {found['rows']:,} "
        f"rows, {found['positives']:,} of them {positive}; capacity {found['capacity']:,}){doubt}; {others}."
    )


def threshold_words(found: Mapping[str, Any]) -> str:
    """The cost with its interval, or the hits with theirs and how many rows are followed up."""
    low, high = found["interval"]
    if "cost" in found:
        return f"{_amount(found['cost'])} [{_amount(low)}, {_amount(high)}]"
    return f"{found['hits']:,} [{low:,.0f}, {high:,.0f}] of {found['followed']:,}"


def others_of(found: Mapping[str, Any]) -> dict[str, str]:
    """By way, its cost and whether that is shown to be more than at the threshold, or its hits of the rows followed
    up.
    """
    if "cost" not in found:
        return {way: f"{_amount(one['hits'])} of {one['followed']:,}" for way, one in found["others"].items()}
    words = {}
    for way, one in found["others"].items():
        low, high = one["saved_interval"]
        shown = "more" if low > 0 else "less" if high < 0 else "no difference shown"
        words[way] = f"{_amount(one['cost'])} ({shown})"
    return words


def run_figures(found: Mapping[str, Any]) -> dict[str, float]:
    """The same as metrics of an MLflow run."""
    (low, high), others = found["interval"], found["others"].items()
    if "cost" in found:
        name = f"cost_per_{found['per_rows']}"
        return {
            name: found["cost"],
            f"{name}_low": low,
            f"{name}_high": high,
            **{f"{name}_{way}": one["cost"] for way, one in others},
        }
    return {
        "hits": found["hits"],
        "hits_low": low,
        "hits_high": high,
        "followed": found["followed"],
        **{f"{figure}_{way}": one[figure] for way, one in others for figure in ("hits", "followed")},
    }


def _amount(value: float) -> str:
    """Four digits, and all of those before the decimal point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
