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
import html
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.config import SCORES, Config, PipelineError, load_config
from pipeline.data import file_sha256, write_json
from pipeline.gates import METRICS_DIR, Verdict, judge, read_results, select_model

LOG = Path("logs/validation.log")
COMPARISON = METRICS_DIR / "comparison_results.json"


def validate(names: Sequence[str], config: Config, confident: bool) -> list[Verdict]:
    """The verdicts of the named datasets, in the order of params.yaml and of its gates."""
    comparison, broken = read_comparison()
    verdicts = [] if broken is None else [_failure("", broken)]
    for name in names:
        try:
            dataset = config.dataset(name)
        except PipelineError as error:
            verdicts.append(_failure(name, str(error)))
            continue
        results = read_results(dataset, config)
        table = Path(dataset.file)
        if results.data_sha256 and table.is_file() and file_sha256(table) != results.data_sha256:
            verdicts.append(
                _failure(name, f"{table} has changed since; run `python generate_data.py --dataset {name}`")
            )
        published = comparison.get(name)
        verdicts += judge(dataset, config, results, published if isinstance(published, dict) else {}, confident)
    return verdicts


def read_comparison() -> tuple[dict[str, Any], str | None]:
    """comparison_results.json, and what is wrong with it."""
    mend = "run `python compare_results.py`"
    try:
        value = json.loads(COMPARISON.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, f"{COMPARISON} is missing; {mend}"
    except (OSError, ValueError) as error:
        return {}, f"{COMPARISON} cannot be read ({error}); {mend}"
    return (value, None) if isinstance(value, dict) else ({}, f"{COMPARISON} holds no results; {mend}")


def _failure(dataset: str, reason: str) -> Verdict:
    return Verdict(dataset or "all", "", "", "", None, None, passed=False, uncertain=False, reason=reason)


def promote(name: str, config: Config, confident: bool) -> str:
    """Register a dataset's chosen model, as champion where it beats the present one on the same test rows, else as
    challenger; returns what was done in words.

    Raises:
        PipelineError: the store, the run or the model file is missing or not what was logged.
    """
    from pipeline import assessment, evaluation, tracking

    dataset = config.dataset(name)
    results = read_results(dataset, config)
    chosen = select_model(results.models, dataset.metric)
    assert chosen is not None
    client = tracking.open_store()
    model = chosen.removesuffix("_tuned")
    stage = "baseline" if chosen == model else "tuned"
    run = tracking.newest_runs(client, name, stage, results.data_sha256, results.params_sha256).get(model)
    if run is None:
        script = "train.py" if stage == "baseline" else "tune_hyperparameters.py"
        raise PipelineError(
            f"{name}: no MLflow run of {chosen}; run `python {script} --dataset {name} --model {model}`"
        )
    candidate = run.load_model()
    champion = tracking.run_with_alias(client, name, "champion")
    if champion is not None and champion[1].run_id == run.run_id:
        return f"{name}: {chosen} is champion already (version {champion[0]})"
    words = "the first champion"
    wins = True
    if champion is not None:
        parts = assessment.load_parts(dataset, config)
        now, before = (
            evaluation.predict(fitted, parts.X_test, parts.y_test, dataset.task)
            for fitted in (candidate, champion[1].load_model())
        )
        [(difference, (low, high))] = evaluation.paired_differences(dataset.metric, now, [before], config.seed)
        wins = (low if confident else difference) > 0
        words = f"{dataset.metric} {difference:+.4f} [{low:+.4f}, {high:+.4f}] against version {champion[0]}"
    facts = results.models[chosen]
    tags = {
        "model": chosen,
        "data_sha256": results.data_sha256,
        "params_sha256": results.params_sha256,
        "git_commit": current_commit(),
        **{metric: str(value) for metric, value in facts["score"].items()},
        **{f"{metric}_interval": json.dumps(bounds) for metric, bounds in facts["interval"].items()},
    }
    version = tracking.register(client, name, run, tags)
    if not wins:
        tracking.set_challenger(client, name, version)
        return f"{name}: {chosen} is challenger (version {version}): {words}"
    tracking.set_champion(client, name, version)
    mirror_champion(name, chosen, run.metrics)
    return f"{name}: {chosen} is champion (version {version}): {words}"


def roll_back(name: str, config: Config) -> str:
    """Put the former champion of a dataset back; returns what was done in words.

    Raises:
        PipelineError: there is no store or no former champion.
    """
    from pipeline import tracking

    client = tracking.open_store()
    former = tracking.former_champion(client, config.dataset(name).name)
    if former is None:
        raise PipelineError(f"{name}: no former champion to go back to; `python validate.py --promote` makes champions")
    tracking.set_champion(client, name, former)
    restored = tracking.run_with_alias(client, name, "champion")
    assert restored is not None
    run = restored[1]
    ending = "_tuned" if run.tags["stage"] == "tuned" else ""
    mirror_champion(name, run.tags["model_type"] + ending, run.metrics)
    return f"{name}: version {former} is champion again"


def mirror_champion(name: str, model: str, metrics: Mapping[str, float]) -> None:
    """Write the champion's scores where gates find them without MLflow."""
    score = {metric: round(metrics[metric], 6) for scores in SCORES.values() for metric in scores if metric in metrics}
    write_json(METRICS_DIR / "champion" / f"{name}.json", {"dataset": name, "model": model, "score": score})


def append_log(verdicts: Sequence[Verdict]) -> None:
    """Add the verdicts to the log with time and commit; one write, so that parallel runs do not mix."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S%z")
    LOG.parent.mkdir(exist_ok=True)
    lines = "".join(f"{stamp} {current_commit()} {verdict.line()}\n" for verdict in verdicts)
    with LOG.open("a", encoding="utf-8") as log:
        log.write(lines)


def current_commit() -> str:
    """The short hash of the checked out commit; `-` outside a repository."""
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "-"
    return done.stdout.strip()


def annotate(verdicts: Sequence[Verdict]) -> None:
    """GitHub Actions: an error line for each failure, and a table in the step's summary."""
    for verdict in verdicts:
        if not verdict.passed:
            text = verdict.line().replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
            print(f"::error title=validation::{text}")
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        rows = ["| verdict | gate |", "|---|---|"]
        for verdict in verdicts:
            word = ("PASS" if verdict.passed else "FAIL") + (" (uncertain)" if verdict.uncertain else "")
            text = html.escape(f"{verdict.dataset}: {verdict.text()}").replace("|", "&#124;")
            rows.append(f"| {word} | {text} |")
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write("\n".join(["### Validation", "", *rows, ""]))


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
            print(roll_back(args.rollback, config))
            return 0
        verdicts = validate(list(config.datasets) if args.dataset == "all" else [args.dataset], config, args.confident)
        append_log(verdicts)
        passed = all(verdict.passed for verdict in verdicts)
        output = METRICS_DIR / "validation.json"
        write_json(output, {"passed": passed, "gates": [asdict(verdict) for verdict in verdicts]})
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for verdict in verdicts:
        print(verdict.line())
    failing = {verdict.dataset for verdict in verdicts if not verdict.passed}
    if args.promote:
        try:
            for name in dict.fromkeys(verdict.dataset for verdict in verdicts):
                blocked = name in failing or "all" in failing
                print(f"{name}: not promoted, it fails" if blocked else promote(name, config, args.confident))
        except PipelineError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    if os.environ.get("GITHUB_ACTIONS") == "true":
        annotate(verdicts)
    failed = sum(not verdict.passed for verdict in verdicts)
    print(f"{'PASS' if passed else 'FAIL'}: {len(verdicts) - failed} of {len(verdicts)} gates passed")
    print(f"wrote {LOG} and {output}")
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
