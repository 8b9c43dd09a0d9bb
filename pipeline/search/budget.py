"""A budget of seconds, spent on the families where it pays, and what the time has brought.

Each family runs the first of its trials; then the better half of them goes on, and half of these, until one is left,
every round for as long: successive halving (Karnin et al. 2013; Jamieson & Talwalkar 2016) with families as arms.
Within a round the family that has had the least time is next.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import optuna
from joblib import cpu_count
from optuna.trial import FrozenTrial

from pipeline.console import Progress
from pipeline.metrics import METRICS, Predictions, lead, metric_value
from pipeline.search import queue
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
from pipeline.training.assess import naive_predictions
from pipeline.training.build import Recipe, build_estimator
from pipeline.training.importance import rows_to_predict

if TYPE_CHECKING:
    from distributed import Client

# A family's first trial is begun in this share of the budget, that of the second family, without which nothing is
# compared, in another one; and later where there is at least so much of it for the trial and to score it.
FIRST_ROUND, OF_SECOND_FAMILY, LEAST_OF_FAMILY = 0.25, 0.5, 0.15
# Where there is no time for a winner's trees or iterations, it has fewer, down to this share of them.
LEAST_OF_TREES = 0.5
# Winners have at most this share of the budget, where they need it; of an ensemble's the first, the second and each
# further one at most so much of all seconds, as several are worth more together than the last digits of one.
MOST_OF_WINNERS, MOST_OF_FIRST, MOST_OF_SECOND, MOST_OF_FURTHER = 0.85, 0.4, 0.4, 0.2
# Where trials are scored on a part of the rows, the best of so many are compared on all folds, one more for each
# further so many, up to a few, in at most this share of all seconds: the more trials there are, the more luck is in the
# best value.
TRIALS_OF_CANDIDATE, MOST_CANDIDATES, MOST_OF_COMPARING = 5, 3, 0.1
# A winner among others learns more slowly than its trial, by so much at most, in at most this share of all seconds:
# boosting errs less with a smaller rate and as many times more iterations (shrinkage, Friedman 2001).
RATE, MOST_SLOWER, MOST_OF_SLOWER = "learning_rate", 4.0, 0.05
# A family among others has at most so many trials for each setting that it has.
TRIALS_OF_SETTING = 15
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


@dataclass
class Spent:
    """What was done with a budget: the seconds of each family and in total, and the best value after so many seconds,
    with the family that reached it.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    curve: list[tuple[float, float, str]] = field(default_factory=list)
    total: float = 0.0


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


