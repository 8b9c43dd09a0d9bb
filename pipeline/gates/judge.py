"""Every gate of a dataset, judged on its committed metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.gates.results import Results, _difference, _figure, _interval, select_model
from pipeline.settings import Config, Dataset, Gate


@dataclass(frozen=True)
class Verdict:
    """One gate's outcome. `uncertain`: the interval straddles the bound. `reason` is empty where a number decided."""

    dataset: str
    model: str
    metric: str
    bound: str
    value: float | None
    interval: tuple[float, float] | None
    passed: bool
    uncertain: bool
    reason: str = ""

    def word(self) -> str:
        return ("PASS" if self.passed else "FAIL") + (" (uncertain)" if self.uncertain else "")

    def line(self) -> str:
        """One line for a terminal or a log."""
        return f"{self.word():16} {self.dataset}: {self.text()}"

    def text(self) -> str:
        """What was compared, without the verdict."""
        if self.reason:
            return self.reason
        interval = f" [{self.interval[0]:.4f}, {self.interval[1]:.4f}]" if self.interval else ""
        number = f"{self.value:g}" if self.metric == "drifted_columns" else f"{self.value:.4f}"
        subject = f"{self.model} " if self.model else ""
        return f"{subject}{self.metric} {number}{interval}, needed {self.bound}"


def judge(
    dataset: Dataset,
    config: Config,
    results: Results,
    published: Mapping[str, Any] | None = None,
    confident: bool = False,
) -> list[Verdict]:
    """Every gate of a dataset, decided on the model that cross-validation selects.

    Args:
        published: the dataset's part of comparison_results.json; where given, it has to hold the same figures.
        confident: the bound of the 95 % interval decides, not the value.
    """
    reasons = list(results.problems)
    if published is not None and not reasons and (wrong := _difference(results.models, published)):
        reasons.append(f"comparison_results.json {wrong}; run `python compare_results.py`")
    name = select_model(results.models, dataset.metric)
    if name is None and not reasons:
        reasons.append(f"no model is trained; run `python train.py --dataset {dataset.name}`")
    verdicts = [failure(dataset.name, reason) for reason in reasons]
    if name is not None:
        gates = config.gates_of(dataset)
        verdicts += [_judge_gate(gate, dataset.name, name, results, confident) for gate in gates]
    return verdicts


def failure(dataset: str, reason: str) -> Verdict:
    """The verdict where no number could decide."""
    return Verdict(dataset, "", "", "", None, None, passed=False, uncertain=False, reason=reason)


def _judge_gate(gate: Gate, dataset: str, name: str, results: Results, confident: bool) -> Verdict:
    limit = gate.above if gate.above is not None else gate.below
    bound = f"{'above' if gate.above is not None else 'below'} {limit:g}"

    def fail(reason: str) -> Verdict:
        return Verdict(dataset, name, gate.metric, bound, None, None, passed=False, uncertain=False, reason=reason)

    if gate.metric == "drifted_columns":
        if results.drifted is None:
            return fail(f"drift was not tested; run `python detect_drift.py --dataset {dataset}`")
        return _decide(gate, dataset, "", bound, float(results.drifted), None, confident=False)
    model = results.models[name]
    value, interval = _figure(model, "score", gate.metric), _interval(model, gate.metric)
    if value is None or interval is None:
        return fail(f"{name} has no {gate.metric} with an interval; run `python train.py --dataset {dataset}`")
    if gate.over == "champion" and results.champion is None:
        words = "no champion yet to compare with"
        return Verdict(dataset, name, gate.metric, bound, value, interval, passed=True, uncertain=False, reason=words)
    offset = 0.0
    if gate.over:
        other = results.champion if gate.over == "champion" else {"score": model.get("naive")}
        figure = _figure(other or {}, "score", gate.metric)
        if figure is None:
            return fail(f"the {gate.over} has no {gate.metric} to compare with")
        offset, bound = figure, f"{bound} over the {gate.over}'s {figure:.4f}"
    return _decide(gate, dataset, name, bound, value, interval, confident, offset)


def _decide(
    gate: Gate,
    dataset: str,
    model: str,
    bound: str,
    value: float,
    interval: tuple[float, float] | None,
    confident: bool,
    offset: float = 0.0,
) -> Verdict:
    low, high = interval or (value, value)

    def holds(figure: float) -> bool:
        return figure - offset > gate.above if gate.above is not None else figure - offset < (gate.below or 0.0)

    cautious = low if gate.above is not None else high
    return Verdict(
        dataset=dataset,
        model=model,
        metric=gate.metric,
        bound=bound,
        value=value,
        interval=interval,
        passed=holds(cautious if confident else value),
        uncertain=holds(low) != holds(high),
    )
