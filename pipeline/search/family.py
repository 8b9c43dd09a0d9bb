"""A family of models, as trees or boosting, whose settings are searched for on one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import optuna

from pipeline.metrics import Predictions, metric_value
from pipeline.search.scorers import fewest_folds, way_of_scoring
from pipeline.search.space import space_of_task
from pipeline.search.study import in_memory, open_study, study_name, trials_of
from pipeline.search.trials import FOUND, Objective, make_objective
from pipeline.settings import Config, Dataset, kind_of, search_sha256
from pipeline.tables.split import Parts, Rows
from pipeline.training.assess import naive_predictions
from pipeline.training.build import Recipe, resolve_recipe


@dataclass(frozen=True)
class Family:
    """A model of params.yaml with the space of its settings, those that are tried first, how a trial is scored, the
    name of its study, the hashes of data and settings, the rows to search on, and whether its trees are large.
    """

    dataset: str
    recipe: Recipe
    space: Mapping[str, Any]
    first: Sequence[Mapping[str, Any]]
    way: str
    study: str
    hashes: Mapping[str, str]
    rows: Rows
    startup_trials: int
    large: bool

    @property
    def model(self) -> str:
        return self.recipe.model

    @property
    def label(self) -> str:
        return f"{self.dataset} {self.model}"

    @cached_property
    def objective(self) -> Objective:
        """With the rows preprocessed, which takes its time."""
        return make_objective(self.recipe, self.space, self.first, self.way, self.rows, self.startup_trials)

    @property
    def seconds_to_prepare(self) -> float:
        """What it took to preprocess the rows of a fold; 0 where they were not."""
        return self.objective.seconds_to_prepare if "objective" in vars(self) else 0.0

    @cached_property
    def naive(self) -> float:
        """The score of the naive prediction, of the rows that are searched on."""
        y = self.rows.y
        return metric_value(self.recipe.metric, naive_predictions(self.recipe.task, y, Predictions(y, y)))

    @cached_property
    def kept(self) -> optuna.Study:
        """The study in the dataset's database. PipelineError: as open_study."""
        return open_study(self.dataset, self.model, self.study, self.recipe.metric)

    def searched(self, n_trials: int) -> optuna.Study:
        """The first n_trials of the search in its order."""
        return in_memory(self.study, self.recipe.metric, trials_of(self.kept, n_trials))


def family_of(dataset: Dataset, config: Config, model: str, parts: Parts, rows: Rows, data_sha256: str) -> Family:
    """The family of a model, to be searched on these rows of the table's training part. PipelineError: the model is
    unknown to its library, or has nothing to tune.
    """
    recipe = replace(resolve_recipe(dataset, config, model), judged_rows=parts.judged_rows)
    rows = replace(rows, folds=fewest_folds(rows, dataset.task, config.tuning.validation_rows))
    space = space_of_task(config.search_spaces.get(model, {}), model, dataset.task)
    first = getattr(config.first_trials[model], kind_of(dataset.task)) if model in config.first_trials else ()
    way = way_of_scoring(recipe, space, rows.independent)
    hashes = {"data_sha256": data_sha256, "params_sha256": search_sha256(config, dataset, model)}
    family = Family(
        dataset=dataset.name,
        recipe=recipe,
        space=space,
        first=first,
        way=way,
        study=study_name(model, way, hashes),
        hashes=hashes,
        rows=rows,
        startup_trials=config.tuning.startup_trials,
        large=config.models[model].large,
    )
    if any(FOUND[way] in settings for settings in first):
        words = f"note: first_trials gives {FOUND[way]}, which the search finds by itself; it is not used"
        print(f"{family.label}: {words}")
    return family
