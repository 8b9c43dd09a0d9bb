"""What was understood of a table, as one self-contained HTML page: its columns, and how their values are spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.html import render
from pipeline.ingest.columns import Understood
from pipeline.metrics import METRICS
from pipeline.tables.columns import value_text

# Each picture is a kilobyte or two.
MOST_PICTURES = 60
BINS, MOST_PERIODS = 24, 36
TOP_VALUES = 6
# Of numbers that reach further than this many times the range of all but the outer 2 %, the rest is in the outer bars.
FAR = 3.0
PERIODS = {"h": "hour", "D": "day", "M": "month", "Q": "quarter", "Y": "year"}
OVER = {"holdout": "on the test part", "cross_validation": "over all rows"}
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "space"}


@dataclass(frozen=True)
class Picture:
    """How the values of a column are spread.

    `counts`: rows of each bar. `labels`: of each bar where they lie (values of categories), else of the first and the
    last of those that stand. `words`: what the picture shows. `other`: the last bar is all other values.
    """

    words: str
    counts: tuple[int, ...]
    labels: tuple[str, ...]
    lying: bool = False
    other: bool = False
    column: str = ""
    role: str = ""

    @property
    def shares(self) -> list[float]:
        """The bars' lengths, of the longest."""
        return [round(count / max(self.counts), 4) for count in self.counts]


def data_page(name: str, frame: pd.DataFrame, understood: Sequence[Understood], facts: Mapping[str, Any]) -> str:
    """The page of a dataset: the target first, then columns that are not plain, then the others in their order.

    `frame`: its normalised table. `facts`: what metrics/data/<name>.json holds.
    """
    ordered = sorted(understood, key=lambda u: (u.role != "target", not is_special(u)))
    drawn = [u for u in ordered if u.kind != "ignore" and u.role != "dropped" and u.column in frame]
    classes = facts.get("task") != "regression"
    pictures = []
    for u in drawn[:MOST_PICTURES]:
        kind = "category" if u.role == "target" and classes else u.kind
        pictures.append(replace(picture(frame[u.column], kind), column=u.column, role=u.role))
    return render(
        Path(__file__).parent / "templates/data.html",
        name=name,
        facts=facts_words(facts),
        reading=reading_words(facts),
        warnings=facts.get("warnings", ()),
        columns=[(u, is_special(u)) for u in ordered],
        pictures=pictures,
        not_drawn=len(drawn) - len(pictures),
    )


def is_special(understood: Understood) -> bool:
    """Whether there is something to say of how a column was read."""
    return bool(understood.decided or understood.why)


def facts_words(facts: Mapping[str, Any]) -> str:
    """Rows, columns, and what is predicted, in a sentence or two."""
    task, metric = facts.get("task"), METRICS.get(facts.get("metric", ""))
    words = f"{facts['rows']:,} rows and {facts['columns']:,} columns."
    if task:
        positive = f", positive class {value_text(facts.get('positive'))}" if task == "binary" else ""
        words += f" {facts['target']} is predicted ({task}{positive})"
        words += f"; models are compared by {metric.label} {OVER[facts['evaluation']]}." if metric else "."
    # known of generated tables alone
    return f"{words} Synthetic: drawn from a generator." if facts.get("ceiling") else words


def reading_words(facts: Mapping[str, Any]) -> str:
    """How the source's file was read; empty where there was nothing to find out."""
    layout = facts.get("reading", {}).get("layout", {})
    named = {
        key: DELIMITERS.get(value, value) if key == "delimiter" else value for key, value in layout.items() if value
    }
    return ", ".join(f"{key} {value}" for key, value in named.items())


def picture(column: pd.Series, kind: str) -> Picture:
    """The picture of a column's values, by what they are and then by the column's kind."""
    values = column.dropna()
    if values.empty:
        return Picture("no values", (), ())
    if kind == "date":
        moments = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601").dropna()
        if len(moments):
            return _over_time(pd.DatetimeIndex(moments).tz_localize(None))
    if kind == "text":
        lengths = values.astype(str).str.len().to_numpy(dtype="float64")
        drawn = _histogram(lengths)
        return replace(drawn, words=f"characters of a text: {drawn.words}")
    if kind != "category" and values.dtype == "float64":
        return _histogram(values.to_numpy())
    return _frequencies(values)


def _histogram(values: np.ndarray) -> Picture:
    """Bars of equal width; of whole numbers each bar holds as many of them."""
    low, high = values.min(), values.max()
    words = f"{_number(low)} to {_number(high)}, median {_number(float(np.median(values)))}"
    inner_low, inner_high = np.quantile(values, [0.01, 0.99])
    # a few values far away must not flatten all others
    far = high - low > FAR * (inner_high - inner_low) > 0
    first, last = (max(low, inner_low), min(high, inner_high)) if far else (low, high)
    if (values % 1 == 0).all():
        first, last = np.floor(first), np.ceil(last)
        width = max(1.0, np.ceil((last - first + 1) / BINS))
        bins = int(np.ceil((last - first + 1) / width))
    else:
        bins = BINS if last > first else 1
        width = (last - first) / bins or 1.0
    places = np.clip((values - first) // width, 0, bins - 1).astype(int)
    labels = (f"{'≤ ' if first > low else ''}{_number(first)}", f"{'≥ ' if last < high else ''}{_number(last)}")
    return Picture(words, _counts(places, bins), labels)


def _over_time(moments: pd.DatetimeIndex) -> Picture:
    """Rows of each period, the shortest of which there are not too many."""
    for unit in PERIODS:
        ordinals = moments.to_period(unit).asi8
        if ordinals.max() - ordinals.min() < MOST_PERIODS:
            break
    width = -(-(ordinals.max() - ordinals.min() + 1) // MOST_PERIODS)
    places = (ordinals - ordinals.min()) // width
    pace = f"{width} {PERIODS[unit]}s" if width > 1 else PERIODS[unit]
    ends = tuple(str(pd.Period(ordinal=int(end), freq=unit)) for end in (ordinals.min(), ordinals.max()))
    days = f"{moments.min():%Y-%m-%d} to {moments.max():%Y-%m-%d}"
    return Picture(f"rows of each {pace}, {days}", _counts(places, int(places.max()) + 1), ends)


def _frequencies(values: pd.Series) -> Picture:
    """The most frequent values, and all others in one bar."""
    # by frequency, and values as frequent as each other by their letters
    counts = values.value_counts().rename(value_text).sort_index().sort_values(ascending=False, kind="stable")
    most = TOP_VALUES if len(counts) > TOP_VALUES + 1 else TOP_VALUES + 1
    top, others = counts.head(most), counts.iloc[most:]
    bars = [(str(value), int(count)) for value, count in top.items()]
    if len(others):
        bars.append((f"other ({len(others):,})", int(others.sum())))
    labels, rows = zip(*bars, strict=True)
    words = f"{len(counts):,} different values" if len(counts) > 1 else "one value"
    return Picture(words, rows, labels, lying=True, other=len(others) > 0)


def _counts(places: np.ndarray, bins: int) -> tuple[int, ...]:
    return tuple(np.bincount(places, minlength=bins).tolist())


def _number(value: float) -> str:
    """Four digits or more of a number, as people write it; years without a comma."""
    if 1000 <= abs(value) < 1e9:
        return f"{value:.0f}" if abs(value) < 10_000 else f"{value:,.0f}"
    return f"{value + 0.0:.4g}"
