"""params.yaml as frozen dataclasses; every mistake in it is named with its key, line and mend."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from pipeline.console import PipelineError, nearest
from pipeline.metrics import default_metric, metrics_of

# libyaml's loader, ten times as fast, where PyYAML comes with it
SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
PARAMS_FILE = Path("params.yaml")
FACTS_DIR = Path("metrics/data")
TASKS = ("regression", "binary", "multiclass")
EVALUATIONS = ("holdout", "cross_validation")
# What a column can be: numbers, few distinct values, points in time, many different words, or nothing to learn from.
TYPES = ("number", "category", "date", "text", "ignore")
# A calibrated table of fewer rows has no fraud to speak of.
FEWEST_ROWS = 1000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Dataset:
    """One table and how it is judged.

    Only source, file and target are needed in params.yaml. What is empty there is inferred by generate_data.py, kept in
    metrics/data/<name>.json, and filled in by Config.dataset.
    """

    name: str
    source: str
    file: str
    target: str
    task: str = ""
    metric: str = ""
    positive: str | int | float | bool | None = None
    evaluation: str = ""
    threshold: str | float = 0.5
    types: Mapping[str, str] = field(default_factory=dict)
    drop: tuple[str, ...] = ()
    group: str = ""
    time: str = ""
    rows: int | None = None
    delimiter: str = ","
    tune: str = "gradient_boosting"
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def unused(self) -> frozenset[str]:
        """Columns that no model learns from: dropped ones, identifiers and the like, and the group of a row."""
        ignored = {name for name, kind in self.types.items() if kind == "ignore"}
        return frozenset({*ignored, *self.drop, *([self.group] if self.group else [])})


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
    search_rows: int = 20000


@dataclass(frozen=True)
class Drift:
    alpha: float = 0.05
    min_wasserstein: float = 0.1
    min_psi: float = 0.1
    min_target_shift: float = 0.1
    min_missing_change: float = 0.05
    min_new_share: float = 0.005


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

    def gates_of(self, dataset: Dataset) -> tuple[Gate, ...]:
        """The gates of a dataset; where it has none, one: better than predicting the mean or the majority class."""
        return self.gates.get(dataset.name) or (Gate(metric=dataset.metric, above=0.0, over="naive"),)

    def dataset(self, name: str, facts_dir: Path = FACTS_DIR) -> Dataset:
        """The dataset of that name, completed with the facts that generate_data.py has inferred from its table.

        Raises:
            PipelineError: there is none of that name, or facts are needed and missing, unreadable or of another target.
        """
        if name not in self.datasets:
            raise PipelineError(f"{PARAMS_FILE}: no dataset {name!r}; {nearest(name, self.datasets)}")
        return _complete(self.datasets[name], facts_dir / f"{name}.json")


def load_config(path: Path = PARAMS_FILE) -> Config:
    """Read and check the settings.

    Raises:
        PipelineError: the file is missing or not YAML, a key is unknown, missing, twice there or of a wrong type; the
            message names the key and its line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        loader = SafeLoader(text)
        tree = loader.get_single_node()
        lines = _key_lines(tree)
        raw = loader.construct_document(tree) if tree is not None else None
    except FileNotFoundError:
        raise PipelineError(f"{path}: not found; run the scripts in the project's root folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path}: cannot be read ({error})") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise PipelineError(f"{path}: {' '.join(str(error).split())}") from None
    try:
        return _config(raw)
    except _SettingError as mistake:
        line = next((lines[key] for key in _and_parents(mistake.key) if key in lines), 1)
        where = f"{mistake.key}: " if mistake.key else ""
        raise PipelineError(f"{path}: line {line}: {where}{mistake}") from None


class _SettingError(Exception):
    """What is wrong with the value of a key, and its mend; load_config adds file and line."""

    def __init__(self, key: str, words: str) -> None:
        super().__init__(words)
        self.key = key


