"""Every gate of a dataset, judged on its committed metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.gates.results import SAME, DriftVerdicts, Results, is_number, read_object, select_model
from pipeline.metrics import METRICS, lead
from pipeline.settings import DRIFTED, EXPECTED, PARTS, Config, Dataset, Gate


@dataclass(frozen=True)
class Lead:
    """By how much one model is better than another on the same rows, with its interval, of 95 % where `told` does not
    say otherwise in words.
    """

    value: float
    interval: tuple[float, float]
    told: str = ""


@dataclass(frozen=True)
class Verdict:
    """One gate's outcome. `uncertain`: the interval straddles the bound. `reason` is empty where a number decided.

    Where `over` says so, in words, `value` is the difference to another score, and `interval` that of the difference on
    the same rows, where it is known. `doubt` goes behind a score, as Dataset has it.
    """

    dataset: str
    model: str
    metric: str
    bound: str
    value: float | None
    interval: tuple[float, float] | None
    passed: bool
    uncertain: bool
    reason: str = ""
    over: str = ""
    doubt: str = ""

    def word(self) -> str:
        return ("PASS" if self.passed else "FAIL") + (" (uncertain)" if self.uncertain else "")

    def line(self) -> str:
        """One line for a terminal or a log."""
        return f"{self.word():16} {self.dataset}: {self.text()}"

    def text(self) -> str:
        """What was compared, without the verdict."""
        if self.reason:
            return self.reason
        style = "+.4f" if self.over else "g" if self.metric == DRIFTED else ".4f"
        interval = f" [{self.interval[0]:{style}}, {self.interval[1]:{style}}]" if self.interval else ""
        subject, over = (f"{self.model} " if self.model else ""), (f" {self.over}" if self.over else "")
        return f"{subject}{self.metric} {self.value:{style}}{interval}{self.doubt}{over}, needed {self.bound}"


VERDICTS = TypeAdapter(list[Verdict])


def judge(
    dataset: Dataset,
    config: Config,
    results: Results,
    published: Mapping[str, Any] | None = None,
    confident: bool = False,
    over_champion: Mapping[str, Lead] | str = "",
) -> list[Verdict]:
    """Every gate of a dataset, decided on the model that cross-validation selects.

    Args:
        published: the dataset's part of comparison_results.json; where given, it has to hold the same figures.
        confident: the bound of the 95 % interval decides, not the value.
        over_champion: the model's lead over the champion by metric, or why it is not known.
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
        verdicts += [
            judge_gate(gate, name, dataset, results, confident, over_champion) for gate in config.gates_of(dataset)
        ]
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


def judge_gate(
    gate: Gate,
    name: str,
    dataset: Dataset,
    results: Results,
    confident: bool,
    over_champion: Mapping[str, Lead] | str,
) -> Verdict:
    """One gate decided on the model of that name, on its expected score, or on the number of drifted columns."""
    limit = gate.above if gate.above is not None else gate.below
    bound = f"{'above' if gate.above is not None else 'below'} {limit:g}"
    undecided = replace(failure(results.dataset, ""), model=name, metric=gate.metric, bound=bound)
    if gate.metric == DRIFTED:
        if results.drift and (wrong := other_comparison(gate, dataset, results.drift)):
            return replace(undecided, reason=wrong)
        if results.drift is None or results.drift.drifted is None:
            state = "was not tested" if results.drift is None else "could not be told, as there were too few new rows"
            mend = f"run `python detect_drift.py --dataset {results.dataset}`"
            return replace(undecided, reason=f"drift {state}; {mend}")
        count = float(results.drift.drifted)
        return replace(undecided, model="", value=count, passed=_holds(gate, count))
    model, metric = results.models[name], gate.metric
    if metric == EXPECTED:
        expected = results.drift and results.drift.expected_score
        if not expected or not expected.reliable:
            mend = f"run `python detect_drift.py --dataset {results.dataset} --current FILE`"
            state = f"is not reliable: {expected.reason}" if expected else f"is not known; {mend}"
            return replace(undecided, reason=f"the expected score {state}")
        metric, figure, interval = dataset.metric, expected.value, expected.interval
        decided = replace(undecided, value=figure)
    elif metric not in model["score"]:
        return replace(undecided, reason=f"{name} has no {metric}, which is of another task")
    else:
        figure, interval = model["score"][metric], tuple(model["interval"][metric])
        decided = replace(undecided, value=figure, doubt=dataset.doubt)
    bounds: tuple[float, float] | None = interval
    if gate.over == "champion" and results.champion is None:
        return replace(decided, passed=True, reason="no champion yet to compare with")
    if gate.over:
        other = (results.champion or {}).get("score") if gate.over == "champion" else model["naive"]
        found: Any = other.get(metric) if isinstance(other, dict) else None
        if not is_number(found):
            return replace(undecided, reason=f"the {gate.over} has no {metric} to compare with")
        paired: Mapping[str, Lead] | str = over_champion
        if gate.metric == EXPECTED:
            paired = "the other score is of other rows"
        elif gate.over == "naive":
            low, high = model["over_naive"][metric]
            paired = {metric: Lead(lead(metric, figure, found), (low, high))}
        figure, bounds = difference(metric, figure - found, paired)
        told = "" if isinstance(paired, str) else paired[metric].told
        decided = replace(decided, value=figure, over=f"over the {gate.over}'s {found:.4f}{told}")
        if confident and isinstance(paired, str):
            words = (
                f"{name} {metric} {figure:+.4f}{decided.doubt} {decided.over}, whose interval is not known: {paired}"
            )
            return replace(decided, passed=False, reason=words)
    if bounds is None:
        return replace(decided, passed=_holds(gate, figure))
    low, high = bounds
    cautious = low if gate.above is not None else high
    return replace(
        decided,
        interval=(low, high),
        passed=_holds(gate, cautious if confident else figure),
        uncertain=_holds(gate, low) != _holds(gate, high),
    )


def difference(metric: str, value: float, paired: Mapping[str, Lead] | str) -> tuple[float, tuple[float, float] | None]:
    """The plain difference of two scores, as a gate bounds it, and its interval: those of the same rows where they are
    known, else that of the scores, without one.
    """
    if isinstance(paired, str):
        return value, None
    found, (low, high) = paired[metric].value, paired[metric].interval
    return (found, (low, high)) if METRICS[metric].higher_is_better else (-found, (-high, -low))


def other_comparison(gate: Gate, dataset: Dataset, drift: DriftVerdicts) -> str:
    """Why what was tested for drift is not the comparison that a gate wants; empty where it is. Where the gate names
    none, it takes the parts of the table, and any table compared with the whole one.
    """
    if drift.itself:
        return f"{drift.current} was compared with itself, as its rows are rows of {drift.reference}"
    references = [gate.reference] if gate.reference else [PARTS[0], dataset.file]
    if drift.reference not in references or gate.current not in (None, drift.current):
        wanted = f"{gate.current or 'a table'} against {gate.reference or 'the training table'}"
        return f"{drift.current} was compared with {drift.reference}, and the gate is on {wanted}"
    return ""


def _holds(gate: Gate, value: float) -> bool:
    return value > gate.above if gate.above is not None else value < (gate.below or 0.0)


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
