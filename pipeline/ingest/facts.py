"""A table written to data/, and what is said of it: committed facts, words, lines for params.yaml."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from pipeline.files import file_sha256, write_atomic
from pipeline.ingest.infer import Table, take_in
from pipeline.settings import Config, Dataset, Gate
from pipeline.tables.read import read_text_table
from pipeline.tables.types import value_text


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write CSV or Parquet by the file's ending, whole or not at all."""
    if path.suffix == ".parquet":
        write_atomic(path, lambda temporary: frame.to_parquet(temporary, index=False))
    else:
        shown = frame.assign(**{name: frame[name].astype("Int64") for name in frame if _is_whole(frame[name])})
        words = [pd.Series(frame.columns), *(frame[name] for name in frame if frame[name].dtype == object)]
        # the csv module of Python 3.11 and 3.12 takes a carriage return for no reason to quote
        returns = any(column.astype(str).str.contains("\r", regex=False).any() for column in words)
        options: dict[str, Any] = {"quoting": csv.QUOTE_NONNUMERIC} if returns else {}
        write_atomic(path, lambda temporary: shown.to_csv(temporary, index=False, lineterminator="\n", **options))


def facts_of(table: Table) -> dict[str, Any]:
    """The committed facts of a written table: what it is like, how it is learned from, the best score to expect."""
    dataset, frame, shares = table.dataset, table.frame, None
    if dataset.task != "regression":
        counts = frame[dataset.target].value_counts(normalize=True)
        shares = {value_text(label): round(float(share), 6) for label, share in counts.items()}
    return {
        "dataset": dataset.name,
        "file": dataset.file,
        "rows": len(frame),
        "columns": frame.shape[1],
        "target": dataset.target,
        "task": dataset.task,
        "metric": dataset.metric,
        "positive": dataset.positive,
        "evaluation": dataset.evaluation,
        "class_share": shares,
        "sha256": file_sha256(Path(dataset.file)),
        "ceiling": table.ceiling,
        "types": dict(dataset.types),
        "ignored": dict(table.ignored),
        "warnings": list(table.warnings),
    }


def found_words(table: Table, gate: Gate) -> list[str]:
    """What was inferred from a user's table, and its first gate, in a few lines."""
    dataset, kinds = table.dataset, list(table.dataset.types.values())
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    positive = f", positive class {value_text(dataset.positive)}" if dataset.task == "binary" else ""
    bound = f"above {gate.above:g}" if gate.above is not None else f"below {gate.below:g}"
    return [
        f"{dataset.task}{positive}, models are compared by {dataset.metric} ({dataset.evaluation})",
        f"columns: {counts}",
        *(f"{column} is not learned from: {reason}" for column, reason in table.ignored.items()),
        f"first gate: {gate.metric} {bound}{f' over {gate.over}' if gate.over else ''}",
        *(f"warning: {warning}" for warning in table.warnings),
    ]


def lines_to_paste(file: Path, target: str | None, config: Config) -> str:
    """The lines of params.yaml for a table, with what would be inferred as comments. PipelineError: as read_text_table
    and take_in.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", file.name.split(".")[0]).strip("_-") or "table"
    ending = ".parquet" if file.suffix == ".parquet" else ".csv"
    raw = read_text_table(file, "give an existing CSV or Parquet file")
    target = target or str(raw.columns[-1])
    table = take_in(Dataset(name=name, source=str(file), file=f"data/{name}{ending}", target=target), raw, config)
    dataset = table.dataset
    entry = {name: {"source": dataset.source, "file": dataset.file, "target": target}}
    found: dict[str, Any] = {"task": dataset.task, "metric": dataset.metric, "evaluation": dataset.evaluation}
    if dataset.task == "binary":
        found["positive"] = dataset.positive
    lines = [
        "# under `datasets:` in params.yaml",
        *("  " + line for line in yaml_lines(entry)),
        "    # inferred; take a line out of the comment to set it by hand",
        *("    # " + line for line in yaml_lines({**found, "types": dict(dataset.types)})),
        *(f"# {line}" for line in found_words(table, config.gates_of(dataset)[0])[2:]),
    ]
    return "\n".join(lines)


def yaml_lines(values: Mapping[str, Any]) -> list[str]:
    """Values as params.yaml has them, which is read as YAML 1.2."""
    text, writer = io.StringIO(), YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.dump(values, text)
    return text.getvalue().splitlines()


def _is_whole(column: pd.Series) -> bool:
    """Floats that are whole numbers, and small enough to be exact ones."""
    return column.dtype == "float64" and bool(((column.dropna() % 1 == 0) & (column.dropna().abs() < 2**53)).all())
