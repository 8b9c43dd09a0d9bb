"""Make the calibrated tables, or take in a table of your own, and write down what each is like.

    python generate_data.py --dataset all
    python generate_data.py --dataset california_housing --rows 200000
    python generate_data.py --describe path/to/table.csv --target price

The calibrated tables come from pipeline/generators.py. For any other dataset of params.yaml this is the ingest step:
its `source` is checked, its column types, task and the like are inferred where params.yaml is silent, and the table is
written to its `file`, its contract (a pandera schema) to `<file>.schema.json`, what was inferred to
metrics/data/<dataset>.json. --describe prints the lines for params.yaml, and writes nothing.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipeline.config import FEWEST_ROWS, METRICS, Config, Dataset, PipelineError, load_config, nearest
from pipeline.console import exit_code
from pipeline.data import (
    check_target,
    features_and_target,
    file_sha256,
    fold_indices,
    in_order_of_time,
    split,
    write_atomic,
    write_json,
    write_text,
)
from pipeline.gates import default_gates
from pipeline.generators import GENERATORS
from pipeline.tables import (
    changes_against,
    convert,
    infer_type,
    learn_contract,
    normalise_types,
    read_text_table,
    value_text,
    word_among_numbers,
)

if TYPE_CHECKING:
    import pandas as pd

GENERATOR_SOURCE = "pipeline/generators.py"
# More generated rows than this go into Parquet: a CSV file of them takes minutes to write and to read in every stage.
CSV_ROWS = 1_000_000
# A target of whole numbers with more values than this is a quantity, with fewer it is a class.
MOST_CLASSES = 20
POSITIVE = ("1", "yes", "y", "true", "t", "positive", "pos", "bad", "fraud", "default", "churn", "churned", "malignant")
IDENTIFIER_NAME = re.compile(r"(?i:.*(^|[^a-z])(id|uuid|guid|key|index|row)|unnamed.*|column_1)|.*[a-z]I[Dd]")
IDENTIFIER_ROWS = 20
# Fewer rows of the smallest class than this in the test part, or fewer test rows in all, tell nothing.
FEW_OF_A_CLASS, FEW_ROWS = 10, 50
# A column that alone scores as well as this gives the target away.
GIVEAWAY = 0.99
GIVEAWAY_ROWS = 5_000


def take_in(
    dataset: Dataset, raw: pd.DataFrame, config: Config
) -> tuple[pd.DataFrame, Dataset, dict[str, str], list[str]]:
    """A user's table, given as its source has it, checked and brought to types; its dataset completed; ignored columns
    and why; warnings.

    Raises:
        PipelineError: the table cannot be learned from as params.yaml says.
    """
    source = Path(dataset.source)
    named = [dataset.target, *dataset.types, *dataset.drop, *filter(None, (dataset.group, dataset.time))]
    for column in named:
        if column not in raw:
            raise PipelineError(f"{source}: no column {column!r}; {nearest(column, list(raw))}")
    types = {str(name): dataset.types.get(str(name)) or infer_type(raw[name]) for name in raw}
    if dataset.task == "regression":
        types[dataset.target] = "number"
    warnings = []
    for name, kind in types.items():
        guessed = kind in ("category", "text") and name not in (*dataset.types, *dataset.drop)
        word = word_among_numbers(raw[name]) if guessed else ""
        if word and name == dataset.target and not dataset.task:
            raise PipelineError(
                f"{source}: target {name}: {word} is no number, most others are; mend it, or set task to multiclass"
            )
        if word:
            warnings.append(
                f"{name} is taken for categories: {word} is no number, most others are; mend it, or set its type"
            )
    frame = normalise_types(convert(raw, types, source))
    unlabelled = frame[dataset.target].isna()
    if unlabelled.all():
        raise PipelineError(f"{source}: target {dataset.target} is empty in every row")
    if unlabelled.any():
        frame = frame[~unlabelled].reset_index(drop=True)
        warnings.append(f"{unlabelled.sum():,} rows without a value of {dataset.target} are left out")
    ignored = ignored_columns(frame, types, dataset)
    completed = complete(replace(dataset, types=types | dict.fromkeys(ignored, "ignore")), frame, config)
    check_target(frame, completed, source)
    check_splits(frame, completed, config)
    if not any(name not in completed.unused and name != dataset.target for name in frame):
        raise PipelineError(f"{source}: no column is left to learn {dataset.target} from")
    for name, score in giveaways(frame, completed, config).items():
        warnings.append(f"{name} alone predicts {dataset.target} nearly perfectly ({score:.3f}); is it known in time?")
    return frame, completed, ignored, warnings


def ignored_columns(frame: pd.DataFrame, types: Mapping[str, str], dataset: Dataset) -> dict[str, str]:
    """Columns that there is nothing to learn from, with the reason; a type set by hand keeps a column in."""
    reasons: dict[str, str] = {}
    seen: dict[int, str] = {}
    for name in (str(column) for column in frame):
        if name in (dataset.target, dataset.group, dataset.time) or name in dataset.drop or name in dataset.types:
            continue
        column = frame[name]
        values = column.dropna()
        same = seen.setdefault(_content_hash(column), name)
        if values.empty:
            reasons[name] = "empty"
        elif values.nunique() == 1 and len(values) == len(column):
            reasons[name] = "constant"
        elif same != name and column.equals(frame[same]):
            reasons[name] = f"the same as {same}"
        elif is_identifier(name, values, types[name]):
            reasons[name] = "an identifier"
    return reasons


def is_identifier(name: str, values: pd.Series, kind: str) -> bool:
    """Whether a column tells rows apart and no more: (nearly) every value differs, as names of rows do.

    A measurement differs in every row too; so numbers have to be whole, and consecutive or called an identifier.
    """
    distinct = values.nunique() / len(values)
    called_so = IDENTIFIER_NAME.fullmatch(name) is not None
    if len(values) < IDENTIFIER_ROWS or distinct < (0.9 if called_so else 1.0):
        return False
    if kind == "number":
        whole = (values % 1 == 0).all()
        return bool(whole and (called_so or values.max() - values.min() == len(values) - 1))
    return kind == "category" or (kind == "text" and called_so)


def complete(dataset: Dataset, frame: pd.DataFrame, config: Config) -> Dataset:
    """The dataset with task, main metric, positive class and evaluation inferred where they are not set.

    Raises:
        PipelineError: the target has so many classes that it names rows rather than classes them.
    """
    y = frame[dataset.target]
    counts = y.value_counts()
    task = dataset.task
    if not task:
        quantity = y.dtype == "float64" and (len(counts) > MOST_CLASSES or (y % 1 != 0).any())
        task = "binary" if len(counts) == 2 else "regression" if quantity else "multiclass"
    if task == "multiclass" and len(counts) > max(MOST_CLASSES, len(y) / 10):
        raise PipelineError(
            f"{dataset.source}: target {dataset.target} has {len(counts):,} different texts, no classes"
        )
    positive = dataset.positive
    if task == "binary" and positive is None:
        likely = [value for value in counts.index if value_text(value).lower() in POSITIVE]
        positive = likely[0] if len(likely) == 1 else counts.index[-1]
        positive = int(positive) if isinstance(positive, float) and positive.is_integer() else positive
    tested = len(y) * config.test_size
    few = tested < FEW_ROWS or (task != "regression" and counts.min() * config.test_size < FEW_OF_A_CLASS)
    return replace(
        dataset,
        task=task,
        metric=dataset.metric or METRICS[task][0],
        positive=positive,
        evaluation=dataset.evaluation or ("cross_validation" if few else "holdout"),
    )


def check_splits(frame: pd.DataFrame, dataset: Dataset, config: Config) -> None:
    """
    Raises:
        PipelineError: the rows do not suffice for the train and test parts, or for the folds.
    """
    if dataset.task != "regression":
        counts = frame[dataset.target].value_counts()
        needed = config.folds + 1
        if counts.min() < needed:
            raise PipelineError(
                f"{dataset.source}: class {value_text(counts.index[-1])} of {dataset.target} has too few rows "
                f"({counts.min()}), {config.folds} folds and a test part need {needed}; drop or merge it, or lower "
                "`folds` in params.yaml"
            )
    train, _ = split(frame, dataset, config)
    fold_indices(*features_and_target(train, dataset), dataset, config)
    if dataset.evaluation == "cross_validation":
        ordered = in_order_of_time(frame, dataset) if dataset.time else frame
        fold_indices(*features_and_target(ordered, dataset), dataset, config)


def giveaways(frame: pd.DataFrame, dataset: Dataset, config: Config) -> dict[str, float]:
    """Columns that predict the target nearly perfectly alone, with the cross-validated R² or balanced accuracy of a
    decision tree on at most GIVEAWAY_ROWS rows.
    """
    import numpy as np
    from sklearn.model_selection import cross_val_score
    from sklearn.preprocessing import OrdinalEncoder
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    rows = frame.sample(min(len(frame), GIVEAWAY_ROWS), random_state=config.seed)
    X, y = features_and_target(rows, dataset)
    regression = dataset.task == "regression"
    tree = (DecisionTreeRegressor if regression else DecisionTreeClassifier)(
        min_samples_leaf=2, random_state=config.seed
    )
    if not regression and np.unique(y, return_counts=True)[1].min() < 3:
        return {}
    found = {}
    for name in X:
        if name in dataset.unused or dataset.types[str(name)] == "text":
            continue
        values = X[[name]] if X[name].dtype == "float64" else OrdinalEncoder().fit_transform(X[[name]].fillna(""))
        scores = cross_val_score(tree, values, y, cv=3, scoring="r2" if regression else "balanced_accuracy")
        if scores.mean() >= GIVEAWAY:
            found[str(name)] = float(scores.mean())
    return found


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write CSV or Parquet by the file's ending, whole or not at all."""
    import pandas as pd

    if path.suffix == ".parquet":
        write_atomic(path, lambda temporary: frame.to_parquet(temporary, index=False))
    else:
        shown = frame.assign(**{name: frame[name].astype("Int64") for name in frame if _is_whole(frame[name])})
        words = [pd.Series(frame.columns), *(frame[name] for name in frame if frame[name].dtype == object)]
        # the csv module of Python 3.11 and 3.12 takes a carriage return for no reason to quote
        returns = any(column.astype(str).str.contains("\r", regex=False).any() for column in words)
        options: dict[str, Any] = {"quoting": csv.QUOTE_NONNUMERIC} if returns else {}
        write_atomic(path, lambda temporary: shown.to_csv(temporary, index=False, lineterminator="\n", **options))


