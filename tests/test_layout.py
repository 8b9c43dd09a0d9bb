"""The rules that keep the project readable: imports run one way, and scripts start fast."""

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from packaging.utils import canonicalize_name

from pipeline.console import EXTRAS

SCRIPTS = sorted(path.stem for path in ROOT.glob("*.py"))
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "pipeline").rglob("*.py")
}
HEAVY = {"numpy", "pandas", "sklearn", "scipy", "mlflow", "optuna", "evidently", "matplotlib", "plotly"}


def imported(path: Path) -> set[str]:
    """Every module that a file imports when it runs, anywhere in it; not those of annotations alone."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def test_the_six_scripts_are_there() -> None:
    assert SCRIPTS == ["compare_results", "detect_drift", "generate_data", "train", "tune_hyperparameters", "validate"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_ends_in_one_way(script: str) -> None:
    ending = 'if __name__ == "__main__":\n    raise SystemExit(exit_code(main))\n'
    assert (ROOT / f"{script}.py").read_text().endswith(ending)


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_script_imports_a_script(script: str) -> None:
    assert not imported(ROOT / f"{script}.py") & set(SCRIPTS)


def test_the_package_imports_no_script_and_has_no_circle() -> None:
    needs: dict[str, set[str]] = {}
    rooms: dict[str, set[str]] = {}
    for module, path in FILES.items():
        names = imported(path)
        assert not names & set(SCRIPTS)
        needs[module] = (names & FILES.keys()) - {module, "pipeline"}
        room = rooms.setdefault(room_of(module), set())
        room |= {room_of(other) for other in needs[module]} - {room_of(module)}
    assert_no_circle(needs)
    assert_no_circle(rooms)


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def assert_no_circle(needs: dict[str, set[str]]) -> None:
    ordered: set[str] = set()
    while len(ordered) < len(needs):
        ready = {module for module in needs if module not in ordered and needs[module] <= ordered}
        assert ready, f"a circle among {needs.keys() - ordered}"
        ordered |= ready


def test_what_is_imported_is_pinned_by_name() -> None:
    said = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, overrides = said["project"], said["tool"]["uv"]["override-dependencies"]
    pins = [*project["dependencies"], *chain(*project["optional-dependencies"].values()), *overrides]
    pinned = {canonicalize_name(pin.partition("==")[0]) for pin in pins}
    roots = {name.split(".")[0] for path in [*ROOT.glob("*.py"), *FILES.values()] for name in imported(path)}
    packages = packages_distributions()
    for name in roots - sys.stdlib_module_names - {"pipeline"}:
        assert pinned & {canonicalize_name(package) for package in packages[name]}, name


def test_extras_are_imported_where_they_are_an_option() -> None:
    users = {module for module, path in FILES.items() if {name.split(".")[0] for name in imported(path)} & set(EXTRAS)}
    drift = {"pipeline.drift.charts", "pipeline.drift.pages"}
    assert users == {
        "pipeline.cluster",
        "pipeline.explain.contributions",
        "pipeline.repro",
        "pipeline.search.cluster_worker",
        "pipeline.tables.formats",
        *drift,
    }


def test_only_the_store_and_what_it_serves_import_mlflow() -> None:
    files = [*ROOT.glob("*.py"), *FILES.values()]
    users = {path.parent.name for path in files if "mlflow" in {name.split(".")[0] for name in imported(path)}}
    assert users == {"serving", "store"}


@pytest.mark.parametrize("words", [["--help"], ["--nonsense"]])
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_and_usage_errors_import_nothing_heavy(script: str, words: list[str]) -> None:
    code = (
        f"import sys, {script}\n"
        f"try: {script}.main({words!r})\n"
        "except SystemExit as stop: status = stop.code\n"
        f"print(status, sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{0 if words == ['--help'] else 2} []"


# What is no part of a figure: arguments, errors, files and locks, the store, pictures, words. Settings are params of a
# stage.
NO_DEPENDENCIES = {"console", "files", "settings", "store", "cluster", "plots", "worth", "uncertainty"}


@pytest.mark.parametrize(
    ("stage", "entry"),
    [
        ("generate", "ingest"),
        ("train", "training"),
        ("tune", "search"),
        ("drift", "drift"),
        ("compare", "comparison"),
        ("validate", "gates"),
    ],
)
def test_a_stage_depends_on_the_rooms_that_decide_its_figures_and_no_fit_on_others(stage: str, entry: str) -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    listed = {
        dep.split("/")[1].removesuffix(".py")
        for dep in stages[stage].get("do", stages[stage])["deps"]
        if "pipeline/" in dep
    }
    needed, todo = {entry}, [entry]
    while todo:
        room = todo.pop()
        for module, path in FILES.items():
            if room_of(module) == f"pipeline.{room}":
                below = {
                    room_of(name).split(".")[-1] for name in imported(path) if name in FILES and name != "pipeline"
                }
                todo += [other for other in below - needed if other not in NO_DEPENDENCIES]
                needed |= below - NO_DEPENDENCIES
    if stage in ("train", "tune"):
        assert listed == needed
    assert entry in listed
    assert not listed & {"console", "files", "settings", "store", "cluster"}
