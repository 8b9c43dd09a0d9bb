import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PARAMS, ROOT

import validate
from pipeline.files import file_sha256
from pipeline.metrics import metrics_of
from pipeline.settings import drift_sha256, load_config, search_sha256, settings_sha256


def write_results(accuracy: float = 0.78) -> None:
    """Metrics of every dataset as the stages write them, without training."""
    config = load_config()
    comparison = {}
    for dataset in map(config.dataset, config.datasets):
        metrics = metrics_of(dataset.task)
        sha256 = file_sha256(Path(dataset.file))
        model = {
            "estimator": "Forest",
            "cv": dict.fromkeys(metrics, accuracy),
            "score": dict.fromkeys(metrics, accuracy),
            "interval": {metric: [accuracy - 0.03, accuracy + 0.03] for metric in metrics},
            "naive": dict.fromkeys(metrics, 0.5),
            "over_naive": {metric: [accuracy - 0.53, accuracy - 0.47] for metric in metrics},
            "rough": "",
        }
        model = {"params_sha256": settings_sha256(config, dataset, "forest"), **model}
        for stage, value in (
            ("data", {"sha256": sha256, "target": dataset.target}),
            ("train", {"data_sha256": sha256, "models": {"forest": model}}),
        ):
            path = Path("metrics") / stage / f"{dataset.name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(value))
        comparison[dataset.name] = {"forest": model["score"]}
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


def test_one_dataset_leaves_the_verdicts_of_the_others(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results()
    validate.main([])
    change("metrics/train/customers.json", lambda found: found["models"]["forest"]["score"].update(accuracy=0.1))
    assert validate.main(["--dataset", "houses"]) == 0
    found = json.loads(Path("metrics/validation.json").read_text())
    assert [gate["dataset"] for gate in found["gates"]] == ["houses", "customers"]
    assert found["passed"] is True
    assert validate.main(["--dataset", "customers"]) == 1
    capsys.readouterr()
    assert validate.main(["--dataset", "houses"]) == 0
    assert "customers" not in capsys.readouterr().out
    assert json.loads(Path("metrics/validation.json").read_text())["passed"] is False
    # what was written by something else is left out, and the page says of what nothing is known
    [other] = [gate for gate in found["gates"] if gate["dataset"] == "customers"]
    for damaged in ('{"gates": [1]}', "[]", json.dumps({"gates": [{**other, "value": float("nan")}]})):
        Path("metrics/validation.json").write_text(damaged)
        assert validate.main(["--dataset", "houses"]) == 0
        assert len(json.loads(Path("metrics/validation.json").read_text())["gates"]) == 1
        assert "<p>Not judged: customers.</p>" in Path("reports/index.html").read_text()


def test_the_index_has_the_verdict_and_leads_to_the_pages_that_there_are(project: Path) -> None:
    write_results()
    page = Path("reports/customers/tuning/forest/tuning.html")
    page.parent.mkdir(parents=True)
    page.touch()
    validate.main([])
    text = Path("reports/index.html").read_text()
    assert '<span class="pass">PASS: 2 of 2 gates passed</span>' in text
    assert '<a href="customers/tuning/forest/tuning.html">tuning of forest</a>' in text
    assert "comparison_report.html" not in text
    write_results(accuracy=0.5)
    Path("reports/comparison_report.html").touch()
    validate.main([])
    text = Path("reports/index.html").read_text()
    assert '<span class="fail">FAIL: ' in text
    assert 'href="comparison_report.html"' in text


def test_a_score_below_the_gate_fails(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(accuracy=0.58)
    assert validate.main([]) == 1
    assert "FAIL (uncertain) customers: forest accuracy 0.5800" in capsys.readouterr().out
    assert json.loads(Path("metrics/validation.json").read_text())["passed"] is False


def test_confident_needs_the_bound_to_pass(project: Path) -> None:
    write_results(accuracy=0.62)
    assert validate.main(["--dataset", "customers"]) == 0
    assert validate.main(["--dataset", "customers", "--confident"]) == 1


def write_all_results() -> None:
    """As write_results, with tuned models, drift verdicts and champions, and a gate on each of them."""
    gates = [
        {"metric": "accuracy", "above": 0.6},
        {"metric": "accuracy", "above": 0.1, "over": "naive"},
        {"metric": "accuracy", "above": -0.01, "over": "champion"},
        {"metric": "drifted_columns", "below": 1, "current": "test part"},
        {"metric": "expected_score", "above": 0.6},
    ]
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "gates": {"customers": gates}}))
    write_results()
    config = load_config()
    comparison = json.loads(Path("metrics/comparison_results.json").read_text())
    for name in config.datasets:
        trained = json.loads(Path(f"metrics/train/{name}.json").read_text())
        data_sha256 = trained["data_sha256"]
        model = dict(trained["models"]["forest"])
        model["params_sha256"] = search_sha256(config, config.dataset(name), "forest")
        column = {"column": "a", "drift": False}
        expected = {"value": 0.7, "interval": [0.65, 0.75], "reliable": True, "reason": ""}
        drift = {"reference": "train part", "current": "test part", "itself": False}
        drift |= {"drift": False, "columns": [column], "target": column, "joint": {"drift": False}}
        drift |= {"expected_score": expected, "params_sha256": drift_sha256(config, config.dataset(name))}
        for stage, value in (
            ("tune", {**trained, "models": {"forest": model}}),
            ("drift", {"data_sha256": data_sha256, **drift}),
            ("champion", {"score": model["score"]}),
        ):
            path = Path("metrics") / stage / f"{name}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(value))
        comparison[name]["forest_tuned"] = model["score"]
    Path("metrics/comparison_results.json").write_text(json.dumps(comparison))


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every key and position in a JSON value."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*at, key)
        yield from places(value[key], (*at, key))


