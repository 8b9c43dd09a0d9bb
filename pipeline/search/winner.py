"""What a search found: its winner beside the baseline, as committed figures, MLflow runs and printed lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna

from pipeline.bootstrap import paired_differences
from pipeline.console import PipelineError
from pipeline.metrics import lead, relative_gain
from pipeline.search.study import slot_of
from pipeline.store.write import RunRecord
from pipeline.training.assess import Assessment

STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


def best_settings(study: optuna.Study, label: str) -> dict[str, Any]:
    """The settings of the best complete trial. PipelineError: every trial failed."""
    trials = study.get_trials(deepcopy=False)
    if not any(trial.state.name == "COMPLETE" for trial in trials):
        raise PipelineError(f"{label}: every trial failed; the last one: {trials[-1].user_attrs['reason']}")
    return dict(study.best_trial.user_attrs["settings"])


def choose(
    baseline: Assessment, best: Mapping[str, Any], space: Mapping[str, Any], refit: Callable[[], Assessment], label: str
) -> tuple[Assessment, dict[str, Any]]:
    """The best trial's model, refitted, and its settings; the baseline and its own where cross-validation finds it no
    worse, or where a refit is the baseline, as an earlier call found so.
    """
    own = {name: baseline.params[name] for name in space if name in baseline.params}
    metric = baseline.recipe.metric
    winner = baseline if best == own else refit()
    if winner.params != baseline.params and lead(metric, winner.cv[metric], baseline.cv[metric]) >= 0:
        return winner, dict(best)
    print(f"{label}: the search found nothing better than the baseline, which stays")
    return baseline, own


def summarise(study: optuna.Study, best: Mapping[str, Any], baseline: Assessment, winner: Assessment) -> dict[str, Any]:
    """The winner's part of the committed metrics."""
    metric, facts, trials = winner.recipe.metric, winner.summary(), study.get_trials(deepcopy=False)
    states = [trial.state.name for trial in trials]
    judged = winner.predictions, [baseline.predictions]
    [(difference, interval)] = paired_differences(metric, *judged, winner.recipe.seed)
    return {
        "estimator": facts.pop("estimator"),
        "params": dict(best),
        "best_value": round(study.best_value, 6),
        "trials": {
            "complete": states.count("COMPLETE"),
            "pruned": states.count("PRUNED"),
            "failed": states.count("FAIL"),
        },
        "pruned_work": round(pruned_work(trials), 6),
        **facts,
        "baseline_cv": round(baseline.cv[metric], 6),
        "gain": relative_gain(metric, winner.score[metric], baseline.score[metric]),
        "difference": round(difference, 6),
        "difference_interval": [round(bound, 6) for bound in interval],
    }


def pruned_work(trials: Sequence[optuna.trial.FrozenTrial]) -> float:
    """Share of the search's work that pruning saved, the work of one whole trial taken as the unit."""
    return sum(1 - trial.user_attrs["done"] for trial in trials if trial.state.name == "PRUNED") / len(trials)


def study_records(
    study: optuna.Study, tags: Mapping[str, str], space: Mapping[str, Any], seed: int, started: float
) -> tuple[RunRecord, list[RunRecord]]:
    """The MLflow run of a study, and those of its trials below it; `tags` are of all of them."""
    own = {**tags, "stage": "study", "study": study.study_name}
    parent = RunRecord(f"{tags['model_type']} study", own, {"space": json.dumps(space), "seed": seed}, start=started)
    return parent, [trial_record(trial, tags) for trial in study.trials]


def trial_record(trial: optuna.trial.FrozenTrial, tags: Mapping[str, str]) -> RunRecord:
    """A trial's MLflow run: a pruned trial was stopped on purpose (KILLED), a failed one FAILED."""
    values = [trial.value] if trial.value is not None else list(trial.intermediate_values.values())[-1:]
    reason = {"reason": trial.user_attrs["reason"][:500]} if "reason" in trial.user_attrs else {}
    return RunRecord(
        name=f"Trial_{slot_of(trial) + 1}",
        tags={**tags, "stage": "trial", "trial_state": trial.state.name, **reason},
        params=trial.user_attrs["settings"],
        metrics={"value": values[0], "step": max(trial.intermediate_values, default=0)} if values else {},
        status=STATUS[trial.state.name],
        start=trial.datetime_start.timestamp() if trial.datetime_start else None,
        end=trial.datetime_complete.timestamp() if trial.datetime_complete else None,
    )
