"""The model registry: a dataset's versions, its champion and challenger, and the way back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.console import PipelineError
from pipeline.store.connect import database_of
from pipeline.store.runs import StoredRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

# A tag of the registered model: versions that were champion and may be again, the last one at the end.
FORMER = "former_champions"
# A tag of a version, with the version of the champion that it was compared with; its value is the number of the try.
TRY = "try_against_"


@dataclass(frozen=True)
class Try:
    """A version that was compared with a champion, a version too. `number`: of the try on the rows that judged them;
    these are told by hashes of their values in `columns`.
    """

    version: str
    champion: str
    number: int
    columns: Sequence[str]
    rows: Sequence[str]


def register(
    client: MlflowClient,
    name: str,
    run: StoredRun,
    tags: Mapping[str, str],
    texts: Mapping[str, str],
    description: str,
) -> ModelVersion:
    """The version of the registered model `name` that is this run's model; a new one, with the tags and a description
    in Markdown, where it has none yet. `texts` become artifacts of its run. A version with the tag `rolled_back` is not
    to be champion again.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.run_id == run.run_id:
            # one of before there were such texts gets them now
            _log_texts(client, run, {artifact: text for artifact, text in texts.items() if not run.has(artifact)})
            return version
    model_id = run.tags["model_id"]
    server = database_of(run.store) is None
    source = f"models:/{model_id}" if server else run.model_file().parent.as_uri()
    _log_texts(client, run, texts)
    return client.create_model_version(name, source, run.run_id, dict(tags), description=description, model_id=model_id)


def version_of(client: MlflowClient, name: str, run: StoredRun) -> str | None:
    """The version of a registered model that is this run's model; None where it is not registered."""
    versions = client.search_model_versions(f"name = '{name}'")
    return next((str(version.version) for version in versions if version.run_id == run.run_id), None)


def tries_of(client: MlflowClient, name: str) -> list[Try]:
    """Every comparison of a version with a champion. PipelineError: its judged rows are not there any more."""
    found = []
    for version in client.search_model_versions(f"name = '{name}'"):
        for tag, number in version.tags.items():
            if tag.startswith(TRY):
                run, champion = _run_of_version(client, name, str(version.version)), tag.removeprefix(TRY)
                rows = json.loads(run.artifact(_judged_rows(champion)).read_text(encoding="utf-8"))
                found.append(Try(str(version.version), champion, int(number), rows["columns"], rows["rows"]))
    return found


def record_try(client: MlflowClient, name: str, tried: Try) -> None:
    """Keep a comparison before it is made, so that one whose call is killed counts too."""
    rows = json.dumps({"columns": [*tried.columns], "rows": [*tried.rows]})
    _log_texts(client, _run_of_version(client, name, tried.version), {_judged_rows(tried.champion): rows})
    client.set_model_version_tag(name, tried.version, f"{TRY}{tried.champion}", str(tried.number))


def run_with_alias(client: MlflowClient, name: str, alias: str) -> tuple[str, StoredRun] | None:
    """The version of a registered model that carries the alias, and its run; None where there is none."""
    version = _aliases_and_former(client, name)[0].get(alias)
    return None if version is None else (version, _run_of_version(client, name, version))


def former_champion(client: MlflowClient, name: str) -> tuple[str, StoredRun] | None:
    """The version that was champion before the present one, and its run; None where there is none."""
    _, former = _aliases_and_former(client, name)
    return (former[-1], _run_of_version(client, name, former[-1])) if former else None


def set_challenger(client: MlflowClient, name: str, version: str) -> None:
    client.set_registered_model_alias(name, "challenger", version)


def set_champion(client: MlflowClient, name: str, version: str) -> None:
    """Move the alias `champion`; the version that had it is remembered for a rollback."""
    aliases, former = _aliases_and_former(client, name)
    if "champion" in aliases:
        # a call that was killed after this line leaves a tag that the next call finds and does not lengthen
        client.set_registered_model_tag(name, FORMER, " ".join(dict.fromkeys([*former, aliases["champion"]])))
    client.set_registered_model_alias(name, "champion", version)
    if aliases.get("challenger") == version:
        client.delete_registered_model_alias(name, "challenger")


def restore_champion(client: MlflowClient, name: str, version: str) -> None:
    """Put the former champion's alias back, and mark the version that had it, so that it is not promoted again."""
    aliases, former = _aliases_and_former(client, name)
    if aliases["champion"] != version:
        client.set_model_version_tag(name, aliases["champion"], "rolled_back", "true")
        client.set_registered_model_alias(name, "champion", version)
    # a call that was killed before this line leaves the version among the former ones, where the next call finds it
    client.set_registered_model_tag(name, FORMER, " ".join(former[:-1]))


def _judged_rows(champion: str) -> str:
    """The name of the artifact with the rows of a comparison with that version."""
    return f"judged_rows_against_{champion}.json"


def _log_texts(client: MlflowClient, run: StoredRun, texts: Mapping[str, str]) -> None:
    """Write artifacts of a run, by name."""
    if database_of(run.store) is not None:
        # MLflow's own temporary files, where a killed call was writing an artifact
        for left in run.artifact("").glob(".artifact.uploading.*"):
            left.unlink()
    for artifact, text in texts.items():
        client.log_text(run.run_id, text, artifact)


def _aliases_and_former(client: MlflowClient, name: str) -> tuple[dict[str, str], list[str]]:
    """The version of each alias, and the former champions; both empty where there is no model of that name."""
    found = client.search_registered_models(f"name = '{name}'")
    aliases = {alias: str(version) for model in found for alias, version in model.aliases.items()}
    return aliases, [version for model in found for version in model.tags.get(FORMER, "").split()]


def _run_of_version(client: MlflowClient, name: str, version: str) -> StoredRun:
    from mlflow.exceptions import MlflowException

    try:
        return StoredRun(client, client.get_run(str(client.get_model_version(name, version).run_id)))
    except MlflowException:
        raise PipelineError(f"{name}: version {version} has no run any more; delete it in `make ui`") from None
