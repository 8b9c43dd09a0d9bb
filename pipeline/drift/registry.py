"""What a drift test is, in one entry each: the kinds of column that it is for, and the sets of rows that it looks at.

A new drift test is one more entry of TESTS; verdict, metrics and pages take it from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.drift import numbers, words
from pipeline.drift.rows import Ranks, Say, Sets


@dataclass(frozen=True)
class DriftTest:
    """`measure` takes the values (N,) of a column in both tables together, none missing, and a function that writes a
    value in words; it returns sets or ranks of rows, or None where it has nothing to look at.
    """

    kinds: tuple[str, ...]
    measure: Callable[[np.ndarray, Say], Sets | Ranks | None]


# Kinds: "number"; "date", as seconds since 1970; "category" and "text", as words.
TESTS = {
    "level": DriftTest(("number", "date"), numbers.level),
    "spread": DriftTest(("number", "date"), numbers.spread),
    "distribution": DriftTest(("number", "date"), numbers.distribution),
    "tails": DriftTest(("number", "date"), numbers.tails),
    "few values": DriftTest(("number",), numbers.few_values),
    "common values": DriftTest(("number", "date"), numbers.common_values),
    "whole numbers": DriftTest(("number",), numbers.whole_numbers),
    "weekdays": DriftTest(("date",), words.weekdays),
    "hours": DriftTest(("date",), words.hours),
    "categories": DriftTest(("category",), words.categories),
    "single values": DriftTest(("category", "text"), words.single_values),
    "common texts": DriftTest(("text",), words.common_texts),
    "vocabulary": DriftTest(("text",), words.vocabulary),
}
# Of every kind: the rows without a value. It is no entry, since all others leave these rows out.
MISSING = "missing values"
# And of numbers and dates: the rows with another value.
ODD = "other values"
