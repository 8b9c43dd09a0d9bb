"""Search spaces of params.yaml, and the settings that a trial suggests from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.console import PipelineError
from pipeline.settings import Config, Dataset

if TYPE_CHECKING:
    import optuna


def search_space(dataset: Dataset, config: Config, name: str) -> dict[str, Any]:
    """The search space of a model on a dataset's kind of task.

    Raises:
        PipelineError: there is none.
    """
    space = dict(config.search_spaces.get(name, {}))
    kind = "regression" if dataset.task == "regression" else "classification"
    if set(space) & {"regression", "classification"}:
        space = dict(space.get(kind, {}))
    if not space:
        raise PipelineError(f"params.yaml: search_spaces.{name}: nothing to tune for {kind}; choose another --model")
    return space


def suggest(trial: optuna.Trial, space: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's settings: [low, high] ranges, {log: [low, high]} or {choice: [...]}; whole numbers stay whole."""
    settings: dict[str, Any] = {}
    for name, rule in space.items():
        if isinstance(rule, Mapping) and "choice" in rule:
            settings[name] = trial.suggest_categorical(name, rule["choice"])
            continue
        try:
            log = isinstance(rule, Mapping)
            low, high = rule["log"] if log else rule
            suggest_number = (
                trial.suggest_int if isinstance(low, int) and isinstance(high, int) else trial.suggest_float
            )
            settings[name] = suggest_number(name, low, high, log=log)
        except (KeyError, TypeError, ValueError):
            raise PipelineError(f"params.yaml: search_spaces: {name}: {rule!r} is no range") from None
    return settings


def highest(rule: Any) -> int:
    return max(rule["log"] if isinstance(rule, Mapping) else rule)
