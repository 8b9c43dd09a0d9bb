"""Time and memory of detect_drift.py on 1,000,000 rows of 12 columns, and the size of its pages.

    .venv/bin/python -m benchmarks.drift_speed

A table of the housing generator's rows: its train and test parts are compared, then another one of as many rows is held
against it with --current. Each call is a process of its own. Writes benchmarks/results/drift_speed.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.files import file_sha256, read_json, write_json
from pipeline.generators import GENERATORS

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "benchmarks/results/drift_speed.json"
DATASET = "california_housing"


def write_rows(path: Path, rows: int, first_seed: int) -> None:
    tables: list[pd.DataFrame] = []
    while sum(map(len, tables)) < rows:
        tables.append(GENERATORS[DATASET](first_seed + len(tables))[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(tables, ignore_index=True).head(rows).to_csv(path, index=False)


def call(words: Sequence[str], folder: Path) -> dict[str, float]:
    """Wall seconds, processor seconds and peak memory in MB of a script with its arguments, run in a folder."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, str(ROOT / words[0]), *words[1:]], cwd=folder, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure detect_drift.py on a large table.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args(argv).rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "params.yaml", folder)
        table = folder / "data/housing_data.csv"
        write_rows(table, rows, 0)
        write_rows(folder / "current.csv", rows, 1000)
        facts = read_json(ROOT / f"metrics/data/{DATASET}.json", "python generate_data.py")
        write_json(folder / f"metrics/data/{DATASET}.json", facts | {"sha256": file_sha256(table), "rows": rows})
        situations = {"train and test parts": [], "a file against the table": ["--current", "current.csv"]}
        found = []
        for situation, words in situations.items():
            found.append(
                {
                    "situation": situation,
                    "rows": rows,
                    **call(["detect_drift.py", "--dataset", DATASET, *words], folder),
                }
            )
            pages = (folder / "reports" / DATASET).glob("*.html")
            found[-1]["largest_page_mb"] = round(max(page.stat().st_size for page in pages) / 1e6, 2)
            print(found[-1], flush=True)
    write_json(OUTPUT, {"table": found})
    print(f"wrote {OUTPUT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
