"""How long it takes to score winners, by the seconds of their trials; and in what bounds each is scored."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from joblib import cpu_count
from optuna.trial import FrozenTrial

from pipeline.console import Progress
from pipeline.metrics import METRICS, lead
from pipeline.search.family import Family
from pipeline.search.scorers import (
    FOLDS_STEPS,
    FOUND,
    OUT_OF_BAG_STEPS,
    PATIENCE,
    SECONDS_A_ROW,
    TREE_ROWS,
    TREE_SHARE,
    trees_of,
)
from pipeline.search.study import slot_of
from pipeline.search.trials import OutOfTimeError
from pipeline.tables.split import Parts
from pipeline.training.build import build_estimator
from pipeline.training.importance import rows_to_predict

# Where there is no time for a winner's trees or iterations, it has fewer, down to this share of them.
LEAST_OF_TREES = 0.5
# An ensemble's first winner, the second and each further one have at most so much of all seconds, as several are worth
# more together than the last digits of one.
MOST_OF_FIRST, MOST_OF_SECOND, MOST_OF_FURTHER = 0.4, 0.4, 0.2
# Where trials are scored on a part of the rows, the best of so many are compared on all folds, one more for each
# further so many, up to a few, in at most this share of all seconds: the more trials there are, the more luck is in the
# best value.
TRIALS_OF_CANDIDATE, MOST_CANDIDATES, MOST_OF_COMPARING = 5, 3, 0.1
# A winner among others learns more slowly than its trial, by so much at most, in at most this share of all seconds:
# boosting errs less with a smaller rate and as many times more iterations (shrinkage, Friedman 2001).
RATE, MOST_SLOWER, MOST_OF_SLOWER = "learning_rate", 4.0, 0.05
# Further winners than two are kept time for where they lead the naive prediction by so much of the best one's lead:
# poorer ones hardly get a weight in an ensemble.
LEAST_OF_LEAD = 0.9
# Seconds that it takes to draw and log a scored winner, beside its predictions: in any case, and for each column.
LOGGING, LOGGING_COLUMN = 2.0, 0.02
# Further fits take this share of the first ones' time.
OF_FIRST_FITS = 0.8
# Seconds for the pages of a search, which come last, and the most that is kept for them of all time.
PAGES, MOST_OF_PAGES = 2.5, 0.05
# An ensemble of two is assessed, drawn and logged in so many times as many, and takes this share longer for each
# further member; the first is kept free up to a share of all seconds.
OF_ENSEMBLE, OF_FURTHER_MEMBER, MOST_OF_ENSEMBLE = 2.5, 0.05, 0.2


@dataclass(frozen=True)
class Allowance:
    """The time for searches, their winners and an ensemble: all `seconds`, None for no bound, up to the `deadline` in
    monotonic seconds; of them those that are kept `for_ensemble`, None where none is built; and those that it `logged`
    the winners in so far.
    """

    seconds: float | None = None
    deadline: float = math.inf
    for_ensemble: float | None = None
    logged: float = 0.0

    def most_of_winner(self, place: int) -> float:
        """The most seconds that the winner in a place, from 0, is scored in: without a bound where there is none for
        all, and for the best model where no ensemble is built.
        """
        if self.seconds is None or not (place or self.for_ensemble is not None):
            return math.inf
        return (MOST_OF_FIRST, MOST_OF_SECOND, MOST_OF_FURTHER)[min(place, 2)] * self.seconds

    @property
    def comparing(self) -> float:
        """The most seconds in which further settings of a winner are compared."""
        return MOST_OF_COMPARING * (self.seconds or math.inf)

    @property
    def slower(self) -> float:
        """The most seconds that a slower rate of a winner takes."""
        return MOST_OF_SLOWER * (self.seconds or 0.0)

    def for_members(self, members: int) -> float:
        """What is kept for an ensemble of so many members, where `for_ensemble` is for two: at least what logging them
        took, as it predicts with each of them, and logs it, once more.
        """
        if not self.for_ensemble:
            return 0.0
        return max(self.for_ensemble * (1 + OF_FURTHER_MEMBER * max(0, members - 2)), self.logged)

    def latest(self, parts: Parts, members: int) -> float:
        """When the fits of the last of so many members have to be over, in monotonic seconds. One that is late may have
        half of what is kept for the ensemble: more is lost without it.
        """
        late = (self.for_ensemble or 0.0) / 2 - seconds_to_log(parts)
        return self.deadline - self.for_members(members) + late


@dataclass(frozen=True)
class Bounds:
    """The seconds that a winner is scored in: at most so many, where these are too short for each of its settings at
    most `alone` for those of the best trial; of them `comparing` further settings, and `slower` ones beside.
    """

    seconds: float = math.inf
    alone: float = 0.0
    comparing: float = math.inf
    slower: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """The settings of a trial that may be scored as the winner; with fewer trees or iterations than the trial's where
    there is no time for all, with more at a slower rate where there is time for them.
    """

    trial: FrozenTrial
    settings: Mapping[str, Any]

    @property
    def is_slower(self) -> bool:
        return self.settings.get(RATE) != self.trial.user_attrs["settings"].get(RATE)

    @property
    def is_cut(self) -> bool:
        return self.settings != self.trial.user_attrs["settings"] and not self.is_slower


def seconds_of_winners(
    order: Sequence[Family], parts: Parts, allowance: Allowance, most: float, at_most: int, start: int = 0
) -> tuple[float, list[tuple[Family, list[Candidate], float]]]:
    """How long it takes to score the winners of families, the best first, from the place `start` on, with the ensemble
    of the first two: at most so many winners, as far as they end in `most` seconds, and beyond two only those that are
    not far behind; and of which families and settings they are, with the time of each.
    """

    def lead_of(family: Family) -> float:
        [best, *_] = best_first(family, family.kept)
        return lead(family.recipe.metric, best.value or 0.0, family.naive)

    needed, scored = 0.0, list[tuple[Family, list[Candidate], float]]()
    for place, family in enumerate(order[start:], start):
        winners = start + len(scored)
        if winners == at_most or (winners > 1 and lead_of(family) < LEAST_OF_LEAD * lead_of(order[0])):
            break
        kept = allowance.for_ensemble or 0.0 if winners == 1 else 0.0
        bound = allowance.most_of_winner(place)
        left = min(bound, most - needed - kept) if winners else math.inf
        found, seconds = to_score(family, family.kept, parts, Bounds(min(bound, left), left, allowance.comparing))
        if found:
            needed, scored = needed + kept + seconds, [*scored, (family, found, seconds)]
    return needed, scored


def bounds_of_winner(
    order: Sequence[Family], place: int, parts: Parts, allowance: Allowance, scored: int, pace: float
) -> Bounds:
    """The bounds of the winner in a place of the order, where so many are scored; `pace`: the seconds that were planned
    for these, by those that they took.
    """
    # the first winner may need all of it, which then makes no ensemble
    now, alone, spare = time.monotonic(), math.inf, 0.0
    if scored:
        # where the others took longer than was planned, this one may; that they did not is no promise
        alone = (allowance.deadline - allowance.for_members(scored + 1) - now) * min(1.0, pace)
    if len(order) > 1:
        # half of what neither this winner nor those after it need, as these may take longer
        ahead = allowance.deadline - now - allowance.for_members(len(order))
        kept = replace(allowance, for_ensemble=None if allowance.for_ensemble is None else 0.0)
        needed, _ = seconds_of_winners(order, parts, kept, ahead, len(order), place)
        spare = min(allowance.slower, (ahead - needed) / (2 if place + 1 < len(order) else 1))
    return Bounds(min(allowance.most_of_winner(place), alone), alone, allowance.comparing, spare)


def can_be_slower(family: Family, candidates: Sequence[Candidate]) -> bool:
    """Whether a winner of the family with one of these settings may learn more slowly than its trial: it is boosting,
    with a rate that is searched for.
    """
    own = {RATE, FOUND[family.way]}
    return own <= {*family.space} and any(own <= {*one.settings} for one in candidates)


def to_score(family: Family, study: optuna.Study, parts: Parts, bounds: Bounds) -> tuple[list[Candidate], float]:
    """The settings of a family's trials in the study that are compared on all folds, so that the best of them is
    scored, those with the best value first, and how long that takes; none where there is no time for it. They have a
    slower rate where that is possible.
    """
    trials, judged = best_first(family, study), sum(len(validated) for _, validated in family.rows.folds)
    if family.way == "out of bag":
        judged = len(family.rows.y)
    number = 1
    if judged < len(parts.train.y):
        number = min(1 + len(study.get_trials(deepcopy=False)) // TRIALS_OF_CANDIDATE, MOST_CANDIDATES)
    for place, trial in enumerate(trials):
        if fitting := in_time(family, parts, trial, bounds.seconds):
            picked, total = [fitting[0]], fitting[1]
            left = min(bounds.seconds - total, bounds.comparing)
            for further in trials[place + 1 : place + number]:
                of_folds, _ = seconds_to_score(family, parts, further)
                if of_folds <= left:
                    picked.append(Candidate(further, further.user_attrs["settings"]))
                    total, left = total + of_folds, left - of_folds
            more = min(bounds.slower, bounds.seconds - total)
            if more > 0 and can_be_slower(family, picked):
                fits = total - seconds_to_log(parts)
                times = min(1 + more / fits, MOST_SLOWER)
                picked, total = [slower(one, FOUND[family.way], times) for one in picked], total + (times - 1) * fits
            return picked, total
    best = in_time(family, parts, trials[0], bounds.alone) if trials else None
    return ([best[0]], best[1]) if best else ([], 0.0)


def slower(candidate: Candidate, iterations: str, times: float) -> Candidate:
    """The candidate with a rate of so many times less, and so many times its iterations."""
    own = candidate.settings
    if not {RATE, iterations} <= {*own}:
        return candidate
    settings = {**own, RATE: round(own[RATE] / times, 6), iterations: math.ceil(own[iterations] * times)}
    return Candidate(candidate.trial, settings)


def in_time(family: Family, parts: Parts, trial: FrozenTrial, seconds: float) -> tuple[Candidate, float] | None:
    """The settings of a family's trial with as many trees or iterations as are scored in the seconds, at most its own,
    and how long it takes; None where that is less than LEAST_OF_TREES of them.
    """
    settings, name = trial.user_attrs["settings"], FOUND[family.way]
    needed = sum(seconds_to_score(family, parts, trial))
    if needed <= seconds:
        return Candidate(trial, settings), needed
    if name not in settings:
        return None
    log = seconds_to_log(parts)
    share = (seconds - log) / (needed - log)
    if share < LEAST_OF_TREES:
        return None
    return Candidate(trial, {**settings, name: math.ceil(share * settings[name])}), seconds


def best_first(family: Family, study: optuna.Study) -> list[FrozenTrial]:
    """A family's complete trials in the study; of equals the first of the search is the better one."""
    sign = METRICS[family.recipe.metric].sign
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    return sorted(complete, key=lambda trial: (-sign * (trial.value or 0.0), slot_of(trial)))