def search_families(
    families: Sequence[Family],
    deadline: float,
    n_trials: int,
    lag: int,
    parts: Parts,
    workers: int,
    cluster: Client | None = None,
    for_ensemble: float | None = None,
    of_seconds: float | None = None,
) -> Spent:
    """Search on until the rest of the time (deadline in monotonic seconds) is needed to score the winners, as
    `most_of_winner` bounds them, and, of several, `for_ensemble`, which is None where none is built; or each family has
    n_trials. At least one family runs its first trial.

    Trials of several families run one after the other, as many at once as the cluster takes; those of a single one side
    by side in so many `workers`. PipelineError: as run_trials.
    """
    started, spent = time.monotonic(), Spent()

    def run(family: Family, trials: int, until: float, alone: bool = False) -> None:
        begun = time.monotonic()
        seconds, at_once = None if until == math.inf else until - begun, workers if alone else 1
        label = family.dataset if alone else family.label
        queue.run_trials(family.kept, family.objective, trials, seconds, lag, at_once, cluster, label, alone)
        now, best = time.monotonic(), best_value(family)
        spent.seconds[family.model] = spent.seconds.get(family.model, 0.0) + now - begun
        if best is None or alone:
            return
        sign = METRICS[family.recipe.metric].sign
        if not spent.curve or sign * best > sign * spent.curve[-1][1]:
            spent.curve.append((round(now - started, 1), best, family.model))
        words = f"{family.label}: {done(family)} trials, best {best:.4f}; of all {spent.curve[-1][1]:.4f}"
        print(f"{words} by {spent.curve[-1][2]}, {deadline - now:.0f} s left", flush=True)

    def most_trials(family: Family) -> int:
        return min(n_trials, TRIALS_OF_SETTING * len(family.space))

    def end(but: Family | None = None) -> float:
        """When the scoring has to begin, as far as there is time for it: that of the better half of the families, or,
        for an ensemble, of two and all others that are not far behind, as further members bring more than further
        trials; of all `but` one. Others are scored where time is left. Of a single winner and its baseline.
        """
        most, several = MOST_OF_WINNERS * (deadline - started), len(families) > 1
        order = ranked([family for family in families if family is not but])
        at_most = halvings(len(families))[0] if for_ensemble is None else len(families)
        needed, scored = seconds_of_winners(order, parts, of_seconds, most, for_ensemble if several else None, at_most)
        if several:
            fits = [seconds - seconds_to_log(parts) for family, seconds in scored if can_be_slower(family)]
            needed += sum(min(MOST_OF_SLOWER * (of_seconds or 0.0), (MOST_SLOWER - 1) * each) for each in fits)
        elif order:
            needed += sum(seconds_to_score(order[0], parts, best_first(order[0], order[0].kept)[0]))
        return deadline - min(needed, most)

    if len(families) == 1:
        # its first trial tells how long the rest takes
        if deadline < math.inf:
            run(families[0], 1, deadline, alone=True)
        run(families[0], n_trials, end() if deadline < math.inf else deadline, alone=True)
        return spent
    unit = 1 if cluster is None else lag

    def begin(family: Family, trials: int) -> None:
        """Run trials that end early enough for them to be scored beside the other winners; none where there is next to
        no time for that. The first trial of all ends however long it takes.
        """
        now, known = time.monotonic(), len(ranked(families))
        left = end(but=family) - now
        share = OF_SECOND_FAMILY if known == 1 and not done(family) else FIRST_ROUND
        early = started + share * (deadline - started)
        if not known or now < early or left >= LEAST_OF_FAMILY * (deadline - started):
            until = max(early, now + left / (1 + sum(trials_to_score(family, parts))))
            run(family, trials, until if known else math.inf)

    for family in families:
        if not done(family):
            begin(family, unit)
        # what the baseline's settings reach says little of a family: LightGBM's are far too many leaves for a few rows
        if family.first and done(family) == 1:
            begin(family, min(2, n_trials))
        if not done(family):
            print(f"{family.label}: left out, there is no time for a trial of it", flush=True)
    pool = ranked(families)
    rounds = halvings(len(pool))
    for number, size in enumerate(rounds):
        now, left = time.monotonic(), len(rounds) - number
        until = now + (end() - now) / left if left > 1 else math.inf
        while True:
            last = min(until, end())
            alive = [one for one in ranked(pool) if done(one) < most_trials(one)][:size]
            able = [one for one in alive if has_time(one, last)]
            if not able:
                break
            family = min(able, key=lambda family: spent.seconds.get(family.model, 0.0))
            before = done(family)
            run(family, min(before + unit, most_trials(family)), end())
            if done(family) == before:
                # there was no time for all of the trial
                pool.remove(family)
    spent.total = time.monotonic() - started
    if spent.curve:
        spent.curve.append((round(spent.total, 1), *spent.curve[-1][1:]))
    return spent


def done(family: Family) -> int:
    """How many trials of a family are over."""
    return len(family.kept.get_trials(deepcopy=False))


def naive_value(recipe: Recipe, parts: Parts) -> float:
    """What the naive prediction of the training rows reaches on them."""
    y = parts.train.y
    return metric_value(recipe.metric, naive_predictions(recipe.task, y, Predictions(y, y)))


def halvings(families: int) -> list[int]:
    """How many families are left in each round, from so many down to one."""
    sizes = [families]
    while sizes[-1] > 1:
        sizes.append(math.ceil(sizes[-1] / 2))
    return sizes[1:] or sizes


def has_time(family: Family, until: float) -> bool:
    """Whether another trial of a family would probably end in time, by the mean of those before."""
    trials = family.kept.get_trials(deepcopy=False)
    return time.monotonic() + sum(map(seconds_of, trials)) / len(trials) <= until


def ranked(families: Sequence[Family]) -> list[Family]:
    """Families with a complete trial, the one with the best value first."""
    sign = METRICS[families[0].recipe.metric].sign if families else 1
    values = {family.model: best_value(family) for family in families}
    return sorted(
        (family for family in families if values[family.model] is not None),
        key=lambda family: -sign * (values[family.model] or 0.0),
    )


def best_value(family: Family) -> float | None:
    """Of the complete trials; None where there are none."""
    return next((trial.value for trial in best_first(family, family.kept)), None)


