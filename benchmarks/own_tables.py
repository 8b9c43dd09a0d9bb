"""How near the pipeline comes, by configuration alone, to a scikit-learn pipeline written by hand for each table.

    python -m benchmarks.own_tables path/to/ames.csv:Sale_Price path/to/credit_data.csv:Status

Each table goes through ingest with nothing set but its target; the baseline models of params.yaml and two hand-written
pipelines are cross-validated on the same folds of all rows (pooled out-of-fold predictions, main metric of the task);
on both sides the best one counts. The differences of the folds have a t interval, corrected for training rows that
overlap. Scikit-learn's built-in tables are always among them. Writes benchmarks/results/own_tables.json.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from benchmarks.paired import paired_interval
from pipeline.files import write_json
from pipeline.ingest.infer import take_in_file
from pipeline.metrics import metric_value
from pipeline.settings import Dataset, load_config
from pipeline.tables.split import rows_of
from pipeline.training.build import build_model, resolve_recipe
from pipeline.training.fit import out_of_fold, validated_rows

OUTPUT = Path("benchmarks/results/own_tables.json")
BUILT_IN = ("diabetes", "breast_cancer", "wine", "iris", "digits")


def written_by_hand(task: str, X: pd.DataFrame) -> list[Pipeline]:
    """What a careful person writes for a table of mixed columns: boosting on native categories, and a linear model."""
    numbers, others = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, max_categories=200)
    coded = ColumnTransformer([("others", codes, others), ("numbers", "passthrough", numbers)], sparse_threshold=0)
    scaled = ColumnTransformer(
        [
            ("others", OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5), others),
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        ],
        sparse_threshold=0,
    )
    boosting = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    native = list(range(len(others(X))))
    linear: Any = RidgeCV([0.1, 1, 10, 100]) if task == "regression" else LogisticRegression(max_iter=1000)
    return [
        make_pipeline(coded, boosting(learning_rate=0.05, max_iter=300, categorical_features=native, random_state=0)),
        make_pipeline(scaled, linear),
    ]


def compare(dataset: Dataset) -> dict[str, Any]:
    """Pooled out-of-fold scores of the best of our baselines and of the best hand-written pipeline on one table."""
    config = load_config()
    table = take_in_file(dataset, config)
    frame, completed = table.frame, table.dataset
    rows = rows_of(frame, completed, config)
    X = rows.X
    task, metric = completed.task, completed.metric

    def best(models: dict[str, Pipeline]) -> tuple[str, float, float, list[float]]:
        """The best model, its score, the seconds of all of them, and its score in each fold."""
        started = time.perf_counter()
        judged = replace(rows, X=X)
        predictions = {name: out_of_fold(model, judged, task) for name, model in models.items()}
        scores = {name: metric_value(metric, found) for name, found in predictions.items()}
        name = max(scores, key=lambda name: scores[name])
        order = validated_rows(rows.folds)
        places = [np.searchsorted(order, np.sort(validation)) for _, validation in rows.folds]
        by_fold = [metric_value(metric, predictions[name].of(place)) for place in places]
        return name, round(scores[name], 4), round(time.perf_counter() - started, 1), by_fold

    ours = best({name: build_model(resolve_recipe(completed, config, name), X) for name in config.baselines})
    # the author of a pipeline looks at the table too, and leaves out what ingest does
    X = X[[name for name in X if name not in completed.unused]]
    hand = best(dict(zip(("boosting", "linear"), written_by_hand(task, X), strict=True)))
    differences = np.subtract(ours[3], hand[3])
    row = {"table": completed.name, "rows": len(frame), "columns": frame.shape[1], "task": task, "metric": metric}
    return row | {
        "model": ours[0],
        "ours": ours[1],
        "ours_seconds": ours[2],
        "by_hand": hand[1],
        "by_hand_seconds": hand[2],
        "ratio": round(ours[1] / hand[1], 4),
        "folds": len(differences),
        "difference": round(float(differences.mean()), 4),
        "interval": [round(bound, 4) for bound in paired_interval(differences, 1 / len(differences))],
    }


def built_in(name: str, folder: Path) -> Dataset:
    """A table of scikit-learn's own as a CSV file."""
    loaded = getattr(datasets, f"load_{name}")(as_frame=True)
    frame: pd.DataFrame = loaded.frame
    if hasattr(loaded, "target_names") and name != "digits" and name != "diabetes":
        frame["target"] = frame["target"].map(dict(enumerate(loaded.target_names)))
    path = folder / f"{name}.csv"
    frame.to_csv(path, index=False)
    return Dataset(name=name, source=str(path), file=f"data/{name}.csv", target="target")


def dataset_of(words: str) -> Dataset:
    """The dataset that FILE:TARGET stands for."""
    file, _, target = words.rpartition(":")
    name = Path(file).stem
    return Dataset(name=name, source=file, file=f"data/{name}.csv", target=target)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare the pipeline with hand-written ones on many tables.")
    parser.add_argument("tables", nargs="*", metavar="FILE:TARGET")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        found = [built_in(name, Path(folder)) for name in BUILT_IN]
        found += map(dataset_of, args.tables)
        for dataset in found:
            row = compare(dataset)
            rows.append(row)
            print(
                f"{row['table']:14} {row['rows']:6,} x {row['columns']:3} {row['metric']:9} ours {row['ours']:.4f} "
                f"({row['model']}, {row['ours_seconds']} s), by hand {row['by_hand']:.4f} "
                f"({row['by_hand_seconds']} s), difference of the folds {row['difference']:+.4f} {row['interval']}",
                flush=True,
            )
    write_json(OUTPUT, {"table": rows})
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
