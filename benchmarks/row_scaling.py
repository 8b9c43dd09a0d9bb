"""Every stage on 1, 10 and 100 times the housing table's rows: seconds, peak memory, their growth, size of the reports.

    python -m benchmarks.row_scaling

Each size is a folder of its own, each stage a process, imports included. Forests have TREES trees at every size, so
that a hundredfold table takes minutes: trees are grown one by one, and N trees take N / TREES times as long. All else
is as in params.yaml. Writes benchmarks/results/row_scaling.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.files import write_json
from pipeline.generators.housing import HOUSING_ROWS

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "benchmarks/results/row_scaling.json"
DATASET = "california_housing"
TREES = 2
STAGES = (
    "generate_data.py",
    "train.py",
    "tune_hyperparameters.py",
    "detect_drift.py",
    "compare_results.py",
    "validate.py",
)


def settings(rows: int) -> str:
    """params.yaml with the one dataset, so many rows in a Parquet file, and forests of a few trees."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    dataset = params["datasets"][DATASET] | {"rows": rows, "file": "data/housing_data.parquet"}
    params["datasets"] = {DATASET: dataset}
    params["gates"] = {DATASET: params["gates"][DATASET]}
    params["models"]["random_forest"]["params"]["n_estimators"] = TREES
    params["search_spaces"]["random_forest"]["n_estimators"] = [TREES, 2 * TREES]
    return yaml.safe_dump(params, sort_keys=False)


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


def report_kilobytes(folder: Path) -> dict[str, int]:
    """The size of each report: pages, pictures and metrics."""
    files = [path for part in ("reports", "metrics") for path in (folder / part).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): math.ceil(path.stat().st_size / 1000) for path in sorted(files)}


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Each stage's costs, and the exponents by which they grow with the rows from each size to the next."""

    def exponents(script: str, key: str) -> list[float]:
        grown = []
        for smaller, larger in itertools.pairwise(found):
            cost = larger["stages"][script][key] / smaller["stages"][script][key]
            grown.append(round(math.log(cost) / math.log(larger["rows"] / smaller["rows"]), 2))
        return grown

    table = [
        {
            "stage": script,
            "sizes": [{"rows": size["rows"], **size["stages"][script]} for size in found],
            "exponents": exponents(script, "processor_seconds"),
            "memory_exponents": exponents(script, "peak_mb"),
        }
        for script in STAGES
    ]
    reports = {name: [size["report_kb"].get(name, 0) for size in found] for name in found[0]["report_kb"]}
    return {"trees": TREES, "table": table, "report_kb": reports}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time every stage on tables of growing size.")
    sizes = [HOUSING_ROWS, 10 * HOUSING_ROWS, 100 * HOUSING_ROWS]
    parser.add_argument("--rows", type=int, nargs="+", default=sizes)
    found: list[dict[str, Any]] = []
    for rows in parser.parse_args(argv).rows:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "params.yaml").write_text(settings(rows), encoding="utf-8")
            stages = {}
            for script in STAGES:
                stages[script] = call([script], folder)
                print(f"{rows:,} rows, {script}: {json.dumps(stages[script])}", flush=True)
            found.append({"rows": rows, "stages": stages, "report_kb": report_kilobytes(folder)})
            # after each size: the next takes ten times as long
            write_json(OUTPUT, summary(found))
    print(f"wrote {OUTPUT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
