"""params.yaml as frozen dataclasses; every mistake in it is named with its key and the mend."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

PARAMS_FILE = Path("params.yaml")
TASKS = ("regression", "binary", "multiclass")
METRICS = {
    "regression": ("r2",),
    "binary": ("roc_auc", "accuracy", "f1", "average_precision"),
    "multiclass": ("accuracy", "f1"),
}
# Every score that a model of a task gets; `metric` above is what models can be chosen by (higher is better).
SCORES = {
    "regression": ("r2", "rmse", "mae"),
    "binary": ("accuracy", "f1", "roc_auc", "average_precision"),
    "multiclass": ("accuracy", "f1"),
}
EVALUATIONS = ("holdout", "cross_validation")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class PipelineError(Exception):
    """A mistake in the input or the configuration: one line that names it and its mend; exit code 2."""


@dataclass(frozen=True)
class Dataset:
    """One table and how it is judged."""

    name: str
    source: str
    file: str
    target: str
    task: str
    metric: str
    positive: str | int | float | bool | None = None
    evaluation: str = "holdout"
    threshold: str | float = 0.5
    drop: tuple[str, ...] = ()
    tune: str = "gradient_boosting"
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelSpec:
    """The estimator classes of a model, by import path, and their settings."""

    name: str
    regression: str
    classification: str
    params: Mapping[str, Any] = field(default_factory=dict)
    classification_params: Mapping[str, Any] = field(default_factory=dict)
    scale: bool = False


@dataclass(frozen=True)
class Tuning:
    trials: int = 100
    startup_trials: int = 10
    search_rows: int = 8000


@dataclass(frozen=True)
class Drift:
    alpha: float = 0.05
    min_wasserstein: float = 0.1
    min_psi: float = 0.1
    min_target_shift: float = 0.05
    min_missing_change: float = 0.05


@dataclass(frozen=True)
class Gate:
    """A bound on one metric: the value, or its lead over the naive baseline or the champion, is above or below it."""

    metric: str
    above: float | None = None
    below: float | None = None
    over: str | None = None


@dataclass(frozen=True)
class Config:
    seed: int
    folds: int
    test_size: float
    datasets: Mapping[str, Dataset]
    models: Mapping[str, ModelSpec]
    search_spaces: Mapping[str, Mapping[str, Any]]
    tuning: Tuning
    drift: Drift
    gates: Mapping[str, tuple[Gate, ...]]

    def dataset(self, name: str) -> Dataset:
        """The dataset of that name; PipelineError with the nearest name where there is none."""
        if name not in self.datasets:
            raise PipelineError(f"params.yaml: no dataset {name!r}; {_nearest(name, self.datasets)}")
        return self.datasets[name]


def load_config(path: Path = PARAMS_FILE) -> Config:
    """Read and check the settings.

    Raises:
        PipelineError: the file is missing or not YAML, a key is unknown, missing, twice there or of a wrong type.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except FileNotFoundError:
        raise PipelineError(f"{path}: not found; run the scripts in the project's root folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise PipelineError(f"{path}: {' '.join(str(error).split())}") from None
    top = _section(raw, "params.yaml", Config.__dataclass_fields__)
    models = {name: _model(name, value) for name, value in _mapping(top.get("models"), "models").items()}
    datasets = {
        name: _dataset(name, value, models) for name, value in _mapping(top.get("datasets"), "datasets").items()
    }
    raw_gates = _mapping(top.get("gates", {}), "gates")
    for name in raw_gates:
        if name not in datasets:
            raise PipelineError(f"params.yaml: gates.{name}: unknown name; {_nearest(name, datasets)}")
    gates = {
        name: tuple(_gate(entry, f"gates.{name}", datasets[name]) for entry in _list(entries, f"gates.{name}"))
        for name, entries in raw_gates.items()
    }
    spaces = _mapping(top.get("search_spaces", {}), "search_spaces")
    for name in spaces:
        if name not in models:
            raise PipelineError(f"params.yaml: search_spaces.{name}: unknown name; {_nearest(name, models)}")
    return Config(
        seed=_number(top.get("seed", 42), "seed", int, 0),
        folds=_number(top.get("folds", 5), "folds", int, 2),
        test_size=_number(top.get("test_size", 0.2), "test_size", float, 0.01, 0.99),
        datasets=datasets,
        models=models,
        search_spaces=spaces,
        tuning=_numbers(Tuning, top.get("tuning", {}), "tuning"),
        drift=_numbers(Drift, top.get("drift", {}), "drift"),
        gates=gates,
    )


def settings_sha256(config: Config, dataset: Dataset) -> str:
    """SHA-256 of all settings that a dataset's baseline models depend on (not gates, tuning and drift settings)."""
    facts = {
        "seed": config.seed,
        "folds": config.folds,
        "test_size": config.test_size,
        "dataset": asdict(dataset),
        "models": {name: asdict(spec) for name, spec in config.models.items()},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.value in seen:
            raise yaml.YAMLError(f"line {key.start_mark.line + 1}: key {key.value!r} is there twice; remove one")
        seen.add(key.value)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def _dataset(name: str, raw: Any, models: Mapping[str, ModelSpec]) -> Dataset:
    key = f"datasets.{name}"
    if not NAME.fullmatch(str(name)):
        raise PipelineError(f"params.yaml: {key}: a name is made of letters, digits, _ and -")
    values = _section(raw, key, [k for k in Dataset.__dataclass_fields__ if k != "name"])
    for needed in ("source", "file", "target"):
        if not isinstance(values.get(needed), str):
            raise PipelineError(f"params.yaml: {key}.{needed}: missing or no text; every dataset needs it")
    task = _one_of(values.get("task"), f"{key}.task", TASKS)
    if "metric" not in values:
        values["metric"] = METRICS[task][0]
    _one_of(values["metric"], f"{key}.metric", METRICS[task])
    _one_of(values.get("evaluation", "holdout"), f"{key}.evaluation", EVALUATIONS)
    if task == "binary" and "positive" not in values:
        raise PipelineError(f"params.yaml: {key}.positive: missing; say which value of {values['target']} is positive")
    threshold = values.get("threshold", 0.5)
    if threshold != "tuned":
        _number(threshold, f"{key}.threshold", float, 0.0, 1.0)
    _one_of(values.get("tune", Dataset.tune), f"{key}.tune", models)
    for model, overrides in _mapping(values.get("models", {}), f"{key}.models").items():
        _one_of(model, f"{key}.models", models)
        _mapping(overrides, f"{key}.models.{model}")
    values["drop"] = tuple(_list(values.get("drop", []), f"{key}.drop"))
    return Dataset(name=name, **values)


def _model(name: str, raw: Any) -> ModelSpec:
    key = f"models.{name}"
    if not NAME.fullmatch(str(name)):
        raise PipelineError(f"params.yaml: {key}: a name is made of letters, digits, _ and -")
    values = _section(raw, key, [k for k in ModelSpec.__dataclass_fields__ if k != "name"])
    for needed in ("regression", "classification"):
        if not isinstance(values.get(needed), str) or "." not in values[needed]:
            raise PipelineError(f"params.yaml: {key}.{needed}: give the estimator's import path, module.Class")
    return ModelSpec(name=name, **values)


def _gate(raw: Any, key: str, dataset: Dataset) -> Gate:
    values = _section(raw, key, Gate.__dataclass_fields__)
    _one_of(values.get("metric"), f"{key}.metric", (*SCORES[dataset.task], "drifted_columns"))
    if "over" in values:
        _one_of(values["over"], f"{key}.over", ("naive", "champion"))
    bounds = [k for k in ("above", "below") if k in values]
    if len(bounds) != 1:
        raise PipelineError(f"params.yaml: {key}: a gate needs one of above and below")
    _number(values[bounds[0]], f"{key}.{bounds[0]}", float)
    return Gate(**values)


def _numbers(cls: Any, raw: Any, key: str) -> Any:
    values = _section(raw, key, cls.__dataclass_fields__)
    for name, value in values.items():
        kind = type(getattr(cls, name))
        _number(value, f"{key}.{name}", kind, 1 if kind is int else 0)
    return cls(**values)


def _section(raw: Any, key: str, known: Collection[str]) -> dict[str, Any]:
    values = _mapping(raw, key)
    for name in values:
        if name not in known:
            raise PipelineError(f"params.yaml: {key}: unknown key {name!r}; {_nearest(name, known)}")
    return dict(values)


def _mapping(raw: Any, key: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise PipelineError(f"params.yaml: {key}: expected `name: value` lines, found {type(raw).__name__}")
    return raw


def _list(raw: Any, key: str) -> list[Any]:
    if not isinstance(raw, list):
        raise PipelineError(f"params.yaml: {key}: expected a list, found {type(raw).__name__}")
    return raw


def _one_of(value: Any, key: str, known: Collection[str]) -> str:
    if value not in known:
        raise PipelineError(f"params.yaml: {key}: {value!r} is none of {', '.join(known)}")
    return str(value)


def _number(value: Any, key: str, kind: type, low: float | None = None, high: float | None = None) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else int):
        raise PipelineError(
            f"params.yaml: {key}: expected {'a number' if kind is float else 'a whole number'}, found {value!r}"
        )
    if (
        not (value == value and abs(value) != float("inf"))
        or (low is not None and value < low)
        or (high is not None and value > high)
    ):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise PipelineError(f"params.yaml: {key}: {value!r} is out of range; give a number {bounds}")
    return value


def _nearest(name: Any, known: Collection[str]) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
