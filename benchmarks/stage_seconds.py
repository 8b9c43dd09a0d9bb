"""Run train.py or tune_hyperparameters.py in this process, and say where its seconds went.

    python -m benchmarks.stage_seconds train --dataset customer_churn

Prints one line of JSON at the end: seconds of imports, of fits and predictions, of the rest, and of tracking a trial.
Libraries are imported before the stage begins; in a plain run they are imported on the way.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from pipeline.console import exit_code

LIBRARIES = (
    "pandas",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.impute",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "mlflow",
    "mlflow.sklearn",
    "matplotlib.figure",
    "pipeline.assessment",
    "pipeline.plots",
)
TUNING_LIBRARIES = ("optuna", "optuna.visualization.matplotlib", "plotly.graph_objects", "plotly.io")

seconds: dict[str, float] = {"fit_predict": 0.0, "tracking": 0.0}
running: set[str] = set()


def timed(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its seconds added up; a call inside another one of its kind counts once."""

    def timing(*args: Any, **options: Any) -> Any:
        if kind in running:
            return function(*args, **options)
        running.add(kind)
        started = time.perf_counter()
        try:
            return function(*args, **options)
        finally:
            seconds[kind] += time.perf_counter() - started
            running.discard(kind)

    return timing


def main() -> int:
    script = {"train": "train", "tune": "tune_hyperparameters"}[sys.argv[1]]
    started = time.perf_counter()
    for name in (*LIBRARIES, *(TUNING_LIBRARIES if script != "train" else ())):
        importlib.import_module(name)
    stage: Any = importlib.import_module(script)
    imports = time.perf_counter() - started

    # before the modules that take these functions from here are imported
    from pipeline.store import runs
    from pipeline.training import fit

    for name in ("fit", "predict", "out_of_fold"):
        setattr(fit, name, timed("fit_predict", getattr(fit, name)))
    runs.write_runs = write_runs = timed("tracking", runs.write_runs)
    trials = 0
    if script == "tune_hyperparameters":
        make_objective = stage.make_objective

        def make_timed_objective(*args: Any) -> Any:
            objective = timed("fit_predict", make_objective(*args))

            def counted(*arguments: Any) -> Any:
                nonlocal trials
                trials += 1
                return objective(*arguments)

            return counted

        stage.make_objective = make_timed_objective
        trial_seconds = 0.0

        def write_trials(*args: Any, parent: Any = None, **options: Any) -> Any:
            nonlocal trial_seconds
            begun = time.perf_counter()
            try:
                return write_runs(*args, parent=parent, **options)
            finally:
                trial_seconds += time.perf_counter() - begun if parent is not None else 0.0

        runs.write_runs = write_trials
    started = time.perf_counter()
    status = stage.main(sys.argv[2:])
    whole = time.perf_counter() - started
    found = {"imports": imports, **seconds, "rest": whole - seconds["fit_predict"], "after_imports": whole}
    if trials:
        found["tracking_ms_a_trial"] = 1000 * trial_seconds / trials
    print(json.dumps({key: round(value, 3) for key, value in found.items()}))
    return int(status)


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
