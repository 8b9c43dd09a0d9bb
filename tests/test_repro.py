"""`make pipeline` on a project of small shell stages: side by side, and otherwise as `dvc repro` does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from conftest import PARAMS, ROOT

from pipeline import repro

# A stage meets those of other datasets, fails, or hangs where the environment says so.
STAGE = """
echo "$1 of $2"; echo $$ > $2.pid; touch $2.$1.started
for other in $MEET; do
    tries=0
    while [ ! -e $other.$1.started ]; do
        tries=$((tries + 1)); [ $tries -lt 500 ] || { echo "no $other beside $2"; exit 1; }; sleep 0.1
    done
done
[ "$FAIL" != "$1 of $2" ] || { echo "error: $2 is broken"; exit 2; }
[ "$HANG" != "$1" ] || { sleep 600 & echo $! > $2.child; wait; }
echo "$1 $2" > $2.$1
"""
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1", "LOKY_MAX_CPU_COUNT": "2"}


def stages(*datasets: str, **more: Any) -> str:
    def each(name: str, *deps: str) -> dict[str, Any]:
        # as in dvc.yaml: what persists is not taken from DVC's cache of runs
        outs = [{f"${{item}}.{name}": {"persist": True}}]
        do = {"cmd": f"sh stage.sh {name} ${{item}}", "deps": ["stage.sh", *deps], "outs": outs}
        return {"foreach": list(datasets), "do": do}

    compare = {"cmd": "cat *.train > all", "deps": [f"{name}.train" for name in datasets], "outs": ["all"]}
    below = {name: each(name, "${item}.generate") for name in ("train", "drift")}
    validate = {"cmd": "python validate.py", "deps": ["validate.py"], "always_changed": True}
    every = {"generate": each("generate"), **below, "compare": compare, "validate": validate}
    return yaml.safe_dump({"stages": {**more, **every}}, sort_keys=False)


def make_project(folder: Path, *datasets: str, **more: Any) -> Path:
    folder.mkdir()
    (folder / "stage.sh").write_text(STAGE)
    (folder / "dvc.yaml").write_text(stages(*datasets, **more))
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (folder / "validate.py").touch()
    call(folder, "dvc", "init", "--no-scm", "-q")
    return folder


def begin(folder: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=os.environ | ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def call(folder: Path, *words: str, **environment: str) -> tuple[int, str, str]:
    process = begin(folder, *words, **environment)
    printed, errors = process.communicate(timeout=180)
    return process.returncode, printed, errors


def until(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


def test_side_by_side_with_the_lock_file_and_results_of_one_after_the_other(tmp_path: Path) -> None:
    one, two = make_project(tmp_path / "one", *"abc"), make_project(tmp_path / "two", *"abc")
    # a and b wait for each other; c comes when one of them has ended
    for names in ("abc", "abcde"):
        for folder in (one, two):
            (folder / "dvc.yaml").write_text(stages(*names))
        code, printed, errors = call(one, "dvc", "repro")
        assert code == 0, printed + errors
        code, printed, errors = call(two, "pipeline.repro", MEET="a b" if names == "abc" else "d e")
        assert code == 0, printed + errors
        assert (two / "dvc.lock").read_bytes() == (one / "dvc.lock").read_bytes()
        assert (two / "all").read_text() == (one / "all").read_text() == "".join(f"train {name}\n" for name in names)
    # those whose stages are up to date are not started
    assert {line[:4] for line in printed.splitlines() if line[1:4] == " | "} == {"d | ", "e | "}


def test_many_short_datasets_lose_no_entry_of_the_lock_file(tmp_path: Path) -> None:
    one, two = make_project(tmp_path / "one", *"abcdefgh"), make_project(tmp_path / "two", *"abcdefgh")
    assert call(one, "dvc", "repro")[0] == 0
    code, printed, errors = call(two, "pipeline.repro", LOKY_MAX_CPU_COUNT="8")
    assert code == 0, printed + errors
    assert (two / "dvc.lock").read_bytes() == (one / "dvc.lock").read_bytes()


def test_each_line_bears_its_dataset(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", "a", "long")
    code, printed, _ = call(project, "pipeline.repro")
    assert code == 0
    lines = printed.splitlines()
    assert {line[:7] for line in lines if " | " in line} == {"a    | ", "long | "}
    assert [line for line in lines if " of " in line and " | " not in line] == []
    for name in ("a", "long"):
        said = [line[7:] for line in lines if line.startswith(f"{name:<4} | ")]
        order = [said.index(f"{stage} of {name}") for stage in ("generate", "drift", "train")]
        assert order == sorted(order)
        assert f"Running stage 'train@{name}':" in said


def test_a_line_is_shown_when_it_is_whole(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    running = repro.Running("a", None)  # type: ignore[arg-type]
    running.show("trial 100 █\n\nnext\nand".encode(), 2)
    running.show(b" more\n", 2)
    shown = capfdbinary.readouterr().out.decode()
    assert shown == "".join(f"a  | {text}\n" for text in ("trial 100 █", "next", "and more"))


@pytest.mark.parametrize("cores", ["1", "3"])
def test_a_dataset_that_fails_stops_no_other_but_the_report(tmp_path: Path, cores: str) -> None:
    project = make_project(tmp_path / "project", *"abc")
    code, printed, errors = call(project, "pipeline.repro", FAIL="generate of a", LOKY_MAX_CPU_COUNT=cores)
    assert code == 255, printed + errors
    assert not (project / "a.train").exists()
    assert (project / "b.train").exists()
    assert (project / "c.train").exists()
    assert "stage 'compare'" not in printed
    assert not (project / "all").exists()
    broken, stage, summary = errors.splitlines()
    assert broken == "a | error: a is broken"
    assert stage.startswith("a | ERROR: failed to reproduce 'generate@a'")
    assert summary == "error: a failed; the other datasets are done, report and gates are as they were"
    # what is done is kept
    code, printed, _ = call(project, "pipeline.repro")
    assert code == 0
    assert "generate of b" not in printed
    assert (project / "all").exists()


@pytest.mark.parametrize(
    ("sent", "datasets"),
    [
        (signal.SIGTERM, "ab"),
        (signal.SIGKILL, "ab"),
        (signal.SIGINT, "ab"),
        (signal.SIGINT, "a"),
        (signal.SIGKILL, "a"),
    ],
)
def test_no_process_outlives_the_pipeline(tmp_path: Path, sent: signal.Signals, datasets: str) -> None:
    project = make_project(tmp_path / "project", *datasets)
    process = begin(project, "pipeline.repro", HANG="train")
    children = [project / f"{name}.child" for name in datasets]
    assert until(lambda: all(path.exists() and path.read_text() for path in children))
    below = psutil.Process(process.pid).children(recursive=True)
    assert len(below) >= 3 * len(datasets)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == (130 if sent == signal.SIGINT else -sent)
    assert until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in below))
    assert "Traceback" not in errors
    if sent == signal.SIGINT:
        assert errors.splitlines()[-1].startswith("interrupted; ")
    # DVC has kept what was done, and goes on from there
    code, printed, errors = call(project, "pipeline.repro")
    assert code == 0, printed + errors
    assert "generate of" not in printed
    assert "train of b" in printed or datasets == "a"


def test_nothing_to_do_is_one_answer_of_dvc_and_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    project = make_project(tmp_path / "project", *"ab")
    (project / "validate.py").write_text("print('PASS')\n")
    code, printed, _ = call(project, "pipeline.repro")
    assert code == 0
    # the last words are those of the gates
    assert printed.splitlines()[-1] == "PASS"
    monkeypatch.chdir(project)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    started, popen = [], subprocess.Popen

    def spy(command: list[str], **options: Any) -> subprocess.Popen[Any]:
        started.append(command[1:])
        return popen(command, **options)

    monkeypatch.setattr(subprocess, "Popen", spy)
    assert repro.main([]) == 0
    assert started == [["-m", "dvc", "--wait-for-lock", "status", "--json"], ["validate.py"]]
    assert capfd.readouterr().out == "Data and pipelines are up to date.\nPASS\n"
    # what the gates depend on has changed: DVC is to know of it
    (project / "validate.py").write_text("print('PASS 2')\n")
    before = (project / "dvc.lock").read_text()
    assert repro.main([]) == 0
    assert capfd.readouterr().out == "PASS 2\n"
    assert (project / "dvc.lock").read_text() != before
    (project / "validate.py").write_text("print('FAIL')\nraise SystemExit(1)\n")
    assert repro.main([]) != 0
    assert capfd.readouterr().out == "FAIL\n"


def test_one_dataset_that_is_out_of_date_runs_alone(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", *"ab")
    assert call(project, "pipeline.repro")[0] == 0
    (project / "b.train").unlink()
    code, printed, _ = call(project, "pipeline.repro")
    assert code == 0
    assert "b | train of b" in printed.splitlines()
    assert "a | " not in printed


def test_a_stage_before_those_of_the_datasets_runs_before_them(tmp_path: Path) -> None:
    fetch = {"cmd": "sleep 1; touch fetched", "outs": ["fetched"]}
    project = make_project(tmp_path / "project", *"ab", fetch=fetch)
    text = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(text.replace("- stage.sh\n", "- stage.sh\n      - fetched\n"))
    code, printed, errors = call(project, "pipeline.repro")
    assert code == 0, printed + errors
    assert (project / "all").read_text() == "train a\ntrain b\n"


def test_a_mistake_in_the_settings_is_told_before_anything_starts(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", *"ab")
    (project / "params.yaml").write_text("seeds: 1\n")
    code, printed, errors = call(project, "pipeline.repro")
    assert (code, printed) == (2, "")
    assert errors.startswith("error: params.yaml: line 1: seeds: ")
    assert errors.count("\n") == 1
