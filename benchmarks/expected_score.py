"""How near the score expected on current rows without labels comes to their true one, under known covariate shifts.

    python -m benchmarks.expected_score --tables 100 --real ames.csv:Sale_Price credit_data.csv:Status=bad

So many tables, of fresh generator seeds and of reshuffled files, are shifted in three ways each. Half of a table is the
reference: boosting with the settings of params.yaml is fitted on four fifths of it (out-of-fold predictions) and
predicts the rest (test part). A quarter of the other half are the current rows: drawn in proportion to
exp(strength * z), z the standardised sum of the ranks of three random columns (mild: 0.5, strong: 1.5), or outside the
support: the reference lacks one end of a column, where 10 to 50 % of the current rows lie. Writes
benchmarks/results/expected_score.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import KFold, StratifiedKFold
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from pipeline.drift.expected import density_ratio, expected_score
from pipeline.drift.joint import encoded, membership
from pipeline.files import write_json
from pipeline.generators import GENERATORS
from pipeline.metrics import Predictions, metric_value
from pipeline.settings import load_config
from pipeline.tables.columns import normalise_types

ROWS = {"california_housing": 20_000, "credit_fraud": 20_000, "customer_churn": 14_000}
METRICS = {"california_housing": ("r2",), "credit_fraud": ("roc_auc", "f1"), "customer_churn": ("accuracy", "f1")}
SHIFTS = {"mild": 0.5, "strong": 1.5, "outside the support": 0.0}
FIRST_SEED = 9000
OUTPUT = Path("benchmarks/results/expected_score.json")


@dataclass(frozen=True)
class Table:
    """One table: features (n rows), their encoding (n, k) and kinds, the target (n,), and boosting's settings."""

    frame: pd.DataFrame
    X: np.ndarray
    kinds: dict[str, str]
    y: np.ndarray
    task: str
    settings: dict[str, Any]


def load(kind: str, seed: int) -> Table:
    """The table of a seed, shuffled: a generator's, or the rows of FILE:TARGET[=POSITIVE]."""
    config = load_config()
    settings = dict(config.models["gradient_boosting"].params)
    if kind in GENERATORS:
        dataset = config.dataset(kind)
        frame, target, positive = GENERATORS[kind](FIRST_SEED + seed, ROWS[kind])[0], dataset.target, dataset.positive
        frame = frame.drop(columns=list(dataset.unused))
        settings |= dataset.models.get("gradient_boosting", {})
    else:
        path, _, words = kind.rpartition(":")
        target, _, positive = words.partition("=")
        frame = pd.read_csv(path)
    frame = normalise_types(frame.sample(frac=1, random_state=seed).reset_index(drop=True))
    y = frame.pop(target)
    kinds = {str(name): "number" if frame[name].dtype == "float64" else "category" for name in frame}
    regression = not positive
    values = y.to_numpy() if regression else (y == positive).to_numpy().astype(int)
    return Table(frame, encoded(frame, kinds), kinds, values, "regression" if regression else "binary", settings)


