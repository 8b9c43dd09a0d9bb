"""A tiny project in a temporary folder: settings, and tables small enough that every stage takes a moment."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# as many test processes as cores: more threads than that would only wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure

import generate_data
from pipeline.metrics import Predictions
from pipeline.plots import study
from pipeline.store import connect

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
# a shell ignores Ctrl-C in what it starts in the background, and so would every process that a test starts
signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).resolve().parent.parent

PARAMS = {
    "seed": 7,
    "folds": 3,
    "test_size": 0.25,
    "datasets": {
        "houses": {"source": "x.csv", "file": "data/houses.csv", "target": "price", "task": "regression"},
        "customers": {
            "source": "y.csv",
            "file": "data/customers.csv",
            "target": "left",
            "task": "binary",
            "positive": "Yes",
            "metric": "accuracy",
            "drop": ["id"],
            "tune": "forest",
        },
    },
    "models": {
        "forest": {
            "regression": "sklearn.ensemble.RandomForestRegressor",
            "classification": "sklearn.ensemble.RandomForestClassifier",
            "params": {"n_estimators": 20, "max_depth": 6, "n_jobs": 1},
        },
        "gradient_boosting": {
            "regression": "sklearn.ensemble.HistGradientBoostingRegressor",
            "classification": "sklearn.ensemble.HistGradientBoostingClassifier",
            "params": {"max_iter": 10},
        },
        "linear": {
            "regression": "sklearn.linear_model.Ridge",
            "classification": "sklearn.linear_model.LogisticRegression",
            "scale": True,
        },
    },
    "search_spaces": {
        "forest": {"n_estimators": [10, 60], "max_depth": [2, 8], "max_features": [0.2, 1.0]},
        "gradient_boosting": {"max_iter": [5, 20], "learning_rate": {"log": [0.01, 0.5]}},
        "linear": {"classification": {"C": {"log": [0.01, 10.0]}}},
    },
    "tuning": {"trials": 8, "startup_trials": 3, "search_rows": 150},
    "ensemble": {"members": 5},
    "gates": {"customers": [{"metric": "accuracy", "above": 0.6}]},
}


def make_houses(rows: int = 240, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"size": rng.normal(size=rows), "age": rng.integers(0, 50, rows)})
    frame["kind"] = rng.choice(["flat", "villa", "hut"], rows)
    frame["price"] = 2 * frame["size"] + (frame["kind"] == "villa") * 3 + rng.normal(0, 0.3, rows)
    return frame


def make_customers(rows: int = 240, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"id": [f"c{i}" for i in range(rows)], "tenure": rng.integers(1, 72, rows)})
    frame["plan"] = rng.choice(["month", "year"], rows)
    chance = 1 / (1 + np.exp(-(2.0 * (frame["plan"] == "month") - frame["tenure"] / 20)))
    frame["left"] = np.where(rng.random(rows) < chance, "Yes", "No")
    return frame


def take_in(houses: pd.DataFrame | None = None, customers: pd.DataFrame | None = None) -> None:
    """Take the two tables of PARAMS in, from source files in the current folder."""
    (make_houses() if houses is None else houses).to_csv("x.csv", index=False)
    (make_customers() if customers is None else customers).to_csv("y.csv", index=False)
    assert generate_data.main([]) == 0


@pytest.fixture
def binary() -> Predictions:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    score = np.round(np.clip(0.3 * y + rng.random(300) * 0.7, 0, 1), 1)  # rounded: many ties
    return Predictions(y, (score >= 0.5).astype(int), score)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml and two tables, which is the current folder for the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
    (tmp_path / "data").mkdir()
    make_houses().to_csv("data/houses.csv", index=False)
    make_customers().to_csv("data/customers.csv", index=False)
    return tmp_path


SAVE, STUDY_PLOTS, MAKE_TABLES = Figure.savefig, study.PLOTS, connect._make_tables


@pytest.fixture(scope="session", autouse=True)
def _quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Pictures, which most tests wait for and do not look at, are left blank; those marked `pictures` draw them.
    MLflow makes the tables of an empty store once, and every new store begins as a copy.
    """
    empty = tmp_path_factory.mktemp("store") / "db.sqlite"

    def blank(figure: Figure, file: Any, **options: Any) -> None:
        file.write(b"blank") if hasattr(file, "write") else Path(file).write_bytes(b"blank")

    def copy_tables(database: Path) -> None:
        if not empty.exists():
            MAKE_TABLES(empty)
        shutil.copy(empty, database)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", blank)
        patch.setattr(study, "PLOTS", {})
        patch.setattr(connect, "_make_tables", copy_tables)
        yield


@pytest.fixture(autouse=True)
def _pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("pictures"):
        monkeypatch.setattr(Figure, "savefig", SAVE)
        monkeypatch.setattr(study, "PLOTS", STUDY_PLOTS)
