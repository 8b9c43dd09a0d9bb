"""The three pages: each opens with the verdict, and Evidently's charts are below it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import evidently
import pandas as pd

from pipeline.drift.charts import draw
from pipeline.drift.column import Finding, percent
from pipeline.drift.quality import quality
from pipeline.drift.verdict import target_words
from pipeline.files import write_text
from pipeline.html import render
from pipeline.settings import Config
from pipeline.tables.columns import value_text

# Rows that the charts are made of: they would grow with the table otherwise.
SAMPLE_ROWS = 20_000


def write_pages(
    sides: tuple[pd.DataFrame, pd.DataFrame],
    target: str,
    found: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    config: Config,
    folder: Path,
) -> list[Path]:
    """Write drift_report.html, quality_report.html and target_drift_report.html; returns their paths.

    `sides`: reference and current. `found`: what the metrics file holds. `history`: points in time, see points_of.
    """
    library = (Path(evidently.__file__).parent / "nbextension/static/index.js").read_text(encoding="utf-8")
    compared = [*found["columns"], *([found["target"]] if found["target"] else [])]
    kinds = {column["column"]: column["kind"] for column in compared}
    filled = [name for name in kinds if all(name in side and side[name].notna().any() for side in sides)]
    labelled = [n for n in filled if kinds[n] != "number" and (kinds[n] != "other" or sides[0][n].dtype != "float64")]
    samples = [side.sample(min(len(side), SAMPLE_ROWS), random_state=config.seed) for side in sides]
    for sample in samples:
        sample[labelled] = sample[labelled].map(value_text, na_action="ignore")
    (before, _), (now, quality_verdict) = map(quality, sides)
    chart = over_time(history, config.drift.min_change) if len(history) > 1 else ""
    paths = []
    for name, title, verdict, columns in (
        ("drift_report", "Data drift", found["verdict"], found["columns"]),
        ("quality_report", "Data quality", quality_verdict, []),
        (
            "target_drift_report",
            "Target drift",
            target_words(sides, target, found["target"]),
            compared[len(found["columns"]) :],
        ),
    ):
        tested = sorted(
            (c for c in columns if c["findings"] and not c["note"]),
            key=lambda c: (not c["drift"], c["findings"][0]["p_value"]),
        )
        drawn = filled if name == "quality_report" else [column["column"] for column in tested]
        text = render(
            Path(__file__).parent / "templates/page.html",
            name=name,
            title=title,
            verdict=verdict,
            found=found,
            columns=columns,
            quality={column: (before.get(column), facts) for column, facts in now.items()},
            drawn=drawn,
            charts=draw(samples[0], samples[1], drawn, columns),
            library=library,
            sample_rows=SAMPLE_ROWS if max(map(len, sides)) > SAMPLE_ROWS else 0,
            min_change=config.drift.min_change,
            alpha=config.drift.alpha,
            chart=chart if name == "drift_report" else "",
            history=history,
            percent=percent,
            finding_text=lambda finding: Finding(**finding).text(),
        )
        write_text(folder / f"{name}.html", text)
        paths.append(folder / f"{name}.html")
    return paths


def over_time(history: Sequence[Mapping[str, Any]], min_change: float) -> str:
    """The chart of the points in time as a data URI."""
    from pipeline.plots.drift import drift_over_time

    metric = next((point["metric"] for point in reversed(history) if point["metric"]), "")
    picture = io.BytesIO()
    drift_over_time(history, metric, min_change).savefig(picture, dpi=110, format="png")
    return f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
