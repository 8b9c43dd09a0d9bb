"""What a search found: its winner beside the baseline, fitted, scored, logged, and told in printed lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial

from pipeline.console import Progress, progress_lines
from pipeline.intervals import is_ahead, paired_differences
from pipeline.metrics import METRICS, Predictions, metric_value, relative_gain
from pipeline.search.cost import RATE, Bounds, Candidate, to_score
from pipeline.search.family import Family
from pipeline.search.records import pruned_work, study_records, trials_by_end
from pipeline.search.scorers import FOUND
from pipeline.search.trials import OutOfTimeError
from pipeline.settings import TUNED, Config, Dataset, command_of, settings_sha256
from pipeline.store.runs import newest_run
from pipeline.store.write import Curves, write_runs
from pipeline.tables.split import Parts
from pipeline.training.assess import Assessment, assess
from pipeline.training.build import Recipe, build_model
from pipeline.training.calibration import by_other_folds
from pipeline.training.fit import out_of_fold, validating_fold
from pipeline.training.record import copy_plots, log_run, logged
from pipeline.training.threshold import threshold_choice
from pipeline.worth import decision_words

if TYPE_CHECKING:
    from mlflow import MlflowClient

# The tag of a winner's run that has the settings it was the best of.
TRIED = "best_trials"


@dataclass(frozen=True)
class Winner:
    """The best of a family's compared settings, fitted and scored: its trial, the settings and their assessment, and
    that of the baseline where there is one. `known`: the run of an earlier call that has found the same.
    """

    trial: FrozenTrial
    settings: Mapping[str, Any]
    assessment: Assessment
    baseline: Assessment | None
    known: Assessment | None


def find_winner(
    family: Family,
    compared: Sequence[Candidate],
    dataset: Dataset,
    config: Config,
    parts: Parts,
    client: MlflowClient,
    progress: Progress,
    alone: bool,
) -> Winner:
    """Fit and score the best of the compared settings beside the baseline. Where a run of the same code has the
    settings of either, its figures are taken from there. A baseline that has no run is fitted only where the model is
    `alone`: a budget for several goes to winners. OutOfTimeError, PipelineError: as score_best.
    """
    recipe, candidates = family.recipe, [dict(one.settings) for one in compared]
    of_baseline = {"dataset": dataset.name, **family.hashes, "stage": "baseline"}
    of_baseline["params_sha256"] = settings_sha256(config, dataset, family.model)
    baseline = logged(client, recipe, parts, of_baseline)
    if baseline is None and alone:
        baseline = assess(recipe, parts, progress=progress_lines(f"{family.label}, baseline"))
    # the run of an earlier call: of the best of these settings, or of the baseline's, as none was better
    tried = tags_of(family, compared)
    of_these = tried if len(candidates) > 1 else {name: tag for name, tag in tried.items() if name != TRIED}
    tries = [*((place, of_these, settings) for place, settings in enumerate(candidates)), (0, tried, None)]
    runs = ((place, logged(client, recipe, parts, wanted, settings)) for place, wanted, settings in tries)
    known = next(((place, run) for place, run in runs if run), None)
    place, found, best = choose(
        baseline,
        candidates,
        family.space,
        lambda: known or score_best(recipe, parts, candidates, progress, family.label),
        family.label,
    )
    same = known[1] if known and known[1].params == found.params else None
    return Winner(compared[place].trial, best, found, baseline, same)


def log_winner(
    winner: Winner,
    family: Family,
    searched: optuna.Study,
    compared: Sequence[Candidate],
    dataset: Dataset,
    parts: Parts,
    client: MlflowClient,
    started: float,
    machine: Curves,
) -> dict[str, Any]:
    """Log the winner with all trials of the search, and print what was found; their part of the committed metrics."""
    found, tags = winner.assessment, tags_of(family, compared)
    result = {"params_sha256": family.hashes["params_sha256"], **summarise(searched, winner)}
    folder = Path("reports") / dataset.name / "tuning" / family.model
    of_study = {"dataset": dataset.name, **family.hashes, "model_type": family.model}
    parent, records = study_records(searched, of_study, family.space, family.recipe.seed, started, folder)
    write_runs(client, dataset.name, records, parent=replace(parent, curves={**parent.curves, **machine}))
    if winner.known:
        copy_plots(winner.known.plots, folder)
        print(f"{family.label}: unchanged, the winner is taken from its run", flush=True)
    else:
        log_run(client, found, parts, f"{family.model}{TUNED}", tags, folder, started, dataset.file)
    print("\n".join(result_lines(family.label, result, winner, dataset)), flush=True)
    return result


def tags_of(family: Family, compared: Sequence[Candidate]) -> dict[str, str]:
    """The tags of a winner's run, with the trials that it was the best of."""
    of_trials = [one.trial.user_attrs["settings"] for one in compared]
    return {"dataset": family.dataset, **family.hashes, "stage": "tuned", TRIED: json.dumps(of_trials)}


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
    if own not in json.loads(run.tags.get(TRIED, json.dumps([own]))):
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


