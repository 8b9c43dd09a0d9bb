"""What a user's table is like: the task, the positive class, columns to ignore, giveaways."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.console import PipelineError, nearest
from pipeline.generators import CEILINGS
from pipeline.metrics import default_metric
from pipeline.settings import Config, Dataset
from pipeline.tables.split import check_target, features_and_target, fold_indices, in_order_of_time, split
from pipeline.tables.types import convert, infer_type, normalise_types, value_text, word_among_numbers

# A target of whole numbers with more values than this is a quantity, with fewer it is a class.
MOST_CLASSES = 20
POSITIVE = ("1", "yes", "y", "true", "t", "positive", "pos", "bad", "fraud", "default", "churn", "churned", "malignant")
IDENTIFIER_NAME = re.compile(r"(?i:.*(^|[^a-z])(id|uuid|guid|key|index|row)|unnamed.*|column_1)|.*[a-z]I[Dd]")
IDENTIFIER_ROWS = 20
# Fewer rows of the smallest class than this in the test part, or fewer test rows in all, tell nothing.
FEW_OF_A_CLASS, FEW_ROWS = 10, 50
# A column that alone scores as well as this gives the target away.
GIVEAWAY = 0.99
GIVEAWAY_ROWS = 5_000


@dataclass(frozen=True)
class Table:
    """A table ready to be written, its dataset completed, ignored columns and why, warnings, and the best score that
    it allows where that is known.
    """

    frame: pd.DataFrame
    dataset: Dataset
    ignored: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    ceiling: Mapping[str, Any] | None = None


def calibrated(dataset: Dataset, made: pd.DataFrame, ceiling: float, config: Config) -> Table:
    """A generated table, whose columns are what they look like; `ceiling` is the best score that it allows."""
    frame = normalise_types(made)
    types = {str(name): "number" if frame[name].dtype == "float64" else "category" for name in frame}
    types |= dict.fromkeys(dataset.drop, "ignore")
    best = {"metric": CEILINGS[dataset.name], "value": round(ceiling, 6)}
    return Table(frame, complete(replace(dataset, types=types), frame, config), ceiling=best)


def take_in(dataset: Dataset, raw: pd.DataFrame, config: Config) -> Table:
    """A user's table, given as its source has it, checked and brought to types. PipelineError: the table cannot be
    learned from as params.yaml says.
    """
    source = Path(dataset.source)
    named = [dataset.target, *dataset.types, *dataset.drop, *filter(None, (dataset.group, dataset.time))]
    for column in named:
        if column not in raw:
            raise PipelineError(f"{source}: no column {column!r}; {nearest(column, list(raw))}")
    types = {str(name): dataset.types.get(str(name)) or infer_type(raw[name]) for name in raw}
    if dataset.task == "regression":
        types[dataset.target] = "number"
    warnings = []
    for name, kind in types.items():
        guessed = kind in ("category", "text") and name not in (*dataset.types, *dataset.drop)
        word = word_among_numbers(raw[name]) if guessed else ""
        if word and name == dataset.target and not dataset.task:
            raise PipelineError(
                f"{source}: target {name}: {word} is no number, most others are; mend it, or set task to multiclass"
            )
        if word:
            warnings.append(
                f"{name} is taken for categories: {word} is no number, most others are; mend it, or set its type"
            )
    frame = normalise_types(convert(raw, types, source))
    unlabelled = frame[dataset.target].isna()
    if unlabelled.all():
        raise PipelineError(f"{source}: target {dataset.target} is empty in every row")
    if unlabelled.any():
        frame = frame[~unlabelled].reset_index(drop=True)
        warnings.append(f"{unlabelled.sum():,} rows without a value of {dataset.target} are left out")
    ignored = ignored_columns(frame, types, dataset)
    completed = complete(replace(dataset, types=types | dict.fromkeys(ignored, "ignore")), frame, config)
    check_target(frame, completed, source)
    check_splits(frame, completed, config)
    if not any(name not in completed.unused and name != dataset.target for name in frame):
        raise PipelineError(f"{source}: no column is left to learn {dataset.target} from")
    for name, score in giveaways(frame, completed, config).items():
        warnings.append(f"{name} alone predicts {dataset.target} nearly perfectly ({score:.3f}); is it known in time?")
    return Table(frame, completed, ignored, warnings)


def ignored_columns(frame: pd.DataFrame, types: Mapping[str, str], dataset: Dataset) -> dict[str, str]:
    """Columns that there is nothing to learn from, with the reason; a type set by hand keeps a column in."""
    reasons: dict[str, str] = {}
    seen: dict[int, str] = {}
    for name in (str(column) for column in frame):
        if name in (dataset.target, dataset.group, dataset.time) or name in dataset.drop or name in dataset.types:
            continue
        column = frame[name]
        values = column.dropna()
        same = seen.setdefault(_content_hash(column), name)
        if values.empty:
            reasons[name] = "empty"
        elif values.nunique() == 1 and len(values) == len(column):
            reasons[name] = "constant"
        elif same != name and column.equals(frame[same]):
            reasons[name] = f"the same as {same}"
        elif is_identifier(name, values, types[name]):
            reasons[name] = "an identifier"
    return reasons


def is_identifier(name: str, values: pd.Series, kind: str) -> bool:
    """Whether a column tells rows apart and no more: (nearly) every value differs, as names of rows do.

    A measurement differs in every row too; so numbers have to be whole, and consecutive or called an identifier.
    """
    distinct = values.nunique() / len(values)
    called_so = IDENTIFIER_NAME.fullmatch(name) is not None
    if len(values) < IDENTIFIER_ROWS or distinct < (0.9 if called_so else 1.0):
        return False
    if kind == "number":
        whole = (values % 1 == 0).all()
        return bool(whole and (called_so or values.max() - values.min() == len(values) - 1))
    return kind == "category" or (kind == "text" and called_so)


def complete(dataset: Dataset, frame: pd.DataFrame, config: Config) -> Dataset:
    """The dataset with task, main metric, positive class and evaluation inferred where they are not set. PipelineError:
    the target has so many classes that it names rows rather than classes them.
    """
    y = frame[dataset.target]
    counts = y.value_counts()
    task = dataset.task
    if not task:
        quantity = y.dtype == "float64" and (len(counts) > MOST_CLASSES or (y % 1 != 0).any())
        task = "binary" if len(counts) == 2 else "regression" if quantity else "multiclass"
    if task == "multiclass" and len(counts) > max(MOST_CLASSES, len(y) / 10):
        raise PipelineError(
            f"{dataset.source}: target {dataset.target} has {len(counts):,} different texts, no classes"
        )
    positive = dataset.positive
    if task == "binary" and positive is None:
        likely = [value for value in counts.index if value_text(value).lower() in POSITIVE]
        positive = likely[0] if len(likely) == 1 else counts.index[-1]
        positive = int(positive) if isinstance(positive, float) and positive.is_integer() else positive
    tested = len(y) * config.test_size
    few = tested < FEW_ROWS or (task != "regression" and counts.min() * config.test_size < FEW_OF_A_CLASS)
    return replace(
        dataset,
        task=task,
        metric=dataset.metric or default_metric(task),
        positive=positive,
        evaluation=dataset.evaluation or ("cross_validation" if few else "holdout"),
    )


def check_splits(frame: pd.DataFrame, dataset: Dataset, config: Config) -> None:
    """Check that the rows suffice. PipelineError: they do not for the train and test parts, or for the folds."""
    if dataset.task != "regression":
        counts = frame[dataset.target].value_counts()
        needed = config.folds + 1
        if counts.min() < needed:
            raise PipelineError(
                f"{dataset.source}: class {value_text(counts.index[-1])} of {dataset.target} has too few rows "
                f"({counts.min()}), {config.folds} folds and a test part need {needed}; drop or merge it, or lower "
                "`folds` in params.yaml"
            )
    train, _ = split(frame, dataset, config)
    fold_indices(*features_and_target(train, dataset), dataset, config)
    if dataset.evaluation == "cross_validation":
        ordered = in_order_of_time(frame, dataset) if dataset.time else frame
        fold_indices(*features_and_target(ordered, dataset), dataset, config)


def giveaways(frame: pd.DataFrame, dataset: Dataset, config: Config) -> dict[str, float]:
    """Columns that predict the target nearly perfectly alone, with the cross-validated R² or balanced accuracy of a
    decision tree on at most GIVEAWAY_ROWS rows.
    """
    from sklearn.model_selection import cross_val_score
    from sklearn.preprocessing import OrdinalEncoder
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    rows = frame.sample(min(len(frame), GIVEAWAY_ROWS), random_state=config.seed)
    X, y = features_and_target(rows, dataset)
    regression = dataset.task == "regression"
    tree = (DecisionTreeRegressor if regression else DecisionTreeClassifier)(
        min_samples_leaf=2, random_state=config.seed
    )
    if not regression and np.unique(y, return_counts=True)[1].min() < 3:
        return {}
    found = {}
    for name in X:
        if name in dataset.unused or dataset.types[str(name)] == "text":
            continue
        values = X[[name]] if X[name].dtype == "float64" else OrdinalEncoder().fit_transform(X[[name]].fillna(""))
        scores = cross_val_score(tree, values, y, cv=3, scoring="r2" if regression else "balanced_accuracy")
        if scores.mean() >= GIVEAWAY:
            found[str(name)] = float(scores.mean())
    return found


def _content_hash(column: pd.Series) -> int:
    return hash(pd.util.hash_pandas_object(column, index=False).to_numpy().tobytes())
