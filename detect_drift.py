"""Compare two tables column by column, and say in words what moved and whether to retrain.

    python detect_drift.py --dataset california_housing
    python detect_drift.py --dataset customer_churn --current new_rows.csv --fail-on-drift

Without files the train and test parts are compared. Drift is called where a corrected p-value and an effect size both
say so, or where missing values or new categories appear. Where a current file has the target and a trained model
exists, its score there is set beside its test score. Writes reports/<dataset>/drift_report.html, quality_report.html
and target_drift_report.html, and metrics/drift/<dataset>.json; with --output all four go to a folder of their own.
"""

from __future__ import annotations

import argparse
import html
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config, Dataset, Drift, PipelineError, drift_sha256, load_config
from pipeline.console import exit_code
from pipeline.data import (
    features_and_target,
    file_sha256,
    load_dataset,
    split,
    write_json,
    write_text,
)
from pipeline.gates import read_results, select_model
from pipeline.tables import changes_against, read_table, value_text

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# Rows that Evidently's pages are made of: they would grow with the table otherwise.
SAMPLE_ROWS = 20_000
# Their size grows with the columns, by some 28 kB each; above this only those that moved most are drawn.
PAGE_BYTES = 5_800_000
# Current rows that the model is scored on: the interval of more is narrower than anyone needs.
SCORE_ROWS = 50_000
# Below this many rows a side the Kolmogorov-Smirnov p-value is computed exactly.
EXACT_ROWS = 50
TEXT_SHARE = 0.5
TEXT_VALUES = 100
OUTLIER_RANGES = 1.5
MANY_MISSING = 0.05
MANY_DUPLICATES = 0.01
NAMED = 8
# What can change: distributions of features, the target, missing values, categories. Each kind of alarm gets an equal
# part of alpha (Bonferroni), so that all together are false at most that often.
KINDS = 4
EVIDENTLY_ALPHA = 0.05
EXTRA = "only in the current table"
ABSENT = "absent from the current table"
NO_NUMBERS = "numbers before, other values now"
NO_LABELS = "categories before, numbers now"
WASSERSTEIN = "Wasserstein distance / standard deviation"
STABILITY = "population stability index"
COHEN = "Cohen's w"
EMPTY_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body></body></html>"""


@dataclass(frozen=True)
class ColumnDrift:
    """One column's comparison; p-values and effect are None where the column cannot be tested (the note says why).

    `p_corrected`, `p_missing` and `p_new` are corrected for the number of columns and for KINDS, so that they compare
    with alpha as they are. `p_missing`: the share of missing values changed. `p_new`: the most telling of the
    categories that are new fell into the current table by chance; `new_share` of its rows have one. `change`: old and
    new level in words. `reasons`: why drift is called; empty where it is not.
    """

    column: str
    kind: str
    test: str | None = None
    statistic: float | None = None
    p_value: float | None = None
    p_corrected: float | None = None
    effect_name: str | None = None
    effect: float | None = None
    missing_reference: float = 0.0
    missing_current: float = 0.0
    p_missing: float | None = None
    new_categories: tuple[str, ...] = ()
    new_share: float = 0.0
    p_new: float | None = None
    change: str = ""
    note: str = ""
    drift: bool = False
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelCounts:
    """The categories of a column as text, and how often each is there: `counts` is (2, labels), reference first."""

    labels: tuple[str, ...]
    counts: np.ndarray


@dataclass(frozen=True)
class Score:
    """The chosen model's main metric on current rows and as it was judged, each with a 95 % interval."""

    model: str
    metric: str
    rows: int
    current: float
    current_interval: tuple[float, float]
    test: float
    test_interval: tuple[float, float]
    lost: bool


@dataclass(frozen=True)
class Page:
    """What one report opens with, and the columns that Evidently draws below it, most important first."""

    title: str
    verdict: str
    recommendation: str
    names: Sequence[str]
    columns: Sequence[ColumnDrift] = ()
    moved: Sequence[str] = ()


@dataclass(frozen=True)
class Charts:
    """Evidently's page, its p-values, how many columns it shows, and why there is none."""

    html: str
    p_values: Mapping[str, float]
    shown: int
    failure: str


