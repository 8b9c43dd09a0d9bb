"""Where verdicts are told beside the terminal: the log, and GitHub's annotations and step summary."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.files import append_lines
from pipeline.gates.judge import Verdict

LOG = Path("logs/validation.log")


def append_log(verdicts: Sequence[Verdict], commit: str) -> None:
    """Add the verdicts to the log with time and commit. PipelineError: the log cannot be written."""
    head = f"{time.strftime('%Y-%m-%d %H:%M:%S%z')} {commit[:9]}"
    append_lines(LOG, [f"{head} {verdict.line()}" for verdict in verdicts])


def annotate(verdicts: Sequence[Verdict], summary: str | None) -> None:
    """GitHub Actions: an error line for each failure, and a table in the step's summary file."""
    for verdict in verdicts:
        if not verdict.passed:
            text = verdict.line().replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
            print(f"::error title=validation::{text}")
    if not summary:
        return
    rows = ["| verdict | gate |", "|---|---|"]
    for verdict in verdicts:
        text = html.escape(f"{verdict.dataset}: {verdict.text()}").replace("|", "&#124;").replace("\n", " ")
        rows.append(f"| {verdict.word()} | {text} |")
    try:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write("\n".join(["### Validation", "", *rows, ""]))
    except OSError as error:
        # the verdict stands without its decoration
        print(f"note: {summary}: the step summary cannot be written ({error.strerror})", file=sys.stderr)
