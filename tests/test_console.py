"""What a script does where its output has no place."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


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
