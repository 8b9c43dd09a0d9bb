"""One trial: its settings proposed, scored step by step, pruned."""

from __future__ import annotations

import math
import operator
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import optuna
from joblib import cpu_count
from optuna.study import StudyDirection
from optuna.trial import TrialState

from pipeline.console import PipelineError
from pipeline.search.scorers import FOUND, PATIENCE, ROUNDS, SECONDS_A_ROW, Scorer, make_scorer
from pipeline.search.space import highest, suggest
from pipeline.search.study import in_memory
from pipeline.tables.split import Rows
from pipeline.training.build import Recipe, build_estimator, columns_by_kind

SEEDS = 2**32


class OutOfTimeError(Exception):
    """There is no time to end what has begun, as a trial, which is dropped as if it had never begun."""


@dataclass(frozen=True)
class Objective:
    """What the trials of a search have in common: the settings that they may try, those that are tried first, and how
    an estimator is scored. `seconds_to_prepare`: what it took to preprocess a fold.
    """

    recipe: Recipe
    space: Mapping[str, Any]
    first: Sequence[Mapping[str, Any]]
    way: str
    columns: Mapping[str, list[str]]
    scorer: Scorer
    startup_trials: int
    seconds_to_prepare: float


class BestTrialPruner(optuna.pruners.BasePruner):
    """Early-stopped cross-validation (Bergman et al. 2024, arXiv 2405.03389): a trial ends where its folds so far score
    worse than the same folds of the best trial.
    """

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether to stop the trial after its last step; never before another one is complete."""
        if not any(other.state == TrialState.COMPLETE for other in study.get_trials(deepcopy=False)):
            return False
        best, step = study.best_trial.intermediate_values, trial.last_step
        if step is None or step not in best:
            return False
        worse = operator.lt if study.direction == StudyDirection.MAXIMIZE else operator.gt
        return worse(trial.intermediate_values[step], best[step])


def make_objective(
    recipe: Recipe,
    space: Mapping[str, Any],
    first: Sequence[Mapping[str, Any]],
    way: str,
    rows: Rows,
    startup_trials: int,
) -> Objective:
    """The objective of a search on these rows, which are preprocessed here, once."""
    started, columns = time.monotonic(), columns_by_kind(recipe, rows.X)
    scorer = make_scorer(way, recipe, space, columns, rows)
    folds = 1 if way == "out of bag" else len(rows.folds)
    seconds = (time.monotonic() - started) / folds
    return Objective(recipe, space, first, way, columns, scorer, startup_trials, seconds)


def propose(
    objective: Objective,
    known: Sequence[optuna.trial.FrozenTrial],
    running: Sequence[optuna.trial.FrozenTrial],
    slot: int,
) -> optuna.trial.FrozenTrial:
    """The settings of the trial in a slot, by TPE (Bergstra et al. 2011) from the results of the known trials and the
    settings of the running ones.

    Its sampling is seeded from the seed and the slot, so a search that was killed and resumed proposes what one left
    alone would have. The first trial has the baseline's settings, the next ones those that are to be tried first.
    PipelineError: the search space is wrong.
    """
    recipe, space = objective.recipe, objective.space
    study = in_memory("proposals", recipe.metric, [*known, *map(_as_running, running)])
    with warnings.catch_warnings():
        # `group` is experimental; without it the first trial, which suggests nothing, would leave no setting that all
        # trials share, and the sampler would draw each on its own
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.TPESampler(
            seed=(recipe.seed * 100_003 + slot) % SEEDS,
            n_startup_trials=objective.startup_trials,
            multivariate=True,
            group=True,
        )
    if 0 < slot <= len(objective.first):
        study.enqueue_trial(dict(objective.first[slot - 1]))
    trial = study.ask()
    if slot == 0:
        settings = {key: value for key, value in recipe.settings.items() if key in space}
    else:
        # how many trees or iterations is found, not suggested: as many as help, up to the end of their range
        found = FOUND[objective.way] if FOUND[objective.way] in space else ""
        settings = suggest(trial, {key: rule for key, rule in space.items() if key != found})
        if found:
            settings[found] = highest(space[found])
        if objective.way == "early stopping":
            settings["early_stopping"] = True
        elif objective.way == "early stopping of a library":
            settings[ROUNDS] = PATIENCE[objective.way]
    trial.set_user_attr("slot", slot)
    trial.set_user_attr("settings", settings)
    return study.get_trials(deepcopy=False)[-1]


def run_trial(
    objective: Objective,
    known: Sequence[optuna.trial.FrozenTrial],
    proposed: optuna.trial.FrozenTrial,
    seconds: float,
) -> optuna.trial.FrozenTrial | None:
    """A proposed trial run to its end: complete, pruned or failed; None where the time was up first. Boosting with
    settings that are to be tried first has as many iterations as there is time for, and is never given up. A forest
    that grows is pruned by the median of the known trials, folds by the best one.
    PipelineError: a setting is unknown to the estimator.
    """
    deadline = time.monotonic() + seconds
    study = in_memory("trial", objective.recipe.metric, known)
    study.sampler = optuna.samplers.RandomSampler()
    grows = objective.way in ("out of bag", "grown on folds")
    study.pruner = optuna.pruners.MedianPruner(objective.startup_trials) if grows else BestTrialPruner()
    study.enqueue_trial(proposed.params, user_attrs=proposed.user_attrs)
    trial = study.ask(proposed.distributions)
    try:
        value = score_trial(objective, trial, deadline)
        if not math.isfinite(value):
            words = "fewer `folds` or more `tuning.search_rows` in params.yaml may help"
            raise ValueError(f"{objective.recipe.metric} is {value} on the validated rows; {words}")
        study.tell(trial, value)
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except OutOfTimeError:
        return None
    except PipelineError:
        raise
    except Exception as error:
        # whatever an estimator raises is the result of its trial, not the end of the search
        trial.set_user_attr("reason", f"{type(error).__name__}: {error}")
        study.tell(trial, state=TrialState.FAIL)
    found = study.get_trials(deepcopy=False)[-1]
    # what the sampler of other trials reads, not what the queue left
    found.system_attrs = proposed.system_attrs
    return found


def score_trial(objective: Objective, trial: optuna.Trial, deadline: float) -> float:
    """The score of a trial's settings, reported step by step; where the scorer finds how many trees or iterations help,
    they become its settings. The first trial keeps the baseline's. OutOfTimeError: the steps so far tell that it cannot
    end by the deadline (monotonic seconds). optuna.TrialPruned: the trial is worse than those before it.
    """
    settings = trial.user_attrs["settings"]
    estimator = build_estimator(objective.recipe, objective.columns, settings)
    value, began, cores = math.nan, time.monotonic(), cpu_count()
    cut = 0 < trial.user_attrs["slot"] <= len(objective.first) and objective.way in PATIENCE
    bound = {"seconds": deadline - began} if cut else {}
    with closing(objective.scorer(estimator, **bound)) as steps:
        for step, value, done in steps:
            trial.report(value, step)
            trial.set_user_attr("done", round(done, 6))
            # at best the other cores have done as much already
            if done < 1 and not cut and began + (time.monotonic() - began) / min(1.0, done * cores) > deadline:
                raise OutOfTimeError
            if done < 1 and trial.should_prune():
                raise optuna.TrialPruned
    trial.set_user_attr(SECONDS_A_ROW, getattr(estimator, SECONDS_A_ROW, 0.0))
    if trial.user_attrs["slot"]:
        found = estimator.get_params()
        trial.set_user_attr("settings", {key: found[key] for key in settings if key != ROUNDS})
    return value


def _as_running(trial: optuna.trial.FrozenTrial) -> optuna.trial.FrozenTrial:
    """The trial without its result, as it was while it ran."""
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        params=trial.params,
        distributions=trial.distributions,
        system_attrs=trial.system_attrs,
    )
