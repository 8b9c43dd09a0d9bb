"""Every gate of a dataset, judged on its committed metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.gates.results import SAME, Results, is_number, read_object, select_model
from pipeline.settings import DRIFTED, EXPECTED, Config, Dataset, Gate


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
        number = f"{self.value:g}" if self.metric == DRIFTED else f"{self.value:.4f}"
        subject = f"{self.model} " if self.model else ""
        return f"{subject}{self.metric} {number}{interval}, needed {self.bound}"


VERDICTS = TypeAdapter(list[Verdict])


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
    if published is not None:
        remade = any("/train/" in reason or "/tune/" in reason for reason in reasons)
        wrong = "comes after these" if remade else "" if reasons else _difference(results.models, published)
        reasons += [f"comparison_results.json {wrong}; run `python compare_results.py`"] if wrong else []
    name = select_model(results.models, dataset.metric)
    if name is None and not reasons:
        reasons.append(f"no model is trained; run `python train.py --dataset {dataset.name}`")
    verdicts = [failure(dataset.name, reason) for reason in reasons]
    if name is not None:
        verdicts += [judge_gate(gate, name, dataset.metric, results, confident) for gate in config.gates_of(dataset)]
    return verdicts


def told(verdicts: Sequence[Verdict]) -> str:
    """The verdict over all of them, in words; without any gate nothing has passed."""
    passed = sum(verdict.passed for verdict in verdicts)
    word = "PASS" if verdicts and passed == len(verdicts) else "FAIL"
    return f"{word}: {passed} of {len(verdicts)} gates passed"


def earlier_verdicts(path: Path) -> list[Verdict]:
    """The verdicts in metrics/validation.json; none where it is missing, cannot be read or holds what is no number."""
    try:
        found = VERDICTS.validate_python(read_object(path)[0].get("gates", []))
    except ValidationError:
        return []
    numbers = [number for verdict in found for number in (verdict.value, *(verdict.interval or ()))]
    return found if all(number is None or is_number(number) for number in numbers) else []


def failure(dataset: str, reason: str) -> Verdict:
    """The verdict where no number could decide."""
    return Verdict(dataset, "", "", "", None, None, passed=False, uncertain=False, reason=reason)


def judge_gate(gate: Gate, name: str, main_metric: str, results: Results, confident: bool) -> Verdict:
    """One gate decided on the model of that name, on its expected score, or on the number of drifted columns."""
    limit = gate.above if gate.above is not None else gate.below
    bound = f"{'above' if gate.above is not None else 'below'} {limit:g}"
    undecided = replace(failure(results.dataset, ""), model=name, metric=gate.metric, bound=bound)
    if gate.metric == DRIFTED:
        if results.drift is None or results.drift.drifted is None:
            state = "was not tested" if results.drift is None else "could not be told, as there were too few new rows"
            mend = f"run `python detect_drift.py --dataset {results.dataset}`"
            return replace(undecided, reason=f"drift {state}; {mend}")
        count = float(results.drift.drifted)
        passed = count > gate.above if gate.above is not None else count < (gate.below or 0.0)
        return replace(undecided, model="", value=count, passed=passed)
    model, metric = results.models[name], gate.metric
    if metric == EXPECTED:
        expected = results.drift and results.drift.expected_score
        if not expected or not expected.reliable:
            mend = f"run `python detect_drift.py --dataset {results.dataset} --current FILE`"
            state = f"is not reliable: {expected.reason}" if expected else f"is not known; {mend}"
            return replace(undecided, reason=f"the expected score {state}")
        metric, figure, interval = main_metric, expected.value, expected.interval
    elif metric not in model["score"]:
        return replace(undecided, reason=f"{name} has no {metric}, which is of another task")
    else:
        figure, interval = model["score"][metric], tuple(model["interval"][metric])
    decided = replace(undecided, value=figure, interval=interval)
    offset: Any = 0.0
    if gate.over == "champion" and results.champion is None:
        return replace(decided, passed=True, reason="no champion yet to compare with")
    if gate.over:
        other = (results.champion or {}).get("score") if gate.over == "champion" else model["naive"]
        found = other.get(metric) if isinstance(other, dict) else None
        if not is_number(found):
            return replace(undecided, reason=f"the {gate.over} has no {metric} to compare with")
        offset, bound = found, f"{bound} over the {gate.over}'s {found:.4f}"

    def holds(value: float) -> bool:
        return value - offset > gate.above if gate.above is not None else value - offset < (gate.below or 0.0)

    low, high = interval
    cautious = low if gate.above is not None else high
    passed = holds(cautious if confident else figure)
    return replace(decided, bound=bound, passed=passed, uncertain=holds(low) != holds(high))


def _difference(models: Mapping[str, Mapping[str, Any]], published: Mapping[str, Any]) -> str:
    """How published figures, {model: {metric: value}}, differ from the models' scores; empty where they do not."""
    for name, model in models.items():
        shown = published.get(name)
        for metric, value in model["score"].items():
            figure = shown.get(metric) if isinstance(shown, dict) else None
            if not is_number(figure) or abs(figure - value) > SAME:
                return f"has no {name}.{metric} equal to {value:.6g}, which metrics/ tell of"
    unknown = [name for name in published if name not in models]
    return f"has {unknown[0]}, which metrics/ do not tell of" if unknown else ""
