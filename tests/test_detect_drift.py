import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, make_customers, make_houses

import detect_drift
import generate_data
import train
from pipeline.drift.charts import draw
from pipeline.drift.column import ColumnDrift, Finding, as_json
from pipeline.drift.compare import Compared
from pipeline.drift.quality import quality
from pipeline.drift.score import judged_loss, loss_of
from pipeline.drift.together import Joint
from pipeline.drift.verdict import verdict_words
from pipeline.drift.windows import MOST_WINDOWS, windows_by
from pipeline.gates.judge import other_comparison
from pipeline.gates.results import DRIFT
from pipeline.settings import Gate, load_config

EVIL = "<img src=x onerror=alert(1)>"


def test_quality_counts_missing_outliers_and_duplicates() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0, 100.0], "b": [None, "x", "x", "x", "x"]})
    columns, words = quality(pd.concat([frame, frame]))
    assert columns == {"a": (0.0, 0.2), "b": (0.2, None)}
    assert "in need of a look: 50.0% duplicate rows, at most 20.0% missing" in words
    assert "find out why b has missing values; remove the duplicate rows" in words
    assert (
        "within its limits (5% missing in a column, 1% duplicate rows)"
        in quality(pd.DataFrame({"a": np.arange(50.0)}))[1]
    )


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
    assert all(0 <= column["findings"][0]["p_value"] <= 1 for column in found["columns"])
    # Kolmogorov and Smirnov's p-value is told for numbers
    assert [
        0 <= column["ks_p"] <= 1 if column["kind"] == "number" else column["ks_p"] for column in found["columns"]
    ] == [
        True,
        None,
    ]
    assert found["target"]["column"] == "left"
    assert found["joint"]["drift"] is False
    assert 0 <= found["joint"]["p_value"] <= 1
    assert (
        "No drift was found at a false alarm rate of 5.0 %; 60 current rows would have shown" in capsys.readouterr().out
    )
    assert not Path("logs/drift").exists()


def test_a_drifted_file_without_target_fails_on_request(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    current = make_customers(500, 5).drop(columns="left")
    current["tenure"] += 40
    current.to_parquet("now.parquet")
    words = ["--dataset", "customers", "--current", "now.parquet"]
    assert detect_drift.main(words) == 0
    assert detect_drift.main([*words, "--fail-on-drift"]) == 1
    out = capsys.readouterr().out
    assert "customers: tenure has " in out
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
    one = json.loads(Path("one/drift.json").read_text())
    assert (one["drift"], one["verdict"]) == (None, "No verdict: 1 current row can show no change of any size.")


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
        ColumnDrift("size", "number", (Finding("e", "w", 0.5, 0.2, 0.3, 0.5, 0.5),), drift="size" in drifted),
        ColumnDrift("kind", "category", (Finding("f", "w", 0.5, 0.3, 0.2, 0.5, 0.5),), drift="kind" in drifted),
        ColumnDrift("gone", "other", drift="gone" in drifted),
    ]
    charts = draw(reference, current, ["size", "kind"], as_json(columns))
    assert charts.failure == ""
    rows = re.findall(
        r'"column_name": "(\w+)".*?"stattest_name": "(.*?)".*?"data_drift": "(.*?)", "drift_score": (.*?)}', charts.data
    )
    told = {True: "Detected", False: "Not Detected"}
    assert rows == [
        ("size", "change of a share (e)", told["size" in drifted], "0.3"),
        ("kind", "change of a share (f)", told["kind" in drifted], "0.2"),
    ]
    assert ("Dataset Drift is detected" in charts.data) is bool(drifted)


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


