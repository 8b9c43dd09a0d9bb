"""A known table, written in the ways of the world, is read back as it was or refused; never as something else."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS

from pipeline.console import PipelineError
from pipeline.ingest import infer
from pipeline.ingest.infer import take_in_file
from pipeline.settings import Dataset, load_config

CHUNKS, EXAMPLES = 5, 500
MOST_REFUSED = 0.15
NBSP, NARROW, MINUS = "\u00a0", "\u202f", "\u2212"
PLAIN_WORDS = ["red", "green", "flat", "villa"]
# of cp1252, so that every encoding can write them
OTHER_WORDS = ["None", "NA", "null", "nan", "N/A", "café", "Zürich", "señor", "Größe", "a, b; c", 'the "best"', "x|y"]
TARGETS = [["Yes", "No"], ["low", "middle", "high"], ["None", "Mild", "Severe"], ["NA", "EU"], ["gut", "schlecht"]]
ORDERS = {"ISO": "%Y-%m-%d", "d/m/Y": "%d/%m/%Y", "m/d/Y": "%m/%d/%Y", "d.m.Y": "%d.%m.%Y"}
SUFFIXES, PREFIXES = [" kg", "kg", " €", " EUR"], ["$", "€", "R$ ", "£"]


@dataclass(frozen=True)
class Convention:
    """How a file is written."""

    delimiter: str
    decimal: str
    thousands: str
    encoding: str
    order: str
    between: str  # a day and its time
    seconds: bool
    quoting: int
    mark: str  # of a missing number
    minus: str  # a pattern for the digits


def one_of(rng: np.random.Generator, values: list) -> Any:
    return values[rng.integers(len(values))]


def some_convention(rng: np.random.Generator) -> Convention:
    decimal, encoding = one_of(rng, [".", ","]), one_of(rng, ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    narrow = [] if encoding == "cp1252" else [NARROW]
    long_minus = [] if encoding == "cp1252" else [MINUS + "{}"]
    order = one_of(rng, list(ORDERS))
    return Convention(
        delimiter=one_of(rng, [",", ";", "\t", "|"]),
        decimal=decimal,
        thousands=one_of(rng, ["", "," if decimal == "." else ".", "'", " ", NBSP, *narrow]),
        encoding=encoding,
        order=order,
        between=one_of(rng, [" ", "T"]) if order == "ISO" else " ",
        seconds=bool(rng.integers(2)),
        quoting=one_of(rng, [csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        mark=one_of(rng, ["", "NA", "-", "n/a"]),
        minus=one_of(rng, ["-{}", "{}-", "({})", *long_minus]),
    )


def number_texts(values: list, decimals: int, how: Convention, rng: np.random.Generator) -> list[str]:
    """The numbers in one column's way; with a unit, the minus is in front (or parentheses around it all)."""
    unit = rng.integers(10)
    suffix = one_of(rng, SUFFIXES) if unit == 0 else ""
    prefix = one_of(rng, PREFIXES) if unit == 1 else ""
    minus = how.minus
    if (suffix and minus in ("{}-", "({})")) or (prefix and minus == "{}-"):
        minus = "-{}"
    shortest = bool(decimals) and rng.random() < 0.2
    texts = []
    for value in values:
        if value is None:
            texts.append(how.mark)
            continue
        text = f"{abs(value):,.{decimals}f}"
        if shortest:
            text = text.rstrip("0").rstrip(".")
        text = prefix + text.translate({ord(","): how.thousands, ord("."): how.decimal}) + suffix
        texts.append(minus.format(text) if value < 0 else text)
    return texts


def with_gaps(values: list, rng: np.random.Generator) -> list:
    """Now and then some are missing."""
    share = one_of(rng, [0, 0, 0.1])
    return [None if i > 4 and rng.random() < share else value for i, value in enumerate(values)]