def facts_of(
    dataset: Dataset,
    frame: pd.DataFrame,
    ignored: Mapping[str, str],
    warnings: Sequence[str],
    ceiling: float | None,
) -> dict[str, Any]:
    """The committed facts of a table: what it is like, how it is learned from, the best score that can be expected."""
    shares = None
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
        "ceiling": None if ceiling is None else {"metric": dataset.metric, "value": round(ceiling, 6)},
        "types": dict(dataset.types),
        "ignored": dict(ignored),
        "warnings": list(warnings),
    }


def make(name: str, config: Config, seed: int, rows: int | None = None) -> None:
    """Write a dataset's table, its contract and its facts, and print what was found.

    Args:
        rows: of a calibrated table; None for as many as params.yaml says, or were calibrated.
    """
    dataset = config.datasets[name]
    ceiling: float | None = None
    ignored: dict[str, str] = {}
    warnings: list[str] = []
    if dataset.source == GENERATOR_SOURCE:
        if name not in GENERATORS:
            raise PipelineError(f"params.yaml: datasets.{name}.source: no generator of that name; give your file")
        rows = rows or dataset.rows
        if rows and rows > CSV_ROWS and not dataset.file.endswith(".parquet"):
            parquet = Path(dataset.file).with_suffix(".parquet")
            raise PipelineError(
                f"params.yaml: datasets.{name}.file: {rows:,} rows are too many for {dataset.file}; set it to {parquet}"
            )
        made, ceiling = GENERATORS[name](seed, rows) if rows else GENERATORS[name](seed)
        frame = normalise_types(made)
        types = {str(column): "number" if frame[column].dtype == "float64" else "category" for column in frame}
        completed = complete(replace(dataset, types={**types, **dict.fromkeys(dataset.drop, "ignore")}), frame, config)
    elif dataset.rows:
        raise PipelineError(f"params.yaml: datasets.{name}.rows: scales calibrated tables only; remove it")
    else:
        mend = f"put the table there, or mend datasets.{name}.source in params.yaml"
        raw = read_text_table(Path(dataset.source), mend, dataset.delimiter)
        made, completed, ignored, warnings = take_in(dataset, raw, config)
        frame = made
    path = Path(dataset.file)
    contract = Path(f"{path}.schema.json")
    for change in changes_against(contract, frame):
        print(f"{name}: changed since the last table: {change}")
    write_table(made, path)
    write_text(contract, learn_contract(frame, completed.types, completed.target))
    facts = Path("metrics/data") / f"{name}.json"
    write_json(facts, facts_of(completed, frame, ignored, warnings, ceiling))
    for line in found_words(completed, config, ignored, warnings) if dataset.source != GENERATOR_SOURCE else ():
        print(f"{name}: {line}")
    print(f"wrote {path} ({len(frame):,} rows, {frame.shape[1]} columns), {contract} and {facts}")


