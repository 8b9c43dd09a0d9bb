"""What is known of a model's own uncertainty, in words: its probabilities, or its prediction intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def uncertainty_words(found: Mapping[str, Any]) -> str:
    """Of an `uncertainty` of the metrics, see pipeline/training/assess.py."""
    low, high = found["interval"]
    if "coverage" in found:
        asked = found["level"]
        beside = "" if low <= asked <= high else f", {'fewer' if high < asked else 'more'} than asked for"
        return (
            f"Its {100 * asked:.4g} % prediction intervals hold {found['coverage']:.1%} [{low:.1%}, {high:.1%}] of the "
            f"judged rows{beside}; they are {found['width']:.4g} wide on average, and would be "
            f"{found['width_of_target']:.4g} without a model (pinball loss {found['pinball']:.4g} and "
            f"{found['pinball_of_target']:.4g})."
        )
    words = (
        f"Its probabilities are {found['calibration_error']:.1%} [{low:.1%}, {high:.1%}] off (calibration error: root "
        "mean squared, over bins)."
    )
    if "recalibrated" not in found:
        return words
    least, most = found["log_loss_gain_interval"]
    gain = f"lowers the log loss of the training part by {found['log_loss_gain']:.4f} [{least:.4f}, {most:.4f}]"
    if found["recalibrated"]:
        return f"{words} Recalibration {gain}."
    return f"{words} Recalibration is not kept, as it is not shown to help: it {gain}."
