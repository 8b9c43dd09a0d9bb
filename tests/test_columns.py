"""What is decided of the columns of a user's table, and what is said of it."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.console import PipelineError
from pipeline.ingest.infer import Table, take_in, take_in_file
from pipeline.settings import Dataset, load_config
from pipeline.tables.csv_text import Layout

ROWS = 60


def taken(columns: dict[str, list[Any]], **settings: Any) -> Table:
    """The table with these columns, repeated to ROWS rows, a quantity beside them and the target y of two classes."""
    frame = pd.DataFrame({name: (values * ROWS)[:ROWS] for name, values in columns.items()}, dtype=object)
    frame["quantity"] = [f"{i % 17}.5" for i in range(ROWS)] if "quantity" not in columns else frame["quantity"]
    frame["y"] = ["a", "b", "b"] * (ROWS // 3)
    dataset = Dataset(name="t", source="t.csv", file="data/t.csv", target="y", **settings)
    return take_in(dataset, frame, Layout(), load_config())


def kinds(table: Table) -> dict[str, str]:
    return {column.column: column.kind for column in table.understood}


def said(table: Table, name: str) -> str:
    return next(column.said for column in table.understood if column.column == name)


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("store_id", ["17", "23", "40"], "by its name"),
        ("Kundennummer", ["100", "230", "400"], "by its name"),
        ("code_postal", ["75001", "69002"], "by its name"),
        ("contact", ["+49 777 541 456", "+43 777 541 123"], "phone numbers"),
        ("flat", ["1E2", "2E1", "3E4"], "an E between them"),
        ("ref", [f"{90_000_000_000 + 7 * i}" for i in range(ROWS)], "11 digits each"),
        ("plain", ["007", "12"], "leading zeros"),
    ],
)
def test_codes_are_no_quantities(project: Path, name: str, values: list[str], why: str) -> None:
    table = taken({name: values})
    assert kinds(table)[name] in ("category", "ignore")
    assert why in said(table, name)


@pytest.mark.parametrize("name", ["market_cap", "air_quality_index", "price", "seconds_at_work", "rooms"])
def test_quantities_stay_numbers(project: Path, name: str) -> None:
    assert kinds(taken({name: ["30000", "30137", "41500", "29999"]}))[name] == "number"


def test_months_with_a_point_are_no_numbers(project: Path) -> None:
    table = taken({"month": ["01.2020", "02.2021", "10.2021"], "period": ["2023.01", "2023.10", "2022.02"]})
    assert kinds(table)["month"] == kinds(table)["period"] == "date"
    assert table.frame["month"][2] == "2021-10-01"
    assert table.frame["period"][1] == "2023-10-01"


def test_numbers_of_a_typed_format_are_what_they_are(project: Path) -> None:
    table = taken({"x": [1.234, 2.5, "k.A."], "text": ["2,5", "3,75"], "quantity": ["1,5", "2,25"]})
    assert table.frame["x"][0] == 1.234
    assert table.frame["x"].isna().sum() == ROWS // 3
    assert "k.A. in 20 rows taken for missing" in said(table, "x")
    # and text beside them is read as text is
    assert taken({"x": [1.5, 3.0, "8,5"], "quantity": ["1,5", "2,25"]}).frame["x"][2] == 8.5


def test_only_quantities_tell_the_decimal_sign(project: Path) -> None:
    columns = {"version": ["1.10", "2.3"], "price": ["1,000", "2,037", "3,074"], "quantity": ["5", "6"]}
    with pytest.raises(PipelineError, match="column 'price': '1,000' reads as two different numbers"):
        taken(columns)
    assert taken(columns, decimal=",").frame["price"][1] == 2.037
    assert taken({**columns, "quantity": ["0.5", "1.25"]}).frame["price"][1] == 2037
    with pytest.raises(PipelineError, match="column 'quantity': its numbers are not written with ','"):
        taken({"quantity": ["0.5", "1.25"]}, decimal=",")


def test_the_order_of_day_and_month_that_is_set(project: Path) -> None:
    dates = {"d": ["20-01-01", "21-02-02", "22-03-03"]}
    with pytest.raises(PipelineError, match="column 'd': '21-02-02' reads as two different days"):
        taken({"d": ["21-02-02"]})
    assert taken({"d": ["20-01-21", "21-02-02"]}, dayfirst=True).frame["d"][0] == "2021-01-20"
    assert taken(dates, dayfirst=False).frame["d"][1] == "2021-02-02"
    assert taken({"d": ["01/02/2024", "03/04/2024"], "e": ["31/12/2024"]}).frame["d"][0] == "2024-02-01"


def test_what_is_told_of_columns_that_are_not_plain(project: Path) -> None:
    table = taken(
        {
            "duration": [f"{i}h {i % 7}m" for i in range(ROWS)],
            "city": ["New York", "new york", "Boston"],
            "born": ["01/02/45", "28/02/68"],
            "level": ["3", "4", "-999"],
            "day": [f"2023{i % 12 + 1:02d}{i % 28 + 1:02d}" for i in range(ROWS)],
        }
    )
    assert "read as no numbers or dates" in said(table, "duration")
    assert "'New York' and 'new york' are two categories" in said(table, "city")
    assert "years of two digits are 1969 to 2068" in said(table, "born")
    assert "all of them days" in said(table, "day")
    assert any("level: -999 in 20 rows may stand for missing" in warning for warning in table.warnings)


def test_a_last_row_of_totals_is_warned_of(project: Path) -> None:
    rows = "".join(f"shop {i % 4},{i}.5,{i * 3}.25\n" for i in range(ROWS))
    Path("t.csv").write_text(f"shop,size,y\n{rows}Total,{ROWS}.5,9999.5\n")
    table = take_in_file(Dataset(name="t", source="t.csv", file="data/t.csv", target="y"), load_config())
    assert "the last row holds the word 'Total'; delete it if it sums up the others" in table.warnings


def test_a_date_in_another_order_is_named(project: Path) -> None:
    days = [f"{i % 12 + 13}.{i % 12 + 1:02d}.{2000 + i}" for i in range(ROWS - 1)]
    table = taken({"d": [*days, "03.25.2023"]})
    assert any("d is taken for categories: '03.25.2023' in line 61 is no date" in words for words in table.warnings)


def test_classes_that_differ_in_case_only_are_one(project: Path) -> None:
    frame = pd.DataFrame({"x": [f"{i % 9}.5" for i in range(ROWS)], "y": ["Yes", "no", "yes", "No", "No", "Yes"] * 10})
    dataset = Dataset(name="t", source="t.csv", file="data/t.csv", target="y")
    table = take_in(dataset, frame, Layout(), load_config())
    assert set(table.frame["y"]) == {"Yes", "No"}
    assert sorted(table.warnings) == [
        "y: no taken for No, which more rows have",
        "y: yes taken for Yes, which more rows have",
    ]
    letters = take_in(dataset, frame.assign(y=["a", "A", "b"] * 20), Layout(), load_config())
    assert set(letters.frame["y"]) == {"a", "A", "b"}


def test_the_positive_class_may_be_given_as_a_number_or_a_switch(project: Path) -> None:
    frame = pd.DataFrame({"x": [f"{i % 9}.5" for i in range(ROWS)], "out_code": ["0", "1", "1"] * 20})
    dataset = Dataset(name="t", source="t.csv", file="data/t.csv", target="out_code", positive=1)
    assert take_in(dataset, frame, Layout(), load_config()).dataset.positive == "1"
    flags = frame.assign(out_code=[True, False, False] * 20)
    other = Dataset(name="t", source="t.csv", file="data/t.csv", target="out_code", positive=True)
    assert take_in(other, flags, Layout(), load_config()).dataset.positive == "True"


def test_a_class_called_none_beside_numbers_is_asked_about(project: Path) -> None:
    frame = pd.DataFrame({"x": [f"{i % 9}.5" for i in range(ROWS)], "y": ["None", "1", "2"] * 20})
    given: dict[str, Any] = {"name": "t", "source": "t.csv", "file": "data/t.csv", "target": "y"}
    with pytest.raises(PipelineError, match="target y: 'None' is a class or a missing value"):
        take_in(Dataset(**given), frame, Layout(), load_config())
    classes = take_in(Dataset(**given, task="multiclass"), frame, Layout(), load_config())
    assert classes.dataset.classes == ("1", "2", "None")
    assert len(classes.frame) == ROWS
    listed = take_in(Dataset(**given, missing=("None",)), frame, Layout(), load_config())
    assert len(listed.frame) == ROWS * 2 // 3
    assert any("20 rows without a value of y are left out" in words for words in listed.warnings)


def test_a_class_called_none_is_positive_only_where_it_is_the_rarer(project: Path) -> None:
    dataset = Dataset(name="t", source="t.csv", file="data/t.csv", target="y")
    for classes, positive in ((["None", "None", "Some"], "Some"), (["None", "Some", "Some"], "None")):
        frame = pd.DataFrame({"x": [f"{i % 9}.5" for i in range(ROWS)], "y": classes * 20})
        table = take_in(dataset, frame, Layout(), load_config())
        assert table.dataset.positive == positive
        assert any("the rarer one" in reason for reason in table.reasons)
