"""Every messy table of the zoo is read as a careful person would read it, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import PARAMS
from zoo import CASES, Case

import generate_data


def take_in(case: Case, folder: Path) -> int:
    """Settings for this one table in the folder, which is the current one, and the exit status of taking it in."""
    source = case.write(folder).relative_to(folder).as_posix()
    entry = {"source": source, "file": "data/t.csv", "target": case.target, **case.entry}
    params = yaml.safe_dump({**PARAMS, "datasets": {"t": entry}, "gates": {}}, sort_keys=False, allow_unicode=True)
    Path("params.yaml").write_text(params, encoding="utf-8")
    return generate_data.main([])


def same(found: str, expected: Any) -> bool:
    """A field of the normalised table: numbers by their value, text as it is, nothing for missing."""
    if expected is None:
        return found == ""
    if isinstance(expected, str):
        return found == expected
    try:
        return float(found) == float(expected)
    except ValueError:
        return False


def same_class(found: Any, expected: Any) -> bool:
    if isinstance(expected, bool):
        return str(found).casefold() == str(expected).casefold()
    return same(str(found), expected)


def differences(frame: pd.DataFrame, values: dict[str, list]) -> list[str]:
    """Every field that is not what it should be, and where it is."""
    found = [f"{name}: no such column" for name in values if name not in frame]
    for name in values.keys() & set(frame):
        if len(frame) != len(values[name]):
            found.append(f"{name}: {len(frame)} rows, not {len(values[name])}")
        found += [
            f"{name}, row {row}: {is_!r}, not {should!r}"
            for row, (is_, should) in enumerate(zip(frame[name], values[name], strict=False))
            if not same(is_, should)
        ]
    return found


def test_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 75


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_messy_table(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    status = take_in(case, tmp_path)
    printed = capsys.readouterr()
    if case.refused:
        assert status == 2, printed.out
        assert len(printed.err.splitlines()) == 1, printed.err
        assert any(word in printed.err for word in case.refused.split("|")), printed.err
        assert not Path("data/t.csv").exists()
        return
    assert status == 0, printed.err
    facts = json.loads(Path("metrics/data/t.json").read_text(encoding="utf-8"))
    frame = pd.read_csv("data/t.csv", dtype=str, keep_default_na=False)
    ignored = set(facts["ignored"])
    types = {name: "ignore" if name in ignored else facts["types"].get(name) for name in [*facts["types"], *ignored]}
    wrong = {name: types.get(name) for name, right in case.types.items() if types.get(name) not in right.split(" or ")}
    assert not wrong, f"types {wrong}, not {case.types}"
    assert differences(frame, case.values) == []
    assert facts["rows"] == len(frame)
    if case.learned:
        learned = {name for name, type_ in types.items() if type_ != "ignore"} - {case.target}
        assert learned == set(case.learned)
    if case.task:
        assert facts["task"] == case.task
    if case.task in ("binary", "multiclass") and case.target in case.values:
        assert len(facts["class_share"]) == len(set(case.values[case.target]))
    if case.positive is not None:
        assert same_class(facts["positive"], case.positive), facts["positive"]
    missing = [word for word in case.says if word not in printed.out + printed.err]
    assert not missing, f"{missing} not in: {printed.out}"
