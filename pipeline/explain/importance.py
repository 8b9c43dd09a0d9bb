"""How much each column matters to a model, as its run keeps it, with intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from pipeline.intervals import PARTS, Estimate, units
from pipeline.metrics import Predictions
from pipeline.store.runs import StoredRun
from pipeline.training.record import IMPORTANCE, IMPORTANCE_ERROR

# Artifacts of a run: the permutation importance of each column, and its standard error.


def read_importance(run: StoredRun) -> dict[str, tuple[float, float]]:
    """What is lost without each column, and its standard error; NaN where that is not known. PipelineError: the run
    does not say, as those of earlier versions.
    """
    values, errors = (
        json.loads(run.artifact(name).read_text(encoding="utf-8")) for name in (IMPORTANCE, IMPORTANCE_ERROR)
    )
    return {column: (value, errors.get(column, np.nan)) for column, value in values.items()}


def importance_intervals(
    importance: Mapping[str, tuple[float, float]], judged: Predictions, share: float = 1
) -> dict[str, tuple[float, float]]:
    """95 % interval of each column's importance from its standard error, by Student's t; none where that is not known.

    Args:
        judged: the rows that say how many groups or times there are, `share` of which the importance was measured on.
    """
    count = round((int(units(judged).max()) + 1) * (1 if judged.group is None else share))
    freedom = min(count, PARTS) - 1
    return {
        column: Estimate(value, error, freedom).interval()
        for column, (value, error) in importance.items()
        if np.isfinite(error)
    }
