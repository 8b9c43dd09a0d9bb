"""What 10,000 trial runs in the MLflow store cost: compare_results.py, and train.py and tuning beside an empty store.

    python -m benchmarks.many_runs

One dataset is trained and tuned, and copies of a trial's run are added to its study. The store is compared as it is:
the report shows every trial. Then a setting changes, which makes former runs of them all, and the dataset is trained
and tuned again. Each call is a process of its own, imports included, in a fresh copy of the full or of an empty folder,
by turns; the fastest counts. Writes benchmarks/results/many_runs.json.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from benchmarks.row_scaling import ROOT, call
from pipeline.files import write_json
from pipeline.store.connect import open_store

OUTPUT = ROOT / "benchmarks/results/many_runs.json"
DATASET = "customer_churn"
FORMER_SEED = 1
GENERATE = ["generate_data.py"]
STAGES = {"train.py": ["train.py"], "tune_hyperparameters.py": ["tune_hyperparameters.py", "--n-trials", "20"]}


def write_settings(seed: int | None = None) -> None:
    """params.yaml with one dataset, in the current folder."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params |= {"datasets": {DATASET: params["datasets"][DATASET]}, "gates": {}}
    if seed is not None:
        params["seed"] = seed
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def add_trials(trials: int) -> float:
    """Copies of a complete trial's run until the study in the store of the current folder has so many; returns the
    milliseconds on the processor that one takes.
    """
    from mlflow.entities import Metric, Param

    client = open_store()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, "tags.stage = 'trial'")
    trial = next(run for run in found if run.data.tags["trial_state"] == "COMPLETE")
    params = [Param(key, value) for key, value in trial.data.params.items()]
    metrics = [Metric(key, value, trial.info.end_time, 0) for key, value in trial.data.metrics.items()]
    started = time.process_time()
    for number in range(len(found), trials):
        tags = trial.data.tags | {"mlflow.runName": f"Trial_{number}"}
        run = client.create_run(trial.info.experiment_id, tags=tags, run_name=f"Trial_{number}")
        client.log_batch(run.info.run_id, metrics=metrics, params=params)
        client.set_terminated(run.info.run_id)
    return 1000 * (time.process_time() - started) / max(1, trials - len(found))


def fastest(calls: Sequence[dict[str, float]]) -> dict[str, float]:
    return min(calls, key=lambda found: found["processor_seconds"])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time the scripts on a store with many trial runs.")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=3)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        # MLflow keeps absolute addresses: every copy is used in the same place
        empty, full, place = (Path(name) / part for part in ("empty", "full", "place"))
        place.mkdir()
        os.chdir(place)
        write_settings()
        call(GENERATE, place)
        shutil.copytree(place, empty)
        write_settings(FORMER_SEED)
        for words in STAGES.values():
            call(words, place)
        milliseconds = add_trials(args.trials)
        compared = fastest([call(["compare_results.py"], place) for _ in range(args.calls)])
        print(f"compare_results.py with {args.trials:,} trial runs: {compared}", flush=True)
        write_settings()
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
    write_json(
        OUTPUT,
        {"trials": args.trials, "milliseconds_a_run": round(milliseconds, 1), "compare": compared, "table": table},
    )
    print(f"wrote {OUTPUT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
