"""What 10,000 trial runs in the MLflow store cost: compare_results.py, and train.py and tuning beside an empty store.

    .venv/bin/python -m benchmarks.many_runs

The store is that of benchmarks/compare_speed.py. It is compared as it is: every trial is of a study that the report
shows. Then a setting changes, which makes former studies of them all, and one dataset is trained and tuned. Each call
is a process of its own, imports included, in a fresh copy of the full or of an empty folder, by turns; the fastest
counts. Writes benchmarks/results/many_runs.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.compare_speed import build_store
from benchmarks.drift_speed import call
from pipeline.files import write_json
from pipeline.settings import load_config

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "benchmarks/results/many_runs.json"
DATASET = "customer_churn"
FORMER_SEED = 1
STAGES = {
    "train.py": ["train.py", "--dataset", DATASET],
    "tune_hyperparameters.py": ["tune_hyperparameters.py", "--dataset", DATASET, "--n-trials", "20"],
}


def fastest(calls: Sequence[dict[str, float]]) -> dict[str, float]:
    return min(calls, key=lambda found: found["processor_seconds"])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time the scripts on a store with many trial runs.")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=3)
    args = parser.parse_args(argv)
    settings = (ROOT / "params.yaml").read_text(encoding="utf-8")
    former = settings.replace("\nseed: 42\n", f"\nseed: {FORMER_SEED}\n")
    assert former != settings
    with tempfile.TemporaryDirectory() as name:
        # MLflow keeps absolute addresses: every copy is used in the same place
        empty, full, place = (Path(name) / part for part in ("empty", "full", "place"))
        place.mkdir()
        os.chdir(place)
        Path("params.yaml").write_text(settings, encoding="utf-8")
        call(["generate_data.py", "--dataset", DATASET], place)
        shutil.copytree(place, empty)
        Path("params.yaml").write_text(former, encoding="utf-8")
        shutil.copytree(ROOT / "metrics/data", "metrics/data", dirs_exist_ok=True)
        build_store(load_config(), args.trials)
        compared = fastest([call(["compare_results.py"], place) for _ in range(args.calls)])
        print(f"compare_results.py with {args.trials:,} trial runs: {compared}", flush=True)
        Path("params.yaml").write_text(settings, encoding="utf-8")
        os.chdir(ROOT)
        place.rename(full)
        table = []
        for script, words in STAGES.items():
            taken: dict[Path, list[dict[str, float]]] = {empty: [], full: []}
            for _ in range(args.calls):
                for folder, found in taken.items():
                    shutil.copytree(folder, place)
                    found.append(call(words, place))
                    shutil.rmtree(place)
            with_none, with_many = fastest(taken[empty]), fastest(taken[full])
            ratio = round(with_many["processor_seconds"] / with_none["processor_seconds"], 3)
            table.append({"script": script, "empty": with_none, "full": with_many, "ratio": ratio})
            print(table[-1], flush=True)
    write_json(OUTPUT, {"trials": args.trials, "compare": compared, "table": table})
    print(f"wrote {OUTPUT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
