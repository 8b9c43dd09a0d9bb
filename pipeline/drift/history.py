"""Earlier checks of a dataset, a line each, in logs/drift/: what a weekly job shows a trend of."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.files import append_lines

HISTORY = Path("logs/drift")
SHOWN = 60
POINT = {"time", "window", "effect", "drift", "metric", "expected", "score"}


def remember(name: str, points: Sequence[Mapping[str, Any]]) -> Path:
    """Add the points of a check of a dataset, with the time; returns the file. PipelineError: it cannot be written."""
    path = HISTORY / f"{name}.jsonl"
    now = time.strftime("%Y-%m-%d %H:%M:%S%z")
    append_lines(path, [json.dumps({"time": now, **point}) for point in points])
    return path


def remembered(name: str) -> list[dict[str, Any]]:
    """The last checks of a dataset, the oldest first. A line that is not one of ours is left out."""
    path = HISTORY / f"{name}.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()[-SHOWN:]
    except (OSError, UnicodeDecodeError):
        return []
    points = []
    for line in lines:
        try:
            point = json.loads(line)
        except ValueError:
            continue
        if isinstance(point, dict) and point.keys() >= POINT:
            points.append(point)
    return points
