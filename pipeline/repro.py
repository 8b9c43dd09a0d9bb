"""What `make pipeline` does: DVC's stages, one pipeline at a time in a folder, and the verdict at the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.console import reports_errors
from pipeline.files import hold


@reports_errors
def main(argv: Sequence[str] | None = None) -> int:
    """`dvc repro`, one at a time in a folder; --wait-for-lock alone lets a second one in while a stage runs.

    DVC skips gates whose figures are as they were. They are judged all the same, for the verdict at the end.
    """
    from dvc.cli import main as dvc

    verdict = Path("metrics/validation.json")
    before = verdict.stat().st_mtime_ns if verdict.exists() else 0
    with hold(Path("mlruns/.pipeline"), "another pipeline is running in this folder"):
        code = dvc(["repro"])
        skipped = code == 0 and verdict.exists() and verdict.stat().st_mtime_ns == before
        return subprocess.call([sys.executable, "validate.py"]) if skipped else code


if __name__ == "__main__":
    raise SystemExit(main())
