"""The comparison with other systems: what counts as ours, and how differences are told."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.automl import SystemFailedError, chosen, pairs_of, run, summary, wanted
from pipeline.files import write_json
from pipeline.metrics import Predictions


def pair(table: str, split: int, difference: float, interval: tuple[float, float]) -> dict[str, object]:
    which = {"budget": 60.0, "table": table, "split": split, "ours": "ours", "other": "flaml"}
    return {**which, "difference": difference, "interval": interval}


def test_tables_ahead_and_shown_are_counted_for_each_split() -> None:
    pairs = [pair("ames", 0, 0.1, (-0.1, 0.3)), pair("cells", 0, -0.1, (-0.15, -0.05))]
    pairs += [pair("hmda", 0, 0.1, (0.05, 0.15)), pair("ames", 1, -0.2, (-0.3, 0.1))]
    newest, found, kept = summary([*pairs, pair("diamonds", 0, -0.1, (-0.2, 0.1))])
    assert (found["ours"], found["other"], found["split"], found["kept"]) == ("ours", "flaml", 0, False)
    assert (found["ahead"], found["shown_ahead"], found["shown_behind"]) == (2, 1, 1)
    assert found["tables"]["ames"] == {"difference": 0.1, "interval": (-0.1, 0.3)}
    assert (newest["split"], newest["ahead"], newest["shown_behind"]) == (1, 0, 0)
    assert (kept["split"], kept["kept"], [*kept["tables"]]) == (0, True, ["diamonds"])


def test_a_pair_is_of_the_same_rows_by_the_metric_of_the_table(tmp_path: Path) -> None:
    actual = np.tile([0, 1], 100)
    noise = np.random.default_rng(0).normal(size=200)
    for system, noisy in (("ours", 0.5), ("flaml", 2.0), ("ours_boost", 0.5)):
        score = actual + noisy * noise
        pd.to_pickle(Predictions(actual, score, score), tmp_path / f"60-0-hmda-{system}.pickle")
    first, second = pairs_of(tmp_path, 60.0, 0, "hmda")
    assert (first["ours"], second["ours"], first["other"]) == ("ours", "ours_boost", "flaml")
    assert 0 < first["interval"][0] < first["difference"] < first["interval"][1] < 0.5
    assert pairs_of(tmp_path, 300.0, 0, "hmda") == []


def test_ours_is_the_model_that_cross_validation_chooses(tmp_path: Path) -> None:
    def facts(cv: float, score: float, sha256: str) -> dict[str, object]:
        return {"cv": {"r2": cv}, "score": {"r2": score}, "params_sha256": sha256}

    models = {"gradient_boosting": {**facts(0.8, 0.9, "a"), "trials": {"complete": 3, "pruned": 2}}}
    curve = [[1.0, 0.7, "gradient_boosting"]]
    write_json(tmp_path / "metrics/tune/table.json", {"data_sha256": "data", "curve": curve, "models": models})
    own = {"gradient_boosting_tuned": [0.8, 0.9]}
    found = {"cv": 0.8, "model": "gradient_boosting_tuned", "hashes": ["data", "a"], "trials": 5, "models": own}
    assert chosen(tmp_path, "r2") == {**found, "curve": curve}
    write_json(tmp_path / "metrics/ensemble/table.json", {"models": {"ensemble": facts(0.82, 0.85, "b")}})
    both = {**own, "ensemble": [0.82, 0.85]}
    found = {"cv": 0.82, "model": "ensemble", "hashes": ["data", "b"], "trials": 5, "models": both}
    assert chosen(tmp_path, "r2") == {**found, "curve": curve}


def test_what_is_cut_holds_whole_tables() -> None:
    assert [key[1:] for key in wanted([60.0], [0, 1], ["a", "b"], ["flaml", "ours"])] == [
        (split, table, system) for split in (0, 1) for table in ("a", "b") for system in ("ours", "flaml")
    ]


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(SystemFailedError, match="exit code 3: no memory"):
        run(["sh", "-c", "echo no memory >&2; exit 3"], tmp_path, 1)
