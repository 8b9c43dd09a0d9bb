"""What the committed metrics say about a dataset, and whether its gates pass; needs no heavy import."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import Config, Dataset, Gate, settings_sha256

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

    def line(self) -> str:
        """One line for a terminal or a log."""
        word = ("PASS" if self.passed else "FAIL") + (" (uncertain)" if self.uncertain else "")
        return f"{word:16} {self.dataset}: {self.text()}"

    def text(self) -> str:
        """What was compared, without the verdict."""
        if self.reason:
            return self.reason
        interval = f" [{self.interval[0]:.4f}, {self.interval[1]:.4f}]" if self.interval else ""
        number = f"{self.value:g}" if self.metric == "drifted_columns" else f"{self.value:.4f}"
        subject = f"{self.model} " if self.model else ""
        return f"{subject}{self.metric} {number}{interval}, needed {self.bound}"


def read_results(dataset: Dataset, config: Config, folder: Path = METRICS_DIR) -> Results:
    """Read metrics/{data,train,tune,drift,champion}/<dataset>.json; never raises, but lists what is wrong."""
    problems: list[str] = []

    def read(stage: str, command: str, needed: bool) -> dict[str, Any]:
        path = folder / stage / f"{dataset.name}.json"
        mend = f"run `python {command} --dataset {dataset.name}`"
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if needed:
                problems.append(f"{path} is missing; {mend}")
            return {}
        except (OSError, ValueError) as error:
            problems.append(f"{path} cannot be read ({error}); {mend}")
            return {}
        if not isinstance(value, dict):
            problems.append(f"{path} holds no results; {mend}")
            return {}
        expected = {"data_sha256": data_sha256, "params_sha256": params_sha256}
        for key, words in (("data_sha256", "other data"), ("params_sha256", "other settings")):
            if key in value and expected[key] and value[key] != expected[key]:
                problems.append(f"{path} is stale (of {words}); {mend}")
                return {}
        return value

    params_sha256, data_sha256 = settings_sha256(config, dataset), ""
    data_sha256 = str(read("data", "generate_data.py", needed=True).get("sha256", ""))
    trained = _models(read("train", "train.py", needed=True))
    tuned = _models(read("tune", "tune_hyperparameters.py", needed=False))
    naive: Any = next((model["naive"] for model in trained.values() if "naive" in model), {})
    models = trained | {f"{name}_tuned": {**model, "naive": naive} for name, model in tuned.items()}
    drift = read("drift", "detect_drift.py", needed=False)
    tested = [*drift.get("columns", []), *([drift["target"]] if drift.get("target") else [])]
    return Results(
        dataset=dataset.name,
        data_sha256=data_sha256,
        params_sha256=params_sha256,
        models=models,
        drifted=sum(bool(column.get("drift")) for column in tested) if drift else None,
        champion=read("champion", "validate.py --promote", needed=False) or None,
        problems=tuple(problems),
    )


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
    broken = [
        Verdict(dataset.name, "", "", "", None, None, passed=False, uncertain=False, reason=reason)
        for reason in results.problems
    ]
    name = select_model(results.models, dataset.metric)
    if name is None:
        if not broken:
            reason = f"no model has a cross-validated {dataset.metric}; run `python train.py --dataset {dataset.name}`"
            broken.append(Verdict(dataset.name, "", "", "", None, None, passed=False, uncertain=False, reason=reason))
        return broken
    gates = config.gates.get(dataset.name) or default_gates(dataset)
    return broken + [_judge_gate(gate, dataset, name, results, published, confident) for gate in gates]


def _judge_gate(
    gate: Gate, dataset: Dataset, name: str, results: Results, published: Mapping[str, Any] | None, confident: bool
) -> Verdict:
    limit = gate.above if gate.above is not None else gate.below
    assert limit is not None
    bound = f"{'above' if gate.above is not None else 'below'} {limit:g}"

    def fail(reason: str) -> Verdict:
        return Verdict(dataset.name, name, gate.metric, bound, None, None, False, False, reason)

    if gate.metric == "drifted_columns":
        if results.drifted is None:
            return fail(f"drift was not tested; run `python detect_drift.py --dataset {dataset.name}`")
        return _decide(gate, dataset.name, "", bound, float(results.drifted), None, confident=False)
    model = results.models[name]
    value = _figure(model, "score", gate.metric)
    low, high = _pair(model.get("interval", {}).get(gate.metric))
    if value is None or low is None or high is None:
        return fail(f"{name} has no {gate.metric} with an interval; run `python train.py --dataset {dataset.name}`")
    if published is not None:
        shown = _figure({"": published.get(name)}, "", gate.metric)
        if shown is None or abs(shown - value) > SAME:
            return fail(
                f"comparison_results.json has no {name}.{gate.metric} equal to the trained {value:.4f}; "
                "run `python compare_results.py`"
            )
    offset = 0.0
    if gate.over == "naive":
        naive = _figure(model, "naive", gate.metric)
        if naive is None:
            return fail(f"no naive {gate.metric}; run `python train.py --dataset {dataset.name}`")
        offset = naive
    elif gate.over == "champion" and results.champion is not None:
        champion = _figure(results.champion, "score", gate.metric)
        if champion is None:
            return fail(f"the champion has no {gate.metric}; run `python validate.py --promote`")
        offset = champion
    elif gate.over == "champion":
        return Verdict(
            dataset.name, name, gate.metric, bound, value, (low, high), True, False, "no champion yet to compare with"
        )
    if gate.over:
        bound = f"{bound} over the {gate.over}'s {offset:.4f}"
    return _decide(gate, dataset.name, name, bound, value, (low, high), confident, offset)


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


def _models(stage: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    models = stage.get("models")
    if not isinstance(models, dict):
        return {}
    return {name: model for name, model in models.items() if isinstance(model, dict)}


def _figure(model: Mapping[str, Any], part: str, metric: str) -> float | None:
    """A finite number, or None."""
    values = model.get(part)
    value = values.get(metric) if isinstance(values, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _pair(value: Any) -> tuple[float | None, float | None]:
    if not isinstance(value, list) or len(value) != 2:
        return None, None
    low, high = (_figure({"": {"bound": bound}}, "", "bound") for bound in value)
    return low, high