def found_words(dataset: Dataset, config: Config, ignored: Mapping[str, str], warnings: Sequence[str]) -> list[str]:
    """What was inferred from a user's table, in a few lines."""
    kinds = list(dataset.types.values())
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    positive = f", positive class {value_text(dataset.positive)}" if dataset.task == "binary" else ""
    gates = config.gates.get(dataset.name) or default_gates(dataset)
    gate = gates[0]
    bound = f"above {gate.above:g}" if gate.above is not None else f"below {gate.below:g}"
    over = f" over {gate.over}" if gate.over else ""
    return [
        f"{dataset.task}{positive}, models are compared by {dataset.metric} ({dataset.evaluation})",
        f"columns: {counts}",
        *(f"{column} is not learned from: {reason}" for column, reason in ignored.items()),
        f"first gate: {gate.metric} {bound}{over}",
        *(f"warning: {warning}" for warning in warnings),
    ]


def lines_to_paste(file: Path, target: str | None, config: Config) -> str:
    """The lines of params.yaml for a table, with what would be inferred as comments.

    Raises:
        PipelineError: as read_text_table and take_in.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", file.name.split(".")[0]).strip("_-") or "table"
    ending = ".parquet" if file.suffix == ".parquet" else ".csv"
    raw = read_text_table(file, "give an existing CSV or Parquet file")
    target = target or str(raw.columns[-1])
    dataset = Dataset(name=name, source=str(file), file=f"data/{name}{ending}", target=target)
    _, completed, ignored, warnings = take_in(dataset, raw, config)
    entry = {name: {"source": str(file), "file": dataset.file, "target": target}}
    found: dict[str, Any] = {"task": completed.task, "metric": completed.metric, "evaluation": completed.evaluation}
    if completed.task == "binary":
        found["positive"] = completed.positive
    inferred = yaml.safe_dump({**found, "types": dict(completed.types)}, sort_keys=False, allow_unicode=True)
    lines = [
        "# under `datasets:` in params.yaml",
        *("  " + line for line in yaml.safe_dump(entry, sort_keys=False, allow_unicode=True).splitlines()),
        "    # inferred; take a line out of the comment to set it by hand",
        *("    # " + line for line in inferred.splitlines()),
        *(f"# {line}" for line in found_words(completed, config, ignored, warnings)[2:]),
    ]
    return "\n".join(lines)


def _content_hash(column: pd.Series) -> int:
    import pandas as pd

    return hash(pd.util.hash_pandas_object(column, index=False).to_numpy().tobytes())


def _is_whole(column: pd.Series) -> bool:
    """Floats that are whole numbers, and small enough to be exact ones."""
    return column.dtype == "float64" and bool(((column.dropna() % 1 == 0) & (column.dropna().abs() < 2**53)).all())


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


def main(argv: Sequence[str] | None = None) -> int:
    try:
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
            print(lines_to_paste(args.describe, args.target, config))
            return 0
        names = list(config.datasets) if args.dataset == "all" else [args.dataset]
        own = [name for name in names if config.datasets[name].source != GENERATOR_SOURCE]
        if args.rows and own:
            parser.error(f"argument --rows: scales calibrated tables only, and {own[0]} is your own")
        for name in names:
            make(name, config, args.seed, args.rows)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
