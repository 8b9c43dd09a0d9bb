"""What the committed metrics say about a dataset, and what is wrong with them; needs no heavy import."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StrictBool, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.functional_validators import model_validator

from pipeline.metrics import best_of, metrics_of
from pipeline.settings import Config, Dataset, Number, drift_sha256, settings_sha256

METRICS_DIR = Path("metrics")
# Rounding of committed figures: two files that agree to this are the same result.
SAME = 1e-5
Scores = dict[str, Number]


@dataclass(frozen=True)
class ModelFigures:
    """A model's part of metrics/train/ and metrics/tune/, by metric; tuned models have no naive scores."""

    cv: Scores
    score: Scores
    interval: dict[str, tuple[Number, Number]]
    naive: Scores = Field(default_factory=dict)


@dataclass(frozen=True)
class DriftVerdict:
    drift: StrictBool


@dataclass(frozen=True)
class Expected:
    """The main metric on current rows without their labels; `reason` says why it is not `reliable`."""

    value: Number
    interval: tuple[Number, Number]
    reliable: StrictBool
    reason: str


@dataclass(frozen=True)
class DriftVerdicts:
    """The part of metrics/drift/ that gates are decided on."""

    drift: StrictBool | None
    columns: Annotated[list[DriftVerdict], Field(min_length=1)]
    target: DriftVerdict | None
    joint: DriftVerdict
    expected_score: Expected | None = None

    @model_validator(mode="after")
    def check_agreement(self) -> DriftVerdicts:
        """The verdict is that of its parts."""
        if self.drift is not None and self.drift != bool(self.drifted):
            raise ValueError("the verdict is another one than that of the columns")
        return self

    @property
    def drifted(self) -> int | None:
        """How many columns drifted, the target included; 1 where only all together did, None without a verdict."""
        if self.drift is None:
            return None
        return max(sum(one.drift for one in [*self.columns, self.target] if one), int(self.joint.drift))


MODEL, DRIFT, NUMBER = TypeAdapter(ModelFigures), TypeAdapter(DriftVerdicts), TypeAdapter(Number)


@dataclasses.dataclass(frozen=True)
class Results:
    """A dataset's committed figures; `problems` says what is missing, unreadable or stale, and what mends it.

    `models` maps names (tuned ones as `<model>_tuned`) to estimator, cv, score, interval and naive figures; `ceiling`
    is the best that a model can be expected to reach, by metric, where it is known; `drift` is what was found of drift,
    None where it was not tested.
    """

    dataset: str
    data_sha256: str
    params_sha256: str
    models: Mapping[str, Mapping[str, Any]]
    ceiling: Mapping[str, float]
    drift: DriftVerdicts | None
    champion: Mapping[str, Any] | None
    problems: tuple[str, ...]


def read_results(dataset: Dataset, config: Config, folder: Path = METRICS_DIR) -> Results:
    """Read metrics/{data,train,tune,drift,champion}/<dataset>.json; never raises, but lists what is wrong.

    A model without every score of its task, as finite numbers with their intervals, is a problem and is left out.
    """
    problems: list[str] = []

    def path(stage: str) -> Path:
        return folder / stage / f"{dataset.name}.json"

    def run(script: str) -> str:
        return f"run `python {script} --dataset {dataset.name}`"

    def read(stage: str, mend: str, hashes: Mapping[str, str], needed: bool = False) -> dict[str, Any]:
        if not path(stage).exists() and not needed:
            return {}
        value, wrong = read_object(path(stage))
        if wrong := wrong or _stale(value, hashes):
            problems.append(f"{path(stage)} {wrong}; {mend}")
            return {}
        return value

    def models(stage: str, mend: str, parts: Sequence[str], needed: bool = False) -> dict[str, Mapping[str, Any]]:
        value = read(stage, mend, hashes, needed)
        found = value.get("models")
        if value and (not isinstance(found, dict) or not found):
            problems.append(f"{path(stage)} holds no models; {mend}")
        complete = {}
        for name, model in found.items() if isinstance(found, dict) else ():
            if missing := _missing_figure(model, parts, metrics_of(dataset.task)):
                problems.append(f"{path(stage)}: {name} has no number as {missing}; {mend}")
            else:
                complete[name] = model
        return complete

    facts = read("data", run("generate_data.py"), {}, needed=True)
    data_sha256, ceiling = facts.get("sha256"), facts.get("ceiling")
    if not isinstance(ceiling, dict) or not is_number(ceiling.get("value")):
        ceiling = {"metric": "", "value": 0.0}
    if not data_sha256 or not isinstance(data_sha256, str):
        data_sha256 = ""
        if not problems:
            problems.append(f"{path('data')} holds no sha256; {run('generate_data.py')}")
    hashes = {"data_sha256": data_sha256, "params_sha256": settings_sha256(config, dataset)}
    trained = models("train", run("train.py"), ("cv", "score", "interval", "naive"), needed=True)
    mend = f"{run('tune_hyperparameters.py')}, or remove the file"
    tuned = models("tune", mend, ("cv", "score", "interval"))
    naive: Any = next((model["naive"] for model in trained.values()), {})
    mend, drift = run("detect_drift.py"), None
    if found := read("drift", mend, hashes | {"params_sha256": drift_sha256(config, dataset)}):
        try:
            drift = DRIFT.validate_python(found)
        except ValidationError:
            problems.append(f"{path('drift')} holds no verdicts; {mend}")
    return Results(
        dataset=dataset.name,
        **hashes,
        models=trained | {f"{name}_tuned": {**model, "naive": naive} for name, model in tuned.items()},
        ceiling={str(ceiling["metric"]): ceiling["value"]},
        drift=drift,
        champion=read("champion", "remove the file, then run `python validate.py --promote`", {}) or None,
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
    """The model with the best cross-validated metric, never chosen by its test score; None without models."""
    return best_of(metric, {name: model["cv"][metric] for name, model in models.items()})


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number."""
    return not _fault(NUMBER, value)


def _fault(kind: TypeAdapter[Any], value: Any) -> str:
    """Where a JSON value is not of its kind, as a dotted path; empty where it is."""
    try:
        kind.validate_python(value)
    except ValidationError as error:
        return ".".join(map(str, error.errors()[0]["loc"])) or "value"
    return ""


def _stale(value: Mapping[str, Any], hashes: Mapping[str, str]) -> str:
    """What is wrong with the hashes of a metrics file; empty where they are the expected ones."""
    for key, words in (("data_sha256", "data"), ("params_sha256", "settings")):
        # where the data's own hash is unknown, that is the problem to tell of
        if hashes.get(key) and value.get(key) != hashes[key]:
            return f"is stale (of other {words})" if key in value else f"has no {key}"
    return ""


def _missing_figure(model: Any, parts: Sequence[str], metrics: Sequence[str]) -> str:
    """The first figure that a model lacks, as `part.metric`; empty where all are there, and intervals are in order."""
    if fault := _fault(MODEL, model):
        return fault
    absent = [f"{part}.{metric}" for part in parts for metric in metrics if metric not in model.get(part, {})]
    reversed_bounds = [f"interval.{metric}" for metric, (low, high) in model["interval"].items() if low > high]
    return next(iter(absent + reversed_bounds), "")