def shifted(table: Table, shift: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positions of reference rows and of current rows."""
    reference, pool = np.array_split(np.arange(len(table.y)), 2)
    m = len(pool) // 4
    if shift != "outside the support":
        weights = np.exp(SHIFTS[shift] * _direction(table.X, rng))[pool]
        return reference, rng.choice(pool, m, replace=False, p=weights / weights.sum())
    while True:
        values = np.nan_to_num(table.X[:, rng.integers(table.X.shape[1])], nan=-1e9) * rng.choice([-1, 1])
        out = values > np.quantile(values, rng.uniform(0.7, 0.9))
        if 0.05 < out.mean() < 0.35:
            break
    beyond, within = pool[out[pool]], pool[~out[pool]]
    count = min(len(beyond), round(m * rng.uniform(0.1, 0.5)))
    picked = [rng.choice(beyond, count, replace=False), rng.choice(within, m - count, replace=False)]
    return reference[~out[reference]], np.concatenate(picked)


def _direction(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The standardised sum of the ranks of three random columns (n,), each up or down, within two deviations."""
    columns = rng.choice(X.shape[1], 3, replace=False)
    ranks = pd.DataFrame(X[:, columns]).rank(na_option="top").to_numpy()
    ranks = (ranks - ranks.mean(axis=0)) / np.maximum(ranks.std(axis=0), 1e-12)
    total = (ranks * rng.choice([-1, 1], 3)).sum(axis=1)
    return (total / total.std()).clip(-2, 2)


def predictions_of(table: Table, reference: np.ndarray, current: np.ndarray) -> tuple[np.ndarray, list[Predictions]]:
    """Reference rows in another order, and the predictions for them and for the current rows."""
    train, test = np.split(reference, [len(reference) * 4 // 5])
    regression = table.task == "regression"
    kind = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
    folds = (KFold if regression else StratifiedKFold)(5, shuffle=True, random_state=0)

    def predicted(fitted_on: np.ndarray, rows: list[np.ndarray]) -> list[Predictions]:
        model = kind(**table.settings, random_state=0).fit(table.X[fitted_on], table.y[fitted_on])
        if regression:
            return [Predictions(table.y[r], model.predict(table.X[r])) for r in rows]
        scores = [model.predict_proba(table.X[r])[:, 1] for r in rows]
        return [Predictions(table.y[r], (s >= 0.5).astype(int), s) for r, s in zip(rows, scores, strict=True)]

    parts = [
        (train[held], predicted(train[kept], [train[held]])[0]) for kept, held in folds.split(train, table.y[train])
    ]
    on_test, on_current = predicted(train, [test, current])
    rows, found = zip(*parts, (test, on_test), strict=True)
    names = ("actual", "predicted") if regression else ("actual", "predicted", "score")
    pooled = Predictions(*(np.concatenate([getattr(p, name) for p in found]) for name in names))
    return np.concatenate(rows), [pooled, on_current]


def measured(job: tuple[str, int, str]) -> list[dict[str, Any]]:
    """One table under one shift: what was expected, and what was true, by every metric of the kind."""
    kind, seed, shift = job
    rng = np.random.default_rng([seed, list(SHIFTS).index(shift)])
    with threadpool_limits(1):
        table = load(kind, seed)
        reference, current = shifted(table, shift, rng)
        reference, (pooled, on_current) = predictions_of(table, reference, current)
        found = membership(table.frame.iloc[reference], table.frame.iloc[current], table.kinds, seed)
        weights, outside = density_ratio(found)
        rows = []
        for metric in METRICS.get(kind, ("r2",) if table.task == "regression" else ("roc_auc", "accuracy")):
            score = expected_score(metric, pooled, weights, on_current, outside, seed)
            true, (low, high) = metric_value(metric, on_current), score.interval
            rows.append(
                {
                    "table": kind if kind in GENERATORS else Path(kind.rpartition(":")[0]).stem,
                    "metric": metric,
                    "shift": shift,
                    "reliable": score.reliable,
                    "holds": bool(low <= true <= high),
                    "error": abs(score.value - true),
                    "unchanged": abs(metric_value(metric, pooled) - true),
                    "bias": score.value - true,
                }
            )
    return rows


def summary(rows: pd.DataFrame) -> dict[str, Any]:
    """The figures of estimates under one shift: how many are reliable, how often the interval holds the true score (of
    those, None without any, and of all), the mean absolute error, that of assuming nothing changed, and the mean error.
    """
    reliable = rows[rows["reliable"]]
    return {
        "tables": len(rows),
        "reliable": round(float(rows["reliable"].mean()), 4),
        "coverage_reliable": round(float(reliable["holds"].mean()), 4) if len(reliable) else None,
        "coverage": round(float(rows["holds"].mean()), 4),
        "error": round(float(rows["error"].mean()), 5),
        "error_unchanged": round(float(rows["unchanged"].mean()), 5),
        "bias": round(float(rows["bias"].mean()), 5),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Set the expected score beside the true one under covariate shifts.")
    parser.add_argument("--tables", type=int, default=200, help="tables a shift, of all kinds together")
    parser.add_argument("--real", nargs="*", default=[], metavar="FILE:TARGET[=POSITIVE]", help="real tables")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args(argv)
    kinds = [*GENERATORS, *args.real]
    jobs = [(kinds[n % len(kinds)], n // len(kinds), shift) for n in range(args.tables) for shift in SHIFTS]
    with ProcessPoolExecutor() as pool:
        found = pd.DataFrame([row for rows in tqdm(pool.map(measured, jobs), total=len(jobs)) for row in rows])
    table = []
    for (kind, metric, shift), rows in found.groupby(["table", "metric", "shift"], sort=False):
        table.append({"table": kind, "metric": metric, "shift": shift, **summary(rows)})
    shifts = [{"shift": shift, **summary(rows)} for shift, rows in found.groupby("shift", sort=False)]
    for row in (*table, *shifts):
        print(" ".join(f"{name} {value}" for name, value in row.items()))
    write_json(args.output, {"table": table, "all": shifts})
    print(f"wrote {args.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
