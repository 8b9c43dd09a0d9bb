"""Compare two tables column by column, and say in words what moved and whether to retrain.

    python detect_drift.py --dataset california_housing
    python detect_drift.py --dataset customer_churn --current new_rows.csv --fail-on-drift

Without files the train and test parts are compared. Drift is called where a corrected p-value and an effect size both
say so, or where missing values or new categories appear. Where a current file has the target and a trained model
exists, its score there is set beside its test score. Writes reports/<dataset>/drift_report.html, quality_report.html
and target_drift_report.html, and metrics/drift/<dataset>.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
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
from pipeline.tables import read_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# Rows that Evidently's pages are made of: they would grow with the table otherwise.
SAMPLE_ROWS = 20_000
TEXT_SHARE = 0.5
TEXT_VALUES = 100
OUTLIER_RANGES = 1.5
WASSERSTEIN = "Wasserstein distance / standard deviation"
STABILITY = "population stability index"
TOTAL_VARIATION = "total variation distance"


@dataclass(frozen=True)
class ColumnDrift:
    """One column's comparison; p-values and effect are None where the column cannot be tested (the note says why).

    `p_missing` tests whether the share of missing values changed (Fisher's exact test), corrected like the other.
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
    drift: bool = False
    note: str = ""


def compare_tables(
    reference: pd.DataFrame, current: pd.DataFrame, dataset: Dataset, settings: Drift
) -> tuple[list[ColumnDrift], ColumnDrift | None]:
    """Every feature's comparison and the target's, p-values corrected over all of them (Holm 1979)."""
    features = [str(name) for name in reference if name != dataset.target and name not in dataset.unused]
    raw = [compare_column(name, reference, current, settings) for name in features]
    raw += [
        ColumnDrift(str(name), "other", note="only in the current table") for name in current if name not in reference
    ]
    has_target = dataset.target in current and dataset.target in reference
    if has_target:
        raw.append(compare_column(dataset.target, reference, current, settings, is_target=True))
    corrected = holm([column.p_value for column in raw])
    corrected_missing = holm([column.p_missing for column in raw])
    decided = [
        decide(replace(column, p_corrected=p, p_missing=q), settings)
        for column, p, q in zip(raw, corrected, corrected_missing, strict=True)
    ]
    return (decided[:-1], decided[-1]) if has_target else (decided, None)


def compare_column(
    name: str, reference: pd.DataFrame, current: pd.DataFrame, settings: Drift, is_target: bool = False
) -> ColumnDrift:
    """Test and effect size of one column, missing values left out.

    Numbers: Kolmogorov-Smirnov, and the Wasserstein distance in reference standard deviations. Categories: chi-squared,
    and the population stability index; for a target the total variation distance, as a class share is what counts.
    """
    import numpy as np
    from scipy import stats

    if name not in current:
        return ColumnDrift(name, "other", note="absent from the current table", drift=True)
    old, new = reference[name], current[name]
    kind = "numeric" if old.dtype == "float64" else "categorical"
    missing = np.array([[old.isna().sum(), old.notna().sum()], [new.isna().sum(), new.notna().sum()]])
    empty = ColumnDrift(
        name,
        kind,
        missing_reference=float(old.isna().mean()),
        missing_current=float(new.isna().mean()),
        p_missing=float(stats.fisher_exact(missing).pvalue) if missing[:, 0].any() else None,
    )
    old, new = old.dropna(), new.dropna()
    if old.empty or new.empty:
        return replace(empty, kind="other", note="all empty on one side or both")
    if kind == "numeric":
        if new.dtype != "float64":
            return replace(empty, kind="other", note="numbers before, other values now", drift=True)
        if old.nunique() == 1 and new.nunique() == 1 and old.iloc[0] == new.iloc[0]:
            return replace(empty, note="constant")
        outcome = stats.ks_2samp(old, new, method="asymp")
        spread = float(old.std()) or float(new.std())
        effect = float(stats.wasserstein_distance(old, new)) / spread
        return replace(
            empty,
            test="Kolmogorov-Smirnov",
            statistic=float(outcome.statistic),
            p_value=float(outcome.pvalue),
            effect_name=WASSERSTEIN,
            effect=effect,
        )
    old, new = old.astype(str), new.astype(str)
    if not is_target and old.nunique() > max(TEXT_VALUES, TEXT_SHARE * len(old)):
        return replace(empty, kind="other", note="text-like or an identifier: nearly every value is different")
    tables = [side.value_counts() for side in (old, new)]
    labels = sorted(set(tables[0].index) | set(tables[1].index))
    counts = np.array([table.reindex(labels, fill_value=0) for table in tables], dtype=float)
    if len(labels) == 1:
        return replace(empty, note="constant")
    outcome = stats.chi2_contingency(pool_rare(counts))
    shares = counts / counts.sum(axis=1, keepdims=True)
    effect_name, effect = TOTAL_VARIATION, float(np.abs(shares[0] - shares[1]).sum() / 2)
    if not is_target:
        effect_name, effect = STABILITY, stability_index(counts)
    unseen = [
        label
        for position, label in enumerate(labels)
        if counts[0, position] == 0
        and stats.fisher_exact(
            [[0, counts[0].sum()], [counts[1, position], counts[1].sum() - counts[1, position]]]
        ).pvalue
        < settings.alpha / max(len(labels), 20)
    ]
    return replace(
        empty,
        test="chi-squared",
        statistic=float(outcome.statistic),
        p_value=float(outcome.pvalue),
        effect_name=effect_name,
        effect=effect,
        new_categories=tuple(unseen),
    )


def pool_rare(counts: np.ndarray) -> np.ndarray:
    """Pool the categories with an expected count below 5 into one, as the chi-squared approximation asks for."""
    import numpy as np

    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    rare = expected.min(axis=0) < 5
    if rare.sum() < 2:
        return counts
    return np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)]) if (~rare).any() else counts


