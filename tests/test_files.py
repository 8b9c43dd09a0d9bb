import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from pipeline.console import PipelineError
from pipeline.files import hold, read_json, write_atomic, write_json, write_text


def test_failed_write_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    write_json(path, {"a": 1})

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_atomic(path, fail)
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_files_of_killed_processes_are_removed_and_others_stay(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    for pid in (killed.pid, os.getppid(), "x"):
        (tmp_path / f".writing-{pid}-out.json").touch()
    write_text(tmp_path / "out.json", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"out.json", f".writing-{os.getppid()}-out.json"}


def test_json_holds_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})


@pytest.mark.parametrize(("text", "words"), [(None, "not found; make it"), ("[" * 99_999, "cannot be read")])
def test_json_that_cannot_be_read_names_its_command(tmp_path: Path, text: str | None, words: str) -> None:
    if text:
        (tmp_path / "x.json").write_text(text)
    with pytest.raises(PipelineError, match=rf"{words}.* with `python train\.py`"):
        read_json(tmp_path / "x.json", "python train.py")


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that takes the lock, prints so, and holds it until its input ends."""
    code = (
        "import sys; from pathlib import Path; from pipeline.files import hold\n"
        f"with hold(Path({str(path)!r}), 'held elsewhere'): print('held', flush=True); sys.stdin.read()"
    )
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=-1, stdout=-1, stderr=-1, text=True)


def test_a_process_says_that_it_waits_and_goes_on_when_the_other_is_killed(tmp_path: Path) -> None:
    first = holder(tmp_path / "new/.lock")
    assert first.stdout is not None
    assert first.stdout.readline() == "held\n"
    second = holder(tmp_path / "new/.lock")
    assert second.stderr is not None
    assert second.stderr.readline() == "held elsewhere; waiting\n"
    assert second.poll() is None
    first.kill()
    first.communicate()
    assert second.communicate() == ("held\n", "")
    assert second.returncode == 0


def test_a_lock_that_is_soon_free_is_not_worth_a_line(tmp_path: Path) -> None:
    with hold(tmp_path / ".lock", "unexpected"):
        second = holder(tmp_path / ".lock")
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(0.4)
    assert second.communicate() == ("held\n", "")


def test_a_lock_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PipelineError, match="cannot be written"), hold(tmp_path / "file/.lock", "unexpected"):
        pass
