"""What the committed metrics say about a dataset, and what is wrong with them; needs no heavy import."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.metrics import METRICS, metrics_of
from pipeline.settings import Config, Dataset, drift_sha256, settings_sha256

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
            missing = _missing_figure(model, parts, metrics_of(dataset.task))
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
    """The model with the best cross-validated metric, never chosen by its test score."""
    known = {name: value for name, model in models.items() if (value := _figure(model, "cv", metric)) is not None}
    return max(known, key=lambda name: METRICS[metric].sign * known[name]) if known else None


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