def compare_tables(
    reference: pd.DataFrame, current: pd.DataFrame, dataset: Dataset, settings: Drift
) -> tuple[list[ColumnDrift], ColumnDrift | None]:
    """Every feature's comparison and the target's (None where a table lacks it).

    p-values are corrected over the columns: by Holm (1979) for distributions and for missing values, and for new
    categories by the union bound over all categories (see `find_new_categories`).
    """
    features = [name for name in reference if name != dataset.target and name not in dataset.unused]
    has_target = dataset.target in reference and dataset.target in current
    names = [*features, dataset.target] if has_target else features
    labelled = {}
    for name in (name for name in names if name in current and dataset.types.get(name) not in ("date", "text")):
        is_class = name == dataset.target and dataset.task != "regression"
        if is_class or is_labelled(reference[name], current[name]):
            table = count_labels(reference[name], current[name])
            if name == dataset.target or not is_text(table):
                labelled[name] = table
    raw = [
        compare_column(
            name,
            reference[name],
            current.get(name),
            labelled.get(name),
            is_target=name == dataset.target,
            is_date=dataset.types.get(name) == "date",
        )
        for name in names
    ]
    moved = holm([column.p_value for column in raw[: len(features)]])
    moved += [None if column.p_value is None else min(1.0, KINDS * column.p_value) for column in raw[len(features) :]]
    missing = holm([column.p_missing for column in raw])
    unseen = find_new_categories(labelled, settings)
    decided = []
    for column, p_corrected, p_missing in zip(raw, moved, missing, strict=True):
        labels, share, p_new = unseen.get(column.column, ((), 0.0, None))
        known = replace(column, p_corrected=p_corrected, p_missing=p_missing)
        decided.append(decide(replace(known, new_categories=labels, new_share=share, p_new=p_new), settings))
    extra = [ColumnDrift(name, "other", note=EXTRA) for name in current if name not in reference]
    return decided[: len(features)] + extra, decided[-1] if has_target else None


def is_labelled(old: pd.Series, new: pd.Series) -> bool:
    """Both sides hold categories (an all-empty side holds anything)."""
    return old.dtype != "float64" and (new.dtype != "float64" or bool(new.isna().all()))


def count_labels(old: pd.Series, new: pd.Series) -> LabelCounts:
    """Categories of both sides, missing values left out; whole numbers are written without a fraction."""
    import pandas as pd

    sides = []
    for column in (old, new):
        table = column.value_counts()
        table.index = [value_text(value) for value in table.index]
        sides.append(table.groupby(level=0).sum())
    both = pd.concat(sides, axis=1).fillna(0).sort_index()
    return LabelCounts(tuple(both.index), both.to_numpy(dtype=float).T)


def is_text(table: LabelCounts) -> bool:
    """Nearly every value of the reference is different: free text or an identifier, which has no distribution."""
    old = table.counts[0]
    return bool((old > 0).sum() > max(TEXT_VALUES, TEXT_SHARE * old.sum()))


def compare_column(
    name: str,
    old: pd.Series,
    new: pd.Series | None,
    table: LabelCounts | None = None,
    is_target: bool = False,
    is_date: bool = False,
) -> ColumnDrift:
    """Test and effect size of one column, missing values left out; `table` has the counts where it holds categories.

    Missing values: Fisher's exact test of the two shares.
    """
    import numpy as np
    from scipy import stats

    if new is None:
        return ColumnDrift(name, "other", note=ABSENT)
    missing = np.array([[side.isna().sum(), side.notna().sum()] for side in (old, new)])
    kind = "numeric" if old.dtype == "float64" and table is None else "categorical"
    column = ColumnDrift(
        name,
        kind,
        missing_reference=float(missing[0, 0] / len(old)),
        missing_current=float(missing[1, 0] / len(new)),
        p_missing=float(stats.fisher_exact(missing).pvalue) if missing[:, 0].any() else None,
    )
    if not missing[:, 1].all():
        sides = " and ".join(side for side, (_, n) in zip(("reference", "current"), missing, strict=True) if not n)
        return replace(column, kind="other", note=f"all empty in the {sides} table")
    if table is not None:
        return compare_labels(column, table, is_target)
    if kind == "categorical" and new.dtype == "float64":
        return replace(column, kind="other", note=NO_LABELS)
    if is_date:
        spans = [f"{side.dropna().min()} to {side.dropna().max()}" for side in (old, new)]
        return replace(column, kind="other", note=f"dates from {spans[0]} before, {spans[1]} now")
    if kind == "categorical":
        return replace(column, kind="other", note="text-like or an identifier: nearly every value is different")
    if new.dtype != "float64":
        return replace(column, kind="other", note=NO_NUMBERS)
    return compare_numbers(column, np.sort(old.dropna().to_numpy()), np.sort(new.dropna().to_numpy()))


