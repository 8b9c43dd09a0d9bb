"""How often the drift verdict is a false alarm, how small a change it finds, and how that compares with other tools.

    python -m venv alibi-venv && alibi-venv/bin/pip install alibi-detect
    python -m benchmarks.drift_verdicts --alibi-python alibi-venv/bin/python

Three parts, each of which can be run alone (--part):

- alarms: reference and current rows are drawn anew from one source, and the whole check is asked for its verdict.
- power: one column of six changes; the smallest size on a grid that is found nine times in ten, by bisection.
  Found: the changed column is flagged; where only the correlation changes, the joint classifier or either column.
- zoo: each change of tests/changes.py at its number of rows, and each difference that is too small to tell.

The other tools see the same tables. Evidently's DataDriftPreset() has its defaults, which do not correct for the number
of columns; its verdict on a whole table wants half of the columns, which one change never is. Alibi Detect's
TabularDrift (Van Looveren et al.) tests each column by Kolmogorov-Smirnov or chi-squared and corrects by Bonferroni: of
the detectors for whole tables it is the one released last, and the only one here whose verdict bounds its false alarms.
It has an environment of its own, as it wants NumPy 1. For both, dates are made seconds; for Alibi Detect missing
numbers are the reference's median, missing categories one more category, and text is left out, which it does not take.
Writes benchmarks/results/drift_verdicts.json.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import subprocess
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.drift.check import check
from pipeline.drift.compare import JOINT_PART, compare_tables, types_of
from pipeline.drift.joint import membership
from pipeline.drift.rows import units_of
from pipeline.drift.together import compare_together
from pipeline.files import write_json
from pipeline.generators import GENERATORS
from pipeline.settings import Dataset, Drift, load_config
from pipeline.tables.columns import normalise_types
from tests.changes import (
    CATEGORIES,
    CHANGES,
    CITY,
    GAPPY,
    NOTE,
    NOTE_FRENCH,
    NUMBERS,
    OFFICE,
    PRICE,
    SIXTY,
    SPRING,
    TARGETS,
    TEMPERATURE,
    TOO_SMALL,
    WEIGHT,
    YEARS,
    Change,
    Draw,
    DrawTable,
    Rng,
    draw_columns,
    flag,
    lognormal,
    mixture,
    normal,
    pair,
    pick,
    side_by_side,
    some_rows,
    template,
    with_gaps,
    zipf,
)

OUTPUT = Path("benchmarks/results/drift_verdicts.json")
PARTS = ("alarms", "power", "zoo")
SETTINGS = Drift()
# Draws of a situation that one job makes.
CHUNK = 10
CURRENT_ROWS, REFERENCE_TIMES = (500, 2_000, 10_000), 4
FOUND = 0.9
# Unchanged tables of each kind of change and number of rows.
UNCHANGED = 5
TARGET = "target"
# A column of at most this many different numbers is one of categories to Alibi Detect.
FEW_VALUES = 20

ALIBI = """
import json, sys
import numpy as np
from alibi_detect.cd import TabularDrift
stdin = sys.stdin.buffer
while line := stdin.readline():
    head = json.loads(line)
    rows, columns = head["shape"]
    table = np.frombuffer(stdin.read(8 * rows * columns)).reshape(rows, columns)
    reference, current = np.split(table, [head["reference"]])
    categories = {int(place): count for place, count in head["categories"].items()} or None
    detector = TabularDrift(reference, p_val=head["alpha"], categories_per_feature=categories)
    found = detector.predict(current, drift_type="batch")["data"]
    print(json.dumps([bool(p < found["threshold"]) for p in found["p_val"]]), flush=True)
"""


def single_thread() -> None:
    """Two workers on two cores: more threads only wait for each other."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    warnings.filterwarnings("ignore")


# --- false alarms -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Situation:
    """Both tables from `draw`, which takes the rows of both and gives them, the reference first."""

    name: str
    rows: tuple[int, int]
    draw: DrawTable
    dataset: Dataset


def dataset_of(types: Mapping[str, str] | None = None, task: str = "binary", group: str = "") -> Dataset:
    facts: dict[str, Any] = {"split": {"group": group}} if group else {}
    return Dataset(source="x.csv", file="data/x.csv", target=TARGET, task=task, types=dict(types or {}), **facts)


