import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import PARAMS, make_customers, make_houses

import compare_results
import generate_data
import train
import tune_hyperparameters
from pipeline.comparison.collect import paired_tests
from pipeline.comparison.entries import Entry
from pipeline.comparison.words import advice, tuning_words
from pipeline.metrics import Predictions
from pipeline.settings import load_config
from pipeline.store.connect import open_store

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which every stage up to the comparison has run, on tables with a hostile column name."""
    folder = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        make_houses().rename(columns={"size": EVIL}).to_csv("x.csv", index=False)
        make_customers().to_csv("y.csv", index=False)
        Path("params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
        assert generate_data.main([]) == 0
        assert train.main([]) == 0
        assert tune_hyperparameters.main(["--model", "forest", "--n-trials", "12"]) == 0
        assert compare_results.main([]) == 0
    return folder


def test_results_are_datasets_models_metrics_and_plain_numbers(compared: Path) -> None:
    found = json.loads((compared / "metrics/comparison_results.json").read_text())
    assert set(found) == {"houses", "customers"}
    assert set(found["houses"]) == {"forest", "forest_tuned", "gradient_boosting", "linear"}
    assert set(found["houses"]["linear"]) == {"r2", "rmse", "mae"}
    assert set(found["customers"]["linear"]) == {"accuracy", "f1", "roc_auc", "average_precision"}
    trained = json.loads((compared / "metrics/train/houses.json").read_text())["models"]["linear"]["score"]
    assert found["houses"]["linear"] == pytest.approx(trained, abs=1e-5)


def test_summary_tells_best_gain_and_best_overall(compared: Path) -> None:
    summary = json.loads((compared / "metrics/summary.json").read_text())
    results = json.loads((compared / "metrics/comparison_results.json").read_text())
    tuned = json.loads((compared / "metrics/tune/houses.json").read_text())["models"]["forest"]
    houses = summary["datasets"]["houses"]
    assert houses["gain_of_tuning"]["forest"] == pytest.approx(tuned["gain"], abs=1e-5)
    assert houses["value"] == results["houses"][houses["best_model"]]["r2"]
    assert houses["interval"][0] <= houses["value"] <= houses["interval"][1]
    assert summary["best_overall"]["model"] in PARAMS["models"]


def test_page_needs_no_network_and_escapes_names_from_data(compared: Path) -> None:
    page = (compared / "reports/comparison_report.html").read_text()
    without_script = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=\"(?!#|http://127\.0\.0\.1:5000|data:|houses/|customers/)", without_script)
    assert EVIL not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in without_script
    assert page.count('role="img"') >= 10
    assert "<th scope=" in page


def test_csv_and_markdown(compared: Path) -> None:
    rows = list(csv.DictReader((compared / "reports/comparison.csv").open()))
    assert len(rows) == 4 * 3 + 4 * 4
    assert all(float(row["low"]) <= float(row["high"]) for row in rows)
    assert "| houses |" in (compared / "reports/summary.md").read_text()


def test_several_stores_and_a_moved_one(compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(compared, moved)
    monkeypatch.chdir(moved)
    shutil.move("mlruns", "elsewhere")
    uri = f"sqlite:///{moved}/elsewhere/db.sqlite"
    before = Path("metrics/comparison_results.json").read_text()
    original = compared.rename(tmp_path / "away")
    try:
        assert compare_results.main(["--tracking-uri", uri, "--tracking-uri", uri]) == 0
    finally:
        original.rename(compared)
    assert Path("metrics/comparison_results.json").read_text() == before


def test_each_store_of_parallel_jobs_has_one_dataset(
    compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uris = []
    for kept, dropped in (("houses", "customers"), ("customers", "houses")):
        shutil.copytree(compared / "mlruns", tmp_path / kept)
        uris.append(f"sqlite:///{tmp_path / kept}/db.sqlite")
        client = open_store(uris[-1])
        client.delete_experiment(client.get_experiment_by_name(dropped).experiment_id)
    monkeypatch.chdir(compared)
    before = Path("metrics/comparison_results.json").read_text()
    assert compare_results.main(["--tracking-uri", uris[0], "--tracking-uri", uris[1]]) == 0
    assert Path("metrics/comparison_results.json").read_text() == before
    assert compare_results.main(["--tracking-uri", uris[0]]) == 2
    assert "python train.py --dataset customers --model forest" in capsys.readouterr().err
    assert Path("metrics/comparison_results.json").read_text() == before


def test_differences_to_earlier_results(compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(compared)
    earlier = json.loads(Path("metrics/comparison_results.json").read_text())
    earlier["houses"]["linear"]["r2"] -= 0.5
    (tmp_path / "earlier.json").write_text(json.dumps(earlier))
    assert compare_results.main(["--against", str(tmp_path / "earlier.json")]) == 0
    assert "| houses | linear | r2 |" in Path("reports/summary.md").read_text()
    assert "+0.5000 |" in Path("reports/summary.md").read_text()


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("metrics/data/houses.json", "python generate_data.py --dataset houses"),
        ("metrics/train/houses.json", "python train.py --dataset houses"),
        ("mlruns", "python train.py"),
    ],
)
def test_missing_input_exits_2_with_the_command(
    compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    path: str, command: str,
) -> None:  # fmt: skip
    copy = tmp_path / "copy"
    shutil.copytree(compared, copy)
    monkeypatch.chdir(copy)
    shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink()
    assert compare_results.main([]) == 2
    error = capsys.readouterr().err
    assert command in error
    assert len(error.splitlines()) == 1


def test_a_missing_run_is_named(
    compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(compared, copy)
    monkeypatch.chdir(copy)
    path = Path("metrics/train/houses.json")
    facts = json.loads(path.read_text())
    facts["models"]["other"] = facts["models"]["linear"]
    path.write_text(json.dumps(facts))
    assert compare_results.main([]) == 2
    assert "python train.py --dataset houses --model other" in capsys.readouterr().err


def entry(name: str, right: int, seconds: float) -> Entry:
    actual = np.arange(400) % 2
    predicted = np.where(np.arange(400) < right, actual, 1 - actual)
    value = right / 400
    return Entry(
        name, name, False, "E", {"accuracy": value}, {"accuracy": (value - 0.02, value + 0.02)}, value, seconds, 9,
        "r", "0", "s", Predictions(actual, predicted, predicted.astype(float)), {"a": 0.1},
    )  # fmt: skip


def test_paired_tests_and_advice_follow_the_numbers(project: Path) -> None:
    entries = [entry("good", 360, 9.0), entry("same", 359, 1.0), entry("bad", 250, 1.0)]
    tests = paired_tests(entries, "good", "accuracy", 0)
    assert (tests["same"][2], tests["bad"][2]) == ("no difference shown", "better")
    assert paired_tests(entries, "bad", "accuracy", 0)["good"][2] == "worse"
    dataset = load_config().dataset("customers")
    words = " ".join(advice(dataset, entries, "good", tests, 0.91, None, {}))
    assert "same is shown, which fits 9 times faster" in words.replace("to same", "same")
    assert "lies within its interval" in words
    words = " ".join(
        advice(
            dataset,
            entries,
            "good",
            tests,
            0.99,
            {"drift": True, "retrain": True, "verdict": "V", "recommendation": "R"},
            {},
        )
    )
    assert "0.0900 are left" in words
    assert words.endswith("V R")


def test_tuning_words_follow_the_difference() -> None:
    base, tuned = entry("m", 300, 1.0), entry("m_tuned", 320, 1.0)

    def words(first: Entry, second: Entry, *interval: float) -> str:
        facts = {"difference_interval": list(interval)} if interval else {}
        return tuning_words(first, second, "accuracy", "accuracy", facts)

    assert (
        words(tuned, base, 0.01, 0.09) == "Tuning m_tuned gained 0.0500 accuracy [+0.0100, +0.0900]: more than chance."
    )
    assert words(base, tuned, -0.12, 0.02).endswith("lost 0.0500 accuracy [-0.1200, +0.0200]: no difference shown.")
    assert "changed nothing" in words(base, base)


def test_a_gain_over_a_score_of_0_is_told_in_words(project: Path) -> None:
    frame = make_customers()
    frame["left"] = ["Yes" if row % 20 == 0 else "No" for row in range(len(frame))]
    frame.to_csv("y.csv", index=False)
    customers = {**PARAMS["datasets"]["customers"], "metric": "f1"}
    params = {**PARAMS, "gates": {}, "datasets": {"customers": customers}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert generate_data.main([]) == 0
    assert train.main([]) == 0
    assert tune_hyperparameters.main(["--n-trials", "2"]) == 0
    assert compare_results.main([]) == 0
    found = json.loads(Path("metrics/train/customers.json").read_text())["models"]["forest"]
    assert found["score"]["f1"] == 0
    assert json.loads(Path("metrics/tune/customers.json").read_text())["models"]["forest"]["gain"] is None
    assert "| forest from 0 |" in Path("reports/summary.md").read_text()