def compare_numbers(column: ColumnDrift, old: np.ndarray, new: np.ndarray) -> ColumnDrift:
    """Kolmogorov-Smirnov, and the Wasserstein distance in standard deviations of the reference."""
    import numpy as np
    from scipy import stats

    if old.min() == old.max() == new.min() == new.max():
        return replace(column, note="constant")
    outcome = stats.ks_2samp(old, new, method="exact" if min(len(old), len(new)) < EXACT_ROWS else "asymp")
    # a constant reference has no spread of its own
    spread = float(old.std()) or float(np.concatenate([old, new]).std())
    effect = float(stats.wasserstein_distance(old, new)) / spread
    return replace(
        column,
        test="Kolmogorov-Smirnov",
        statistic=float(outcome.statistic),
        p_value=float(outcome.pvalue),
        effect_name=WASSERSTEIN,
        effect=effect if math.isfinite(effect) else None,
        change=f"mean {old.mean():.4g} before, {new.mean():.4g} now",
    )


def compare_labels(column: ColumnDrift, table: LabelCounts, is_target: bool = False) -> ColumnDrift:
    """Chi-squared, or Fisher's exact test where counts are too small for it; population stability index.

    For a target the effect is Cohen's w (Cohen 1988), which sees a rare class multiply.
    """
    import numpy as np
    from scipy import stats

    if len(table.labels) == 1:
        return replace(column, note="constant")
    pooled, too_few = pool_rare(table.counts)
    outcome = stats.fisher_exact(pooled) if too_few else stats.chi2_contingency(pooled)
    shares = table.counts / table.counts.sum(axis=1, keepdims=True)
    moved = int(np.abs(shares[1] - shares[0]).argmax())
    effect = cohen_w(table.counts) if is_target else stability_index(table.counts)
    return replace(
        column,
        test="Fisher's exact" if too_few else "chi-squared",
        statistic=float(outcome.statistic) if math.isfinite(outcome.statistic) else None,
        p_value=float(outcome.pvalue),
        effect_name=COHEN if is_target else STABILITY,
        effect=effect,
        change=f"{table.labels[moved]} {shares[0, moved]:.1%} before, {shares[1, moved]:.1%} now",
    )


def pool_rare(counts: np.ndarray) -> tuple[np.ndarray, bool]:
    """Pool the rarest categories until each has an expected count of 5 (Cochran 1954).

    Returns the counts, and whether even the last two do not reach it: then only an exact test is right.
    """
    import numpy as np

    expected = (counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()).min(axis=0)
    order = np.argsort(expected, kind="stable")
    rare = int((expected < 5).sum())
    if rare:
        rare = max(rare, int(np.searchsorted(np.cumsum(expected[order]), 5)) + 1)
        rare = min(rare, counts.shape[1] - 1)
        counts = np.column_stack([counts[:, order[rare:]], counts[:, order[:rare]].sum(axis=1)])
    least = counts.sum(axis=1).min() * counts.sum(axis=0).min() / counts.sum()
    return counts, bool(least < 5)


def stability_index(counts: np.ndarray) -> float:
    """Population stability index of two rows of category counts, half a row added where a category is absent."""
    import numpy as np

    filled = np.maximum(counts, 0.5)
    shares = filled / filled.sum(axis=1, keepdims=True)
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def cohen_w(counts: np.ndarray) -> float:
    """Cohen's w of the current shares against the reference's; half a row added where the reference has none."""
    import numpy as np

    expected = np.maximum(counts[0], 0.5) / np.maximum(counts[0], 0.5).sum()
    return float(np.sqrt(((counts[1] / counts[1].sum() - expected) ** 2 / expected).sum()))


