"""The comparison as one self-contained HTML page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.comparison.entries import Comparison
from pipeline.comparison.figures import dataset_plots
from pipeline.metrics import METRICS

TEMPLATES = Path(__file__).parent / "templates"


def render(comparisons: Sequence[Comparison], overall: str, made_from: str) -> str:
    """The whole page: no file and no network beside it."""
    from jinja2 import Environment, FileSystemLoader
    from plotly.offline import get_plotlyjs

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    plots = {comparison.dataset: dataset_plots(comparison, position) for position, comparison in enumerate(comparisons)}
    drawn = {plot.key: {"data": list(plot.traces), "layout": plot.layout} for group in plots.values() for plot in group}
    return environment.get_template("page.html").render(
        comparisons=comparisons,
        plots=plots,
        overall=overall,
        made_from=made_from,
        metrics=METRICS,
        figures=json.dumps(drawn, allow_nan=False).replace("<", "\\u003c"),
        plotly=get_plotlyjs(),
    )
