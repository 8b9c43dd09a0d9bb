"""The comparison as one self-contained HTML page, and as a Markdown table for a pull request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, select_autoescape
from plotly.offline import get_plotlyjs

from pipeline.comparison.entries import Comparison
from pipeline.comparison.figures import dataset_plots
from pipeline.comparison.words import advice

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html"]),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(comparisons: Sequence[Comparison], overall: str) -> str:
    """The whole page: no file and no network beside it."""
    plots = [[(f"plot-{n}-{k}", plot) for k, plot in enumerate(dataset_plots(c))] for n, c in enumerate(comparisons)]
    drawn = {key: {"data": plot.traces, "layout": plot.layout} for group in plots for key, plot in group}
    return TEMPLATES.get_template("page.html").render(
        sections=[(c, advice(c), group) for c, group in zip(comparisons, plots, strict=True)],
        overall=overall,
        figures=json.dumps(drawn, allow_nan=False, default=_five_digits).replace("<", "\\u003c"),
        plotly=get_plotlyjs(),
    )


def summary_markdown(comparisons: Sequence[Comparison], summary: Mapping[str, Any]) -> str:
    return TEMPLATES.get_template("summary.md").render(comparisons=comparisons, summary=summary)


def _five_digits(values: np.ndarray) -> Any:
    """Plain numbers, as exact as a picture needs them."""
    return np.vectorize(lambda value: float(f"{value:.5g}"), otypes=[float])(values).tolist()
