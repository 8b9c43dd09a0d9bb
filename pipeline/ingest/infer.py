"""A user's table taken in: read, checked, its columns to ignore and its giveaways named."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.console import PipelineError, nearest
from pipeline.generators import CEILINGS
from pipeline.ingest.columns import CODES, Decision, Seen, Understood, decide_columns, look_at, odd_one_out, sentinel
from pipeline.ingest.target import check_none, complete, with_classes
from pipeline.settings import Config, Dataset, reading_settings
from pipeline.tables.columns import Column, as_facts, normalise_types, read_columns, value_text
from pipeline.tables.csv_text import Layout
from pipeline.tables.formats import read_source
from pipeline.tables.read import given_layout
from pipeline.tables.split import check_target, features_and_target, fold_indices, in_order_of_time, split

# What the first word of a last row says that sums up the others.
# fmt: off
TOTALS = frozenset((
    "total", "totals", "grand total", "subtotal", "sum", "average", "mean", "summe", "gesamt", "gesamtsumme",
    "mittelwert", "somme", "total général", "moyenne", "suma", "totale", "somma", "media", "soma", "totaal", "итого",
    "合計",
))
# fmt: on
# Of a name's last word, or the whole of it.
IDENTIFIER_NAME = re.compile(
    r"(?i:(.*[^a-z])?(id|uuid|guid)|(.*[_ .-])?key|index|row([_ .-]?(number|no|nr|num|index))?|unnamed.*|column_1)"
    r"|.*[a-z](I[Dd]|Key)"
)
# Numbers of rows that mean a time.
TIME_NAME = re.compile(
    r"(?i)(.*[^a-z])?(year|month|week|day|hour|time|date|period|quarter|age|t|step|jahr|année|año)s?([^a-z].*)?"
)
IDENTIFIER_ROWS = 20
# A column that alone scores as well as this gives the target away.
GIVEAWAY = 0.99
GIVEAWAY_ROWS = 5_000


@dataclass(frozen=True)
class Table:
    """A table ready to be written, its dataset completed, ignored columns and why, warnings, and the best score that
    it allows where that is known; of a user's table, how its columns were `understood`, and the `reasons` for its task.
    """

    frame: pd.DataFrame
    dataset: Dataset
    ignored: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    ceiling: Mapping[str, Any] | None = None
    understood: Sequence[Understood] = ()
    reasons: Sequence[str] = ()


def calibrated(dataset: Dataset, made: pd.DataFrame, ceiling: float, config: Config) -> Table:
    """A generated table, whose columns are what they look like; `ceiling` is the best score that it allows."""
    frame = normalise_types(made)
    types = {str(name): "number" if frame[name].dtype == "float64" else "category" for name in frame}
    types |= dict.fromkeys(dataset.drop, "ignore")
    best = {"metric": CEILINGS[dataset.name], "value": round(ceiling, 6)}
    completed, _ = complete(replace(dataset, types=types), frame, config)
    plain = [Decision(Column(completed.types[str(name)])) for name in frame]
    understood = [
        understand(frame[name].map(value_text, na_action="ignore"), frame[name], decision, {}, completed)
        for name, decision in zip(frame, plain, strict=True)
    ]
    return Table(frame, completed, ceiling=best, understood=understood)


def take_in_file(dataset: Dataset, config: Config) -> Table:
    """A user's table, read from its source. PipelineError: as read_source and take_in."""
    mend = f"put the table there, or mend datasets.{dataset.name}.source in params.yaml"
    raw, layout = read_source(Path(dataset.source), mend, given_layout(dataset))
    return take_in(dataset, raw, layout, config)


