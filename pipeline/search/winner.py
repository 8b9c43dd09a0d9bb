"""What a search found: its winner beside the baseline, as committed figures, MLflow runs and printed lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial

from pipeline.console import Progress
from pipeline.intervals import is_ahead, paired_differences
from pipeline.metrics import METRICS, Predictions, metric_value, relative_gain
from pipeline.search.budget import RATE, Candidate
from pipeline.search.family import Family
from pipeline.search.scorers import FOUND
from pipeline.search.study import slot_of
from pipeline.search.trials import OutOfTimeError
from pipeline.store.connect import experiment_name
from pipeline.store.runs import newest_run
from pipeline.store.write import NOTE, RunRecord
from pipeline.tables.split import Parts
from pipeline.training.assess import Assessment, assess
from pipeline.training.build import Recipe, build_model
from pipeline.training.calibration import by_other_folds
from pipeline.training.fit import out_of_fold, validating_fold
from pipeline.training.threshold import threshold_choice

if TYPE_CHECKING:
    from mlflow import MlflowClient

STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


def choose(
    baseline: Assessment | None,
    candidates: Sequence[Mapping[str, Any]],
    space: Mapping[str, Any],
    refit: Callable[[], tuple[int, Assessment]],
    label: str,
) -> tuple[int, Assessment, dict[str, Any]]:
    """The place of the best of the candidates' settings, which `refit` finds, with its model and the settings; the
    baseline and its own where cross-validation does not find it ahead, or where a refit is the baseline, as an earlier
    call found so. Without a baseline nothing is to be led.
    """
    if baseline is None:
        place, winner = refit()
        return place, winner, dict(candidates[place])
    own = {name: baseline.params[name] for name in space if name in baseline.params}
    recipe, (place, winner) = baseline.recipe, (0, baseline) if [*candidates] == [own] else refit()
    metric, seed = recipe.metric, recipe.seed
    if winner.params != baseline.params and is_ahead(metric, winner.pooled, baseline.pooled, seed):
        return place, winner, dict(candidates[place])
    reached = f"; the best trial's settings reach {winner.cv[metric]:.4f} there, not ahead by a standard error"
    words = f"{label}: the baseline stays, cross-validated {baseline.cv[metric]:.4f} on second folds"
    print(f"{words}{'' if winner.params == baseline.params else reached}")
    return place, baseline, own


def as_scored(client: MlflowClient, family: Family, candidate: Candidate) -> Candidate:
    """The candidate with the rate and the iterations of its family's newest winner, where that is of the same trial:
    how much time a call has decides on them, and a further one is to find the same.
    """
    own, hashes = candidate.trial.user_attrs["settings"], family.hashes
    run = newest_run(client, family.dataset, "tuned", family.model, hashes["data_sha256"], hashes["params_sha256"])
    by_time = {RATE, FOUND[family.way]} & {*own}
    if run is None or not own.keys() <= run.params.keys():
        return candidate
    # one by train.py has no trials to tell of
    if own not in json.loads(run.tags.get("best_trials", json.dumps([own]))):
        return candidate
    if any(run.params[name] != str(value) for name, value in own.items() if name not in by_time):
        return candidate
    return replace(candidate, settings={**own, **{name: json.loads(run.params[name]) for name in by_time}})


def score_best(
    recipe: Recipe, parts: Parts, candidates: Sequence[Mapping[str, Any]], progress: Progress, label: str
) -> tuple[int, Assessment]:
    """The place and the assessment of the settings that are best by cross-validation on the training part, as far as
    there was time to compare them. OutOfTimeError: there was none for the first. PipelineError: as assess.
    """
    if len(candidates) == 1:
        return 0, assess(recipe, parts, candidates[0], progress)
    train, own = parts.train, len(parts.train.folds)
    rest = 1 + (len(parts.whole.folds) if parts.whole else 0)
    choose, fold = threshold_choice(recipe.threshold, parts.judged_rows), validating_fold(train.folds)
    found = list[Predictions]()
    for number, settings in enumerate(candidates):
        words = f"settings {number + 1} of {len(candidates)}, "

        def show(k: int, words: str = words, before: int = number * own) -> None:
            # as if these were the last
            progress(f"{words}fold {k} of {own} done", before + k, before + own + rest)

        try:
            found.append(out_of_fold(build_model(recipe, train.X, settings), train, recipe.task, show))
        except OutOfTimeError:
            if not found:
                raise
            print(f"{label}: {words}not compared, there is no time for it", flush=True)
            break
    values = [metric_value(recipe.metric, by_other_folds(raw, fold, False, choose)) for raw in found]
    best = max(range(len(found)), key=lambda place: METRICS[recipe.metric].sign * values[place])
    before = (len(found) - 1) * own
    return best, assess(
        recipe,
        parts,
        candidates[best],
        lambda step, done, fits: progress(step, before + done, before + fits),
        found[best],
    )


def summarise(
    study: optuna.Study,
    trial: FrozenTrial,
    best: Mapping[str, Any],
    baseline: Assessment | None,
    winner: Assessment,
) -> dict[str, Any]:
    """The part in the committed metrics of a trial's winner, with its lead where there is a baseline."""
    facts, trials = winner.summary(), study.get_trials(deepcopy=False)
    found = {
        "estimator": facts.pop("estimator"),
        "params": dict(best),
        "best_value": round(trial.value or 0.0, 6),
        "trials": trials_by_end(trials),
        "pruned_work": round(pruned_work(trials), 6),
        **facts,
    }
    if baseline is None:
        return found
    metric, judged = winner.recipe.metric, (winner.predictions, [baseline.predictions])
    [(difference, interval)] = paired_differences(metric, *judged, winner.recipe.seed)
    return found | {
        "baseline_cv": round(baseline.cv[metric], 6),
        "gain": relative_gain(metric, winner.score[metric], baseline.score[metric]),
        "difference": round(difference, 6),
        "difference_interval": [round(bound, 6) for bound in interval],
    }


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
