"""Decide whether the results are good enough: every gate of params.yaml, PASS or FAIL, and an exit code to act on.

    python validate.py
    python validate.py --dataset credit_fraud --confident
    python validate.py --promote

Gates are decided on the model that cross-validation selects. A missing, unreadable, non-numeric or stale metric fails.
Appends to logs/validation.log and writes metrics/validation.json. --promote registers the passing model of each dataset
in MLflow and makes it champion where it beats the present one, mirrored in metrics/champion/<dataset>.json. Exit code
0: all passed; 1: a gate failed.
"""

from __future__ import annotations

import argparse
import contextlib
import html
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import SCORES, Config, Dataset, PipelineError, load_config
from pipeline.console import exit_code
from pipeline.data import file_sha256, write_json
from pipeline.gates import METRICS_DIR, Verdict, failure, judge, read_object, read_results, select_model

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

    from pipeline.assessment import Parts
    from pipeline.evaluation import Predictions
    from pipeline.tracking import StoredRun

LOG = Path("logs/validation.log")
COMPARISON = METRICS_DIR / "comparison_results.json"
# An artifact of a promoted run: hashes of the rows that it was trained on.
TRAINING_ROWS = "training_rows.txt"


def validate(names: Sequence[str], config: Config, confident: bool) -> list[Verdict]:
    """The verdicts of the named datasets, in the order of params.yaml and of its gates.

    A table that is not there (a fresh clone has only its metrics) is not missed; the hashes among the metrics have to
    agree all the same.
    """
    comparison, wrong = read_object(COMPARISON)
    verdicts = [failure("all", f"{COMPARISON} {wrong}; run `python compare_results.py`")] if wrong else []
    for name in names:
        try:
            dataset = config.dataset(name)
        except PipelineError as error:
            verdicts.append(failure(name, str(error)))
            continue
        results = read_results(dataset, config)
        table = Path(dataset.file)
        if results.data_sha256 and table.is_file() and file_sha256(table) != results.data_sha256:
            verdicts.append(failure(name, f"{table} has changed since; run `python generate_data.py --dataset {name}`"))
        published = comparison.get(name)
        if not isinstance(published, dict):
            published = None if wrong else {}
        verdicts += judge(dataset, config, results, published, confident)
    return verdicts


def promote(name: str, config: Config, confident: bool) -> str:
    """Register a dataset's chosen model, as champion where it beats the present one on the same held-out rows, else as
    challenger; returns what was done in words.

    Raises:
        PipelineError: the store, the run or the model file is missing or not what was logged.
    """
    from pipeline import assessment, tracking

    dataset = config.dataset(name)
    results = read_results(dataset, config)
    chosen = select_model(results.models, dataset.metric)
    assert chosen is not None
    client = tracking.open_store()
    run = tracking.run_of(client, name, chosen, results.data_sha256, results.params_sha256)
    candidate = run.load_model()
    parts = assessment.load_parts(dataset, config)
    facts = results.models[chosen]
    tags = {
        "model": chosen,
        "data_sha256": results.data_sha256,
        "params_sha256": results.params_sha256,
        "git_commit": current_commit(),
        **{metric: str(value) for metric, value in facts["score"].items()},
        **{f"{metric}_interval": json.dumps(bounds) for metric, bounds in facts["interval"].items()},
    }
    with tracking.locked_store(client):
        version = tracking.register(client, name, run, tags, {TRAINING_ROWS: "\n".join(row_hashes(parts.X_train))})
        champion = tracking.run_with_alias(client, name, "champion")
        if champion is not None and champion[0] == version:
            mirror_champion(name, chosen, run.metrics)
            return f"{name}: {chosen} is champion already (version {version})"
        if tracking.was_rolled_back(client, name, version):
            return f"{name}: {chosen} was rolled back (version {version}) and is not promoted again"
        if champion is None:
            wins, words = True, "the first champion"
        else:
            wins, words = contest(dataset, config, parts, (run, candidate), champion[1], confident)
            words = f"{words} version {champion[0]}"
        if not wins:
            tracking.set_challenger(client, name, version)
            return f"{name}: {chosen} is challenger (version {version}): {words}"
        tracking.set_champion(client, name, version)
        mirror_champion(name, chosen, run.metrics)
    return f"{name}: {chosen} is champion (version {version}): {words}"


def contest(
    dataset: Dataset,
    config: Config,
    parts: Parts,
    challenger: tuple[StoredRun, Pipeline],
    champion: StoredRun,
    confident: bool,
) -> tuple[bool, str]:
    """Whether the challenger beats the champion on the same rows, which neither was trained on, and that in words.

    Where a dataset is judged by cross-validation and the champion has the same table, the out-of-fold predictions of
    both are compared, which both runs hold for every row. Otherwise both models predict the rows of the test part,
    without those that the champion was trained on: after a change of the data, its training rows can be among them.
    """
    import numpy as np

    from pipeline import evaluation

    try:
        reigning = champion.load_model()
        known = set(champion.artifact(TRAINING_ROWS).read_text(encoding="utf-8").split())
    except PipelineError as error:
        mend = f"`python validate.py --rollback {dataset.name}`, or take the alias off it in `make ui`"
        raise PipelineError(f"{dataset.name}: the champion cannot be used; {mend}; {error}") from None
    run, candidate = challenger
    recorded = recorded_predictions(dataset, run, champion)
    if recorded is not None:
        now, before = recorded
    else:
        if not set(reigning.feature_names_in_) <= set(parts.X_test):
            return True, "the table lacks columns of"
        unseen = np.array([row not in known for row in row_hashes(parts.X_test)])
        X, y = parts.X_test[unseen], parts.y_test[unseen]
        if len(np.unique(y)) < 2:
            return False, f"too few of the {len(parts.y_test)} test rows are new to"
        now, before = (evaluation.predict(model, X, y, dataset.task) for model in (candidate, reigning))
    [(difference, (low, high))] = evaluation.paired_differences(dataset.metric, now, [before], config.seed)
    words = f"{dataset.metric} {difference:+.4f} [{low:+.4f}, {high:+.4f}] on {len(now.actual):,} rows against"
    return (low if confident else difference) > 0, words


