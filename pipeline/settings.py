"""params.yaml as frozen dataclasses; every mistake in it is named with its line and key.

`python -m pipeline.settings` prints the JSON schema by which editors complete and check the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import InitVar, asdict, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    JsonValue,
    PlainValidator,
    Tag,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass
from pydantic.functional_validators import model_validator
from pydantic.json_schema import SkipJsonSchema, WithJsonSchema
from pydantic.types import GetPydanticSchema
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML, MappingNode, Node, SequenceNode, YAMLError

from pipeline.console import PipelineError, nearest
from pipeline.files import read_json
from pipeline.metrics import METRICS, default_metric, metrics_of

PARAMS_FILE = Path("params.yaml")
FACTS_DIR = Path("metrics/data")
TASKS = ("regression", "binary", "multiclass")
# What a column can be: numbers, few distinct values, points in time, many different words, or nothing to learn from.
TYPES = ("number", "category", "date", "text", "ignore")
# What a gate can look at beside the metrics of the chosen model.
DRIFTED, EXPECTED = "drifted_columns", "expected_score"
# What detect_drift.py compares where no file is named: the reference and the current rows.
PARTS = "train part", "test part"
# The model that is tuned by a number of trials, where none is named.
BOOSTING = "gradient_boosting"
# The name of the ensemble of a dataset's models, among them, and the end of that of a tuned model.
ENSEMBLE, TUNED = "ensemble", "_tuned"
# Behind a score of all rows: none was kept that nothing was chosen on.
NO_ROWS_KEPT = "no untouched rows"
# What --dataset takes for all of them.
EVERY = "all"
# A calibrated table of fewer rows has no fraud to speak of.
FEWEST_ROWS, MOST_ROWS = 1000, 100_000_000
FEWEST_SEARCH_ROWS, MOST_FOLDS, MOST_JOBS, MOST_LAG = 50, 100, 1000, 100
# Of characters: names are parts of file names, which systems bound by 255 bytes.
LONGEST_NAME, LONGEST_FILE = 100, 150
# The ends of a range: beyond it floats do not hold every whole number.
MOST_IN_RANGE = 1e15
# What estimators call the number of their threads.
THREADS = frozenset({"n_jobs", "thread_count"})
# Keys of a search space that tell the kinds of task apart.
KINDS_OF_TASK = ("regression", "classification")
NAME, IMPORT_PATH, CHARACTER, SIGN = "^[A-Za-z0-9][A-Za-z0-9_-]*$", "[.]", '^[^"\r\n]?$', "^[.,]$"
TABLE_FILE = "^data(/[^/.][^/]*)+[.](csv|parquet)$"
# In place of pydantic's words, by its type of the error or the pattern that a text does not match.
WORDS = {
    NAME: "a name is text of letters, digits, _ and -",
    SIGN: "expected '.' or ',', found {found}",
    TABLE_FILE: "{found} has to lie in data/ and end with .csv or .parquet",
    IMPORT_PATH: "{found} is no import path; give the estimator's, module.Class",
    CHARACTER: "expected one character, found {found}",
    "missing": "is missing",
    "too_long": "give one of group and time",
    "int_type": "expected a whole number, found {found}",
    "float_type": "expected a number, found {found}",
    "string_type": "expected text (in quotes), found {found}",
    "tuple_type": "expected a list, found {found}",
    "invalid-json-value": "expected a number or text (in quotes), found {found}",
    "string_too_long": "{found} is too long; give at most {max_length} characters",
    "too_short": "is empty; give a value, or take the line out",
    "greater_than_equal": "{found} is out of range; give a number of at least {ge}",
    "greater_than": "{found} is out of range; give a number above {gt}",
    "less_than": "{found} is out of range; give a number below {lt}",
    "less_than_equal": "{found} is out of range; give a number of at most {le}",
    **dict.fromkeys(("dataclass_type", "dict_type", "mapping_type"), "expected `name: value` lines, found {found}"),
}
Key = tuple[Any, ...]


def _mistake(words: str, *key: Any) -> PydanticCustomError:
    """What is wrong in a section, or with a key in it."""
    return PydanticCustomError("mistake", "{words}", {"words": words, "key": key})


def _known(name: Any, names: Collection[str], *key: Any) -> Any:
    """The name, where there is such a one; `key` says where it stands in the section."""
    if name not in names:
        raise _mistake(f"{name!r} is unknown; {nearest(name, names)}", *key)
    return name


def _one_of(*groups: Collection[str]) -> tuple[PlainValidator, WithJsonSchema]:
    """One of the names in the groups; in code also an empty text or None, for what is not set."""
    validator = PlainValidator(lambda name: name if name in ("", None) else _known(name, [*chain(*groups)]))
    return validator, WithJsonSchema({"enum": [*chain(*groups)]})


def _check_cases(section: str, names: Collection[str]) -> None:
    """No two names that differ only in case: their files are the same on some systems."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise _mistake(f"differs from {other} in case only; give another name", section, name)


