"""What a model is made of: its settings resolved once, then a fresh unfitted Pipeline for rows.

The Pipeline is made of library classes only; what is logged begins with the step that reads the source's rows.
"""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.model_selection import FixedThresholdClassifier, KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from pipeline.console import EXTRAS, PipelineError
from pipeline.settings import THREADS, Config, Dataset, Decision, estimator_of

# More categories than this are told apart by their mean target, not by a rank of their own.
MANY_CATEGORIES = 30
MOST_ONE_HOT = 50
TEXT_COMPONENTS = 10
# Knots of a number's spline, at its quantiles; components of the products of splines and categories, or one a row where
# there are fewer; the weight of products beside their factors.
KNOTS, PRODUCTS, PRODUCT_WEIGHT = 5, 500, 10.0
# Splines and categories are kept sparse where less than this share of their numbers is not 0.
SPARSE = 0.05
warnings.filterwarnings("ignore", "n_components > n_samples")


@dataclass(frozen=True)
class Recipe:
    """A model of a dataset, before any row is seen.

    `settings` are the baseline's. `scale`, `splines` and `categories` say which numbers the estimator gets, as
    ModelSpec has them. `types` are the declared types of columns, `reading` what was found of how the source
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
    splines: bool = False
    categories: str = ""

    @property
    def label(self) -> str:
        return self.estimator.__name__


def resolve_recipe(dataset: Dataset, config: Config, name: str) -> Recipe:
    """The recipe of a model on a dataset. PipelineError: the estimator's class cannot be imported. ModuleNotFoundError:
    it is of an extra that is not installed.
    """
    path, settings = estimator_of(config, dataset, name)
    spec = config.models[name]
    module, _, class_name = path.rpartition(".")
    try:
        estimator = getattr(importlib.import_module(module), class_name)
    except (ImportError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
            raise
        raise PipelineError(f"params.yaml: models.{name}: {path} cannot be imported") from None
    return Recipe(
        model=name,
        estimator=estimator,
        settings=settings,
        scale=spec.scale,
        splines=spec.splines,
        categories=spec.categories,
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


def is_installed(path: str) -> bool:
    """Whether the library of an estimator is installed, by the estimator's import path."""
    try:
        return find_spec(path.partition(".")[0]) is not None
    except ValueError:
        # a module that was set to None
        return False


def build_model(recipe: Recipe, X: pd.DataFrame, overrides: Mapping[str, Any] | None = None) -> Pipeline:
    """An unfitted Pipeline for raw rows shaped like X; its classifier decides at the recipe's threshold, and at 0.5
    until one that is chosen is set. PipelineError: the estimator does not know a setting.
    """
    columns = columns_by_kind(recipe, X)
    estimator = with_threshold(recipe, build_estimator(recipe, columns, overrides))
    return Pipeline([*build_preprocessing(recipe, columns).steps, ("model", estimator)])


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
    """The bare estimator with its settings, the seed, and all cores for forests and boosting libraries. One that splits
    on categories as such is told where they are among the preprocessed `columns`. PipelineError: it does not know a
    setting.
    """
    settings, known = {**recipe.settings, **(overrides or {})}, settings_of(recipe.estimator)
    for setting in settings:
        if setting not in known:
            raise PipelineError(f"params.yaml: models.{recipe.model}: {recipe.label} has no setting {setting!r}")
    first = len(columns["numbers"])
    # a tuple, which CatBoost does not copy: scikit-learn clones no estimator that copies its settings
    categories = tuple(range(first, first + len(columns["categories"])))
    defaults = {
        "random_state": recipe.seed,
        **dict.fromkeys(THREADS, -1 if "n_estimators" in known else None),
        "categorical_features": [*categories] or None,
    }
    own = {key: value for key, value in defaults.items() if key in known}
    own |= {recipe.categories: categories} if recipe.categories and categories else {}
    return recipe.estimator(**own | settings)


def settings_of(estimator: type[BaseEstimator]) -> frozenset[str]:
    """The names of the settings that an estimator takes."""
    given = inspect.signature(estimator).parameters.values()
    known = {*estimator().get_params(), *(one.name for one in given if one.kind != one.VAR_KEYWORD)}
    # LightGBM's takes any further ones, and reads those of its core
    core = getattr(importlib.import_module(estimator.__module__), "_ConfigAliases", None)
    return frozenset(known.union(*core._get_all_param_aliases().values() if core else ()))


def build_preprocessing(recipe: Recipe, columns: Mapping[str, list[str]]) -> Pipeline:
    """Columns of raw rows -> numbers (n x k), by the kind of column.

    Scaled: median-filled standardised numbers and one-hot categories. Otherwise: numbers as they are (missing values
    too); categories as ordinals with -1 for unseen ones, and where there are many of them, as the cross-fitted mean of
    the target (Micci-Barreca 2001). Dates become their parts, text the leading components of its character n-grams.

    Splines: cubic ones of numbers, constant beyond the values that were learned from and zero for missing ones, and
    one-hot categories; of all these and their products by twos at most PRODUCTS leading components (a kernel of degree
    2; Williams & Seeger 2001), so that linear models take as long with many columns as with few.
    Categories as such, where the estimator's setting for them is named: a frame whose categories, however many, are
    whole numbers, with -1 for missing and unseen ones.
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
    if recipe.scale or recipe.splines:
        # a column that has no value where a fold learns stays, as zeros
        standardised = (SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
        splines = (SplineTransformer(KNOTS, knots="quantile", handle_missing="zeros"),)
        numbers = splines if recipe.splines else standardised
        steps["numbers"] = make_pipeline(*numbers)
        steps["categories"] = OneHotEncoder(
            handle_unknown="infrequent_if_exist", max_categories=MOST_ONE_HOT, sparse_output=recipe.splines
        )
        for kind in {"dates", "texts"} & steps.keys():
            steps[kind] = make_pipeline(steps[kind], *numbers)
    if recipe.categories:
        steps["categories"].set_params(encoded_missing_value=-1)
    further: list[tuple[str, Any]] = []
    if recipe.splines:
        # a row's square length does not grow with the columns: a penalty means the same in every table
        gamma = PRODUCT_WEIGHT / max(1, sum(map(len, columns.values())))
        products = Nystroem(kernel="poly", degree=2, gamma=gamma, n_components=PRODUCTS, random_state=0)
        further = [("products", products)]
    elif recipe.categories:
        first = len(columns["numbers"])
        whole = dict.fromkeys(range(first, first + len(columns["categories"])), "int64")
        # named by their places: LightGBM refuses some names
        further = [
            ("frame", FunctionTransformer(pd.DataFrame, kw_args={"dtype": "float64"})),
            ("categories", FunctionTransformer(pd.DataFrame.astype, kw_args={"dtype": whole})),
        ]
    parts = [(kind, steps[kind], names) for kind, names in columns.items() if names]
    # as a sparse matrix takes its products in many times the time: only where it would be far larger otherwise
    by_kind = ColumnTransformer(parts, sparse_threshold=SPARSE if recipe.splines else 0.0)
    return Pipeline([("preprocess", by_kind), *further])


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
            as_such = recipe.scale or recipe.splines or recipe.categories
            kind = "categories" if as_such or X[name].nunique() <= MANY_CATEGORIES else "many_categories"
        columns[kind].append(name)
    return columns
