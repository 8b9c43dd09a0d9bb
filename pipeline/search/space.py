"""Search spaces of params.yaml, and the settings that a trial suggests from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import optuna

from pipeline.console import PipelineError
from pipeline.settings import kind_of, space_of


def space_of_task(space: Mapping[str, Any], model: str, task: str) -> dict[str, Any]:
    """The part of a model's search space that is for a kind of task; all of it where it makes no difference.
    PipelineError: there is none.
    """
    kind = kind_of(task)
    found = space_of(space, kind)
    if not found:
        raise PipelineError(f"params.yaml: search_spaces.{model}: nothing to tune for {kind}; choose another --model")
    return dict(found)


def suggest(trial: optuna.Trial, space: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's settings: [low, high] ranges, {log: [low, high]} or {choice: [...]}, as the settings have checked them;
    whole numbers stay whole.
    """
    settings: dict[str, Any] = {}
    for name, rule in space.items():
        if isinstance(rule, Mapping) and "choice" in rule:
            settings[name] = trial.suggest_categorical(name, rule["choice"])
            continue
        log = isinstance(rule, Mapping)
        low, high = rule["log"] if log else rule
        whole = isinstance(low, int) and isinstance(high, int)
        settings[name] = (trial.suggest_int if whole else trial.suggest_float)(name, low, high, log=log)
    return settings


def highest(rule: Any) -> int:
    """The upper end of a range, or the highest of the choices. PipelineError: they are not all numbers."""
    values = next(iter(rule.values())) if isinstance(rule, Mapping) else rule
    if not all(isinstance(value, (int, float)) for value in values):
        raise PipelineError(f"params.yaml: search_spaces: {rule!r} has no highest value; give numbers")
    return max(values)


def at_least(rule: Any, value: float) -> int:
    """The least number that a rule allows and that is no less than the value; its highest where there is none.
    PipelineError: as `highest`.
    """
    top = highest(rule)
    if isinstance(rule, Mapping) and "choice" in rule:
        return min((choice for choice in rule["choice"] if choice >= value), default=top)
    low = (rule["log"] if isinstance(rule, Mapping) else rule)[0]
    return min(max(low, math.ceil(min(value, top))), top)
