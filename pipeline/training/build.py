"""Name, task and settings -> a fresh unfitted Pipeline with the preprocessing inside, of library classes only."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.console import PipelineError
from pipeline.settings import Config, Dataset, ModelSpec

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.base import BaseEstimator
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

# More categories than this are told apart by their mean target, not by a rank of their own.
MANY_CATEGORIES = 30
MOST_ONE_HOT = 50
TEXT_COMPONENTS = 10


def build_model(
    dataset: Dataset, config: Config, name: str, X: pd.DataFrame, overrides: Mapping[str, Any] | None = None
) -> Pipeline:
    """An unfitted Pipeline for raw rows shaped like X; its classifier decides at the dataset's threshold, and at 0.5
    until a tuned one is set.

    Raises:
        PipelineError: the model is unknown, its class cannot be imported or refuses a setting.
    """
    from sklearn.model_selection import FixedThresholdClassifier
    from sklearn.pipeline import Pipeline

    spec = config.models[name]
    estimator = build_estimator(dataset, config, name, overrides, X)
    if dataset.task == "binary" and dataset.threshold != 0.5:
        threshold = 0.5 if dataset.threshold == "tuned" else float(dataset.threshold)
        estimator = FixedThresholdClassifier(estimator, threshold=threshold)
    return Pipeline([("preprocess", build_preprocessing(spec, dataset, X)), ("model", estimator)])


def build_estimator(
    dataset: Dataset,
    config: Config,
    name: str,
    overrides: Mapping[str, Any] | None = None,
    X: pd.DataFrame | None = None,
) -> BaseEstimator:
    """The bare estimator with its settings, the seed, and all cores for forests.

    One that splits on categories as such is told which columns of a preprocessed X they are.
    """
    spec = config.models[name]
    cls = _import_class(spec, dataset)
    settings = model_params(dataset, config, name) | dict(overrides or {})
    known = cls().get_params()
    for setting in settings:
        if setting not in known:
            raise PipelineError(f"params.yaml: models.{name}: {cls.__name__} has no setting {setting!r}")
    if "random_state" in known:
        settings.setdefault("random_state", config.seed)
    if "n_jobs" in known and "n_estimators" in known:
        settings.setdefault("n_jobs", -1)
    if X is not None and "categorical_features" in known:
        columns = columns_by_kind(spec, dataset, X)
        first = len(columns["numbers"])
        settings.setdefault("categorical_features", [*range(first, first + len(columns["categories"]))] or None)
    return cls(**settings)


def model_params(dataset: Dataset, config: Config, name: str) -> dict[str, Any]:
    """A model's baseline settings on a dataset: the model's own, overridden by the dataset's."""
    spec = config.models[name]
    task_params = {} if dataset.task == "regression" else spec.classification_params
    return {**spec.params, **task_params, **dataset.models.get(name, {})}


def build_preprocessing(spec: ModelSpec, dataset: Dataset, X: pd.DataFrame) -> ColumnTransformer:
    """Columns of X -> numbers (n x k), by the kind of column; unused and all-empty columns stay out.

    Scaled: median-filled standardised numbers and one-hot categories. Otherwise: numbers as they are (missing values
    too); categories as ordinals with -1 for unseen ones, and where there are many of them, as the cross-fitted mean of
    the target (Micci-Barreca 2001). Dates become their parts, text the leading components of its character n-grams.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import KFold, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

    columns = columns_by_kind(spec, dataset, X)
    regression = dataset.task == "regression"
    steps: dict[str, Any] = {
        "numbers": "passthrough",
        "categories": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        # by itself for classes: a fold may learn from two of many
        "many_categories": TargetEncoder(
            target_type="continuous" if regression else "auto",
            cv=(KFold if regression else StratifiedKFold)(5, shuffle=True, random_state=0),
        ),
    }
    if spec.scale:
        # a column that has no value where a fold learns stays, as zeros
        median = SimpleImputer(strategy="median", keep_empty_features=True)
        steps["numbers"] = make_pipeline(median, StandardScaler())
        steps["categories"] = OneHotEncoder(
            handle_unknown="infrequent_if_exist", max_categories=MOST_ONE_HOT, sparse_output=False
        )
    if columns["dates"] or columns["texts"]:
        from skrub import ApplyToCols, DatetimeEncoder, StringEncoder, ToDatetime

        steps["dates"] = make_pipeline(ApplyToCols(ToDatetime(format="ISO8601")), ApplyToCols(DatetimeEncoder()))
        steps["texts"] = ApplyToCols(StringEncoder(TEXT_COMPONENTS, random_state=0))
        if spec.scale:
            for kind in ("dates", "texts"):
                steps[kind] = make_pipeline(steps[kind], median, StandardScaler())
    return ColumnTransformer([(kind, steps[kind], names) for kind, names in columns.items() if names])


def columns_by_kind(spec: ModelSpec, dataset: Dataset, X: pd.DataFrame) -> dict[str, list[str]]:
    """The columns of X that are learned from, by the preprocessing that they get, in the order of its output."""
    columns: dict[str, list[str]] = {"numbers": [], "categories": [], "many_categories": [], "dates": [], "texts": []}
    for name in X:
        if name not in dataset.unused and X[name].notna().any():
            columns[_kind(X[name], dataset.types.get(str(name), ""), spec)].append(name)
    return columns


def _kind(column: pd.Series, declared: str, spec: ModelSpec) -> str:
    """The preprocessing that a column gets."""
    if column.dtype == "float64":
        return "numbers"
    if declared in ("date", "text"):
        return f"{declared}s"
    return "many_categories" if not spec.scale and column.nunique() > MANY_CATEGORIES else "categories"


def _import_class(spec: ModelSpec, dataset: Dataset) -> type:
    path = spec.regression if dataset.task == "regression" else spec.classification
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise PipelineError(f"params.yaml: models.{spec.name}: {path} cannot be imported") from None