def test_labels_say_what_the_drift_costs(trained: Path) -> None:
    same = make_customers(4000, 5).assign(extra=1.0)
    harmless = same.assign(plan=np.where(np.arange(4000) < 40, "decade", same["plan"]))
    reversed_target = same.assign(left=np.where(same["left"] == "Yes", "No", "Yes"))
    both = reversed_target.assign(tenure=same["tenure"] + 40)
    few = same.head(300)
    for frame, margin, retrain, verdict, words in (
        (same, 0.2, False, "within", "No need to retrain: the loss lies within the margin of"),
        (harmless, 0.2, False, "within", "No need to retrain: the loss lies within the margin of"),
        (both, 0.2, True, "shown", "Retrain the model on rows like the current ones: it has lost score."),
        (few, 0.09, False, "open", "is not shown either way;"),
        (few, 0.0, False, "open", "no number of current rows would tell"),
    ):
        params = {**PARAMS, "drift": {"margin": margin}}
        Path("params.yaml").write_text(yaml.safe_dump(params))
        found = run_on(frame)
        score = found["score"]
        assert words in found["recommendation"]
        assert (found["retrain"], score["verdict"]) == (retrain, verdict)
        assert score["current_interval"][0] < score["current"] < score["current_interval"][1]
        assert score["loss_interval"][0] < score["loss"] < score["loss_interval"][1]
        page = Path("reports/customers/drift_report.html").read_text()
        assert f"linear reaches accuracy {score['current']:.4f}" in page
    Path("params.yaml").write_text(yaml.safe_dump(PARAMS))


def test_so_many_more_labelled_rows_tell_where_there_is_no_loss() -> None:
    before = SimpleNamespace(name="m", metric="accuracy", before=0.8, before_interval=(0.79, 0.81))
    few = judged_loss(before, 100, 0.8, (0.75, 0.85), margin=0.02)  # type: ignore[arg-type]
    assert (few.verdict, few.loss) == ("open", 0.0)
    assert few.more_rows == math.ceil(100 * 0.05**2 / (0.02**2 - 0.01**2) - 100)
    for more, verdict in ((few.more_rows, "within"), (few.more_rows - 2, "open")):
        half = 0.05 * math.sqrt(100 / (100 + more))
        interval = (0.8 - half, 0.8 + half)
        assert judged_loss(before, 100 + more, 0.8, interval, margin=0.02).verdict == verdict  # type: ignore[arg-type]
    assert judged_loss(before, 100, 0.8, (0.75, 0.85), margin=0.01).more_rows is None  # type: ignore[arg-type]


