"""Write runs to the MLflow store: whole or not at all, and one run a result."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pandas.util import hash_pandas_object
from sklearn.pipeline import Pipeline

from pipeline.console import PipelineError
from pipeline.files import file_sha256
from pipeline.store.connect import database_of, experiment_id, locked_store
from pipeline.store.leftovers import remove_leftovers, writer
from pipeline.store.models import log_model, shipped_sha256
from pipeline.store.runs import HASHES, experiments_of, newest_run, search_runs
from pipeline.store.source import source_tags
from pipeline.store.sqlite import wait_until_writable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

# The tags that say what a run is a result of.
IDENTITY = ("stage", "model_type", "data_sha256", "params_sha256")
# What two runs of the same result differ in. Other figures agree but for last digits, as threads add in any order.
MEASURED = ("fit_seconds", "model_bytes")
RELATIVE, ABSOLUTE = 1e-9, 1e-6
# The tag that MLflow shows as a run's description.
NOTE = "mlflow.note.content"
# MLflow's own words for the kinds of columns, and the longest schema that it takes.
KINDS, LONGEST_SCHEMA = {"f": "double", "i": "long", "u": "long", "b": "boolean", "M": "datetime"}, 1_000_000


# The value of a metric after each step.
Curves = dict[str, dict[int, float]]


@dataclass(frozen=True)
class TablePart:
    """The rows of a table that a run used, as MLflow names them: `context` says what for (train, test), `digest` which
    rows of which table, `schema` maps columns to a kind.
    """

    name: str
    digest: str
    file: str
    context: str
    rows: int
    schema: Mapping[str, str]


@dataclass(frozen=True)
class RunRecord:
    """Everything that one run logs. `files` are copied, `texts` maps artifact names to their content, `curves` a metric
    to its value after each step. `inputs` have digests of their own.
    """

    name: str
    tags: Mapping[str, str]
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    files: Sequence[Path] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[TablePart] = ()
    status: str = "FINISHED"
    start: float | None = None
    end: float | None = None


def table_part(name: str, file: str, sha256: str, context: str, X: pd.DataFrame) -> TablePart:
    """A part of the table in a file of that SHA-256; X (n x d) are its rows, of which only the labels are looked at."""
    schema = {str(column): KINDS.get(kind.kind, "string") for column, kind in X.dtypes.items()}
    rows = int(hash_pandas_object(X.index, index=False).sum()) % 16**8
    return TablePart(name, f"{sha256[:8]}-{rows:08x}-{context}", file, context, len(X), schema)


def write_runs(
    client: MlflowClient,
    dataset: str,
    records: Sequence[RunRecord],
    parent: RunRecord | None = None,
    model: Pipeline | None = None,
    example: pd.DataFrame | None = None,
) -> None:
    """Write runs of a dataset, each with the model, or all under a parent run. PipelineError: store or disk refuses.

    A call that was killed after its runs and before its metrics file is made again, and adds no second run: a finished
    run that says the same as a record stands for it, a parent with the same tag `study` is taken up again, and children
    whose names it already has are left out.
    """
    database = database_of(client.tracking_uri)
    with locked_store(client):
        if database is not None:
            wait_until_writable(database)
        experiment = experiment_id(client, dataset, create=True, search=parent is not None)
        assert experiment is not None
        places = experiments_of(client, dataset, "study")
        remove_leftovers(client, places)
        if parent is not None:
            _write_study(client, experiment, places, parent, records)
        else:
            for record in records:
                if not _is_logged(client, dataset, record, model):
                    _write_run(client, experiment, record, model, example)
        if database is None:
            # a request is made again where its answer was lost, and may have begun two runs
            remove_leftovers(client, places)


def _is_logged(client: MlflowClient, dataset: str, record: RunRecord, model: Pipeline | None) -> bool:
    """Whether the newest run of the record's stage, model, data and settings says the same, with all its files, and its
    model reads rows in the same way.
    """
    run = newest_run(client, dataset, *(record.tags[key] for key in IDENTITY))
    if run is not None and model is not None and run.tags.get("shipped_sha256") != shipped_sha256(model[0].columns):
        return False
    if run is None or run.params != {name: str(value) for name, value in record.params.items()}:
        return False
    wanted = {name: value for name, value in record.metrics.items() if name not in MEASURED}
    found = [run.metrics.get(name, np.inf) for name in wanted]
    if not np.allclose(found, list(wanted.values()), RELATIVE, ABSOLUTE, equal_nan=True):
        return False
    try:
        run.check([*(path.name for path in record.files), *record.texts])
        for name, text in record.texts.items():
            # a table of other columns, as an earlier version wrote it, cannot be read
            if name.endswith(".csv") and columns_of(run.artifact(name).read_text(encoding="utf-8")) != columns_of(text):
                return False
    except PipelineError:
        return False
    for tag, value in record.tags.items():
        # other code may have found the same: the run is that code's too
        if run.tags.get(tag) != value:
            client.set_tag(run.run_id, tag, value)
    known, hashes = json.loads(run.tags.get(HASHES, "{}")), hashes_of(record)
    if changed := {name for name, sha256 in hashes.items() if known.get(name) != sha256}:
        # plots and importances of other code: the run has the latest
        files = [path for path in record.files if path.name in changed]
        texts = {name: text for name, text in record.texts.items() if name in changed}
        _log_files(client, run.run_id, files, texts)
        client.set_tag(run.run_id, HASHES, json.dumps(known | hashes))
    return True


def hashes_of(record: RunRecord) -> dict[str, str]:
    """The SHA-256 of each file and text, by the name of its artifact."""
    texts = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in record.texts.items()}
    return {path.name: file_sha256(path) for path in record.files} | texts


def columns_of(table: str) -> str:
    """The first line of a CSV text."""
    return table.partition("\n")[0]


def _write_study(
    client: MlflowClient, experiment: str, places: Sequence[str], parent: RunRecord, trials: Sequence[RunRecord]
) -> None:
    studies = search_runs(client, places, "tags.stage = 'study'")
    known = [run for run in studies if run.data.tags["study"] == parent.tags["study"]]
    if known:
        # the study goes on where it is
        experiment, parent_id = known[0].info.experiment_id, known[0].info.run_id
        if known[0].data.metrics != dict(parent.metrics):
            # and has more trials than before
            _log_figures(client, parent_id, replace(parent, params={}), int(time.time() * 1000), parent.tags)
    else:
        parent_id = _write_run(client, experiment, parent)
    written = search_runs(client, [experiment], f"tags.`mlflow.parentRunId` = '{parent_id}'")
    names = {run.info.run_name for run in written}
    for trial in trials:
        if trial.name not in names:
            _write_run(client, experiment, replace(trial, tags={**trial.tags, "mlflow.parentRunId": parent_id}))


def _write_run(
    client: MlflowClient,
    experiment: str,
    record: RunRecord,
    model: Pipeline | None = None,
    example: pd.DataFrame | None = None,
) -> str:
    """Write one run, which is RUNNING until it is whole; returns its id."""
    end = record.end or time.time()
    start, ended = int((record.start or end) * 1000), int(end * 1000)
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(start / 1000))
    tags = {**source_tags(), **record.tags, "timestamp": moment}
    if database_of(client.tracking_uri) is None:
        tags["writer"] = writer()
    if hashes := hashes_of(record):
        tags[HASHES] = json.dumps(hashes)
    run = client.create_run(experiment, start_time=start, run_name=record.name, tags=tags).info
    leading = {}
    if model is not None and example is not None:
        leading = log_model(client, run, f"{record.tags['dataset']}-{record.name}", record.params, model, example)
    _log_figures(client, run.run_id, record, ended, leading)
    if record.inputs:
        client.log_inputs(run.run_id, [_dataset_input(part) for part in record.inputs])
    _log_files(client, run.run_id, record.files, record.texts)
    client.set_terminated(run.run_id, record.status, ended)
    return str(run.run_id)


def _log_files(client: MlflowClient, run_id: str, files: Sequence[Path], texts: Mapping[str, str]) -> None:
    for path in files:
        client.log_artifact(run_id, str(path))
    for name, text in texts.items():
        client.log_text(run_id, text, name)


def _dataset_input(part: TablePart) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    columns = [{"name": name, "type": kind, "required": True} for name, kind in part.schema.items()]
    schema: str | None = json.dumps({"mlflow_colspec": columns})
    if len(schema or "") > LONGEST_SCHEMA:
        schema = None
    profile = json.dumps({"num_rows": part.rows, "num_elements": part.rows * len(part.schema)})
    source = json.dumps({"uri": part.file})
    found = Dataset(part.name, part.digest, "local", source, schema, profile)
    return DatasetInput(found, [InputTag("mlflow.data.context", part.context)])


def _log_figures(client: MlflowClient, run_id: str, record: RunRecord, moment: int, tags: Mapping[str, str]) -> None:
    """Log a record's params and metrics, and tags, in one request; `moment` in milliseconds since 1970."""
    from mlflow.entities import Metric, Param, RunTag

    model_id = tags.get("model_id")
    points = [(name, value, 0) for name, value in record.metrics.items()]
    points += [(name, value, step) for name, curve in record.curves.items() for step, value in curve.items()]
    client.log_batch(
        run_id,
        [Metric(name, value, moment, step, model_id) for name, value, step in points],
        [Param(name, str(value)) for name, value in record.params.items()],
        [RunTag(name, value) for name, value in tags.items()],
    )
