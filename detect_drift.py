"""Compare two tables column by column, and say in words what moved and whether to retrain.

    python detect_drift.py --dataset california_housing
    python detect_drift.py --dataset customer_churn --current new_rows.csv --fail-on-drift

Without files the train and test parts are compared. Drift is called where a corrected p-value and an effect size both
say so (of values, missing values or new categories), or where a feature is missing or has another type. Where a current
file has the target and a trained model exists, its score there is set beside its test score. Writes
reports/<dataset>/drift_report.html, quality_report.html and target_drift_report.html, and metrics/drift/<dataset>.json;
with --output all four go to a folder of their own.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.console import PipelineError, exit_code, reports_errors
from pipeline.files import file_sha256, write_json
from pipeline.settings import Config, Dataset, drift_sha256, load_config

if TYPE_CHECKING:
    import pandas as pd


def detect(
    dataset: Dataset, config: Config, reference_file: Path | None, current_file: Path | None, output: Path | None
) -> bool:
    """Compare, write the pages and the metrics, print the verdict; True where there is drift."""
    # these import numpy and pandas, which --help does not wait for
    from pipeline.drift.column import NAMED, as_json
    from pipeline.drift.compare import compare_tables, types_of
    from pipeline.drift.pages import write_pages
    from pipeline.drift.score import score_on_current
    from pipeline.drift.verdict import recommend, target_words, verdict_words
    from pipeline.gates.results import read_results
    from pipeline.ingest.contract import changes_against

    reference, current, known = load_sides(dataset, config, reference_file, current_file)
    print(f"{dataset.name}: comparing {len(reference):,} reference rows with {len(current):,} current rows", flush=True)
    types = types_of(dataset, reference)
    columns, target = compare_tables(reference, current, types, config.drift)
    changes, score, unscored = list[str](), None, ""
    if current_file:
        changes = changes_against(Path(f"{dataset.file}.schema.json"), current)
        try:
            score = score_on_current(dataset, read_results(dataset, config), current, known, config.seed)
        except PipelineError as error:
            unscored = str(error)
    headline, lines = verdict_words(columns, target)
    retrain, recommendation = recommend(columns, target, score, unscored)
    found = {
        "dataset": dataset.name,
        "data_sha256": file_sha256(Path(dataset.file)),
        "params_sha256": drift_sha256(config, dataset),
        "reference": str(reference_file or (dataset.file if current_file else "train part")),
        "reference_rows": len(reference),
        "current": str(current_file or "test part"),
        "current_rows": len(current),
        "drift": bool(lines),
        "retrain": retrain,
        "verdict": headline,
        "moved": lines,
        "recommendation": recommendation,
        "changes": changes,
        "score": as_json(score),
        "no_score": unscored,
        "target": as_json(target),
        "columns": as_json(columns),
    }
    folder = output or Path("reports") / dataset.name
    told = target_words(reference.get(dataset.target), current.get(dataset.target), dataset.target, target)
    pages = write_pages((reference, current), types, found, told, config.seed, folder)
    metrics = output / "drift.json" if output else Path("metrics/drift") / f"{dataset.name}.json"
    write_json(metrics, found)
    more = [f"and {len(lines) - NAMED} more"] if len(lines) > NAMED else []
    for line in (headline, *lines[:NAMED], *more, recommendation):
        print(f"{dataset.name}: {line}")
    print(f"wrote {', '.join(map(str, pages))} and {metrics}", flush=True)
    return bool(lines)


def load_sides(
    dataset: Dataset, config: Config, reference_file: Path | None, current_file: Path | None
) -> tuple[pd.DataFrame, pd.DataFrame, set[Any]]:
    """The reference, the current table, and the values of the target in the dataset's own. PipelineError: a file is
    missing or faulty, or the two have no column in common.
    """
    from pipeline.tables.read import read_rows, source_columns
    from pipeline.tables.split import load_dataset, split

    table = load_dataset(dataset)
    train, test = split(table, dataset, config)
    columns = source_columns(dataset.types, dataset.reading, table)

    def read(path: Path) -> pd.DataFrame:
        return table if path == Path(dataset.file) else read_rows(path, dataset, columns)

    reference = read(reference_file) if reference_file else table if current_file else train
    current = read(current_file) if current_file else test
    if not set(current) & set(reference):
        raise PipelineError(
            f"{current_file or reference_file}: no column in common with "
            f"{reference_file if current_file and reference_file else dataset.file}; is it the right table?"
        )
    return reference, current, set(table[dataset.target])


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Test two tables for drift and write Evidently reports.")
    add = parser.add_argument
    add("--dataset", choices=["all", *config.datasets], default="all", help="default: all")
    add("--reference", type=Path, metavar="FILE", help="default: the train part, or the whole table")
    add("--current", type=Path, metavar="FILE", help="default: the test part")
    place = "for reports and drift.json (default: reports/ and metrics/drift/)"
    add("--output", type=Path, metavar="FOLDER", help=place)
    add("--fail-on-drift", action="store_true", help="exit with 1 where drift is found")
    return parser


@reports_errors
def main(argv: Sequence[str] | None = None) -> int:
    config = load_config()
    parser = build_parser(config)
    args = parser.parse_args(argv)
    if args.dataset == "all" and (args.reference or args.current or args.output):
        parser.error("--reference, --current and --output need one --dataset")
    names = list(config.datasets) if args.dataset == "all" else [args.dataset]
    found = [detect(config.dataset(name), config, args.reference, args.current, args.output) for name in names]
    return 1 if args.fail_on_drift and any(found) else 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