def seconds_of(trial: FrozenTrial) -> float:
    """How long a trial took."""
    return trial.duration.total_seconds() if trial.duration else 0.0


def seconds_to_log(parts: Parts, seconds_a_row: float = 0.0) -> float:
    """How long it takes to judge, draw and log a model that is fitted, and to find its columns' importance, where one
    core takes so many seconds to predict a row.
    """
    rows = len(parts.train.y) + len(parts.test.y) + rows_to_predict(parts.test)
    return LOGGING + LOGGING_COLUMN * parts.train.X.shape[1] + seconds_a_row * rows / cpu_count()


def seconds_of_pages(seconds: float) -> float:
    """What is kept for the pages of the search, of the seconds for all."""
    return min(PAGES, MOST_OF_PAGES * seconds)


def seconds_of_ensemble(parts: Parts, seconds: float) -> float:
    """What is kept free for an ensemble, of the seconds that searches and winners are to be done in, too."""
    return min(OF_ENSEMBLE * seconds_to_log(parts), MOST_OF_ENSEMBLE * seconds)


def seconds_to_score(family: Family, parts: Parts, trial: FrozenTrial) -> tuple[float, float]:
    """How long it takes to score the settings of a family's trial, by the seconds that it took: fits on the folds of
    the training part; and then on all of it and, where models are judged by them, on the folds of all rows, and what
    it takes to log it.
    """
    if family.way in ("out of bag", "grown on folds"):
        steps = OUT_OF_BAG_STEPS if family.way == "out of bag" else FOLDS_STEPS
        columns: Mapping[str, list[str]] = {"numbers": [], "categories": []}
        forest = build_estimator(family.recipe, columns, trial.user_attrs["settings"])
        of_trial = len(family.rows.y) if family.way == "out of bag" else len(family.rows.folds[-1][0])
        of_tree: float = len(parts.train.folds[-1][0])
        learned: float = of_trial
        if forest.bootstrap and forest.max_samples is None:
            # of n rows that are drawn from as many 63 % are different ones
            learned = -of_trial * math.expm1(-max(1, min(TREE_ROWS, int(TREE_SHARE * of_trial))) / of_trial)
            of_tree *= -math.expm1(-1)
        # the last fit has as many trees as a fold, and all cores
        of_folds = len(parts.train.folds)
        rest = 2 + of_folds * len(parts.whole.y) / len(parts.train.y) if parts.whole else 2.0
        seconds = seconds_of(trial) * trees_of(forest) / steps[-1] * of_tree / learned
        return of_folds * seconds, rest * seconds + seconds_to_log(parts)
    in_trials, in_turn = trials_to_score(family, parts), turns(len(family.rows.folds))
    iterations = trial.user_attrs["settings"].get(FOUND[family.way], 0)
    # without those past the best one
    past = PATIENCE[family.way] if iterations and slot_of(trial) else 0
    share = iterations / (iterations + past) if past else 1.0
    seconds = share * seconds_of(trial) + family.seconds_to_prepare * in_turn
    log = seconds_to_log(parts, trial.user_attrs.get(SECONDS_A_ROW, 0.0))
    return in_trials[0] * seconds, in_trials[1] * seconds + log


def trials_to_score(family: Family, parts: Parts) -> tuple[float, float]:
    """How many times as long as a trial on folds it takes to score its settings: on the folds of the training part; and
    on all rows, as in seconds_to_score.
    """
    rows, folds = len(parts.train.y), len(parts.train.folds)
    each = rows / len(family.rows.y) / turns(len(family.rows.folds))
    # the last fit is one beside those of the folds
    rest = turns(folds + 1) - turns(folds) + (turns(folds) * len(parts.whole.y) / rows if parts.whole else 0.0)
    return turns(folds) * each, rest * each


def turns(fits: int) -> int:
    """How many times each core has a fit, where they are done side by side."""
    return math.ceil(fits / cpu_count())


def within(deadline: float, progress: Progress) -> Progress:
    """Progress that ends the work where the first fits tell that it would not be over by the deadline (monotonic
    seconds): OutOfTimeError. They are known to take longer than others do, with what is loaded and prepared.
    """
    started = time.monotonic()

    def show(step: str, done: int, fits: int) -> None:
        now = time.monotonic()
        if done > 1 and now + OF_FIRST_FITS * (now - started) / done * (fits - done) > deadline:
            raise OutOfTimeError
        progress(step, done, fits)

    return show
