"""What the committed metrics say about a dataset, and whether its gates pass; needs no heavy import."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import SCORES, Config, Dataset, Gate, drift_sha256, settings_sha256

METRICS_DIR = Path("metrics")
# Rounding of committed figures: two files that agree to this are the same result.
SAME = 1e-5


@dataclass(frozen=True)
class Results:
    """A dataset's committed figures; `problems` says what is missing, unreadable or stale, and what mends it.

    `models` maps names (tuned ones as `<model>_tuned`) to estimator, cv, score, interval and naive figures.
    """

    dataset: str
    data_sha256: str
    params_sha256: str
    models: Mapping[str, Mapping[str, Any]]
    drifted: int | None
    champion: Mapping[str, Any] | None
    problems: tuple[str, ...]


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


def read_results(dataset: Dataset, config: Config, folder: Path = METRICS_DIR) -> Results:
    """Read metrics/{data,train,tune,drift,champion}/<dataset>.json; never raises, but lists what is wrong.

    A model without every score of its task, as finite numbers with their intervals, is a problem and is left out.
    """
    problems: list[str] = []

    def read(stage: str, mend: str, expected: Mapping[str, str], needed: bool = False) -> dict[str, Any]:
        path = folder / stage / f"{dataset.name}.json"
        if not path.exists() and not needed:
            return {}
        value, wrong = read_object(path)
        wrong = wrong or _of_other_origin(value, expected)
        if wrong:
            problems.append(f"{path} {wrong}; {mend}")
            return {}
        return value

    def models(stage: str, value: Mapping[str, Any], mend: str, parts: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        path = folder / stage / f"{dataset.name}.json"
        found = value.get("models")
        if value and (not isinstance(found, dict) or not found):
            problems.append(f"{path} holds no models; {mend}")
        complete = {}
        for name, model in found.items() if isinstance(found, dict) else ():
            missing = _missing_figure(model, parts, SCORES.get(dataset.task, ()))
            if missing:
                problems.append(f"{path}: {name} has no number as {missing}; {mend}")
            else:
                complete[name] = model
        return complete

    def command(script: str) -> str:
        return f"run `python {script} --dataset {dataset.name}`"

    data_sha256 = read("data", command("generate_data.py"), {}, needed=True).get("sha256")
    if not data_sha256 or not isinstance(data_sha256, str):
        data_sha256 = ""
        if not problems:
            problems.append(f"{folder}/data/{dataset.name}.json holds no sha256; {command('generate_data.py')}")
    hashes = {"data_sha256": data_sha256, "params_sha256": settings_sha256(config, dataset)}
    mend = command("train.py")
    trained = models("train", read("train", mend, hashes, needed=True), mend, ("cv", "score", "interval", "naive"))
    mend = f"{command('tune_hyperparameters.py')}, or remove the file"
    tuned = models("tune", read("tune", mend, hashes), mend, ("cv", "score", "interval"))
    naive: Any = next((model["naive"] for model in trained.values()), {})
    mend = command("detect_drift.py")
    drift = read("drift", mend, {"data_sha256": data_sha256, "params_sha256": drift_sha256(config, dataset)})
    drifted = _drifted_columns(drift)
    if drift and drifted is None:
        problems.append(f"{folder}/drift/{dataset.name}.json holds no verdicts; {mend}")
    mend = "remove the file, then run `python validate.py --promote`"
    return Results(
        dataset=dataset.name,
        **hashes,
        models=trained | {f"{name}_tuned": {**model, "naive": naive} for name, model in tuned.items()},
        drifted=drifted,
        champion=read("champion", mend, {}) or None,
        problems=tuple(problems),
    )


def read_object(path: Path) -> tuple[dict[str, Any], str]:
    """The JSON object in a file and "", or {} and what is wrong with the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, "is missing"
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"cannot be read ({error})"
    return (value, "") if isinstance(value, dict) and value else ({}, "holds no results")


def select_model(models: Mapping[str, Mapping[str, Any]], metric: str) -> str | None:
    """The model with the best cross-validated metric (higher is better), never chosen by its test score."""
    known = {name: value for name, model in models.items() if (value := _figure(model, "cv", metric)) is not None}
    return max(known, key=lambda name: known[name]) if known else None


def default_gates(dataset: Dataset) -> tuple[Gate, ...]:
    """The first gate of a dataset that has none: better than predicting the mean or the majority class."""
    return (Gate(metric=dataset.metric, above=0.0, over="naive"),)


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
        gates = config.gates.get(dataset.name) or default_gates(dataset)
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


def _of_other_origin(value: Mapping[str, Any], expected: Mapping[str, str]) -> str:
    """What is wrong with the hashes of a metrics file; empty where they are the expected ones."""
    for key, words in (("data_sha256", "data"), ("params_sha256", "settings")):
        # where the data's own hash is unknown, that is the problem to tell of
        if expected.get(key) and value.get(key) != expected[key]:
            return f"is stale (of other {words})" if key in value else f"has no {key}"
    return ""


def _missing_figure(model: Any, parts: Sequence[str], metrics: Sequence[str]) -> str:
    """The first figure that a model lacks, as `part.metric`; empty where all are there and finite."""
    for part in parts:
        for metric in metrics:
            known = _interval(model, metric) if part == "interval" else _figure(model, part, metric)
            if known is None:
                return f"{part}.{metric}"
    return ""


def _difference(models: Mapping[str, Mapping[str, Any]], published: Mapping[str, Any]) -> str:
    """How published figures, {model: {metric: value}}, differ from the models' scores; empty where they do not."""
    for name, model in models.items():
        for metric in model["score"]:
            value, shown = _figure(model, "score", metric), _figure(published, name, metric)
            if value is not None and (shown is None or abs(shown - value) > SAME):
                return f"has no {name}.{metric} equal to {value:.6g}, which metrics/ tell of"
    unknown = [name for name in published if name not in models]
    return f"has {unknown[0]}, which metrics/ do not tell of" if unknown else ""


def _drifted_columns(drift: Mapping[str, Any]) -> int | None:
    """How many columns drifted, the target included; None where the verdicts are not all there."""
    columns = drift.get("columns")
    if not isinstance(columns, list) or not columns or "target" not in drift:
        return None
    tested = columns if drift["target"] is None else [*columns, drift["target"]]
    verdicts = [column.get("drift") for column in tested if isinstance(column, dict)]
    known = [verdict for verdict in verdicts if isinstance(verdict, bool)]
    return sum(known) if len(known) == len(tested) else None


def _figure(model: Any, part: str, metric: str) -> float | None:
    """The finite number model[part][metric], or None."""
    values = model.get(part) if isinstance(model, dict) else None
    return _finite(values.get(metric)) if isinstance(values, dict) else None


def _interval(model: Any, metric: str) -> tuple[float, float] | None:
    """The bounds model["interval"][metric], or None where they are no two finite numbers in order."""
    intervals = model.get("interval") if isinstance(model, dict) else None
    bounds = intervals.get(metric) if isinstance(intervals, dict) else None
    if not isinstance(bounds, list) or len(bounds) != 2:
        return None
    low, high = map(_finite, bounds)
    return None if low is None or high is None or low > high else (low, high)


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
