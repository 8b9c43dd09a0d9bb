"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What a check has found: whether it raises an alarm, None where that cannot be said, and a sentence with the
    numbers that make it true.
    """

    alarm: bool | None
    sentence: str

    @property
    def word(self) -> str:
        return {True: "alarm", False: "no alarm", None: "no verdict"}[self.alarm]