def test_without_labels_the_score_is_expected_and_later_labels_are_set_beside_it(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_customers(2000, 5)
    shifted = rows.sample(1500, random_state=0, replace=True, weights=np.where(rows["tenure"] > 30, 4.0, 1.0))
    shifted = shifted.reset_index(drop=True).assign(ticket=[f"T{n}" for n in range(1500)])
    found = run_on(shifted.drop(columns="left"))
    expected = found["expected_score"]
    assert found["score"] is None
    assert (expected["metric"], expected["reliable"]) == ("accuracy", True)
    assert found["model_words"].startswith("No labels yet. The model (linear) is expected to reach accuracy 0.")
    assert found["model_words"] in Path("reports/customers/drift_report.html").read_text()
    assert "cannot be seen without labels" in found["recommendation"]
    # labels of two thirds of the rows, in another order
    shifted[["ticket", "left"]].sample(1000, random_state=1).to_csv("labels.csv", index=False)
    words = [
        "--dataset",
        "customers",
        "--current",
        "now.csv",
        "--labels",
        "labels.csv",
        "--key",
        "ticket",
        "--no-pages",
    ]
    assert detect_drift.main(words) == 0
    later = json.loads(Path("metrics/drift/customers.json").read_text())
    assert later["score"]["rows"] == later["current_rows"] == 1000
    assert "without labels" in later["model_words"]
    low, high = later["expected_score"]["interval"]
    assert low < later["score"]["current"] < high


@pytest.mark.parametrize(
    ("key", "labels", "message"),
    [
        ("ticket", "ticket,left\nT1,Yes\nT1,No\n", "ticket T1 is there twice; keep one label a row"),
        ("ticket", "ticket,left\n,Yes\n", "rows without ticket: 1; fill"),
        ("ticket", "ticket,gone\nT1,Yes\n", "no column 'left' in the labels"),
        ("tiket", "ticket,left\nT1,Yes\n", "no column 'tiket' in the current table; did you mean 'ticket'"),
        ("ticket", "ticket,left\nX,Yes\n", "no current row has a label"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    trained: Path, capsys: pytest.CaptureFixture[str], key: str, labels: str, message: str
) -> None:
    make_customers(20, 5).drop(columns="left").assign(ticket=[f"T{n}" for n in range(20)]).to_csv(
        "rows.csv", index=False
    )
    Path("bad.csv").write_text(labels)
    words = ["--dataset", "customers", "--current", "rows.csv", "--labels", "bad.csv", "--key", key]
    assert detect_drift.main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_rows_of_the_training_table_are_no_news(trained: Path) -> None:
    found = run_on(pd.read_csv("y.csv").sample(200, random_state=0))
    assert (found["drift"], found["retrain"]) == (None, False)
    assert found["verdict"] == "No verdict: all current rows are rows of the training table."
    # a score of rows that it was trained on would say nothing
    assert (found["score"], found["no_score"]) == (None, "all current rows are rows of the training table")
    grown = pd.concat([pd.read_csv("y.csv"), make_customers(300, 9).assign(tenure=lambda frame: frame["tenure"] + 40)])
    found = run_on(grown)
    assert found["drift"] is True
    assert found["verdict"].endswith(" 240 more are rows of the training table, and were left out.")


def test_a_comparison_of_a_file_with_itself_passes_no_gate(project: Path) -> None:
    new = make_customers(200, 5)
    new.to_csv("new.csv", index=False)
    new.sample(frac=1, random_state=0).to_csv("shuffled.csv", index=False)
    pd.concat([new, make_customers(200, 6)]).to_csv("more.csv", index=False)
    gate, config = Gate("drifted_columns", below=1, reference="new.csv"), load_config()
    dataset = config.dataset("customers")
    for current, itself in (("new.csv", True), ("shuffled.csv", True), ("more.csv", False)):
        words = ["--dataset", "customers", "--reference", "new.csv", "--current", current, "--no-pages"]
        assert detect_drift.main(words) == 0
        found = DRIFT.validate_python(json.loads(Path("metrics/drift/customers.json").read_text()))
        assert found.itself is itself
        assert other_comparison(gate, dataset, found).startswith(f"{current} was compared with itself") is itself


def test_windows_share_one_alarm_budget_and_say_where_it_began(trained: Path) -> None:
    months = [make_customers(400, 20 + month).assign(month=f"2024-{month:02}-15") for month in range(1, 6)]
    for frame in months[3:]:
        frame["tenure"] += 25
    pd.concat(months).to_csv("year.csv", index=False)
    words = ["--dataset", "customers", "--current", "year.csv", "--by", "month", "--fail-on-drift", "--output", "by"]
    assert detect_drift.main(words) == 1
    found = json.loads(Path("by/drift.json").read_text())
    assert [(point["window"], point["drift"]) for point in found["windows"]] == [
        ("2024-01-15", False), ("2024-02-15", False), ("2024-03-15", False), ("2024-04-15", True), ("2024-05-15", True),
    ]  # fmt: skip
    assert found["verdict"].startswith("Drift was found in 2 of 5 windows, first in 2024-04-15. 2024-04-15: Drift was")
    assert all(point["score"] and point["expected"] for point in found["windows"])
    page = Path("by/drift_report.html").read_text()
    assert 'src="data:image/png;base64,' in page
    assert page.count('<th scope="row">2024-0') == 5
    for number, frame in enumerate(months[2:4]):
        frame.to_csv(f"{number}.csv", index=False)
    assert detect_drift.main(["--dataset", "customers", "--current", "0.csv", "1.csv", "--no-pages"]) == 0
    found = json.loads(Path("metrics/drift/customers.json").read_text())
    assert [(point["window"], point["drift"]) for point in found["windows"]] == [("0.csv", False), ("1.csv", True)]


def test_checks_of_files_are_remembered_and_shown(trained: Path) -> None:
    Path("logs/drift/customers.jsonl").unlink(missing_ok=True)
    for number in range(3):
        run_on(make_customers(300, 40 + number))
    lines = Path("logs/drift/customers.jsonl").read_text().splitlines()
    assert [json.loads(line)["window"] for line in lines] == ["now.csv"] * 3
    Path("logs/drift/customers.jsonl").write_text("\n".join([*lines, "{torn"]))
    run_on(make_customers(300, 50))
    assert "The last 4 checks of this dataset, from" in Path("reports/customers/drift_report.html").read_text()
    assert [line[:5] for line in Path("logs/drift/customers.jsonl").read_text().splitlines()[3:]] == ["{torn", '{"tim']


def test_dates_are_cut_into_windows_with_enough_rows() -> None:
    days = pd.date_range("2024-01-01", periods=120, freq="D").strftime("%Y-%m-%d")
    frame = pd.DataFrame({"day": np.repeat(days, 20), "batch": np.arange(2400) % 3 * 1.0})
    assert [*windows_by(frame, "day")] == ["2024-01", "2024-02", "2024-03", "2024-04"]
    assert {*map(len, windows_by(frame[frame["day"] < "2024-01-10"], "day").values())} == {180}
    assert [*windows_by(frame, "batch")] == ["0", "1", "2"]
    many = frame.assign(batch=np.arange(2400) % (MOST_WINDOWS + 1) * 1.0)
    with pytest.raises(detect_drift.PipelineError, match="31 windows are too many"):
        windows_by(many, "batch")
    with pytest.raises(detect_drift.PipelineError, match="no such column; did you mean 'day'"):
        windows_by(frame, "dya")
    with pytest.raises(detect_drift.PipelineError, match="1 rows have no value there"):
        windows_by(frame.assign(day=frame["day"].where(frame.index > 0)), "day")


@pytest.mark.parametrize(
    ("rows", "visible", "copied", "joint", "drift", "words"),
    [
        (
            9,
            0.05,
            0,
            False,
            False,
            "No drift was found at a false alarm rate of 5.0 %; 9 current rows would have shown a share",
        ),
        (
            9,
            0.46,
            0,
            False,
            None,
            "No verdict: 9 current rows can show at best a share of rows that goes from 50 % to 96",
        ),
        (9, 0.5, 0, False, None, "No verdict: 9 current rows can show no change of any size."),
        (0, 0.05, 9, True, None, "No verdict: all current rows are rows of the training table."),
        (9, 0.05, 9, False, False, "No drift was found at a false alarm rate of 5.0 %; 9 current rows would"),
        (9, 0.46, 4, True, True, "Drift was found in all columns together. 4 more are rows of the training table, and"),
    ],
)
def test_what_can_be_said(rows: int, visible: float, copied: int, joint: bool, drift: bool | None, words: str) -> None:
    found = Compared([ColumnDrift("a", "number")], None, visible)
    verdict, headline, _ = verdict_words(found, Joint(0.6, 0.001, joint), rows, copied, 0.05)
    assert verdict is drift
    assert headline.startswith(words)


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
    def shown(*figures: Any) -> bool:
        return loss_of(*figures)[1][0] > 0

    assert shown("accuracy", 0.9, (0.88, 0.92), 0.8, (0.78, 0.82))
    assert not shown("accuracy", 0.9, (0.88, 0.92), 0.89, (0.87, 0.91))
    assert not shown("accuracy", 0.8, (0.78, 0.82), 0.9, (0.88, 0.92))
    assert shown("rmse", 0.8, (0.78, 0.82), 0.9, (0.88, 0.92))
    assert not shown("rmse", 0.9, (0.88, 0.92), 0.8, (0.78, 0.82))
    # the ends that lie towards each other count
    assert not shown("rmse", 0.8, (0.79, 0.9), 0.9, (0.8, 0.91))
    assert not shown("accuracy", 0.9, (0.8, 0.91), 0.8, (0.79, 0.9))
    # by hand: 0.1 ± the root of 0.02² + 0.03²
    assert loss_of("accuracy", 0.9, (0.88, 0.93), 0.8, (0.76, 0.83))[1] == pytest.approx((0.0639, 0.15), abs=1e-4)


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


@pytest.mark.parametrize(
    "words",
    [
        ["--by", "plan"],
        ["--labels", "l.csv"],
        ["--current", "c.csv", "--key", "id"],
        ["--labels", "l.csv", "--key", "id"],
    ],
)
def test_flags_that_need_others_are_a_usage_error(project: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        detect_drift.main(["--dataset", "customers", *words])
    assert stop.value.code == 2
