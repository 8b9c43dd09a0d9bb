"""The MLflow run of an assessed model, with its plots, its predictions and the model: written, and read again."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import estimator_html_repr

from pipeline.console import PipelineError
from pipeline.files import read_json, write_atomic
from pipeline.metrics import metrics_of, scores
from pipeline.serving.model import example_rows, served
from pipeline.settings import NO_ROWS_KEPT
from pipeline.store.connect import experiment_name
from pipeline.store.models import shipped_sha256
from pipeline.store.predictions import predictions_csv, read_predictions, read_rows
from pipeline.store.runs import newest_run
from pipeline.store.write import NOTE, Curves, RunRecord, table_part, write_runs
from pipeline.tables.columns import Column
from pipeline.tables.read import source_columns
from pipeline.tables.split import Parts, Rows
from pipeline.training.assess import Assessment, code_sha256, naive_predictions
from pipeline.training.build import Recipe, columns_by_kind
from pipeline.training.fit import validated_rows
from pipeline.training.importance import importances
from pipeline.worth import decision_words, run_figures

if TYPE_CHECKING:
    from mlflow import MlflowClient


EXAMPLE_ROWS = 5
PLOTS = ("feature_importance", "predictions_plot", "diagnostics")
IMPORTANCE, PREDICTIONS, OUT_OF_FOLD = "feature_importance.json", "predictions.csv", "out_of_fold.csv"
IMPORTANCE_ERROR = "feature_importance_error.json"
UNCERTAINTY = "uncertainty.json"


def log_run(
    client: MlflowClient,
    fitted: Assessment,
    parts: Parts,
    name: str,
    tags: Mapping[str, str],
    folder: Path,
    started: float,
    file: str,
    machine: Curves | None = None,
) -> None:
    """Write the MLflow run of an assessed model, with plots, predictions and model; then its plots into the folder, so
    that they stand for a run that is there.

    Args:
        tags: of the run; the tag "dataset" is the name of its experiment.
        started: when the work on it began, in seconds since 1970.
        file: of the table.
        machine: what it did meanwhile, see system_metrics.
    """
    recipe, model = fitted.recipe, fitted.model
    found = importances(model, recipe, parts.test)
    importance = {column: value for column, (value, _) in found.items()}
    metrics = {**fitted.score, "fit_seconds": fitted.fit_seconds, "model_bytes": pickled_bytes(model)}
    for prefix, values in (("train", fitted.train), ("test", fitted.test), ("cv", fitted.cv)):
        metrics |= {f"{prefix}_{metric}": value for metric, value in values.items()}
    for metric, (low, high) in fitted.interval.items():
        metrics |= {f"{metric}_low": low, f"{metric}_high": high}
    for metric, (low, high) in fitted.over_naive.items():
        metrics |= {f"{metric}_over_naive_low": low, f"{metric}_over_naive_high": high}
    for kind in {"calibration_error", "coverage"} & fitted.uncertainty.keys():
        low, high = fitted.uncertainty["interval"]
        metrics |= {kind: fitted.uncertainty[kind], f"{kind}_low": low, f"{kind}_high": high}
    params = {**fitted.params, "model_type": recipe.model, "estimator": recipe.label}
    if hasattr(model[-1], "threshold"):
        params["threshold"] = model[-1].threshold
    decision = fitted.decision
    metrics |= run_figures(decision) if decision else {}
    record = RunRecord(
        name=name,
        tags={
            **tags,
            "model_type": recipe.model,
            "code_sha256": code_sha256(recipe.estimator),
            NOTE: description(fitted, parts, tags, folder, decision),
        },
        params=params,
        metrics=metrics,
        curves={**fold_scores(fitted, parts.train), **(machine or {})},
        texts={
            "model.html": picture(model),
            IMPORTANCE: json.dumps(importance),
            IMPORTANCE_ERROR: json.dumps({column: error for column, (_, error) in found.items()}),
            PREDICTIONS: predictions_csv(fitted.predictions, fitted.rows),
            OUT_OF_FOLD: predictions_csv(fitted.pooled, fitted.pooled_rows),
            UNCERTAINTY: json.dumps(fitted.uncertainty),
        },
        inputs=[
            table_part(tags["dataset"], file, tags["data_sha256"], context, rows.X)
            for context, rows in (("train", parts.train), ("test", parts.test))
        ],
        start=started,
    )
    model = served(model, columns_of_source(recipe, parts), parts.words)
    example = example_rows(parts.train.X.head(EXAMPLE_ROWS), model)
    with TemporaryDirectory() as drawn:
        plots = save_plots(fitted, importance, f"{tags['dataset']}: {name}", parts.words, Path(drawn))
        write_runs(client, tags["dataset"], [replace(record, files=plots)], model=model, example=example)
        copy_plots(plots, folder)


def picture(model: Pipeline) -> str:
    """scikit-learn's picture of the steps, as HTML; of a mean of models one of each, as one of all takes seconds."""
    members = {
        name.rpartition("__")[2]: part.estimator
        for name, part in model.get_params().items()
        if isinstance(part, FrozenEstimator)
    }
    if not members:
        return estimator_html_repr(model)
    return "\n".join(f"<h2>{name}</h2>\n{estimator_html_repr(member)}" for name, member in members.items())


