"""Checks of a model beside the other models on the same rows: overfitting, and a simpler model that does as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.checks.finding import Finding
from pipeline.checks.levels import (
    FEWEST,
    LEVEL,
    chance_words,
    holm,
    jackknife_error,
    permutation_chance,
    redrawn,
    sampled,
    spread,
    strata_of,
    too_few,
    unseen_error,
    upper_tail,
)
from pipeline.metrics import METRICS, Predictions, joined, lead, metric_value

# A model is simpler that takes at most this share of the bytes, and as good where it keeps all but this share of what
# the other gains over the naive prediction.
SIMPLER, MARGIN = 0.5, 0.02


@dataclass(frozen=True)
class Rival:
    """A model on the judged rows. `train`: the metric on its own training rows; `value`: on the judged ones; `without`:
    the same without each group of them (k,), the groups shared by all models.
    """

    name: str
    model_bytes: int
    train: float
    value: float
    without: np.ndarray


@dataclass(frozen=True)
class Difference:
    """By how much another model is better, with its standard error and degrees of freedom."""

    other: Rival
    value: float
    error: float
    freedom: float

    @property
    def words(self) -> str:
        half = spread(self.error, self.freedom)
        return f"{self.value:+.4f} [{self.value - half:+.4f}, {self.value + half:+.4f}]"


def difference(metric: str, other: Rival, own: Rival) -> Difference:
    error, freedom = jackknife_error(lead(metric, other.without, own.without))
    return Difference(other, lead(metric, other.value, own.value), error, freedom)


def overfitting(
    task: str,
    metric: str,
    own: Rival,
    others: Sequence[Rival],
    pooled: Predictions,
    test: Predictions,
    units: np.ndarray | None,
    in_order: bool,
    seed: int,
) -> Finding:
    """Whether fitting its training rows closely costs a model something on other rows.

    A forest always does better on its training rows; that alone harms nobody. A model overfits where another one fits
    the training rows less well and new rows better (Mitchell, Machine Learning, 1997, section 3.7.1): a t-test of each
    such model's lead on the judged rows, with Holm's correction. Or where cross-validation on the training part
    (`pooled`, m rows), which models and settings are chosen by, promises more than the test part (`test`, n rows)
    gives: a permutation test of which rows are the test part, within classes, or of whole units (m + n,) where rows
    belong together. Each has half of LEVEL. In order of time (`in_order`) the test part comes later, and may give less
    for that: the promise is not tested.
    """
    label = METRICS[metric].label
    gap = f"It reaches {label} {own.train:.4f} on its training rows and {own.value:.4f} on the judged ones"
    if len(test.actual) < FEWEST:
        return Finding(None, f"{gap}; {len(test.actual)} rows in the test part are too few to say more.")
    closer = [difference(metric, other, own) for other in others if lead(metric, own.train, other.train) > 0]
    chances = holm([upper_tail(d.value, d.error, d.freedom) for d in closer])
    if closer and chances.min() <= LEVEL / 2:
        best = closer[int(chances.argmin())]
        return Finding(
            True,
            f"{gap}. {best.other.name} fits its training rows less well ({best.other.train:.4f}), and is better on the "
            f"judged ones by {best.words}.",
        )
    promised, given = metric_value(metric, pooled), metric_value(metric, test)
    words = f"cross-validation promised {promised:.4f}, the {len(test.actual):,} rows of the test part give {given:.4f}"
    p = None if in_order else promise_chance(task, metric, pooled, test, units, seed)
    if p is not None and p <= LEVEL / 2:
        return Finding(True, f"{gap}: {words}, less than chance explains ({chance_words(p)}).")
    told = "" if p is None else f" ({chance_words(p)})"
    rest = " No model that fits them less well is shown to do better on the judged ones." if closer else ""
    return Finding(False, f"{gap}: {words}{told}.{rest}")


def promise_chance(
    task: str, metric: str, pooled: Predictions, test: Predictions, units: np.ndarray | None, seed: int
) -> float | None:
    """How often a test part drawn from all rows does no better than this one; None where the metric is not defined."""
    rng, sign = np.random.default_rng(seed), METRICS[metric].sign
    part = np.repeat([0, 1], [len(pooled.actual), len(test.actual)])
    kept = sampled(len(part), rng)
    whole, part = joined([pooled, test]).of(kept), part[kept]
    strata, given = strata_of(whole, task), sign * metric_value(metric, whole.of(part == 1))
    if not np.isfinite(given):
        return None
    unit = part if units is None else np.unique(units[kept], return_inverse=True)[1]

    def drawn() -> np.ndarray:
        """As many rows as the test part has, or as many whole units."""
        if units is None:
            return redrawn(part, strata, rng)[1]
        taken = rng.permutation(unit.max() + 1) < len(np.unique(unit[part == 1]))
        return np.flatnonzero(taken[unit])

    return permutation_chance(lambda: -sign * metric_value(metric, whole.of(drawn())), -given, LEVEL / 2)


def simpler_as_good(
    task: str, metric: str, own: Rival, others: Sequence[Rival], naive: float | None, y: np.ndarray, units: int
) -> Finding:
    """Whether a model of at most half the bytes is as good.

    "As good" is shown, never concluded from a difference that is not: a test of non-inferiority (t, one-sided at LEVEL,
    Holm over the simpler models) against the margin of MARGIN of the lead over the naive prediction. The standard error
    of a difference is that of the jackknife and of UNSEEN more of the `units` (rows, or groups of them), as models that
    differ in few rows may do so in none of those that are judged. y: the target of the judged rows (n,).
    """
    simpler = [other for other in others if other.model_bytes <= SIMPLER * own.model_bytes]
    if not simpler:
        return Finding(False, f"No other model is half as large as its {own.model_bytes / 1e6:.3f} MB.")
    if thin := too_few(y, task):
        return Finding(None, f"{thin} that are judged are too few to say.")
    if naive is None or not (margin := MARGIN * lead(metric, own.value, naive)) > 0:
        return Finding(
            None, f"It reaches {own.value:.4f}, no better than the naive prediction: it has no lead to keep."
        )
    unseen = unseen_error(own.without, units, units)
    found = [difference(metric, other, own) for other in simpler]
    found = [replace(d, error=float(np.hypot(d.error, unseen))) for d in found]
    chances = holm([upper_tail(d.value + margin, d.error, d.freedom) for d in found])
    kept = f"{margin:.4f}, {MARGIN:.0%} of its lead over the naive prediction"
    shown = [d for d, p in zip(found, chances, strict=True) if p <= LEVEL]
    if shown:
        least = min(shown, key=lambda d: d.other.model_bytes)
        times = own.model_bytes / least.other.model_bytes
        return Finding(
            True,
            f"{least.other.name}, {times:.0f} times smaller, is as good: its lead is {least.words}, and a loss of up "
            f"to {kept}, counts as none.",
        )
    nearest = max(found, key=lambda d: d.value)
    if not np.isfinite(nearest.error):
        return Finding(None, "Without some groups of the judged rows the score is not defined.")
    half = spread(nearest.error, nearest.freedom)
    shown_worse = nearest.value + half < 0
    words = "is worse" if shown_worse else "is not shown to be as good"
    return Finding(
        False,
        f"{nearest.other.name}, the best of those at most half its size, {words}: its lead is "
        f"{nearest.words}, and a loss of up to {kept}, would count as none.",
    )
