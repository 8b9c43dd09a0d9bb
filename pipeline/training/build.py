"""What a model is made of: its settings resolved once, then a fresh unfitted Pipeline for rows.

The Pipeline is made of library classes only; what is logged begins with the step that reads the source's rows.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import FixedThresholdClassifier, KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from pipeline.console import PipelineError
from pipeline.settings import Config, Dataset, Decision, estimator_of

# More categories than this are told apart by their mean target, not by a rank of their own.
MANY_CATEGORIES = 30
MOST_ONE_HOT = 50
TEXT_COMPONENTS = 10


@dataclass(frozen=True)
class Recipe:
    """A model of a dataset, before any row is seen.

    `settings` are the baseline's. `types` are the declared types of columns, `reading` what was found of how the source
    writes them, `unused` those that nothing is learned from. `threshold` is the probability from which a row is
    labelled positive, "tuned", or what it is chosen for; `prediction_interval` the share of rows that intervals hold.
    `judged_rows`, of which a capacity is a share, are known once there are rows.
    """

    model: str
    estimator: type[BaseEstimator]
    settings: Mapping[str, Any]
    scale: bool
    task: str
    metric: str
    threshold: float | str | Decision
    types: Mapping[str, str]
    reading: Mapping[str, Any]
    unused: frozenset[str]
    seed: int
    calibrate: bool = False
    prediction_interval: float | None = None
    judged_rows: int = 0

    @property
    def label(self) -> str:
        return self.estimator.__name__


def resolve_recipe(dataset: Dataset, config: Config, name: str) -> Recipe:
    """The recipe of a model on a dataset. PipelineError: the estimator's class cannot be imported."""
    path, settings = estimator_of(config, dataset, name)
    module, _, class_name = path.rpartition(".")
    try:
        estimator = getattr(importlib.import_module(module), class_name)
    except (ImportError, AttributeError):
        raise PipelineError(f"params.yaml: models.{name}: {path} cannot be imported") from None
    return Recipe(
        model=name,
        estimator=estimator,
        settings=settings,
        scale=config.models[name].scale,
        task=dataset.task,
        metric=dataset.metric,
        threshold=dataset.threshold,
        calibrate=dataset.calibrate,
        prediction_interval=dataset.prediction_interval,
        types=dataset.types,
        reading=dataset.reading,
        unused=dataset.unused,
        seed=config.seed,
    )


def build_model(recipe: Recipe, X: pd.DataFrame, overrides: Mapping[str, Any] | None = None) -> Pipeline:
    """An unfitted Pipeline for raw rows shaped like X; its classifier decides at the recipe's threshold, and at 0.5
    until one that is chosen is set. PipelineError: the estimator does not know a setting.
    """
    columns = columns_by_kind(recipe, X)
    estimator = with_threshold(recipe, build_estimator(recipe, columns, overrides))
    return Pipeline([("preprocess", build_preprocessing(recipe, columns)), ("model", estimator)])


def with_threshold(recipe: Recipe, estimator: BaseEstimator) -> BaseEstimator:
    """The estimator, wrapped where it is to decide between two classes elsewhere than at 0.5, or at a threshold that is
    to be chosen.
    """
    if recipe.task != "binary" or recipe.threshold == 0.5:
        return estimator
    threshold = 0.5 if isinstance(recipe.threshold, str | Decision) else recipe.threshold
    return FixedThresholdClassifier(estimator, threshold=threshold)


def build_estimator(
    recipe: Recipe, columns: Mapping[str, list[str]], overrides: Mapping[str, Any] | None = None
) -> BaseEstimator:
    """The bare estimator with its settings, the seed, and all cores for forests. One that splits on categories as such
    is told where they are among the preprocessed `columns`. PipelineError: it does not know a setting.
    """
    settings, known = {**recipe.settings, **(overrides or {})}, recipe.estimator().get_params()
    for setting in settings:
        if setting not in known:
            raise PipelineError(f"params.yaml: models.{recipe.model}: {recipe.label} has no setting {setting!r}")
    first = len(columns["numbers"])
    defaults = {
        "random_state": recipe.seed,
        "n_jobs": -1 if "n_estimators" in known else None,
        "categorical_features": [*range(first, first + len(columns["categories"]))] or None,
    }
    return recipe.estimator(**{key: value for key, value in defaults.items() if key in known} | settings)


def build_preprocessing(recipe: Recipe, columns: Mapping[str, list[str]]) -> ColumnTransformer:
    """Columns of raw rows -> numbers (n x k), by the kind of column.

    Scaled: median-filled standardised numbers and one-hot categories. Otherwise: numbers as they are (missing values
    too); categories as ordinals with -1 for unseen ones, and where there are many of them, as the cross-fitted mean of
    the target (Micci-Barreca 2001). Dates become their parts, text the leading components of its character n-grams.
    """
    regression = recipe.task == "regression"
    steps: dict[str, Any] = {
        "numbers": "passthrough",
        "categories": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        # by itself for classes: a fold may learn from two of many
        "many_categories": TargetEncoder(
            target_type="continuous" if regression else "auto",
            cv=(KFold if regression else StratifiedKFold)(5, shuffle=True, random_state=0),
        ),
    }
    if columns["dates"] or columns["texts"]:
        from skrub import ApplyToCols, DatetimeEncoder, StringEncoder, ToDatetime

        steps["dates"] = make_pipeline(ApplyToCols(ToDatetime(format="ISO8601")), ApplyToCols(DatetimeEncoder()))
        steps["texts"] = ApplyToCols(StringEncoder(TEXT_COMPONENTS, random_state=0))
    if recipe.scale:
        # a column that has no value where a fold learns stays, as zeros
        standardised = (SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
        steps["numbers"] = make_pipeline(*standardised)
        steps["categories"] = OneHotEncoder(
            handle_unknown="infrequent_if_exist", max_categories=MOST_ONE_HOT, sparse_output=False
        )
        for kind in {"dates", "texts"} & steps.keys():
            steps[kind] = make_pipeline(steps[kind], *standardised)
    return ColumnTransformer([(kind, steps[kind], names) for kind, names in columns.items() if names])


def columns_by_kind(recipe: Recipe, X: pd.DataFrame) -> dict[str, list[str]]:
    """The columns of X that are learned from, by the preprocessing that they get, in the order of its output; unused
    and all-empty ones stay out.
    """
    columns: dict[str, list[str]] = {"numbers": [], "categories": [], "many_categories": [], "dates": [], "texts": []}
    for name in X:
        declared = recipe.types.get(str(name), "")
        if name in recipe.unused or not X[name].notna().any():
            continue
        if X[name].dtype == "float64":
            kind = "numbers"
        elif declared in ("date", "text"):
            kind = f"{declared}s"
        else:
            kind = "many_categories" if not recipe.scale and X[name].nunique() > MANY_CATEGORIES else "categories"
        columns[kind].append(name)
    return columns
