"""The check whether a search's winner lies at the edge of what was searched."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from scipy.stats import rankdata

from pipeline.checks.finding import Finding
from pipeline.checks.levels import LEVEL, chance_words, holm, upper_tail

# A setting is at an end of its range within this part of the range.
NEAR = 0.05
# Trials beyond those that determine the fit.
SPARE_TRIALS = 20


def winner_at_the_edge(
    settings: Mapping[str, Any],
    space: Mapping[str, Any],
    trials: Sequence[tuple[Mapping[str, Any], float]],
    allowed: Callable[[str, Any], bool],
) -> Finding:
    """Whether better settings may lie beyond the ranges that were searched.

    A winner is often at an end by chance: of whole numbers from 1 to 5, two are. So the trials have to get better
    towards it: a quadratic in all settings is fitted to the ranks of the complete trials, and its slope outwards at
    that end is tested (t, one-sided at LEVEL, Holm over the settings at an end). All settings are in it, as a search
    drifts to good values of all of them at once.

    Args:
        settings: of the winner.
        space: a rule a setting, as params.yaml has it; choices have no ends.
        trials: settings and value of each complete trial, a larger value the better.
        allowed: whether the estimator takes a value of a setting; what it refuses is no lack of the search.
    """
    rules = {name: rule for name, rule in space.items() if not (isinstance(rule, Mapping) and "choice" in rule)}
    at_end = {}
    for name, rule in rules.items():
        place = place_of(settings.get(name), rule)
        # what lies outside was not searched for: a winner may have a slower rate than its trial, and more iterations
        side = -1 if 0 <= place <= NEAR else 1 if 1 - NEAR <= place <= 1 else 0
        if side and allowed(name, beyond(rule, side)):
            at_end[name] = side
    if not at_end:
        return Finding(
            False, f"Each of {len(rules)} settings lies within its range, or at an end that cannot be passed."
        )
    X, values, names = design(trials, rules)
    places = ", ".join(f"{name} {_number(settings[name])} of {_words(rules[name])}" for name in at_end)
    listed = f"Within {NEAR:.0%} of an end of its range: {places}"
    if len(values) < X.shape[1] + SPARE_TRIALS or not names:
        return Finding(
            None,
            f"{listed}; {len(trials)} trials are too few to say whether that is chance.",
        )
    ranks = rankdata(values) / len(values)
    inverse = np.linalg.pinv(X.T @ X)
    beta = inverse @ X.T @ ranks
    freedom = len(ranks) - X.shape[1]
    variance = ((ranks - X @ beta) ** 2).sum() / freedom
    tested = [name for name in at_end if name in names]
    chances = []
    for name in tested:
        outward = np.zeros(X.shape[1])
        place = 1 + 2 * names.index(name)
        outward[place : place + 2] = (-1, 0) if at_end[name] < 0 else (1, 2)
        chances.append(
            upper_tail(float(outward @ beta), float(np.sqrt(variance * outward @ inverse @ outward)), freedom)
        )
    corrected = holm(chances)
    shown = [f"{name} ({chance_words(p)})" for name, p in zip(tested, corrected, strict=True) if p <= LEVEL]
    if shown:
        return Finding(
            True,
            f"{listed}. Towards it {len(trials)} trials get better for {', '.join(shown)}: a "
            "wider range may find more.",
        )
    least = f" ({chance_words(corrected.min())})" if tested else ""
    return Finding(
        False,
        f"{listed}; that {len(trials)} trials get better towards it is not shown{least}.",
    )


def place_of(value: Any, rule: Any) -> float:
    """Where a value lies in a range: 0 the lower end, 1 the upper one; NaN for what is no number."""
    low, high = rule["log"] if isinstance(rule, Mapping) else rule
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    if low == high:
        return math.nan
    if isinstance(rule, Mapping):
        return math.log(number / low) / math.log(high / low) if number > 0 else math.nan
    return (number - low) / (high - low)


def beyond(rule: Any, side: int) -> int | float:
    """A value outside a range: a whole number more, or a tenth of the range (of its logarithm)."""
    low, high = rule["log"] if isinstance(rule, Mapping) else rule
    end = low if side < 0 else high
    if isinstance(low, int) and isinstance(high, int):
        return end + side
    return end * (high / low) ** (0.1 * side) if isinstance(rule, Mapping) else end + 0.1 * side * (high - low)


def design(
    trials: Sequence[tuple[Mapping[str, Any], float]], rules: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """1, place and squared place of each setting that varies (t, 1 + 2 k), the values (t,) and the names of the
    settings; of the trials that have all of them, which the baseline's own may not.
    """
    places = np.array([[place_of(settings.get(name), rule) for name, rule in rules.items()] for settings, _ in trials])
    values = np.array([value for _, value in trials])
    places = places.reshape(len(trials), len(rules))
    names = [name for name, column in zip(rules, places.T, strict=True) if not np.isnan(column).all()]
    places = places[:, [name in names for name in rules]]
    whole = ~np.isnan(places).any(axis=1)
    places, values = places[whole], values[whole]
    varies = np.ptp(places, axis=0) > 0 if len(places) else np.zeros(len(names), dtype=bool)
    names, places = [name for name, own in zip(names, varies, strict=True) if own], places[:, varies]
    return np.column_stack([np.ones(len(values)), *chain(*((c, c**2) for c in places.T))]), values, names


def _number(value: Any) -> str:
    return f"{float(value):.4g}"


def _words(rule: Any) -> str:
    low, high = rule["log"] if isinstance(rule, Mapping) else rule
    return f"{low:g} to {high:g}"