def recorded_predictions(
    dataset: Dataset, run: StoredRun, champion: StoredRun
) -> tuple[Predictions, Predictions] | None:
    """The out-of-fold predictions of both runs for all rows; None where they are not of the same rows."""
    from pipeline import assessment

    if dataset.evaluation != "cross_validation" or champion.tags.get("data_sha256") != run.tags["data_sha256"]:
        return None
    now, before = (
        assessment.read_predictions(found.artifact("predictions.csv"), dataset.task) for found in (run, champion)
    )
    # the champion may have been judged on the test part then
    return (now, before) if len(now.actual) == len(before.actual) else None


def row_hashes(frame: pd.DataFrame) -> list[str]:
    """A 64-bit hash of each row's values, as text."""
    from pandas.util import hash_pandas_object

    return [f"{value:016x}" for value in hash_pandas_object(frame, index=False)]


def roll_back(name: str) -> str:
    """Put the former champion of a dataset back; returns what was done in words.

    Raises:
        PipelineError: there is no store, no former champion, or its model file is not what was logged.
    """
    from pipeline import tracking

    client = tracking.open_store()
    with tracking.locked_store(client):
        former = tracking.former_champion(client, name)
        if former is None:
            raise PipelineError(f"{name}: there is no former champion to go back to")
        version, run = former
        run.model_file()
        # the mirror first: the next call finishes one that was killed in between, and goes back no further
        mirror_champion(name, run.name, run.metrics)
        tracking.restore_champion(client, name, version)
    return f"{name}: version {version} is champion again"


def mirror_champion(name: str, model: str, metrics: Mapping[str, float]) -> None:
    """Write the champion's scores where gates find them without MLflow."""
    score = {metric: round(metrics[metric], 6) for scores in SCORES.values() for metric in scores if metric in metrics}
    write_json(METRICS_DIR / "champion" / f"{name}.json", {"dataset": name, "model": model, "score": score})


def append_log(verdicts: Sequence[Verdict]) -> None:
    """Add the verdicts to the log with time and commit; one write, so that parallel runs do not mix.

    Raises:
        PipelineError: the log cannot be written.
    """
    head = f"{time.strftime('%Y-%m-%d %H:%M:%S%z')} {current_commit()[:9]}"
    size = LOG.stat().st_size if LOG.is_file() else 0
    try:
        LOG.parent.mkdir(exist_ok=True)
        with LOG.open("a", encoding="utf-8") as log:
            log.write("".join(f"{head} {verdict.line()}\n" for verdict in verdicts))
    except OSError as error:
        # no half line stays where the disk was full
        with contextlib.suppress(OSError):
            os.truncate(LOG, size)
        raise PipelineError(f"{LOG}: cannot be written ({error.strerror})") from None


def current_commit() -> str:
    """The hash of the checked out commit; `-` outside a repository."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "-"
    return done.stdout.strip()


def annotate(verdicts: Sequence[Verdict], summary: str | None) -> None:
    """GitHub Actions: an error line for each failure, and a table in the step's summary file."""
    for verdict in verdicts:
        if not verdict.passed:
            text = verdict.line().replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
            print(f"::error title=validation::{text}")
    if not summary:
        return
    rows = ["| verdict | gate |", "|---|---|"]
    for verdict in verdicts:
        text = html.escape(f"{verdict.dataset}: {verdict.text()}").replace("|", "&#124;").replace("\n", " ")
        rows.append(f"| {verdict.word()} | {text} |")
    try:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write("\n".join(["### Validation", "", *rows, ""]))
    except OSError as error:
        # the verdict stands without its decoration
        print(f"note: {summary}: the step summary cannot be written ({error.strerror})", file=sys.stderr)


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Check the results against the gates of params.yaml.")
    parser.add_argument("--dataset", choices=["all", *config.datasets], default="all", help="default: all")
    parser.add_argument(
        "--confident", action="store_true", help="the bound of the 95%% interval has to pass, not the value alone"
    )
    parser.add_argument("--promote", action="store_true", help="register passing models and move the alias champion")
    parser.add_argument(
        "--rollback", choices=list(config.datasets), metavar="DATASET", help="put the former champion back, and stop"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    try:
        config = load_config()
        args = build_parser(config).parse_args(argv)
        if args.rollback:
            print(roll_back(args.rollback))
            return 0
        names = list(config.datasets) if args.dataset == "all" else [args.dataset]
        verdicts = validate(names, config, args.confident)
        failed = [verdict for verdict in verdicts if not verdict.passed]
        passed = bool(verdicts) and not failed
        append_log(verdicts)
        output = METRICS_DIR / "validation.json"
        write_json(output, {"passed": passed, "gates": [asdict(verdict) for verdict in verdicts]})
        for verdict in verdicts:
            print(verdict.line())
        if os.environ.get("GITHUB_ACTIONS") == "true":
            annotate(verdicts, os.environ.get("GITHUB_STEP_SUMMARY"))
        blocked = {verdict.dataset for verdict in failed}
        for name in names if args.promote else ():
            fails = name in blocked or "all" in blocked
            print(f"{name}: not promoted, it fails" if fails else promote(name, config, args.confident), flush=True)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{'PASS' if passed else 'FAIL'}: {len(verdicts) - len(failed)} of {len(verdicts)} gates passed")
    print(f"wrote {LOG} and {output}")
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
