"""Labels that come later than the rows that they are of."""

from __future__ import annotations

import pandas as pd

from pipeline.console import PipelineError, nearest
from pipeline.tables.columns import value_text


def with_labels(current: pd.DataFrame, labels: pd.DataFrame, key: str, target: str) -> pd.DataFrame:
    """The current rows that have a label in the other table, with it as their target; all rows, without a target, where
    none has. PipelineError: a table lacks the key or the target, or a key is missing or twice among the labels.
    """
    for words, frame, name in (("current table", current, key), ("labels", labels, key), ("labels", labels, target)):
        if name not in frame:
            raise PipelineError(f"--labels: no column {name!r} in the {words}; {nearest(name, list(frame))}")
    keys = labels[key].map(value_text, na_action="ignore")
    if keys.isna().any():
        raise PipelineError(f"--labels: rows without {key}: {int(keys.isna().sum()):,}; fill or remove them")
    if keys.duplicated().any():
        twice = keys[keys.duplicated()].iloc[0]
        raise PipelineError(f"--labels: {key} {twice} is there twice; keep one label a row")
    found = current[key].map(value_text, na_action="ignore").map(pd.Series(labels[target].to_numpy(), index=keys))
    labelled = current.drop(columns=target, errors="ignore")
    if found.notna().any():
        labelled = labelled[found.notna()].copy()
        labelled[target] = found[found.notna()]
    return labelled
