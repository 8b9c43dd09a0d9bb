"""What `make pipeline` does: DVC's stages, those of different datasets side by side, and the verdict at the end.

DVC runs one stage after the other, and so leaves cores idle where a stage keeps one busy. It lets a second `dvc repro`
work beside the first, as a stage runs outside its lock. So each dataset's stages are a `dvc repro` of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.console import exit_code, reports_errors
from pipeline.files import hold, write_text
from pipeline.settings import load_config

LOCK = Path("dvc.lock")
# What comes after the stages of all datasets.
LAST = ("compare", "validate")
# Of a dataset's stages. The test for drift keeps one core busy, the search at the end all: the last dataset idles none.
FIRST = ("generate", "drift")


@dataclass
class Running:
    """A process, and what of its output is not shown yet."""

    name: str
    process: subprocess.Popen[bytes]
    rest: bytes = b""
    last: deque[bytes] = field(default_factory=lambda: deque(maxlen=2))

    def show(self, output: bytes, width: int) -> None:
        """Print each line of output behind the name."""
        *lines, self.rest = (self.rest + output).split(b"\n")
        for line in lines:
            if text := line.rstrip():
                self.last.append(f"{self.name:<{width}} | ".encode() + text + b"\n")
                # as bytes: a terminal that cannot show a character of it does not end the pipeline
                sys.stdout.buffer.write(self.last[-1])
        sys.stdout.flush()


@reports_errors
def main(argv: Sequence[str] | None = None) -> int:
    """One pipeline at a time in a folder; --wait-for-lock alone lets a second one in while a stage runs."""
    parser = argparse.ArgumentParser(description="Run every stage that is out of date, and show the verdict.")
    parser.add_argument("--dvc", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    if words := parser.parse_args(argv).dvc:
        return dvc_of_caller(words)
    load_config()
    try:
        with hold(Path("mlruns/.pipeline"), "another pipeline is running in this folder"):
            return reproduce()
    except KeyboardInterrupt:
        print("interrupted; `make pipeline` goes on with the stage that was cut off", file=sys.stderr)
        return 130


def reproduce() -> int:
    """Run the stages that are out of date; an exit code of DVC. Where a dataset fails, the others end all the same."""
    import joblib

    status = [sys.executable, "-m", "dvc", "--wait-for-lock", "status", "--json"]
    answer = subprocess.run(status, stdout=subprocess.PIPE, check=False)
    if answer.returncode:
        return answer.returncode
    stale = json.loads(answer.stdout.splitlines()[-1])
    if stale == {"validate": ["always changed"]}:
        print("Data and pipelines are up to date.", flush=True)
        return subprocess.call([sys.executable, "validate.py"])
    datasets = list(dict.fromkeys(stage.partition("@")[2] for stage in stale if "@" in stage))
    # a stage that somebody has put before those of the datasets is left to DVC, which knows what comes after what
    own = all("@" in stage or stage in LAST for stage in stale)
    if own and datasets:
        locked = entries()[1] if LOCK.exists() else {}
        # -s: in this order, and then that of dvc.yaml, where tuning finds the baseline that training has logged
        targets = {name: [f"{stage}@{name}" for stage in (*FIRST, "*")] for name in datasets}
        commands = {name: ["repro", "-s", "--glob", *targets[name]] for name in datasets}
        failed = {name: code for name, code in side_by_side(commands, joblib.cpu_count()).items() if code}
        order_lock([*locked, *(stage for stage in stale if stage not in locked)])
        if failed:
            words = f"{', '.join(failed)} failed; the other datasets are done, report and gates are as they were"
            print(f"error: {words}", file=sys.stderr)
            return next(iter(failed.values()))
    # quiet, the last words are those of the gates
    process = start(["repro", "--quiet"] if own else ["repro"])
    try:
        return process.wait()
    finally:
        end([process])


def side_by_side(commands: Mapping[str, Sequence[str]], at_once: int) -> dict[str, int]:
    """Run DVC commands by name, so many at once; their exit codes by name."""
    waiting, codes, width = list(commands), {}, max(map(len, commands))
    failed: list[Running] = []
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or selector.get_map():
                while waiting and len(selector.get_map()) < at_once:
                    process = start(commands[waiting[0]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                    assert process.stdout
                    selector.register(process.stdout, selectors.EVENT_READ, Running(waiting.pop(0), process))
                for key, _ in selector.select():
                    running: Running = key.data
                    output = os.read(key.fd, 2**16)
                    running.show(output or b"\n", width)
                    if not output:
                        selector.unregister(key.fileobj)
                        codes[running.name] = running.process.wait()
                        end([running.process])
                        failed += [running] if codes[running.name] else []
        finally:
            end([key.data.process for key in selector.get_map().values()])
    # what went wrong may have scrolled by
    for running in failed:
        sys.stderr.buffer.writelines(running.last)
    return {name: codes[name] for name in commands}


def start(words: Sequence[str], **output: Any) -> subprocess.Popen[bytes]:
    """Start a DVC command that ends with its stage when this process ends, however it does."""
    command = [sys.executable, "-m", "pipeline.repro", "--dvc", "--wait-for-lock", *words]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env=environment, **output)


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End what `start` started, where it still runs."""
    for process in processes:
        assert process.stdin
        process.stdin.close()
    for process in processes:
        process.wait()


def dvc_of_caller(words: list[str]) -> int:
    """A DVC command in a session of its own. When the caller closes its input, or has been killed, the stage is ended
    like by a terminal that closes; DVC itself sees its stage fail, and stops without a half written dvc.lock.
    """
    from dvc.cli import main as dvc

    def watch() -> None:
        os.read(0, 1)
        for _ in range(100):
            os.killpg(0, signal.SIGHUP)
            time.sleep(0.1)
        os.killpg(0, signal.SIGKILL)

    # a handler of Python's is not handed on to the stage, as a signal that is ignored would be
    signal.signal(signal.SIGHUP, lambda *_: None)
    threading.Thread(target=watch, daemon=True).start()
    return int(dvc(words))


def entries() -> tuple[str, dict[str, str]]:
    """The head of dvc.lock, and its entries by stage."""
    head, *blocks = re.split(r"^(?=  [^\s-])", LOCK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return head, {block.strip().partition(":")[0]: block for block in blocks}


def order_lock(order: Sequence[str]) -> None:
    """Put the entries of dvc.lock in this order, in which `dvc repro` would have written them."""
    if LOCK.exists():
        head, blocks = entries()
        ordered = sorted(blocks, key=lambda name: order.index(name) if name in order else len(order))
        if [*blocks] != ordered:
            write_text(LOCK, head + "".join(blocks[name] for name in ordered))


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