def seconds_of_winners(
    order: Sequence[Family],
    parts: Parts,
    of_seconds: float | None,
    most: float,
    for_ensemble: float | None,
    at_most: int,
    start: int = 0,
) -> tuple[float, list[tuple[Family, float]]]:
    """How long it takes to score the winners of families, the best first, from the place `start` on, with the ensemble
    of the first two: at most so many winners, as far as they end in `most` seconds, and beyond two only those that are
    not far behind; and of which families they are, with the time of each.
    """
    naive = naive_value(order[0].recipe, parts) if order else 0.0

    def lead_of(family: Family) -> float:
        return lead(family.recipe.metric, best_value(family) or 0.0, naive)

    needed, scored = 0.0, list[tuple[Family, float]]()
    for place, family in enumerate(order[start:], start):
        winners = start + len(scored)
        if winners == at_most or (winners > 1 and lead_of(family) < LEAST_OF_LEAD * lead_of(order[0])):
            break
        kept = for_ensemble or 0.0 if winners == 1 else 0.0
        bound = most_of_winner(place, of_seconds, for_ensemble is not None)
        left = min(bound, most - needed - kept) if winners else math.inf
        found, seconds = to_score(family, family.kept, parts, of_seconds, min(bound, left), left)
        if found:
            needed, scored = needed + kept + seconds, [*scored, (family, seconds)]
    return needed, scored


def can_be_slower(family: Family) -> bool:
    """Whether a winner of the family may learn more slowly than its trial: it is boosting, with a rate that is searched
    for.
    """
    return {RATE, FOUND[family.way]} <= {*family.space}


def to_score(
    family: Family,
    study: optuna.Study,
    parts: Parts,
    of_seconds: float | None,
    seconds: float,
    most: float,
    spare: float = 0.0,
) -> tuple[list[Candidate], float]:
    """The settings of a family's trials in the study that are compared on all folds, so that the best of them is
    scored, those with the best value first; and how long that takes, which is at most so many seconds, `of_seconds` for
    all. Where these are too short for each, those of the best trial if `most` seconds are enough for it, else none.
    They have a slower rate where that is possible, in `spare` seconds more.
    """
    trials, judged = best_first(family, study), sum(len(validated) for _, validated in family.rows.folds)
    if family.way == "out of bag":
        judged = len(family.rows.y)
    number = 1
    if judged < len(parts.train.y):
        number = min(1 + len(study.get_trials(deepcopy=False)) // TRIALS_OF_CANDIDATE, MOST_CANDIDATES)
    for place, trial in enumerate(trials):
        if fitting := in_time(family, parts, trial, seconds):
            picked, total = [fitting[0]], fitting[1]
            left = min(seconds - total, MOST_OF_COMPARING * (of_seconds or math.inf))
            for further in trials[place + 1 : place + number]:
                of_folds, _ = seconds_to_score(family, parts, further)
                if of_folds <= left:
                    picked.append(Candidate(further, further.user_attrs["settings"]))
                    total, left = total + of_folds, left - of_folds
            more = min(spare, seconds - total)
            if more > 0 and can_be_slower(family):
                fits = total - seconds_to_log(parts)
                times = min(1 + more / fits, MOST_SLOWER)
                picked, total = [slower(one, FOUND[family.way], times) for one in picked], total + (times - 1) * fits
            return picked, total
    best = in_time(family, parts, trials[0], most) if trials else None
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


def most_of_winner(place: int, seconds: float | None, for_ensemble: bool) -> float:
    """The most seconds that the winner in a place, from 0, is scored in, of all that are given; without a bound where
    none are, and for the best model where no ensemble is built.
    """
    if seconds is None or not (place or for_ensemble):
        return math.inf
    return (MOST_OF_FIRST, MOST_OF_SECOND, MOST_OF_FURTHER)[min(place, 2)] * seconds


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


def seconds_of_members(for_ensemble: float, members: int) -> float:
    """What an ensemble of so many members takes, where one of two takes `for_ensemble`."""
    return for_ensemble * (1 + OF_FURTHER_MEMBER * max(0, members - 2))


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


def value_after(curve: Sequence[tuple[float, float, str]], seconds: float) -> float:
    """The best value of a search after so many seconds; NaN before there was one."""
    return next((value for when, value, _ in reversed(curve) if when <= seconds), math.nan)


def curve_words(spent: Spent, metric: str) -> str:
    """What a quarter, half and all of a search's time brought, and by that what as long again may bring."""
    times = [spent.total / 4, spent.total / 2, spent.total]
    known = [(value_after(spent.curve, seconds), seconds) for seconds in times]
    told = ", ".join(f"{value:.4f} after {seconds:.0f} s" for value, seconds in known if math.isfinite(value))
    gain = lead(metric, known[-1][0], known[-2][0])
    more = f"; the second half brought {gain:+.4f}, as long again may bring as much" if math.isfinite(gain) else ""
    return f"best {METRICS[metric].label} of the search: {told}{more}"
