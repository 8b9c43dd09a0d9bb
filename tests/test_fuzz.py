"""1,000 random tables and settings: each is taken or refused in one line; whatever else is raised is a bug."""

import contextlib
import copy
import csv
import io
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PARAMS
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import generate_data
import validate
from pipeline import assessment, evaluation
from pipeline.config import PipelineError, load_config
from pipeline.models import build_model

pytestmark = pytest.mark.slow

# the same examples in every run, so that a failure is the change's own
EXAMPLES = settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
CELLS: tuple[st.SearchStrategy[Any], ...] = (
    st.integers(-5, 5),
    st.integers(),
    st.floats(),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["yes", "no"]),
    st.sampled_from(["TRUE", "FALSE", ""]),
    st.dates().map(str),
    st.datetimes().map(str),
    st.floats(0, 1e6).map(lambda value: f"${value:,.2f}"),
    st.integers(0, 100).map(lambda value: f"{value} %"),
    st.from_regex(r"[0-9]{3}-[A-Z]{2}", fullmatch=True),
    st.lists(st.sampled_from(["red", "old", "house", "lake"]), min_size=4, max_size=6).map(" ".join),
    any_text,
)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A CSV file, now and then a damaged one."""
    width, rows = draw(st.integers(1, 6)), draw(st.integers(0, 60))
    names = draw(
        st.lists(st.one_of(st.sampled_from(["id", "x", "y", "when"]), any_text), min_size=width, max_size=width)
    )
    columns = []
    for _ in range(width):
        cell, gaps = draw(st.sampled_from(CELLS)), draw(st.booleans())
        pool = draw(st.lists(cell, min_size=1, max_size=rows + 1)) + ([""] if gaps else [])
        columns.append([pool[draw(st.integers(0, len(pool) - 1)) if i >= len(pool) else i] for i in range(rows)])
    out = io.StringIO()
    csv.writer(out, delimiter=draw(st.sampled_from(",,,,;"))).writerows([names, *zip(*columns, strict=True)])
    content = out.getvalue().encode()
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(0, len(content)))
        content = content[:place] + draw(st.binary(max_size=3)) + content[place + 1 :]
    return content


@contextlib.contextmanager
def empty_folder(params: Any) -> Any:
    """A new current folder with these settings."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            Path("params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
            yield
        finally:
            os.chdir(before)


@EXAMPLES
@given(content=tables(), target=st.sampled_from(["y", "x", "when"]), folds=st.integers(2, 3), split=st.integers(0, 9))
def test_a_random_table_is_learned_from_or_refused(content: bytes, target: str, folds: int, split: int) -> None:
    entry: dict[str, Any] = {"source": "t.csv", "file": "data/t.csv", "target": target}
    if split < 2:
        entry["split"] = {("group", "time")[split]: "when" if target != "when" else "x"}
    models = {name: {**spec, "params": {}} for name, spec in PARAMS["models"].items()}
    models["forest"]["params"] = {"n_estimators": 2, "n_jobs": 1}
    models["gradient_boosting"]["params"] = {"max_iter": 2}
    params = {**PARAMS, "datasets": {"t": entry}, "gates": {}, "folds": folds, "models": models}
    error, out = io.StringIO(), io.StringIO()
    with empty_folder(params), contextlib.redirect_stderr(error), contextlib.redirect_stdout(out):
        Path("t.csv").write_bytes(content)
        status = generate_data.main([])
        assert status in (0, 2)
        assert len(error.getvalue().splitlines()) == (1 if status == 2 else 0), error.getvalue()
        if status == 0:
            config = load_config()
            dataset = config.dataset("t")
            parts = assessment.load_parts(dataset, config)
            for name in config.models:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model = evaluation.fit(
                        build_model(dataset, config, name, parts.X_train), parts.X_train, parts.y_train
                    )
                    evaluation.predict(model, parts.X_test, parts.y_test, dataset.task)


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), any_text, st.dates()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=4,
)


def paths(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every value in nested settings."""
    found = [prefix] if prefix else []
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        found += paths(child, (*prefix, key))
    return found


@EXAMPLES
@given(path=st.sampled_from(paths(PARAMS)), value=anything, key=st.none() | any_text)
def test_random_settings_are_taken_or_refused(path: tuple[Any, ...], value: Any, key: str | None) -> None:
    params = copy.deepcopy(PARAMS)
    place: Any = params
    for step in path[:-1]:
        place = place[step]
    place[path[-1] if key is None or isinstance(place, list) else key] = value
    with empty_folder(params), contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        refused = refusal()
        assert not refused or refused.startswith(("params.yaml: ", "metrics/data/"))
        assert len(refused.splitlines()) <= 1
        assert validate.main([]) in (1, 2)


def refusal() -> str:
    """Why the settings in the current folder are refused; empty where they are taken."""
    try:
        config = load_config()
        for name in config.datasets:
            config.dataset(name)
    except PipelineError as error:
        return str(error)
    return ""
