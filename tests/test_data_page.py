"""The page of what was understood of a table: every column said, every distribution drawn, nothing run or loaded."""

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.ingest.columns import Understood
from pipeline.ingest.page import MOST_PICTURES, data_page, picture

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
EVIL = "<img src=http://127.0.0.1:9/x.png onerror=alert(1)>\"'&"
FACTS: dict[str, Any] = {
    "rows": 1234,
    "columns": 7,
    "target": "left",
    "task": "binary",
    "metric": "roc_auc",
    "positive": 1,
    "evaluation": "holdout",
    "warnings": ["score alone predicts left nearly perfectly (0.999); is it known in time?"],
    "reading": {"layout": {"delimiter": "\t", "encoding": "cp1252", "sheet": ""}, "columns": {"age": {"decimal": "."}}},
}
PLAIN = Understood("left", "number", "target", ("1", "0"), 0.0, "", "", "")
UNDERSTOOD = [
    replace(PLAIN, column="age", role="", examples=("31", "44")),
    replace(PLAIN, column="id", role="", kind="ignore", why="an identifier", change="types: {id: category}"),
    replace(PLAIN, column="weight", role="", decided="decimal comma, in kg", missing=0.125, examples=("71,5 kg",)),
    replace(PLAIN, column="since", role="time", kind="date"),
    replace(PLAIN, column="remark", role="", kind="text", missing=0.0001),
    replace(PLAIN, column="town", role="dropped", kind="category"),
    replace(PLAIN, column=EVIL, role="", kind="category", examples=(EVIL,), decided=EVIL, why=EVIL, change=EVIL),
    PLAIN,
]


def make_frame(rows: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(18, 90, rows), "id": range(rows), "weight": rng.normal(70, 9, rows)})
    frame = frame.assign(left=np.arange(rows) % 4 == 0).astype("float64")
    frame["since"] = pd.date_range("2019-01-31", periods=rows, freq="D").strftime("%Y-%m-%d")
    frame["remark"] = [None, *("word " * count for count in range(1, rows))]
    frame["town"] = "Rome"
    frame[EVIL] = rng.choice([EVIL, "b", "c"], rows)
    return frame


