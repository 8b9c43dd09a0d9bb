"""The file of a fitted model: logged with all that serving needs, and loaded only where it is the same still."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from sklearn.pipeline import Pipeline

from pipeline.console import PipelineError
from pipeline.files import file_sha256

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import RunInfo
    from mlflow.models import ModelSignature


def check_model(path: Path, sha256: str | None) -> Path:
    """The path; PipelineError where the file is not the one that was logged. A pickle can run any code."""
    if file_sha256(path) != sha256:
        raise PipelineError(f"{path}: is not the file that was logged (its SHA-256 differs); train again")
    return path


def load_model(path: Path, sha256: str | None) -> Pipeline:
    """The model in a file, which is checked first."""
    with check_model(path, sha256).open("rb") as file:
        return pickle.load(file)


def log_model(
    client: MlflowClient, run: RunInfo, params: Mapping[str, str], model: Pipeline, example: pd.DataFrame
) -> dict[str, str]:
    """Log a run's fitted Pipeline (`model.pkl`) with signature, input example and the library versions that it needs;
    returns the run's tags that lead to it: model_id, model_sha256.

    As mlflow.sklearn.log_model, without its global store and run.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model
    from mlflow.sklearn import save_model

    libraries = ["scikit-learn", "numpy", "scipy", "pandas"]
    if b"skrub" in pickle.dumps(model[:-1]):
        libraries.append("skrub")
    logged = client.create_logged_model(run.experiment_id, "model", run.run_id, params=dict(params))
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "model"
        save_model(
            model,
            str(files),
            mlflow_model=Model(
                logged.artifact_location, run.run_id, model_uuid=logged.model_id, model_id=logged.model_id
            ),
            serialization_format="pickle",
            signature=_signature(model, example),
            input_example=example,
            pip_requirements=[f"{name}=={version(name)}" for name in libraries],
        )
        client.log_model_artifacts(logged.model_id, str(files))
        sha256 = file_sha256(files / "model.pkl")
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return {"model_id": logged.model_id, "model_sha256": sha256}


def _signature(model: Pipeline, example: pd.DataFrame) -> ModelSignature:
    """Numbers and texts, each of which may be missing."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    kinds = {str(name): "double" if example[name].dtype == "float64" else "string" for name in example}
    output = {"f": "double", "i": "long"}.get(model.predict(example).dtype.kind, "string")
    columns: Any = [ColSpec(kind, name, required=False) for name, kind in kinds.items()]
    return ModelSignature(Schema(columns), Schema([ColSpec(output, "prediction")]))
