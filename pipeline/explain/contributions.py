"""How much each column adds to the prediction of a row: Shapley values (Shapley 1953; Lundberg & Lee 2017), by shap.

Columns that are left out take their values from other rows, the background. A prediction is the mean one of these plus
the contributions of all columns. Orders of the columns are drawn with the seed, each forward and backward (Mitchell et
al., Sampling Permutations for Shapley Value Estimation, 2022): exact where no more than two columns act together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.console import PipelineError
from pipeline.explain.output import Output

# Rows of the background, and sets of columns that a row is predicted with: each set is as many predictions. Wide tables
# have fewer sets, as so many cells are predicted from in all, and so many at a time.
BACKGROUND, SETS, CELLS, AT_ONCE = 100, 300, 100_000_000, 20_000_000
# The number of no row.
OUT = -1


def contributions(
    output: Output, X: pd.DataFrame, background: pd.DataFrame, players: Sequence[Sequence[str]], seed: int
) -> tuple[float, np.ndarray] | None:
    """The mean prediction of the background rows (b x d), and what each of k players adds to it in each row of X
    (n x d) as (n, k); None where shap cannot be imported. A player is one column or several, which come in together.
    PipelineError: as predict, or the parts are not the whole.
    """
    try:
        shap = _shap()
    except ImportError:
        # numba, which shap needs, refuses versions of numpy that it does not know
        return None
    whole = pd.concat([background, X], ignore_index=True)
    b, n, k = len(background), len(X), len(players)

    def values(numbers: np.ndarray) -> np.ndarray:
        """The mean prediction (m,) where each player comes from the row of that number, or from one background row
        after another where it is OUT (m, k). Rows are put together by numbers, so that words and gaps stay as they are.
        """
        numbers = np.where(numbers == OUT, np.arange(b)[:, None, None], numbers).transpose(1, 0, 2).reshape(-1, k)
        taken = [
            whole[[*player]].iloc[number].reset_index(drop=True)
            for player, number in zip(players, numbers.T, strict=True)
        ]
        return output.values(pd.concat(taken, axis=1)[[*whole]]).reshape(-1, b).mean(axis=1)

    # shap draws from numpy's global stream
    before = np.random.get_state()
    try:
        explainer = shap.PermutationExplainer(values, lambda kept, row: np.where(kept, row, OUT)[None], seed=seed)
        own = np.tile(b + np.arange(n)[:, None], (1, k))
        sets, batch = min(SETS, CELLS // (n * b * X.shape[1])), max(1, AT_ONCE // (b * X.shape[1]))
        # an order of the columns takes 2 k + 1
        found = explainer(own, max_evals=max(sets, 2 * k + 1), batch_size=batch, silent=True)
    finally:
        np.random.set_state(before)
    base, parts = float(np.ravel(found.base_values)[0]), np.asarray(found.values).reshape(n, k)
    if not np.allclose(base + parts.sum(axis=1), output.values(X), rtol=1e-6, atol=1e-8):
        raise PipelineError("the contributions of the columns do not add up to the predictions")
    return base, parts


def _shap() -> Any:
    """The package, an extra, without numba's compiler: that takes five seconds, and the loops that it is for a moment.
    ImportError: it, or what it needs, is not installed.
    """
    from numba import config

    settings: Any = config
    before, settings.DISABLE_JIT = settings.DISABLE_JIT, True
    try:
        import shap
    finally:
        settings.DISABLE_JIT = before
    return shap
