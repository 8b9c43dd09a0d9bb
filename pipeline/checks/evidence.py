"""What the checks look at: a dataset's table and parts, and what the runs of its models keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.checks.levels import without_each_group
from pipeline.checks.rivals import Rival
from pipeline.console import PipelineError
from pipeline.explain.importance import read_importance
from pipeline.files import file_sha256
from pipeline.intervals import units
from pipeline.metrics import METRICS, Predictions
from pipeline.settings import Config, Dataset, kind_of, space_of
from pipeline.store.predictions import read_predictions, read_rows
from pipeline.store.runs import StoredRun
from pipeline.tables.split import Parts, Rows, belonging_of, load_parts
from pipeline.training.build import resolve_recipe


@dataclass(frozen=True)
class Table:
    """A dataset's parts, and how its rows belong together. `columns`: those that are learned from, of which `dates` are
    text in order of time; `belonging`: the group or the time of each row, by its label.
    """

    task: str
    metric: str
    seed: int
    naive: float | None
    parts: Parts
    columns: tuple[str, ...]
    dates: frozenset[str] = frozenset()
    belonging: pd.DataFrame | None = None

    @cached_property
    def features(self) -> pd.DataFrame:
        """The columns that are learned from, of all rows."""
        return pd.concat([self.parts.train.X, self.parts.test.X])[[*self.columns]]

    def learned(self, rows: Rows) -> pd.DataFrame:
        """Columns that are learned from, and the target as the last, by number."""
        y = rows.y if rows.y.dtype == object else rows.y.astype(float)
        return pd.concat([rows.X[[*self.columns]], pd.Series(y, rows.X.index)], axis=1, ignore_index=True)

    @property
    def in_order(self) -> bool:
        return self.belonging is not None and "time" in self.belonging

    def units_of(self, rows: pd.Index) -> np.ndarray | None:
        """What some rows (n,) belong to, as intervals have it; None where each row stands for itself."""
        if self.belonging is None:
            return None
        none, found = np.zeros(len(rows)), self.belonging.loc[rows]
        return units(Predictions(none, none, **{name: labels.to_numpy() for name, labels in found.items()}))


@dataclass(frozen=True)
class Search:
    """A tuned model's settings, the space they were searched in, and the complete trials: settings and value, a larger
    one the better. `allowed`: whether the estimator takes a value of a setting.
    """

    settings: Mapping[str, Any]
    space: Mapping[str, Any]
    trials: Sequence[tuple[Mapping[str, Any], float]]
    allowed: Callable[[str, Any], bool]


@dataclass(frozen=True)
class Evidence:
    """One model beside the others on its judged rows. `pooled`: its out-of-fold predictions of the training part, with
    the `fold` of each; `rows` and `pooled_rows`: the labels of their rows; `importance`: what is lost without a column,
    and its standard error.
    """

    table: Table
    own: Rival
    others: tuple[Rival, ...]
    judged: Predictions
    rows: pd.Index
    pooled: Predictions
    pooled_rows: pd.Index
    fold: np.ndarray
    importance: Mapping[str, tuple[float, float]]
    search: Search | None = None

    @property
    def of_test_part(self) -> np.ndarray:
        """Which of the judged rows are of the test part."""
        return self.rows.isin(self.table.parts.test.X.index)


def read_table_of(dataset: Dataset, config: Config, naive: float | None, data_sha256: str) -> Table:
    """Of a table that is there. PipelineError: as load_parts, or it is another than the metrics tell of."""
    if file_sha256(Path(dataset.file)) != data_sha256:
        mend = f"make it with `python generate_data.py --dataset {dataset.name}`"
        raise PipelineError(f"{dataset.file}: is not the table that metrics/ tell of; {mend}")
    parts = load_parts(dataset, config)
    X = pd.concat([parts.train.X, parts.test.X])
    belonging = belonging_of(X, dataset)
    columns = tuple(name for name in X if name not in dataset.unused)
    return Table(
        task=dataset.task,
        metric=dataset.metric,
        seed=config.seed,
        naive=naive,
        parts=parts,
        columns=columns,
        dates=frozenset(name for name in columns if dataset.types.get(name) == "date"),
        belonging=pd.DataFrame(belonging, index=X.index) if belonging else None,
    )


def read_evidence(
    table: Table,
    runs: Mapping[str, StoredRun],
    judged: Mapping[str, Predictions],
    searches: Mapping[str, Search],
) -> dict[str, Evidence]:
    """Every model's evidence by its name, from its run. `judged`: its predictions of the rows that all are judged on;
    `searches`: of tuned models.
    """
    rows = {name: read_rows(run.artifact("predictions.csv")) for name, run in runs.items()}
    unit = table.units_of(first := next(iter(rows.values())))
    numbers = np.arange(len(first)) if unit is None else unit
    without = without_each_group(table.metric, [*judged.values()], numbers, table.seed)
    rivals = []
    for name, column in zip(judged, without.T, strict=True):
        scores = runs[name].metrics
        size, own = int(scores["model_bytes"]), scores[table.metric]
        rivals.append(Rival(name, size, scores[f"train_{table.metric}"], own, column))
    train = table.parts.train
    fold_of = pd.Series(
        np.repeat(np.arange(1, len(train.folds) + 1), [len(validation) for _, validation in train.folds]),
        index=train.X.index[np.concatenate([validation for _, validation in train.folds])],
    )
    found = {}
    for rival in rivals:
        run, words = runs[rival.name], train.y.dtype == object
        path = run.artifact("out_of_fold.csv")
        found[rival.name] = Evidence(
            table=table,
            own=rival,
            others=tuple(other for other in rivals if other is not rival),
            judged=judged[rival.name],
            rows=rows[rival.name],
            pooled=read_predictions(path, table.task, words),
            pooled_rows=(pooled_rows := read_rows(path)),
            fold=fold_of.loc[pooled_rows].to_numpy(),
            importance=read_importance(run),
            search=searches.get(rival.name),
        )
    return found


def read_search(config: Config, dataset: Dataset, model: str, winner: StoredRun, trials: Sequence[StoredRun]) -> Search:
    """The search of a model, from its winner's run and those of its trials."""
    estimator = resolve_recipe(dataset, config, model).estimator
    space = space_of(config.search_spaces.get(model, {}), kind_of(dataset.task))
    sign = METRICS[dataset.metric].sign
    complete = [
        (trial.params, sign * trial.metrics["value"])
        for trial in trials
        if trial.tags["trial_state"] == "COMPLETE" and "value" in trial.metrics
    ]

    def allowed(setting: str, value: Any) -> bool:
        """As scikit-learn's estimators check their settings; nothing is known of others."""
        try:
            estimator(**{setting: value})._validate_params()
        except ValueError:
            return False
        except (AttributeError, TypeError):
            return True
        return True

    return Search(winner.params, space, complete, allowed)