def stability_index(counts: np.ndarray) -> float:
    """Population stability index of two rows of category counts, half a row added where a category is absent."""
    import numpy as np

    filled = np.maximum(counts, 0.5)
    shares = filled / filled.sum(axis=1, keepdims=True)
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction; columns without a test (None) do not count."""
    order = sorted((p, position) for position, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, position) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        corrected[position] = largest
    return corrected


def decide(column: ColumnDrift, settings: Drift) -> ColumnDrift:
    """The verdict of a column whose corrected p-value is known."""
    bounds = {STABILITY: settings.min_psi, TOTAL_VARIATION: settings.min_target_shift}
    bound = bounds.get(column.effect_name or "", settings.min_wasserstein)
    moved = column.p_corrected is not None and column.p_corrected < settings.alpha and (column.effect or 0) >= bound
    change = abs(column.missing_current - column.missing_reference)
    emptied = (
        column.p_missing is not None and column.p_missing < settings.alpha and change >= settings.min_missing_change
    )
    return replace(column, drift=column.drift or moved or emptied or bool(column.new_categories))


def recommend(columns: Sequence[ColumnDrift], target: ColumnDrift | None) -> str:
    """What moved, by how much, and what to do, in words."""
    moved = [column for column in columns if column.drift]
    words = [describe(column) for column in moved]
    if target is not None and target.drift:
        words.append(f"the target {describe(target)}")
    if not words:
        return "No drift was found: the tables agree within the set thresholds. There is no reason here to retrain."
    return f"Drift was found: {'; '.join(words)}. Check where the data comes from before retraining on current rows."


def describe(column: ColumnDrift) -> str:
    if column.new_categories:
        return f"{column.column} has new categories ({', '.join(column.new_categories[:5])})"
    if column.note:
        return f"{column.column} is {column.note}"
    if abs(column.missing_current - column.missing_reference) >= 0.01:
        return f"{column.column} went from {column.missing_reference:.0%} to {column.missing_current:.0%} missing"
    return f"{column.column} moved ({column.effect_name} {column.effect:.2f}, corrected p {column.p_corrected:.2g})"


def quality(frame: pd.DataFrame) -> tuple[list[dict[str, Any]], str]:
    """Missing share and outliers (beyond 1.5 interquartile ranges of the quartiles) a column; a verdict in words."""
    rows: list[dict[str, Any]] = []
    for name in frame:
        column, outliers = frame[name], None
        if column.dtype == "float64" and column.notna().any():
            low, high = column.quantile(0.25), column.quantile(0.75)
            reach = OUTLIER_RANGES * (high - low)
            outliers = float(((column < low - reach) | (column > high + reach)).mean())
        rows.append({"column": str(name), "missing": float(column.isna().mean()), "outliers": outliers})
    duplicates, missing = float(frame.duplicated().mean()), max(row["missing"] for row in rows)
    verdict = "good" if duplicates < 0.01 and missing < 0.05 else "needs a look"
    words = f"{duplicates:.1%} duplicate rows, at most {missing:.1%} missing in a column"
    return rows, f"Data quality is {verdict}: {words}."


def score_on_current(dataset: Dataset, config: Config, current: pd.DataFrame) -> dict[str, Any] | None:
    """The chosen model's main metric on the current rows beside its judged one, each with a 95 % interval.

    None where the current table lacks the target or a feature, or where no model was trained on the present settings.
    """
    from pipeline import evaluation, tracking

    results = read_results(dataset, config)
    chosen = select_model(results.models, dataset.metric)
    if chosen is None or dataset.target not in current:
        return None
    try:
        client = tracking.open_store()
        model = tracking.run_of(client, dataset.name, chosen, results.data_sha256, results.params_sha256).load_model()
    except PipelineError:
        return None
    X, y = features_and_target(current[current[dataset.target].notna()], dataset)
    if not set(model.feature_names_in_) <= set(X):
        return None
    predictions = evaluation.predict(model, X[list(model.feature_names_in_)], y, dataset.task)
    interval = evaluation.bootstrap_intervals(dataset.task, predictions, config.seed)[dataset.metric]
    return {
        "model": chosen,
        "metric": dataset.metric,
        "current": round(evaluation.metric_value(dataset.metric, predictions), 6),
        "current_interval": [round(bound, 6) for bound in interval],
        "test": results.models[chosen]["score"][dataset.metric],
        "test_interval": results.models[chosen]["interval"][dataset.metric],
    }


def score_words(score: dict[str, Any]) -> str:
    """What the drift costs, in one sentence or two."""
    (low, high), (test_low, test_high) = score["current_interval"], score["test_interval"]
    words = (
        f"{score['model']} reaches {score['metric']} {score['current']:.4f} [{low:.4f}, {high:.4f}] here, "
        f"after {score['test']:.4f} [{test_low:.4f}, {test_high:.4f}] when it was judged."
    )
    if high < test_low:
        return f"{words} It has lost: retrain."
    return f"{words} No loss is shown: the drift alone is no reason to retrain."


def write_reports(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    dataset: Dataset,
    columns: Sequence[ColumnDrift],
    target: ColumnDrift | None,
    recommendation: str,
    config: Config,
) -> list[Path]:
    """Three Evidently pages, each opening with this script's verdict; returns their paths."""
    import warnings

    warnings.simplefilter("ignore")
    from evidently import DataDefinition, Report
    from evidently import Dataset as EvidentlyDataset
    from evidently.presets import DataDriftPreset, DataSummaryPreset
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(Path(__file__).parent / "pipeline/templates"), autoescape=True)
    banner = environment.get_template("drift_banner.html")
    sides = [side.sample(min(len(side), SAMPLE_ROWS), random_state=config.seed) for side in (reference, current)]
    testable = [column.column for column in columns if column.test]
    quality_rows, quality_verdict = quality(current)
    shared = [str(name) for name in current if name in reference and not current[name].isna().all()]
    pages: dict[str, tuple[str, str, list[str], Sequence[ColumnDrift | None], str]] = {
        "drift_report": ("Data drift", recommendation, testable, columns, "drift"),
        "quality_report": ("Data quality", quality_verdict, shared, (), "summary"),
        "target_drift_report": (
            "Target drift",
            target_words(reference, current, dataset, target),
            [dataset.target] if target is not None and target.test else [],
            [target] if target is not None else (),
            "drift",
        ),
    }
    paths = []
    for name, (title, verdict, names, rows, kind) in pages.items():
        path = Path("reports") / dataset.name / f"{name}.html"
        head = banner.render(
            title=f"{title}: {dataset.name}",
            verdict=verdict,
            columns=rows,
            quality=quality_rows if kind == "summary" else (),
            rows=(len(reference), len(current)),
            sampled=max(len(reference), len(current)) > SAMPLE_ROWS,
            sample_rows=SAMPLE_ROWS,
            evidently=bool(names),
        )
        page = "<!doctype html><html lang='en'><head><meta charset='utf-8'></head><body></body></html>"
        if names:
            numeric = [column for column in names if reference[column].dtype == "float64"]
            definition = DataDefinition(
                numerical_columns=numeric, categorical_columns=[column for column in names if column not in numeric]
            )
            tables = [EvidentlyDataset.from_pandas(side[names].copy(), definition) for side in sides]
            preset = DataDriftPreset(columns=names) if kind == "drift" else DataSummaryPreset(columns=names)
            page = Report([preset]).run(tables[1], tables[0]).get_html_str(as_iframe=False)
        write_text(path, page.replace("<body>", f"<body>{head}", 1))
        paths.append(path)
    return paths


