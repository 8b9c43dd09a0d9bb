"""What the committed metrics say about a dataset, and what is wrong with them; needs no heavy import."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictStr, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.functional_validators import model_validator

from pipeline.metrics import best_of, metrics_of
from pipeline.settings import (
    ENSEMBLE,
    TUNED,
    Config,
    Dataset,
    Number,
    command_of,
    drift_sha256,
    ensemble_sha256,
    search_sha256,
    settings_sha256,
)

METRICS_DIR = Path("metrics")
# Rounding of committed figures: two files that agree to this are the same result.
SAME = 1e-5
STALE_DATA, STALE_SETTINGS = "is stale (of other data)", "is stale (of other settings)"
Scores = dict[str, Number]
Way = Literal["half", "nobody", "everybody", "random"]
Intervals = dict[str, tuple[Number, Number]]


@dataclass(frozen=True)
class OtherCost:
    cost: Number
    saved_interval: tuple[Number, Number]


@dataclass(frozen=True)
class CostFigures:
    """What the labels at a threshold cost, and what those of other ways would: see pipeline/worth.py."""

    cost: Number
    per_rows: int
    interval: tuple[Number, Number]
    others: dict[Way, OtherCost]


@dataclass(frozen=True)
class OtherHits:
    hits: Number
    followed: Number


@dataclass(frozen=True)
class HitsFigures:
    """Likewise what they find."""

    capacity: Number
    rows: Number
    positives: Number
    followed: Number
    hits: Number
    interval: tuple[Number, Number]
    others: dict[Way, OtherHits]


@dataclass(frozen=True)
class CalibrationFigures:
    """How far probabilities are from true, and what recalibration changes: see pipeline/training/assess.py."""

    calibration_error: Number
    interval: tuple[Number, Number]
    recalibrated: StrictBool | None = None
    log_loss_gain: Number | None = None
    log_loss_gain_interval: tuple[Number, Number] | None = None


@dataclass(frozen=True)
class CoverageFigures:
    """Likewise which share of rows prediction intervals hold."""

    level: Number
    coverage: Number
    interval: tuple[Number, Number]
    width: Number
    width_of_target: Number
    pinball: Number
    pinball_of_target: Number


@dataclass(frozen=True)
class ModelFigures:
    """A model's part of metrics/train/ and metrics/tune/, by metric.

    `naive`: the scores of the naive prediction, `over_naive`: the interval of the lead over it, on the same rows.
    `rough`: what of the judged rows is too little for an interval that holds; empty where nothing is. `decision`: what
    the labels come to, where the threshold is chosen for a cost or a capacity. `uncertainty`: of probabilities, or of
    prediction intervals.
    """

    cv: Scores
    score: Scores
    interval: Intervals
    naive: Scores
    over_naive: Intervals
    rough: StrictStr
    decision: CostFigures | HitsFigures | None = None
    uncertainty: CalibrationFigures | CoverageFigures | None = None


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
    """The part of metrics/drift/ that gates are decided on. `itself`: the current rows are rows of the reference."""

    reference: StrictStr
    current: StrictStr
    itself: StrictBool
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


INTERVALS = ("interval", "over_naive")
FIGURES = ("cv", "score", "naive", *INTERVALS)
MODEL, DRIFT, NUMBER = TypeAdapter(ModelFigures), TypeAdapter(DriftVerdicts), TypeAdapter(Number)


@dataclasses.dataclass(frozen=True)
class Results:
    """A dataset's committed figures; `problems` says what is missing, unreadable or stale, and what mends it.

    `models` maps names (tuned ones as `<model>_tuned`; `ensemble`) to params_sha256, estimator and what ModelFigures
    has, without stale ones; `ceiling` is the best that a model can be expected to reach, by metric, where it is
    known; `drift` is what was found of drift, None where it was not tested.
    """

    dataset: str
    data_sha256: str
    models: Mapping[str, Mapping[str, Any]]
    ceiling: Mapping[str, float]
    drift: DriftVerdicts | None
    champion: Mapping[str, Any] | None
    problems: tuple[str, ...]


def read_results(dataset: Dataset, config: Config, folder: Path = METRICS_DIR) -> Results:
    """Read metrics/{data,train,tune,ensemble,drift,champion}/<dataset>.json; never raises, but lists what is wrong, in
    the order in which to mend it.

    A model without every score of its task, as finite numbers with their intervals, or of other settings than the
    present ones, is a problem and is left out.
    """
    problems: list[str] = []

    def path(stage: str) -> Path:
        return folder / stage / f"{dataset.name}.json"

    def run(script: str, model: str = "") -> str:
        return f"run `python {script} --dataset {dataset.name}{model and f' --model {model}'}`"

    def read(stage: str, mend: str, hashes: Mapping[str, str], needed: bool = False) -> dict[str, Any]:
        if not path(stage).exists() and not needed:
            return {}
        value, wrong = read_object(path(stage))
        if wrong := wrong or _stale(value, hashes):
            problems.append(f"{path(stage)} {wrong}; {mend}")
            return {}
        return value

    def models(
        stage: str,
        known: Collection[str],
        mend: Callable[[str], str],
        sha256: Callable[[Config, Dataset, str], str],
        needed: bool = False,
    ) -> dict[str, Mapping[str, Any]]:
        value = read(stage, mend(""), {"data_sha256": data_sha256}, needed)
        found = value.get("models")
        # an ensemble that leads no model is not kept
        if not isinstance(found, dict) or not (found or stage == ENSEMBLE):
            problems.extend([f"{path(stage)} holds no models; {mend('')}"] if value else [])
            return {}
        complete, wrong = dict[str, Any](), dict[str, str]()
        for name, model in found.items():
            if name not in known:
                wrong[name] = "is no model of params.yaml"
            elif stale := _stale(model, {"params_sha256": sha256(config, dataset, name)}):
                wrong[name] = stale
            elif missing := _missing_figure(model, metrics_of(dataset.task)):
                wrong[name] = f"has no number as {missing}"
            else:
                complete[name] = model
        if stage == "train" and [*wrong.values()] == [STALE_SETTINGS] * len(found):
            # one command for all of them
            wrong = {"": STALE_SETTINGS}
        for name, words in wrong.items():
            problems.append(f"{path(stage)}{name and f': {name}'} {words}; {mend(name if name in known else '')}")
        return complete

    facts = read("data", run("generate_data.py"), {}, needed=True)
    recorded, ceiling = facts.get("sha256"), facts.get("ceiling")
    if not isinstance(ceiling, dict) or not is_number(ceiling.get("value")):
        ceiling = {"metric": "", "value": 0.0}
    data_sha256 = recorded if isinstance(recorded, str) else ""
    if not data_sha256 and not problems:
        problems.append(f"{path('data')} holds no sha256; {run('generate_data.py')}")
    trained = models("train", config.models, partial(run, "train.py"), settings_sha256, needed=True)
    removed = ", or remove the file"
    tuned = models("tune", config.models, lambda name: run("tune_hyperparameters.py", name) + removed, search_sha256)
    trained |= {f"{name}{TUNED}": model for name, model in tuned.items()}

    def sha256_of_ensemble(config: Config, dataset: Dataset, name: str) -> str:
        """Of the models that it was selected from, as they are now."""
        candidates = read_object(path(ENSEMBLE))[0].get("candidates")
        names = [one for one in candidates if isinstance(one, str)] if isinstance(candidates, list) else []
        return ensemble_sha256(config, dataset, {one: trained[one] for one in names if one in trained})

    again = f"run `{command_of(dataset.name, ENSEMBLE)}`{removed}"
    trained |= models(ENSEMBLE, (ENSEMBLE,), lambda name: again, sha256_of_ensemble)
    mend, drift = run("detect_drift.py"), None
    if found := read("drift", mend, {"data_sha256": data_sha256, "params_sha256": drift_sha256(config, dataset)}):
        try:
            drift = DRIFT.validate_python(found)
        except ValidationError:
            problems.append(f"{path('drift')} holds no verdicts; {mend}")
    return Results(
        dataset=dataset.name,
        data_sha256=data_sha256,
        models=trained,
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


def _stale(value: Any, hashes: Mapping[str, str]) -> str:
    """What is wrong with the hashes of a metrics file or a model in it; empty where they are the expected ones."""
    value = value if isinstance(value, dict) else {}
    for key, words in (("data_sha256", STALE_DATA), ("params_sha256", STALE_SETTINGS)):
        # where the data's own hash is unknown, that is the problem to tell of
        if hashes.get(key) and value.get(key) != hashes[key]:
            return words if key in value else f"has no {key}"
    return ""


def _missing_figure(model: Any, metrics: Sequence[str]) -> str:
    """The first figure that a model lacks, as `part.metric`; empty where all are there, and intervals are in order."""
    if fault := _fault(MODEL, model):
        return fault
    absent = [f"{part}.{metric}" for part in FIGURES for metric in metrics if metric not in model[part]]
    reversed_bounds = [
        f"{part}.{metric}" for part in INTERVALS for metric, (low, high) in model[part].items() if low > high
    ]
    return next(iter(absent + reversed_bounds), "")
