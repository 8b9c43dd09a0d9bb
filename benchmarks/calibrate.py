"""How near honest training on the calibrated tables lands to the published results, over many generator seeds.

    python -m benchmarks.calibrate --seeds 20

Each baseline model of params.yaml is cross-validated (pooled out-of-fold predictions over all rows of the table) on the
tables of seeds 0, 1, 2, ... Writes medians and ranges to benchmarks/results/calibration.json; with --dataset the rows
of the other datasets stay, where they are of as many seeds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pipeline.files import write_json
from pipeline.generators import GENERATORS
from pipeline.metrics import metric_value
from pipeline.settings import load_config
from pipeline.tables.columns import normalise_types
from pipeline.tables.split import rows_of
from pipeline.training.build import build_model, resolve_recipe
from pipeline.training.calibration import by_other_folds
from pipeline.training.fit import out_of_fold, validating_fold
from pipeline.training.threshold import threshold_choice

PUBLISHED = {
    ("california_housing", "r2"): {"random_forest": 0.8129, "gradient_boosting": 0.8297, "logistic_regression": 0.2045},
    ("credit_fraud", "roc_auc"): {"random_forest": 0.9823, "gradient_boosting": 0.9867, "logistic_regression": 0.9734},
    ("credit_fraud", "f1"): {"random_forest": 0.7778, "gradient_boosting": 0.8182, "logistic_regression": 0.6923},
    ("customer_churn", "accuracy"): {
        "random_forest": 0.7892,
        "gradient_boosting": 0.8012,
        "logistic_regression": 0.7234,
    },
}
PUBLISHED_TUNED = {
    ("california_housing", "r2"): 0.8441,
    ("credit_fraud", "roc_auc"): 0.9867,
    ("customer_churn", "accuracy"): 0.8145,
}


def figures(name: str, seed: int) -> dict[tuple[str, str, str], float]:
    """Cross-validated figures of every published model and metric on one table."""
    config = load_config()
    dataset = config.dataset(name)
    frame, _ = GENERATORS[name](seed)
    rows = rows_of(normalise_types(frame), dataset, config)
    found = {}
    metrics = [metric for published, metric in PUBLISHED if published == name]
    for model in config.baselines:
        if model not in PUBLISHED[name, metrics[0]]:
            continue
        fresh = build_model(resolve_recipe(dataset, config, model), rows.X)
        choose, fold = threshold_choice(dataset.threshold, len(rows.y)), validating_fold(rows.folds)
        predictions = by_other_folds(out_of_fold(fresh, rows, dataset.task), fold, False, choose)
        found.update({(name, metric, model): metric_value(metric, predictions) for metric in metrics})
    return found


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Cross-validate the baselines over many generator seeds.")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--dataset", choices=list(GENERATORS), nargs="*", default=list(GENERATORS))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/calibration.json"))
    args = parser.parse_args(argv)
    jobs = [(name, seed) for name in args.dataset for seed in range(args.seeds)]
    with ProcessPoolExecutor() as pool:
        results = list(tqdm(pool.map(figures, *zip(*jobs, strict=True)), total=len(jobs)))
    earlier = json.loads(args.output.read_text(encoding="utf-8")) if args.output.exists() else {}
    kept = earlier["table"] if earlier.get("seeds") == args.seeds else []
    table = []
    for (name, metric), published in PUBLISHED.items():
        table += [row for row in kept if (row["dataset"], row["metric"]) == (name, metric) and name not in args.dataset]
        for model, value in published.items():
            values = [found[name, metric, model] for found in results if (name, metric, model) in found]
            if values:
                low, median, high = np.quantile(values, [0, 0.5, 1]).round(4).tolist()
                row = {"dataset": name, "metric": metric, "model": model, "published": value}
                table.append({**row, "median": median, "low": low, "high": high})
                print(f"{name} {metric} {model}: published {value}, median {median} [{low}, {high}]")
    write_json(args.output, {"seeds": args.seeds, "table": table})
    print(f"wrote {args.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
