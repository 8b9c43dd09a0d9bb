"""Make the calibrated tables, or take in a table of your own, and write down what each is like.

    python generate_data.py --dataset all
    python generate_data.py --dataset california_housing --rows 200000
    python generate_data.py --describe path/to/table.csv --target price
    python generate_data.py --add houses path/to/table.csv --target price

The calibrated tables come from pipeline/generators/. For any other dataset of params.yaml this is the ingest step:
its `source` is checked, how its values are written, its column types, task and the like are inferred where params.yaml
is silent, and the table is written to its `file`, its contract (a pandera schema) to `<file>.schema.json`, what was
understood to metrics/data/<dataset>.json and reports/<dataset>/data.html. --describe tells what would be understood of
a file, and writes nothing; --add writes the lines for it into params.yaml.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.console import PipelineError, exit_code, reports_errors
from pipeline.files import write_json, write_text
from pipeline.settings import FEWEST_ROWS, MOST_ROWS, PARAMS_FILE, Config, Dataset, load_config

if TYPE_CHECKING:
    import pandas as pd

GENERATORS_FOLDER = Path("pipeline/generators")
# Settings of a dataset that are text, whatever they look like.
TEXTS = ("sheet", "table", "encoding", "delimiter", "decimal", "task", "metric", "evaluation", "tune")
# More generated rows than this go into Parquet: a CSV file of them takes minutes to write and to read in every stage.
CSV_ROWS = 1_000_000


def make(name: str, config: Config, seed: int, rows: int | None = None) -> None:
    """Write a dataset's table, its contract and its facts, and print what was found.

    Args:
        rows: of a calibrated table; None for as many as params.yaml says, or were calibrated.
    """
    from pipeline.ingest.contract import changes_against, learn_contract
    from pipeline.ingest.facts import column_lines, facts_of, found_words, write_table
    from pipeline.ingest.infer import calibrated, take_in_file
    from pipeline.ingest.page import data_page

    dataset = config.datasets[name]
    own = is_own(dataset)
    if own:
        if dataset.rows:
            raise PipelineError(f"params.yaml: datasets.{name}.rows: scales calibrated tables only; remove it")
        table = take_in_file(dataset, config)
    else:
        made, ceiling = generate(dataset, seed, rows or dataset.rows)
        table = calibrated(dataset, made, ceiling, config)
    path, facts, page = Path(dataset.file), Path("metrics/data") / f"{name}.json", Path("reports") / name / "data.html"
    contract = Path(f"{path}.schema.json")
    for change in changes_against(contract, table.frame):
        print(f"{name}: changed since the last table: {change}")
    write_table(table.frame, path)
    write_text(contract, learn_contract(table.frame, table.dataset.types, dataset.target))
    write_json(facts, found := facts_of(table))
    write_text(page, data_page(name, table.frame, table.understood, found))
    if own:
        for line in found_words(table, config.gates_of(table.dataset)[0]):
            print(f"{name}: {line}")
        print("\n".join(column_lines(table.understood)))
    rows, columns = table.frame.shape
    print(f"wrote {path} ({rows:,} rows, {columns} columns), {contract}, {facts} and {page}")


def generate(dataset: Dataset, seed: int, rows: int | None) -> tuple[pd.DataFrame, float]:
    """The rows of a calibrated table, and the best score that they allow. PipelineError: there is no generator of that
    name, or there are too many rows for a CSV file.
    """
    from pipeline.generators import GENERATORS

    if dataset.name not in GENERATORS:
        raise PipelineError(f"params.yaml: datasets.{dataset.name}.source: no generator of that name; give your file")
    made_by = f"{GENERATORS[dataset.name].__module__.replace('.', '/')}.py"
    if dataset.source != made_by:
        raise PipelineError(f"params.yaml: datasets.{dataset.name}.source: is not its generator, which is {made_by}")
    if rows and rows > CSV_ROWS and not dataset.file.endswith(".parquet"):
        key, parquet = f"datasets.{dataset.name}.file", Path(dataset.file).with_suffix(".parquet")
        raise PipelineError(f"params.yaml: {key}: {rows:,} rows are too many for {dataset.file}; set it to {parquet}")
    return GENERATORS[dataset.name](seed, rows) if rows else GENERATORS[dataset.name](seed)


def describe(config: Config, file: Path, name: str, target: str | None, further: Sequence[str]) -> None:
    """Print what is understood of a file and the lines of params.yaml for it; with a name they are written there."""
    from pipeline.ingest.add import yaml_value
    from pipeline.ingest.facts import column_lines, dataset_name, found_words, lines_to_paste, new_dataset

    settings = {}
    for setting in further:
        key, sign, value = setting.partition("=")
        if not sign or not value or key in ("source", "file", "target"):
            raise PipelineError(f"--set {setting}: give KEY=VALUE, and no source, file or target")
        settings[key] = value if key in TEXTS else yaml_value(value)
    table, text, config = new_dataset(file, name or dataset_name(file, config), target, settings)
    lines = [*found_words(table, config.gates_of(table.dataset)[0]), "", *column_lines(table.understood)]
    print("\n".join(f"# {line}".rstrip() for line in lines))
    print(lines_to_paste(table, settings))
    if name:
        write_text(PARAMS_FILE, text)
        print(f"# added to {PARAMS_FILE}; next: make pipeline, or python generate_data.py --dataset {name}")


def is_own(dataset: Dataset) -> bool:
    """Whether a table is the user's, not a calibrated one."""
    return Path(dataset.source).parent != GENERATORS_FOLDER


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Make the calibrated tables, or check and take in your own.")
    parser.add_argument("--dataset", choices=["all", *config.datasets], default="all", help="default: all")
    parser.add_argument("--seed", type=int, default=config.seed, help="draws rows and noise (default: %(default)s)")
    parser.add_argument(
        "--rows",
        type=int,
        metavar="N",
        help="of a calibrated table, from the same distribution (default: its `rows` in params.yaml, or as published)",
    )
    parser.add_argument(
        "--describe",
        type=Path,
        metavar="FILE",
        help="tell what is understood of a file and print the lines of params.yaml for it, and stop",
    )
    parser.add_argument(
        "--add", nargs=2, metavar=("NAME", "FILE"), help="as --describe, and write the lines into params.yaml"
    )
    parser.add_argument(
        "--target", metavar="COLUMN", help="with --describe or --add: what to predict (default: the last column)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="with --describe or --add: a further setting of the dataset, as decimal=, or sheet=2024",
    )
    return parser


@reports_errors
def main(argv: Sequence[str] | None = None) -> int:
    config = load_config()
    parser = build_parser(config)
    args = parser.parse_args(argv)
    if args.seed < 0:
        parser.error("argument --seed: give a whole number of at least 0")
    if args.rows is not None and not FEWEST_ROWS <= args.rows <= MOST_ROWS:
        parser.error(f"argument --rows: give a whole number of {FEWEST_ROWS} to {MOST_ROWS}")
    if (args.target or args.set) and not (args.describe or args.add):
        parser.error("arguments --target and --set: go with --describe or --add")
    if args.describe and args.add:
        parser.error("argument --add: goes without --describe")
    if args.describe or args.add:
        name, file = args.add or ("", args.describe)
        describe(config, Path(file), name, args.target, args.set)
        return 0
    names = list(config.datasets) if args.dataset == "all" else [args.dataset]
    own = [name for name in names if is_own(config.datasets[name])]
    if args.rows and own:
        parser.error(f"argument --rows: scales calibrated tables only, and {own[0]} is your own")
    for name in names:
        make(name, config, args.seed, args.rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