def summarise(study: optuna.Study, winner: Winner) -> dict[str, Any]:
    """The part in the committed metrics of a search's winner, with its lead where there is a baseline."""
    tuned, baseline, trials = winner.assessment, winner.baseline, study.get_trials(deepcopy=False)
    facts = tuned.summary()
    found = {
        "estimator": facts.pop("estimator"),
        "params": dict(winner.settings),
        "best_value": round(winner.trial.value or 0.0, 6),
        "trials": trials_by_end(trials),
        "pruned_work": round(pruned_work(trials), 6),
        **facts,
    }
    if baseline is None:
        return found
    metric, judged = tuned.recipe.metric, (tuned.predictions, [baseline.predictions])
    [(difference, interval)] = paired_differences(metric, *judged, tuned.recipe.seed)
    return found | {
        "baseline_cv": round(baseline.cv[metric], 6),
        "gain": relative_gain(metric, tuned.score[metric], baseline.score[metric]),
        "difference": round(difference, 6),
        "difference_interval": [round(bound, 6) for bound in interval],
    }


def result_lines(label: str, result: Mapping[str, Any], winner: Winner, dataset: Dataset) -> list[str]:
    """What a search found, for the terminal."""
    tuned, baseline, trials = winner.assessment, winner.baseline, result["trials"]
    metric = tuned.recipe.metric
    cv, score = f"{tuned.cv[metric]:.4f}", f"{tuned.score[metric]:.4f}"
    if baseline:
        low, high = result["difference_interval"]
        cv = f"baseline {baseline.cv[metric]:.4f}, tuned {cv}"
        score = f"baseline {baseline.score[metric]:.4f}, tuned {score}, "
        score += f"difference {result['difference']:+.4f} [{low:+.4f}, {high:+.4f}]"
    decision = result.get("decision")
    worth = decision_words(decision, dataset.positive_word, dataset.doubt) if decision else ""
    return [
        f"{label}: best settings {json.dumps(result['params'])}",
        f"  trials: {trials['complete']} complete, {trials['pruned']} pruned, {trials['failed']} failed; "
        f"pruning saved {result['pruned_work']:.0%} of the search's work",
        f"  cross-validated {metric}: {cv}",
        f"  {metric}: {score}{dataset.doubt}",
        *([f"  {worth}"] if worth else []),
    ]


def more_words(family: Family, searched: optuna.Study, compared: Sequence[Candidate], parts: Parts, most: int) -> str:
    """A line of what the command for the family alone would bring, where time has ended its search of at most so many
    trials, or has cut its winner short; else nothing.
    """
    number, best, first = len(searched.trials), searched.best_trial, compared[0]
    command = f"{command_of(family.dataset, f'{family.model}{TUNED}')} --n-trials {number}"
    if first.trial.value != best.value or first.is_cut:
        return f"{family.label}: its best settings, of {best.value:.4f}, take longer; `{command}` scores them\n"
    if number >= most:
        return ""
    without_bounds, _ = to_score(family, searched, parts, Bounds())
    does = "finds the same" if compared == without_bounds else "compares more of its settings"
    does = "scores its settings at their own rate" if first.is_slower else does
    return f"{family.label}: the time was up; `{command}` {does}\n"
