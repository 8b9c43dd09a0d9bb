"""Make the calibrated tables, or take in a table of your own, and write down what each is like.

    python generate_data.py --dataset all
    python generate_data.py --dataset california_housing --rows 200000
    python generate_data.py --describe path/to/table.csv --target price

The calibrated tables come from pipeline/generators/. For any other dataset of params.yaml this is the ingest step:
its `source` is checked, its column types, task and the like are inferred where params.yaml is silent, and the table is
written to its `file`, its contract (a pandera schema) to `<file>.schema.json`, what was inferred to
metrics/data/<dataset>.json. --describe prints the lines for params.yaml, and writes nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.console import PipelineError, exit_code, reports_errors
from pipeline.files import write_json, write_text
from pipeline.settings import FEWEST_ROWS, Config, Dataset, load_config

if TYPE_CHECKING:
    import pandas as pd

GENERATORS_FOLDER = Path("pipeline/generators")
# More generated rows than this go into Parquet: a CSV file of them takes minutes to write and to read in every stage.
CSV_ROWS = 1_000_000


def make(name: str, config: Config, seed: int, rows: int | None = None) -> None:
    """Write a dataset's table, its contract and its facts, and print what was found.

    Args:
        rows: of a calibrated table; None for as many as params.yaml says, or were calibrated.
    """
    from pipeline.ingest.contract import changes_against, learn_contract
    from pipeline.ingest.facts import facts_of, found_words, write_table
    from pipeline.ingest.infer import calibrated, take_in
    from pipeline.tables.read import read_text_table

    dataset = config.datasets[name]
    own = is_own(dataset)
    if own:
        if dataset.rows:
            raise PipelineError(f"params.yaml: datasets.{name}.rows: scales calibrated tables only; remove it")
        mend = f"put the table there, or mend datasets.{name}.source in params.yaml"
        table = take_in(dataset, read_text_table(Path(dataset.source), mend, dataset.delimiter), config)
    else:
        made, ceiling = generate(dataset, seed, rows or dataset.rows)
        table = calibrated(dataset, made, ceiling, config)
    path, facts = Path(dataset.file), Path("metrics/data") / f"{name}.json"
    contract = Path(f"{path}.schema.json")
    for change in changes_against(contract, table.frame):
        print(f"{name}: changed since the last table: {change}")
    write_table(table.frame, path)
    write_text(contract, learn_contract(table.frame, table.dataset.types, dataset.target))
    write_json(facts, facts_of(table))
    for line in found_words(table, config.gates_of(table.dataset)[0]) if own else ():
        print(f"{name}: {line}")
    rows, columns = table.frame.shape
    print(f"wrote {path} ({rows:,} rows, {columns} columns), {contract} and {facts}")


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
        help="print the lines of params.yaml for a CSV or Parquet file, and stop",
    )
    parser.add_argument(
        "--target", metavar="COLUMN", help="with --describe: what to predict (default: the last column)"
    )
    return parser


@reports_errors
def main(argv: Sequence[str] | None = None) -> int:
    config = load_config()
    parser = build_parser(config)
    args = parser.parse_args(argv)
    if args.seed < 0:
        parser.error("argument --seed: give a whole number of at least 0")
    if args.rows is not None and args.rows < FEWEST_ROWS:
        parser.error(f"argument --rows: give a whole number of at least {FEWEST_ROWS}")
    if args.target and not args.describe:
        parser.error("argument --target: goes with --describe")
    if args.describe:
        from pipeline.ingest.facts import lines_to_paste

        print(lines_to_paste(args.describe, args.target, config))
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
