"""The comparison with other systems: what counts as ours, and how differences are told."""

from pathlib import Path

import pytest

from benchmarks.automl import SystemFailedError, chosen, run, summary, wanted
from pipeline.files import write_json


def row(table: str, split: int, system: str, **facts: object) -> dict[str, object]:
    return {"budget": 60.0, "table": table, "split": split, "system": system, **facts}


def test_differences_are_of_splits_that_both_have_scored() -> None:
    rows = []
    for split, (mine, theirs) in enumerate([(0.9, 0.8), (0.91, 0.8), (0.92, 0.81)]):
        rows += [row("a", split, "ours", score=mine), row("a", split, "flaml", score=theirs)]
        rows += [row("b", split, "ours", score=theirs), row("b", split, "flaml", score=mine)]
    rows += [row("c", 0, "ours", score=0.5), row("c", 0, "flaml", failed="exit code 1")]
    rows += [row("d", 0, "ours", score=0.5), row("d", 0, "flaml", score=0.4)]
    (found,) = summary(rows, test_share=0.2)
    assert (found["ours"], found["other"], list(found["tables"])) == ("ours", "flaml", ["a", "b", "d"])
    assert (found["ahead"], found["shown_ahead"], found["shown_behind"]) == (2, 1, 1)
    assert found["tables"]["a"]["difference"] == pytest.approx(0.32 / 3)
    assert found["tables"]["d"] == {"splits": 1, "difference": pytest.approx(0.1), "interval": None}


def test_ours_is_the_model_that_cross_validation_chooses(tmp_path: Path) -> None:
    def facts(cv: float, score: float) -> dict[str, object]:
        return {"cv": {"r2": cv}, "score": {"r2": score}}

    models = {"gradient_boosting": {**facts(0.8, 0.9), "trials": {"complete": 3, "pruned": 2}}}
    write_json(tmp_path / "metrics/tune/table.json", {"models": models})
    own = {"tune: gradient_boosting": [0.8, 0.9]}
    found = {"score": 0.9, "cv": 0.8, "model": "tune: gradient_boosting", "trials": 5, "models": own}
    assert chosen(tmp_path, "r2") == found
    write_json(tmp_path / "metrics/ensemble/table.json", {"models": {"ensemble": facts(0.82, 0.85)}})
    both = {**own, "ensemble: ensemble": [0.82, 0.85]}
    found = {"score": 0.85, "cv": 0.82, "model": "ensemble: ensemble", "trials": 5, "models": both}
    assert chosen(tmp_path, "r2") == found


def test_ours_comes_first_as_its_seconds_are_the_limit_of_the_others() -> None:
    assert [key[3] for key in wanted([60.0], 1, ["a"], ["flaml", "autogluon_best", "ours"])] == [
        "ours",
        "autogluon_best",
        "flaml",
    ]


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(SystemFailedError, match="exit code 3: no memory"):
        run(["sh", "-c", "echo no memory >&2; exit 3"], tmp_path, 1)