# what a figure can be instead of a number; 10**400 is JSON, and no float
BROKEN = (None, True, "0.78", "", float("nan"), float("inf"), 10**400, [], {}, [None, None], {"forest": 1})
# keys that no gate depends on, and scores of a champion that no gate compares with
FREE = {"rough", "estimator", "column", "reason"}
FREE_OF_CHAMPION = {*metrics_of("binary")} - {"accuracy"}


@pytest.mark.parametrize(
    "name",
    ["comparison_results"] + [f"{stage}/customers" for stage in ("data", "train", "tune", "drift", "champion")],
)
def test_no_place_in_a_metrics_file_can_be_broken_unseen(project: Path, name: str) -> None:
    write_all_results()
    config = load_config()
    assert all(verdict.passed for verdict in validate.validate(list(config.datasets), config, confident=False))
    path = Path(f"metrics/{name}.json")
    original = path.read_text()
    for at in places(json.loads(original)):
        if at[-1] in (FREE | FREE_OF_CHAMPION if name.startswith("champion") else FREE):
            continue
        for broken in (*BROKEN, "deleted", "renamed"):
            value = json.loads(original)
            holder = value
            for key in at[:-1]:
                holder = holder[key]
            if isinstance(broken, str) and broken in ("deleted", "renamed"):
                kept = holder.pop(at[-1])
                if broken == "renamed" and isinstance(holder, dict):
                    holder["other"] = kept
            elif holder[at[-1]] is broken:
                continue
            else:
                holder[at[-1]] = broken
            path.write_text(json.dumps(value))
            verdicts = validate.validate(["customers"], config, confident=False)
            no_target_tested = name.startswith("drift") and at[-1] == "target" and broken is None
            other_dataset = at[0] == "houses"
            passed = all(verdict.passed for verdict in verdicts)
            assert passed == (no_target_tested or other_dataset), (at, broken)


@pytest.mark.parametrize("stage", ["data", "train", "tune", "drift", "champion", ""])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b"not json", b"\xff\x00", b"[" * 100_000])
def test_missing_or_unreadable_files_fail_with_what_to_run(
    project: Path, capsys: pytest.CaptureFixture[str], stage: str, content: bytes | None
) -> None:
    write_all_results()
    path = Path("metrics") / stage / ("customers.json" if stage else "comparison_results.json")
    path.unlink() if content is None else path.write_bytes(content)
    # what was never tuned or has no champion yet lacks nothing, but then nothing may be published of it either
    status = validate.main([])
    out = capsys.readouterr().out
    assert status == (0 if stage == "champion" and content is None else 1)
    assert "`python " in out or status == 0


