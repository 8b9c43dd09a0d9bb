"""Compare two tables column by column and as a whole, and say in words what moved and whether to retrain.

    python detect_drift.py --dataset california_housing
    python detect_drift.py --dataset customer_churn --current new_rows.csv --fail-on-drift
    python detect_drift.py --dataset customer_churn --current january.csv february.csv
    python detect_drift.py --dataset customer_churn --current new_rows.csv --labels answers.csv --key customerID

Without files the train and test parts are compared. Drift is called where a share of rows changed by more than chance
and by more than `drift.min_change`, in a column or in how the columns go together. Where a model is trained, its score
on a current file is estimated without labels and, where there are labels, computed. Writes
reports/<dataset>/drift_report.html, quality_report.html and target_drift_report.html, and metrics/drift/<dataset>.json;
with --output all four go to a folder of their own. Each check of a file adds a line to logs/drift/<dataset>.jsonl.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.console import PipelineError, exit_code, nearest, reports_errors
from pipeline.files import file_sha256, write_json
from pipeline.settings import PARTS, Config, Dataset, drift_sha256, load_config

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Asked:
    """What a call asks for: files, how the current ones are cut into windows, where labels are, where results go."""

    reference: Path | None = None
    current: tuple[Path, ...] = ()
    by: str = ""
    labels: Path | None = None
    key: str = ""
    output: Path | None = None
    pages: bool = True


def detect(dataset: Dataset, config: Config, asked: Asked) -> bool:
    """Compare, write the pages and the metrics, print the verdict; True where there is drift."""
    # these import numpy and pandas, which --help does not wait for
    from pipeline.drift.check import check
    from pipeline.drift.column import NAMED
    from pipeline.drift.history import remember, remembered
    from pipeline.drift.model import judged_model
    from pipeline.drift.recoded import is_part_of
    from pipeline.drift.results import points_of, results_of
    from pipeline.ingest.contract import changes_against

    if asked.pages:
        # here, so that nobody waits for the verdict to learn that Evidently is not installed
        from pipeline.drift.pages import write_pages

    table, reference, windows = load_sides(dataset, config, asked)
    rows = sum(map(len, windows.values()))
    print(f"{dataset.name}: comparing {len(reference):,} reference rows and {rows:,} current ones", flush=True)
    model, no_model = None, ""
    if asked.current:
        try:
            model = judged_model(dataset, config)
        except PipelineError as error:
            no_model = str(error)
    checks = {
        name: check(
            dataset,
            config.drift,
            reference,
            window,
            seed=config.seed,
            alpha=config.drift.alpha / len(windows),
            moving=[asked.by] if asked.by else [],
            table=table if asked.current else None,
            model=model,
            no_model=no_model,
        )
        for name, window in windows.items()
    }
    itself = bool(asked.current or asked.reference) and any(is_part_of(one, reference) for one in windows.values())
    # pages and metrics tell of the window where it began, or of the last one
    shown = next((name for name, one in checks.items() if one.drift), list(checks)[-1])
    contract = Path(f"{dataset.file}.schema.json")
    found = {
        "dataset": dataset.name,
        "data_sha256": file_sha256(Path(dataset.file)),
        "params_sha256": drift_sha256(config, dataset),
        "reference": str(asked.reference or (dataset.file if asked.current else PARTS[0])),
        "reference_rows": len(reference),
        "current": ", ".join(map(str, asked.current)) or PARTS[1],
        "current_rows": rows,
        "itself": itself,
        **results_of(checks, shown),
        "changes": changes_against(contract, windows[shown]) if asked.current else [],
    }
    points = points_of(checks)
    places = []
    if asked.pages:
        history = points if len(points) > 1 or not asked.current else [*remembered(dataset.name), *points]
        folder = asked.output or Path("reports") / dataset.name
        places += write_pages((reference, windows[shown]), dataset.target, found, history, config, folder)
    places.append(asked.output / "drift.json" if asked.output else Path("metrics/drift") / f"{dataset.name}.json")
    write_json(places[-1], found)
    if asked.current:
        places.append(remember(dataset.name, points))
    more = [f"and {len(found['moved']) - NAMED} more"] if len(found["moved"]) > NAMED else []
    for line in (found["verdict"], *found["moved"][:NAMED], *more, found["model_words"], found["recommendation"]):
        if line:
            print(f"{dataset.name}: {line}")
    print(f"wrote {', '.join(map(str, places))}", flush=True)
    return any(one.drift for one in checks.values())


def load_sides(
    dataset: Dataset, config: Config, asked: Asked
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, pd.DataFrame]]:
    """The training table, the reference, and the current table in its windows. PipelineError: a file is missing or
    faulty, or has no column in common with the reference.
    """
    from pipeline.drift.labels import with_labels
    from pipeline.drift.windows import MOST_WINDOWS, windows_by
    from pipeline.tables.read import read_rows, source_columns
    from pipeline.tables.split import load_dataset, split

    table = load_dataset(dataset)
    columns = source_columns(dataset.types, dataset.reading, table)

    def read(path: Path) -> pd.DataFrame:
        frame = table if path == Path(dataset.file) else read_rows(path, dataset, columns)
        features = [name for name in table if name != dataset.target and name not in dataset.unused]
        common = [name for name in features if name in frame]
        if 2 * len(common) < len(features) or not set(frame) & set(table):
            words = f"{len(common)} of {len(features)} features" if common else "no column"
            raise PipelineError(f"{path}: {words} in common with {dataset.file}; is it the right table?")
        return frame

    for name in config.drift.moving.get(dataset.name, ()):
        if name not in table:
            raise PipelineError(
                f"params.yaml: drift.moving.{dataset.name}: no column {name!r}; {nearest(name, list(table))}"
            )
    if len(asked.current) > MOST_WINDOWS:
        raise PipelineError(f"--current: {len(asked.current)} files are too many; at most {MOST_WINDOWS} can be judged")
    train, test = split(table, dataset, config)
    reference = read(asked.reference) if asked.reference else table if asked.current else train
    windows = {str(path): read(path) for path in asked.current} or {PARTS[1]: test}
    if asked.labels:
        labels, rows = read_rows(asked.labels, dataset, columns), sum(map(len, windows.values()))
        windows = {name: with_labels(one, labels, asked.key, dataset.target) for name, one in windows.items()}
        count = sum(len(one) for one in windows.values() if dataset.target in one)
        if not count:
            raise PipelineError(
                f"{asked.labels}: no current row has a label; is {asked.key!r} the same in both tables?"
            )
        print(f"{dataset.name}: {count:,} of {rows:,} current rows have a label; only these are compared")
    if asked.by:
        import pandas as pd

        windows = windows_by(pd.concat(windows.values(), ignore_index=True), asked.by)
    return table, reference, windows


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Test two tables for drift and write Evidently reports.")
    add = parser.add_argument
    add("--dataset", choices=["all", *config.datasets], default="all", help="default: all")
    add("--reference", type=Path, metavar="FILE", help="default: the train part, or the whole table")
    add("--current", type=Path, nargs="+", metavar="FILE", default=[], help="default: the test part; each is a window")
    add("--by", default="", metavar="COLUMN", help="one verdict a window of its dates, numbers or words")
    add("--labels", type=Path, metavar="FILE", help="labels that came later, joined to --current by --key")
    add("--key", default="", metavar="COLUMN", help="the column of both that says which row is which")
    place = "for reports and drift.json (default: reports/ and metrics/drift/)"
    add("--output", type=Path, metavar="FOLDER", help=place)
    add("--no-pages", action="store_true", help="metrics and verdict alone, for machines")
    add("--fail-on-drift", action="store_true", help="exit with 1 where drift is found")
    return parser


@reports_errors
def main(argv: Sequence[str] | None = None) -> int:
    config = load_config()
    parser = build_parser(config)
    args = parser.parse_args(argv)
    if args.dataset == "all" and (args.reference or args.current or args.output or args.by):
        parser.error("--reference, --current, --by and --output need one --dataset")
    if bool(args.labels) != bool(args.key) or (args.labels and not args.current):
        parser.error("--labels and --key go together, with --current")
    if args.by and not args.current:
        parser.error("--by cuts the files of --current; give one")
    if len({path.resolve() for path in args.current}) < len(args.current):
        parser.error("--current names a file twice")
    asked = Asked(
        reference=args.reference,
        current=tuple(args.current),
        by=args.by,
        labels=args.labels,
        key=args.key,
        output=args.output,
        pages=not args.no_pages,
    )
    names = list(config.datasets) if args.dataset == "all" else [args.dataset]
    found = [detect(config.dataset(name), config, asked) for name in names]
    return 1 if args.fail_on_drift and any(found) else 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