class Reader(HTMLParser):
    """Texts of the cells by row, the names of all tags, and the attributes of pictures."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.pictures: list[dict[str, str | None]] = []
        self.open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.open = tag
        if tag == "svg" and dict(attrs).get("role"):
            self.pictures.append(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        self.open = "" if tag == self.open else self.open

    def handle_data(self, data: str) -> None:
        if self.open:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def page() -> str:
    return data_page("customers", make_frame(), UNDERSTOOD, FACTS)


def test_the_top_says_what_the_table_is_and_warns(page: str) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page[page.index("<main>") :]))
    assert "1,234 rows and 7 columns. left is predicted (binary, positive class 1)" in text
    assert "models are compared by ROC-AUC on the test part. Read with delimiter tab, encoding cp1252." in text
    assert text.index("score alone predicts left nearly perfectly") < text.index("Column")
    assert 'href="../comparison_report.html"' in page


def test_without_warnings_and_reading_the_top_is_one_line() -> None:
    facts = {key: value for key, value in FACTS.items() if key != "reading"} | {"warnings": [], "task": "regression"}
    page = data_page("customers", make_frame(), UNDERSTOOD, facts)
    assert 'class="warnings"' not in page
    assert "Read with" not in page
    assert "left is predicted (regression)" in page


def test_the_target_is_first_and_then_what_is_not_plain(page: str) -> None:
    rows = Reader(page).rows
    assert [row[0] for row in rows[1:]] == [
        "left target", "id", "weight", EVIL, "age", "since time", "remark", "town dropped"
    ]  # fmt: skip
    assert rows[2] == ["id", "ignore", "1, 0", "", "an identifier", "types: {id: category}"]
    assert rows[3] == ["weight", "number", "71,5 kg", "12.5 %", "decimal comma, in kg", ""]
    assert rows[7][3] == "< 0.1 %"
    assert page.count('class="special"') == 3
    assert "3 of 8 columns are not plain" in page


def test_a_plain_table_is_said_to_be_plain() -> None:
    page = data_page("plain", make_frame(), [PLAIN, UNDERSTOOD[0]], FACTS)
    assert "All columns are plain." in page
    assert 'class="special"' not in page


def test_names_and_values_are_shown_as_they_are(page: str) -> None:
    found = Reader(page)
    assert not found.tags & {"img", "script", "iframe", "object"}
    assert found.rows[4] == [EVIL, "category", EVIL[:39] + "…", "", f"{EVIL}: {EVIL}", EVIL]
    assert EVIL not in page


def test_every_picture_says_in_words_what_it_shows(page: str) -> None:
    words = [str(attributes["aria-label"]) for attributes in Reader(page).pictures]
    assert all(attributes["role"] == "img" for attributes in Reader(page).pictures)
    # the target first; ignored and dropped columns are not drawn
    assert [line.split(":")[0] for line in words[:2]] == ["left", "weight"]
    assert len(words) == len(UNDERSTOOD) - 2
    assert words[0] == "left: 0 150 rows, 1 50 rows"
    assert "rows of each month, 2019-01-31 to 2019-08-18" in words[4]


def test_the_same_table_gives_the_same_bytes(page: str) -> None:
    assert data_page("customers", make_frame(), UNDERSTOOD, FACTS) == page


def test_a_wide_table_is_drawn_in_part_and_stays_light() -> None:
    names = [f"column_{number}" for number in range(200)]
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 200)), columns=names)
    columns = [replace(UNDERSTOOD[0], column=name) for name in names]
    columns[150] = replace(columns[150], role="target")
    page = data_page("wide", frame, columns, FACTS | {"task": "regression"})
    found = Reader(page).pictures
    assert len(found) == MOST_PICTURES
    assert str(found[0]["aria-label"]).startswith("column_150: ")
    assert f"{200 - MOST_PICTURES} further columns are not drawn." in page
    assert len(page) < 250_000


def numbers(*values: float) -> pd.Series:
    return pd.Series(values, dtype="float64")


def test_whole_numbers_have_bars_of_as_many_numbers_each() -> None:
    drawn = picture(numbers(*range(31), np.nan), "number")
    assert drawn.counts == (2,) * 15 + (1,)
    assert drawn.labels == ("0", "30")
    assert drawn.words == "0 to 30, median 15"
    assert picture(numbers(1, 2, 2, 5), "number").counts == (1, 2, 0, 0, 1)


def test_values_far_away_are_in_the_outer_bars() -> None:
    values = numbers(*np.random.default_rng(0).normal(size=1000), 1e6)
    drawn = picture(values, "number")
    assert sum(drawn.counts) == 1001
    assert sum(count > 20 for count in drawn.counts) > 10
    assert drawn.labels[0].startswith("≤ -2")
    assert drawn.labels[1].startswith("≥ 2")


@pytest.mark.parametrize(
    "values",
    [(0.5,), (1e16, 1e16 + 2), (3e38, -3e38), (5e-324, 0.0), (0.1, 0.1 + 1e-16, 0.2), (-0.0,), (1e20, 1e20)],
)
def test_numbers_of_any_size_are_drawn(values: tuple[float, ...]) -> None:
    drawn = picture(numbers(*values), "number")
    assert sum(drawn.counts) == len(values)
    assert max(drawn.shares) == 1


@pytest.mark.parametrize(
    ("first", "last", "pace", "labels"),
    [
        ("2020-01-01T08:00:00", "2020-01-02T09:00:00", "hour", ("2020-01-01 08:00", "2020-01-02 09:00")),
        ("2020-01-01", "2020-01-20", "day", ("2020-01-01", "2020-01-20")),
        ("2020-01-01", "2021-12-31", "month", ("2020-01", "2021-12")),
        ("2015-01-01", "2021-12-31", "quarter", ("2015Q1", "2021Q4")),
        ("1990-05-01", "2021-12-31", "year", ("1990", "2021")),
        ("1800-05-01", "2021-12-31", "7 years", ("1800", "2021")),
    ],
)
def test_dates_are_counted_over_time(first: str, last: str, pace: str, labels: tuple[str, str]) -> None:
    drawn = picture(pd.Series([first, first, None, last]), "date")
    assert drawn.words == f"rows of each {pace}, {first[:10]} to {last[:10]}"
    assert drawn.labels == labels
    assert (drawn.counts[0], drawn.counts[-1], sum(drawn.counts)) == (2, 1, 3)


def test_the_most_frequent_values_are_drawn_and_others_in_one_bar() -> None:
    values = pd.Series([*"bbbaaa", *"cdefghij", None])
    drawn = picture(values, "category")
    assert drawn.labels == ("a", "b", "c", "d", "e", "f", "other (4)")
    assert drawn.counts == (3, 3, 1, 1, 1, 1, 4)
    assert drawn.other
    # a bar of others for one value would say less than that value
    assert picture(pd.Series([*"abcdefg"]), "category").labels == tuple("abcdefg")


def test_texts_are_drawn_by_their_length() -> None:
    assert picture(pd.Series(["a", "bcd", None]), "text").words == "characters of a text: 1 to 3, median 2"


def test_a_column_that_is_not_what_it_should_be_is_drawn_as_it_is() -> None:
    assert picture(pd.Series(["a", "b"]), "number").labels == ("a", "b")
    assert picture(pd.Series(["a", "b"]), "date").labels == ("a", "b")
    empty = pd.Series([None, None], dtype=object)
    assert picture(empty, "category").words == "no values"
    page = data_page("empty", pd.DataFrame({"age": empty}), [UNDERSTOOD[0], PLAIN], FACTS)
    assert Reader(page).pictures == []
    assert "no values" in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)")
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_its_window(tmp_path: Path, width: int) -> None:
    long = "a_long_name_without_a_place_to_break_" * 4
    columns = [
        *UNDERSTOOD,
        replace(UNDERSTOOD[-2], column=long, examples=(long, long), change=f"types: {{{long}: text}}"),
    ]
    page = data_page(long, make_frame().assign(**{long: long}), columns, FACTS | {"warnings": [long, EVIL]})
    # a window is never as narrow as a phone, a frame is; it may be looked into where no policy forbids
    (tmp_path / "page.html").write_text(re.sub(r"<meta http-equiv[^>]*>", "", page))
    script = "const p = f.contentDocument.documentElement; document.title = `${p.scrollWidth} ${p.clientWidth}`"
    frame = (
        f'<iframe id="f" src="page.html" style="width: {width}px; height: 900px; border: 0" onload="{script}"></iframe>'
    )
    (tmp_path / "frame.html").write_text(f"<title></title>{frame}")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    command += [
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--window-size=1400,900",
    ]
    command += ["--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom"]
    done = subprocess.run(
        [*command, (tmp_path / "frame.html").as_uri()], capture_output=True, text=True, check=True, timeout=240
    )
    found = re.search(r"<title>(\d+) (\d+)</title>", done.stdout)
    assert found
    assert int(found[1]) == int(found[2]) > width - 20
