"""Compare two tables column by column, and say in words what moved and whether to retrain.

    python detect_drift.py --dataset california_housing
    python detect_drift.py --dataset customer_churn --current new_rows.csv --fail-on-drift

Without files the train and test parts are compared. Drift is called where a corrected p-value and an effect size both
say so, or where missing values or new categories appear. Where a current file has the target and a trained model
exists, its score there is set beside its test score. Writes reports/<dataset>/drift_report.html, quality_report.html
and target_drift_report.html, and metrics/drift/<dataset>.json; with --output all four go to a folder of their own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.console import PipelineError, exit_code
from pipeline.drift.column import NAMED, ColumnDrift
from pipeline.drift.columns import compare_tables
from pipeline.drift.pages import write_reports
from pipeline.drift.score import Score, score_on_current
from pipeline.drift.verdict import recommend, verdict_words
from pipeline.files import file_sha256, write_json
from pipeline.ingest.contract import changes_against
from pipeline.settings import Config, Dataset, drift_sha256, load_config
from pipeline.tables.read import read_table
from pipeline.tables.split import load_dataset, split

if TYPE_CHECKING:
    pass


def detect(
    dataset: Dataset, config: Config, reference_file: Path | None, current_file: Path | None, output: Path | None
) -> bool:
    """Compare, write the reports and the metrics, print the verdict; True where there is drift."""
    table = load_dataset(dataset)
    train, test = split(table, dataset, config)
    hint = "give an existing CSV or Parquet file"
    given = {
        path: read_table(path, hint, dataset.types, strict=False) for path in (reference_file, current_file) if path
    }
    reference = given[reference_file] if reference_file else train if current_file is None else table
    current = given[current_file] if current_file else test
    known = set(table[dataset.target])
    del table, train, test
    if not set(current) & set(reference):
        raise PipelineError(
            f"{current_file or reference_file}: no column in common with "
            f"{reference_file if current_file and reference_file else dataset.file}; is it the right table?"
        )
    print(f"{dataset.name}: comparing {len(reference):,} reference rows with {len(current):,} current rows", flush=True)
    changes = changes_against(Path(f"{dataset.file}.schema.json"), current) if current_file else []
    columns, target = compare_tables(reference, current, dataset, config.drift)
    scored = score_on_current(dataset, config, current, known) if current_file else ""
    score, unscored = (scored, "") if isinstance(scored, Score) else (None, scored)
    headline, lines = verdict_words(columns, target)
    retrain, recommendation = recommend(columns, target, score, unscored)
    found = {
        "dataset": dataset.name,
        "data_sha256": file_sha256(Path(dataset.file)),
        "params_sha256": drift_sha256(config, dataset),
        "reference": str(reference_file or ("train part" if current_file is None else dataset.file)),
        "reference_rows": len(reference),
        "current": str(current_file or "test part"),
        "current_rows": len(current),
        "drift": any(column.drift for column in columns) or (target is not None and target.drift),
        "retrain": retrain,
        "verdict": headline,
        "moved": lines,
        "recommendation": recommendation,
        "changes": changes,
        "score": None if score is None else rounded(score),
        "no_score": unscored,
        "target": None if target is None else rounded(target),
        "columns": [rounded(column) for column in columns],
    }
    folder = output or Path("reports") / dataset.name
    paths = write_reports(reference, current, dataset, columns, target, found, config, folder)
    metrics = output / "drift.json" if output else Path("metrics/drift") / f"{dataset.name}.json"
    write_json(metrics, found)
    for line in (headline, *lines[:NAMED], *([f"and {len(lines) - NAMED} more"] if len(lines) > NAMED else [])):
        print(f"{dataset.name}: {line}")
    print(f"{dataset.name}: {recommendation}")
    print(f"wrote {', '.join(map(str, paths))} and {metrics}", flush=True)
    return bool(found["drift"])


def rounded(facts: ColumnDrift | Score) -> dict[str, Any]:
    """A dataclass as plain values, numbers to six significant digits."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(part) for part in value]
        return float(f"{value:.6g}") if isinstance(value, float) else value

    return {key: plain(value) for key, value in asdict(facts).items()}


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Test two tables for drift and write Evidently reports.")
    parser.add_argument("--dataset", choices=["all", *config.datasets], default="all", help="default: all")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="default: the train part, or the whole table")
    parser.add_argument("--current", type=Path, metavar="FILE", help="default: the test part")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="for reports and drift.json (default: reports/ and metrics/drift/)",
    )
    parser.add_argument("--fail-on-drift", action="store_true", help="exit with 1 where drift is found")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    try:
        config = load_config()
        parser = build_parser(config)
        args = parser.parse_args(argv)
        if args.dataset == "all" and (args.reference or args.current or args.output):
            parser.error("--reference, --current and --output need one --dataset")
        names = list(config.datasets) if args.dataset == "all" else [args.dataset]
        found = [detect(config.dataset(name), config, args.reference, args.current, args.output) for name in names]
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if args.fail_on_drift and any(found) else 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
