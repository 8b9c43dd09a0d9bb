"""Put every model's results side by side: JSON for machines, one HTML page for people.

    python compare_results.py
    python compare_results.py --tracking-uri sqlite:///a/db.sqlite --tracking-uri sqlite:///b/db.sqlite

Takes from MLflow, for each dataset and model, the newest finished run of exactly the data and settings that metrics/
tells of. Writes metrics/comparison_results.json, metrics/summary.json, reports/comparison_report.html,
reports/comparison.csv and reports/summary.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.comparison.collect import REPORT, compare_dataset
from pipeline.comparison.summary import comparison_csv, summarise
from pipeline.comparison.words import overall_words, summary_markdown
from pipeline.console import PipelineError, exit_code
from pipeline.files import read_json, write_json, write_text
from pipeline.settings import load_config

OUTPUTS = (
    Path("metrics/comparison_results.json"),
    Path("metrics/summary.json"),
    REPORT,
    Path("reports/comparison.csv"),
    Path("reports/summary.md"),
)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compare all models and write the report.")
    parser.add_argument(
        "--tracking-uri",
        action="append",
        metavar="URI",
        help="an MLflow store to read, can be given several times (default: mlruns/db.sqlite)",
    )
    parser.add_argument(
        "--against", type=Path, metavar="FILE", help="an earlier comparison_results.json, to show the differences to"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    try:
        config = load_config()
        args = build_parser().parse_args(argv)
        earlier = read_json(args.against, "python compare_results.py") if args.against else None
        from pipeline.store.connect import open_store

        stores = [open_store(uri) for uri in args.tracking_uri or [None]]
        comparisons = []
        for name in config.datasets:
            print(f"comparing {name}", flush=True)
            comparisons.append(compare_dataset(config.dataset(name), config, stores))
        from pipeline.comparison.page import render

        summary = summarise(comparisons)
        results = {
            comparison.dataset: {
                entry.name: {metric: round(value, 6) for metric, value in entry.metrics.items()}
                for entry in comparison.entries
            }
            for comparison in comparisons
        }
        made_from = f"Made by compare_results.py from {len(comparisons)} datasets and " + (
            f"{sum(len(comparison.entries) for comparison in comparisons)} models; scores are those of fitted models."
        )
        write_json(OUTPUTS[0], results)
        write_json(OUTPUTS[1], summary)
        write_text(REPORT, render(comparisons, overall_words(summary), made_from))
        write_text(OUTPUTS[3], comparison_csv(comparisons))
        write_text(OUTPUTS[4], summary_markdown(comparisons, summary, earlier))
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(overall_words(summary))
    print(f"wrote {', '.join(map(str, OUTPUTS))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
