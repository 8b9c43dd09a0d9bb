"""Training, tuning and the whole pipeline beside the plain way of doing the same, in one run on the same data.

    python -m benchmarks.tuning_speed --folder /somewhere/scratch

Plain trials are timed on some of those that the plain study proposes and scaled to all (--plain-trials 100 runs every
one: more than an hour), half of them before and half after ours, so that a busy machine slows both; where
benchmarks/plain_tuning.py has run a whole study in FOLDER/specified, they are taken from it. Run it first: without it
they are a study's first, drawn at random, which have fewer trees and take less time than those of a whole one. Ours is
the real command in a fresh copy of the project, imports included. Writes benchmarks/results/tuning_speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.plain_tuning import open_plain_study, plain_baseline, plain_trial
from pipeline.files import write_json
from pipeline.settings import Config, Dataset, load_config
from pipeline.tables.split import load_parts

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = Path("benchmarks/results/tuning_speed.json")
TRIALS = 100


def seconds_of(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def fresh_clone(folder: Path) -> Path:
    """The project's committed files in a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    return folder


def with_tables(folder: Path) -> Path:
    """A clone with the tables of this folder."""
    shutil.copytree("data", folder / "data", dirs_exist_ok=True)
    shutil.copytree("metrics/data", folder / "metrics/data", dirs_exist_ok=True)
    return folder


def own_store() -> dict[str, str]:
    """The environment without what MLflow's fluent calls of the plain way have put there."""
    return {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}


def cold(words: Sequence[str], folder: Path, **variables: str) -> dict[str, float]:
    """A command in a fresh clone: its seconds, and how many cores it kept busy."""
    fresh_clone(folder)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, cwd=folder, env=own_store() | variables, stdout=subprocess.DEVNULL, check=True)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "cores_busy": busy / seconds}


def stage(folder: Path, name: str, dataset: str) -> dict[str, float]:
    """A stage as a process of its own in a copy of the project: its seconds and where they went."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.stage_seconds", name, "--dataset", dataset],
        cwd=folder,
        env=own_store(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {"seconds": round(time.perf_counter() - started, 2), **json.loads(done.stdout.splitlines()[-1])}


def tuning(dataset: Dataset, config: Config, folder: Path, copy: Path, plain_trials: int) -> dict[str, Any]:
    """Seconds of a dataset's default search, plain and ours."""
    parts = load_parts(dataset, config)
    proposals = open_plain_study(dataset, config, folder / "specified").trials
    study = open_plain_study(dataset, config, folder / "timing")
    if proposals:
        # evenly from first to last, so that they are as large as the study's trials are
        spread = [proposals[round(k * (len(proposals) - 1) / max(plain_trials - 1, 1))] for k in range(plain_trials)]
        for trial in spread:
            study.enqueue_trial(trial.params)
    plain = [seconds_of(lambda: plain_trial(study, dataset, config, parts)) for _ in range((plain_trials + 1) // 2)]
    ours = stage(copy, "tune", dataset.name)
    plain += [seconds_of(lambda: plain_trial(study, dataset, config, parts)) for _ in range(plain_trials // 2)]
    whole = sum(plain) * TRIALS / len(plain)
    return {
        "plain_seconds": round(whole, 1),
        "plain_trials_timed": len(plain),
        "ours": ours,
        "ratio": whole / ours["seconds"],
    }


def baselines(config: Config, folder: Path, copy: Path) -> dict[str, Any]:
    """Seconds of the nine baseline models, plain and ours."""
    plain = 0.0
    for dataset in config.datasets.values():
        parts = load_parts(dataset, config)
        open_plain_study(dataset, config, folder / "timing")
        for name in config.baselines:
            plain += seconds_of(partial(plain_baseline, dataset, config, parts, name))
    ours = stage(copy, "train", "all")
    return {"plain_seconds": round(plain, 1), "ours": ours, "ratio": plain / ours["seconds"]}


def main(argv: Sequence[str] | None = None) -> int:
    config = load_config()
    parser = argparse.ArgumentParser(description="Time training, tuning and the pipeline beside the plain way.")
    parser.add_argument("--folder", type=Path, required=True, help="scratch folder; plain studies in it are used")
    parser.add_argument("--plain-trials", type=int, default=6, help="plain trials a dataset (default: %(default)s)")
    args = parser.parse_args(argv)
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "timing", ignore_errors=True)
    warnings.simplefilter("ignore")
    copy = with_tables(fresh_clone(folder / "copy"))

    found: dict[str, Any] = {"cores": os.cpu_count(), "tuning": {}}
    found["baselines"] = baselines(config, folder, copy)
    print(f"nine baselines: {found['baselines']['ratio']:.1f} times faster", flush=True)
    for dataset in config.datasets.values():
        row = found["tuning"][dataset.name] = tuning(dataset, config, folder, copy, args.plain_trials)
        print(f"tuning {dataset.name}: {row['ratio']:.1f} times faster", flush=True)
    plain = sum(row["plain_seconds"] for row in found["tuning"].values())
    found["tuning_ratio"] = plain / sum(row["ours"]["seconds"] for row in found["tuning"].values())
    print(f"300 trials: {found['tuning_ratio']:.1f} times faster", flush=True)
    whole = plain + found["baselines"]["plain_seconds"]
    commands = {
        "dvc repro": cold(["dvc", "repro"], folder / "repro"),
        "python -m pipeline.repro": cold([sys.executable, "-m", "pipeline.repro"], folder / "side_by_side"),
        # with nothing that was downloaded before
        "make pipeline": cold(["make", "pipeline"], folder / "make", UV_NO_CACHE="1", PIP_NO_CACHE_DIR="1"),
    }
    found["plain_seconds"], found["cold"] = whole, {}
    for name, row in commands.items():
        found["cold"][name] = {**row, "ratio": whole / row["seconds"]}
        print(f"{name}: {row['seconds']:.0f} s, {whole / row['seconds']:.1f} times faster", flush=True)
    write_json(OUTPUT, json.loads(json.dumps(found), parse_float=lambda text: round(float(text), 4)))
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