def grouped(rng: Rng, n: int) -> pd.DataFrame:
    """Groups of 100 rows that differ strongly in each column; one column is the same in all rows of a group."""
    tables = []
    for group in range(n // 100):
        level, site = rng.normal(size=2), pick("abcdef", rng.dirichlet(np.full(6, 0.3)))
        columns = {
            "pulse": normal(75 + 15 * level[0], 5),
            "dose": lognormal(np.exp(level[1]), 0.3),
            "site": site,
            "alarm": flag(rng.beta(0.5, 2)),
            "note": with_gaps(pick("xyz"), rng.beta(0.5, 2)),
            "ward": pick([f"ward {rng.integers(5)}"]),
            TARGET: flag(rng.beta(0.5, 0.5)),
        }
        tables.append(draw_columns(columns)(rng, 100).assign(patient=f"p{group}"))
    return pd.concat(tables, ignore_index=True)


def rows_of(name: str) -> DrawTable:
    """Rows of a fresh table of a generator."""

    def draw(rng: Rng, n: int) -> pd.DataFrame:
        table = GENERATORS[name](int(rng.integers(1_000, 1_000_000)))[0]
        return table.iloc[rng.permutation(len(table))[:n]].reset_index(drop=True)

    return draw


def wide(rng: Rng, n: int) -> pd.DataFrame:
    """199 columns of all kinds, and the target."""
    table = pd.concat([SIXTY(rng, n).add_prefix(f"{part}_") for part in range(4)], axis=1).iloc[:, :199]
    return table.assign(**{TARGET: TARGETS[0](rng, n)})


PLAIN = draw_columns(NUMBERS | CATEGORIES | GAPPY | {TARGET: TARGETS[0]})
HEAVY = draw_columns(
    {
        "cauchy": lambda rng, n: rng.standard_cauchy(n),
        "lognormal": lognormal(10, 3),
        "pareto": lambda rng, n: rng.pareto(1, n),
        "mixed": mixture(0.01, normal(1e6, 1e5), normal(20, 3)),
        "article": zipf("A", 600),
        "word": zipf("W", 5000, 0.8),
        TARGET: lambda rng, n: rng.pareto(1.5, n),
    }
)
WORDY = draw_columns(
    {
        "note": mixture(0.3, template, NOTE),
        "comment": with_gaps(NOTE_FRENCH, 0.25),
        "ordered": YEARS,
        "logged": OFFICE,
        "closed": with_gaps(SPRING, 0.3),
        "valid_until": mixture(0.2, pick(["9999-12-31"]), SPRING),
        TARGET: TARGETS[0],
    }
)
WORDY_TYPES = {"note": "text", "comment": "text"} | dict.fromkeys(
    ("ordered", "logged", "closed", "valid_until"), "date"
)


@functools.cache
def situations() -> list[Situation]:
    config = load_config()
    return [
        Situation("plain columns", (2_000, 500), PLAIN, dataset_of()),
        Situation("groups of 100 rows", (4_000, 1_000), grouped, dataset_of(group="patient")),
        Situation("heavy tails, rare categories", (2_000, 500), HEAVY, dataset_of(task="regression")),
        Situation("plain columns, few rows", (400, 100), PLAIN, dataset_of()),
        Situation("plain columns, 100 rows in all", (80, 20), PLAIN, dataset_of()),
        Situation("text and dates", (2_000, 500), WORDY, dataset_of(WORDY_TYPES)),
        *(Situation(f"rows of {name}", (2_000, 500), rows_of(name), config.dataset(name)) for name in GENERATORS),
        Situation("200 columns", (2_000, 500), wide, dataset_of()),
    ]


def verdicts_of(job: tuple[int, int, int]) -> list[bool | None]:
    """The whole check's verdicts on the draws from `start` to `stop` of a situation."""
    place, start, stop = job
    situation = situations()[place]
    found = []
    for draw in range(start, stop):
        rng = np.random.default_rng([place, draw])
        old, new = situation.rows
        if situation.dataset.group:
            # other groups in each table
            reference, current = situation.draw(rng, old), situation.draw(rng, new)
            current["patient"] = "new " + current["patient"]
        else:
            both = situation.draw(rng, old + new)
            reference, current = both.iloc[:old], both.iloc[old:]
        found.append(verdict(situation.dataset, reference, current, draw).drift)
    return found


def verdict(dataset: Dataset, reference: pd.DataFrame, current: pd.DataFrame, seed: int) -> Any:
    sides = [normalise_types(side.reset_index(drop=True)) for side in (reference, current)]
    return check(dataset, SETTINGS, sides[0], sides[1], seed=seed, alpha=SETTINGS.alpha)


def false_alarms(pool: ProcessPoolExecutor, draws: int) -> list[dict[str, Any]]:
    jobs = [
        [(place, start, min(start + CHUNK, draws)) for start in range(0, draws, CHUNK)]
        for place in range(len(situations()))
    ]
    waiting = [pool.map(verdicts_of, chunks) for chunks in jobs]
    rows = []
    for situation, chunks in zip(situations(), waiting, strict=True):
        found = [one for chunk in chunks for one in chunk]
        # the draws are told, so that an alarm can be looked at again
        alarmed = [draw for draw, one in enumerate(found) if one]
        none = sum(one is None for one in found)
        old, new = situation.rows
        print(
            f"{situation.name:32} {old:>6,} + {new:<6,} {len(alarmed)} alarms, {none} without, of {draws}", flush=True
        )
        rows.append(
            {
                "situation": situation.name,
                "reference_rows": old,
                "current_rows": new,
                "draws": draws,
                "alarms": len(alarmed),
                "no_verdict": none,
                "alarmed": alarmed,
            }
        )
    return rows


# --- power ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """One kind of change: `before` draws columns, and `after(size)` the same ones changed by so much."""

    name: str
    before: DrawTable
    after: Callable[[float], DrawTable]
    sizes: tuple[float, ...]
    # how a size is written
    style: str = "{:.1%}"
    columns: tuple[str, ...] = ("it",)
    types: Mapping[str, str] = field(default_factory=dict)
    joint: bool = False


SHARES = (0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
FROM_ONE = (0.012, 0.013, 0.015, 0.017, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)


def one_column(
    name: str,
    before: Draw,
    after: Callable[[float], Draw],
    sizes: tuple[float, ...],
    style: str = "{:.1%}",
    **more: Any,
) -> Kind:
    column = more.get("columns", ("it",))[0]
    return Kind(
        name, draw_columns({column: before}), lambda size: draw_columns({column: after(size)}), sizes, style, **more
    )


def in_a_share(draw: Draw, change: Callable[[pd.Series], Any]) -> Callable[[float], Draw]:
    """The change in just this share of the rows."""

    def after(share: float) -> Draw:
        def drawn(rng: Rng, n: int) -> pd.Series:
            values = pd.Series(draw(rng, n))
            return values.mask(some_rows(rng, n, share), change(values))

        return drawn

    return after


KINDS = (
    one_column(
        "a number shifted, in standard deviations",
        WEIGHT,
        lambda size: normal(70 + 12 * size, 12),
        (0.03, 0.05, 0.07, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0),
        "{:.2f}",
    ),
    one_column(
        "the spread of a number, times",
        WEIGHT,
        lambda size: normal(70, 12 * size),
        (1.03, 1.05, 1.07, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.7, 2.0),
        "{:.2f}",
    ),
    one_column("a 0/1 flag from 1 % to", flag(0.01), flag, FROM_ONE),
    one_column(
        "a category from 1 % to",
        pick("abcd", [50, 30, 19, 1]),
        lambda size: pick("abcd", [50, 30, 20 - 100 * size, 100 * size] if size < 0.15 else [49, 30, 20, 99 * size]),
        FROM_ONE,
    ),
    one_column("a new category in", CITY, in_a_share(CITY, lambda values: "atlantis"), SHARES),
    one_column("missing where none was, in", WEIGHT, in_a_share(WEIGHT, lambda values: np.nan), SHARES),
    one_column(
        "missing from 10 % to",
        with_gaps(WEIGHT, 0.1),
        lambda size: with_gaps(WEIGHT, size),
        (0.11, 0.115, 0.12, 0.13, 0.14, 0.15, 0.16, 0.18, 0.2, 0.25, 0.3, 0.5, 0.9),
    ),
    one_column("readings 10 sd off, in", WEIGHT, in_a_share(WEIGHT, lambda values: values + 120), SHARES),
    one_column("-999 for a reading, in", TEMPERATURE, in_a_share(TEMPERATURE, lambda values: -999.0), SHARES),
    one_column(
        "prices rounded to whole ones, in", PRICE, in_a_share(PRICE, lambda values: values.round()), (*SHARES, 0.5, 1.0)
    ),
    one_column(
        "dates in 1970, in", YEARS, in_a_share(YEARS, lambda values: "1970-01-01"), SHARES, types={"it": "date"}
    ),
    one_column(
        "texts that say ERROR, in", NOTE, in_a_share(NOTE, lambda values: "ERROR"), SHARES, types={"it": "text"}
    ),
    Kind(
        "the correlation of two numbers from 0.9 to",
        pair(0.9),
        pair,
        (0.88, 0.87, 0.85, 0.82, 0.8, 0.75, 0.7, 0.6, 0.5, 0.3, 0.0, -0.5, -0.9),
        "{:.2f}",
        ("width", "height"),
        joint=True,
    ),
    one_column(
        "a rare target from 0.2 % to",
        flag(0.002),
        flag,
        (0.0025, 0.003, 0.0035, 0.004, 0.005, 0.006, 0.008, 0.01, 0.012, 0.015, 0.02, 0.03, 0.05, 0.1),
        "{:.2%}",
        columns=(TARGET,),
    ),
)
OTHERS = {name: (NUMBERS | CATEGORIES)[name] for name in ("age", "amount", "region", "channel")}


def changed_tables(kind: Kind, rows: int, size: float | None, draw: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reference and current rows of a draw, None for no change."""
    rng = np.random.default_rng([KINDS.index(kind), rows, draw])
    others = draw_columns(OTHERS if TARGET in kind.columns else OTHERS | {TARGET: TARGETS[0]})
    after = kind.before if size is None else kind.after(size)
    reference = side_by_side(others, kind.before)(rng, REFERENCE_TIMES * rows)
    return normalise_types(reference), normalise_types(side_by_side(others, after)(rng, rows))


def ours(kind: Kind, reference: pd.DataFrame, current: pd.DataFrame, only: bool, seed: int) -> bool:
    """As check has it. `only`: whether the changed columns alone are asked for."""
    types, units = types_of(dataset_of(kind.types), reference), units_of(reference, current, "")
    found = compare_tables(
        reference, current, types, units, alpha=SETTINGS.alpha, min_change=SETTINGS.min_change, seed=seed
    )
    if any(column.drift and (not only or column.column in kind.columns) for column in found.all()):
        return True
    if only and not kind.joint:
        return False
    kinds = {column.column: column.kind for column in found.all() if not column.note}
    member = membership(reference, current, kinds, seed)
    return compare_together(
        member, units, alpha=SETTINGS.alpha, part=JOINT_PART, min_change=SETTINGS.min_change, seed=seed
    ).drift


def evidently(kind: Kind, reference: pd.DataFrame, current: pd.DataFrame, only: bool, seed: int) -> bool:
    """Each column is judged by itself, so the changed ones are asked for alone, which the preset does in the same way.

    From 1,000 rows of the reference on it goes by distances: above the threshold is drift.
    """
    from evidently import Report
    from evidently.metrics import ValueDrift
    from evidently.presets import DataDriftPreset

    sides = [plain_dates(kind, side) for side in (current, reference)]
    metrics = [ValueDrift(column=name) for name in kind.columns] if only else [DataDriftPreset()]
    facts = Report(metrics).run(*sides).dict()["metrics"]
    return any(fact["value"] > fact["config"]["threshold"] for fact in facts if "threshold" in fact["config"])


def plain_dates(kind: Kind, frame: pd.DataFrame) -> pd.DataFrame:
    dates = [name for name, declared in kind.types.items() if declared == "date"]
    return frame.assign(**{name: pd.to_datetime(frame[name]).astype("int64") / 1e9 for name in dates})


def alibi(python: str, kind: Kind, reference: pd.DataFrame, current: pd.DataFrame, only: bool, seed: int) -> bool:
    """All columns, as the correction needs them."""
    names = [name for name in reference if kind.types.get(name) != "text"]
    both = pd.concat([plain_dates(kind, side)[names] for side in (reference, current)], ignore_index=True)
    columns, categories = [], {}
    for place, name in enumerate(names):
        values = both[name]
        if values.dtype == object or values.nunique() <= FEW_VALUES:
            codes, known = pd.factorize(values, use_na_sentinel=False)
            columns.append(codes.astype(float))
            categories[place] = len(known)
        else:
            columns.append(values.fillna(values[: len(reference)].median()).to_numpy())
    flags = alibi_process(python).ask(np.column_stack(columns), len(reference), categories)
    return any(on and (not only or name in kind.columns) for name, on in zip(names, flags, strict=True))


class AlibiProcess:
    """An interpreter with Alibi Detect that answers one table after the other."""

    def __init__(self, python: str) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [python, "-W", "ignore", "-c", ALIBI], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
        )

    def ask(self, table: np.ndarray, reference_rows: int, categories: dict[int, int]) -> list[bool]:
        assert self.process.stdin
        assert self.process.stdout
        head = {"shape": table.shape, "reference": reference_rows, "categories": categories, "alpha": SETTINGS.alpha}
        self.process.stdin.write(json.dumps(head).encode() + b"\n" + np.ascontiguousarray(table).tobytes())
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@functools.cache
def alibi_process(python: str) -> AlibiProcess:
    return AlibiProcess(python)


def tool(name: str, python: str) -> Callable[..., bool]:
    return functools.partial(alibi, python) if name == "alibi" else {"ours": ours, "evidently": evidently}[name]


def smallest_found(job: tuple[int, int, str, str, int]) -> float | None:
    """The smallest size that is found, where a larger one is found as well; None where none is."""
    place, rows, name, python, draws = job
    kind, finds = KINDS[place], tool(name, python)

    def found(size: float) -> bool:
        needed, hits = math.ceil(FOUND * draws), 0
        for draw in range(draws):
            hits += finds(kind, *changed_tables(kind, rows, size, draw), True, draw)
            if hits >= needed or draw + 1 - hits > draws - needed:
                # the other draws cannot change it
                break
        return hits >= needed

    low, high = 0, len(kind.sizes)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if found(kind.sizes[middle]) else (middle + 1, high)
    return kind.sizes[low] if low < len(kind.sizes) else None


def unchanged_alarms(job: tuple[int, int, str, str]) -> int:
    """Tables without a change of which any column is flagged."""
    place, rows, name, python = job
    kind = KINDS[place]
    draws = range(10_000, 10_000 + UNCHANGED)
    return sum(tool(name, python)(kind, *changed_tables(kind, rows, None, draw), False, draw) for draw in draws)


def power(pool: ProcessPoolExecutor, draws: int, python: str) -> dict[str, Any]:
    tools = ["ours", "evidently", *(["alibi"] if python else [])]
    cells = [(place, rows, name) for place in range(len(KINDS)) for rows in CURRENT_ROWS for name in tools]
    # the longest first
    cells.sort(key=lambda cell: -cell[1])
    cells = [cell for cell in cells if cell[2] != "alibi" or "text" not in KINDS[cell[0]].types.values()]
    sizes = pool.map(smallest_found, [(*cell, python, draws) for cell in cells])
    alarms = pool.map(unchanged_alarms, [(*cell, python) for cell in cells])
    smallest = {}
    for (place, rows, name), size in zip(cells, sizes, strict=True):
        smallest[place, rows, name] = size
        print(f"{KINDS[place].name:45} {rows:>6,} rows {name:10} {size}", flush=True)
    false = dict.fromkeys([(rows, name) for rows in CURRENT_ROWS for name in tools], 0)
    asked = dict.fromkeys(false, 0)
    for (_, rows, name), count in zip(cells, alarms, strict=True):
        false[rows, name] += count
        asked[rows, name] += UNCHANGED
    return {
        "draws": draws,
        "unchanged": [
            {"tool": name, "rows": rows, "tables": asked[rows, name], "alarms": count}
            for (rows, name), count in false.items()
        ],
        "changes": [
            {"change": kind.name, "rows": rows}
            | {name: written(kind, smallest[place, rows, name]) for name in tools if (place, rows, name) in smallest}
            for place, kind in enumerate(KINDS)
            for rows in CURRENT_ROWS
        ],
    }


def written(kind: Kind, size: float | None) -> str | None:
    return None if size is None else kind.style.format(size)


# --- the zoo ----------------------------------------------------------------------------------------------------


def zoo_dataset(change: Change, reference: pd.DataFrame) -> Dataset:
    values = reference.get(TARGET, pd.Series(dtype=float))
    return dataset_of(change.types, "regression" if values.dtype != object and values.nunique() > 2 else "multiclass")


def zoo_draws(job: tuple[str, int, int]) -> tuple[int, int]:
    """Draws of a change with an alarm, and with one of the column that changed."""
    which, place, draws = job
    change = (CHANGES if which == "changes" else TOO_SMALL)[place]
    alarms = named = 0
    for draw in range(draws):
        rng = np.random.default_rng([place, draw])
        reference, current = change.make(rng, REFERENCE_TIMES * change.rows, change.rows)
        found = verdict(zoo_dataset(change, reference), reference, current, draw)
        alarms += found.drift is True
        flagged = {column.column for column in found.compared.all() if column.drift}
        named += found.joint.drift if change.joint else change.column in flagged
    return alarms, named


def zoo(pool: ProcessPoolExecutor, draws: int) -> dict[str, Any]:
    changes = pool.map(zoo_draws, [("changes", place, draws) for place in range(len(CHANGES))])
    small = pool.map(zoo_draws, [("small", place, 1) for place in range(len(TOO_SMALL))])
    rows: list[dict[str, Any]] = []
    for change, (alarms, named) in zip(CHANGES, changes, strict=True):
        rows.append({"change": change.name, "rows": change.rows, "alarms": alarms, "named": named})
        if min(alarms, named) < draws:
            print(f"{change.name:60} alarms {alarms}, named {named} of {draws}", flush=True)
    told = [change.name for change, (alarms, _) in zip(TOO_SMALL, small, strict=True) if alarms]
    print(f"too small, yet told: {told}", flush=True)
    total = draws * len(rows)
    return {
        "draws": draws,
        "changes": len(rows),
        "found": sum(row["alarms"] for row in rows) / total,
        "named": sum(row["named"] for row in rows) / total,
        "missed": [row for row in rows if min(row["alarms"], row["named"]) < draws],
        "too_small": len(TOO_SMALL),
        "too_small_told": told,
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Count false alarms and detections of the drift verdict.")
    parser.add_argument("--part", action="append", choices=PARTS, help="default: all; the others stay as they were")
    parser.add_argument("--draws", type=int, default=200, help="tables without a change, a situation")
    parser.add_argument("--power-draws", type=int, default=40, help="tables of each kind, number of rows and size")
    parser.add_argument("--zoo-draws", type=int, default=10, help="tables of each change of the zoo")
    parser.add_argument("--alibi-python", default="", help="the interpreter of an environment with Alibi Detect")
    args = parser.parse_args(argv)
    results = json.loads(OUTPUT.read_text(encoding="utf-8")) if OUTPUT.exists() else {}
    with ProcessPoolExecutor(2, initializer=single_thread) as pool:
        parts: dict[str, Callable[[], Any]] = {
            "alarms": lambda: false_alarms(pool, args.draws),
            "zoo": lambda: zoo(pool, args.zoo_draws),
            "power": lambda: power(pool, args.power_draws, args.alibi_python),
        }
        for part in args.part or parts:
            found = parts[part]()
            results = {name: results[name] for name in PARTS if name in results} | {part: found}
            write_json(OUTPUT, results)
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
