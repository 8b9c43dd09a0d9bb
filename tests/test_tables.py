import math

import pandas as pd
import pytest

from pipeline.tables.types import infer_type, parse_dates, parse_numbers, word_among_numbers


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        (" 1,234.50 ", 1234.5),
        ("1'234", 1234),
        ("$5", 5),
        ("5 €", 5),
        ("-$5", -5),
        ("$-5", -5),
        ("£ +5", 5),
        ("(12)", -12),
        ("($1,200)", -1200),
        ("45 %", 0.45),
        (".5", 0.5),
        ("1e3", 1000),
        ("1e999", math.inf),
    ],
)
def test_numbers_as_people_write_them(text: str, number: float) -> None:
    assert parse_numbers(pd.Series([text, None]))[0] == number
    assert infer_type(pd.Series([text, None])) == "number"


@pytest.mark.parametrize("text", ["-$-5", "(5", "5)", "1,23", "1,2345", "$", "five", "5 to 7", "12-01", "3 % %"])
def test_what_is_no_number(text: str) -> None:
    assert math.isnan(parse_numbers(pd.Series([text]))[0])
    assert infer_type(pd.Series([text])) != "number"


def test_codes_with_leading_zeros_stay_codes() -> None:
    assert infer_type(pd.Series(["007", "12"])) == "category"


def test_the_order_of_day_and_month_is_that_of_more_dates() -> None:
    assert parse_dates(pd.Series(["13/02/2024", "03/04/2024"])).tolist() == ["2024-02-13", "2024-04-03"]
    assert parse_dates(pd.Series(["02/13/2024", "03/04/2024"])).tolist() == ["2024-02-13", "2024-03-04"]


def test_a_word_among_numbers_is_found_with_its_line() -> None:
    numbers = [str(value) for value in range(50)]
    assert word_among_numbers(pd.Series([*numbers, None, "unknown", "later"])) == "'unknown' in line 53"
    assert word_among_numbers(pd.Series(numbers)) == ""
    # few different values, codes, names, and as many words as numbers
    assert word_among_numbers(pd.Series(["1", "2", "3+"] * 20)) == ""
    assert word_among_numbers(pd.Series([*"0123456789", "10+"])) == ""
    assert word_among_numbers(pd.Series([*numbers, "007", "A1"])) == ""
    assert word_among_numbers(pd.Series([f"R{value}" for value in numbers])) == ""
    assert word_among_numbers(pd.Series([*numbers, *(f"R{value}" for value in numbers)])) == ""
