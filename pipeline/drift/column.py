"""What is found of one column: the comparison as plain values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

# What can change: distributions of features, the target, missing values, categories. Each kind of alarm gets an equal
# part of alpha (Bonferroni), so that all together are false at most that often.
KINDS = 4
EXTRA = "only in the current table"
NAMED = 8


@dataclass(frozen=True)
class ColumnDrift:
    """One column's comparison; p-values and effect are None where the column cannot be tested (the note says why).

    `p_corrected`, `p_missing` and `p_new` are corrected for the number of columns and for KINDS, so that they compare
    with alpha as they are. `effect_name` is the key of the drift test in the registry. `p_missing`: the share of
    missing values changed. `p_new`: the most telling of the categories that are new fell into the current table by
    chance; `new_share` of its rows have one. `change`: old and new level in words. `reasons`: why drift is called;
    empty where it is not.
    """

    column: str
    kind: str
    test: str | None = None
    statistic: float | None = None
    p_value: float | None = None
    p_corrected: float | None = None
    effect_name: str | None = None
    effect: float | None = None
    missing_reference: float = 0.0
    missing_current: float = 0.0
    p_missing: float | None = None
    new_categories: tuple[str, ...] = ()
    new_share: float = 0.0
    p_new: float | None = None
    change: str = ""
    note: str = ""
    drift: bool = False
    reasons: tuple[str, ...] = ()


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def as_json(facts: Any) -> Any:
    """Dataclasses as JSON's values, numbers to six significant digits."""
    text = json.dumps(facts, default=asdict)
    return json.loads(text, parse_float=lambda digits: float(f"{float(digits):.6g}"))
