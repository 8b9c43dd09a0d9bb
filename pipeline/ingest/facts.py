"""A table written to data/, and what is said of it: committed facts, words, lines for params.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.console import one_line
from pipeline.files import file_sha256, write_atomic
from pipeline.ingest.add import STEP, add_entry, entry_lines
from pipeline.ingest.columns import Understood
from pipeline.ingest.infer import Table, take_in
from pipeline.settings import EVERY, PARAMS_FILE, Config, Gate, read_config
from pipeline.tables.columns import EXACT, value_text
from pipeline.tables.csv_text import quoting_of
from pipeline.tables.formats import read_source
from pipeline.tables.read import given_layout

# Widths of an example, and of a column, in the table of columns, and its most lines.
EXAMPLE, MOST_WIDE, MOST_COLUMNS = 20, 48, 30


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write CSV or Parquet by the file's ending, whole or not at all."""
    if path.suffix == ".parquet":
        write_atomic(path, lambda temporary: frame.to_parquet(temporary, index=False))
    else:
        shown = pd.DataFrame({name: _as_whole(frame[name]) for name in frame})
        options: dict[str, Any] = {"index": False, "lineterminator": "\n", "quoting": quoting_of(frame)}
        write_atomic(path, lambda temporary: shown.to_csv(temporary, **options))


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
        **({"reading": dict(dataset.reading)} if dataset.reading else {}),
    }


def found_words(table: Table, gate: Gate) -> list[str]:
    """What was understood of a user's table as a whole, its first gate, and warnings."""
    dataset, layout = table.dataset, table.dataset.reading.get("layout", {})
    positive = f", positive class {value_text(dataset.positive)}" if dataset.task == "binary" else ""
    bound = f"above {gate.above:g}" if gate.above is not None else f"below {gate.below:g}"
    return [
        f"{dataset.task}{positive}, models are compared by {dataset.metric} ({dataset.evaluation})",
        *([f"read with {', '.join(f'{what} {value!r}' for what, value in layout.items())}"] if layout else []),
        *table.reasons,
        f"first gate: {gate.metric} {bound}{f' over {gate.over}' if gate.over else ''}",
        *(f"warning: {warning}" for warning in table.warnings),
    ]


def column_lines(understood: Sequence[Understood]) -> list[str]:
    """The columns as a table of text, a line each: type, examples, missing, what was decided, why, and its change. Of
    many columns only those are shown of which there is something to say.
    """
    shown = [column for column in understood if len(understood) <= MOST_COLUMNS or column.said or column.role]
    rows = [("column", "type", "examples", "missing", "decided and why", "to change it, in params.yaml")]
    for column in shown:
        examples = ", ".join(one_line(value, EXAMPLE) for value in column.examples)
        kind = f"{column.kind} ({column.role})" if column.role else column.kind
        missing = f"{column.missing:.1%}" if column.missing else ""
        rows.append((column.column, kind, examples, missing, column.said, column.change))
    widths = [min(MOST_WIDE, max(map(len, cells))) for cells in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    plain = [column.kind for column in understood if column not in shown]
    counts = ", ".join(f"{plain.count(kind)} {kind}" for kind in dict.fromkeys(plain))
    return lines + ([f"and {len(plain)} plain columns: {counts}"] if plain else [])


def new_dataset(file: Path, name: str, target: str | None, settings: Mapping[str, Any]) -> tuple[Table, str, Config]:
    """The table of a file that is not in params.yaml, taken in with these settings; the text of params.yaml with it,
    and what that says. The target is the last column where none is given. PipelineError: as add_entry, read_config,
    read_source and take_in.
    """
    ending = ".parquet" if file.suffix == ".parquet" or file.is_dir() else ".csv"
    copy = Path("data") / f"{name}{ending}"
    # never the file of anything that is there already
    copy = copy.with_stem(f"{name}_taken_in") if copy.exists() else copy
    entry = {"source": str(file), "file": copy.as_posix(), "target": target or "?", **settings}
    given = read_config(PARAMS_FILE, add_entry(PARAMS_FILE, name, entry)).datasets[name]
    raw, layout = read_source(file, "give an existing file", given_layout(given))
    text = add_entry(PARAMS_FILE, name, {**entry, "target": target or str(raw.columns[-1])})
    config = read_config(PARAMS_FILE, text)
    return take_in(config.datasets[name], raw, layout, config), text, config


def dataset_name(file: Path, config: Config) -> str:
    """A name for the dataset of a file, by the file's, that no other has."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", file.name.split(".")[0]).strip("_-") or "table"
    names = chain([name], (f"{name}_{number}" for number in count(2)))
    return next(free for free in names if free not in {*config.datasets, EVERY})


def lines_to_paste(table: Table, settings: Mapping[str, Any]) -> str:
    """The lines of params.yaml for a table, with what was inferred as comments."""
    dataset = table.dataset
    entry = {"source": dataset.source, "file": dataset.file, "target": dataset.target, **settings}
    found: dict[str, Any] = {"task": dataset.task, "metric": dataset.metric, "evaluation": dataset.evaluation}
    if dataset.task == "binary":
        found["positive"] = dataset.positive
    found["types"] = dict(dataset.types)
    lines = [
        "# under `datasets:` in params.yaml",
        *entry_lines(dataset.name, entry, STEP),
        "    # inferred; take a line out of the comment to set it by hand",
        *("    # " + line for key, value in found.items() for line in entry_lines(key, value)),
    ]
    return "\n".join(lines)


def _as_whole(column: pd.Series) -> pd.Series:
    """Floats that are whole numbers, and small enough to be exact ones, without a point; other columns as they are."""
    numbers = column.dropna() if column.dtype == "float64" else pd.Series(dtype="float64")
    whole = len(numbers) > 0 and bool(((numbers % 1 == 0) & (numbers.abs() < EXACT)).all())
    return column.astype("Int64") if whole else column