def _check_jobs(settings: Mapping[str, Any], *key: str) -> None:
    """The threads of an estimator are a number of them, or of cores to leave free."""
    for name in THREADS & settings.keys():
        jobs = settings[name]
        if jobs is not None and (type(jobs) is not int or not 1 <= abs(jobs) <= MOST_JOBS):
            raise _mistake(f"expected 1 to {MOST_JOBS} or -1 for all cores, found {jobs!r}", *key, name)


def _check_space(space: Mapping[str, Any], *key: str) -> None:
    """A search space of a model, or one for each kind of task."""
    by_task = not {*KINDS_OF_TASK}.isdisjoint(space)
    for name, rule in space.items():
        if not by_task:
            _check_range(rule, *key, name)
            continue
        _known(name, KINDS_OF_TASK, *key, name)
        if not isinstance(rule, dict):
            raise _mistake(f"expected `name: range` lines, found {rule!r}", *key, name)
        for setting, inner in rule.items():
            _check_range(inner, *key, name, setting)


def _check_range(rule: Any, *key: str) -> None:
    """[low, high], {log: [low, high]} or {choice: [...]}."""
    kind, ends = next(iter(rule.items())) if isinstance(rule, dict) and len(rule) == 1 else ("", rule)
    if kind == "choice" and isinstance(ends, list) and ends:
        return
    numbers = isinstance(ends, list) and all(type(end) in (int, float) and abs(end) <= MOST_IN_RANGE for end in ends)
    if kind not in ("", "log") or not numbers or len(ends) != 2:
        forms = "[low, high], {log: [low, high]} or {choice: [...]}"
        raise _mistake(f"{rule!r} is no range; give {forms}, with numbers of at most {MOST_IN_RANGE:g}", *key)
    low, high = ends
    if low > high:
        raise _mistake(f"{low} is above {high}; give the lower end first", *key)
    if kind == "log" and low <= 0:
        raise _mistake(f"{low} has no logarithm; start above 0", *key)


def doubt_of(evaluation: str) -> str:
    """What goes behind a score of models that are judged so; empty where they are on rows that were kept aside."""
    return f" ({NO_ROWS_KEPT})" if evaluation == "cross_validation" else ""


def stage_of(name: str) -> tuple[str, str]:
    """The stage that makes a model of that name in the results, as its run's tag has it, and its own name."""
    if name == ENSEMBLE:
        return "ensemble", name
    return ("tuned", name.removesuffix(TUNED)) if name.endswith(TUNED) else ("baseline", name)


def command_of(dataset: str, name: str) -> str:
    """The command that makes a model of that name in the results."""
    stage, model = stage_of(name)
    if stage == "ensemble":
        return f"python tune_hyperparameters.py --dataset {dataset} --ensemble"
    script = "train.py" if stage == "baseline" else "tune_hyperparameters.py"
    return f"python {script} --dataset {dataset} --model {model}"


def kind_of(task: str) -> str:
    """Which of KINDS_OF_TASK a task is of."""
    return KINDS_OF_TASK[task != "regression"]


