"""The study of a search: its name, its database, its winner."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.console import PipelineError
from pipeline.search.scorers import (
    FOLDS_SHARE,
    FOREST_PARTS,
    FOREST_STEPS,
    OUT_OF_BAG_SHARE,
    PATIENCE,
    TREE_ROWS,
    TREE_SHARE,
    way_of_scoring,
)
from pipeline.search.shared_study import slot_of
from pipeline.settings import Config, Dataset
from pipeline.store.sqlite import STUDIES, check_database, create_database

if TYPE_CHECKING:
    import optuna

    from pipeline.training.assess import Assessment


def study_name(
    dataset: Dataset, config: Config, model: str, space: Mapping[str, Any], hashes: Mapping[str, str]
) -> str:
    """The name of the study of exactly this data, space and seed."""
    way = way_of_scoring(dataset, config, model, space)
    tuning = [config.tuning.search_rows, config.tuning.startup_trials, PATIENCE]
    forests = [TREE_SHARE, TREE_ROWS, OUT_OF_BAG_SHARE, FOLDS_SHARE, FOREST_PARTS, FOREST_STEPS]
    facts = json.dumps([model, way, space, tuning, forests, hashes], sort_keys=True)
    return f"{model}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"


def open_study(dataset: Dataset, model: str, name: str) -> optuna.Study:
    """The study of that name in the project's own database; a new one, announced, where data, space or seed changed.

    Raises:
        PipelineError: the database is damaged, read-only or of another version.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    database = study_database(dataset)
    if not database.exists():
        create_database(database, lambda path: open_storage(path).engine.dispose())
    check_database(database, "an Optuna store", "studies")
    storage = open_storage(database)
    known = [study.study_name for study in storage.get_all_studies()]
    if name not in known and any(other.startswith(f"{model}-") for other in known):
        print(f"{dataset.name} {model}: data, settings or search space changed; a new study starts", flush=True)
    return optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)


def study_database(dataset: Dataset) -> Path:
    return STUDIES / f"{dataset.name}.db"


def open_storage(database: Path) -> optuna.storages.RDBStorage:
    import optuna

    try:
        return optuna.storages.RDBStorage(
            f"sqlite:///{database.resolve()}", engine_kwargs={"connect_args": {"timeout": 60}}
        )
    except RuntimeError as error:
        # of another version of Optuna
        raise PipelineError(f"{database}: {error}") from None


def check_completed(study: optuna.Study, dataset: Dataset) -> None:
    """Raises PipelineError where every trial failed."""
    trials = study.get_trials(deepcopy=False)
    if not any(trial.state.name == "COMPLETE" for trial in trials):
        raise PipelineError(f"{dataset.name}: every trial failed; the last one: {trials[-1].user_attrs['reason']}")


def best_settings(study: optuna.Study) -> dict[str, Any]:
    """The settings of the best complete trial."""
    return dict(study.best_trial.user_attrs["settings"])


def pruned_work(trials: Sequence[optuna.trial.FrozenTrial]) -> float:
    """Share of the search's work that pruning saved, the work of one whole trial taken as the unit."""
    return sum(1 - trial.user_attrs["done"] for trial in trials if trial.state.name == "PRUNED") / len(trials)


def trial_record(trial: optuna.trial.FrozenTrial, tags: Mapping[str, str]) -> Any:
    """A trial's MLflow run: a pruned trial was stopped on purpose (KILLED), a failed one FAILED."""
    from pipeline.store.runs import RunRecord

    status = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}[trial.state.name]
    values = [trial.value] if trial.value is not None else list(trial.intermediate_values.values())[-1:]
    reason = {"reason": trial.user_attrs["reason"][:500]} if "reason" in trial.user_attrs else {}
    return RunRecord(
        name=f"Trial_{slot_of(trial) + 1}",
        tags={**tags, "stage": "trial", "trial_state": trial.state.name, **reason},
        params=trial.user_attrs.get("settings", {}),
        metrics={"value": values[0], "step": max(trial.intermediate_values, default=0)} if values else {},
        status=status,
        start=trial.datetime_start.timestamp() if trial.datetime_start else None,
        end=trial.datetime_complete.timestamp() if trial.datetime_complete else None,
    )


def summarise(
    study: optuna.Study, best: Mapping[str, Any], baseline: Assessment, winner: Assessment, metric: str
) -> dict[str, Any]:
    """The winner's part of the committed metrics."""
    from pipeline.metrics import relative_gain
    from pipeline.training.assess import summary

    states = [trial.state.name for trial in study.get_trials(deepcopy=False)]
    facts = summary(winner)
    return {
        "estimator": facts.pop("estimator"),
        "params": dict(best),
        "best_value": round(study.best_value, 6),
        "trials": {
            "complete": states.count("COMPLETE"),
            "pruned": states.count("PRUNED"),
            "failed": states.count("FAIL"),
        },
        "pruned_work": round(pruned_work(study.trials), 6),
        **facts,
        "baseline_cv": round(baseline.cv[metric], 6),
        "gain": relative_gain(metric, winner.score[metric], baseline.score[metric]),
    }


def print_result(
    dataset: Dataset, model: str, result: Mapping[str, Any], baseline: Assessment, winner: Assessment
) -> None:
    metric, trials = dataset.metric, result["trials"]
    low, high = result["difference_interval"]
    print(f"{dataset.name} {model}: best settings {json.dumps(result['params'])}")
    print(
        f"  trials: {trials['complete']} complete, {trials['pruned']} pruned, {trials['failed']} failed; "
        f"pruning saved {result['pruned_work']:.0%} of the search's work"
    )
    print(f"  cross-validated {metric}: baseline {baseline.cv[metric]:.4f}, tuned {winner.cv[metric]:.4f}")
    print(
        f"  {metric}: baseline {baseline.score[metric]:.4f}, tuned {winner.score[metric]:.4f}, "
        f"difference {result['difference']:+.4f} [{low:+.4f}, {high:+.4f}]",
        flush=True,
    )
