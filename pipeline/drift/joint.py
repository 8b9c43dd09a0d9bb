"""All columns at once: how well a classifier tells current rows from reference rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from pipeline.drift.measure import seconds

FOLDS = 3
# Rows a side that a classifier learns from; every row is scored.
FITTED_ROWS = 10_000
# Categories with fewer rows, both sides together, are one; so are those beyond the commonest.
RARE_ROWS, MOST_CATEGORIES = 10, 200
# Few shallow trees of coarse bins: as good at telling the sides apart, several times faster.
SETTINGS = {"max_iter": 40, "learning_rate": 0.15, "max_leaf_nodes": 8, "min_samples_leaf": 30, "max_bins": 64}


@dataclass(frozen=True)
class Membership:
    """Held-out probabilities that a row is a current one, as if both sides were of one size: n of reference rows, m of
    current rows, and the fold that each row was held out in. p / (1 - p) is the ratio of the sides' densities.
    """

    reference: np.ndarray
    current: np.ndarray
    fold_reference: np.ndarray
    fold_current: np.ndarray


def membership(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    kinds: Mapping[str, str],
    seed: int,
    groups: tuple[np.ndarray, np.ndarray] | None = None,
) -> Membership:
    """Cross-fitted boosting that tells n reference rows from m current rows by the columns of `kinds`.

    Args:
        kinds: of the columns, all in both frames: number, date, text; any other one is a category.
        groups: of the reference rows (n,) and the current rows (m,); a whole group is held out in one fold.

    Where the other folds have rows of one side only, nothing can be learned, and the fold's rows get 0.5.
    """
    rng = np.random.default_rng(seed)
    n, m = len(reference), len(current)
    X = encoded(pd.concat([reference[list(kinds)], current[list(kinds)]], ignore_index=True), kinds)
    is_current = np.arange(n + m) >= n
    fold = _folds(n, m, groups, rng)
    learned_from = []
    for number in range(FOLDS):
        sides = [np.flatnonzero((fold != number) & (is_current == side)) for side in (False, True)]
        learned_from.append([rng.permutation(rows)[:FITTED_ROWS] for rows in sides])

    def held_out(number: int) -> np.ndarray:
        rows, validation = np.concatenate(learned_from[number]), X[fold == number]
        if not len(validation) or not all(map(len, learned_from[number])):
            return np.full(len(validation), 0.5)
        # a core each: threads of boosting that share a busy core wait for one another
        with threadpool_limits(1, user_api="openmp"):
            return classifier(X[rows], is_current[rows], seed).predict_proba(validation)[:, 1]

    found = np.empty(n + m)
    parts = Parallel(n_jobs=-1, prefer="threads")(delayed(held_out)(number) for number in range(FOLDS))
    for number, part in enumerate(parts):
        found[fold == number] = part
    return Membership(found[:n], found[n:], fold[:n], fold[n:])


def classifier(X: np.ndarray, is_current: np.ndarray, seed: int) -> HistGradientBoostingClassifier:
    """Boosting fitted to tell current rows from others, as if both were as many; X (n, k), NaN where missing."""
    model = HistGradientBoostingClassifier(**SETTINGS, early_stopping=False, class_weight="balanced", random_state=seed)
    # it cannot bin a column that has no value where it learns
    return model.fit(np.where(np.isnan(X).all(axis=0), 0.0, X), is_current)


def encoded(frame: pd.DataFrame, kinds: Mapping[str, str]) -> np.ndarray:
    """The columns of a frame (n rows) as floats (n, k), NaN where missing.

    Numbers stay, dates become seconds since 1970, categories their rank by frequency with the rare ones together, and
    text its length, its number of words and its share of signs that are no letters.
    """
    parts: list[np.ndarray] = []
    for name, kind in kinds.items():
        values = frame[name]
        if kind == "number":
            parts.append(pd.to_numeric(values, errors="coerce").to_numpy(dtype=float))
        elif kind == "date":
            parts.append(seconds(values))
        elif kind == "text":
            text = values.astype(str).where(values.notna())
            length = text.str.len().to_numpy(dtype=float)
            letters = text.str.count(r"[^\W\d_]").to_numpy(dtype=float)
            parts += [length, text.str.count(r"\S+").to_numpy(dtype=float), 1 - letters / np.maximum(length, 1)]
        else:
            counts = values.value_counts()
            common = counts[counts >= RARE_ROWS].index[:MOST_CATEGORIES]
            ranks = pd.Series(np.arange(len(common)), index=common)
            codes = values.map(ranks).to_numpy(dtype=float)
            parts.append(np.where(np.isnan(codes) & values.notna(), len(common), codes))
    return np.column_stack(parts)


def _folds(n: int, m: int, groups: tuple[np.ndarray, np.ndarray] | None, rng: np.random.Generator) -> np.ndarray:
    """The fold of each of n + m rows: an equal part of each side, or of the groups."""
    if groups is None:
        return np.concatenate([rng.permutation(n) % FOLDS, rng.permutation(m) % FOLDS])
    group, known = pd.factorize(np.concatenate(groups))
    return (rng.permutation(len(known)) % FOLDS)[group]
