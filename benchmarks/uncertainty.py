"""Whether calibration errors, recalibration and prediction intervals keep what they say, on simulated tables.

    python -m benchmarks.uncertainty

Three questions, each of plain rows, of groups and of rows in time. How often does the interval of a calibration error
hold the true one? How often is recalibration kept where probabilities are true and where they are not, and what does it
bring on fresh rows? Which share of fresh rows do prediction intervals hold? A model is simulated by its predictions.
Writes benchmarks/results/uncertainty.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, logit
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from pipeline.files import write_json
from pipeline.metrics import Predictions, metric_value
from pipeline.training.calibration import by_other_folds, calibration_error, calibration_gain, learn_calibration
from pipeline.training.conformal import learn_errors

OUTPUT = Path("benchmarks/results/uncertainty.json")
TABLES, FRESH_ROWS, FOLDS, LEVEL = 200, 20_000, 5, 0.9
# The log-odds that a model gives, as slope and intercept of the true ones: true, too extreme as of boosting on few
# rows, too high as of class weights.
FAULTS = {"true": (1.0, 0.0), "too extreme": (2.0, 0.0), "too high": (1.0, 1.0)}
KINDS, ROWS, SIZE = ("rows", "groups", "time"), (200, 1000, 5000), 20


def shared_noise(kind: str, rows: int, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Standard normal noise (n,), a third of whose variance groups of SIZE rows share, or that follows an
    autoregression of 0.5 in time, and what says so.
    """
    if kind == "groups":
        group = np.arange(rows) // SIZE
        own = rng.normal(size=group.max() + 1)[group]
        return (own + 2**0.5 * rng.normal(size=rows)) / 3**0.5, {"group": group}
    noise = rng.normal(size=rows)
    if kind == "time":
        for row in range(1, rows):
            noise[row] = 0.5 * noise[row - 1] + 0.75**0.5 * noise[row]
        return noise, {"time": np.arange(rows)}
    return noise, {}


def classes(kind: str, rows: int, fault: str, rng: np.random.Generator) -> Predictions:
    """Rows of which a third are positive, with the probabilities of a model whose fault is known; that of a row in a
    group or in time hangs together with that of others.
    """
    noise, belonging = shared_noise(kind, rows, rng)
    odds = 1.5 * noise - 1
    slope, intercept = FAULTS[fault]
    return Predictions(
        (rng.random(rows) < expit(odds)).astype(int),
        (odds > 0).astype(int),
        expit(slope * odds + intercept),
        **belonging,
    )


def numbers(kind: str, rows: int, rng: np.random.Generator) -> Predictions:
    """Rows of a model whose errors are skewed and grow with its prediction."""
    noise, belonging = shared_noise(kind, rows, rng)
    predicted = rng.normal(size=rows)
    error = (np.exp(noise / 2) - np.exp(1 / 8)) * np.exp(predicted / 2)
    return Predictions(predicted + error, predicted, **belonging)


def fold_of(p: Predictions, rng: np.random.Generator) -> np.ndarray:
    """A fold (n,) of each row: by group, in time, or drawn."""
    if p.time is not None:
        return p.time * FOLDS // len(p.time)
    if p.group is not None:
        return rng.permutation(p.group.max() + 1)[p.group] % FOLDS
    return rng.permutation(len(p.actual)) % FOLDS


def true_error(fault: str, kind: str, found: Predictions, fresh: Predictions) -> float:
    """The calibration error of a very large table in the bins of a small one, whose edges decide it a little."""
    assert found.score is not None
    assert fresh.score is not None
    slope, intercept = FAULTS[fault]
    edges = np.unique(np.quantile(found.score, np.arange(1, 10) / 10))
    bins = np.searchsorted(edges, fresh.score, side="left")
    missed = fresh.score - expit((logit(fresh.score) - intercept) / slope)
    share = np.bincount(bins) / len(bins)
    return float((share * (np.bincount(bins, missed) / np.bincount(bins)) ** 2).sum() ** 0.5)


def of_classes(case: tuple[str, int, str, int]) -> dict[str, float]:
    """What is found on one table."""
    kind, rows, fault, seed = case
    rng = np.random.default_rng([seed, KINDS.index(kind), rows, list(FAULTS).index(fault)])
    p, fresh = classes(kind, rows, fault, rng), classes("rows", FRESH_ROWS, fault, rng)
    error, (low, high) = calibration_error(p)
    true = true_error(fault, kind, p, fresh)
    pooled = by_other_folds(p, fold_of(p, rng), True, lambda *_: 0.5)
    _, bounds = calibration_gain(p, pooled, seed)
    whole = learn_calibration(p).of(fresh)
    return {
        "held": float(low <= true <= high),
        "error": error,
        "true": true,
        "kept": float(bounds[0] > 0),
        "said": metric_value("log_loss", pooled),
        "before": metric_value("log_loss", fresh),
        "after": metric_value("log_loss", whole),
    }


def of_numbers(case: tuple[str, int, int]) -> dict[str, float]:
    """Which share of fresh rows the intervals of one table hold, in all and where the prediction is in its lowest and
    highest tenth.
    """
    kind, rows, seed = case
    rng = np.random.default_rng([seed, KINDS.index(kind), rows])
    fresh = numbers("rows", FRESH_ROWS, rng)
    low, high = learn_errors(numbers(kind, rows, rng), LEVEL).of(fresh.predicted)
    held = (low <= fresh.actual) & (fresh.actual <= high)
    lowest, highest = np.quantile(fresh.predicted, [0.1, 0.9])
    return {
        "held": float(held.mean()),
        "held_lowest": float(held[fresh.predicted < lowest].mean()),
        "held_highest": float(held[fresh.predicted > highest].mean()),
        "width": float((high - low).mean()),
    }


def summary(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over tables, and the standard error of the first."""
    means = {name: round(float(np.mean([one[name] for one in found])), 6) for name in found[0]}
    return means | {"held_error": round(float(np.std([one["held"] for one in found]) / len(found) ** 0.5), 6)}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure calibration errors, recalibration and prediction intervals.")
    parser.add_argument("--tables", type=int, default=TABLES)
    args = parser.parse_args(argv)
    results: dict[str, Any] = {"tables": args.tables, "classes": [], "numbers": []}
    with ProcessPoolExecutor(initializer=threadpool_limits, initargs=(1,)) as pool:
        for kind in tqdm(KINDS):
            for rows in ROWS:
                for fault in FAULTS:
                    cases = [(kind, rows, fault, seed) for seed in range(args.tables)]
                    found = list(pool.map(of_classes, cases, chunksize=10))
                    results["classes"].append({"kind": kind, "rows": rows, "fault": fault, **summary(found)})
                jobs = [(kind, rows, seed) for seed in range(args.tables)]
                numbers_found = list(pool.map(of_numbers, jobs, chunksize=10))
                results["numbers"].append({"kind": kind, "rows": rows, **summary(numbers_found)})
    write_json(OUTPUT, results)
    print(json.dumps(results, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
