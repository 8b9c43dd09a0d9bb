"""The comparison as one self-contained HTML page, and as a Markdown table for a pull request."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from plotly.offline import get_plotlyjs

from pipeline.checks.check import CHECKS, measured
from pipeline.comparison.entries import Comparison
from pipeline.comparison.figures import dataset_plots, learned_plots
from pipeline.comparison.words import advice, decision_title, parts_of, signed
from pipeline.explain.cases import number_words
from pipeline.gates.calibrated import origin_words
from pipeline.gates.judge import told
from pipeline.html import render
from pipeline.store.source import current_commit
from pipeline.worth import WAYS, decision_words, others_of, threshold_words

TEMPLATES = Path(__file__).parent / "templates"


def comparison_page(comparisons: Sequence[Comparison], overall: str, settings: str) -> str:
    """The whole page: no file and no network beside it. `settings`: what all results were made with, in words."""
    plots, learned = (
        [[(f"{kind}-{n}-{k}", plot) for k, plot in enumerate(draw(c))] for n, c in enumerate(comparisons)]
        for kind, draw in (("plot", dataset_plots), ("learned", learned_plots))
    )
    drawn = {key: {"data": plot.traces, "layout": plot.layout} for group in plots + learned for key, plot in group}
    return render(
        TEMPLATES / "page.html",
        sections=[(c, advice(c), group) for c, group in zip(comparisons, plots, strict=True)],
        learned=learned,
        parts_of=parts_of,
        signed=signed,
        number_words=number_words,
        ways=WAYS,
        decision_title=decision_title,
        threshold_words=threshold_words,
        others_of=others_of,
        checks=CHECKS,
        measured=measured(),
        overall=overall,
        origin=_origin(comparisons),
        verdict=told([verdict for c in comparisons for verdict in c.standing.verdicts]),
        settings=settings,
        commit=current_commit()[:9],
        date=time.strftime("%Y-%m-%d %H:%M"),
        # from the project's folder, wherever that is
        stores=dict.fromkeys(e.store.replace(f"{Path.cwd()}/", "") for c in comparisons for e in c.entries),
        figures=json.dumps(drawn, allow_nan=False, default=_five_digits).replace("<", "\\u003c"),
        plotly=get_plotlyjs(),
    )


def summary_markdown(comparisons: Sequence[Comparison], summary: Mapping[str, Any]) -> str:
    origin = _origin(comparisons)
    return render(
        TEMPLATES / "summary.md", comparisons=comparisons, summary=summary, origin=origin, decision_words=decision_words
    )


def _origin(comparisons: Sequence[Comparison]) -> str:
    return origin_words([c.dataset for c in comparisons if c.synthetic])


def _five_digits(values: np.ndarray) -> Any:
    """Plain numbers, as exact as a picture needs them."""
    return np.vectorize(lambda value: float(f"{value:.5g}"), otypes=[float])(values).tolist()
