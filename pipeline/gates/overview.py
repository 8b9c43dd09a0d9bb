"""How each dataset stands, in a line for the terminal and on reports/index.html, which leads to every other page."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.console import PipelineError
from pipeline.files import write_text
from pipeline.gates.calibrated import luck_of, origin_words, seed_words
from pipeline.gates.judge import Verdict, told
from pipeline.gates.results import Results, read_results, select_model
from pipeline.html import render
from pipeline.metrics import METRICS
from pipeline.settings import NO_ROWS_KEPT, Config, Dataset, stage_of
from pipeline.worth import decision_words

REPORTS = Path("reports")
COMPARISON, INDEX = REPORTS / "comparison_report.html", REPORTS / "index.html"
TITLES = ("dataset", "chosen model", "score [95 % interval]", "population ceiling", "drift", "gates")


@dataclass(frozen=True)
class Standing:
    """A dataset's chosen model, its score, what was found of drift, the score to expect on rows without labels, its
    gates, what its labels come to where the threshold is chosen for that, and how lucky a draw a calibrated table is;
    empty where it is not known.
    """

    dataset: str
    model: str
    score: str
    ceiling: str
    drift: str
    expected: str
    verdicts: tuple[Verdict, ...]
    decision: str = ""
    seed: str = ""

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
    def badges(self) -> list[tuple[str, str, str]]:
        """Label, words and kind of each badge of a page's top line."""
        gates = "" if not self.verdicts else "pass" if self.passed else "fail"
        drift = {"none found": "pass", "not tested": "", "no verdict": "warn", "": ""}.get(self.drift, "warn")
        return [
            ("gates", self.gates, gates),
            ("drift", self.drift or "not tested", drift),
            ("expected score", self.expected or "no rows without labels", ""),
        ]

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
            found.append(standing(read_results(dataset, config), dataset, own))
        except PipelineError:
            # its table was never read; the verdict says so
            found.append(Standing(name, "", "", "", "", "", own))
    return found


def standing(results: Results, dataset: Dataset, verdicts: tuple[Verdict, ...]) -> Standing:
    """How the dataset of these results stands."""
    metric = dataset.metric
    model, score, decision = select_model(results.models, metric) or "", "", ""
    if model:
        facts = results.models[model]
        low, high = facts["interval"][metric]
        score = f"{METRICS[metric].label} {facts['score'][metric]:.4f} [{low:.4f}, {high:.4f}]"
        score += doubts(dataset, results.models, model, metric)
        if found := facts.get("decision"):
            decision = f"{model}: {decision_words(found, dataset.positive_word, dataset.doubt)}"
    ceiling = f"{results.ceiling[metric]:.4f}" if metric in results.ceiling else ""
    if results.drift is None:
        drift = "not tested"
    elif results.drift.drifted is None:
        drift = "no verdict"
    else:
        drift = f"{results.drift.drifted} drifted" if results.drift.drift else "none found"
    expected = ""
    if results.drift and (told := results.drift.expected_score):
        doubt = "" if told.reliable else " (not reliable)"
        expected = f"{METRICS[metric].label} {told.value:.4f} [{told.interval[0]:.4f}, {told.interval[1]:.4f}]{doubt}"
    seed = seed_words(dataset, results.models)
    return Standing(results.dataset, model, score, ceiling, drift, expected, verdicts, decision, seed)


def doubts(dataset: Dataset, models: Mapping[str, Mapping[str, Any]], name: str, metric: str) -> str:
    """What goes behind a model's score; empty where nothing does. `models`: parts of the metrics by their names."""
    said = ["rough"] * bool(models[name]["rough"]) + [NO_ROWS_KEPT] * (dataset.evaluation == "cross_validation")
    said += filter(None, [luck_of(dataset, models, name, metric)])
    return f" {', '.join(said)}" if said else ""


def table_lines(standings: Sequence[Standing]) -> list[str]:
    """A line a dataset below a line of titles, in columns; then what labels come to, where thresholds are chosen for
    that.
    """
    rows = [TITLES, *(one.cells for one in standings)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return lines + [f"{one.dataset} {one.decision}" for one in standings if one.decision]


def write_index(standings: Sequence[Standing], verdicts: Sequence[Verdict], commit: str, config: Config) -> None:
    """Write reports/index.html: the verdict, what failed, the datasets and the pages that there are."""
    page = render(
        Path(__file__).parent / "templates/index.html",
        titles=TITLES,
        sections=[(one, page_links(one.dataset)) for one in standings],
        verdict=told(verdicts),
        origin=origin_words([name for name, dataset in config.datasets.items() if dataset.synthetic]),
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
    pages = {"data": folder / "data.html", "model card of the champion": folder / "model_card.html"}
    pages |= {page.stem.removesuffix("_report").replace("_", " "): page for page in folder.glob("*_report.html")}
    pages |= {f"tuning of {page.parent.name}": page for page in folder.glob("tuning/*/tuning.html")}
    return _relative(dict(sorted(pages.items())))


def plot_links(dataset: str, model: str) -> dict[str, str]:
    """Likewise of a model's pictures; those of a tuned model are beside its search."""
    stage, own = stage_of(model)
    folder = REPORTS / dataset / {"baseline": f"train/{own}", "tuned": f"tuning/{own}"}.get(stage, stage)
    pictures = {"importance": "feature_importance", "predictions": "predictions_plot", "diagnostics": "diagnostics"}
    return _relative({words: folder / f"{name}.png" for words, name in pictures.items()})


def _relative(pages: Mapping[str, Path]) -> dict[str, str]:
    return {words: page.relative_to(REPORTS).as_posix() for words, page in pages.items() if page.exists()}
