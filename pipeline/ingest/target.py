"""The target of a user's table: its classes, the task, the positive class, and how models are judged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from pipeline.console import PipelineError
from pipeline.ingest.columns import Decision, Seen
from pipeline.metrics import default_metric
from pipeline.settings import Config, Dataset
from pipeline.tables.columns import value_text

# A target of whole numbers with more values than this is a quantity, with fewer it is a class.
MOST_CLASSES = 10
# A target may have so many classes, or a tenth of its rows.
MOST_WORDS = 20
# fmt: off
POSITIVE = frozenset((
    "1", "yes", "true", "positive", "pos", "bad", "fraud", "fraudulent", "default", "defaulted", "churn",
    "churned", "malignant", "attrition", "left", "exited", "lost", "cancelled", "canceled", "fail", "failed",
    "failure", "faulty", "defective", "spam", "sick", "ill", "dead", "died", "deceased", "late", "overdue",
    "stolen", "abnormal", "oui", "vrai", "ja", "wahr", "sí", "si", "sim", "verdadero", "vero", "да", "истина",
    "tak", "prawda", "evet", "ano", "kyllä", "igen", "ναι", "是", "はい",
))
# fmt: on
# Letters and signs that are positive beside their counterparts.
PAIRS = {"y": "n", "t": "f", "j": "n", "o": "n", "s": "n", "d": "n", "+": "-"}
# Fewer rows of the smallest class than this in the test part, or fewer test rows in all, tell nothing.
FEW_OF_A_CLASS, FEW_ROWS = 10, 50


def complete(dataset: Dataset, frame: pd.DataFrame, config: Config) -> tuple[Dataset, list[str]]:
    """The dataset with task, main metric, positive class and evaluation inferred where they are not set, and why the
    task and the positive class are what they are. PipelineError: the target has so many classes that it names rows
    rather than classes them.
    """
    y = frame[dataset.target]
    counts, reasons = y.value_counts(), list[str]()
    task = dataset.task
    if not task:
        task, why = infer_task(y, len(counts))
        reasons.append(f"{task}: {dataset.target} holds {why}; set `task` where that is wrong")
    if task == "multiclass" and len(counts) > max(MOST_WORDS, len(y) / 10):
        raise PipelineError(
            f"{dataset.source}: target {dataset.target} has {len(counts):,} different texts, no classes"
        )
    positive = dataset.positive
    if positive is not None:
        # 1 is the class 1, also where classes are words, and true the class True
        positive = {value_text(value): value for value in counts.index}.get(value_text(positive), positive)
        positive = int(positive) if isinstance(positive, float) and positive.is_integer() else positive
    if task == "binary" and positive is None:
        positive, why = positive_class(counts)
        reasons.append(f"positive class {value_text(positive)}: {why}; set `positive` where that is wrong")
    tested = len(y) * config.test_size
    few = tested < FEW_ROWS or (task != "regression" and counts.min() * config.test_size < FEW_OF_A_CLASS)
    completed = replace(
        dataset,
        task=task,
        metric=dataset.metric or default_metric(task),
        positive=positive,
        classes=() if task == "regression" else tuple(sorted(map(value_text, counts.index))),
        evaluation=dataset.evaluation or ("cross_validation" if few else "holdout"),
    )
    return completed, reasons


def infer_task(y: pd.Series, different: int) -> tuple[str, str]:
    """The task of a target (n,) with so many different values, and what they are."""
    if different == 2:
        return "binary", "two values"
    if y.dtype != "float64":
        return "multiclass", f"{different} different words"
    if (y % 1 != 0).any():
        return "regression", "numbers that are not whole"
    if different > MOST_CLASSES:
        return "regression", f"whole numbers with {different} different values"
    return "multiclass", f"whole numbers with {different} different values only"


def positive_class(counts: pd.Series) -> tuple[Any, str]:
    """The class to look for among two, with their rows, and why it."""
    words = {value_text(value).lower(): value for value in counts.index}
    likely = [value for word, value in words.items() if word in POSITIVE or PAIRS.get(word) in words]
    positive, why = counts.index[-1], "the rarer one"
    if len(likely) == 1:
        positive, why = likely[0], "by its word"
    elif counts.iloc[0] == counts.iloc[1]:
        positive, why = max(counts.index, key=value_text), "the last by the alphabet, both are equally frequent"
    return (int(positive) if isinstance(positive, float) and positive.is_integer() else positive), why


def with_classes(decision: Decision, text: pd.Series, target: str) -> tuple[Decision, list[str]]:
    """The target's decision with its classes, where these are words, and what was merged: yes and YES are one class, in
    the spelling that more rows have. Single letters are kept apart.
    """
    if decision.column.kind != "category":
        return decision, []
    counts = text.value_counts()
    spellings: dict[str, list[str]] = {}
    for word in counts.index:
        spellings.setdefault(word.casefold() if len(word) > 1 else word, []).append(word)
    if len({words[0].casefold() for words in spellings.values()}) < len(spellings):
        return decision, []
    column = replace(decision.column, words=tuple(words[0] for words in spellings.values()))
    merged = [
        f"{target}: {' and '.join(words[1:])} taken for {words[0]}, which more rows have"
        for words in spellings.values()
        if len(words) > 1
    ]
    return replace(decision, column=column), merged


def check_none(target: Seen, decision: Decision, dataset: Dataset) -> None:
    """Check that no class called None is dropped. PipelineError: it stands beside a few whole numbers."""
    nones = [mark for mark in target.marks if mark.casefold() == "none"]
    few = len(target.values) <= MOST_CLASSES and all(map(str.isdecimal, target.values))
    if nones and few and decision.column.kind == "number" and not dataset.task:
        raise PipelineError(
            f"{dataset.source}: target {target.name}: {nones[0]!r} is a class or a missing value; set "
            "`task: multiclass`, or list it under `missing`"
        )