def find_new_categories(
    labelled: Mapping[str, LabelCounts], settings: Drift
) -> dict[str, tuple[tuple[str, ...], float, float]]:
    """Columns with categories that the reference never had: which of them are no chance, their share, and p-value.

    Rare categories turn up on one side only by chance. A category with K rows in all lies wholly in the current table
    with probability C(n, K) / C(N, K), for n current of N rows. The p-value of one is the sum of that over all
    categories of all columns for which it is as small or smaller: the union bound for an alarm from any of them.
    """
    import numpy as np
    from scipy.special import gammaln

    chances = {}
    for name, table in labelled.items():
        total, n = table.counts.sum(axis=0), table.counts[1].sum()
        fits = np.minimum(total, n)
        log_chance = gammaln(n + 1) - gammaln(n - fits + 1) - gammaln(total.sum() + 1) + gammaln(total.sum() - fits + 1)
        chances[name] = np.where(total > n, 0.0, np.exp(log_chance))
    ordered = np.sort(np.concatenate([*chances.values(), [0.0]]))
    sums = np.cumsum(ordered)
    found = {}
    for name, table in labelled.items():
        new = np.flatnonzero(table.counts[0] == 0)
        if not len(new):
            continue
        p_values = np.minimum(1, KINDS * sums[np.searchsorted(ordered, chances[name][new], side="right") - 1])
        told = new[p_values < settings.alpha]
        share = float(table.counts[1, told].sum() / max(table.counts[1].sum(), 1))
        found[name] = tuple(table.labels[position] for position in told), share, float(p_values.min())
    return found


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction, and Bonferroni's for KINDS; columns without a test (None) do not count."""
    order = sorted((p, position) for position, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, position) in enumerate(order):
        largest = max(largest, min(1.0, KINDS * p * (len(order) - rank)))
        corrected[position] = largest
    return corrected


def decide(column: ColumnDrift, settings: Drift) -> ColumnDrift:
    """The verdict of a column whose corrected p-values are known, and its reasons in words."""
    bounds = {STABILITY: settings.min_psi, COHEN: settings.min_target_shift}
    bound = bounds.get(column.effect_name or "", settings.min_wasserstein)
    reasons = (
        [f"is {column.note}" if column.note == ABSENT else f"has {column.note}"]
        if column.note in (ABSENT, NO_NUMBERS, NO_LABELS)
        else []
    )
    if column.p_corrected is not None and column.p_corrected < settings.alpha and (column.effect or 0) >= bound:
        reasons.append(f"moved {effect_words(column)}: {column.change} (corrected p {column.p_corrected:.2g})")
    change = abs(column.missing_current - column.missing_reference)
    if column.p_missing is not None and column.p_missing < settings.alpha and change >= settings.min_missing_change:
        reasons.append(
            f"has missing values that went from {column.missing_reference:.1%} to {column.missing_current:.1%}"
        )
    if column.new_categories and column.new_share >= settings.min_new_share:
        reasons.append(f"has new categories in {column.new_share:.1%} of the rows: {listed(column.new_categories)}")
    return replace(column, drift=bool(reasons), reasons=tuple(reasons))


def effect_words(column: ColumnDrift) -> str:
    if column.effect_name == WASSERSTEIN:
        return f"by {column.effect:.2f} standard deviations"
    return f"by {'PSI' if column.effect_name == STABILITY else column.effect_name} {column.effect:.2f}"


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def verdict_words(columns: Sequence[ColumnDrift], target: ColumnDrift | None) -> tuple[str, list[str]]:
    """Whether there is drift; and, a line each, which columns moved and by how much, the target first."""
    moved = sorted((column for column in columns if column.drift), key=lambda column: -(column.effect or 0))
    target_moved = target is not None and target.drift
    if not moved and not target_moved:
        return "No drift was found: the tables agree within the set thresholds.", []
    compared = sum(column.note != EXTRA for column in columns)
    places = [f"{len(moved)} of {compared} features"] if moved else []
    lines = [f"{column.column} {'; '.join(column.reasons)}" for column in moved]
    if target is not None and target.drift:
        places.append("the target")
        lines.insert(0, f"the target {target.column} {'; '.join(target.reasons)}")
    return f"Drift was found in {' and in '.join(places)}.", lines


