"""How often the drift verdict is a false alarm on tables from the same source, and how often it finds a planted change.

    python -m benchmarks.drift_verdicts --tables 200

Same source: rows of the dataset's generator are split at random into a reference part and a current part; 80 to 20, and
at 1,000 rows also 20 to 80. "With gaps and rare categories": every feature has 10 % missing values, and the table a
column more, of some hundred categories of which most are rare. Planted: the current part has 2,000 rows and one change,
the reference is the rest of the table. Writes benchmarks/results/drift_verdicts.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.drift.compare import compare_tables, types_of
from pipeline.files import write_json
from pipeline.generators import GENERATORS
from pipeline.settings import load_config
from pipeline.tables.columns import normalise_types

# situation, rows of the table, share of them in the current part, whether gaps and rare categories are added
SAME_SOURCE = (
    ("same source", 500, 0.2, False),
    ("same source", 5_000, 0.2, False),
    ("same source, small reference", 1_000, 0.8, False),
    ("same source with gaps and rare categories", 500, 0.2, True),
    ("same source with gaps and rare categories", 5_000, 0.2, True),
    ("same source", 200_000, 0.2, False),
)
SPLITS_A_POOL = 20
PLANTED_ROWS = 2_000
OUTPUT = Path("benchmarks/results/drift_verdicts.json")


def pool_of_rows(name: str, rows: int, seed: int) -> pd.DataFrame:
    """That many rows from the dataset's own generator, fresh seeds appended, shuffled."""
    tables: list[pd.DataFrame] = []
    total = 0
    while total < rows:
        tables.append(GENERATORS[name](1000 + 50 * seed + len(tables))[0])
        total += len(tables[-1])
    table = normalise_types(pd.concat(tables, ignore_index=True))
    return table.sample(rows, random_state=seed).reset_index(drop=True)


def add_gaps_and_rare_categories(name: str, frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    gaps = {column: frame[column].where(rng.random(len(frame)) >= 0.1) for column in _features(name, frame)}
    rare = [f"place {number}" for number in rng.zipf(1.5, len(frame)).clip(max=300)]
    return frame.assign(**gaps, place=np.array(rare, dtype=object))


def shift(name: str, frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Half a standard deviation added to one numeric column."""
    column = rng.choice(_features(name, frame, numeric=True))
    return frame.assign(**{column: frame[column] + 0.5 * frame[column].std()})


def empty(name: str, frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """20 % of one column emptied."""
    column = rng.choice(_features(name, frame))
    return frame.assign(**{column: frame[column].where(rng.random(len(frame)) >= 0.2)})


def new_category(name: str, frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """1 % of the rows get a value of one categorical column that was never seen."""
    column = rng.choice(_features(name, frame, numeric=False))
    values = frame[column].to_numpy(copy=True)
    values[rng.choice(len(frame), len(frame) // 100, replace=False)] = "never seen"
    return frame.assign(**{column: values})


def more_churn(name: str, frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Churn resampled from 38 % to 48 %."""
    churned = (frame["Churn"] == "Yes").to_numpy()
    weights = np.where(churned, 0.48 / churned.mean(), 0.52 / (1 - churned.mean()))
    picked = rng.choice(len(frame), PLANTED_ROWS, p=weights / weights.sum())
    return frame.iloc[picked].reset_index(drop=True)


PLANTED: tuple[tuple[str, Callable[..., pd.DataFrame], tuple[str, ...]], ...] = (
    ("half a standard deviation in one column", shift, tuple(GENERATORS)),
    ("one column 20 % emptied", empty, tuple(GENERATORS)),
    ("a new category in 1 % of the rows", new_category, ("customer_churn",)),
    ("churn from 38 to 48 %", more_churn, ("customer_churn",)),
)


def called(reference: pd.DataFrame, current: pd.DataFrame, name: str) -> bool:
    config = load_config()
    columns, target = compare_tables(reference, current, types_of(config.dataset(name), reference), config.drift)
    return any(column.drift for column in columns) or (target is not None and target.drift)


def same_source(job: tuple[str, int, float, bool, int, int]) -> int:
    """Drift calls over random splits of one pool."""
    name, rows, share, hard, splits, seed = job
    pool = pool_of_rows(name, rows, seed)
    if hard:
        pool = add_gaps_and_rare_categories(name, pool, np.random.default_rng(seed))
    count = 0
    for draw in range(splits):
        order = np.random.default_rng([seed, draw]).permutation(rows)
        current, reference = np.split(order, [round(rows * share)])
        count += called(pool.iloc[reference], pool.iloc[current], name)
    return count


def planted(job: tuple[int, str, int]) -> bool:
    """Whether drift is called on a table with one planted change."""
    kind, name, draw = job
    rng = np.random.default_rng([kind, draw])
    table = normalise_types(GENERATORS[name](5000 + draw)[0])
    order = rng.permutation(len(table))
    current = PLANTED[kind][1](name, table.iloc[order[:PLANTED_ROWS]].reset_index(drop=True), rng)
    return called(table.iloc[order[PLANTED_ROWS:]], current, name)


def row_of(words: str, name: str, rows: int, tables: int, calls: int) -> dict[str, Any]:
    print(f"{words:42} {name:20} {rows:>8,} rows: drift called on {calls} of {tables} tables", flush=True)
    return {"situation": words, "dataset": name, "rows": rows, "tables": tables, "called": round(calls / tables, 4)}


def _features(name: str, frame: pd.DataFrame, numeric: bool | None = None) -> list[str]:
    dataset = load_config().dataset(name)
    names = [str(column) for column in frame if column != dataset.target and column not in dataset.unused]
    return [c for c in names if numeric is None or (frame[c].dtype == "float64") == numeric]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Count false alarms and detections of the drift verdict.")
    parser.add_argument("--tables", type=int, default=200, help="random tables a situation")
    args = parser.parse_args(argv)
    table = []
    with ProcessPoolExecutor() as pool:
        alarms = {}
        for words, rows, share, hard in SAME_SOURCE:
            for name in GENERATORS:
                # many pools, so that no single table decides
                starts = range(0, args.tables, SPLITS_A_POOL)
                splits = [min(SPLITS_A_POOL, args.tables - start) for start in starts]
                jobs = [(name, rows, share, hard, count, seed) for seed, count in enumerate(splits)]
                alarms[words, name, rows] = pool.map(same_source, jobs)
        found = {
            (words, name): pool.map(planted, [(kind, name, draw) for draw in range(args.tables)], chunksize=10)
            for kind, (words, _, names) in enumerate(PLANTED)
            for name in names
        }
        for (words, name, rows), counts in alarms.items():
            table.append(row_of(words, name, rows, args.tables, sum(counts)))
        for (words, name), counts in found.items():
            table.append(row_of(words, name, PLANTED_ROWS, args.tables, sum(counts)))
    write_json(OUTPUT, {"table": table})
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
