"""The fitted models that an ensemble is selected from, read from their runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.console import PipelineError
from pipeline.settings import Config, Dataset, command_of, stage_of
from pipeline.tables.split import Parts
from pipeline.training.assess import Assessment
from pipeline.training.build import resolve_recipe
from pipeline.training.record import logged

if TYPE_CHECKING:
    from mlflow import MlflowClient


def read_members(
    dataset: Dataset,
    config: Config,
    parts: Parts,
    data_sha256: str,
    candidates: Mapping[str, Mapping[str, Any]],
    stores: Sequence[MlflowClient],
) -> dict[str, Assessment]:
    """The candidates, by name with their part of the committed metrics, that have what is averaged: numbers, or
    probabilities of classes. PipelineError: one has no run of the present code in any of the stores.
    """
    members, mends = {}, []
    for name, facts in candidates.items():
        stage, model = stage_of(name)
        recipe = replace(resolve_recipe(dataset, config, model), judged_rows=parts.judged_rows)
        hashes = {"data_sha256": data_sha256, "params_sha256": facts["params_sha256"]}
        tags = {"dataset": dataset.name, "stage": stage, **hashes}
        runs = (logged(client, recipe, parts, tags, facts.get("params")) for client in stores)
        member = next((run for run in runs if run is not None), None)
        if member is None:
            mends.append(f"`{command_of(dataset.name, name)}`")
        elif dataset.task == "regression" or member.pooled.score is not None or member.pooled.shares is not None:
            members[name] = member
    if mends:
        words = "models of metrics/ have no MLflow run of the present code"
        raise PipelineError(f"{dataset.name}: {words}; make them with {', '.join(mends)}")
    return members
