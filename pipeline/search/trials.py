"""One trial: settings suggested, scored step by step, pruned."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from pipeline.console import PipelineError
from pipeline.search.scorers import fold_scorer, grown_scorer, out_of_bag_scorer, way_of_scoring
from pipeline.search.shared_study import OutOfTimeError, slot_of
from pipeline.search.space import highest
from pipeline.settings import Config, Dataset
from pipeline.tables.split import Parts

if TYPE_CHECKING:
    import optuna

Objective = Callable[["optuna.Trial", float], float]


def run_trial(
    objective: Objective, config: Config, deadline: float, study: optuna.Study, slot: int
) -> optuna.trial.FrozenTrial:
    """The trial of a slot, run to its end in a study in memory.

    Its sampling is seeded from the seed and the slot, so a search that was killed and resumed proposes what one left
    alone would have, and no two processes propose the same. The first has the baseline's settings, and always ends.

    Raises:
        OutOfTimeError: the deadline has passed.
        PipelineError: the search space is wrong.
    """
    import optuna
    from optuna.trial import TrialState

    startup = config.tuning.startup_trials
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=startup)
    with warnings.catch_warnings():
        # `group` is experimental; without it the first trial, which suggests nothing, would leave no setting that all
        # trials share, and the sampler would draw each on its own
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.TPESampler(
            seed=config.seed * 100_003 + slot, n_startup_trials=startup, multivariate=True, group=True
        )
    trial = study.ask()
    trial.set_user_attr("slot", slot)
    try:
        value = objective(trial, deadline if slot else math.inf)
        if not math.isfinite(value):
            raise ValueError(f"the score is {value}")
        study.tell(trial, value)
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except (OutOfTimeError, PipelineError):
        raise
    except Exception as error:
        # whatever an estimator raises is the result of its trial, not the end of the search
        trial.set_user_attr("reason", f"{type(error).__name__}: {error}")
        study.tell(trial, state=TrialState.FAIL)
    return study.get_trials(deepcopy=False)[-1]


def make_objective(dataset: Dataset, config: Config, model: str, parts: Parts, space: Mapping[str, Any]) -> Objective:
    """Settings -> score on at most search_rows training rows. Data is read and preprocessed here, once."""
    import optuna
    from sklearn.utils import resample

    from pipeline.search.space import suggest
    from pipeline.training.build import build_estimator, build_preprocessing, model_params

    X, y = parts.X_train, parts.y_train
    if len(y) > config.tuning.search_rows and dataset.time:
        X, y = X.tail(config.tuning.search_rows), y[-config.tuning.search_rows :]
    elif len(y) > config.tuning.search_rows:
        X, y = resample(
            X,
            y,
            replace=False,
            n_samples=config.tuning.search_rows,
            random_state=config.seed,
            stratify=None if dataset.task == "regression" else y,
        )
    way = way_of_scoring(dataset, config, model, space)
    scorers = {"out of bag": out_of_bag_scorer, "grown on folds": grown_scorer}
    score = scorers.get(way, fold_scorer)(build_preprocessing(config.models[model], dataset, X), X, y, dataset, config)
    own = model_params(dataset, config, model)

    def objective(trial: optuna.Trial, deadline: float) -> float:
        if slot_of(trial) == 0:
            settings = {key: own[key] for key in own if key in space}
        elif way == "early stopping":
            # the iterations are found, not suggested: as many as help, up to the end of their range
            settings = suggest(trial, {key: space[key] for key in space if key != "max_iter"})
            settings |= {"max_iter": highest(space["max_iter"]), "early_stopping": True}
        else:
            settings = suggest(trial, space)
        trial.set_user_attr("settings", settings)
        estimator = build_estimator(dataset, config, model, settings, X)
        value = math.nan
        with closing(score(estimator)) as steps:
            for step, value, done in steps:
                trial.report(value, step)
                trial.set_user_attr("done", round(done, 6))
                if done < 1 and time.monotonic() > deadline:
                    raise OutOfTimeError
                if done < 1 and trial.should_prune():
                    raise optuna.TrialPruned
        found = estimator.get_params()
        trial.set_user_attr("settings", {key: found[key] for key in settings})
        return value

    return objective
