"""Gates bite: on shuffled labels every gate of params.yaml fails, on the same tables unshuffled every one passes."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT

import compare_results
import generate_data
import train
import validate
from pipeline.generators import GENERATORS


@pytest.mark.slow
@pytest.mark.parametrize("shuffled", [True, False])
@pytest.mark.parametrize("name", list(GENERATORS))
def test_shuffled_labels_fail_every_gate(
    name: str, shuffled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["datasets"] = {name: params["datasets"][name] | {"source": "table.csv"}}
    params["gates"] = {name: params["gates"][name]}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    frame, _ = GENERATORS[name](42)
    if shuffled:
        target = params["datasets"][name]["target"]
        frame[target] = np.random.default_rng(0).permutation(frame[target])
    frame.to_csv("table.csv", index=False)
    assert generate_data.main([]) == 0
    # all models on shuffled labels, since one of them is enough to pass
    assert train.main([] if shuffled else ["--model", "gradient_boosting"]) == 0
    assert compare_results.main([]) == 0
    assert validate.main([]) == (1 if shuffled else 0)
    found = json.loads(Path("metrics/validation.json").read_text())["gates"]
    assert [gate["passed"] for gate in found] == [not shuffled] * len(params["gates"][name])
    assert not any(gate["reason"] for gate in found)
