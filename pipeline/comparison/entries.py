"""A dataset's models beside each other, as their MLflow runs tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.gates.judge import Verdict
from pipeline.metrics import Predictions


@dataclass(frozen=True)
class Entry:
    """One trained or tuned model on one dataset, as its MLflow run tells it."""

    name: str
    model: str
    tuned: bool
    estimator: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    cv: float
    fit_seconds: float
    model_bytes: int
    run_id: str
    experiment_id: str
    store: str
    predictions: Predictions
    importance: Mapping[str, float]


@dataclass(frozen=True)
class Trial:
    """One trial of a study: its number from 1, its last reported value, and Optuna's state name."""

    number: int
    value: float
    state: str


@dataclass(frozen=True)
class Comparison:
    """A dataset's models beside each other. `tests`: difference, interval, words of the chosen model to each other."""

    dataset: str
    task: str
    metric: str
    evaluation: str
    rows: int
    target: str
    ceiling: float | None
    naive: float | None
    entries: tuple[Entry, ...]
    chosen: str
    tests: Mapping[str, tuple[float, tuple[float, float], str]]
    studies: Mapping[str, tuple[Trial, ...]]
    drift: Mapping[str, Any] | None
    verdicts: tuple[Verdict, ...]
    links: Mapping[str, str]
    advice: tuple[str, ...]

    def entry(self, name: str) -> Entry:
        return next(entry for entry in self.entries if entry.name == name)
