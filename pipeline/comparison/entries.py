"""A dataset's models beside each other, as their MLflow runs and the committed metrics tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.checks.finding import Finding
from pipeline.explain.explanation import Explanation
from pipeline.gates.overview import Standing
from pipeline.metrics import METRICS, Metric, Predictions
from pipeline.plots import curves
from pipeline.settings import doubt_of, stage_of

# Columns that the summary names.
LISTED = 5
# A trial's number from 1, its last reported value, and Optuna's name of its state.
Trial = tuple[int, float, str]


@dataclass(frozen=True)
class Lead:
    """By how much a model is better than another on the same rows, with the 95 % interval; below 0: it is worse."""

    value: float
    low: float
    high: float

    @property
    def words(self) -> str:
        return "better" if self.low > 0 else "worse" if self.high < 0 else "no difference shown"


@dataclass(frozen=True)
class Entry:
    """One model of the results.

    `weights`: of the members of an ensemble. `gain_interval`: 95 % interval of a tuned model's lead over its baseline,
    or None; `over_naive`: that of a model's lead over the naive prediction.
    `plots`: addresses of its pictures by what they show.
    `checks`: what each check found, by its name.
    `rough`: why its intervals are rough; empty where they are not. `doubts`: what goes behind its score.
    `uncertainty`: what is known of its probabilities or prediction intervals.
    `importance_interval`: 95 % intervals of the importance of columns.
    `decision`: what its labels are worth, where the threshold is chosen for a cost or a capacity.
    """

    name: str
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
    gain_interval: tuple[float, float] | None = None
    plots: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, Finding] = field(default_factory=dict)
    rough: str = ""
    doubts: str = ""
    over_naive: tuple[float, float] | None = None
    decision: Mapping[str, Any] | None = None
    uncertainty: Mapping[str, Any] | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    importance_interval: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def model(self) -> str:
        return stage_of(self.name)[1]

    @property
    def tuned(self) -> bool:
        return stage_of(self.name)[0] == "tuned"

    @property
    def by_chance(self) -> bool:
        """Whether the interval of a tuned model's lead over its baseline holds 0."""
        return self.gain_interval is not None and self.gain_interval[0] <= 0 <= self.gain_interval[1]


@dataclass(frozen=True)
class Comparison:
    """A dataset's models beside each other. `classes`: what the table calls the classes 0 and 1, none for other tasks.
    `tests`: the chosen model's lead over each other. `curve`: the best value of a search over several models, after so
    many seconds, and whose it was; empty where one was searched.
    `explanation`: of the chosen model, or why there is none.
    """

    dataset: str
    task: str
    metric: str
    evaluation: str
    rows: int
    target: str
    synthetic: bool
    classes: tuple[str, ...]
    ceiling: float | None
    naive: float | None
    entries: tuple[Entry, ...]
    chosen: str
    tests: Mapping[str, Lead]
    studies: Mapping[str, Sequence[Trial]]
    drift: Mapping[str, Any] | None
    standing: Standing
    links: Mapping[str, str]
    explanation: Explanation | str = ""
    curve: Sequence[tuple[float, float, str]] = ()

    @property
    def doubt(self) -> str:
        """What goes behind every score."""
        return doubt_of(self.evaluation)

    @property
    def decisions(self) -> list[Entry]:
        """The models whose labels come to a cost or to hits."""
        return [entry for entry in self.entries if entry.decision]

    @property
    def main(self) -> Metric:
        """The metric that models are compared by."""
        return METRICS[self.metric]

    @property
    def best(self) -> Entry:
        return next(entry for entry in self.entries if entry.name == self.chosen)

    @property
    def most_important(self) -> dict[str, float]:
        """The columns that matter most to the chosen model, with their permutation importance."""
        return curves.notable([self.best.importance], LISTED)

    @property
    def tuned_pairs(self) -> list[tuple[Entry, Entry]]:
        """Each tuned model with its baseline."""
        baselines = {entry.name: entry for entry in self.entries if not entry.tuned}
        return [(entry, baselines[entry.model]) for entry in self.entries if entry.tuned and entry.model in baselines]
