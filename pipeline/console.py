"""How scripts run and end: errors of one line with their mend, exit codes, no passwords in what is printed."""

from __future__ import annotations

import argparse
import difflib
import errno
import functools
import gc
import os
import re
import sys
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

# Read by OpenMP when scikit-learn loads it. By default a thread of boosting spins while it waits for the others, and on
# a busy machine takes the core from those that it waits for: fits took 40 times as long. A thread that sleeps at once
# takes ten times as long on an idle machine; GNU's, which Linux has, spins so many times before it sleeps.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# Python looks for cycles of objects whenever so many were made. At its default the search takes a sixth of the time of
# imports, which make hundreds of thousands that stay; memory grows by a few per cent.
OBJECTS_MADE = 50_000
NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE)
# Packages that not every installation has (the extras of pyproject.toml), by the name of their module.
EXTRAS = {
    "catboost": "CatBoost",
    "dask": "Dask",
    "distributed": "Dask",
    "duckdb": "DuckDB",
    "dvc": "DVC",
    "evidently": "Evidently",
    "lightgbm": "LightGBM",
    "python_calamine": "python-calamine",
    "shap": "SHAP",
}
# Targets of make that install those that `make` alone does not.
TARGETS = {"CatBoost": "boost", "Dask": "scale", "LightGBM": "boost"}
# Called when work begins and after each fit: what was done, how many fits are done, and how many there are.
Progress = Callable[[str, int, int], None]


class PipelineError(Exception):
    """A mistake in the input or the configuration: one line that names it and its mend; exit code 2."""

    def __init__(self, words: str) -> None:
        # names from data may hold line breaks of any kind
        super().__init__(" ".join(words.split()))


def one_line(error: object, most: int = 200) -> str:
    """What a library says, in one line of at most so many characters."""
    return " ".join(str(error).split())[:most]


def nearest(name: Any, known: Collection[str]) -> str:
    """A hint for a misspelt name."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def reports_errors(main: Callable[[Sequence[str] | None], int]) -> Callable[..., int]:
    """A script's main whose known mistakes, and extras that are not installed, are told in one line of stderr, with
    exit code 2; a bug keeps its traceback.
    """

    @functools.wraps(main)
    def told(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except PipelineError as error:
            words = str(error)
        except ModuleNotFoundError as error:
            if error.name not in EXTRAS:
                raise
            name = EXTRAS[error.name]
            command = f"make {TARGETS[name]}" if name in TARGETS else "pip install -r requirements.txt"
            words = f"{name} is not installed; install it with `{command}`"
        print(f"error: {words}", file=sys.stderr)
        return 2

    return told


def exit_code(main: Callable[[], int]) -> int:
    """The exit code of `main`; 2, with one line of stderr, where a write found no place."""
    gc.set_threshold(OBJECTS_MADE)
    try:
        code = main()
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in NO_PLACE:
            raise
        print(f"error: {error.filename or 'standard output'}: cannot be written ({error.strerror})", file=sys.stderr)
        # the interpreter flushes what is left when it ends, and would complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 2
    # the interpreter would look for cycles among all that is left, for a second or two, though the memory is given back
    gc.freeze()
    return code


def without_passwords(text: str) -> str:
    """The text with `***` for the password of each address in it."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)


def positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("give a whole number of at least 1")
    return value


def positive_float(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("give a number above 0")
    return value


def progress_lines(label: str) -> Progress:
    """Prints a line a step, with the time left by the mean time of the fits before it."""
    started = time.monotonic()

    def show(step: str, done: int, fits: int) -> None:
        some = 0 < done < fits
        left = f", about {(time.monotonic() - started) / done * (fits - done):.0f} s left" if some else ""
        print(f"{label}: {step}{left}", flush=True)

    return show
