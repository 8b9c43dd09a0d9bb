"""Evidently's pages, each opening with the verdict."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.drift.column import ColumnDrift
from pipeline.drift.quality import quality
from pipeline.drift.verdict import effect_words, target_words
from pipeline.files import write_text
from pipeline.settings import Config, Dataset, Drift
from pipeline.tables.types import value_text

if TYPE_CHECKING:
    import pandas as pd

# Rows that Evidently's pages are made of: they would grow with the table otherwise.
SAMPLE_ROWS = 20_000
# Their size grows with the columns, by some 28 kB each; above this only those that moved most are drawn.
PAGE_BYTES = 5_800_000
EVIDENTLY_ALPHA = 0.05
EMPTY_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body></body></html>"""


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

    templates = Path(__file__).parent / "templates"
    environment = Environment(loader=FileSystemLoader(templates), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    banner = environment.get_template("banner.html")
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
