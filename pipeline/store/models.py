"""The file of a fitted model: logged with all that serving needs, and loaded only where it is the same still."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from sklearn.pipeline import Pipeline

from pipeline.console import EXTRAS, PipelineError
from pipeline.files import file_sha256
from pipeline.serving.pyfunc import predictions
from pipeline.tables.columns import Column

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import RunInfo
    from mlflow.models import ModelSignature

PACKAGE = Path(__file__).parent.parent
# What a model needs of this project, which goes with it.
SHIPPED = (
    "__init__.py",
    "console.py",
    "serving/__init__.py",
    "serving/fitted.py",
    "serving/model.py",
    "serving/pyfunc.py",
    "serving/uncertainty.py",
    "tables/__init__.py",
    "tables/columns.py",
    "tables/dates.py",
    "tables/numbers.py",
)
SERVED_BY = "pipeline.serving.pyfunc"


def check_file(path: Path, sha256: str | None) -> Path:
    """The path; PipelineError where the file is not the one that was logged. A model's, a pickle, can run any code."""
    if file_sha256(path) != sha256:
        raise PipelineError(f"{path}: is not the file that was logged (its SHA-256 differs); train again")
    return path


def load_model(path: Path, sha256: str | None) -> Pipeline:
    """The model in a file, which is checked first: one of rows as the source has them."""
    with check_file(path, sha256).open("rb") as file:
        return pickle.load(file)


def shipped_sha256(columns: Mapping[str, Column]) -> str:
    """Hash of the code that goes with a served model, and of what it was told of the source's columns."""
    digest = hashlib.sha256(repr(columns).encode())
    for name in SHIPPED:
        digest.update((PACKAGE / name).read_bytes())
    return digest.hexdigest()


def log_model(
    client: MlflowClient, run: RunInfo, name: str, params: Mapping[str, Any], model: Pipeline, example: pd.DataFrame
) -> dict[str, str]:
    """Log a run's served Pipeline (`model.pkl`) under a name, with signature, input example, the library versions and
    the code that it needs; returns the run's tags that lead to it: model_id, model_sha256, shipped_sha256.

    As mlflow.sklearn.log_model, without its global store and run.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model
    from mlflow.sklearn import save_model

    # also of what is inside of its steps
    used = {type(part).__module__.partition(".")[0] for part in model.get_params().values()}
    libraries = ["scikit-learn", "numpy", "scipy", "pandas", *sorted(used & {"skrub", *EXTRAS})]
    params = {key: str(value) for key, value in params.items()}
    logged = client.create_logged_model(run.experiment_id, name, run.run_id, params=params)
    with tempfile.TemporaryDirectory() as folder:
        files, code = Path(folder) / "model", Path(folder) / PACKAGE.name
        for part in SHIPPED:
            (code / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PACKAGE / part, code / part)
        save_model(
            model,
            str(files),
            mlflow_model=Model(
                logged.artifact_location, run.run_id, model_uuid=logged.model_id, model_id=logged.model_id
            ),
            serialization_format="pickle",
            signature=_signature(model, example),
            input_example=example,
            code_paths=[str(code)],
            pip_requirements=[f"{library}=={version(library)}" for library in libraries],
        )
        described = Model.load(str(files))
        described.flavors["python_function"]["loader_module"] = SERVED_BY
        described.save(str(files / "MLmodel"))
        client.log_model_artifacts(logged.model_id, str(files))
        sha256 = file_sha256(files / "model.pkl")
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return {"model_id": logged.model_id, "model_sha256": sha256, "shipped_sha256": shipped_sha256(model[0].columns)}


def _signature(model: Pipeline, example: pd.DataFrame) -> ModelSignature:
    """What the model answers. Of its rows MLflow is told nothing: it would refuse or convert values, which the model
    itself reads or refuses by column.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    answer = predictions(model, example)
    found = {str(name): answer[name] for name in answer} if isinstance(answer, pd.DataFrame) else {"prediction": answer}
    kinds = {name: {"f": "double", "i": "long"}.get(values.dtype.kind, "string") for name, values in found.items()}
    return ModelSignature(outputs=Schema([ColSpec(kind, name) for name, kind in kinds.items()]))
