import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, make_customers, make_houses
from scipy import stats

import detect_drift
import generate_data
import train
from pipeline.drift.categories import find_new_categories
from pipeline.drift.charts import draw
from pipeline.drift.column import KINDS, ColumnDrift, as_json
from pipeline.drift.compare import compare_column, compare_tables, correct, decide, types_of
from pipeline.drift.numbers import kolmogorov_smirnov
from pipeline.drift.quality import quality
from pipeline.drift.registry import TESTS, DriftTest
from pipeline.drift.score import has_lost
from pipeline.settings import Drift, load_config
from pipeline.tables.columns import normalise_types

EVIL = "<img src=x onerror=alert(1)>"


def compared(
    reference: pd.DataFrame, current: pd.DataFrame, name: str = "customers", **changes: Any
) -> dict[str, ColumnDrift]:
    """Every column's comparison; `changes` to the dataset's settings."""
    reference, current = normalise_types(reference), normalise_types(current)
    dataset = replace(load_config().dataset(name), **changes)
    columns, target = compare_tables(reference, current, types_of(dataset, reference), Drift())
    return {column.column: column for column in [*columns, *([target] if target else [])]}


def verdicts(reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, bool]:
    return {name: column.drift for name, column in compared(reference, current).items()}


def compare_numbers(old: pd.Series, new: pd.Series) -> ColumnDrift:
    return compare_column("size", old, new, table=None, declared="", is_target=False)


def test_holm_against_a_worked_example() -> None:
    kinds = KINDS
    expected = [0.003 * kinds, None, 0.006 * kinds, 0.006 * kinds]
    assert correct([0.001, None, 0.004, 0.003]) == pytest.approx(expected)
    assert correct([0.9]) == [1.0]
    assert correct([None]) == [None]


def test_numeric_column_has_scipys_figures(project: Path) -> None:
    old, new = make_houses(500, 0), make_houses(300, 1)
    column = compare_numbers(old["size"], new["size"])
    assert column.p_value == pytest.approx(stats.ks_2samp(old["size"], new["size"], method="asymp").pvalue)
    distance = stats.wasserstein_distance(old["size"], new["size"]) / old["size"].std(ddof=0)
    assert column.effect == pytest.approx(distance)


def test_same_source_shows_no_drift(project: Path) -> None:
    assert not any(verdicts(make_customers(2000, 1), make_customers(2000, 2)).values())


def test_shift_emptied_column_new_category_and_target_are_found(project: Path) -> None:
    reference = make_customers(4000, 1)
    shifted = make_customers(2000, 2).assign(tenure=lambda f: f["tenure"] + 0.5 * f["tenure"].std())
    assert verdicts(reference, shifted)["tenure"]
    emptied = make_customers(2000, 2)
    emptied["plan"] = emptied["plan"].where(np.arange(2000) % 5 > 0)
    assert verdicts(reference, emptied)["plan"]
    unseen = make_customers(2000, 2)
    unseen.loc[:19, "plan"] = "decade"
    assert verdicts(reference, unseen)["plan"]
    more = make_customers(2000, 2)
    more.loc[more.index[more["left"] == "No"][:200], "left"] = "Yes"
    found = verdicts(reference, more)
    assert found["left"]
    assert not found["tenure"]


def test_a_significant_but_tiny_shift_is_no_drift(project: Path) -> None:
    rng = np.random.default_rng(0)
    old, new = (pd.DataFrame({"size": rng.normal(mean, 1, 200_000)}) for mean in (0, 0.03))
    column = compare_numbers(old["size"], new["size"])
    assert column.p_value is not None
    assert column.p_value < 1e-6
    assert not decide(replace(column, p_corrected=column.p_value), Drift()).drift


def test_a_rare_class_that_multiplies_is_target_drift(project: Path) -> None:
    reference, current = make_customers(10_000, 1), make_customers(5_000, 2)
    for frame, frauds in ((reference, 20), (current, 60)):
        frame["left"] = np.where(np.arange(len(frame)) < frauds, 1, 0)
    found = verdicts(reference, current)
    assert found["left"]
    assert not found["tenure"]


