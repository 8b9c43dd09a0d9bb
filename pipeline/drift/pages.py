"""The three pages: each opens with the verdict, and Evidently's charts are below it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader

from pipeline.drift.charts import draw
from pipeline.drift.quality import quality
from pipeline.drift.registry import effect_words
from pipeline.files import write_text
from pipeline.tables.columns import value_text

# Rows that the charts are made of: they would grow with the table otherwise.
SAMPLE_ROWS = 20_000


def write_pages(
    sides: tuple[pd.DataFrame, pd.DataFrame],
    types: Mapping[str, str],
    found: Mapping[str, Any],
    target_verdict: str,
    seed: int,
    folder: Path,
) -> list[Path]:
    """Write drift_report.html, quality_report.html and target_drift_report.html; returns their paths.

    `sides`: reference and current. `types`: as types_of gives them. `found`: what the metrics file holds.
    """
    import evidently

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    library = (Path(evidently.__file__).parent / "nbextension/static/index.js").read_text(encoding="utf-8")
    filled = [name for name in types if all(name in side and side[name].notna().any() for side in sides)]
    labelled = [n for n in filled if types[n] == "class" or any(side[n].dtype != "float64" for side in sides)]
    samples = [side.sample(min(len(side), SAMPLE_ROWS), random_state=seed) for side in sides]
    for sample in samples:
        sample[labelled] = sample[labelled].map(value_text, na_action="ignore")
    (before, _), (now, quality_verdict) = map(quality, sides)
    targets = [found["target"]] if found["target"] else []
    paths = []
    for name, title, verdict, columns in (
        ("drift_report", "Data drift", found["verdict"], found["columns"]),
        ("quality_report", "Data quality", quality_verdict, []),
        ("target_drift_report", "Target drift", target_verdict, targets),
    ):
        tested = sorted((c for c in columns if c["test"]), key=lambda c: (not c["drift"], c["p_value"]))
        drawn = filled if name == "quality_report" else [column["column"] for column in tested]
        text = environment.get_template("page.html").render(
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
            effect_words=effect_words,
        )
        write_text(folder / f"{name}.html", text)
        paths.append(folder / f"{name}.html")
    return paths
