"""What is found of one column: the comparison as plain values."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

EXTRA = "only in the current table"
# Of which rows a column has no value.
NO_VALUE = "no value"
NAMED = 8


@dataclass(frozen=True)
class Finding:
    """What one test found: a share of rows (or of pairs of rows) `before`, in the reference, and `now`.

    `test` is its key in the registry, `words` say which rows or `pairs` of rows are meant. `change`: how far the share
    moved, see `change_of`. `p_value`: that of the share alone; `p_corrected`: corrected for all that was looked at, so
    that it compares with alpha as it is.
    """

    test: str
    words: str
    before: float
    now: float
    change: float
    p_value: float
    p_corrected: float
    pairs: bool = False

    def text(self) -> str:
        """What was found, after the column's name."""
        if self.pairs:
            share = percent(max(self.now, 1 - self.now))
            return f"has {self.words} now (in {share} of the pairs of a current and a former row)"
        of = "the rows" if self.words == NO_VALUE else "its values"
        return f"has {self.words} in {percent(self.now)} of {of}, {percent(self.before)} before"


@dataclass(frozen=True)
class ColumnDrift:
    """One column's comparison.

    `findings`: the most telling ones of all tests, the most telling first; empty where the column cannot be tested (the
    note says why). `level`: median or share in words, before and now. `ks` and `ks_p`: the Kolmogorov-Smirnov statistic
    and p-value of numbers, for those who know it by heart; they decide nothing. `hint`: how the column is written
    otherwise as a whole, in words. `reasons`: why drift is called; empty where it is not.
    """

    column: str
    kind: str
    findings: tuple[Finding, ...] = ()
    level: str = ""
    ks: float | None = None
    ks_p: float | None = None
    missing_reference: float = 0.0
    missing_current: float = 0.0
    note: str = ""
    hint: str = ""
    drift: bool = False
    reasons: tuple[str, ...] = ()


def change_of(before: float, now: float) -> float:
    """How far a share moved, 0 to 0.5: as much as one that goes from 50 % to 50 % and that many points.

    Equal steps on the arcsine scale (Cohen's h, 1988, chapter 6): a rare share counts by its ratio, one near a half by
    its difference. From 1 to 2.2 % is 0.05, as is from 50 to 55 %.
    """
    h = abs(2 * math.asin(math.sqrt(now)) - 2 * math.asin(math.sqrt(before)))
    return 0.5 * math.sin(min(h, math.pi / 2))


def percent(share: float) -> str:
    """A share in words, with as many digits as a rare one needs."""
    if 0 < share < 0.0001 or 0.9999 < share < 1:
        return "below 0.01 %" if share < 0.5 else "above 99.99 %"
    return f"{100 * share:.2f} %" if share < 0.01 and share else f"{100 * share:.1f} %"


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def as_json(facts: Any) -> Any:
    """Dataclasses as JSON's values, numbers to six significant digits."""
    text = json.dumps(facts, default=asdict)
    return json.loads(text, parse_float=lambda digits: float(f"{float(digits):.6g}"))
