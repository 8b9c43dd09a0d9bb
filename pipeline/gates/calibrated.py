"""What pages say of a calibrated table: where its figures come from, and whether its seed is a lucky draw."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.metrics import METRICS
from pipeline.settings import Dataset, stage_of

# Medians and ranges of the baselines over many seeds of the generators, by benchmarks/calibrate.py.
CALIBRATION = Path(__file__).parents[2] / "benchmarks/results/calibration.json"
ORIGIN = (
    "synthetic: drawn from generators that were calibrated so that models come near a table of published results, "
    "which is in the original specification of this project and came without its data. Scores on them say nothing of "
    "the real world."
)


@dataclass(frozen=True)
class Place:
    """A baseline's `value` beside those that it has over so many seeds of the generator."""

    model: str
    metric: str
    value: float
    low: float
    median: float
    high: float
    seeds: int
    of_training_part: bool

    @property
    def luck(self) -> str:
        """Empty within the range of the seeds."""
        above, below = self.value > self.high, self.value < self.low
        if not METRICS[self.metric].higher_is_better:
            above, below = below, above
        return "lucky seed" if above else "unlucky seed" if below else ""

    @property
    def words(self) -> str:
        side = "above" if self.value > self.high else "below"
        rows = " on the training part" if self.of_training_part else ""
        return (
            f"{METRICS[self.metric].label} {self.value:.4f} of {self.model}, cross-validated{rows}, is {side} those of "
            f"all {self.seeds} seeds of the calibration ({self.low:.4f} to {self.high:.4f}, median {self.median:.4f})"
        )


def origin_words(synthetic: Sequence[str]) -> str:
    """Which tables are synthetic, and where their figures come from; empty without any."""
    *others, last = synthetic or [""]
    names = f"{', '.join(others)} and {last} are" if others else f"The table {last} is"
    return f"{names} {ORIGIN}" if synthetic else ""


def places(dataset: Dataset, models: Mapping[str, Mapping[str, Any]]) -> Iterator[Place]:
    """Where the models of a calibrated table of the published size stand among its seeds. A seed of the calibration is
    cross-validated over all rows: so is the score where `evaluation` says so, else the training part comes nearest.
    """
    if not dataset.synthetic or dataset.rows is not None:
        return
    part = "score" if dataset.evaluation == "cross_validation" else "cv"
    found = calibration(CALIBRATION)
    for row in found.get("table", ()):
        if row["dataset"] == dataset.name and row["model"] in models:
            value = models[row["model"]][part][row["metric"]]
            bounds = row["low"], row["median"], row["high"]
            yield Place(row["model"], row["metric"], value, *bounds, found["seeds"], part == "cv")


def seed_words(dataset: Dataset, models: Mapping[str, Mapping[str, Any]]) -> str:
    """Which baselines the seed puts outside the range of the calibration's seeds; empty where it puts none."""
    words = [place.words for place in places(dataset, models) if place.luck]
    told = f"On this draw of the generator {'; '.join(words)}. Of another seed expect about the median."
    return told if words else ""


def luck_of(dataset: Dataset, models: Mapping[str, Mapping[str, Any]], name: str, metric: str) -> str:
    """What goes behind a model's score that its seed makes better, or worse, than any seed of the calibration did; of a
    tuned model that of its baseline, of an ensemble that of any member's. Of scores of the test part nothing is known.
    """
    if dataset.evaluation != "cross_validation":
        return ""
    bases = {stage_of(member)[1] for member in models[name].get("weights", [name])}
    luck = [place.luck for place in places(dataset, models) if place.model in bases and place.metric == metric]
    return next(iter(sorted(filter(None, luck))), "")


@cache
def calibration(path: Path) -> Mapping[str, Any]:
    """What the calibration measured; nothing where the file is not there, as in a project that has only the package."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
