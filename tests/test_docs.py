"""The pages say what is true: generated parts are current, and links, commands, flags and names of code exist."""

import contextlib
import importlib
import io
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT

PAGES = sorted(
    path.relative_to(ROOT) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob(".github/*.md")]
)
# what it tells of may be gone
PRESENT = [page for page in PAGES if page.name != "CHANGELOG.md"]
BLOCK = re.compile(r"^```.*?^```", flags=re.S | re.M)
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))


def prose(page: Path) -> str:
    """A page without its blocks of code and without what only cog reads."""
    return re.sub(r"<!--.*?-->", "", BLOCK.sub("", (ROOT / page).read_text()), flags=re.S)


def code(page: Path) -> list[str]:
    """Each line of a page's blocks of code, and each piece of code in its sentences."""
    blocks = [block for block in BLOCK.findall((ROOT / page).read_text()) if not block.startswith("```diff")]
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", prose(page))


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", prose(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@cache
def help_of(script: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit), contextlib.chdir(ROOT):
        importlib.import_module(script.removesuffix(".py")).main(["--help"])
    return out.getvalue()


def lacks(text: str, flag: str) -> bool:
    return not re.search(rf"(?<![\w-]){flag}(?![\w-])", text)


def test_generated_parts_of_the_pages_are_current() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", "-I", ".", *map(str, PAGES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"run `make docs`\n{done.stdout}{done.stderr}"


def test_the_readme_is_short_and_leads_to_every_page_and_room() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 200
    for page in [*ROOT.glob("docs/*.md"), ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]:
        assert f"({page.relative_to(ROOT)})" in text
    for room in {path.parent for path in ROOT.glob("pipeline/*/*.py")}:
        assert f"`pipeline/{room.name}/`" in text


def test_every_benchmark_is_on_its_page_and_every_result_is_shown() -> None:
    page, generated = (ROOT / "docs/benchmarks.md").read_text(), (ROOT / "docs/generated.py").read_text()
    for path in ROOT.glob("benchmarks/[a-z]*.py"):
        assert f"benchmarks.{path.stem}" in page or f"benchmarks/{path.name}" in page
    for path in ROOT.glob("benchmarks/results/*"):
        assert f"benchmarks/results/{path.name}" in generated


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        found = (ROOT / page.parent / file).resolve().relative_to(ROOT) if file else page
        assert (ROOT / found).exists(), target
        assert not anchor or anchor in anchors(found), target


@pytest.mark.parametrize("page", PRESENT, ids=str)
def test_commands_and_flags_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for text in code(page):
        if make := re.match(r"make ([a-z-]+)", text):
            assert f"\n{make[1]}:" in makefile, text
        if call := re.match(r"(?:\w+=\S* )*(?:python )?(\w+\.py)( .*)?$", text):
            assert call[1] in SCRIPTS, text
            assert not [flag for flag in re.findall(r" (--[\w-]+)", text) if lacks(help_of(call[1]), flag)], text
        if call := re.match(r"python -m benchmarks\.(\w+)", text):
            source = (ROOT / f"benchmarks/{call[1]}.py").read_text()
            assert not [flag for flag in re.findall(r" (--[\w-]+)", text) if lacks(source, flag)], text
        if flag := re.match(r"--[\w-]+", text):
            assert not all(lacks(help_of(script), flag[0]) for script in SCRIPTS), text


@pytest.mark.parametrize("page", PRESENT, ids=str)
def test_files_and_names_of_code_exist(page: Path) -> None:
    for text in code(page):
        for word in text.split():
            if re.fullmatch(r"(pipeline|tests|benchmarks|docs|metrics|\.[a-z]+)/[\w./-]*", word):
                assert (ROOT / word).exists() or word.startswith((".venv/", "metrics/champion/")), text
            if re.fullmatch(r"pipeline(\.\w+){2,}", word):
                module, _, name = word.rpartition(".")
                source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
                assert re.search(rf"^(def|class) {name}\b", source, flags=re.M), word


def test_the_examples_of_extending_apply_to_the_code() -> None:
    text = (ROOT / "docs/extending.md").read_text()
    diffs = re.findall(r"^```diff\n(.*?)^```", text, flags=re.S | re.M)
    assert len(diffs) == text.count("\n## A ")
    for diff in diffs:
        done = subprocess.run(
            ["git", "apply", "--check", "--recount", "-"],
            cwd=ROOT,
            input=diff,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{diff}\n{done.stderr}"
