"""The first and the last step of a logged model: rows as the source has them in, the target's own words out.

This folder and pipeline/tables/columns.py, numbers.py and dates.py go into every logged model, which needs nothing else
of this project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from joblib import parallel_config
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.pipeline import Pipeline

from pipeline.console import PipelineError
from pipeline.serving.fitted import Fitted
from pipeline.tables.columns import Column, is_number, read_columns
from pipeline.tables.numbers import CURRENCIES, Numbers, number_text

ROWS = "the rows"


class SourceReader(TransformerMixin, Fitted):
    """Reads rows (n x d) as the source of the training table was read; columns that no model needs may be absent.

    Values may be text, as in the source, or what other programs have read that text as, where this loses nothing.
    PipelineError: a column is absent, or a value does not fit it.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self.columns = columns

    @property
    def feature_names_in_(self) -> np.ndarray:
        return np.array([*self.columns], dtype=object)

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        for name, column in self.columns.items():
            times = [*X].count(name)
            if times != 1:
                raise PipelineError(f"{ROWS}: column {name!r} is {'there twice' if times else 'absent'}")
            if lost := lost_in_reading(X[name], column):
                raise PipelineError(f"{ROWS}: column {name!r}: {lost}; give its values as text, as the source has them")
        return read_columns(X[[*self.columns]], self.columns, ROWS)


def is_positive(probability: np.ndarray, threshold: float) -> np.ndarray:
    """Which rows have the positive class's label by their probability of it (n,): from the threshold on, the threshold
    included. It is the one rule, of judged rows as of served ones.
    """
    return probability >= threshold


class TargetWords(ClassifierMixin, Fitted):
    """A fitted classifier of 0 and 1 that answers in the target's two words, by `threshold` with the second for 1."""

    def __init__(self, estimator: BaseEstimator, words: Sequence[Any], threshold: float) -> None:
        self.estimator, self.words, self.threshold = estimator, words, threshold

    @property
    def classes_(self) -> np.ndarray:
        return np.array(self.words, dtype=object if isinstance(self.words[0], str) else None)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities (n, 2), in the order of classes_, to the last digit those that the model was judged by."""
        # the threads of a forest add up their trees in any order, so that a tie would fall on either side
        with parallel_config(backend="sequential"):
            return self.estimator.predict_proba(X)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The words (n,)."""
        return self.classes_[is_positive(self.predict_proba(X)[:, 1], self.threshold).astype(int)]


def served(model: Pipeline, columns: Mapping[str, Column], words: Sequence[Any]) -> Pipeline:
    """A fitted model of a frame's columns as one of the source's rows; `words`: of the target's two classes, for 0 and
    1, or none.
    """
    needed = [name for _, _, names in model[0].transformers for name in names]
    reader = SourceReader({name: column for name, column in columns.items() if name in needed})
    last = TargetWords(model[-1], tuple(words), getattr(model[-1], "threshold", 0.5)) if words else model[-1]
    return Pipeline([("read", reader), *model.steps[:-1], ("model", last)])


def example_rows(rows: pd.DataFrame, model: Pipeline) -> pd.DataFrame:
    """Rows of a table in data/ as the source would have them, with the columns that a served model reads."""
    columns = model[0].columns
    written = {name: as_written(rows[name], column) for name, column in columns.items()}
    return pd.DataFrame({name: values.astype(object).where(values.notna(), None) for name, values in written.items()})


def as_written(values: pd.Series, column: Column) -> pd.Series:
    """Numbers of a typed column (n,) as the source would write them, where that is not plainly; others as they are."""
    if column.kind != "number" or column.numbers == Numbers(".") or not is_number(values):
        return values
    return values.astype("float64").map(lambda value: number_text(value, column.numbers), na_action="ignore")


def trained(model: Pipeline) -> Pipeline:
    """The model that `served` was given."""
    steps = [step for step in model.steps if not isinstance(step[1], SourceReader)]
    name, last = steps[-1]
    return Pipeline([*steps[:-1], (name, last.estimator if isinstance(last, TargetWords) else last)])


def lost_in_reading(values: pd.Series, column: Column) -> str:
    """What other programs may have lost in reading a column before, in words; empty where nothing."""
    bare = [value for value in values if not isinstance(value, str) and value is not None]
    if column.na_words and any(isinstance(value, (float, np.floating)) for value in bare):
        return "an empty value may be a word such as None that was read as missing"
    numbers = pd.to_numeric(pd.Series(bare, dtype=object), errors="coerce").dropna()
    if numbers.empty:
        return ""
    if column.kind == "date" and column.dates.form not in ("digits", "spreadsheet days"):
        return "its values are dates, and these are bare numbers"
    if column.kind != "number":
        return ""
    if column.numbers.affix and column.numbers.affix not in CURRENCIES:
        return f"its values are in {column.numbers.affix}, and these are bare numbers"
    whole = all(isinstance(value, Integral) or value != value for value in bare)
    if column.numbers.decimal == "," and not whole:
        return "its values have a decimal comma, and these were read with a decimal point"
    if not column.numbers.decimal and (numbers % 1 != 0).any():
        return "its values are whole numbers, and these are not"
    return ""