def target_words(reference: pd.DataFrame, current: pd.DataFrame, dataset: Dataset, target: ColumnDrift | None) -> str:
    """Means or class shares of the target on both sides, and the p-value, in one sentence."""
    if target is None:
        return f"The current table has no target ({dataset.target}), so target drift cannot be tested."
    verdict = "has drifted" if target.drift else "has not drifted"
    p_value = "" if target.p_value is None else f" (p = {target.p_value:.3g})"
    old, new = reference[dataset.target].dropna(), current[dataset.target].dropna()
    if dataset.task == "regression" and new.dtype == "float64":
        return f"The target {verdict}{p_value}: mean {old.mean():.3f} in the reference, {new.mean():.3f} now."
    shares = [side.astype(str).value_counts(normalize=True) for side in (old, new)]
    parts = [f"{label} {share:.1%} before, {shares[1].get(label, 0):.1%} now" for label, share in shares[0].items()]
    return f"The target {verdict}{p_value}: {'; '.join(parts[:6])}."


def detect(dataset: Dataset, config: Config, reference_file: Path | None, current_file: Path | None) -> bool:
    """Compare, write the reports and the metrics, print the verdict; True where there is drift."""
    table = load_dataset(dataset)
    train, test = split(table, dataset, config)
    hint = "give an existing CSV or Parquet file"
    reference = read_table(reference_file, hint) if reference_file else train if current_file is None else table
    current = read_table(current_file, hint) if current_file else test
    if not set(current) & set(reference):
        raise PipelineError(f"{current_file}: no column in common with {dataset.file}; is it the right table?")
    print(f"{dataset.name}: comparing {len(reference):,} reference rows with {len(current):,} current rows", flush=True)
    columns, target = compare_tables(reference, current, dataset, config.drift)
    recommendation = recommend(columns, target)
    score = score_on_current(dataset, config, current) if current_file else None
    if score is not None:
        recommendation = f"{recommendation} {score_words(score)}"
    paths = write_reports(reference, current, dataset, columns, target, recommendation, config)
    drift = any(column.drift for column in columns) or (target is not None and target.drift)
    metrics = Path("metrics/drift") / f"{dataset.name}.json"
    write_json(
        metrics,
        {
            "dataset": dataset.name,
            "data_sha256": file_sha256(Path(dataset.file)),
            "params_sha256": drift_sha256(config, dataset),
            "reference": str(reference_file or ("train part" if current_file is None else dataset.file)),
            "current": str(current_file or "test part"),
            "drift": drift,
            "columns": [rounded(column) for column in columns],
            "target": rounded(target) if target is not None else None,
            "score": score,
            "recommendation": recommendation,
        },
    )
    print(f"{dataset.name}: {recommendation}")
    print(f"wrote {', '.join(map(str, paths))} and {metrics}", flush=True)
    return drift


def rounded(column: ColumnDrift) -> dict[str, Any]:
    return {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in asdict(column).items()}


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Test two tables for drift and write Evidently reports.")
    parser.add_argument("--dataset", choices=["all", *config.datasets], default="all", help="default: all")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="default: the train part, or the whole table")
    parser.add_argument("--current", type=Path, metavar="FILE", help="default: the test part")
    parser.add_argument("--fail-on-drift", action="store_true", help="exit with 1 where drift is found")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    try:
        config = load_config()
        parser = build_parser(config)
        args = parser.parse_args(argv)
        if args.dataset == "all" and (args.reference or args.current):
            parser.error("--reference and --current need one --dataset")
        names = list(config.datasets) if args.dataset == "all" else [args.dataset]
        found = [detect(config.dataset(name), config, args.reference, args.current) for name in names]
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if args.fail_on_drift and any(found) else 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
