"""A budget of seconds, spent on the families where it pays, and what the time has brought.

Each family runs the first of its trials; then the better half of them goes on, and half of these, until one is left,
every round for as long: successive halving (Karnin et al. 2013; Jamieson & Talwalkar 2016) with families as arms.
Within a round the family that has had the least time is next.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.metrics import METRICS, lead
from pipeline.search import cost, queue
from pipeline.search.cost import Allowance
from pipeline.search.family import Family
from pipeline.tables.split import Parts

if TYPE_CHECKING:
    from distributed import Client

# A family's first trial is begun in this share of the budget, that of the second family, without which nothing is
# compared, in another one; and later where there is at least so much of it for the trial and to score it.
FIRST_ROUND, OF_SECOND_FAMILY, LEAST_OF_FAMILY = 0.25, 0.5, 0.15
# From so many training rows on families of large trees are begun before all others: they learn more in the time.
MANY_ROWS = 10_000
# Winners have at most this share of the budget, where they need it.
MOST_OF_WINNERS = 0.85
# A family among others has at most so many trials for each setting that it has.
TRIALS_OF_SETTING = 15


@dataclass
class Spent:
    """What was done with a budget: the seconds of each family and in total, and the best value after so many seconds,
    with the family that reached it.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    curve: list[tuple[float, float, str]] = field(default_factory=list)
    total: float = 0.0


def search_families(
    families: Sequence[Family],
    allowance: Allowance,
    n_trials: int,
    lag: int,
    parts: Parts,
    workers: int,
    cluster: Client | None = None,
) -> Spent:
    """Search on until the rest of the time is needed to score the winners and, of several, for their ensemble; or each
    family has n_trials. At least one family runs its first trial.

    Trials of several families run one after the other, as many at once as the cluster takes; those of a single one side
    by side in so many `workers`. PipelineError: as run_trials.
    """
    started, spent, deadline = time.monotonic(), Spent(), allowance.deadline

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
        at_most = halvings(len(families))[0] if allowance.for_ensemble is None else len(families)
        needed, scored = cost.seconds_of_winners(order, parts, allowance, most, at_most)
        if several:
            for family, found, seconds in scored:
                if cost.can_be_slower(family, found):
                    fits = seconds - cost.seconds_to_log(parts)
                    needed += min(allowance.slower, (cost.MOST_SLOWER - 1) * fits)
        elif order:
            needed += sum(cost.seconds_to_score(order[0], parts, cost.best_first(order[0], order[0].kept)[0]))
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
            until = max(early, now + left / (1 + sum(cost.trials_to_score(family, parts))))
            run(family, trials, until if known else math.inf)

    many = len(parts.train.y) >= MANY_ROWS
    for family in sorted(families, key=lambda one: not (one.large and many)):
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


def halvings(families: int) -> list[int]:
    """How many families are left in each round, from so many down to one."""
    sizes = [families]
    while sizes[-1] > 1:
        sizes.append(math.ceil(sizes[-1] / 2))
    return sizes[1:] or sizes


def has_time(family: Family, until: float) -> bool:
    """Whether another trial of a family would probably end in time, by the mean of those before."""
    trials = family.kept.get_trials(deepcopy=False)
    return time.monotonic() + sum(map(cost.seconds_of, trials)) / len(trials) <= until


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
    return next((trial.value for trial in cost.best_first(family, family.kept)), None)


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