def _config(raw: Any) -> Config:
    top = _section(raw, "", Config.__dataclass_fields__)
    models = {name: _model(name, value) for name, value in _mapping(top.get("models"), "models").items()}
    datasets = {
        name: _dataset(name, value, models) for name, value in _mapping(top.get("datasets"), "datasets").items()
    }
    files: dict[str, str] = {}
    for name, dataset in datasets.items():
        other = files.setdefault(str(Path(dataset.file)), name)
        if other != name:
            raise _SettingError(
                f"datasets.{name}.file", f"{dataset.file} is the file of {other} too; give another name"
            )
    raw_gates = _mapping(top.get("gates", {}), "gates")
    for name in raw_gates:
        if name not in datasets:
            raise _SettingError(f"gates.{name}", f"unknown name; {nearest(name, datasets)}")
    gates = {
        name: tuple(_gate(entry, f"gates.{name}", datasets[name]) for entry in _list(entries, f"gates.{name}"))
        for name, entries in raw_gates.items()
    }
    spaces = _mapping(top.get("search_spaces", {}), "search_spaces")
    for name, space in spaces.items():
        if name not in models:
            raise _SettingError(f"search_spaces.{name}", f"unknown name; {nearest(name, models)}")
        _plain(space, f"search_spaces.{name}")
    return Config(
        seed=_number(top.get("seed", 42), "seed", int, 0, 2**32 - 1),
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
    models = {name: asdict(spec) for name, spec in config.models.items()}
    return _sha256({**_shared_settings(config, dataset), "folds": config.folds, "models": models})


def drift_sha256(config: Config, dataset: Dataset) -> str:
    """SHA-256 of all settings that a dataset's drift verdicts depend on."""
    return _sha256({**_shared_settings(config, dataset), "drift": asdict(config.drift)})


def _shared_settings(config: Config, dataset: Dataset) -> dict[str, Any]:
    # the number of rows is in the table's own hash
    facts = {key: value for key, value in asdict(dataset).items() if key != "rows"}
    return {"seed": config.seed, "test_size": config.test_size, "dataset": facts}


def _sha256(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _complete(dataset: Dataset, path: Path) -> Dataset:
    """The dataset with the inferred facts where params.yaml is silent."""
    needed = not dataset.task or (dataset.task == "binary" and dataset.positive is None)
    mend = f"make it with `python generate_data.py --dataset {dataset.name}`"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if needed:
            raise PipelineError(f"{path}: not found; {mend}") from None
        facts = {"target": dataset.target}
    except (OSError, ValueError, RecursionError) as error:
        raise PipelineError(f"{path}: cannot be read ({error}); {mend}") from None
    if not isinstance(facts, dict) or not isinstance(facts.get("types", {}), dict):
        raise PipelineError(f"{path}: holds no facts of a table; {mend}")
    if facts.get("target") != dataset.target:
        raise PipelineError(f"{path}: is of another target than {dataset.target}; {mend}")
    task = dataset.task or facts.get("task")
    if task not in TASKS:
        raise PipelineError(f"{path}: names no known task; {mend}")
    same_task = facts.get("task") == task
    positive = facts.get("positive") if dataset.positive is None and same_task else dataset.positive
    if task == "binary" and positive is None:
        raise PipelineError(f"{path}: names no positive class; {mend}")
    return replace(
        dataset,
        task=task,
        metric=dataset.metric or default_metric(task),
        positive=positive,
        evaluation=dataset.evaluation or (str(facts.get("evaluation", "holdout")) if same_task else "holdout"),
        types={**facts.get("types", {}), **dataset.types},
    )


def _key_lines(tree: yaml.Node | None, prefix: str = "") -> dict[str, int]:
    """Line of every key, by its dotted path.

    Raises:
        yaml.YAMLError: a key is given twice.
    """
    lines: dict[str, int] = {}
    if not isinstance(tree, yaml.MappingNode):
        return lines
    for key, value in tree.value:
        line = key.start_mark.line + 1
        path = f"{prefix}.{key.value}" if prefix else str(key.value)
        if path in lines:
            raise yaml.YAMLError(f"line {line}: key {key.value!r} is there twice; remove one")
        lines |= {path: line, **_key_lines(value, path)}
    return lines


def _and_parents(key: str) -> Iterator[str]:
    """a.b.c, a.b, a"""
    while key:
        yield key
        key = key.rpartition(".")[0]


def _dataset(name: str, raw: Any, models: Mapping[str, ModelSpec]) -> Dataset:
    key = f"datasets.{name}"
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise _SettingError(key, "a name is text of letters, digits, _ and -")
    known = [k for k in Dataset.__dataclass_fields__ if k not in ("name", "group", "time")]
    values = _section(raw, key, [*known, "split"])
    for needed in ("source", "file", "target"):
        if not isinstance(values.get(needed), str) or not values[needed]:
            raise _SettingError(f"{key}.{needed}", "missing or no text; every dataset needs it")
    _table_file(values["file"], values["source"], key)
    task = _one_of(values["task"], f"{key}.task", TASKS) if "task" in values else ""
    if "metric" in values:
        _one_of(values["metric"], f"{key}.metric", metrics_of(task))
    elif task:
        values["metric"] = default_metric(task)
    if "evaluation" in values:
        _one_of(values["evaluation"], f"{key}.evaluation", EVALUATIONS)
    if "positive" in values and not isinstance(values["positive"], (str, int, float, bool)):
        raise _SettingError(f"{key}.positive", f"expected one value of the target, found {values['positive']!r}")
    threshold = values.get("threshold", 0.5)
    if threshold != "tuned":
        _number(threshold, f"{key}.threshold", float, 0.0, 1.0)
    for column, kind in _mapping(values.get("types", {}), f"{key}.types").items():
        _one_of(kind, f"{key}.types.{column}", TYPES)
    values |= _split_columns(values.pop("split", {}), key)
    if threshold == "tuned" and values["time"]:
        raise _SettingError(
            f"{key}.threshold", "tuned looks at later rows, not with `split: {time: ...}`; give a number"
        )
    if "rows" in values:
        _number(values["rows"], f"{key}.rows", int, FEWEST_ROWS)
    delimiter = values.get("delimiter", ",")
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n':
        raise _SettingError(f"{key}.delimiter", f"expected one character, found {delimiter!r}")
    _one_of(values.get("tune", Dataset.tune), f"{key}.tune", models)
    for model, overrides in _mapping(values.get("models", {}), f"{key}.models").items():
        _one_of(model, f"{key}.models.{model}", models)
        _plain(overrides, f"{key}.models.{model}")
    values["drop"] = tuple(str(column) for column in _list(values.get("drop", []), f"{key}.drop"))
    if values["target"] in values["drop"]:
        raise _SettingError(f"{key}.drop", f"{values['target']} is the target")
    return Dataset(name=name, **values)


def _table_file(file: str, source: str, key: str) -> None:
    """`file` is a CSV or Parquet file inside the project, and another one than `source`."""
    path = Path(file)
    if path.suffix not in (".csv", ".parquet"):
        raise _SettingError(f"{key}.file", f"{file!r} has to end with .csv or .parquet")
    if path.is_absolute() or ".." in path.parts or path.parts[0] != "data":
        raise _SettingError(f"{key}.file", f"{file!r} has to lie in data/, for instance data/{path.name}")
    if path == Path(source):
        raise _SettingError(f"{key}.file", "is the source itself, which would be overwritten; give another name")


def _split_columns(raw: Any, key: str) -> dict[str, str]:
    """{group: column} or {time: column} as the dataset's two fields; both empty for a random split."""
    columns = _section(raw, f"{key}.split", ("group", "time"))
    if len(columns) > 1:
        raise _SettingError(f"{key}.split", "give one of group and time")
    for kind, column in columns.items():
        if not isinstance(column, str) or not column:
            raise _SettingError(f"{key}.split.{kind}", f"expected a column's name, found {column!r}")
    return {"group": columns.get("group", ""), "time": columns.get("time", "")}


def _model(name: str, raw: Any) -> ModelSpec:
    key = f"models.{name}"
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise _SettingError(key, "a name is text of letters, digits, _ and -")
    values = _section(raw, key, [k for k in ModelSpec.__dataclass_fields__ if k != "name"])
    for needed in ("regression", "classification"):
        if not isinstance(values.get(needed), str) or "." not in values[needed]:
            raise _SettingError(f"{key}.{needed}", "give the estimator's import path, module.Class")
    for part in ("params", "classification_params"):
        _plain(values.get(part, {}), f"{key}.{part}")
    if not isinstance(values.get("scale", False), bool):
        raise _SettingError(f"{key}.scale", f"expected true or false, found {values['scale']!r}")
    return ModelSpec(name=name, **values)


def _gate(raw: Any, key: str, dataset: Dataset) -> Gate:
    values = _section(raw, key, Gate.__dataclass_fields__)
    scores = metrics_of(dataset.task)
    _one_of(values.get("metric"), f"{key}.metric", (*scores, "drifted_columns"))
    if "over" in values:
        _one_of(values["over"], f"{key}.over", ("naive", "champion"))
    bounds = [k for k in ("above", "below") if k in values]
    if len(bounds) != 1:
        raise _SettingError(key, "a gate needs one of above and below")
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
            raise _SettingError(f"{key}.{name}" if key else str(name), f"unknown key {name!r}; {nearest(name, known)}")
    return dict(values)


def _mapping(raw: Any, key: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise _SettingError(key, f"expected `name: value` lines, found {type(raw).__name__}")
    for name in raw:
        if not isinstance(name, str):
            raise _SettingError(key, f"name {name!r} is no text; put it in quotes")
    return raw


def _plain(raw: Any, key: str) -> dict[str, Any]:
    """`name: value` lines for an estimator or a search: numbers, text, true or false, null, and lists of them."""
    for name, value in _mapping(raw, key).items():
        if not _is_plain(value):
            raise _SettingError(f"{key}.{name}", f"{value!r} is neither number nor text; put it in quotes")
    return raw


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(inner) for name, inner in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float))


def _list(raw: Any, key: str) -> list[Any]:
    if not isinstance(raw, list):
        raise _SettingError(key, f"expected a list, found {type(raw).__name__}")
    return raw


def _one_of(value: Any, key: str, known: Collection[str]) -> str:
    if not isinstance(value, str) or value not in known:
        raise _SettingError(key, f"{value!r} is none of {', '.join(known)}")
    return value


def _number(value: Any, key: str, kind: type, low: float | None = None, high: float | None = None) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else int):
        raise _SettingError(key, f"expected {'a number' if kind is float else 'a whole number'}, found {value!r}")
    if (
        not (value == value and abs(value) != float("inf"))
        or (low is not None and value < low)
        or (high is not None and value > high)
    ):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise _SettingError(key, f"{value!r} is out of range; give a number {bounds}")
    return value