def description(
    fitted: Assessment,
    parts: Parts,
    tags: Mapping[str, str],
    folder: Path,
    decision: Mapping[str, Any] | None,
) -> str:
    """What the run is, in Markdown."""
    recipe = fitted.recipe
    low, high = fitted.interval[recipe.metric]
    judged = "cross-validated over all rows" if parts.whole else "on the test part"
    kept = f", {NO_ROWS_KEPT}" if parts.whole else ""
    trials = experiment_name(tags["dataset"], search=True)
    search = f" Its settings were found in the experiment {trials}." if tags["stage"] == "tuned" else ""
    worth = f" {decision_words(decision, str(parts.words[-1]))}" if decision else ""
    return (
        f"{recipe.label}, {recipe.metric} **{fitted.score[recipe.metric]:.4f}** [{low:.4f}, {high:.4f}] {judged} "
        f"({len(fitted.rows):,} rows{kept}; 95 % interval), {fitted.cv[recipe.metric]:.4f} cross-validated on the "
        f"training part.{worth} Plots: `{folder.as_posix()}/`, beside all models: "
        f"`reports/comparison_report.html`.{search}"
    )


def fold_scores(fitted: Assessment, rows: Rows) -> Curves:
    """The metrics `fold_<metric>` of the out-of-fold predictions, by fold from 1; NaN and folds that lack a class are
    left out.
    """
    curves: Curves = {}
    judged = validated_rows(rows.folds)
    for number, (_, validation) in enumerate(rows.folds, 1):
        part = fitted.pooled.of(np.searchsorted(judged, np.sort(validation)))
        if fitted.recipe.task != "regression" and len(np.unique(part.actual)) < len(np.unique(fitted.pooled.actual)):
            continue
        for metric, value in scores(fitted.recipe.task, part).items():
            if np.isfinite(value):
                curves.setdefault(f"fold_{metric}", {})[number] = value
    return curves


def logged(
    client: MlflowClient,
    recipe: Recipe,
    parts: Parts,
    tags: Mapping[str, str],
    overrides: Mapping[str, Any] | None = None,
) -> Assessment | None:
    """What the newest run of a model, in the stage and with the hashes that the tags name, has found; None where there
    is none, or it is of other settings, code or tags, not whole, or its files are not what was logged.
    """
    run = newest_run(client, tags["dataset"], tags["stage"], recipe.model, tags["data_sha256"], tags["params_sha256"])
    if run is None:
        return None
    params = {**recipe.settings, **(overrides or {})}
    wanted = {name: str(value) for name, value in params.items()} | {
        "model_type": recipe.model,
        "estimator": recipe.label,
    }
    shipped = shipped_sha256(columns_of_source(recipe, parts))
    code = {"code_sha256": code_sha256(recipe.estimator), "shipped_sha256": shipped}
    # a threshold is found by the fit
    if wanted != {name: value for name, value in run.params.items() if name in wanted or name != "threshold"}:
        return None
    if not {**tags, **code}.items() <= run.tags.items():
        return None

    def scored(prefix: str) -> dict[str, float]:
        return {metric: run.metrics[f"{prefix}{metric}"] for metric in metrics_of(recipe.task)}

    def bounds(ending: str) -> dict[str, list[float]]:
        names = metrics_of(recipe.task)
        return {name: [run.metrics[f"{name}{ending}_{end}"] for end in ("low", "high")] for name in names}

    plots, words = [f"{name}.png" for name in PLOTS], parts.train.y.dtype == object
    kept = "".join(parts.train.belonging)
    try:
        run.check([*plots, IMPORTANCE, IMPORTANCE_ERROR, PREDICTIONS, OUT_OF_FOLD, UNCERTAINTY])
        predictions, pooled = run.artifact(PREDICTIONS), run.artifact(OUT_OF_FOLD)
        judged = read_predictions(predictions, recipe.task, words, kept)
        return Assessment(
            recipe=recipe,
            load=run.load_model,
            params=params,
            cv=scored("cv_"),
            train=scored("train_"),
            test=scored("test_"),
            score=scored(""),
            interval=bounds(""),
            naive=scores(recipe.task, naive_predictions(recipe.task, parts.train.y, judged)),
            over_naive=bounds("_over_naive"),
            predictions=judged,
            rows=read_rows(predictions),
            pooled=read_predictions(pooled, recipe.task, words, kept),
            pooled_rows=read_rows(pooled),
            uncertainty=read_json(run.artifact(UNCERTAINTY), "train again"),
            fit_seconds=run.metrics["fit_seconds"],
            plots=[run.artifact(name) for name in plots],
        )
    except (PipelineError, KeyError):
        return None


def copy_plots(plots: Sequence[Path], folder: Path) -> None:
    for plot in plots:
        write_atomic(folder / plot.name, partial(shutil.copyfile, plot))


def columns_of_source(recipe: Recipe, parts: Parts) -> dict[str, Column]:
    """How a model's served Pipeline reads the columns that it learns from."""
    needed = [*chain.from_iterable(columns_by_kind(recipe, parts.train.X).values())]
    columns = source_columns(recipe.types, recipe.reading, parts.train.X)
    return {name: column for name, column in columns.items() if name in needed}


def save_plots(
    fitted: Assessment, importance: Mapping[str, float], title: str, words: Sequence[Any], folder: Path
) -> list[Path]:
    """Write feature_importance, predictions_plot and diagnostics PNGs into the folder; returns their paths. `words`: of
    the target's two classes, for 0 and 1.
    """
    from pipeline.plots.run import diagnostics, feature_importance, predictions_plot

    figures = (
        feature_importance(importance, title, fitted.recipe.metric),
        predictions_plot(fitted.predictions, title, fitted.recipe.task, words),
        diagnostics(fitted.predictions, title, fitted.recipe.task, words),
    )
    for name, figure in zip(PLOTS, figures, strict=True):
        write_atomic(folder / f"{name}.png", partial(figure.savefig, dpi=110, format="png"))
    return [folder / f"{name}.png" for name in PLOTS]


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
