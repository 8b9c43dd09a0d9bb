"""Run train.py or tune_hyperparameters.py in this process, and say where its seconds went.

    python -m benchmarks.stage_seconds train --dataset customer_churn

Prints one line of JSON at the end: seconds of imports, of fits and predictions, and of the rest. Libraries are imported
before the stage begins; in a plain run they are imported on the way.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.console import exit_code

SCRIPTS = {"train": "train", "tune": "tune_hyperparameters"}
LIBRARIES = (
    "pandas",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.impute",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "mlflow.sklearn",
    "matplotlib.figure",
)
TUNING_LIBRARIES = ("optuna", "optuna.visualization.matplotlib", "plotly.graph_objects", "plotly.io")

# Modules, and their functions that fit and predict.
TIMED = {
    "pipeline.training.fit": ("fit", "predict", "out_of_fold"),
    "pipeline.search.trials": ("make_objective",),
    "pipeline.search.queue": ("run_trials",),
}


class Stopwatch:
    """Adds up the seconds of the functions that it wraps; a call inside another one counts once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.running = False

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timing(*args: Any, **options: Any) -> Any:
            if self.running:
                return function(*args, **options)
            self.running, started = True, time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds += time.perf_counter() - started
                self.running = False

        return timing


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run a stage, and say where its seconds went.")
    parser.add_argument("stage", choices=list(SCRIPTS))
    parser.add_argument("--dataset", required=True)
    args = parser.parse_args(argv)
    started = time.perf_counter()
    for name in (*LIBRARIES, *(TUNING_LIBRARIES if args.stage == "tune" else ())):
        importlib.import_module(name)
    stage: Any = importlib.import_module(SCRIPTS[args.stage])
    imports = time.perf_counter() - started

    # in this order, and before the modules that take these functions from here are imported
    fits = Stopwatch()
    for module, names in TIMED.items():
        for name in names:
            setattr(importlib.import_module(module), name, fits.wrap(getattr(importlib.import_module(module), name)))
    started = time.perf_counter()
    # a model that was trained before is trained all the same
    force = ["--force"] if args.stage == "train" else []
    status = int(stage.main(["--dataset", args.dataset, *force]))
    found = {"imports": imports, "fit_predict": fits.seconds, "rest": time.perf_counter() - started - fits.seconds}
    print(json.dumps({key: round(value, 3) for key, value in found.items()}))
    return status


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
