"""Tests of categories, of free text and of days, and what of a text can be counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.drift.rows import Say, Sets, sets_of

# The most frequent words of a text column that are looked at, each in some rows at least.
VOCABULARY, FEWEST_ROWS = 60, 5
COMMON_TEXTS = 5
WORD = re.compile(r"\w+")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def categories(values: np.ndarray, say: Say) -> Sets:
    """Each category."""
    codes, different = pd.factorize(values, sort=True)
    return Sets([say(label) for label in different], codes)


def single_values(values: np.ndarray, say: Say) -> Sets | None:
    """The rows whose value no other row of either table has: typing errors make more of them, copies fewer."""
    codes, _ = pd.factorize(values)
    return sets_of([("a value that no other row has", np.bincount(codes)[codes] == 1)])


def common_texts(values: np.ndarray, say: Say) -> Sets | None:
    """The texts that come up most."""
    counts = Counter(values).most_common(COMMON_TEXTS)
    return sets_of((f"the text {say(text)}", values == text) for text, count in counts if count >= FEWEST_ROWS)


def vocabulary(values: np.ndarray, say: Say) -> Sets | None:
    """The most frequent words, by the number of rows that have them."""
    found = [set(WORD.findall(text.casefold())) for text in values]
    counts = Counter(word for words in found for word in words)
    # by the word where two are as frequent, so that the choice is the same in every run
    chosen = sorted(counts, key=lambda word: (-counts[word], word))[:VOCABULARY]
    places = {word: place for place, word in enumerate(chosen) if counts[word] >= FEWEST_ROWS}
    pairs = [(row, places[word]) for row, words in enumerate(found) for word in words & places.keys()]
    if not pairs:
        return None
    rows, codes = np.array(pairs).T
    return Sets([f"the word {word!r}" for word in places], codes, rows=rows)


def weekdays(values: np.ndarray, say: Say) -> Sets:
    """The day of the week of points in time, in seconds since 1970-01-01, a Thursday."""
    return Sets([f"a {day}" for day in DAYS], ((values // 86_400 + 3) % 7).astype(int))


def hours(values: np.ndarray, say: Say) -> Sets | None:
    """The time of the day, in steps of three hours."""
    of_day = values % 86_400
    return sets_of((f"a time before {hour:02}:00", of_day < hour * 3600) for hour in range(3, 24, 3))


def counted(values: np.ndarray) -> Mapping[str, np.ndarray]:
    """What of each text can be counted, by its name."""
    text = pd.Series(values, dtype=object).astype(str)
    length = text.str.len().to_numpy(dtype=float)
    filled = np.maximum(length, 1)
    return {
        "length in characters": length,
        "number of words": text.str.count(WORD.pattern).to_numpy(dtype=float),
        "share of capitals": text.str.count(r"[A-Z]").to_numpy(dtype=float) / filled,
        "share of signs and digits": text.str.count(r"[^\w\s]|[\d_]").to_numpy(dtype=float) / filled,
        "share of letters beyond ASCII": text.str.count(r"[^\x00-\x7f]").to_numpy(dtype=float) / filled,
    }