def take_in(dataset: Dataset, raw: pd.DataFrame, layout: Layout, config: Config) -> Table:
    """A user's table, given as its source has it, checked and brought to types. PipelineError: the table cannot be
    learned from as params.yaml says.
    """
    source = dataset.source
    for what in ("sheet", "table"):
        if getattr(dataset, what) and not getattr(layout, what):
            raise PipelineError(f"{source}: has no {what}s; take `{what}:` out of its settings")
    check_names(dataset, raw)
    seen = {str(name): look_at(str(name), raw[name], dataset) for name in raw}
    decisions, warnings = decide_columns(seen, dataset), list[str]()
    for name, decision in decisions.items():
        guessed = (
            decision.column.kind in ("category", "text") and decision.decided != CODES and name not in dataset.types
        )
        odd, kind = odd_one_out(seen[name]) if guessed else ("", "")
        if odd and name == dataset.target and not dataset.task:
            mend = "delete it if it holds units" if odd.endswith("in line 2") else "mend it, or set task to multiclass"
            raise PipelineError(f"{source}: target {name}: {odd} is no {kind}, most others are; {mend}")
        if odd:
            warnings.append(
                f"{name} is taken for categories: {odd} is no {kind}, most others are; mend it, or set its type"
            )
    target = dataset.target
    check_none(seen[target], decisions[target], dataset)
    decisions[target], merged = with_classes(decisions[target], seen[target].text, target)
    warnings += [*merged, *footer(seen)]
    columns = {name: decision.column for name, decision in decisions.items()}
    frame = read_columns(raw, columns, source)
    unlabelled = frame[target].isna()
    if unlabelled.all():
        raise PipelineError(f"{source}: target {target} is empty in every row")
    if unlabelled.any():
        frame = frame[~unlabelled].reset_index(drop=True)
        warnings.append(f"{unlabelled.sum():,} rows without a value of {target} are left out")
    types = {name: column.kind for name, column in columns.items()}
    ignored = ignored_columns(frame, types, dataset)
    reading = {
        "settings": reading_settings(dataset),
        "layout": {name: value for name, value in asdict(layout).items() if value},
        "columns": {name: facts for name, column in columns.items() if (facts := as_facts(column))},
    }
    whole = replace(dataset, types=types | dict.fromkeys(ignored, "ignore"), reading=reading)
    completed, reasons = complete(whole, frame, config)
    check_target(frame, completed, Path(source))
    check_splits(frame, completed, config)
    if not any(name not in completed.unused and name != target for name in frame):
        raise PipelineError(f"{source}: no column is left to learn {target} from")
    for name in frame:
        if frame[name].dtype == "float64" and (rows := sentinel(frame[name])):
            warnings.append(f"{name}: {rows} may stand for missing values; if so, list it under `missing`")
    for name, score in giveaways(frame, completed, config).items():
        warnings.append(f"{name} alone predicts {target} nearly perfectly ({score:.3f}); is it known in time?")
    understood = [understand(seen[name].text, frame[name], decisions[name], ignored, completed) for name in decisions]
    return Table(frame, completed, ignored, warnings, understood=understood, reasons=reasons)


def footer(seen: Mapping[str, Seen]) -> list[str]:
    """A warning where the last row looks like a total of the others."""
    last = {name: column.text.iloc[-1] for name, column in seen.items() if len(column.text)}
    word = next((value for value in last.values() if value and value.strip(" :").casefold() in TOTALS), "")
    return [f"the last row holds the word {word!r}; delete it if it sums up the others"] if word else []


def check_names(dataset: Dataset, raw: pd.DataFrame) -> None:
    """Check that every column that the settings name is there. PipelineError: one is not, or there is only one."""
    if raw.shape[1] == 1:
        words = "if another sign cuts its rows, set `delimiter:`"
        raise PipelineError(f"{dataset.source}: has one column only, {str(raw.columns[0])[:60]!r}; {words}")
    by_column = [
        setting for setting in (dataset.decimal, dataset.dayfirst, dataset.missing) if isinstance(setting, Mapping)
    ]
    named = [
        dataset.target,
        *dataset.types,
        *dataset.drop,
        *filter(None, (dataset.group, dataset.time)),
        *chain(*by_column),
    ]
    for column in named:
        if column not in raw:
            raise PipelineError(f"{dataset.source}: no column {column!r}; {nearest(column, list(raw))}")


def understand(
    text: pd.Series, read: pd.Series, decision: Decision, ignored: Mapping[str, str], dataset: Dataset
) -> Understood:
    """What people are told of a column: as the source has it, as it was read, why, and how to change that."""
    roles = {
        dataset.target: "target",
        dataset.group: "group",
        dataset.time: "time",
        **dict.fromkeys(dataset.drop, "dropped"),
    }
    name, kind, why, change = str(read.name), decision.column.kind, decision.why, decision.change
    if name in ignored:
        why, change = ", ".join(filter(None, (ignored[name], why))), f"types: {{{name}: {kind}}}"
        kind = "ignore"
    examples = tuple(value[:30] for value in text.dropna().unique()[:3])
    return Understood(
        name, kind, roles.get(name, ""), examples, float(read.isna().mean()), decision.decided, why, change
    )


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
            words = ", read as words" if types[name] == "category" else ""
            reasons[name] = f"an identifier: it differs in nearly every row{words}"
    return reasons


def is_identifier(name: str, values: pd.Series, kind: str) -> bool:
    """Whether a column tells rows apart and no more: (nearly) every value differs, as names of rows do.

    A measurement differs in every row too; so numbers have to be whole, and called an identifier, or the numbers of the
    rows in their order and called no time.
    """
    distinct = values.nunique() / len(values)
    called_so = IDENTIFIER_NAME.fullmatch(name) is not None
    if len(values) < IDENTIFIER_ROWS or distinct < (0.9 if called_so else 1.0):
        return False
    if kind == "number":
        counted = (values.diff().dropna() == 1).all() and values.iloc[0] in (0, 1)
        return bool((values % 1 == 0).all() and (called_so or (counted and not TIME_NAME.fullmatch(name))))
    return kind == "category" or (kind == "text" and called_so)


def check_splits(frame: pd.DataFrame, dataset: Dataset, config: Config) -> None:
    """Check that the rows suffice. PipelineError: they do not for the train and test parts, or for the folds."""
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


def _content_hash(column: pd.Series) -> int:
    return hash(pd.util.hash_pandas_object(column, index=False).to_numpy().tobytes())
