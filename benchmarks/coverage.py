"""How often 95 % intervals hold the true score, on simulated tables of single rows, groups and rows in time.

    python -m benchmarks.coverage

A model is simulated by its predictions, so that its true score is that of millions of rows. Rows of a group share a
third of the variance of what they are and of the model's errors; rows in time follow an autoregression. Each row by
itself is drawn alike in all three, so that the truth is that of single rows. A second model errs partly like the first,
and the interval of their difference is judged too. Beside them stands the interval of single rows, as if none belonged
together. Writes benchmarks/results/coverage.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import lfilter
from scipy.special import expit, logit
from scipy.stats import norm
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from pipeline.files import write_json
from pipeline.intervals import paired_leads, score_intervals
from pipeline.metrics import Predictions, lead, metrics_of, scores

OUTPUT = Path("benchmarks/results/coverage.json")
TABLES = 1000
# From so many rows on only the intervals of scores are judged.
MANY_ROWS = 2000
POPULATION_ROWS, POPULATIONS = 400_000, 5
# Of the variance, between groups.
SHARED = 1 / 3
# From a row to the next, unless a situation says otherwise.
AUTOCORRELATION = 0.5
# Below this share of the rarer class a model is thought of that finds it by a threshold of its own.
RARE = 0.1
# Of the numbers that are predicted, far from 0, where an error as a share of it says nothing.
LEVEL = 20


@dataclass(frozen=True)
class Situation:
    """A kind of table: rows that belong to groups of `size`, follow one another in time, or neither. `share`: of the
    rarer class. `apart`: how far apart the classes are for the model, in standard deviations of its errors. `tails`:
    degrees of freedom of Student's t, of a number's errors.
    """

    task: str
    kind: str
    rows: int
    size: int = 1
    share: float = 0.3
    apart: float = 1.8
    autocorrelation: float = AUTOCORRELATION
    tails: float = np.inf

    @property
    def words(self) -> str:
        if self.kind == "groups":
            return f"{self.rows // self.size} groups of {self.size}"
        if self.kind == "time":
            return f"{self.rows:,} rows in time, autocorrelation {self.autocorrelation:g}"
        return f"{self.rows:,} rows{', heavy tails' if np.isfinite(self.tails) else ''}"


SITUATIONS = (
    Situation("binary", "rows", 200, share=0.15),
    *(Situation("binary", "rows", 2000, share=0.015, apart=apart) for apart in (3, 4)),
    *(Situation("binary", "rows", rows) for rows in (2000, 20_000)),
    *(Situation("multiclass", "rows", rows, share=0.15) for rows in (200, 2000)),
    *(Situation("regression", "rows", rows) for rows in (200, 2000, 20_000)),
    *(Situation("regression", "rows", rows, tails=5) for rows in (200, 2000)),
    *(Situation("binary", "groups", rows, size) for rows, size in ((200, 10), (1000, 25), (2000, 100), (20_000, 200))),
    *(Situation("multiclass", "groups", rows, size) for rows, size in ((500, 25), (1000, 25))),
    *(Situation("regression", "groups", rows, size) for rows, size in ((200, 10), (1000, 25), (20_000, 200))),
    *(Situation("binary", "time", rows) for rows in (200, 2000, 20_000)),
    *(Situation("multiclass", "time", rows) for rows in (200, 2000)),
    *(Situation("regression", "time", rows) for rows in (200, 2000, 20_000)),
    *(Situation(task, "time", 2000, autocorrelation=0.9) for task in ("binary", "regression")),
)
# Too little for more than a rough interval.
ROUGH = (
    *(Situation("binary", "rows", 10_000, share=0.002, apart=apart) for apart in (3, 4)),
    Situation("binary", "rows", 400, share=0.05, apart=3),
    Situation("regression", "rows", 20),
    *(Situation(task, "groups", 200, 20) for task in ("binary", "regression")),
)


def dependent(situation: Situation, n: int, rng: np.random.Generator) -> np.ndarray:
    """Normal numbers (n,) of variance 1 that hang together as the situation's rows do."""
    if situation.kind == "groups":
        shared = np.repeat(rng.normal(size=n // situation.size), situation.size)
        return np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * rng.normal(size=n)
    steps = rng.normal(size=n)
    if situation.kind == "time":
        steps[1:] *= np.sqrt(1 - situation.autocorrelation**2)
        return lfilter([1], [1, -situation.autocorrelation], steps)
    return steps


def two_models(situation: Situation, n: int, seed: int) -> tuple[Predictions, Predictions]:
    """The predictions of two models for the same n rows."""
    rng = np.random.default_rng(seed)
    number, errors, own = (dependent(situation, n, rng) for _ in range(3))
    if np.isfinite(situation.tails):
        errors, own = (rng.standard_t(situation.tails, (2, n))) * np.sqrt(1 - 2 / situation.tails)
    others = 0.8 * errors + 0.8 * own
    belonging: dict[str, np.ndarray] = {}
    if situation.kind != "rows":
        name = "group" if situation.kind == "groups" else "time"
        belonging[name] = np.arange(n) // (situation.size if name == "group" else 1)
    if situation.task == "regression":
        actual = LEVEL + 2 * number
        pair = [Predictions(actual, actual + noise, **belonging) for noise in (errors, others)]
    elif situation.task == "multiclass":
        cuts = norm.ppf([situation.share, 0.5 + situation.share / 2])
        seen = [number + noise / 2 for noise in (errors, others)]
        pair = [
            Predictions(
                np.digitize(number, cuts), np.digitize(one, cuts), **belonging, classes=np.arange(3), shares=shares
            )
            for one, shares in zip(seen, (shares_of(one, cuts) for one in seen), strict=True)
        ]
    else:
        actual, apart = (number >= norm.isf(situation.share)).astype(int), situation.apart
        # about as many are predicted as there are
        threshold = norm.isf(situation.share) if situation.share > RARE else 0.87 * apart
        odds = logit(situation.share) - apart**2 / 2
        pair = [
            Predictions(actual, (seen >= threshold).astype(int), expit(apart * seen + odds), **belonging)
            for seen in (apart * actual + noise for noise in (errors, others))
        ]
    return pair[0], pair[1]


def shares_of(seen: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """The probability of each class (n, 3) where a normal number is seen with an error of variance 1/4 (n,)."""
    below = norm.cdf((cuts - 0.8 * seen[:, None]) / 0.2**0.5)
    return np.diff(below, axis=1, prepend=0, append=1)


def population_of(situation: Situation) -> Situation:
    """The rows of a situation each by itself."""
    return replace(situation, kind="rows", rows=POPULATION_ROWS, size=1, autocorrelation=AUTOCORRELATION)


def truth_of(situation: Situation) -> dict[str, tuple[float, float]]:
    """The true score of the first model of a population by metric, and its lead over the second."""
    found = []
    for number in range(POPULATIONS):
        first, second = (scores(situation.task, p) for p in two_models(situation, POPULATION_ROWS, 10**6 + number))
        found.append({metric: (value, lead(metric, value, second[metric])) for metric, value in first.items()})
    return {metric: tuple(np.mean([one[metric] for one in found], axis=0).tolist()) for metric in found[0]}


def judged(situation: Situation, truth: dict[str, tuple[float, float]], seed: int) -> dict[str, dict[str, float]]:
    """Of one table, by metric: whether the intervals of the score, of the lead and that of single rows hold the truth,
    and the widths of the first and the last.
    """
    first, second = two_models(situation, situation.rows, seed)
    with threadpool_limits(1):
        intervals = score_intervals(situation.task, first, seed)
        found = {m: {"score": holds(bounds, truth[m][0])} for m, bounds in intervals.items()}
        if situation.rows < MANY_ROWS:
            for metric, bounds in paired_leads(situation.task, first, second, seed).items():
                found[metric]["lead"] = holds(bounds, truth[metric][1])
        if situation.rows < MANY_ROWS and situation.kind != "rows":
            alone = score_intervals(situation.task, replace(first, group=None, time=None), seed)
            for metric, bounds in alone.items():
                found[metric] |= {
                    "single_rows": holds(bounds, truth[metric][0]),
                    "width": intervals[metric][1] - intervals[metric][0],
                    "width_of_single_rows": bounds[1] - bounds[0],
                }
    return found


def holds(bounds: Sequence[float], value: float) -> float:
    return float(bounds[0] <= value <= bounds[1])


def row_of(situation: Situation, truth: dict[str, tuple[float, float]], found: list[Any]) -> dict[str, Any]:
    """What the file has of a situation, from what was found of each table."""
    row: dict[str, Any] = {
        "task": situation.task,
        "kind": situation.kind,
        "situation": situation.words,
        "rarer_class": round(situation.share * situation.rows) if situation.task != "regression" else None,
        "rough": situation in ROUGH,
        "tables": len(found),
        "truth": {metric: value for metric, (value, _) in truth.items()},
    }
    for part, metric in product(found[0][metrics_of(situation.task)[0]], truth):
        row.setdefault(part, {})[metric] = float(np.mean([one[metric][part] for one in found]))
    if widths := row.pop("width", None):
        single = row.pop("width_of_single_rows")
        row["times_as_wide"] = {metric: width / single[metric] for metric, width in widths.items()}
    return row


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Count how often intervals hold the true score.")
    parser.add_argument("--tables", type=int, default=TABLES, help="of a situation (default: %(default)s)")
    tables = parser.parse_args(argv).tables
    rows, situations = [], [*SITUATIONS, *ROUGH]
    with ProcessPoolExecutor() as processes:
        populations = [*dict.fromkeys(map(population_of, situations))]
        found = tqdm(processes.map(truth_of, populations), total=len(populations), desc="true scores")
        truths = dict(zip(populations, found, strict=True))
        for situation in situations:
            truth = truths[population_of(situation)]
            work = processes.map(judged, [situation] * tables, [truth] * tables, range(tables), chunksize=10)
            rows.append(row_of(situation, truth, [*tqdm(work, total=tables, desc=situation.words)]))
            print(json.dumps(rows[-1]), flush=True)
    rounded = json.loads(json.dumps(rows), parse_float=lambda text: round(float(text), 4))
    write_json(OUTPUT, {"tables": tables, "rows": rounded})
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
