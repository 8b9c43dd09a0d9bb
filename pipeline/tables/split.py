"""A dataset loaded and split: the parts and folds that all stages share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.console import PipelineError, nearest
from pipeline.settings import PARAMS_FILE, Config, Dataset, Decision
from pipeline.tables.columns import value_text
from pipeline.tables.read import read_table

WHOLE = re.compile(r"-?\d+")
# Added to the seed for the folds of a search.
SEARCH_SEED = 1


@dataclass(frozen=True)
class Rows:
    """n rows: raw features X (n x d), targets y (n), and the (train, validation) positions of their folds. `belonging`:
    as belonging_of has it.
    """

    X: pd.DataFrame
    y: np.ndarray
    folds: list[tuple[np.ndarray, np.ndarray]]
    belonging: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def independent(self) -> bool:
        """No row belongs to another one, by a group or in time."""
        return not self.belonging


@dataclass(frozen=True)
class Parts:
    """A dataset's rows: the shared train and test parts (the latter without folds); where it is judged by
    cross-validation, `whole` has all of them. `words`: of the two classes that y has as 0 and 1, none for other tasks.
    """

    train: Rows
    test: Rows
    whole: Rows | None
    words: tuple[Any, ...] = ()

    @property
    def judged_rows(self) -> int:
        """How many rows models are judged on."""
        return len((self.whole or self.test).y)


def load_parts(dataset: Dataset, config: Config) -> Parts:
    """Read a dataset and split it. PipelineError: as load_dataset, split and fold_indices; or more rows are to be
    followed up than models are judged on.
    """
    frame = load_dataset(dataset)
    if dataset.time:
        frame = in_order_of_time(frame, dataset)
    train, test = split(frame, dataset, config)
    by_folds = dataset.evaluation == "cross_validation"
    parts = Parts(
        train=rows_of(train, dataset, config),
        test=Rows(*features_and_target(test, dataset), folds=[], belonging=belonging_of(test, dataset)),
        whole=rows_of(frame, dataset, config) if by_folds else None,
        words=class_words(frame[dataset.target], dataset) if dataset.task == "binary" else (),
    )
    if isinstance(dataset.threshold, Decision) and (dataset.threshold.capacity or 0) > parts.judged_rows:
        words = f"more than the {parts.judged_rows:,} rows that models are judged on; give fewer"
        key = f"datasets.{dataset.name}.threshold.capacity"
        raise PipelineError(f"{PARAMS_FILE}: {key}: {dataset.threshold.capacity} are {words}")
    return parts


def class_words(y: pd.Series, dataset: Dataset) -> tuple[Any, Any]:
    """The two classes of a target, the positive one last; whole numbers as such."""
    words = sorted(y.unique(), key=lambda word: word == dataset.positive)
    negative, positive = (int(word) if isinstance(word, float) and word.is_integer() else word for word in words)
    return negative, positive


def rows_of(frame: pd.DataFrame, dataset: Dataset, config: Config) -> Rows:
    """The rows of a frame with their folds, a frame in order of time where the dataset has a time column."""
    X, y = features_and_target(frame, dataset)
    return Rows(X, y, fold_indices(X, y, dataset, config), belonging_of(X, dataset))


def belonging_of(frame: pd.DataFrame, dataset: Dataset) -> dict[str, np.ndarray]:
    """What says which rows belong together, as Predictions has it: the `group` of each row (n,) or its `time`, where
    the dataset is split by it and the frame has the column.
    """
    column = dataset.group or dataset.time
    return {dataset.kept: frame[column].to_numpy()} if column in frame else {}


def sample_rows(rows: Rows, dataset: Dataset, config: Config, limit: int) -> Rows:
    """At most `limit` rows: the last ones in order of time, else a sample, stratified for classes. Their folds are
    drawn with another seed, so that the best of many trials on them is judged on others; in time, none are drawn.
    """
    from sklearn.utils import resample

    X, y = rows.X, rows.y
    if len(y) <= limit:
        pass
    elif dataset.time:
        X, y = X.tail(limit), y[-limit:]
    else:
        classes = None if dataset.task == "regression" else rows.y
        X, y = resample(rows.X, rows.y, replace=False, n_samples=limit, random_state=config.seed, stratify=classes)
    other = replace(config, seed=(config.seed + SEARCH_SEED) % 2**32)
    return Rows(X, y, fold_indices(X, y, dataset, other), belonging_of(X, dataset))


def load_dataset(dataset: Dataset) -> pd.DataFrame:
    """The table of a dataset, its target checked. PipelineError: as read_table, or the target is absent, has missing
    values or is of another kind than the task.
    """
    frame = read_table(
        Path(dataset.file), f"make it with `python generate_data.py --dataset {dataset.name}`", dataset.types
    )
    check_target(frame, dataset, Path(dataset.file))
    return frame


def check_target(frame: pd.DataFrame, dataset: Dataset, path: Path) -> None:
    """Check the target. PipelineError: it is absent, has missing values, or does not fit the task."""
    if dataset.target not in frame:
        raise PipelineError(f"{path}: no column {dataset.target!r}; {nearest(dataset.target, list(frame))}")
    y = frame[dataset.target]
    if y.isna().any():
        line = int(y.isna().to_numpy().argmax()) + 2
        raise PipelineError(f"{path}: target {dataset.target} is missing in line {line}; remove or fill such rows")
    classes = y.unique()
    if len(classes) < 2:
        raise PipelineError(
            f"{path}: target {dataset.target} is always {value_text(classes[0])}; there is nothing to learn"
        )
    if dataset.task == "regression" and y.dtype != "float64":
        raise PipelineError(f"{path}: target {dataset.target} holds text, so the task is no regression")
    if dataset.task == "binary":
        known = ", ".join(map(value_text, classes[:10]))
        if len(classes) > 2:
            raise PipelineError(f"{path}: target {dataset.target} has {len(classes)} classes, binary has two: {known}")
        if dataset.positive not in classes:
            raise PipelineError(f"{path}: {dataset.positive!r} is no value of target {dataset.target}; values: {known}")


def features_and_target(frame: pd.DataFrame, dataset: Dataset) -> tuple[pd.DataFrame, np.ndarray]:
    """X: the raw features (n x d frame); y: floats for regression, 0/1 with 1 = positive for binary, labels else."""
    y = frame[dataset.target]
    X = frame.drop(columns=dataset.target)
    if dataset.task == "binary":
        return X, (y == dataset.positive).to_numpy().astype(int)
    if dataset.task == "multiclass" and y.dtype == "float64":
        # 1.5 is a class beside 1 and 2, also where only these two come up
        words = y.map(value_text)
        whole = all(map(WHOLE.fullmatch, dataset.classes or words.unique()))
        return X, y.to_numpy().astype(int) if whole else words.to_numpy()
    return X, y.to_numpy()


def split(frame: pd.DataFrame, dataset: Dataset, config: Config) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The train and test parts, the same in every stage.

    Random, stratified by class where there are classes; with `split: {group: column}` no group is in both parts; with
    `split: {time: column}` the test part is the last one, both are in order of time, and no time is in both.
    PipelineError: there are too few rows, classes or groups, a part has one value of the target only, or the column is
    absent.
    """
    from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold, train_test_split

    classes = None if dataset.task == "regression" else frame[dataset.target]
    try:
        if dataset.time:
            ordered = in_order_of_time(frame, dataset)
            _, last = train_test_split(np.arange(len(frame)), test_size=config.test_size, shuffle=False)
            start = first_of_its_time(ordered[dataset.time].to_numpy(), last[0])
            train, test = ordered[:start], ordered[start:]
        elif dataset.group:
            groups = group_labels(frame, dataset)
            if classes is None:
                splits = GroupShuffleSplit(1, test_size=config.test_size, random_state=config.seed)
            else:
                parts = max(2, round(1 / config.test_size))
                splits = StratifiedGroupKFold(parts, shuffle=True, random_state=config.seed)
            first, second = next(splits.split(frame, classes, groups))
            train, test = frame.iloc[first], frame.iloc[second]
        else:
            train, test = train_test_split(
                frame, test_size=config.test_size, random_state=config.seed, stratify=classes
            )
    except ValueError as error:
        raise PipelineError(f"{dataset.file}: cannot be split into train and test parts ({error})") from None
    for part, rows in (("train", train), ("test", test)):
        if rows.empty:
            raise PipelineError(f"{dataset.file}: too many rows have the first {dataset.time}; split by another column")
        _check_several_values(rows[dataset.target], f"the rows of the {part} part", dataset)
    return train, test


