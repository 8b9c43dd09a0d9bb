"""What a fitted model has learned, as far as its predictions show it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.pipeline import Pipeline

from pipeline.explain.cases import Case, explain_rows
from pipeline.explain.contributions import BACKGROUND
from pipeline.explain.dependence import Dependence, Kind, partial_dependence
from pipeline.explain.output import output_of
from pipeline.settings import Dataset
from pipeline.tables.split import Parts

# Rows of the test part: that means are taken over, and that the five are chosen of.
ROWS, MOST_ROWS = 1000, 10_000
# Columns that partial dependence is shown of.
LEADING = 5


@dataclass(frozen=True)
class Explanation:
    """`output`: the number that is explained, in words; `rows` that means are of; `looked_at`: those that the five
    cases are chosen of, `whole` where these are the test part; `background`: those that contributions are measured
    from.
    """

    output: str
    rows: int
    looked_at: int
    whole: bool
    background: int
    dependence: tuple[Dependence, ...]
    cases: tuple[Case, ...]


def explain_model(
    model: Pipeline,
    dataset: Dataset,
    parts: Parts,
    importance: Mapping[str, float],
    seed: int,
) -> Explanation:
    """Explain a fitted model of the table's columns by rows of the test part, the same in each call with one seed.

    Args:
        importance: what is lost without each column.

    PipelineError: as predict; or the contributions do not add up.
    """
    output, test = output_of(model, dataset.task, dataset.target, parts), parts.test
    order = np.random.default_rng(seed).permutation(len(test.y))[:MOST_ROWS]
    ranked = sorted(output.columns, key=lambda name: -importance.get(name, 0.0))
    X, first = test.X.iloc[order][ranked], order[:ROWS]
    belonging = {name: labels[first] for name, labels in test.belonging.items()}
    shown = [name for name in ranked if importance.get(name, 0.0) > 0 and dataset.types.get(name) != "text"]
    dependence = [
        partial_dependence(output, X[:ROWS], belonging, name, kind_of_column(X[name].dtype, name, dataset), seed)
        for name in shown[:LEADING]
    ]
    return Explanation(
        output=output.words,
        rows=len(first),
        looked_at=len(order),
        whole=len(order) == len(test.y),
        background=min(BACKGROUND, len(order)),
        # a column may have no value in these rows
        dependence=tuple(own for own in dependence if own.values),
        cases=tuple(explain_rows(output, X, test.y[order], parts.words, ranked, seed)),
    )


def kind_of_column(dtype: object, name: str, dataset: Dataset) -> Kind:
    """How values of a column are in order: numbers and dates are, categories are not."""
    if dtype == "float64":
        return "number"
    return "date" if dataset.types.get(name) == "date" else "category"
