"""An ensemble of fitted models: made of them as they are, and judged as they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from pipeline.ensemble.weights import blend_by_other_folds, greedy_weights
from pipeline.intervals import paired_differences
from pipeline.metrics import Predictions
from pipeline.settings import ENSEMBLE
from pipeline.tables.split import Parts, Rows
from pipeline.training.assess import Assessment, judge_model
from pipeline.training.build import Recipe, columns_by_kind, with_threshold
from pipeline.training.fit import validating_fold


def select(members: Mapping[str, Assessment], train: Rows, most: int) -> tuple[dict[str, float], Predictions]:
    """The weights of an ensemble of at most so many of the members, by their out-of-fold predictions of the training
    part (n rows); and its own of these rows, by weights that other folds selected.
    """
    recipe = next(iter(members.values())).recipe
    pooled = [member.pooled for member in members.values()]
    weights = greedy_weights(recipe.metric, pooled, most, recipe.seed)
    by_other_folds = blend_by_other_folds(recipe.metric, pooled, validating_fold(train.folds), most, recipe.seed)
    found = {name: round(float(weight), 6) for name, weight in zip(members, weights, strict=True) if weight}
    # the heaviest first
    return dict(sorted(found.items(), key=lambda pair: -pair[1])), by_other_folds


def lead_over(best: Assessment, pooled: Predictions) -> tuple[float, list[float]]:
    """How much better out-of-fold predictions of an ensemble (n,) are than those of its best member, with the 95 %
    interval. It is built where that is above 0, as models are chosen by their cross-validated score.
    """
    [lead] = paired_differences(best.recipe.metric, pooled, [best.pooled], best.recipe.seed)
    return lead


def recipe_of(member: Recipe, weights: Mapping[str, float]) -> Recipe:
    """The recipe of an ensemble with these weights, of the dataset that a member's is of."""
    estimator = VotingRegressor if member.task == "regression" else VotingClassifier
    return replace(
        member, model=ENSEMBLE, estimator=estimator, settings={"weights": dict(weights)}, scale=False, splines=False
    )


def assess_ensemble(
    recipe: Recipe, parts: Parts, members: Mapping[str, Assessment], pooled: Predictions, most: int
) -> Assessment:
    """Put the members that have a weight together, without fitting one again, and score the ensemble once.

    `members` are all that weights were selected from, `pooled` is as `select` has it. Where the dataset is judged by
    cross-validation, the predictions of each fold are blended by weights that the other folds selected, too.
    `fit_seconds` are those of its members. PipelineError: as judge_model.
    """
    own, of_whole = {name: members[name] for name in recipe.settings["weights"]}, None
    if parts.whole:
        judged, fold = [member.predictions for member in members.values()], validating_fold(parts.whole.folds)
        of_whole = blend_by_other_folds(recipe.metric, judged, fold, most, recipe.seed)
    model = build_ensemble(recipe, {name: member.model for name, member in own.items()}, parts.train)
    seconds = sum(member.fit_seconds for member in own.values())
    return judge_model(recipe, parts, model, pooled, of_whole, recipe.settings, seconds)


def build_ensemble(recipe: Recipe, models: Mapping[str, Pipeline], train: Rows) -> Pipeline:
    """A Pipeline that averages what the fitted models say of raw rows, by their weights."""
    fitted = [(name, FrozenEstimator(model)) for name, model in models.items()]
    weights = [recipe.settings["weights"][name] for name in models]
    options = {} if recipe.task == "regression" else {"voting": "soft"}
    voting = with_threshold(recipe, recipe.estimator(fitted, weights=weights, **options))
    columns = [(kind, "passthrough", names) for kind, names in columns_by_kind(recipe, train.X).items() if names]
    frame = ColumnTransformer(columns, verbose_feature_names_out=False).set_output(transform="pandas")
    # frozen members learn nothing; the ensemble learns which classes there are
    return Pipeline([("preprocess", frame), ("model", voting)]).fit(train.X, np.asarray(train.y))
