"""The weights of an ensemble, by greedy selection of models (Caruana et al. 2004, Ensemble Selection from Libraries of
Models).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.metrics import METRICS, Predictions, joined, metric_value
from pipeline.serving.model import is_positive
from pipeline.training.calibration import others_of

# Models that are picked one after the other, any of them as often as it helps: weights are multiples of 1 / PICKS.
PICKS = 25
# Rows that a selection looks at, at most: more would hardly change it, and take longer.
MOST_ROWS = 20_000
SAME = 1e-9


def blend(members: Sequence[Predictions], weights: np.ndarray) -> Predictions:
    """The weighted mean of what several models predict for the same rows: of values, or of probabilities, labelled at
    0.5 or with the most probable class. `weights` (m,) add up to 1.
    """
    first = members[0]

    def mean(part: str) -> np.ndarray:
        return np.asarray(sum(weight * getattr(own, part) for weight, own in zip(weights, members, strict=True)))

    if first.shares is not None and first.classes is not None:
        shares = mean("shares")
        return replace(first, shares=shares, predicted=first.classes[shares.argmax(axis=1)])
    if first.score is not None:
        score = mean("score")
        return replace(first, score=score, predicted=is_positive(score, 0.5).astype(int))
    return replace(first, predicted=mean("predicted"))


def greedy_weights(metric: str, members: Sequence[Predictions], most: int, seed: int) -> np.ndarray:
    """Weights (m,) of models by their predictions of the same rows (n each), which they have not learned from.

    Of models that are picked with replacement, each time the one that makes the mean score best, the picks up to the
    best score count. At most `most` different ones are picked. Where the metric counts labels, which change by steps,
    the log loss stands for it.
    """
    looked_at = "log_loss" if METRICS[metric].counts else metric
    rows = np.random.default_rng(seed).permutation(len(members[0].actual))[:MOST_ROWS]
    members = [own.of(np.sort(rows)) for own in members]
    picks, totals = list[int](), list[float]()
    for number in range(PICKS):
        allowed = range(len(members)) if len(set(picks)) < most else sorted(set(picks))
        found = {}
        for one in allowed:
            counts = np.bincount([*picks, one], minlength=len(members))
            found[one] = METRICS[looked_at].sign * metric_value(looked_at, blend(members, counts / (number + 1)))
        # of equals the first
        picks.append(max(found, key=lambda one: found[one]))
        totals.append(found[picks[-1]])
    # a gain in the last digits is none
    last = int(np.argmax(np.array(totals) >= max(totals) - SAME * abs(max(totals))))
    return np.bincount(picks[: last + 1], minlength=len(members)) / (last + 1)


def blend_by_other_folds(
    metric: str, members: Sequence[Predictions], fold: np.ndarray, most: int, seed: int
) -> Predictions:
    """Out-of-fold predictions of an ensemble (n,): those of each fold (n,) are blended by weights that are selected on
    the other folds, so that its score has paid for the selection; in time on the earlier ones, equal before there are.
    """
    parts, places = [], [np.flatnonzero(fold == number) for number in np.unique(fold)]
    for own in places:
        others = np.flatnonzero(others_of(members[0], fold, fold[own[0]]))
        weights = np.full(len(members), 1 / len(members))
        if len(others):
            weights = greedy_weights(metric, [member.of(others) for member in members], most, seed)
        parts.append(blend([member.of(own) for member in members], weights))
    return joined(parts).of(np.argsort(np.concatenate(places)))