def in_order_of_time(frame: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    """The rows sorted by the time column; rows of the same time keep their order. PipelineError: the column is absent,
    has missing values, or holds words.
    """
    if dataset.time in frame and frame[dataset.time].dtype != "float64" and dataset.types.get(dataset.time) != "date":
        raise PipelineError(
            f"{dataset.source}: column {dataset.time!r} holds no dates and no numbers, so no row is later than "
            "another; split by another column, or set its type"
        )
    return frame.iloc[_split_column(frame, dataset, dataset.time).argsort(kind="stable")]


def first_of_its_time(times: np.ndarray, position: int) -> int:
    """The first position in the sorted times (n,) with the same time as a position."""
    return int(np.searchsorted(times, times[position], side="left"))


def group_labels(frame: pd.DataFrame, dataset: Dataset) -> np.ndarray:
    """Each row's group. PipelineError: the column is absent or has missing values."""
    return _split_column(frame, dataset, dataset.group).to_numpy()


def _check_several_values(y: np.ndarray | pd.Series, rows: str, dataset: Dataset) -> None:
    """Nothing is learned from rows of one class or number, and R² and ROC-AUC are not defined for them."""
    values = pd.unique(y)
    if len(values) < 2:
        raise PipelineError(
            f"{dataset.file}: {rows} have one value of {dataset.target} only; another `split` or `test_size` may help"
        )


def _split_column(frame: pd.DataFrame, dataset: Dataset, name: str) -> pd.Series:
    if name not in frame:
        raise PipelineError(f"{dataset.file}: no column {name!r} to split by; {nearest(name, list(frame))}")
    if frame[name].isna().any():
        raise PipelineError(f"{dataset.file}: column {name} has missing values, so its rows cannot be split by it")
    return frame[name]


def fold_indices(
    X: pd.DataFrame, y: np.ndarray, dataset: Dataset, config: Config
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(train, validation) positions of the cross-validation folds of X (n x d) and y (n).

    Shuffled with the seed and stratified for classes; no group is on both sides; in order of time (X sorted by it) each
    fold is validated on the rows that follow its training rows, so the first rows are never validated. PipelineError: a
    class has fewer rows than there are folds, there are fewer rows or groups than folds, or the target has one value
    only where a fold learns, or in all that the folds validate.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold, TimeSeriesSplit

    regression = dataset.task == "regression"
    smallest = len(y) if regression else int(np.unique(y, return_counts=True)[1].min())
    if smallest < config.folds:
        which = "rows" if regression else "rows of the smallest class"
        mend = "lower `folds` or `test_size`, or raise `tuning.search_rows`, in params.yaml"
        raise PipelineError(f"{dataset.file}: {smallest} {which} cannot fill {config.folds} folds; {mend}")
    groups = group_labels(X, dataset) if dataset.group else None
    if groups is not None and len(np.unique(groups)) < config.folds:
        raise PipelineError(f"{dataset.file}: fewer groups in {dataset.group} than {config.folds} folds")
    kinds = {(True, False): KFold, (False, False): StratifiedKFold, (True, True): GroupKFold}
    kind = kinds.get((regression, groups is not None), StratifiedGroupKFold)
    shuffled = kind(config.folds, shuffle=True, random_state=config.seed)
    folds = list((TimeSeriesSplit(config.folds) if dataset.time else shuffled).split(X, y, groups))
    if dataset.time:
        # rows of one time are never on both sides
        times = X[dataset.time].to_numpy()
        starts = [*(first_of_its_time(times, validation[0]) for _, validation in folds), len(y)]
        if len({0, *starts}) < len(folds) + 2:
            raise PipelineError(f"{dataset.file}: too few different times in {dataset.time} for {config.folds} folds")
        folds = [(np.arange(low), np.arange(low, high)) for low, high in pairwise(starts)]
    for number, (train, _) in enumerate(folds, 1):
        _check_several_values(y[train], f"the training rows of fold {number}", dataset)
    _check_several_values(y[np.concatenate([validation for _, validation in folds])], "the validated rows", dataset)
    return folds
