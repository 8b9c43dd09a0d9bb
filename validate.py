"""Decide whether the results are good enough: every gate of params.yaml, PASS or FAIL, and an exit code to act on.

    python validate.py
    python validate.py --dataset credit_fraud --confident
    python validate.py --promote

Gates are decided on the model that cross-validation selects. A missing, unreadable, non-numeric or stale metric fails.
Appends to logs/validation.log, and writes metrics/validation.json and reports/index.html. --promote registers the
passing model of each dataset in MLflow and makes it champion where it is shown to beat the present one,
mirrored in metrics/champion/<dataset>.json. Exit code 0: all passed; 1: a gate failed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from pipeline.console import PipelineError, exit_code, reports_errors
from pipeline.files import file_sha256, write_json
from pipeline.gates.judge import Lead, Verdict, earlier_verdicts, failure, judge, told
from pipeline.gates.log import LOG, annotate, append_log
from pipeline.gates.overview import INDEX, standings_of, table_lines, write_index
from pipeline.gates.results import METRICS_DIR, read_object, read_results
from pipeline.settings import EVERY, Config, Dataset, load_config
from pipeline.store.connect import store_lock
from pipeline.store.source import current_commit

COMPARISON = METRICS_DIR / "comparison_results.json"


def validate(names: Sequence[str], config: Config, confident: bool) -> list[Verdict]:
    """The verdicts of the named datasets, in the order of params.yaml and of its gates.

    A table that is not there (a fresh clone has only its metrics) is not missed; the hashes among the metrics have to
    agree all the same.
    """
    comparison, wrong = read_object(COMPARISON)
    verdicts = [failure(EVERY, f"{COMPARISON} {wrong}; run `python compare_results.py`")] if wrong else []
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
        over_champion = champion_leads(dataset, config, confident and results.champion is not None)
        verdicts += judge(dataset, config, results, published, confident, over_champion)
    return verdicts


def champion_leads(dataset: Dataset, config: Config, confident: bool) -> Mapping[str, Lead] | str:
    """The chosen model's lead over the champion by metric, for gates that need it to be confident; or why there is
    none.
    """
    if not confident or all(gate.over != "champion" for gate in config.gates_of(dataset)):
        return "it comes with --confident"
    from pipeline.gates.promotion import leads_over_champion

    try:
        return leads_over_champion(dataset, config)
    except PipelineError as error:
        return str(error)


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Check the results against the gates of params.yaml.")
    parser.add_argument("--dataset", choices=[EVERY, *config.datasets], default=EVERY, help="default: all")
    parser.add_argument(
        "--confident", action="store_true", help="the bound of the 95%% interval has to pass, not the value alone"
    )
    parser.add_argument("--promote", action="store_true", help="register passing models and move the alias champion")
    parser.add_argument(
        "--rollback", choices=list(config.datasets), metavar="DATASET", help="put the former champion back, and stop"
    )
    return parser


@reports_errors
def main(argv: Sequence[str] | None = None) -> int:
    config = load_config()
    args = build_parser(config).parse_args(argv)
    if args.rollback:
        from pipeline.gates.promotion import roll_back

        print(roll_back(args.rollback))
        return 0
    names = list(config.datasets) if args.dataset == EVERY else [args.dataset]
    verdicts = validate(names, config, args.confident)
    passed = bool(verdicts) and all(verdict.passed for verdict in verdicts)
    commit = current_commit()
    append_log(verdicts, commit)
    output = METRICS_DIR / "validation.json"
    with store_lock():
        # read and written under one lock: a call for another dataset may end at the same time
        others = [verdict for verdict in earlier_verdicts(output) if verdict.dataset in set(config.datasets) - {*names}]
        every = sorted([*verdicts, *others], key=lambda verdict: [EVERY, *config.datasets].index(verdict.dataset))
        all_passed = passed and all(verdict.passed for verdict in others)
        write_json(output, {"passed": all_passed, "gates": [asdict(verdict) for verdict in every]})
        standings = standings_of(config, every)
        write_index(standings, every, commit, config)
    for verdict in verdicts:
        print(verdict.line())
    if os.environ.get("GITHUB_ACTIONS") == "true":
        annotate(verdicts, os.environ.get("GITHUB_STEP_SUMMARY"))
    if args.promote:
        from pipeline.gates.promotion import promote

        blocked = {verdict.dataset for verdict in verdicts if not verdict.passed}
        for name in names:
            own = [verdict for verdict in verdicts if verdict.dataset == name]
            fails = not blocked.isdisjoint((name, EVERY))
            done = f"{name}: not promoted, it fails" if fails else promote(name, config, commit, own)
            print(done, flush=True)
        # a champion brings its card
        write_index(standings, every, commit, config)
    print("\n".join(["", *table_lines([one for one in standings if one.dataset in names]), "", told(verdicts)]))
    print(f"wrote {LOG}, {output} and {INDEX}, which leads to every page; `make ui` shows the runs")
    if passed and not args.promote:
        print("next: `python validate.py --promote` makes the chosen models champions, to be served")
    return 0 if passed else 1


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
