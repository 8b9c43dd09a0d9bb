"""Workflow files run by act on this machine, on a small repository of its own, with stand-ins for GitHub's actions."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from conftest import PARAMS, ROOT, make_customers, make_houses

BIN = Path(sys.executable).parent


def run(folder: Path, *words: str, **environment: str) -> None:
    subprocess.run(words, cwd=folder, env=os.environ | environment, check=True, capture_output=True)


def commit(folder: Path) -> None:
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "all")


def make_repository(folder: Path) -> Path:
    """The project's code with two small tables and their facts, committed on main."""
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "tmp", "cache")
    for name in ("pipeline", ".dvc", ".github"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    others = ("dvc.yaml", ".gitignore", "pyproject.toml", "requirements.txt", "uv.lock")
    for path in [*ROOT.glob("*.py"), *(ROOT / name for name in others)]:
        shutil.copy(path, folder)
    make_houses().to_csv(folder / "x.csv", index=False)
    make_customers().to_csv(folder / "y.csv", index=False)
    params = {**PARAMS, "tuning": {**PARAMS["tuning"], "trials": 4}, "first_trials": {}, "drift": {"alpha": 0.05}}
    params["datasets"] = {name: {**facts, "tune": "forest"} for name, facts in PARAMS["datasets"].items()}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    run(folder, sys.executable, "generate_data.py")
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "git", "remote", "add", "origin", "https://github.com/owner/project")
    commit(folder)
    return folder


def act(workflow: Path, folder: Path, event: str, payload: object, **variables: str) -> tuple[int, str, Path]:
    """Run a workflow; `variables` are those of the repository on GitHub. Returns act's exit code, its log, and the
    folder of the artifacts.
    """
    artifacts, github = folder.parent / "artifacts", folder.parent / "github"
    for made in (artifacts, github):
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
    (github / "comment").write_text("41\n")
    (folder.parent / "event.json").write_text(json.dumps(payload))
    action = ROOT / ".github/actions/install/action.yml"
    uses = set(re.findall(r"uses: (actions/([a-z-]+)@[0-9a-f]+)", workflow.read_text() + action.read_text()))
    stubs = [word for name, short in uses for word in ("--local-repository", f"{name}={ROOT}/tests/actions/{short}")]
    values = {"STUB_SOURCE": folder, "STUB_BIN": BIN, "STUB_ARTIFACTS": artifacts, "STUB_GITHUB": github}
    given = [word for key, value in values.items() for word in ("--env", f"{key}={value}")]
    given += [word for key, value in variables.items() for word in ("--var", f"{key}={value}")]
    command = [str(BIN / "act"), event, "-W", str(workflow.relative_to(ROOT)), "-P", "ubuntu-latest=-self-hosted"]
    command += ["--no-cache-server", "--no-skip-checkout", "--eventpath", str(folder.parent / "event.json")]
    done = subprocess.run(
        [*command, *stubs, *given],
        cwd=folder,
        env=os.environ
        | {
            "HOME": str(folder.parent / "home"),
            "XDG_CACHE_HOME": str(folder.parent / "cache"),
            "PATH": f"{ROOT}/tests/actions/bin:{os.environ['PATH']}",
            # all is installed; to find that out for what each package needs takes seconds a job
            "PIP_NO_DEPS": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,
    )
    (folder.parent / "act.log").write_text(done.stdout)
    return done.returncode, done.stdout, artifacts
