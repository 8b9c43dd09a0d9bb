"""Put every model's results side by side: JSON for machines, one HTML page for people.

    python compare_results.py
    python compare_results.py --tracking-uri sqlite:///a/db.sqlite --tracking-uri sqlite:///b/db.sqlite

Takes from MLflow, for each dataset and model, the newest finished run of exactly the data and settings that metrics/
tells of. Writes metrics/comparison_results.json, metrics/checks.json, metrics/summary.json,
reports/comparison_report.html, reports/comparison.csv, reports/summary.md, and reports/plots/ for `dvc plots`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline.console import PipelineError, exit_code, reports_errors
from pipeline.files import write_json, write_text
from pipeline.settings import load_config

RESULTS, CHECKS, SUMMARY = (Path("metrics") / f"{name}.json" for name in ("comparison_results", "checks", "summary"))
REPORT, TABLE, MARKDOWN = (
    Path("reports") / name for name in ("comparison_report.html", "comparison.csv", "summary.md")
)
PLOTS = Path("reports/plots")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compare all models and write the report.")
    parser.add_argument(
        "--tracking-uri",
        action="append",
        metavar="URI",
        help="an MLflow store to read, can be given several times (default: MLFLOW_TRACKING_URI, or mlruns/db.sqlite)",
    )
    return parser


@reports_errors
def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    config = load_config()
    from pipeline.comparison.collect import compare_dataset
    from pipeline.comparison.page import comparison_page, summary_markdown
    from pipeline.comparison.summary import all_checks, all_scores, comparison_csv, overall_words, summarise
    from pipeline.comparison.tables import plot_tables
    from pipeline.store.connect import open_store

    stores = [open_store(uri) for uri in args.tracking_uri or [None]]
    comparisons, wrong = [], []
    for name in config.datasets:
        print(f"comparing {name}", flush=True)
        try:
            comparisons.append(compare_dataset(config.dataset(name), config, stores))
        except PipelineError as error:
            wrong.append(str(error))
    if wrong:
        # all at once, not one a call
        raise PipelineError("; ".join(wrong))
    summary = summarise(comparisons)
    words = overall_words(comparisons, summary["best_overall"])
    write_json(CHECKS, all_checks(comparisons))
    write_json(SUMMARY, summary)
    # last, as the gates compare it with what was trained
    write_json(RESULTS, all_scores(comparisons))
    settings = f"seed {config.seed}, {config.folds} folds, {config.test_size:.0%} of the rows to test on"
    write_text(REPORT, comparison_page(comparisons, words, settings))
    write_text(TABLE, comparison_csv(comparisons))
    write_text(MARKDOWN, summary_markdown(comparisons, summary))
    for name, text in plot_tables(comparisons).items():
        write_text(PLOTS / name, text)
    print(words)
    print(f"wrote {', '.join(map(str, (RESULTS, CHECKS, SUMMARY, REPORT, TABLE, MARKDOWN)))} and {PLOTS}/")
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