def recommend(
    columns: Sequence[ColumnDrift], target: ColumnDrift | None, score: Score | None, unscored: str
) -> tuple[bool, str]:
    """Whether to retrain, and that with its reason in words.

    A drift is an alarm, unless the score on current rows shows that it has cost nothing. `unscored`: why there is no
    score.
    """
    moved = [column for column in [*columns, *([target] if target is not None else [])] if column.drift]
    faults = [c.column for c in moved if c.note or any("missing values" in r for r in c.reasons)]
    source = (
        f" First find out why {listed(faults)} came that way: a fault of the source is to be mended, not learned."
        if faults
        else ""
    )
    if score is not None:
        words = (
            f" {score.model} reaches {score.metric} {score.current:.4f} "
            f"[{score.current_interval[0]:.4f}, {score.current_interval[1]:.4f}] on the current rows, after "
            f"{score.test:.4f} [{score.test_interval[0]:.4f}, {score.test_interval[1]:.4f}] when it was judged."
        )
        if score.lost and moved:
            return True, f"Retrain the model on rows like the current ones: the drift costs score.{words}{source}"
        if score.lost:
            return True, (
                f"Retrain the model: no column moved, yet it has lost score, so the target depends on them in "
                f"another way than before.{words}"
            )
        if moved:
            return (
                False,
                f"No need to retrain now: no loss of score is shown, so the drift costs nothing.{words}{source}",
            )
        return False, f"There is no reason to retrain.{words}"
    if moved:
        cost = f" What the drift costs is not known: {unscored}." if unscored else ""
        return True, f"The model should be retrained on rows like the current ones.{cost}{source}"
    return False, "There is no reason to retrain."


def quality(frame: pd.DataFrame) -> tuple[list[dict[str, Any]], str]:
    """Missing share and outliers (beyond 1.5 interquartile ranges of the quartiles) a column; a verdict in words."""
    rows: list[dict[str, Any]] = []
    for name in frame:
        column, outliers = frame[name], None
        if column.dtype == "float64" and column.notna().any():
            low, high = column.quantile(0.25), column.quantile(0.75)
            reach = OUTLIER_RANGES * (high - low)
            outliers = float(((column < low - reach) | (column > high + reach)).mean())
        rows.append({"column": name, "missing": float(column.isna().mean()), "outliers": outliers})
    duplicates = float(frame.duplicated().mean())
    empty = [row["column"] for row in rows if row["missing"] == 1]
    gaps = [row["column"] for row in rows if MANY_MISSING <= row["missing"] < 1]
    todo = []
    if empty:
        todo.append(f"drop or refill {listed(empty)}, which {'are' if len(empty) > 1 else 'is'} all empty")
    if gaps:
        todo.append(f"find out why {listed(gaps)} {'have' if len(gaps) > 1 else 'has'} missing values")
    if duplicates >= MANY_DUPLICATES:
        todo.append("remove the duplicate rows, or train and test parts will share them")
    words = f"{duplicates:.1%} duplicate rows, at most {max(row['missing'] for row in rows):.1%} missing in a column"
    most = max((row for row in rows if row["outliers"] is not None), key=lambda row: row["outliers"], default=None)
    if most is not None:
        words += f", at most {most['outliers']:.1%} outliers ({most['column']})"
    advice = f"Before training on it: {'; '.join(todo)}." if todo else "Nothing here speaks against training on it."
    return rows, f"Data quality is {'good' if not todo else 'in need of a look'}: {words}. {advice}"


def score_on_current(dataset: Dataset, config: Config, current: pd.DataFrame, known: set[Any]) -> Score | str:
    """The chosen model's main metric on the current rows beside its judged one; or why there is none.

    It has lost where the difference of the two scores is above zero with 95 % confidence: the interval of a difference
    of independent estimates from their own intervals, MOVER (Zou & Donner 2008). `known`: the target's values so far.
    """
    from pipeline import evaluation, tracking

    results = read_results(dataset, config)
    chosen = select_model(results.models, dataset.metric)
    if dataset.target not in current:
        return f"the current table has no {dataset.target}"
    if chosen is None:
        return f"no model was trained on the present data and settings (`python train.py --dataset {dataset.name}`)"
    rows = current[current[dataset.target].notna()]
    if dataset.task == "regression" and rows[dataset.target].dtype != "float64":
        return f"{dataset.target} holds no numbers in the current table"
    if dataset.task != "regression":
        rows = rows[rows[dataset.target].isin(known)]
    rows = rows.sample(min(len(rows), SCORE_ROWS), random_state=config.seed)
    if rows.empty:
        return f"{dataset.target} has no value in the current table that the model knows"
    try:
        client = tracking.open_store()
        model = tracking.run_of(client, dataset.name, chosen, results.data_sha256, results.params_sha256).load_model()
    except PipelineError as error:
        return str(error)
    X, y = features_and_target(rows, dataset)
    absent = [name for name in model.feature_names_in_ if name not in X]
    if absent:
        return f"the model needs {listed(absent)}, absent from the current table"
    try:
        predictions = evaluation.predict(model, X[list(model.feature_names_in_)], y, dataset.task)
    except (TypeError, ValueError) as error:
        return f"the model cannot read the current rows ({' '.join(str(error).split())[:150]})"
    value = evaluation.metric_value(dataset.metric, predictions)
    if not math.isfinite(value):
        return f"{dataset.metric} is not defined on these {len(y):,} rows"
    low, high = evaluation.bootstrap_intervals(dataset.task, predictions, config.seed)[dataset.metric]
    judged = results.models[chosen]
    test, (test_low, test_high) = judged["score"][dataset.metric], judged["interval"][dataset.metric]
    return Score(
        model=chosen,
        metric=dataset.metric,
        rows=len(y),
        current=value,
        current_interval=(low, high),
        test=test,
        test_interval=(test_low, test_high),
        lost=test - value - math.hypot(test - test_low, high - value) > 0,
    )


