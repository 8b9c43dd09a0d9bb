"""How each dataset stands, in a line for the terminal and on reports/index.html, which leads to every other page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.console import PipelineError
from pipeline.files import write_text
from pipeline.gates.judge import Verdict, told
from pipeline.gates.results import Results, read_results, select_model
from pipeline.metrics import METRICS
from pipeline.settings import Config

REPORTS = Path("reports")
COMPARISON, INDEX = REPORTS / "comparison_report.html", REPORTS / "index.html"
TITLES = ("dataset", "chosen model", "score [95 % interval]", "ceiling", "drift", "gates")


@dataclass(frozen=True)
class Standing:
    """A dataset's chosen model, its score, what was found of drift, and its gates; empty where it is not known."""

    dataset: str
    model: str
    score: str
    ceiling: str
    drift: str
    verdicts: tuple[Verdict, ...]

    @property
    def gates(self) -> str:
        if not self.verdicts:
            return "not judged"
        passed = sum(verdict.passed for verdict in self.verdicts)
        return f"{'PASS' if self.passed else 'FAIL'} {passed} of {len(self.verdicts)}"

    @property
    def passed(self) -> bool:
        return bool(self.verdicts) and all(verdict.passed for verdict in self.verdicts)

    @property
    def cells(self) -> tuple[str, ...]:
        """In the order of TITLES."""
        return self.dataset, self.model, self.score, self.ceiling, self.drift, self.gates


def standings_of(config: Config, verdicts: Sequence[Verdict]) -> list[Standing]:
    """How every dataset stands by its committed metrics and these verdicts."""
    found = []
    for name in config.datasets:
        own = tuple(verdict for verdict in verdicts if verdict.dataset == name)
        try:
            dataset = config.dataset(name)
            found.append(standing(read_results(dataset, config), dataset.metric, own))
        except PipelineError:
            # its table was never read; the verdict says so
            found.append(Standing(name, "", "", "", "", own))
    return found


def standing(results: Results, metric: str, verdicts: tuple[Verdict, ...]) -> Standing:
    """How the dataset of these results stands; `metric` is the one that its models are compared by."""
    model, score = select_model(results.models, metric) or "", ""
    if model:
        facts = results.models[model]
        low, high = facts["interval"][metric]
        doubt = " rough" if facts["rough"] else ""
        score = f"{METRICS[metric].label} {facts['score'][metric]:.4f} [{low:.4f}, {high:.4f}]{doubt}"
    ceiling = f"{results.ceiling[metric]:.4f}" if metric in results.ceiling else ""
    if results.drift is None:
        drift = "not tested"
    elif results.drift.drifted is None:
        drift = "no verdict"
    else:
        drift = f"{results.drift.drifted} drifted" if results.drift.drift else "none found"
    return Standing(results.dataset, model, score, ceiling, drift, verdicts)


def table_lines(standings: Sequence[Standing]) -> list[str]:
    """A line a dataset below a line of titles, in columns."""
    rows = [TITLES, *(one.cells for one in standings)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def write_index(standings: Sequence[Standing], verdicts: Sequence[Verdict], commit: str) -> None:
    """Write reports/index.html: the verdict, what failed, the datasets and the pages that there are."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, trim_blocks=True
    )
    page = environment.get_template("index.html").render(
        titles=TITLES,
        sections=[(one, page_links(one.dataset)) for one in standings],
        verdict=told(verdicts),
        not_judged=[one.dataset for one in standings if not one.verdicts],
        failed=[verdict for verdict in verdicts if not verdict.passed],
        comparison=COMPARISON.name if COMPARISON.exists() else "",
        commit=commit,
        date=time.strftime("%Y-%m-%d %H:%M"),
    )
    write_text(INDEX, page)


def page_links(dataset: str) -> dict[str, str]:
    """Addresses, relative to the folder of the reports, of a dataset's pages that exist, by what they show."""
    folder = REPORTS / dataset
    pages = {"data": folder / "data.html"}
    pages |= {page.stem.removesuffix("_report").replace("_", " "): page for page in folder.glob("*_report.html")}
    pages |= {f"tuning of {page.parent.name}": page for page in folder.glob("tuning/*/tuning.html")}
    return {words: page.relative_to(REPORTS).as_posix() for words, page in sorted(pages.items()) if page.exists()}
