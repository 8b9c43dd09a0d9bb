"""What a script does where its output has no place, or an extra is not installed."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

import detect_drift
from pipeline.console import EXTRAS


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="macOS has no /dev/full")
def test_a_full_disk_under_standard_output_is_told_in_one_line(project: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, str(ROOT / "validate.py")]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: standard output: cannot be written (No space left on device)\n"


def test_a_pipe_that_nobody_reads_is_told_in_one_line(project: Path) -> None:
    process = subprocess.Popen([sys.executable, str(ROOT / "validate.py")], stdout=-1, stderr=-1, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == "error: standard output: cannot be written (Broken pipe)\n"
    assert process.wait() == 2


def test_an_extra_that_is_not_installed_is_told_before_the_work(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "pipeline.drift.pages", raising=False)
    monkeypatch.setitem(sys.modules, "evidently", None)
    assert detect_drift.main(["--dataset", "houses"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "error: Evidently is not installed; install it with `pip install -r requirements.txt`\n"


def test_every_extra_has_a_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = [package for extra in project["optional-dependencies"].values() for package in extra]
    assert {package.partition("==")[0].replace("-", "_") for package in packages} == set(EXTRAS)