def draw(
    reference: pd.DataFrame, current: pd.DataFrame, names: Sequence[str], labelled: set[str], summary: bool
) -> Charts:
    """Evidently's page over the named columns; over the first of them where all would make it too large."""
    page, p_values = EMPTY_PAGE, dict[str, float]()
    while names:
        try:
            page, p_values = evidently_page(reference, current, names, labelled, summary)
        except Exception as error:  # a table that Evidently cannot draw must not hide the verdict
            return Charts(EMPTY_PAGE, {}, 0, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        if len(page) <= PAGE_BYTES or len(names) == 1:
            break
        names = names[: len(names) * 2 // 3]
    return Charts(page, p_values, len(names), "")


def evidently_page(
    reference: pd.DataFrame, current: pd.DataFrame, names: Sequence[str], labelled: set[str], summary: bool
) -> tuple[str, dict[str, float]]:
    """Evidently's own page over the named columns, and its p-value a column where it is no summary.

    It writes names and values into its script as they are, so < and > become look-alikes that no browser reads as code.
    """
    import warnings

    warnings.simplefilter("ignore")
    from evidently import DataDefinition, Report
    from evidently import Dataset as EvidentlyDataset
    from evidently.presets import DataDriftPreset, DataSummaryPreset
    from plotly import io

    # plotly's own look would be copied into each of hundreds of figures
    io.templates.default = "none"
    shown = {name: harmless(name) for name in names}
    sides = []
    for frame in (reference, current):
        side = frame[list(names)].copy()
        for name in labelled & set(names):
            side[name] = side[name].map(harmless, na_action="ignore")
        sides.append(side.rename(columns=shown))
    definition = DataDefinition(
        numerical_columns=[shown[name] for name in names if name not in labelled],
        categorical_columns=[shown[name] for name in names if name in labelled],
    )
    tables = [EvidentlyDataset.from_pandas(side, definition) for side in sides]
    columns = list(shown.values())
    preset: Any = DataSummaryPreset(columns=columns)
    if not summary:
        preset = DataDriftPreset(
            columns=columns,
            num_method="ks",
            cat_method="chisquare",
            num_threshold=EVIDENTLY_ALPHA,
            cat_threshold=EVIDENTLY_ALPHA,
        )
    snapshot = Report([preset]).run(tables[1], tables[0])
    original = {text: name for name, text in shown.items()}
    p_values = {
        original[metric["config"]["column"]]: float(metric["value"])
        for metric in snapshot.dict()["metrics"]
        if metric["config"]["type"].endswith("ValueDrift")
    }
    # the first script holds the figures, to 17 digits; nobody sees more than 7
    figures, end, library = snapshot.get_html_str(as_iframe=False).partition("</script>")
    return re.sub(r"(\d\.\d{7})\d+", r"\1", figures) + end + library, p_values


def harmless(value: object) -> str:
    return value_text(value).replace("<", "‹").replace(">", "›")


def evidently_differences(columns: Sequence[ColumnDrift], p_values: Mapping[str, float], settings: Drift) -> list[str]:
    """Where Evidently's table (each column alone, p below 0.05) and the verdict differ, and why; a line a column."""
    lines = []
    for column in columns:
        p = p_values.get(column.column)
        if p is None:
            continue
        theirs = p < EVIDENTLY_ALPHA
        if theirs and not column.drift:
            if column.p_corrected is not None and column.p_corrected < settings.alpha:
                why = f"the change is real but too small to matter ({effect_words(column)})"
            else:
                corrected = "" if column.p_corrected is None else f" ({column.p_corrected:.2g})"
                why = f"corrected for the number of columns{corrected} that is no evidence"
            lines.append(f"{column.column}: Evidently calls drift (p = {p:.2g}); {why}.")
        elif column.drift and not theirs:
            reasons = "; ".join(column.reasons)
            lines.append(
                f"{column.column}: Evidently calls no drift (p = {p:.2g}), since it leaves missing values out and "
                f"tests new categories like any other, on a sample; the verdict is drift: {reasons}."
            )
    return lines


def write_reports(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    dataset: Dataset,
    columns: Sequence[ColumnDrift],
    target: ColumnDrift | None,
    words: Mapping[str, Any],
    config: Config,
    folder: Path,
) -> list[Path]:
    """Three Evidently pages, each opening with this script's verdict and recommendation; returns their paths."""
    from jinja2 import Environment, FileSystemLoader

    templates = Path(__file__).parent / "pipeline/templates"
    environment = Environment(loader=FileSystemLoader(templates), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    banner = environment.get_template("drift_banner.html")
    sides = [side.sample(min(len(side), SAMPLE_ROWS), random_state=config.seed) for side in (reference, current)]
    old_quality, _ = quality(reference)
    new_quality, quality_verdict = quality(current)
    before = {row["column"]: row for row in old_quality}
    shared = [name for name in current if name in reference and current[name].notna().any()]
    shared = [name for name in shared if name not in dataset.unused and reference[name].notna().any()]
    labelled = {column.column for column in [*columns, *([target] if target else [])] if column.kind == "categorical"}
    labelled |= {name for name in shared if "float64" not in (reference[name].dtype, current[name].dtype)}
    mixed = {name for name in shared if (reference[name].dtype == "float64") != (current[name].dtype == "float64")}
    target_lines = () if target is None else (target,)
    target_verdict = target_words(reference, current, dataset, target)
    advice, tested = words["recommendation"], sorted((c for c in columns if c.test), key=lambda c: c.p_value or 0.0)
    pages = {
        "drift_report": Page(
            "Data drift", words["verdict"], advice, [c.column for c in tested], columns, words["moved"]
        ),
        "quality_report": Page("Data quality", quality_verdict, "", [name for name in shared if name not in mixed]),
        "target_drift_report": Page(
            "Target drift", target_verdict, advice, [c.column for c in target_lines if c.test], target_lines
        ),
    }
    paths = []
    for name, page in pages.items():
        charts = draw(sides[0], sides[1], page.names, labelled, summary=name == "quality_report")
        title = f"{page.title}: {dataset.name}"
        head = banner.render(
            title=title,
            page=page,
            words=words,
            quality=[(row, before.get(row["column"])) for row in new_quality] if name == "quality_report" else (),
            sampled=max(len(reference), len(current)) > SAMPLE_ROWS,
            sample_rows=SAMPLE_ROWS,
            differences=evidently_differences(page.columns, charts.p_values, config.drift),
            charts=charts,
            effect_words=effect_words,
        )
        body = charts.html.replace("<head>", f"<head><title>{html.escape(title)}</title>", 1)
        path = folder / f"{name}.html"
        write_text(path, body.replace("<body>", f"<body>{head}", 1))
        paths.append(path)
    return paths


def target_words(reference: pd.DataFrame, current: pd.DataFrame, dataset: Dataset, target: ColumnDrift | None) -> str:
    """Means or class shares of the target on both sides, and the p-value, in one sentence."""
    if target is None:
        return f"The current table has no target ({dataset.target}), so target drift cannot be tested."
    verdict = "has drifted" if target.drift else "has not drifted"
    if target.test is None:
        return f"The target {dataset.target} {verdict}: {target.note}."
    p_value = f"(p = {target.p_value:.3g}, corrected {target.p_corrected:.3g})"
    old, new = reference[dataset.target].dropna(), current[dataset.target].dropna()
    if target.kind == "numeric":
        return f"The target {verdict} {p_value}: mean {old.mean():.4g} in the reference, {new.mean():.4g} now."
    shares = [side.map(value_text).value_counts(normalize=True) for side in (old, new)]
    labels = list(dict.fromkeys([*shares[0].index, *shares[1].index]))
    parts = [f"{label} {shares[0].get(label, 0):.1%} before, {shares[1].get(label, 0):.1%} now" for label in labels]
    return f"The target {verdict} {p_value}: {'; '.join(parts[:NAMED])}."


def detect(
    dataset: Dataset, config: Config, reference_file: Path | None, current_file: Path | None, output: Path | None
) -> bool:
    """Compare, write the reports and the metrics, print the verdict; True where there is drift."""
    table = load_dataset(dataset)
    train, test = split(table, dataset, config)
    hint = "give an existing CSV or Parquet file"
    given = {
        path: read_table(path, hint, dataset.types, strict=False) for path in (reference_file, current_file) if path
    }
    reference = given[reference_file] if reference_file else train if current_file is None else table
    current = given[current_file] if current_file else test
    known = set(table[dataset.target])
    del table, train, test
    if not set(current) & set(reference):
        raise PipelineError(
            f"{current_file or reference_file}: no column in common with "
            f"{reference_file if current_file and reference_file else dataset.file}; is it the right table?"
        )
    print(f"{dataset.name}: comparing {len(reference):,} reference rows with {len(current):,} current rows", flush=True)
    changes = changes_against(Path(f"{dataset.file}.schema.json"), current) if current_file else []
    columns, target = compare_tables(reference, current, dataset, config.drift)
    scored = score_on_current(dataset, config, current, known) if current_file else ""
    score, unscored = (scored, "") if isinstance(scored, Score) else (None, scored)
    headline, lines = verdict_words(columns, target)
    retrain, recommendation = recommend(columns, target, score, unscored)
    found = {
        "dataset": dataset.name,
        "data_sha256": file_sha256(Path(dataset.file)),
        "params_sha256": drift_sha256(config, dataset),
        "reference": str(reference_file or ("train part" if current_file is None else dataset.file)),
        "reference_rows": len(reference),
        "current": str(current_file or "test part"),
        "current_rows": len(current),
        "drift": any(column.drift for column in columns) or (target is not None and target.drift),
        "retrain": retrain,
        "verdict": headline,
        "moved": lines,
        "recommendation": recommendation,
        "changes": changes,
        "score": None if score is None else rounded(score),
        "no_score": unscored,
        "target": None if target is None else rounded(target),
        "columns": [rounded(column) for column in columns],
    }
    folder = output or Path("reports") / dataset.name
    paths = write_reports(reference, current, dataset, columns, target, found, config, folder)
    metrics = output / "drift.json" if output else Path("metrics/drift") / f"{dataset.name}.json"
    write_json(metrics, found)
    for line in (headline, *lines[:NAMED], *([f"and {len(lines) - NAMED} more"] if len(lines) > NAMED else [])):
        print(f"{dataset.name}: {line}")
    print(f"{dataset.name}: {recommendation}")
    print(f"wrote {', '.join(map(str, paths))} and {metrics}", flush=True)
    return bool(found["drift"])


def rounded(facts: ColumnDrift | Score) -> dict[str, Any]:
    """A dataclass as plain values, numbers to six significant digits."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(part) for part in value]
        return float(f"{value:.6g}") if isinstance(value, float) else value

    return {key: plain(value) for key, value in asdict(facts).items()}


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Test two tables for drift and write Evidently reports.")
    parser.add_argument("--dataset", choices=["all", *config.datasets], default="all", help="default: all")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="default: the train part, or the whole table")
    parser.add_argument("--current", type=Path, metavar="FILE", help="default: the test part")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="for reports and drift.json (default: reports/ and metrics/drift/)",
    )
    parser.add_argument("--fail-on-drift", action="store_true", help="exit with 1 where drift is found")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    try:
        config = load_config()
        parser = build_parser(config)
        args = parser.parse_args(argv)
        if args.dataset == "all" and (args.reference or args.current or args.output):
            parser.error("--reference, --current and --output need one --dataset")
        names = list(config.datasets) if args.dataset == "all" else [args.dataset]
        found = [detect(config.dataset(name), config, args.reference, args.current, args.output) for name in names]
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if args.fail_on_drift and any(found) else 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
