"""What is said of calibrated tables: that they are synthetic, and whether a seed is a lucky draw."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from pipeline.gates import calibrated
from pipeline.gates.overview import doubts
from pipeline.settings import Dataset


def dataset(evaluation: str = "cross_validation", **facts: Any) -> Dataset:
    known = {"name": "fraud", "source": "pipeline/generators/credit.py", "file": "data/fraud.csv", "target": "y"}
    return Dataset(**{**known, "task": "binary", "metric": "roc_auc", "evaluation": evaluation, **facts})


def models(score: float, cv: float = 0.95) -> Mapping[str, Mapping[str, Any]]:
    facts = {"score": {"roc_auc": score}, "cv": {"roc_auc": cv}, "rough": ""}
    return {"forest": facts, "forest_tuned": facts}


@pytest.fixture(autouse=True)
def calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"dataset": "fraud", "metric": "roc_auc", "model": "forest", "published": 0.97}
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({"seeds": 20, "table": [{**row, "low": 0.93, "median": 0.97, "high": 0.99}]}))
    monkeypatch.setattr(calibrated, "CALIBRATION", path)


def test_a_score_beyond_all_seeds_is_said_beside_it_and_in_words() -> None:
    found = models(0.9998)
    assert doubts(dataset(), found, "forest", "roc_auc") == " no untouched rows, lucky seed"
    assert doubts(dataset(), found, "forest_tuned", "roc_auc") == " no untouched rows, lucky seed"
    assert calibrated.seed_words(dataset(), found) == (
        "On this draw of the generator ROC-AUC 0.9998 of forest, cross-validated, is above those of all 20 seeds of "
        "the calibration (0.9300 to 0.9900, median 0.9700). Of another seed expect about the median."
    )
    assert doubts(dataset(), models(0.9), "forest", "roc_auc").endswith("unlucky seed")


def test_nothing_is_said_within_the_range_of_another_size_of_the_test_part_or_of_a_table_of_ones_own() -> None:
    assert calibrated.seed_words(dataset(), models(0.98)) == ""
    assert doubts(dataset(), models(0.98), "forest", "roc_auc") == " no untouched rows"
    assert calibrated.seed_words(dataset(rows=5000), models(0.9998)) == ""
    assert calibrated.seed_words(dataset(source="x.csv"), models(0.9998)) == ""
    # a score of the test part is of other rows than those of the calibration; what was cross-validated is told in words
    assert doubts(dataset("holdout"), models(0.9998, cv=0.995), "forest", "roc_auc") == ""
    assert "0.9950 of forest, cross-validated on the training part, is above" in calibrated.seed_words(
        dataset("holdout"), models(0.9998, cv=0.995)
    )


def test_without_a_calibration_nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(calibrated, "CALIBRATION", tmp_path / "none.json")
    assert calibrated.seed_words(dataset(), models(0.9998)) == ""


def test_pages_say_that_tables_are_synthetic_and_where_the_published_table_is_from() -> None:
    assert calibrated.origin_words([]) == ""
    for names, start in ((["a"], "The table a is synthetic: "), (["a", "b", "c"], "a, b and c are synthetic: ")):
        words = calibrated.origin_words(names)
        assert words.startswith(start)
        assert "the original specification of this project" in words
    # the first lines of the README say the same
    first = (ROOT / "README.md").read_text().split("\n\n")[1]
    assert "synthetic" in first
    assert "original specification" in first
