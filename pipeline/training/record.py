"""The MLflow run of an assessed model, with its plots, its predictions and the model."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.pipeline import Pipeline

from pipeline.files import write_atomic
from pipeline.metrics import scores
from pipeline.serving.model import example_rows, served
from pipeline.store.connect import experiment_name
from pipeline.store.predictions import predictions_csv
from pipeline.store.write import NOTE, RunRecord, table_part, write_runs
from pipeline.tables.read import source_columns
from pipeline.tables.split import Parts, Rows
from pipeline.training.assess import Assessment, code_sha256
from pipeline.training.fit import validated_rows
from pipeline.training.importance import importances

if TYPE_CHECKING:
    from mlflow import MlflowClient


EXAMPLE_ROWS = 5


def log_run(
    client: MlflowClient,
    fitted: Assessment,
    parts: Parts,
    name: str,
    tags: Mapping[str, str],
    folder: Path,
    started: float,
    file: str,
) -> None:
    """Write the plots of an assessed model into the folder, and its MLflow run with plots, predictions and model.

    Args:
        tags: of the run; the tag "dataset" is the name of its experiment.
        started: when the work on it began, in seconds since 1970.
        file: of the table.
    """
    recipe = fitted.recipe
    importance = importances(fitted.model, recipe, parts.test)
    plots = save_plots(fitted, importance, f"{tags['dataset']}: {name}", folder)
    metrics = {**fitted.score, "fit_seconds": fitted.fit_seconds, "model_bytes": pickled_bytes(fitted.model)}
    for prefix, values in (("train", fitted.train), ("test", fitted.test), ("cv", fitted.cv)):
        metrics |= {f"{prefix}_{metric}": value for metric, value in values.items()}
    for metric, (low, high) in fitted.interval.items():
        metrics |= {f"{metric}_low": low, f"{metric}_high": high}
    params = {**fitted.params, "model_type": recipe.model, "estimator": recipe.label}
    if hasattr(fitted.model[-1], "threshold"):
        params["threshold"] = fitted.model[-1].threshold
    record = RunRecord(
        name=name,
        tags={
            **tags,
            "model_type": recipe.model,
            "code_sha256": code_sha256(),
            NOTE: description(fitted, parts, tags, folder),
        },
        params=params,
        metrics=metrics,
        curves=fold_scores(fitted, parts.train),
        files=plots,
        texts={
            "feature_importance.json": json.dumps(importance),
            "predictions.csv": predictions_csv(fitted.predictions, fitted.rows),
            "out_of_fold.csv": predictions_csv(fitted.pooled, fitted.pooled_rows),
        },
        inputs=[
            table_part(tags["dataset"], file, tags["data_sha256"], context, rows.X)
            for context, rows in (("train", parts.train), ("test", parts.test))
        ],
        start=started,
    )
    columns = source_columns(recipe.types, recipe.reading, parts.train.X)
    model = served(fitted.model, columns, parts.words)
    example = example_rows(parts.train.X.head(EXAMPLE_ROWS), model)
    write_runs(client, tags["dataset"], [record], model=model, example=example)


def description(fitted: Assessment, parts: Parts, tags: Mapping[str, str], folder: Path) -> str:
    """What the run is, in Markdown."""
    recipe = fitted.recipe
    low, high = fitted.interval[recipe.metric]
    judged = "cross-validated over all rows" if parts.whole else "on the test part"
    trials = experiment_name(tags["dataset"], search=True)
    search = f" Its settings were found in the experiment {trials}." if tags["stage"] == "tuned" else ""
    return (
        f"{recipe.label}, {recipe.metric} **{fitted.score[recipe.metric]:.4f}** [{low:.4f}, {high:.4f}] {judged} "
        f"({len(fitted.rows):,} rows; 95 % interval), {fitted.cv[recipe.metric]:.4f} cross-validated on the training "
        f"part. Plots: `{folder.as_posix()}/`, beside all models: `reports/comparison_report.html`.{search}"
    )


def fold_scores(fitted: Assessment, rows: Rows) -> dict[str, dict[int, float]]:
    """The metrics `fold_<metric>` of the out-of-fold predictions, by fold from 1; NaN and folds that lack a class are
    left out.
    """
    curves: dict[str, dict[int, float]] = {}
    judged = validated_rows(rows.folds)
    for number, (_, validation) in enumerate(rows.folds, 1):
        part = fitted.pooled.of(np.searchsorted(judged, np.sort(validation)))
        if fitted.recipe.task != "regression" and len(np.unique(part.actual)) < len(np.unique(fitted.pooled.actual)):
            continue
        for metric, value in scores(fitted.recipe.task, part).items():
            if np.isfinite(value):
                curves.setdefault(f"fold_{metric}", {})[number] = value
    return curves


def save_plots(fitted: Assessment, importance: Mapping[str, float], title: str, folder: Path) -> list[Path]:
    """Write feature_importance, predictions_plot and diagnostics PNGs into the folder; returns their paths."""
    from pipeline.plots.run import diagnostics, feature_importance, predictions_plot

    figures = {
        "feature_importance": feature_importance(importance, title, fitted.recipe.metric),
        "predictions_plot": predictions_plot(fitted.predictions, title, fitted.recipe.task),
        "diagnostics": diagnostics(fitted.predictions, title, fitted.recipe.task),
    }
    for name, figure in figures.items():
        write_atomic(folder / f"{name}.png", partial(figure.savefig, dpi=110, format="png"))
    return [folder / f"{name}.png" for name in figures]


def pickled_bytes(model: Pipeline) -> int:
    """The size of a model's pickle, which is not held in memory: a forest on millions of rows takes gigabytes."""
    counter = _Counter()
    pickle.dump(model, counter)
    return counter.size


class _Counter:
    """A file that forgets what is written, but not how much."""

    size = 0

    def write(self, data: bytes) -> int:
        self.size += len(data)
        return len(data)
