"""The MLflow run of an assessed model."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.files import write_atomic
from pipeline.settings import Config, Dataset
from pipeline.store.predictions import predictions_csv
from pipeline.store.runs import RunRecord, write_runs
from pipeline.tables.split import Parts
from pipeline.training.assess import Assessment, code_sha256
from pipeline.training.importance import importances

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sklearn.pipeline import Pipeline

EXAMPLE_ROWS = 5


def save_plots(
    assessment: Assessment,
    importance: Mapping[str, float],
    dataset: Dataset,
    title: str,
    folder: Path,
) -> list[Path]:
    """Write feature_importance, predictions_plot and diagnostics PNGs into the folder; returns their paths."""
    from pipeline.plots.run import diagnostics, feature_importance, predictions_plot

    figures = {
        "feature_importance": feature_importance(importance, title, dataset.metric),
        "predictions_plot": predictions_plot(assessment.predictions, title, dataset.task),
        "diagnostics": diagnostics(assessment.predictions, title, dataset.task),
    }
    paths = []
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        write_atomic(path, partial(figure.savefig, dpi=110, format="png"))
        paths.append(path)
    return paths


def log_run(
    assessment: Assessment,
    dataset: Dataset,
    config: Config,
    parts: Parts,
    client: MlflowClient,
    name: str,
    tags: Mapping[str, str],
    folder: Path,
    started: float,
) -> None:
    """Write the plots of an assessed model into the folder, and its MLflow run with plots, predictions and model."""
    importance = importances(assessment, dataset, config, parts)
    plots = save_plots(assessment, importance, dataset, f"{dataset.name}: {name}", folder)
    metrics = {**assessment.score, "fit_seconds": assessment.fit_seconds}
    metrics["model_bytes"] = pickled_bytes(assessment.model)
    for prefix, values in (("train", assessment.train), ("test", assessment.test), ("cv", assessment.cv)):
        metrics.update({f"{prefix}_{metric}": value for metric, value in values.items()})
    for metric, (low, high) in assessment.interval.items():
        metrics.update({f"{metric}_low": low, f"{metric}_high": high})
    params = {**assessment.params, "model_type": tags["model_type"], "estimator": assessment.estimator}
    threshold = getattr(assessment.model[-1], "threshold", None)
    record = RunRecord(
        name=name,
        tags={**tags, "code_sha256": code_sha256()},
        params=params if threshold is None else {**params, "threshold": threshold},
        metrics=metrics,
        files=plots,
        texts={
            "feature_importance.json": json.dumps(importance),
            "predictions.csv": predictions_csv(assessment.predictions, assessment.rows),
        },
        start=started,
    )
    example = parts.X_train.head(EXAMPLE_ROWS)
    write_runs(client, dataset.name, [record], model=assessment.model, example=example)


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