def space_of(space: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """The part of a model's search space that is for a kind of task; all of it where it makes no difference."""
    return space.get(kind, {}) if {*KINDS_OF_TASK} & {*space} else space


def _check_first(settings: Mapping[str, Any], space: Mapping[str, Any], *key: Any) -> None:
    """Settings that a search tries are in its space."""
    for name, value in settings.items():
        rule = space[_known(name, space, "first_trials", *key, name)]
        kind, ends = next(iter(rule.items())) if isinstance(rule, dict) else ("", rule)
        number = type(value) in ((int,) if all(type(end) is int for end in ends) else (int, float))
        if value not in ends if kind == "choice" else not (number and ends[0] <= value <= ends[1]):
            raise _mistake(f"{value!r} is not in its range, {rule}", "first_trials", *key, name)


def _word(value: Any) -> str:
    """A value of the file as a table has it: 1 and 1.0 are the text 1."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _named(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {name: replace(entry, name=name) for name, entry in entries.items()}


Text = Annotated[str, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Switch = Annotated[bool, Field(strict=True)]
Hidden = SkipJsonSchema[str]  # a field that is no key of the file
Absent = SkipJsonSchema[None]
Name = Annotated[Text, Field(pattern=NAME, max_length=LONGEST_NAME)]
ImportPath = Annotated[Text, Field(pattern=IMPORT_PATH)]
Task = Annotated[str, *_one_of(TASKS)]
Metric = Annotated[str, *_one_of(METRICS)]
Evaluation = Annotated[str, *_one_of(("holdout", "cross_validation"))]
Types = Mapping[Text, Annotated[str, *_one_of(TYPES)]]
Sign = Annotated[Text, Field(pattern=SIGN)]
Marks = tuple[Annotated[str, BeforeValidator(_word)], ...]
Split = Annotated[Mapping[Literal["group", "time"], Text], Field(max_length=1)]
# numbers, text, true or false, null, and lists and mappings of them
Values = Mapping[Text, Annotated[Any, GetPydanticSchema(lambda _, build: build(JsonValue))]]


@dataclass(frozen=True)
class _Section:
    @model_validator(mode="before")
    @classmethod
    def check_keys(cls, raw: Any) -> Any:
        """Every key of a section of the file is known, and has a value."""
        fields = cls.__pydantic_fields__  # type: ignore[attr-defined]
        known = [name for name, field in fields.items() if SkipJsonSchema() not in field.metadata]
        # a section of the file is a dict, the arguments of a call are not
        for key, value in raw.items() if isinstance(raw, dict) else ():
            _known(key, known, key)
            if value in (None, ""):
                raise _mistake("has no value; give one, or take the line out", key)
        return raw


@dataclass(frozen=True, config={"extra": "forbid"})
class Cost(_Section):
    false_positive: Number = Field(
        gt=0, le=MOST_IN_RANGE, description="what a row costs that is wrongly predicted positive"
    )
    false_negative: Number = Field(gt=0, le=MOST_IN_RANGE, description="what a positive row costs that is not found")


@dataclass(frozen=True, config={"extra": "forbid"})
class Decision(_Section):
    """What a threshold is chosen for."""

    # not `Cost | Absent`: pydantic would put the type's name between the keys of a mistake
    cost: Cost = Field(default=None, description="the lowest cost of wrong predictions")  # type: ignore[assignment]
    capacity: Annotated[Whole, Field(ge=1)] | Absent = Field(
        default=None,
        description="how many rows can be followed up of as many as models are judged on (the test part, or all rows "
        "with cross_validation); other numbers of rows have the same share of them",
    )

    def __post_init__(self) -> None:
        if (self.cost is None) == (self.capacity is None):
            raise _mistake("give one of cost and capacity")


# which of its types a threshold is meant to be, so that a mistake is told in the words of that one
NUMBER_OR_WORD, DECISION = "a number or a word", "a decision"
Threshold = Annotated[
    Annotated[Annotated[Number, Field(ge=0, le=1)] | Literal["tuned"], Tag(NUMBER_OR_WORD)]
    | Annotated[Decision, Tag(DECISION)],
    Discriminator(lambda value: DECISION if isinstance(value, dict | Decision) else NUMBER_OR_WORD),
]


@dataclass(frozen=True, kw_only=True, config={"extra": "forbid"})
class Dataset(_Section):
    """One table and how it is judged.

    Only source, file and target are needed in params.yaml. What is empty there is inferred by generate_data.py, kept in
    metrics/data/<name>.json, and filled in by Config.dataset.
    """

    name: Hidden = ""
    source: Text = Field(description="the table to take in, or the generator of a calibrated one")
    file: Text = Field(
        pattern=TABLE_FILE,
        max_length=LONGEST_FILE,
        description="the pipeline's copy of it: data/<name>.csv or .parquet",
    )
    target: Text = Field(description="the column to predict")
    task: Task = Field(default="", description="by default inferred from the values of the target")
    metric: Metric = Field(default="", description="what models are compared by; default: r2, roc_auc or accuracy")
    positive: Text | Whole | Number | Switch | Absent = Field(default=None, description="the class to look for")
    evaluation: Evaluation = Field(
        default="", description="score the test part, or out-of-fold predictions of all rows"
    )
    threshold: Threshold = Field(
        default=0.5, description="probability to predict the positive class from, or how to choose it"
    )
    calibrate: Switch = Field(
        default=False, description="recalibrate probabilities, where that lowers the log loss beyond chance"
    )
    prediction_interval: Annotated[Number, Field(gt=0, lt=1)] | Absent = Field(
        default=None, description="share of rows whose value lies within the bounds that are predicted with it"
    )
    types: Types = Field(default_factory=dict, description="of columns, where the inferred type is wrong")
    drop: tuple[Annotated[str, BeforeValidator(str)], ...] = Field(default=(), description="columns to leave out")
    split: InitVar[Annotated[Split | Absent, Field(description="keep groups together, or test on last rows")]] = None
    group: Hidden = ""
    time: Hidden = ""
    reading: SkipJsonSchema[Mapping[str, Any]] = Field(default_factory=dict)
    classes: SkipJsonSchema[tuple[str, ...]] = ()
    rows: Annotated[Whole, Field(ge=FEWEST_ROWS, le=MOST_ROWS)] | Absent = Field(
        default=None, description="of a calibrated table"
    )
    delimiter: Text = Field(default="", pattern=CHARACTER, description="of a CSV file; by default found")
    encoding: Text = Field(default="", description="of a CSV file; by default found")
    sheet: Text = Field(default="", description="of an Excel file with several")
    table: Text = Field(default="", description="of a database with several")
    decimal: Sign | Mapping[Text, Sign] | Absent = Field(
        default=None, description="the decimal sign, where two would do"
    )
    dayfirst: Switch | Mapping[Text, Switch] | Absent = Field(default=None, description="03/04/2024 is a day in April")
    missing: Marks | Mapping[Text, Marks] = Field(default=(), description="marks of missing values beside empty fields")
    tune: Text = Field(default="", description="the model to tune; by default all that there are, in a budget of time")
    trials: Annotated[Whole, Field(ge=1)] | Absent = Field(
        default=None, description="settings that its search tries, however long it takes"
    )
    models: Mapping[Text, Values] = Field(default_factory=dict, description="settings that differ on this table")

    def __post_init__(self, split: Any) -> None:
        for kind, column in (split or {}).items():
            object.__setattr__(self, kind, column)

    @property
    def synthetic(self) -> bool:
        """Whether the table comes from a generator."""
        return self.source.endswith(".py")

    @property
    def positive_word(self) -> str:
        """The class that is looked for, as the table has it."""
        return _word(self.positive)

    @property
    def doubt(self) -> str:
        """What goes behind every score of its models."""
        return doubt_of(self.evaluation)

    @property
    def kept(self) -> str:
        """What says which rows belong together, "group" or "time"; empty where none do."""
        return "group" if self.group else "time" if self.time else ""

    @property
    def unused(self) -> frozenset[str]:
        """Columns that no model learns from: dropped ones, identifiers and the like, and the group of a row."""
        ignored = {name for name, kind in self.types.items() if kind == "ignore"}
        return frozenset({*ignored, *self.drop, *([self.group] if self.group else [])})


@dataclass(frozen=True, kw_only=True, config={"extra": "forbid"})
class ModelSpec(_Section):
    """The estimator classes of a model, by import path, and their settings."""

    name: Hidden = ""
    regression: ImportPath = Field(description="import path of the estimator of numbers")
    classification: ImportPath = Field(description="import path of the estimator of classes")
    params: Values = Field(default_factory=dict, description="settings of both estimators")
    classification_params: Values = Field(default_factory=dict, description="further settings of the classifier")
    scale: Switch = Field(default=False, description="give it standardised numbers and one-hot categories")
    splines: Switch = Field(
        default=False, description="give it splines of numbers, one-hot categories and their products"
    )
    categories: Text = Field(
        default="", description="its setting for the positions of categories, which it then gets as whole numbers"
    )
    baseline: Switch = Field(default=True, description="whether train.py trains it where no --model is named")
    instead_of: Text = Field(
        default="", description="a model much like it, which a search by time leaves out where this one is installed"
    )
    large: Switch = Field(
        default=False, description="it has large trees: with many rows a search by time begins it before all others"
    )


@dataclass(frozen=True, config={"extra": "forbid"})
class Tuning(_Section):
    budget: Number = Field(
        default=120, gt=0, description="seconds to search and to score the winners, where a dataset has no `trials`"
    )
    trials: Whole = Field(default=300, ge=1, description="most settings of a model that are tried in that time")
    lag: Whole = Field(
        default=4, ge=1, le=MOST_LAG, description="trials at once; each knows the results of all but the last of these"
    )
    startup_trials: Whole = Field(default=10, ge=1, description="random trials, before the sampler learns from them")
    search_rows: Whole = Field(
        default=50000, ge=FEWEST_SEARCH_ROWS, description="most training rows to search on, a stratified sample"
    )
    validation_rows: Whole = Field(
        default=3000,
        ge=1,
        description="rows that a trial on folds is scored on: on as many folds as have them, at least two",
    )


@dataclass(frozen=True, config={"extra": "forbid"})
class Ensemble(_Section):
    members: Whole = Field(default=5, ge=1, description="most models that are averaged")


@dataclass(frozen=True, config={"extra": "forbid"})
class FirstTrials(_Section):
    regression: tuple[Values, ...] = Field(default=(), description="where numbers are predicted")
    classification: tuple[Values, ...] = Field(default=(), description="where classes are predicted")


@dataclass(frozen=True, config={"extra": "forbid"})
class Drift(_Section):
    alpha: Number = Field(default=0.05, ge=0, le=1, description="how often a verdict of drift may be a false alarm")
    min_change: Number = Field(
        default=0.02,
        ge=0,
        le=0.5,
        description="what counts: as much as a share of rows that goes from 50 % to this much more",
    )
    margin: Number = Field(default=0.02, ge=0, le=1, description="a loss of this part of the score counts as none")
    moving: Mapping[Name, tuple[Text, ...]] = Field(
        default_factory=dict, description="columns of a dataset that are expected to move in time"
    )


@dataclass(frozen=True, config={"extra": "forbid"})
class Gate(_Section):
    """A bound on one metric: the value, or its lead over the naive baseline or the champion, is above or below it."""

    metric: Annotated[str, *_one_of(METRICS, (DRIFTED, EXPECTED))] = Field(description="of the chosen model")
    above: Number | Absent = Field(default=None, description="what the metric has to exceed")
    below: Number | Absent = Field(default=None, description="what the metric has to stay under")
    over: Annotated[str | None, *_one_of(("naive", "champion"))] = Field(
        default=None, description="bound the lead over it"
    )
    reference: Text | Absent = Field(
        default=None,
        description="of drift: what was compared with, a file or 'train part'; default: the own table",
    )
    current: Text | Absent = Field(
        default=None, description="of drift: what was compared, a file or 'test part'; by default any"
    )


@dataclass(frozen=True, kw_only=True, config={"extra": "forbid"})
class Config(_Section):
    seed: Whole = Field(default=42, ge=0, le=2**32 - 1, description="seed of every random choice")
    folds: Whole = Field(default=5, ge=2, le=MOST_FOLDS, description="folds of cross-validation")
    test_size: Number = Field(default=0.2, ge=0.01, le=0.99, description="share of the rows to test on")
    datasets: Annotated[Mapping[Name, Dataset], AfterValidator(_named)] = Field(description="tables, by name")
    models: Annotated[Mapping[Name, ModelSpec], AfterValidator(_named)] = Field(description="estimators, by name")
    search_spaces: Mapping[Text, Values] = Field(default_factory=dict, description="ranges of a model's settings")
    first_trials: Mapping[Text, FirstTrials] = Field(
        default_factory=dict, description="settings known to be good, which a model's search tries first"
    )
    tuning: Tuning = Field(default=Tuning(), description="how tune_hyperparameters.py searches")
    ensemble: Ensemble = Field(default=Ensemble(), description="what an ensemble of the fitted models may have")
    drift: Drift = Field(default=Drift(), description="what detect_drift.py calls drift")
    gates: Mapping[Text, tuple[Gate, ...]] = Field(
        default_factory=dict, description="bounds that a dataset has to pass"
    )

    @model_validator(mode="after")
    def check_references(self) -> Config:
        """What one entry says of another."""
        files: dict[str, str] = {}
        _check_cases("datasets", self.datasets)
        _check_cases("models", self.models)
        if EVERY in self.datasets:
            raise _mistake(f"--dataset {EVERY} stands for every dataset; give another name", "datasets", EVERY)
        sources = {Path(table.source).resolve(): name for name, table in self.datasets.items()}
        for name, table in self.datasets.items():
            key, metrics = ("datasets", name), metrics_of(table.task)
            if (of := sources.get(Path(table.file).resolve())) is not None:
                whose = "the source itself" if of == name else f"the source of {of}"
                raise _mistake(f"is {whose}, which would be overwritten; give another name", *key, "file")
            if (other := files.setdefault(table.file.casefold(), name)) != name:
                raise _mistake(f"{table.file} is the file of {other} too; give another name", *key, "file")
            if table.target in table.drop:
                raise _mistake(f"{table.target} is the target", *key, "drop")
            if table.time and not isinstance(table.threshold, float):
                what = "tuned" if table.threshold == "tuned" else "the choice of a threshold"
                words = f"{what} looks at later rows, not with `split: {{time: ...}}`; give a number"
                raise _mistake(words, *key, "threshold")
            if table.metric:
                _known(table.metric, metrics, *key, "metric")
            if table.tune or table.trials:
                _known(table.tune or BOOSTING, self.models, *key, "tune")
            for model, settings in table.models.items():
                _known(model, self.models, *key, "models", model)
                _check_jobs(settings, *key, "models", model)
            for place, gate in enumerate(self.gates.get(name, ())):
                _known(gate.metric, (*metrics, DRIFTED, EXPECTED), "gates", name, place, "metric")
                if (gate.above is None) == (gate.below is None):
                    raise _mistake("a gate needs one of above and below", "gates", name, place)
                for side in ("reference", "current"):
                    if getattr(gate, side) and gate.metric != DRIFTED:
                        raise _mistake(f"goes with {DRIFTED} alone", "gates", name, place, side)
        for name in self.gates:
            _known(name, self.datasets, "gates", name)
        for name in self.drift.moving:
            _known(name, self.datasets, "drift", "moving", name)
        for name, spec in self.models.items():
            if spec.instead_of:
                _known(spec.instead_of, self.models, "models", name, "instead_of")
                if self.models[spec.instead_of].instead_of:
                    raise _mistake("stands for a model that stands for one", "models", name, "instead_of")
            _check_jobs(spec.params, "models", name, "params")
            _check_jobs(spec.classification_params, "models", name, "classification_params")
            if name.endswith(TUNED):
                raise _mistake("ends with _tuned, as the runs of tuned models do; give another name", "models", name)
            if name == ENSEMBLE:
                raise _mistake("stands for the ensemble of all models; give another name", "models", name)
        for name, space in self.search_spaces.items():
            _known(name, self.models, "search_spaces", name)
            _check_space(space, "search_spaces", name)
        for name, first in self.first_trials.items():
            _known(name, self.models, "first_trials", name)
            for kind in KINDS_OF_TASK:
                for place, settings in enumerate(getattr(first, kind)):
                    _check_first(settings, space_of(self.search_spaces.get(name, {}), kind), name, kind, place)
        if self.tuning.search_rows < self.folds:
            words = f"{self.tuning.search_rows} rows cannot fill {self.folds} folds; give more, or lower `folds`"
            raise _mistake(words, "tuning", "search_rows")
        return self

    @property
    def baselines(self) -> list[str]:
        """The models that train.py trains where none is named."""
        return [name for name, spec in self.models.items() if spec.baseline]

    def gates_of(self, dataset: Dataset) -> tuple[Gate, ...]:
        """The gates of a dataset; where it has none, one: better than predicting the mean or the majority class."""
        bound: dict[str, Any] = {"above" if METRICS[dataset.metric].higher_is_better else "below": 0.0}
        return self.gates.get(dataset.name) or (Gate(metric=dataset.metric, over="naive", **bound),)

    def dataset(self, name: str, facts_dir: Path = FACTS_DIR) -> Dataset:
        """The dataset of that name, completed with the facts that generate_data.py has inferred from its table.
        PipelineError: there is none of that name, or facts are needed and missing, unreadable or of another target.
        """
        if name not in self.datasets:
            raise PipelineError(f"{PARAMS_FILE}: no dataset {name!r}; {nearest(name, self.datasets)}")
        given, path = self.datasets[name], facts_dir / f"{name}.json"
        command = f"python generate_data.py --dataset {name}"
        needed = not given.task or (given.task == "binary" and given.positive is None)
        facts = read_json(path, command) if needed or path.exists() else {"target": given.target}
        if not isinstance(facts, dict) or facts.get("target") != given.target:
            raise PipelineError(f"{path}: is of another target than {given.target}; make it with `{command}`")
        reading = facts.get("reading", {})
        if reading and reading.get("settings") != reading_settings(given):
            raise PipelineError(f"{path}: its table was read by other settings; read it again with `{command}`")
        task: Any = given.task or facts.get("task")
        # what was found for another task says nothing of this one
        found = facts if facts.get("task") == task else {}
        try:
            whole = replace(
                given,
                task=task,
                metric=given.metric or default_metric(task),
                positive=found.get("positive", given.positive),
                evaluation=given.evaluation or found.get("evaluation", "holdout"),
                types={**facts.get("types", {}), **given.types},
                reading=reading,
                classes=tuple(sorted(facts.get("class_share") or ())),
            )
        except (StopIteration, TypeError, ValidationError):
            raise PipelineError(f"{path}: names no known task, or no types; make it with `{command}`") from None
        regression, bounded = task == "regression", whole.prediction_interval is not None
        for key, unfit, words in (
            ("threshold", whole.threshold != 0.5 and task != "binary", "it goes with two classes"),
            ("calibrate", whole.calibrate and regression, "it goes with classes"),
            ("prediction_interval", bounded and not regression, "it goes with regression"),
        ):
            if unfit:
                where = f"{PARAMS_FILE}: datasets.{name}.{key}"
                raise PipelineError(f"{where}: {words}, not with {task}; take the line out")
        if whole.task == "binary" and whole.positive is None:
            raise PipelineError(f"{path}: names no positive class; make it with `{command}`")
        return whole


def load_config(path: Path = PARAMS_FILE) -> Config:
    """Read and check the settings. PipelineError: the file is missing or not YAML, a key is unknown, missing, twice
    there or of a wrong type; the message names the key and its line.
    """
    try:
        return read_config(path, path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipelineError(f"{path}: not found; run the scripts in the project's root folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path}: cannot be read ({error})") from None


def read_config(path: Path, text: str) -> Config:
    """The settings in the text of a file. PipelineError: as load_config."""
    lines: dict[Key, int] = {}
    try:
        # as YAML 1.2, as DVC reads and writes it: a plain Yes is text there, not true
        reader = YAML(typ="safe", pure=True)
        lines = {(): 1, **_key_lines(reader.compose(text))}
        return TypeAdapter(Config).validate_python(reader.load(text))
    except ValidationError as error:
        key, words = _first_mistake(error, lines)
        line = next(lines[key[:end]] for end in range(len(key), -1, -1) if key[:end] in lines)
        raise PipelineError(f"{path}: line {line}: {'.'.join(map(str, key)) or 'the file'}: {words}") from None
    except (YAMLError, RecursionError, ValueError) as error:
        raise PipelineError(f"{path}: {error}") from None


def _key_lines(node: Node | None, parents: Key = ()) -> dict[Key, int]:
    """Line of every key and list entry. YAMLError: a key is given twice."""
    lines: dict[Key, int] = {}
    children: list[tuple[Any, Node, Node]] = []
    if isinstance(node, MappingNode):
        children = [(str(name.value), name, value) for name, value in node.value]
    elif isinstance(node, SequenceNode):
        children = [(place, value, value) for place, value in enumerate(node.value)]
    for name, start, value in children:
        key, line = (*parents, name), start.start_mark.line + 1
        if key in lines:
            raise YAMLError(f"line {line}: key {name!r} is there twice; remove one")
        lines |= {key: line, **_key_lines(value, key)}
    return lines


def _first_mistake(failed: ValidationError, lines: Collection[Key]) -> tuple[Key, str]:
    """Its key, and what is wrong there."""
    error = failed.errors(include_url=False)[0]
    key = tuple(part for part in error["loc"] if part not in (NUMBER_OR_WORD, DECISION))
    context = error.get("ctx", {})
    if error["type"] == "mistake":
        return (*key, *context["key"]), context["words"]
    # after the key, pydantic says which of several types it tried
    while error["type"] != "missing" and key not in lines:
        key = key[:-1]
    value = error["input"]
    found = type(value).__name__ if isinstance(value, (dict, list)) else repr(value)
    words = WORDS.get(context.get("pattern", error["type"]), "{msg}, found {found}")
    return key, words.format(found=found, msg=error["msg"].replace("Input should be", "expected"), **context)


def reading_settings(dataset: Dataset) -> dict[str, Any]:
    """The settings of a dataset that say how its source is read, as JSON's values, where they are set."""
    keys = ("types", "drop", "missing", "decimal", "dayfirst", "delimiter", "encoding", "sheet", "table")
    return json.loads(json.dumps({key: getattr(dataset, key) for key in keys if getattr(dataset, key)}, default=dict))


def estimator_of(config: Config, dataset: Dataset, model: str) -> tuple[str, dict[str, Any]]:
    """The import path of a model's estimator on a dataset, and its settings: the model's, those of its kind of task,
    and the dataset's on top.
    """
    spec, own = config.models[model], dataset.models.get(model, {})
    if kind_of(dataset.task) == "regression":
        return spec.regression, {**spec.params, **own}
    return spec.classification, {**spec.params, **spec.classification_params, **own}


def settings_sha256(config: Config, dataset: Dataset, model: str, **further: Any) -> str:
    """SHA-256 of all settings that the baseline of a model depends on: not other models, gates, tuning and drift."""
    spec = config.models[model]
    facts = [*estimator_of(config, dataset, model), spec.scale, *filter(None, (spec.splines, spec.categories))]
    return _sha256(config, dataset, folds=config.folds, model=facts, **further)


def search_sha256(config: Config, dataset: Dataset, model: str) -> str:
    """SHA-256 of all settings that the search of a model depends on, but how many trials it goes on for."""
    kind, tuning = kind_of(dataset.task), config.tuning
    space = space_of(config.search_spaces.get(model, {}), kind)
    first = getattr(config.first_trials.get(model, FirstTrials()), kind)
    numbers = [tuning.search_rows, tuning.validation_rows, tuning.startup_trials, tuning.lag]
    return settings_sha256(config, dataset, model, search=[space, first, numbers])


def ensemble_sha256(config: Config, dataset: Dataset, candidates: Mapping[str, Mapping[str, Any]]) -> str:
    """SHA-256 of all that an ensemble depends on: the candidates by name, each with its hash and cross-validated
    scores, and how many of them it may have.
    """
    facts = {name: [model["params_sha256"], model["cv"]] for name, model in sorted(candidates.items())}
    return _sha256(config, dataset, folds=config.folds, ensemble=[facts, config.ensemble.members])


def drift_sha256(config: Config, dataset: Dataset) -> str:
    """SHA-256 of all settings that a dataset's drift verdicts depend on."""
    return _sha256(config, dataset, drift=asdict(config.drift))


def _sha256(config: Config, dataset: Dataset, **further: Any) -> str:
    # the number of rows is in the table's own hash, a model's settings are in `further`, nothing depends on the others
    facts = {key: value for key, value in asdict(dataset).items() if key not in ("rows", "tune", "trials", "models")}
    settings = {"seed": config.seed, "test_size": config.test_size, "dataset": facts, **further}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    print(json.dumps(TypeAdapter(Config).json_schema(), indent=2))