def test_rare_categories_on_one_side_by_chance_are_no_drift(project: Path) -> None:
    """Many rare categories: a tenth of them are in the current table alone, each with a row or two."""
    rng = np.random.default_rng(3)
    reference, current = make_customers(1000, 1), make_customers(250, 2)
    for frame in (reference, current):
        frame["plan"] = [f"plan {n}" for n in rng.zipf(1.5, len(frame)).clip(max=400)]
    assert not set(current["plan"]) <= set(reference["plan"])
    assert not verdicts(reference, current)["plan"]
    current.loc[:11, "plan"] = "a new one"
    assert verdicts(reference, current)["plan"]


def test_probability_that_a_category_is_new_by_chance() -> None:
    table = pd.DataFrame({"old": [8.0, 0.0], "new": [0.0, 2.0]}, index=["known", "new"])
    labels, share, p_value = find_new_categories({"plan": table}, alpha=0.1)["plan"]
    assert p_value == pytest.approx(KINDS / 45)  # 2 of 10 places, both current: 1 of 45 pairs
    assert (labels, share) == (("new",), 1.0)


@pytest.mark.parametrize(
    ("old", "new", "note", "drift"),
    [
        ([1.0, 2.0] * 50, [None] * 100, "all empty in the current table", True),
        ([None] * 100, [None] * 100, "all empty in the reference and current table", False),
        ([None] * 100, [1.0, 2.0] * 50, "all empty in the reference table", True),
        ([3.0] * 100, [3.0] * 100, "constant", False),
        ([3.0] * 100, [4.0] * 100, "", True),
        (["a"] * 100, ["a"] * 100, "constant", False),
        ([f"text {i}" for i in range(200)], [f"text {i}" for i in range(200)], "text-like", False),
        ([1.0, 2.0] * 50, ["x", "y"] * 50, "numbers before, other values now", True),
        (["x", "y"] * 50, [1.0, 2.0] * 50, "categories before, numbers now", True),
        ([True, False] * 50, [True, False] * 50, "", False),
        ([True, False] * 50, [True, None] * 50, "", True),
    ],
)
def test_odd_columns_get_a_plain_note(project: Path, old: list, new: list, note: str, drift: bool) -> None:
    column = compared(*(pd.DataFrame({"size": side, "left": ["Yes", "No"] * (len(side) // 2)}) for side in (old, new)))
    assert note in column["size"].note
    assert column["size"].drift is drift


@pytest.mark.parametrize("rows", [1, 2, 10])
def test_a_tiny_current_table_raises_no_alarm(project: Path, rows: int) -> None:
    reference = make_customers(2000, 1)
    reference.loc[:9, "plan"] = "rare"
    calls = [verdicts(reference, reference.sample(rows, random_state=seed)) for seed in range(10)]
    calls.append(verdicts(reference, reference.head(1)))
    assert not any(any(found.values()) for found in calls)


def test_columns_on_one_side_only(project: Path) -> None:
    reference = make_customers(400)
    found = verdicts(reference, reference.drop(columns="plan").assign(extra=1.0))
    assert found["plan"]
    assert found["extra"] is False


def test_the_order_of_columns_does_not_count(project: Path) -> None:
    reference, current = make_customers(400, 1), make_customers(400, 2)
    assert verdicts(reference, current) == verdicts(reference, current[list(current)[::-1]])


def test_quality_counts_missing_outliers_and_duplicates() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0, 100.0], "b": [None, "x", "x", "x", "x"]})
    columns, words = quality(pd.concat([frame, frame]))
    assert columns == {"a": (0.0, 0.2), "b": (0.2, None)}
    assert "in need of a look: 50.0% duplicate rows, at most 20.0% missing" in words
    assert "find out why b has missing values; remove the duplicate rows" in words
    assert "good" in quality(pd.DataFrame({"a": np.arange(50.0)}))[1]


def test_reports_and_metrics(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert detect_drift.main(["--dataset", "customers", "--fail-on-drift"]) == 0
    for name in ("drift_report", "quality_report", "target_drift_report"):
        page = Path(f"reports/customers/{name}.html")
        assert page.stat().st_size < 6_000_000
        text = page.read_text()
        assert 'class="words"' in text
        assert "https://fonts" not in text
    found = json.loads(Path("metrics/drift/customers.json").read_text())
    assert found["drift"] is False
    assert {"tenure", "plan"} == {column["column"] for column in found["columns"]}
    assert all(0 <= column["p_value"] <= 1 for column in found["columns"])
    assert found["target"]["column"] == "left"
    assert "No drift was found" in capsys.readouterr().out


def test_a_drifted_file_without_target_fails_on_request(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    current = make_customers(500, 5).drop(columns="left")
    current["tenure"] += 40
    current.to_parquet("now.parquet")
    words = ["--dataset", "customers", "--current", "now.parquet"]
    assert detect_drift.main(words) == 0
    assert detect_drift.main([*words, "--fail-on-drift"]) == 1
    out = capsys.readouterr().out
    assert "tenure moved by" in out
    assert "The model should be retrained" in out
    assert json.loads(Path("metrics/drift/customers.json").read_text())["target"] is None
    assert "cannot be tested" in Path("reports/customers/target_drift_report.html").read_text()


def test_output_leaves_the_pipelines_own_files_alone(project: Path) -> None:
    make_customers(300, 5).to_csv("now.csv", index=False)
    words = ["--dataset", "customers", "--current", "now.csv", "--output", "weekly"]
    assert detect_drift.main(words) == 0
    written = {"drift.json", "drift_report.html", "quality_report.html", "target_drift_report.html"}
    assert {path.name for path in Path("weekly").iterdir()} == written
    assert not Path("metrics").exists()
    assert not Path("reports").exists()


def test_odd_tables_get_their_reports(project: Path) -> None:
    """One row, hostile names, columns empty, constant, of another type, absent and extra: a line each, no crash."""
    current = make_customers(60, 5)
    current[EVIL] = "</script><script>alert(1)</script>"
    current["nothing"], current["plan"], current["tenure"] = None, [True, False] * 30, "text"
    current.drop(columns="left").to_csv("odd.csv", index=False)
    make_customers(60, 6).head(1).to_parquet("one.parquet")
    for name in ("odd.csv", "one.parquet"):
        assert detect_drift.main(["--dataset", "customers", "--current", name, "--output", name[:3]]) == 0
    for page in [*Path("odd").glob("*.html"), *Path("one").glob("*.html")]:
        text = page.read_text()
        assert 'class="words"' in text
        assert EVIL not in text
        assert "<script>alert(1)" not in text
    found = json.loads(Path("odd/drift.json").read_text())
    notes = {column["column"]: column["note"] for column in found["columns"]}
    assert notes == {
        "tenure": "numbers before, other values now",
        "plan": "",
        EVIL: "only in the current table",
        "nothing": "only in the current table",
    }
    assert json.loads(Path("one/drift.json").read_text())["drift"] is False


def test_dates_are_told_and_not_tested(project: Path) -> None:
    sides = [make_customers(200, seed) for seed in (1, 2)]
    sides[0]["since"], sides[1]["since"] = "2024-01-05", "2025-03-09"
    since = compared(*sides, types={"since": "date"})["since"]
    assert since.note == "dates from 2024-01-05 to 2024-01-05 before, 2025-03-09 to 2025-03-09 now"
    assert not since.drift


def test_hostile_names_reach_evidently_as_text(project: Path) -> None:
    config = yaml.safe_load(Path("params.yaml").read_text())
    config["datasets"]["houses"]["target"] = EVIL
    Path("params.yaml").write_text(yaml.safe_dump(config))
    frame = make_houses(300).rename(columns={"price": EVIL, "size": "</script><script>alert(2)</script>"})
    frame["kind"] = frame["kind"].replace("hut", "</script><script>alert(3)</script>")
    frame.to_csv("data/houses.csv", index=False)
    assert detect_drift.main(["--dataset", "houses"]) == 0
    for page in Path("reports/houses").glob("*.html"):
        assert "<script>alert" not in page.read_text()
        assert EVIL not in page.read_text()
    assert r"\u003cimg src=x onerror=alert(1)\u003e" in Path("reports/houses/target_drift_report.html").read_text()


@pytest.mark.parametrize("drifted", [("size",), ("kind",), ("size", "kind"), ("gone",), ()])
def test_evidentlys_table_shows_our_verdicts(drifted: tuple[str, ...]) -> None:
    """Whatever the data say: both tables are the same here, or differ wildly."""
    reference, current = (
        make_houses(200),
        make_houses(200).assign(size=7.0) if "size" not in drifted else make_houses(200),
    )
    columns = [
        ColumnDrift("size", "numeric", test="t", p_value=0.5, effect_name="e", effect=0.3, drift="size" in drifted),
        ColumnDrift("kind", "categorical", test="t", p_value=0.5, effect_name="f", effect=0.2, drift="kind" in drifted),
        ColumnDrift("gone", "other", drift="gone" in drifted),
    ]
    charts = draw(reference, current, ["size", "kind"], as_json(columns))
    assert charts.failure == ""
    rows = re.findall(
        r'"column_name": "(\w+)".*?"stattest_name": "(.*?)".*?"data_drift": "(.*?)", "drift_score": (.*?)}', charts.data
    )
    told = {True: "Detected", False: "Not Detected"}
    assert rows == [("size", "e", told["size" in drifted], "0.3"), ("kind", "f", told["kind" in drifted], "0.2")]
    assert ("Dataset Drift is detected" in charts.data) is bool(drifted)


def test_a_drift_test_is_one_entry(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    energy = DriftTest("numeric", kolmogorov_smirnov, stats.energy_distance, "by {:.1f} of energy", "min_wasserstein")
    monkeypatch.setitem(TESTS, "energy distance", energy)
    current = make_houses(300, 5)
    current["age"] += 20
    current.to_csv("now.csv", index=False)
    for bound, drift in ((0.5, True), (50.0, False)):
        config = yaml.safe_load(Path("params.yaml").read_text()) | {"drift": {"min_wasserstein": bound}}
        Path("params.yaml").write_text(yaml.safe_dump(config))
        assert detect_drift.main(["--dataset", "houses", "--current", "now.csv"]) == 0
        found = json.loads(Path("metrics/drift/houses.json").read_text())
        age = next(column for column in found["columns"] if column["column"] == "age")
        expected = stats.energy_distance(make_houses()["age"], current["age"])
        assert (age["drift"], age["effect_name"], age["effect"]) == (
            drift,
            "energy distance",
            pytest.approx(expected, rel=1e-5),
        )
        assert any(line.startswith(f"age moved by {expected:.1f} of energy: mean") for line in found["moved"]) is drift
        page = Path("reports/houses/drift_report.html").read_text()
        assert f"<td>by {expected:.1f} of energy</td>" in page
        assert '"stattest_name": "energy distance"' in page


def test_a_page_stays_small_however_many_columns(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.drift.charts.CHART_BYTES", 150_000)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(400, 12)), columns=[f"v{n}" for n in range(12)])
    frame["price"] = frame["v0"]
    frame.to_csv("data/houses.csv", index=False)
    assert detect_drift.main(["--dataset", "houses"]) == 0
    page = Path("reports/houses/drift_report.html")
    assert page.stat().st_size < 3_750_000
    words = "columns are shown, drifted ones and then those with the smallest p-values; all 12 would make this page too"
    assert words in " ".join(page.read_text().split())


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The customers with one trained model."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        Path("params.yaml").write_text(yaml.safe_dump(PARAMS))
        make_customers().to_csv("y.csv", index=False)
        assert generate_data.main(["--dataset", "customers"]) == 0
        assert train.main(["--dataset", "customers", "--model", "linear"]) == 0
    return folder


@pytest.fixture
def trained(trained_once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """It is the current folder for the test, which leaves its model as it is."""
    monkeypatch.chdir(trained_once)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return trained_once


def run_on(frame: pd.DataFrame) -> dict[str, Any]:
    frame.to_csv("now.csv", index=False)
    assert detect_drift.main(["--dataset", "customers", "--current", "now.csv"]) == 0
    return json.loads(Path("metrics/drift/customers.json").read_text())


def test_the_models_score_on_current_rows_says_what_the_drift_costs(trained: Path) -> None:
    same = make_customers(2000, 5).assign(extra=1.0)
    harmless = same.assign(plan=np.where(np.arange(2000) < 40, "decade", same["plan"]))
    reversed_target = same.assign(left=np.where(same["left"] == "Yes", "No", "Yes"))
    both = reversed_target.assign(tenure=same["tenure"] + 40)
    for frame, retrain, words, low, high in (
        (same, False, "There is no reason to retrain.", 0.6, 0.9),
        (harmless, False, "No need to retrain now: no loss of score is shown", 0.6, 0.9),
        (both, True, "Retrain the model on rows like the current ones: the drift costs score.", 0.1, 0.5),
    ):
        found = run_on(frame)
        assert words in found["recommendation"]
        assert found["retrain"] is retrain
        assert low < found["score"]["current"] < high
        assert found["score"]["current_interval"][0] < found["score"]["current"] < found["score"]["current_interval"][1]
        page = Path("reports/customers/drift_report.html").read_text()
        assert "What it costs" in page
        assert f"{found['score']['test']:.4f}" in page


def test_what_changed_against_the_contract_is_listed(trained: Path) -> None:
    found = run_on(make_customers(500, 5).drop(columns="plan").assign(extra=1.0))
    assert sorted(found["changes"]) == ["extra: a new column", "plan: is absent"]
    assert "<li>plan: is absent</li>" in Path("reports/customers/quality_report.html").read_text()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda frame: frame.drop(columns="left"), "the current table has no left"),
        (lambda frame: frame.drop(columns="plan"), "the model needs plan, absent"),
        (lambda frame: frame.assign(left="maybe"), "left has no value in the current table that the model knows"),
        (lambda frame: frame.assign(tenure="long"), "the model cannot read the current rows"),
    ],
)
def test_why_there_is_no_score(trained: Path, change: Callable[[pd.DataFrame], pd.DataFrame], reason: str) -> None:
    found = run_on(change(make_customers(500, 5)))
    assert found["score"] is None
    assert reason in found["no_score"]


def test_a_loss_is_a_worse_score_whatever_its_direction() -> None:
    assert has_lost("accuracy", 0.9, (0.88, 0.92), 0.8, (0.78, 0.82))
    assert not has_lost("accuracy", 0.9, (0.88, 0.92), 0.89, (0.87, 0.91))
    assert not has_lost("accuracy", 0.8, (0.78, 0.82), 0.9, (0.88, 0.92))
    assert has_lost("rmse", 0.8, (0.78, 0.82), 0.9, (0.88, 0.92))
    assert not has_lost("rmse", 0.9, (0.88, 0.92), 0.8, (0.78, 0.82))
    # the ends that lie towards each other count
    assert not has_lost("rmse", 0.8, (0.79, 0.9), 0.9, (0.8, 0.91))
    assert not has_lost("accuracy", 0.9, (0.8, 0.91), 0.8, (0.79, 0.9))


def test_a_broken_or_missing_model_leaves_the_verdict(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [model] = Path("mlruns").rglob("model.pkl")
    whole = model.read_bytes()
    try:
        model.write_bytes(b"broken")
        assert "is not the file that was logged" in run_on(make_customers(500, 5))["no_score"]
        model.unlink()
        assert "not found" in run_on(make_customers(500, 5))["no_score"]
    finally:
        model.write_bytes(whole)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{trained}/elsewhere.sqlite")
    assert "elsewhere.sqlite" in run_on(make_customers(500, 5))["no_score"]


def test_the_score_of_a_model_judged_by_cross_validation_in_a_store_elsewhere(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/elsewhere/db.sqlite")
    config = yaml.safe_load(Path("params.yaml").read_text())
    config["datasets"]["customers"] |= {"evaluation": "cross_validation", "metric": "roc_auc", "threshold": "tuned"}
    Path("params.yaml").write_text(yaml.safe_dump(config))
    Path("y.csv").write_text(Path("data/customers.csv").read_text())
    assert generate_data.main(["--dataset", "customers"]) == 0
    assert train.main(["--dataset", "customers", "--model", "linear"]) == 0
    assert run_on(make_customers(500, 5))["score"]["metric"] == "roc_auc"
    one_class = make_customers(500, 5).query("left == 'No'")
    assert run_on(one_class)["no_score"].startswith("roc_auc is not defined on these")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "customers", "--current", "no.csv"], "no.csv: not found"),
        (["--dataset", "customers", "--current", "other.csv"], "no column in common"),
        (["--dataset", "customers", "--current", "empty.csv"], "empty.csv: has no rows"),
        (["--dataset", "customers", "--reference", "other.csv"], "other.csv: no column in common"),
    ],
)
def test_bad_files_exit_2(project: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    Path("other.csv").write_text("x,y\n1,2\n")
    Path("empty.csv").write_text("id,tenure,plan,left\n")
    assert detect_drift.main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    with pytest.raises(SystemExit) as stop:
        detect_drift.main(["--current", "other.csv"])
    assert stop.value.code == 2
