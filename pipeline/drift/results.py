"""What checks found, as the values of metrics/drift/ and of the history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.drift.check import Check
from pipeline.drift.column import as_json, listed


def results_of(checks: Mapping[str, Check], shown: str) -> dict[str, Any]:
    """What the metrics file holds of the checks of one or more windows; columns and words are of the one `shown`."""
    one = checks[shown]
    drifted = [name for name, check in checks.items() if check.drift]
    unknown = [name for name, check in checks.items() if check.drift is None]
    verdict = one.verdict
    # of several windows the first that is to be retrained on
    advised = next((name for name, check in checks.items() if check.retrain), shown)
    recommendation = checks[advised].recommendation
    if len(checks) > 1:
        count = f"{len(drifted)} of {len(checks)} windows, first in {shown}" if drifted else "none of the windows"
        open_ones = f"; {listed(unknown)} could not be told" if unknown else ""
        verdict = f"Drift was found in {count}{open_ones}. {shown}: {one.verdict}"
        recommendation = f"{advised}: {recommendation}"
    no_model = one.no_score if one.no_score == one.no_expected else one.no_expected
    model_words = one.model_words or (no_model and f"What it means for the model is not known: {no_model}.")
    return {
        "drift": True if drifted else None if unknown else False,
        "retrain": any(check.retrain for check in checks.values()),
        "verdict": verdict,
        "moved": one.moved,
        "recommendation": recommendation,
        "model_words": model_words,
        "joint": as_json({"auc": one.joint.auc, "p_value": one.joint.p_value, "drift": one.joint.drift}),
        "joint_columns": list(one.joint.columns),
        "segment": one.joint.segment,
        "copied": one.copied,
        "expected_score": as_json(one.expected),
        "no_expected_score": one.no_expected,
        "score": as_json(one.score),
        "no_score": one.no_score,
        "target": as_json(one.compared.target),
        "columns": as_json(one.compared.columns),
        "windows": points_of(checks) if len(checks) > 1 else [],
    }


def points_of(checks: Mapping[str, Check]) -> list[dict[str, Any]]:
    """A point in time for each window: its verdict, largest change, and scores."""
    points = [
        {
            "window": name,
            "rows": check.rows,
            "drift": check.drift,
            "effect": check.effect,
            "auc": check.joint.auc,
            "metric": next((found.metric for found in (check.score, check.expected) if found), ""),
            "expected": check.expected
            and {
                "value": check.expected.value,
                "interval": check.expected.interval,
                "reliable": check.expected.reliable,
            },
            "score": check.score and {"value": check.score.current, "interval": check.score.current_interval},
        }
        for name, check in checks.items()
    ]
    return as_json(points)
