import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import make_customers, make_houses
from scipy import stats

import detect_drift
import generate_data
import train
from pipeline.drift.categories import find_new_categories
from pipeline.drift.column import KINDS, WASSERSTEIN, ColumnDrift, LabelCounts
from pipeline.drift.columns import compare_column, compare_tables, holm
from pipeline.drift.pages import evidently_differences
from pipeline.drift.quality import quality
from pipeline.drift.verdict import decide
from pipeline.settings import Drift, load_config
from pipeline.tables.types import normalise_types

EVIL = "<img src=x onerror=alert(1)>"


def verdicts(reference: pd.DataFrame, current: pd.DataFrame, name: str = "customers") -> dict[str, bool]:
    columns, target = compare_tables(
        normalise_types(reference), normalise_types(current), load_config().dataset(name), Drift()
    )
    return {column.column: column.drift for column in [*columns, *([target] if target else [])]}


def test_holm_against_a_worked_example() -> None:
    kinds = KINDS
    expected = [0.003 * kinds, None, 0.006 * kinds, 0.006 * kinds]
    assert holm([0.001, None, 0.004, 0.003]) == pytest.approx(expected)
    assert holm([0.9]) == [1.0]


def test_numeric_column_has_scipys_figures(project: Path) -> None:
    old, new = make_houses(500, 0), make_houses(300, 1)
    column = compare_column("size", old["size"], new["size"])
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
    column = compare_column("size", old["size"], new["size"])
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
    table = LabelCounts(("known", "new"), np.array([[8.0, 0.0], [0.0, 2.0]]))
    labels, share, p_value = find_new_categories({"plan": table}, Drift(alpha=0.1))["plan"]
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
    frames = [
        normalise_types(pd.DataFrame({"size": side, "left": ["Yes", "No"] * (len(side) // 2)})) for side in (old, new)
    ]
    columns, _ = compare_tables(*frames, load_config().dataset("customers"), Drift())
    assert note in columns[0].note
    assert columns[0].drift is drift


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
    rows, words = quality(pd.concat([frame, frame]))
    assert rows[0] == {"column": "a", "missing": 0.0, "outliers": 0.2}
    assert rows[1] == {"column": "b", "missing": 0.2, "outliers": None}
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
    dataset = replace(load_config().dataset("customers"), types={"since": "date"})
    columns, _ = compare_tables(*map(normalise_types, sides), dataset, Drift())
    assert columns[-1].note == "dates from 2024-01-05 to 2024-01-05 before, 2025-03-09 to 2025-03-09 now"
    assert not columns[-1].drift


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
    assert r"\u2039img src=x onerror=alert(1)\u203a" in Path("reports/houses/target_drift_report.html").read_text()


def test_the_page_says_where_evidently_differs() -> None:
    def column(**facts: Any) -> ColumnDrift:
        return ColumnDrift("plan", "numeric", effect_name=WASSERSTEIN, **facts)

    def words(p: float, **facts: Any) -> str:
        return " ".join(evidently_differences([column(**facts)], {"plan": p}, Drift()))

    assert "corrected for the number of columns (0.4) that is no evidence" in words(0.01, p_corrected=0.4)
    assert "real but too small to matter (by 0.03 standard" in words(0.001, p_corrected=0.01, effect=0.03)
    assert "leaves missing values out" in words(0.9, drift=True, reasons=("has missing values that went from",))
    assert words(0.9, p_corrected=1.0) == ""
    assert words(0.001, drift=True, reasons=("moved",)) == ""


def test_a_page_stays_small_however_many_columns(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.drift.pages.PAGE_BYTES", 3_800_000)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(400, 12)), columns=[f"v{n}" for n in range(12)])
    frame["price"] = frame["v0"]
    frame.to_csv("data/houses.csv", index=False)
    assert detect_drift.main(["--dataset", "houses"]) == 0
    page = Path("reports/houses/drift_report.html")
    assert page.stat().st_size < 3_900_000
    assert "columns with the smallest p-values; all 12 would make this page too large" in page.read_text()


@pytest.fixture
def trained(project: Path) -> Path:
    """The customers with one trained model."""
    Path("y.csv").write_text(Path("data/customers.csv").read_text())
    assert generate_data.main(["--dataset", "customers"]) == 0
    assert train.main(["--dataset", "customers", "--model", "linear"]) == 0
    return project


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
        (lambda frame: frame.assign(left="yes"), "left has no value in the current table that the model knows"),
        (lambda frame: frame.assign(tenure="long"), "the model cannot read the current rows"),
    ],
)
def test_why_there_is_no_score(trained: Path, change: Callable[[pd.DataFrame], pd.DataFrame], reason: str) -> None:
    found = run_on(change(make_customers(500, 5)))
    assert found["score"] is None
    assert reason in found["no_score"]


def test_a_broken_or_missing_model_leaves_the_verdict(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [model] = Path("mlruns").rglob("model.pkl")
    model.write_bytes(b"broken")
    assert "is not the file that was logged" in run_on(make_customers(500, 5))["no_score"]
    model.unlink()
    assert "not found" in run_on(make_customers(500, 5))["no_score"]
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
