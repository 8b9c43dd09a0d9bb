"""The MLflow runs of a search: its study, and its trials below it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

from pipeline.search.study import slot_of
from pipeline.store.connect import experiment_name
from pipeline.store.write import NOTE, RunRecord

STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


def trials_by_end(trials: Sequence[optuna.trial.FrozenTrial]) -> dict[str, int]:
    """How many trials were complete, pruned and failed."""
    states = [trial.state.name for trial in trials]
    return {
        word: states.count(state)
        for word, state in (("complete", "COMPLETE"), ("pruned", "PRUNED"), ("failed", "FAIL"))
    }


def pruned_work(trials: Sequence[optuna.trial.FrozenTrial]) -> float:
    """Share of the search's work that pruning saved, the work of one whole trial taken as the unit."""
    return sum(1 - trial.user_attrs["done"] for trial in trials if trial.state.name == "PRUNED") / len(trials)


def study_records(
    study: optuna.Study, tags: Mapping[str, str], space: Mapping[str, Any], seed: int, started: float, folder: Path
) -> tuple[RunRecord, list[RunRecord]]:
    """The MLflow run of a study, and those of its trials below it; `tags` are of all of them, plots in the `folder`."""
    trials, model = study.get_trials(deepcopy=False), tags["model_type"]
    winner = f"{model}_tuned in the experiment {experiment_name(tags['dataset'])}"
    note = (
        f"A search for settings of {model} in {len(trials)} trials, which are the runs below; the best value is "
        f"**{study.best_value:.4f}**. The run of its winner is {winner}. "
        f"Plots: `{folder.as_posix()}/`."
    )
    own = {**tags, "stage": "study", "study": study.study_name, NOTE: note}
    ends = {f"{word}_trials": float(number) for word, number in trials_by_end(trials).items()}
    metrics = {"best_value": study.best_value, **ends, "pruned_work": pruned_work(trials)}
    params = {"space": json.dumps(space), "seed": seed}
    parent = RunRecord(f"{model} study", own, params, metrics, start=started)
    return parent, [trial_record(trial, tags) for trial in study.trials]


def trial_record(trial: optuna.trial.FrozenTrial, tags: Mapping[str, str]) -> RunRecord:
    """A trial's MLflow run: a pruned trial was stopped on purpose (KILLED), a failed one FAILED."""
    curve = dict(trial.intermediate_values)
    if trial.value is not None:
        curve[max(curve, default=0)] = trial.value
    reason = {"reason": trial.user_attrs["reason"][:500]} if "reason" in trial.user_attrs else {}
    return RunRecord(
        name=f"Trial_{slot_of(trial) + 1}",
        tags={**tags, "stage": "trial", "trial_state": trial.state.name, **reason},
        params=trial.user_attrs["settings"],
        curves={"value": curve},
        status=STATUS[trial.state.name],
        start=trial.datetime_start.timestamp() if trial.datetime_start else None,
        end=trial.datetime_complete.timestamp() if trial.datetime_complete else None,
    )
