import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import make_customers, make_houses
from scipy import stats

import detect_drift
import generate_data
import train
from pipeline.config import Drift, load_config


def verdicts(reference: pd.DataFrame, current: pd.DataFrame, name: str = "customers") -> dict[str, bool]:
    from pipeline.tables import normalise_types

    columns, target = detect_drift.compare_tables(
        normalise_types(reference), normalise_types(current), load_config().dataset(name), Drift()
    )
    return {column.column: column.drift for column in [*columns, *([target] if target else [])]}


def test_holm_against_a_worked_example() -> None:
    assert detect_drift.holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])


def test_numeric_column_has_scipys_figures(project: Path) -> None:
    old, new = make_houses(500, 0), make_houses(300, 1)
    column = detect_drift.compare_column("size", old, new, Drift())
    assert column.p_value == pytest.approx(stats.ks_2samp(old["size"], new["size"], method="asymp").pvalue)
    distance = stats.wasserstein_distance(old["size"], new["size"]) / old["size"].std()
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
    column = detect_drift.compare_column("size", old, new, Drift())
    assert column.p_value is not None
    assert column.p_value < 1e-6
    assert not detect_drift.decide(detect_drift.replace(column, p_corrected=column.p_value), Drift()).drift


@pytest.mark.parametrize(
    ("old", "new", "note", "drift"),
    [
        ([1.0, 2.0] * 50, [None] * 100, "all empty on one side or both", True),
        ([None] * 100, [None] * 100, "all empty on one side or both", False),
        ([3.0] * 100, [3.0] * 100, "constant", False),
        (["a"] * 100, ["a"] * 100, "constant", False),
        ([f"text {i}" for i in range(200)], [f"text {i}" for i in range(200)], "text-like", False),
        ([1.0, 2.0] * 50, ["x", "y"] * 50, "numbers before, other values now", True),
    ],
)
def test_odd_columns_get_a_plain_note(project: Path, old: list, new: list, note: str, drift: bool) -> None:
    from pipeline.tables import normalise_types

    frames = [
        normalise_types(pd.DataFrame({"size": side, "left": ["Yes", "No"] * (len(side) // 2)})) for side in (old, new)
    ]
    columns, _ = detect_drift.compare_tables(*frames, load_config().dataset("customers"), Drift())
    assert note in columns[0].note
    assert columns[0].drift is drift


def test_columns_on_one_side_only(project: Path) -> None:
    reference = make_customers(400)
    found = verdicts(reference, reference.drop(columns="plan").assign(extra=1.0))
    assert found["plan"]
    assert found["extra"] is False


def test_quality_counts_missing_outliers_and_duplicates() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0, 100.0], "b": [None, "x", "x", "x", "x"]})
    rows, words = detect_drift.quality(pd.concat([frame, frame]))
    assert rows[0] == {"column": "a", "missing": 0.0, "outliers": 0.2}
    assert rows[1] == {"column": "b", "missing": 0.2, "outliers": None}
    assert "needs a look: 50.0% duplicate rows, at most 20.0% missing" in words


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
    assert "tenure moved" in capsys.readouterr().out
    assert json.loads(Path("metrics/drift/customers.json").read_text())["target"] is None
    assert "cannot be tested" in Path("reports/customers/target_drift_report.html").read_text()


def test_the_models_score_on_current_rows_says_what_the_drift_costs(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("y.csv").write_text(Path("data/customers.csv").read_text())
    assert generate_data.main(["--dataset", "customers"]) == 0
    assert train.main(["--dataset", "customers", "--model", "linear"]) == 0
    harmless = make_customers(2000, 5).assign(extra=1.0)
    harmful = harmless.assign(left=np.where(harmless["left"] == "Yes", "No", "Yes"))
    for frame, words, low, high in ((harmless, "No loss is shown", 0.6, 0.9), (harmful, "It has lost", 0.1, 0.4)):
        frame.to_csv("now.csv", index=False)
        assert detect_drift.main(["--dataset", "customers", "--current", "now.csv"]) == 0
        assert words in capsys.readouterr().out
        score = json.loads(Path("metrics/drift/customers.json").read_text())["score"]
        assert low < score["current"] < high
        assert score["current_interval"][0] < score["current"] < score["current_interval"][1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "customers", "--current", "no.csv"], "no.csv: not found"),
        (["--dataset", "customers", "--current", "other.csv"], "no column in common"),
    ],
)
def test_bad_files_exit_2(project: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    Path("other.csv").write_text("x,y\n1,2\n")
    assert detect_drift.main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    with pytest.raises(SystemExit) as stop:
        detect_drift.main(["--current", "other.csv"])
    assert stop.value.code == 2
