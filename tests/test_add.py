"""A dataset added to params.yaml by lines: nothing else in the file changes, and it reads back as it was given."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.console import PipelineError
from pipeline.files import write_text
from pipeline.ingest.add import add_entry
from pipeline.settings import load_config

ENTRY = {"source": "/tmp/ames.csv", "file": "data/ames.csv", "target": "SalePrice"}
LINES = ["  ames:", "    source: /tmp/ames.csv", "    file: data/ames.csv", "    target: SalePrice"]


def read(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def added(folder: Path, text: str, entry: dict[str, Any] | None = None) -> str:
    path = folder / "params.yaml"
    path.write_bytes(text.encode())
    return add_entry(path, "ames", entry or ENTRY)


def test_the_projects_own_settings_gain_lines_and_change_no_byte(tmp_path: Path) -> None:
    before = (ROOT / "params.yaml").read_bytes().decode()
    after = add_entry(ROOT / "params.yaml", "ames", ENTRY)
    block = "".join(line + "\n" for line in LINES)
    place = after.index(block)
    assert after[:place] + after[place + len(block) :] == before
    assert after[:place].endswith("    trials: 100\n")
    assert after[place + len(block) :].startswith("\n# A model is one entry")
    write_text(tmp_path / "params.yaml", after)
    assert load_config(tmp_path / "params.yaml").datasets["ames"].target == "SalePrice"


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("datasets:\n  a:\n    x: 1\n", "x: 1\n"),
        ("datasets:\n  a: {x: 1,\n      y: 2}  # last\nmodels: {}\n", "# last\n"),
        ("datasets:\n  a:\n    x: 1\n\n\n# of models\nmodels: {}\n", "x: 1\n"),
        ("datasets:\n  a:\n    x: 1\n # of models\nmodels: {}\n", "x: 1\n"),
        ("datasets:\n  a:\n    x: 1\n\n  # b:\n  #   x: 2\n\n# of models\n  # too\nmodels: {}\n", "#   x: 2\n"),
        ("datasets:\n  a:\n    x: 1\n    # y: 2\nmodels: {}\n", "# y: 2\n"),
        ("base: &base\n  x: 1\ndatasets:\n  a: *base\nmodels: {}\n", "a: *base\n"),
        ("datasets:\n  a:\n    x: |\n      # words\n\n\n# of models\nmodels: {}\n", "# words\n"),
        ("datasets:\n  a:\n    x: 'two\n\n      lines'\n\nmodels: {}\n", "lines'\n"),
        ("datasets:\n  a: &base\n    x: 1\n  b: *base\nmodels: {}\n", "b: *base\n"),
        ("base: &base {x: 1}\ndatasets:\n  a:\n    <<: *base\n  b: *base\n", "b: *base\n"),
        ("datasets:\n  a:\n    x:\nmodels: {}\n", "x:\n"),
        ("---\nseed: 1\ndatasets:\n  a:\n    x: [1,\n      2]\n...\n", "2]\n"),
        ("datasets:\nmodels: {}\n", "datasets:\n"),
        ("datasets:  # none yet\n  # a:\n  #   x: 1\n\nmodels: {}\n", "#   x: 1\n"),
        ("\ufeffdatasets:\n  a:\n    x: 1\nmodels: {}\n", "x: 1\n"),
    ],
)
def test_the_lines_stand_behind_the_last_entry_and_its_comments(tmp_path: Path, text: str, before: str) -> None:
    after = added(tmp_path, text)
    block = "".join(line + "\n" for line in LINES)
    place = text.index(before) + len(before)
    assert after == text[:place] + block + text[place:]


def test_a_file_without_a_last_line_end_gets_one(tmp_path: Path) -> None:
    assert added(tmp_path, "datasets:\n  a: {x: 1}") == "\n".join(["datasets:", "  a: {x: 1}", *LINES, ""])
    assert added(tmp_path, "datasets:") == "\n".join(["datasets:", *LINES, ""])


def test_line_ends_of_windows_stay(tmp_path: Path) -> None:
    text = "seed: 1\r\ndatasets:\r\n  a:\r\n    x: 1\r\n\r\n# of models\r\nmodels: {}\r\n"
    place = text.index("\r\n# of models")
    after = added(tmp_path, text)
    assert after == text[:place] + "".join(line + "\r\n" for line in LINES) + text[place:]
    write_text(tmp_path / "params.yaml", after)
    assert (tmp_path / "params.yaml").read_bytes() == after.encode()


def test_the_indentation_of_the_file_is_kept(tmp_path: Path) -> None:
    text = "datasets:\n    a:\n       x: 1\n"
    assert added(tmp_path, text, {"target": "z"}) == text + "    ames:\n       target: z\n"
    text = "datasets:\n    a: {x: 1}\n"
    assert added(tmp_path, text, {"target": "z"}) == text + "    ames:\n        target: z\n"


def test_an_empty_mapping_becomes_a_block(tmp_path: Path) -> None:
    after = added(tmp_path, "seed: 1\ndatasets: {}  # none yet\nmodels: {}\n", {"target": "z"})
    assert after == "seed: 1\ndatasets:  # none yet\n  ames:\n    target: z\nmodels: {}\n"


def test_values_are_written_as_the_file_writes_them(tmp_path: Path) -> None:
    entry = {
        **ENTRY,
        "positive": "Yes",
        "drop": ["Order", "PID", "no", "a, b"],
        "split": {"time": "Größe"},
        "models": {"forest": {"max_depth": 4, "alpha": 1e-05, "warm": True, "class_weight": None}},
        "types": {f"column number {number}": "category" for number in range(12)},
    }
    text = added(tmp_path, "datasets:\n  a: {x: 1}\n", entry)
    lines = text.splitlines()
    assert '    positive: "Yes"' in lines
    assert '    drop: [Order, PID, "no", "a, b"]' in lines
    assert "    split: {time: Größe}" in lines
    assert "    models: {forest: {max_depth: 4, alpha: 1.0e-05, warm: true, class_weight: null}}" in lines
    assert lines[-13:-11] == ["    types:", "      column number 0: category"]
    assert max(map(len, lines)) <= 120
    assert read(text)["datasets"]["ames"] == entry


ODD = [
    *("Yes", "no", "ON", "y", "True", "null", "~", "", " ", "1", "007", "1e5", "1.5", ".5", "-", "---", "...", "0x1F"),
    *("a: b", "a:b", "#x", "a #b", "a, b", "[a]", "{a}", "*a", "&a", "!a", "%a", "@a", "`a`", "'a'", '"a"', "|", ">"),
    *("? a", "- a", "a\nb", "a\r\nb", "\t", "a\\b", "C:\\data\\x.csv", "größe in m²", "价格", "😀", "\xa0", "\x85"),
    "\u2028",
    *("<<", "=", "2020-01-01", "12:30:00", "1_000", " a ", "../x y.csv", "\ufeff", "\x00", "\x7f", "n" * 2000),
]


@pytest.mark.parametrize("value", ODD)
def test_odd_text_is_read_back_by_readers_of_yaml_1_1_too(tmp_path: Path, value: str) -> None:
    entry: dict[str, Any] = {"target": value, "drop": [value, value], "types": {value[:500]: "category"}}
    text = added(tmp_path, "datasets:\n  a: {x: 1}\nmodels: {}\n", entry)
    assert read(text) == {"datasets": {"a": {"x": 1}, "ames": entry}, "models": {}}
    assert yaml.safe_load(text) == read(text)


@pytest.mark.parametrize("value", [0, -3, 10**30, 0.5, -0.0, 1e300, 1e-7, float("inf"), float("-inf"), True, None])
def test_numbers_are_read_back_as_the_same_kind(tmp_path: Path, value: Any) -> None:
    text = added(tmp_path, "datasets:\n  a: {x: 1}\n", {"positive": value})
    assert repr(read(text)["datasets"]["ames"]["positive"]) == repr(value)
    assert repr(yaml.safe_load(text)["datasets"]["ames"]["positive"]) == repr(value)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.booleans())
def test_any_target_is_read_back(tmp_path: Path, target: str, windows: bool) -> None:
    text = "datasets:\n  a:\n    x: 1\n  # b\n# of models\nmodels: {}\n"
    text = text.replace("\n", "\r\n") if windows else text
    after = added(tmp_path, text, {"target": target, "types": {target: "text"}})
    assert read(after)["datasets"]["ames"] == {"target": target, "types": {target: "text"}}
    lines, more = after.split("\n"), after.count("\n") - text.count("\n")
    assert "\n".join(lines[:4] + lines[4 + more :]) == text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a", "there is a dataset 'a' already; give this one another name"),
        ("1", "there is a dataset '1' already"),
        ("all", "'all' stands for every dataset; give the dataset another name"),
        ("", "'' is no name of letters, digits, _ and -; give the dataset another name"),
        ("my table", "'my table' is no name"),
        ("a\n", "is no name"),
        ("-a", "is no name"),
        ("größe", "is no name"),
        ("../a", "is no name"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str, words: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("datasets:\n  a: {x: 1}\n  1: {x: 1}\n")
    with pytest.raises(PipelineError) as error:
        add_entry(path, name, ENTRY)
    assert words in str(error.value)


@pytest.mark.parametrize("name", ["no", "2024", "a-b_c"])
def test_a_name_is_text_whatever_it_looks_like(tmp_path: Path, name: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("datasets:\n  a: {x: 1}\n")
    text = add_entry(path, name, ENTRY)
    assert list(read(text)["datasets"]) == list(yaml.safe_load(text)["datasets"]) == ["a", name]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no `datasets:`"),
        ("- a\n", "has no `datasets:`"),
        ("seed: 1\n", "has no `datasets:` with a line for each name below it; add one"),
        ("datasets: words\n", "has no `datasets:`"),
        ("datasets: [a]\n", "has no `datasets:`"),
        ("datasets: null\n", "`datasets:` is in flow style"),
        ("datasets: {a: {x: 1}}\n", "`datasets:` is in flow style; give each name of it a line of its own"),
        ("{datasets: {}}\n", "is in flow style; give `datasets:` a line of its own"),
        ("base: &base {datasets: {}}\n<<: *base\n", "is in flow style"),
        ("datasets:\n  ? a\n  : x: |+\n      b\n\n\nmodels: {}\n", "add it by hand"),
        ("datasets:\n  a: {x: 1\n", "params.yaml: while"),
        ("datasets:\n  a: 1\n  a: 2\n", "found duplicate key"),
        ("datasets: {}\n---\ndatasets: {}\n", "expected a single document"),
        ("x: " + "[" * 2000 + "\n", "recursion"),
    ],
)
def test_a_file_without_a_block_of_datasets_is_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(PipelineError) as error:
        added(tmp_path, text)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="not found; run the scripts in the project's root folder"):
        add_entry(tmp_path / "params.yaml", "ames", ENTRY)
    (tmp_path / "params.yaml").write_bytes(b"datasets:\n  \xff: 1\n")
    with pytest.raises(PipelineError, match="cannot be read"):
        add_entry(tmp_path / "params.yaml", "ames", ENTRY)
    with pytest.raises(PipelineError, match="cannot be read"):
        add_entry(tmp_path, "ames", ENTRY)


def test_an_entry_that_yaml_cannot_hold_is_refused(tmp_path: Path) -> None:
    # a key may have 1024 characters
    with pytest.raises(PipelineError, match="add it by hand"):
        added(tmp_path, "datasets:\n  a: {x: 1}\n", {"types": {"n" * 2000: "text"}})
