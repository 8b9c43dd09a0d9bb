"""Make the calibrated tables, or take in a table of your own, and describe each.

    python generate_data.py --dataset all

The calibrated tables come from pipeline/generators.py. For any other dataset of params.yaml this is the ingest step:
its `source` is checked and copied to its `file`. Writes the table in data/ and metrics/data/<dataset>.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config, Dataset, PipelineError, load_config
from pipeline.data import file_sha256, normalise_types, read_table, write_atomic, write_json
from pipeline.generators import GENERATORS

if TYPE_CHECKING:
    import pandas as pd

GENERATOR_SOURCE = "pipeline/generators.py"


def ingest(dataset: Dataset) -> pd.DataFrame:
    """The user's own table.

    Raises:
        PipelineError: it is missing, unreadable, empty, has a column name twice or lacks the target.
    """
    source = Path(dataset.source)
    frame = read_table(source, f"put the table there or mend datasets.{dataset.name}.source in params.yaml")
    if dataset.target not in frame:
        raise PipelineError(f"{source}: no column {dataset.target!r}; columns: {', '.join(map(str, frame))}")
    if frame[dataset.target].nunique() < 2:
        raise PipelineError(f"{source}: target {dataset.target} has only one value; there is nothing to learn")
    return frame


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write CSV or Parquet by the file's ending, whole or not at all."""
    if path.suffix == ".parquet":
        write_atomic(path, lambda temporary: frame.to_parquet(temporary, index=False))
    else:
        write_atomic(path, lambda temporary: frame.to_csv(temporary, index=False, lineterminator="\n"))


def describe(dataset: Dataset, frame: pd.DataFrame, ceiling: float | None) -> dict[str, Any]:
    """The committed facts of a table: shape, class shares, hash, and the best score that any model can expect."""
    shares = None
    if dataset.task != "regression":
        counts = frame[dataset.target].value_counts(normalize=True)
        shares = {str(label): round(float(share), 6) for label, share in counts.items()}
    return {
        "dataset": dataset.name,
        "file": dataset.file,
        "rows": len(frame),
        "columns": frame.shape[1],
        "target": dataset.target,
        "class_share": shares,
        "sha256": file_sha256(Path(dataset.file)),
        "ceiling": None if ceiling is None else {"metric": dataset.metric, "value": round(ceiling, 6)},
    }


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Make the calibrated tables, or check and take in your own.")
    parser.add_argument("--dataset", choices=["all", *config.datasets], default="all", help="default: all")
    parser.add_argument("--seed", type=int, default=config.seed, help="draws rows and noise (default: %(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    try:
        config = load_config()
        parser = build_parser(config)
        args = parser.parse_args(argv)
        if args.seed < 0:
            parser.error("argument --seed: give a whole number of at least 0")
        for name in list(config.datasets) if args.dataset == "all" else [args.dataset]:
            dataset = config.dataset(name)
            calibrated = dataset.source == GENERATOR_SOURCE
            if calibrated and name not in GENERATORS:
                raise PipelineError(f"params.yaml: datasets.{name}.source: no generator of that name; give your file")
            frame, ceiling = GENERATORS[name](args.seed) if calibrated else (ingest(dataset), None)
            write_table(frame, Path(dataset.file))
            facts = Path("metrics/data") / f"{name}.json"
            write_json(facts, describe(dataset, normalise_types(frame), ceiling))
            print(f"wrote {dataset.file} ({len(frame):,} rows, {frame.shape[1]} columns) and {facts}")
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
