"""The model registry: versions, champion, challenger and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.console import PipelineError
from pipeline.store.connect import database_of
from pipeline.store.runs import StoredRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel


def run_with_alias(client: MlflowClient, name: str, alias: str) -> tuple[str, StoredRun] | None:
    """The version of a registered model that carries the alias, and its run; None where there is none."""
    model = _registered(client, name)
    version = None if model is None else model.aliases.get(alias)
    return None if version is None else (str(version), _run_of_version(client, name, str(version)))


def register(client: MlflowClient, name: str, run: StoredRun, tags: Mapping[str, str], texts: Mapping[str, str]) -> str:
    """The version of the registered model `name` that is this run's model; a new one, with the tags, where it has none
    yet. `texts` become artifacts of its run.
    """
    from mlflow.exceptions import MlflowException

    if _registered(client, name) is None:
        try:
            client.create_registered_model(name)
        except MlflowException as error:
            # by another machine, or by a request whose answer was lost
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.run_id == run.run_id:
            return str(version.version)
    # where the files are now, which is not what the database says of a project that was moved
    source = run.model_file().parent.as_uri()
    if database_of(run.store) is None:
        source = f"models:/{run.tags['model_id']}"
    else:
        # MLflow's own temporary files, where a killed call was writing an artifact
        for left in run.artifact("").glob(".artifact.uploading.*"):
            left.unlink()
    for artifact, text in texts.items():
        client.log_text(run.run_id, text, artifact)
    created = client.create_model_version(
        name, source, run_id=run.run_id, model_id=run.tags["model_id"], tags=dict(tags)
    )
    return str(created.version)


def set_champion(client: MlflowClient, name: str, version: str) -> None:
    """Move the alias `champion`; the version that had it is remembered for a rollback."""
    model = _registered(client, name)
    assert model is not None
    if "champion" in model.aliases:
        former = [*model.tags.get("former_champions", "").split(), str(model.aliases["champion"])]
        # a call that was killed after this line leaves a tag that the next call finds and does not lengthen
        client.set_registered_model_tag(name, "former_champions", " ".join(dict.fromkeys(former)))
    client.set_registered_model_alias(name, "champion", version)
    if str(model.aliases.get("challenger")) == version:
        client.delete_registered_model_alias(name, "challenger")


def set_challenger(client: MlflowClient, name: str, version: str) -> None:
    client.set_registered_model_alias(name, "challenger", version)


def former_champion(client: MlflowClient, name: str) -> tuple[str, StoredRun] | None:
    """The version that was champion before the present one, and its run; None where there is none."""
    model = _registered(client, name)
    former = [] if model is None else model.tags.get("former_champions", "").split()
    return (former[-1], _run_of_version(client, name, former[-1])) if former else None


def restore_champion(client: MlflowClient, name: str, version: str) -> None:
    """Put the former champion's alias back, and mark the version that had it, so that it is not promoted again."""
    model = _registered(client, name)
    assert model is not None
    if str(model.aliases["champion"]) != version:
        client.set_model_version_tag(name, str(model.aliases["champion"]), "rolled_back", "true")
        client.set_registered_model_alias(name, "champion", version)
    # a call that was killed before this line leaves the version among the former ones, where the next call finds it
    former = model.tags["former_champions"].split()[:-1]
    client.set_registered_model_tag(name, "former_champions", " ".join(former))


def was_rolled_back(client: MlflowClient, name: str, version: str) -> bool:
    return "rolled_back" in client.get_model_version(name, version).tags


def _registered(client: MlflowClient, name: str) -> RegisteredModel | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _run_of_version(client: MlflowClient, name: str, version: str) -> StoredRun:
    from mlflow.exceptions import MlflowException

    try:
        run_id = client.get_model_version(name, version).run_id
        assert run_id is not None
        return StoredRun(client, client.get_run(run_id), name)
    except MlflowException:
        raise PipelineError(f"{name}: version {version} has no run any more; delete it in `make ui`") from None
