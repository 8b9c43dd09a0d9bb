import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PARAMS, ROOT

import validate
from pipeline.config import load_config, settings_sha256
from pipeline.data import file_sha256


def write_results(accuracy: float = 0.78) -> None:
    """Metrics of every dataset as the stages write them, without training."""
    config = load_config()
    comparison = {}
    for dataset in map(config.dataset, config.datasets):
        metric = dataset.metric
        sha256 = file_sha256(Path(dataset.file))
        model = {
            "estimator": "Forest",
            "cv": {metric: accuracy},
            "score": {metric: accuracy},
            "interval": {metric: [accuracy - 0.03, accuracy + 0.03]},
            "naive": {metric: 0.5},
        }
        hashes = {"data_sha256": sha256, "params_sha256": settings_sha256(config, dataset)}
        for stage, value in (
            ("data", {"sha256": sha256, "target": dataset.target}),
            ("train", {**hashes, "models": {"forest": model}}),
        ):
            path = Path("metrics") / stage / f"{dataset.name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value))
        comparison[dataset.name] = {"forest": {metric: accuracy}}
    Path("metrics/comparison_results.json").write_text(json.dumps(comparison))


def change(path: str, edit: Callable[[Any], None]) -> None:
    value = json.loads(Path(path).read_text())
    edit(value)
    Path(path).write_text(json.dumps(value))


def test_all_pass_and_everything_is_written(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results()
    assert validate.main([]) == 0
    assert validate.main(["--dataset", "customers"]) == 0
    out = capsys.readouterr().out
    assert "PASS             customers: forest accuracy 0.7800 [0.7500, 0.8100], needed above 0.6" in out
    assert json.loads(Path("metrics/validation.json").read_text())["passed"] is True
    assert len(Path("logs/validation.log").read_text().splitlines()) == 3


def test_a_score_below_the_gate_fails(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(accuracy=0.58)
    assert validate.main([]) == 1
    assert "FAIL (uncertain) customers: forest accuracy 0.5800" in capsys.readouterr().out
    assert json.loads(Path("metrics/validation.json").read_text())["passed"] is False


def test_confident_needs_the_bound_to_pass(project: Path) -> None:
    write_results(accuracy=0.62)
    assert validate.main(["--dataset", "customers"]) == 0
    assert validate.main(["--dataset", "customers", "--confident"]) == 1


def drop_metric(models: Any) -> None:
    del models["customers"]["forest"]["accuracy"]


def rename_metric(models: Any) -> None:
    models["customers"]["forest"] = {"accurracy": 0.78}


def set_nan(models: Any) -> None:
    models["customers"]["forest"]["accuracy"] = float("nan")


def set_text(models: Any) -> None:
    models["customers"]["forest"]["accuracy"] = "0.78"


def drop_dataset(models: Any) -> None:
    del models["customers"]


@pytest.mark.parametrize("edit", [drop_metric, rename_metric, set_nan, set_text, drop_dataset])
def test_tampered_comparison_fails(project: Path, edit: Callable[[Any], None]) -> None:
    write_results()
    change("metrics/comparison_results.json", edit)
    assert validate.main([]) == 1


@pytest.mark.parametrize("part", ["cv", "score", "interval"])
@pytest.mark.parametrize("value", [None, "0.78", float("nan")])
def test_tampered_training_metrics_fail(project: Path, part: str, value: Any) -> None:
    write_results()
    change("metrics/train/customers.json", lambda v: v["models"]["forest"][part].update(accuracy=value))
    assert validate.main([]) == 1


@pytest.mark.parametrize(
    "name", ["data/customers.json", "train/customers.json", "train/houses.json", "comparison_results.json"]
)
@pytest.mark.parametrize("content", [None, "", "[1]", "not json"])
def test_missing_or_unreadable_files_fail(project: Path, name: str, content: str | None) -> None:
    write_results()
    path = Path("metrics") / name
    path.unlink() if content is None else path.write_text(content)
    assert validate.main([]) == 1


def test_stale_results_fail(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results()
    with Path("data/customers.csv").open("a") as table:
        table.write("c999,3,month,Yes\n")
    assert validate.main([]) == 1
    assert "data/customers.csv has changed since" in capsys.readouterr().out
    write_results()
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "seed": 8}))
    assert validate.main([]) == 1
    assert "stale (of other settings)" in capsys.readouterr().out


def test_github_annotations_and_summary(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(accuracy=0.3)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "summary.md"))
    assert validate.main([]) == 1
    assert "::error title=validation::FAIL" in capsys.readouterr().out
    assert "| FAIL | customers: forest accuracy 0.3000" in (project / "summary.md").read_text()


def test_needs_no_heavy_import(project: Path) -> None:
    write_results()
    code = "import sys, validate; validate.main([]); print(sorted({'numpy', 'pandas', 'mlflow'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