@pytest.mark.parametrize(
    ("edit", "stale"),
    [
        ({"seed": 8}, ("train", "tune", "drift")),
        ({"folds": 4}, ("train", "tune")),
        ({"drift": {"alpha": 0.01}}, ("drift",)),
        ({"tuning": {**PARAMS["tuning"], "trials": 5}}, ()),
        ({"tuning": {**PARAMS["tuning"], "lag": 2}}, ("tune",)),
        ({"search_spaces": {"forest": {"max_depth": [2, 9]}}}, ("tune",)),
        ({"first_trials": {"forest": {"classification": [{"max_depth": 3}]}}}, ("tune",)),
        ({"gates": {}}, ()),
    ],
)
def test_changed_settings_make_stale_what_depends_on_them(
    project: Path, capsys: pytest.CaptureFixture[str], edit: dict[str, Any], stale: tuple[str, ...]
) -> None:
    write_all_results()
    Path("params.yaml").write_text(yaml.safe_dump({**yaml.safe_load(Path("params.yaml").read_text()), **edit}))
    assert validate.main([]) == (1 if stale else 0)
    out = capsys.readouterr().out
    for stage in ("train", "tune", "drift"):
        subject = f"metrics/{stage}/customers.json{': forest' if stage == 'tune' else ''}"
        assert (f"{subject} is stale (of other settings)" in out) == (stage in stale)


def test_a_changed_table_makes_results_stale_and_an_absent_one_does_not(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_all_results()
    table = Path("data/customers.csv")
    table.write_text(table.read_text() + "c999,3,month,Yes\n")
    assert validate.main([]) == 1
    assert "data/customers.csv has changed since; run `python generate_data.py" in capsys.readouterr().out
    table.unlink()
    assert validate.main([]) == 0
    change("metrics/data/customers.json", lambda facts: facts.update(sha256="0" * 64))
    assert validate.main([]) == 1
    out = capsys.readouterr().out
    for stage in ("train", "tune", "drift"):
        assert f"metrics/{stage}/customers.json is stale (of other data)" in out


def test_github_annotations_and_summary(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(accuracy=0.3)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "summary.md"))
    assert validate.main([]) == 1
    assert "::error title=validation::FAIL" in capsys.readouterr().out
    assert "| FAIL | customers: forest accuracy 0.3000" in (project / "summary.md").read_text()
    # without a summary, or where it cannot be written, the exit code is the same
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project))
    assert validate.main([]) == 1
    assert "the step summary cannot be written" in capsys.readouterr().err
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    assert validate.main([]) == 1


HITS = {"capacity": 5, "rows": 60, "positives": 30, "followed": 6, "hits": 4, "interval": [1.2, 9.0]}
HITS |= {"others": {"half": {"hits": 20, "followed": 30}, "random": {"hits": 3, "followed": 6}}}
COST = {"cost": 400.0, "per_rows": 1000, "interval": [300.0, 500.0]}
COST |= {"others": {"half": {"cost": 700.0, "saved": 300.0, "saved_interval": [100.0, 400.0]}}}


@pytest.mark.parametrize(
    ("found", "told"), [(HITS, "4 [1, 9] of 6 rows"), (COST, "400 [300, 500] per 1,000 rows; at 0.5 700 (more).")]
)
def test_what_labels_are_worth_is_shown_and_cannot_be_broken_unseen(
    project: Path, capsys: pytest.CaptureFixture[str], found: dict[str, Any], told: str
) -> None:
    write_results()
    path = "metrics/train/customers.json"
    change(path, lambda value: value["models"]["forest"].update(decision=found))
    assert validate.main([]) == 0
    assert told in capsys.readouterr().out
    assert told in Path("reports/index.html").read_text()
    for at in places(found):
        broken = json.loads(json.dumps(found))
        holder = broken
        for key in at[:-1]:
            holder = holder[key]
        holder[at[-1]] = "x"
        change(path, lambda value, broken=broken: value["models"]["forest"].update(decision=broken))
        assert validate.main([]) == (0 if at[-1] == "saved" else 1), at
        assert at[-1] == "saved" or "forest has no number as decision" in capsys.readouterr().out


def test_log_that_cannot_be_written_is_an_error(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results()
    Path("logs").write_text("no folder")
    assert validate.main([]) == 2
    assert capsys.readouterr().err.startswith("error: logs/validation.log: cannot be written")


def test_needs_no_heavy_import(project: Path) -> None:
    write_results()
    code = "import sys, validate; validate.main([]); print(sorted({'numpy', 'pandas', 'mlflow'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
