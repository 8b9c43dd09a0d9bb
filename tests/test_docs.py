import subprocess
import sys

from conftest import ROOT


def test_generated_parts_of_the_pages_are_current() -> None:
    pages = ["README.md", "docs/scaling.md"]
    done = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", "-I", ".", *pages],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run `make docs`\n{done.stdout}{done.stderr}"


def test_every_make_target_in_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for line in (ROOT / "README.md").read_text().splitlines():
        if line.startswith("make "):
            assert f"\n{line.split()[1]}:" in makefile