def some_table(rng: np.random.Generator) -> tuple[pd.DataFrame, Convention, bytes]:
    """What is true, how it is written, and the file."""
    how, rows = some_convention(rng), int(rng.integers(40, 61))
    true: dict[str, list] = {}
    written: dict[str, list[str]] = {}

    decimals = int(rng.choice([1, 2, 3], p=[0.25, 0.6, 0.15]))
    low, high = one_of(rng, [(0, 3), (0, 3), (-1, 4), (-1, 6)])
    amounts = [round(float(value), decimals) for value in 10 ** rng.uniform(low, high, rows)]
    if negative := bool(rng.integers(2)):
        amounts = [-value if value and rng.random() < 0.3 else value for value in amounts]
    true["amount"] = with_gaps(amounts, rng)
    written["amount"] = number_texts(true["amount"], decimals, how, rng)

    most = one_of(rng, [1, 3, 4, 6.5])
    counts = [float(int(value)) for value in 10 ** rng.uniform(0, most, rows)]
    counts[1] = counts[0]
    if negative:
        counts = [-value if value and rng.random() < 0.3 else value for value in counts]
    true["count"] = with_gaps(counts, rng)
    written["count"] = number_texts(true["count"], 0, how, rng)

    words = [*PLAIN_WORDS[: rng.integers(2, 5)], *rng.choice(OTHER_WORDS, rng.integers(0, 5), replace=False)]
    true["kind"] = with_gaps([*words, *rng.choice(words, rows - len(words))], rng)
    written["kind"] = ["" if word is None else str(word) for word in true["kind"]]

    for name in ("day", "moment"):
        start, never_above_twelve = date(2019, 1, 1), rng.random() < 0.08
        days = [start + timedelta(days=int(offset)) for offset in rng.integers(0, 2000, rows)]
        if never_above_twelve:
            days = [day.replace(day=1 + day.day % 12) for day in days]
        pattern = ORDERS[how.order]
        if name == "moment":
            clock = rng.integers(3600, 86400, rows) // (1 if how.seconds else 60) * (1 if how.seconds else 60)
            days = [
                datetime(day.year, day.month, day.day) + timedelta(seconds=int(seconds))
                for day, seconds in zip(days, clock, strict=True)
            ]
            pattern += how.between + ("%H:%M:%S" if how.seconds else "%H:%M")
        given = with_gaps(days, rng)
        true[name] = [None if day is None else day.isoformat() for day in given]
        written[name] = ["" if day is None else day.strftime(pattern) for day in given]

    classes = one_of(rng, TARGETS)
    true["target"] = [classes[i] for i in rng.permutation(np.arange(rows) % len(classes))]
    written["target"] = true["target"]

    names = [*rng.permutation(list(true)[:-1]), "target"]
    out = io.StringIO()
    table = csv.writer(out, delimiter=how.delimiter, quoting=how.quoting, lineterminator=one_of(rng, ["\n", "\r\n"]))
    table.writerow(names)
    table.writerows(zip(*(written[name] for name in names), strict=True))
    frame = pd.DataFrame({name: pd.Series(true[name], dtype=object) for name in names})
    return frame.astype({"amount": float, "count": float}), how, out.getvalue().encode(how.encoding)


def difference(true: pd.DataFrame, found: pd.DataFrame) -> str:
    """The first column that is not as it was; empty where all are."""
    if len(true) != len(found):
        return f"{len(found)} rows, not {len(true)}"
    for name in true:
        if name not in found:
            return f"{name} is not there"
        should, is_ = true[name], found[name].reset_index(drop=True)
        if should.dtype == float:
            same = is_.dtype == float and np.array_equal(should, is_, equal_nan=True)
        else:
            # a missing text may be None or NaN; any other value counts as it is
            same = [None if pd.isna(value) else value for value in is_] == should.tolist()
        if not same:
            return f"{name}: {is_.tolist()[:8]}, not {should.tolist()[:8]}"
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_convention_is_read_back_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.chdir(tmp_path)
    entry = {"source": "t.csv", "file": "data/t.csv", "target": "target"}
    params = {**PARAMS, "datasets": {"t": entry}, "gates": {}}
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    config = load_config()
    path = tmp_path / "t.csv"
    dataset = Dataset(name="t", source=str(path), file="data/t.csv", target="target")
    # a note on what is read, which takes longer than all of the reading
    monkeypatch.setattr(infer, "giveaways", lambda *facts: {})
    silent, refusals = [], []
    for seed in range(chunk * EXAMPLES, (chunk + 1) * EXAMPLES):
        true, how, content = some_table(np.random.default_rng(seed))
        path.write_bytes(content)
        try:
            found = take_in_file(dataset, config).frame
        except PipelineError as error:
            refusals.append(f"seed {seed}: {error}")
            continue
        if wrong := difference(true, found):
            silent.append(f"seed {seed}: {wrong}; {how}")
    assert not silent, f"{len(silent)} of {EXAMPLES} read as something else, first: " + "\n".join(silent[:5])
    assert len(refusals) < MOST_REFUSED * EXAMPLES, f"{len(refusals)} refused, first: " + "\n".join(refusals[:5])
