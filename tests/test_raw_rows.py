"""The rows of a source, in every way that they reach a model, are predicted as its table is, or refused; never
otherwise.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import load_model
from mlflow.pyfunc.scoring_server import _parse_json_data, invocations, parse_csv_input
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

import compare_results
import generate_data
import train
import validate
from pipeline import predict
from pipeline.console import PipelineError
from pipeline.files import write_json
from pipeline.ingest.facts import facts_of, write_table
from pipeline.ingest.infer import take_in_file
from pipeline.serving.model import ROWS, TargetWords, example_rows, served
from pipeline.serving.pyfunc import predictions
from pipeline.settings import Dataset, load_config
from pipeline.store.connect import experiment_id, open_store
from pipeline.store.models import log_model
from pipeline.tables.formats import read_source
from pipeline.tables.parts import read_parts
from pipeline.tables.read import given_layout, kept_layout, source_columns
from pipeline.tables.split import features_and_target, load_dataset, load_parts
from pipeline.training.build import build_model, resolve_recipe
from pipeline.training.fit import fit

CHUNKS, EXAMPLES = 5, 200
# One table in so many goes through a logged model too.
LOGGED_EACH = 20
MOST_REFUSED_TABLES, MOST_REFUSED_ROWS = 0.15, 0.4
# What last digits may make of a prediction, of one in 32-bit floats, and of one by the leading components of texts.
CLOSE, CLOSE_32, CLOSE_WITH_TEXTS = 1e-12, 1e-5, 1e-4
MODELS = {
    "tree": {
        "regression": "sklearn.tree.DecisionTreeRegressor",
        "classification": "sklearn.tree.DecisionTreeClassifier",
        "params": {"min_samples_leaf": 3},
    },
    "linear": PARAMS["models"]["linear"],
}
SETTINGS = {**PARAMS, "models": MODELS, "search_spaces": {}, "gates": {}}
NBSP = "\u00a0"


@dataclass(frozen=True)
class Case:
    """A table taken in, and a model of it: `fitted` predicts its frame X, `model` the rows of its source."""

    dataset: Dataset
    X: pd.DataFrame
    fitted: Pipeline
    model: Pipeline

    @cached_property
    def expected(self) -> pd.DataFrame:
        """What the fitted model answers for the table: predictions in the target's words, probabilities."""
        if not is_classifier(self.fitted):
            return pd.DataFrame({"prediction": self.fitted.predict(self.X)})
        shares, classes = self.fitted.predict_proba(self.X), self.model[-1].classes_
        if self.dataset.task == "binary":
            labels = classes[(shares[:, 1] >= self.dataset.threshold).astype(int)]
        else:
            labels = self.fitted.predict(self.X)
        named = {f"probability_{word}": share for word, share in zip(classes, shares.T, strict=True)}
        return pd.DataFrame({"prediction": labels, **named})


def take_in_and_fit(folder: Path, name: str, **entry: Any) -> Case:
    """The model of the table in a file `t.csv` of the folder, the current one; made as train.py makes it."""
    given = {"source": "t.csv", "file": "data/t.csv", "target": "target", "tune": "tree", **entry}
    params = {**SETTINGS, "datasets": {"t": given}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False, allow_unicode=True), encoding="utf-8")
    config = load_config()
    table = take_in_file(config.datasets["t"], config)
    write_table(table.frame, folder / "data/t.csv")
    write_json(folder / "metrics/data/t.json", facts_of(table))
    dataset = config.dataset("t")
    parts, recipe = load_parts(dataset, config), resolve_recipe(dataset, config, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = fit(build_model(recipe, parts.train.X), parts.train.X, parts.train.y)
    model = served(fitted, source_columns(recipe.types, recipe.reading, parts.train.X), parts.words)
    return Case(dataset, features_and_target(load_dataset(dataset), dataset)[0], fitted, model)


def logged(case: Case) -> Path:
    """The folder of the model, logged in the store of the current folder."""
    client = open_store(create=True)
    run = client.create_run(experiment_id(client, "t", create=True)).info
    found = log_model(client, run, "t-model", {}, case.model, example_rows(case.X.head(5), case.model))
    return Path(client.get_logged_model(found["model_id"]).artifact_location.removeprefix("file://"))


@contextmanager
def same_path() -> Iterator[None]:
    """Loading a model puts its code on Python's path."""
    before = sys.path[:]
    try:
        yield
    finally:
        sys.path[:] = before


def csv_bytes(rows: pd.DataFrame, delimiter: str = ",", encoding: str = "utf-8") -> bytes:
    """Text rows as a file, None as an empty field."""
    out = io.StringIO()
    table = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    table.writerow(rows.columns)
    table.writerows(rows.astype(object).where(rows.notna(), "").to_numpy().tolist())
    return out.getvalue().encode(encoding)


def differs(found: Any, expected: pd.DataFrame, close: float = CLOSE) -> str:
    """How predictions differ from the expected ones, in words; empty where they do not."""
    if not isinstance(found, pd.DataFrame):
        found = pd.DataFrame({"prediction": found})
    if list(found) != list(expected) or len(found) != len(expected):
        return f"columns {list(found)}, {len(found)} rows"
    for name in expected:
        is_, should = found[name].to_numpy(), expected[name].to_numpy()
        most = max(close, CLOSE_32 if should.dtype == "float32" else 0)
        same = np.isclose(is_, should, most, most) if should.dtype.kind == "f" else is_ == should
        if not np.all(same):
            place = int(np.argmin(same))
            return f"{name} of row {place} is {is_[place]!r}, not {should[place]!r}"
    return ""


# Ways in. Each takes text rows and answers with the rows as a model gets them.


def as_pandas_reads(rows: pd.DataFrame) -> pd.DataFrame:
    """mlflow models predict -t csv"""
    return parse_csv_input(io.BytesIO(csv_bytes(rows)))


def as_objects(rows: pd.DataFrame) -> pd.DataFrame:
    """mlflow models serve, of CSV"""
    return pd.read_csv(io.StringIO(csv_bytes(rows).decode()), dtype=object)


def as_json_records(rows: pd.DataFrame) -> pd.DataFrame:
    values = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return pd.DataFrame(json.loads(json.dumps(values)))


def as_json_split(rows: pd.DataFrame) -> pd.DataFrame:
    values = rows.astype(object).where(rows.notna(), None).to_dict("split", index=False)
    return pd.DataFrame(**json.loads(json.dumps(values)))


def as_typed_json(rows: pd.DataFrame) -> pd.DataFrame:
    """Values as pandas reads them, NaN as such, as Python's json writes it."""
    return pd.DataFrame(**json.loads(json.dumps(as_pandas_reads(rows).to_dict("split", index=False))))


def as_pandas_json(rows: pd.DataFrame) -> pd.DataFrame:
    """Values as pandas reads and writes them: what is missing becomes null."""
    return pd.DataFrame(json.loads(as_pandas_reads(rows).to_json(orient="records", double_precision=15)))


NULLS = "d: pandas as JSON with null"


def nulls_words(rows: pd.DataFrame) -> bool:
    """Whether pandas reads a word (None, Inf) as a number that JSON lacks, of which nobody can tell it then."""
    lost = as_pandas_reads(rows).isin([np.inf, -np.inf, np.nan, None]) & rows.notna()
    return bool(lost.to_numpy().any())


WAYS: Mapping[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "b: pandas": as_pandas_reads,
    "c: objects": as_objects,
    "d: text as JSON records": as_json_records,
    "d: text as JSON split": as_json_split,
    "d: pandas as JSON": as_typed_json,
    NULLS: as_pandas_json,
}


def by_text(case: Case, rows: pd.DataFrame, delimiter: str, encoding: str) -> pd.DataFrame:
    """Way a: as pipeline/predict.py does."""
    path, dataset = Path("rows.csv"), case.dataset
    path.write_bytes(csv_bytes(rows, delimiter, encoding))
    parts = [
        predict.with_predictions(case.model, part, path, 0)
        for part in read_parts(path, "mend", given_layout(dataset), kept_layout(dataset), predict.ROWS)
    ]
    return pd.concat(parts)[list(case.expected)]


# Tables in the ways of the world.


@dataclass(frozen=True)
class How:
    """How the columns of one file are written."""

    decimal: str
    thousands: str
    delimiter: str
    encoding: str


Rng = np.random.Generator
Values = list[str]


def one_of(rng: Rng, values: Sequence[Any]) -> Any:
    return values[rng.integers(len(values))]


def drawn(rng: Rng, words: Sequence[str], rows: int) -> Values:
    """Each of the words at least once."""
    return list(rng.permutation([*words, *rng.choice(words, rows - len(words))]))


def numerals(rng: Rng, how: How, rows: int, decimals: int, high: float) -> Values:
    values = np.round(10 ** rng.uniform(0, high, rows) * rng.choice([1, 1, 1, -1], rows), decimals)
    signs = {ord(","): how.thousands, ord("."): how.decimal}
    return [f"{value:,.{decimals}f}".translate(signs) for value in values]


def with_sign(values: Values, before: str, after: str) -> Values:
    return [("-" if text.startswith("-") else "") + before + text.removeprefix("-") + after for text in values]


def moments(rng: Rng, rows: int, pattern: str) -> Values:
    start = datetime(2019, 1, 1)
    return [(start + timedelta(minutes=int(m))).strftime(pattern) for m in rng.integers(0, 2_500_000, rows)]


def codes(rng: Rng, rows: int, pattern: str, below: int) -> Values:
    return drawn(rng, [format(int(code), pattern) for code in rng.choice(below, 6, replace=False)], rows)


def words_with(rng: Rng, rows: int, some: Sequence[str]) -> Values:
    extra = rng.choice(some, rng.integers(1, 3), replace=False)
    return drawn(rng, [*["red", "green", "flat", "big villa"][: rng.integers(2, 5)], *map(str, extra)], rows)


def text_of(rng: Rng) -> str:
    return " ".join(rng.choice(["red", "old", "house", "lake", "view", "None", "12", "Größe"], rng.integers(4, 7)))


# Name of a column, its values, and how often it is drawn.
Maker = Callable[[Rng, How, int], Values]
KINDS: dict[str, tuple[float, Maker]] = {
    "amount": (3, lambda rng, how, n: numerals(rng, how, n, one_of(rng, [1, 2, 3]), one_of(rng, [1, 3, 5]))),
    "share": (
        1,
        lambda rng, how, n: with_sign(numerals(rng, how, n, one_of(rng, [0, 1]), 2), "", one_of(rng, ["%", " %"])),
    ),
    "weight": (1, lambda rng, how, n: with_sign(numerals(rng, how, n, 1, 3), "", one_of(rng, [" kg", "kg", " rooms"]))),
    "price": (1, lambda rng, how, n: with_sign(numerals(rng, how, n, 2, 4), one_of(rng, ["$", "€", "R$ "]), "")),
    "fee": (1, lambda rng, how, n: with_sign(numerals(rng, how, n, 2, 4), "", one_of(rng, [" €", " EUR", " USD"]))),
    "count": (3, lambda rng, how, n: [str(v) for v in rng.integers(0, one_of(rng, [9, 500, 10**6]), n)]),
    "thousands": (1, lambda rng, how, n: numerals(rng, how, n, 0, 6)),
    "rating": (1, lambda rng, how, n: [f"{v:.1f}".replace(".", how.decimal) for v in rng.integers(2, 10, n) / 2]),
    "tiny": (0.5, lambda rng, how, n: [f"{v:.3e}".replace(".", how.decimal) for v in rng.random(n) / 1e6]),
    "flag 01": (1, lambda rng, how, n: drawn(rng, ["0", "1"], n)),
    "code": (1, lambda rng, how, n: codes(rng, n, "04d", 3000)),
    "mixed code": (0.4, lambda rng, how, n: drawn(rng, ["007", "07", "7", "12", "012"], n)),
    "zip": (1, lambda rng, how, n: codes(rng, n, one_of(rng, ["05d", "d"]), 90_000)),
    "account": (0.5, lambda rng, how, n: [str(90_000_000_000_000_001 + 3 * int(v)) for v in rng.integers(0, 9, n)]),
    "phone": (0.4, lambda rng, how, n: drawn(rng, ["+4917012", "+4917013", "017014", "0049"], n)),
    "batch": (0.4, lambda rng, how, n: drawn(rng, ["12E4", "1E3", "7D3", "12E5", "0E1"], n)),
    "version": (0.3, lambda rng, how, n: drawn(rng, ["1.0", "1.10", "1.1", "2.0", "2.0.1"], n)),
    "floor": (1, lambda rng, how, n: drawn(rng, ["1", "2", "3", "A", "1.5"], n)),
    "room": (1, lambda rng, how, n: drawn(rng, ["12a", "1st", "3 or 4", "12", "7"], n)),
    "limit": (0.3, lambda rng, how, n: drawn(rng, ["Inf", "10", "20", "none set"], n)),
    "kind": (1, lambda rng, how, n: words_with(rng, n, ["café", "Zürich", "a, b; c", 'the "best"', "x|y", " edge "])),
    "size": (0.5, lambda rng, how, n: words_with(rng, n, ["None", "NA", "null", "nan", "N/A", "NULL"])),
    "TRUE": (0.7, lambda rng, how, n: drawn(rng, one_of(rng, [["TRUE", "FALSE"], ["true", "false"]]), n)),
    "True": (0.4, lambda rng, how, n: drawn(rng, one_of(rng, [["true", "false", "True"], ["TRUE", "False", "?"]]), n)),
    "yes": (0.7, lambda rng, how, n: drawn(rng, one_of(rng, [["yes", "no"], ["Y", "N"], ["on", "off", "nil"]]), n)),
    "ISO": (1, lambda rng, how, n: moments(rng, n, one_of(rng, ["%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S"]))),
    "dots": (1, lambda rng, how, n: moments(rng, n, one_of(rng, ["%d.%m.%Y", "%d.%m.%Y %H:%M"]))),
    "slashes": (1, lambda rng, how, n: moments(rng, n, one_of(rng, ["%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M %p"]))),
    "month": (0.7, lambda rng, how, n: moments(rng, n, one_of(rng, ["%m/%Y", "%Y/%m", "%b %Y", "%m-%Y"]))),
    "start_date": (0.3, lambda rng, how, n: moments(rng, n, one_of(rng, ["%Y.%m", "%m.%Y"]))),
    "date": (0.7, lambda rng, how, n: moments(rng, n, "%Y%m%d")),
    "order_date": (0.7, lambda rng, how, n: [str(v) for v in rng.integers(43_000, 46_000, n)]),
    "changed_at": (0.3, lambda rng, how, n: [f"{v:.4f}" for v in rng.uniform(43_000, 46_000, n)]),
    "zoned": (0.7, lambda rng, how, n: moments(rng, n, "%Y-%m-%dT%H:%M:%S" + one_of(rng, ["Z", "+02:00", " UTC"]))),
    "remark": (0.5, lambda rng, how, n: [text_of(rng) for _ in range(n)]),
}
TARGETS: Sequence[Maker] = (
    lambda rng, how, n: drawn(rng, ["Yes", "No"], n),
    lambda rng, how, n: drawn(rng, ["TRUE", "FALSE"], n),
    lambda rng, how, n: drawn(rng, ["1", "0"], n),
    lambda rng, how, n: drawn(rng, ["None", "Some"], n),
    lambda rng, how, n: drawn(rng, ["low", "middle", "high"], n),
    lambda rng, how, n: drawn(rng, ["NA", "EU", "Asia"], n),
    lambda rng, how, n: drawn(rng, ["1", "2", "3"], n),
    lambda rng, how, n: drawn(rng, ["1", "1.5", "2"], n),
    lambda rng, how, n: numerals(rng, how, n, 2, 4),
    lambda rng, how, n: with_sign(numerals(rng, how, n, 2, 4), "", " €"),
    lambda rng, how, n: with_sign(numerals(rng, how, n, 1, 2), "", "%"),
)


def some_table(rng: Rng) -> tuple[pd.DataFrame, How]:
    """Text rows, None where a field is empty, and how their file is written."""
    decimal = one_of(rng, ".,")
    delimiter, encoding = one_of(rng, [",", ",", ";", "\t", "|"]), one_of(rng, ["utf-8"] * 4 + ["utf-16", "cp1252"])
    how = How(decimal, one_of(rng, ["", "", "," if decimal == "." else ".", " ", NBSP, "'"]), delimiter, encoding)
    rows, weights = int(rng.integers(60, 90)), np.array([weight for weight, _ in KINDS.values()])
    names = rng.choice(list(KINDS), rng.integers(2, 6), replace=False, p=weights / weights.sum())
    table = {}
    for name in names:
        values = pd.Series(KINDS[name][1](rng, how, rows), dtype=object)
        gaps = (rng.random(rows) < one_of(rng, [0, 0, 0.1])) & (np.arange(rows) > 4)
        table[str(name)] = values.where(~gaps, None)
    table["target"] = pd.Series(one_of(rng, TARGETS)(rng, how, rows), dtype=object)
    return pd.DataFrame(table), how


def named_column(error: Exception, columns: Sequence[str]) -> bool:
    """Whether an error is one that names a column."""
    return isinstance(error, (PipelineError, MlflowException)) and any(
        f"column {name!r}" in str(error) for name in columns
    )


def outcome(case: Case, answer: Callable[[], Any], places: np.ndarray, close: float) -> str:
    """What became of an answer for the rows at these places of the table: same, refused, or in words what is wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = answer()
    except Exception as error:
        if named_column(error, list(case.X)):
            return "refused"
        return f"{type(error).__name__}: {str(error)[:300]}"
    return differs(found, case.expected.iloc[places].reset_index(drop=True), close) or "same"


def logged_ways(case: Case) -> Mapping[str, Callable[[pd.DataFrame], Any]]:
    """The ways in, through the model as MLflow loads it, and the parts of its servers that come before it."""
    loaded = load_model(str(logged(case)))
    schema = loaded.metadata.get_input_schema()

    def served_json(rows: pd.DataFrame) -> Any:
        values = rows.astype(object).where(rows.notna(), None).to_dict("split", index=False)
        sent = json.dumps({"dataframe_split": values})
        return loaded.predict(_parse_json_data(sent, loaded.metadata, schema).data)

    def served_csv(rows: pd.DataFrame) -> Any:
        try:
            answer = invocations(csv_bytes(rows), "text/csv", loaded, schema)
        except MlflowException as error:
            # a server's answer is made of this
            raise MlflowException(json.loads(error.serialize_as_json())["message"]) from None
        return pd.DataFrame(json.loads(answer.response)["predictions"]).rename(columns={0: "prediction"})

    def plain(rows: pd.DataFrame) -> Any:
        return loaded.predict(rows)

    return {
        "logged, text": plain,
        "logged, b": lambda rows: loaded.predict(as_pandas_reads(rows)),
        "logged, c": lambda rows: loaded.predict(parse_csv_input(io.BytesIO(csv_bytes(rows)), schema)),
        "logged, served CSV": served_csv,
        "logged, served JSON": served_json,
    }


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_raw_rows_are_predicted_as_the_table_is_in_every_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    counts, wrong, no_tables, asked = Counter[tuple[str, str]](), list[str](), list[str](), Counter[str]()
    for seed in range(chunk * EXAMPLES, (chunk + 1) * EXAMPLES):
        rng = np.random.default_rng(seed)
        raw, how = some_table(rng)
        Path("t.csv").write_bytes(csv_bytes(raw, how.delimiter, how.encoding))
        try:
            # 1, 1.5 and 2 are classes where that is said
            task = {"task": "multiclass"} if raw["target"].nunique() == 3 else {}
            case = take_in_and_fit(tmp_path, one_of(rng, list(MODELS)), delimiter=how.delimiter, **task)
        except PipelineError as error:
            no_tables.append(f"seed {seed}: {error}")
            continue
        close = CLOSE_WITH_TEXTS if "text" in case.dataset.types.values() else CLOSE
        features = raw.drop(columns="target")
        some = np.sort(rng.choice(len(raw), int(rng.integers(1, 6)), replace=False))
        single = rng.integers(len(raw), size=1)
        with same_path():
            ways: dict[str, Callable[[pd.DataFrame], Any]] = {
                "a: text": lambda rows, case=case, how=how: by_text(case, rows, how.delimiter, how.encoding),
                **{
                    name: lambda rows, case=case, way=way: predictions(case.model, way(rows))
                    for name, way in WAYS.items()
                },
                **(logged_ways(case) if seed % LOGGED_EACH == 0 else {}),
            }
            for name, way in ways.items():
                for places in (np.arange(len(raw)), some, single):
                    rows = features.iloc[places].reset_index(drop=True)
                    if way is ways[NULLS] and nulls_words(rows):
                        continue
                    said = outcome(case, lambda way=way, rows=rows: way(rows), places, close)
                    asked[name] += 1
                    counts[name, said if said in ("same", "refused") else "wrong"] += 1
                    if said not in ("same", "refused") or (name in ("a: text", "logged, text") and said == "refused"):
                        wrong.append(f"seed {seed}, {name}, rows {places[:6]}: {said}; {list(features)}")
    shares = {name: f"{counts[name, 'refused'] / asked[name]:.1%} refused of {asked[name]}" for name in asked}
    assert not wrong, f"{len(wrong)} answers are wrong, first: " + "\n".join([*wrong[:8], str(shares)])
    assert len(no_tables) < MOST_REFUSED_TABLES * EXAMPLES, f"{len(no_tables)}, first: " + "\n".join(no_tables[:5])
    for name in asked:
        assert counts[name, "refused"] < MOST_REFUSED_ROWS * asked[name], f"{name}: {shares}"


# What each test of a few rows looks at.


def frame_of(rows: int = 160, **further: Values) -> pd.DataFrame:
    """Text rows with numbers, codes, days and words in the ways of an office; the target follows from them."""
    rng = np.random.default_rng(3)
    level, plan = rng.integers(1, 2000, rows), rng.choice(["month", "year", "None"], rows)
    left = level + 800 * (plan == "month") + rng.normal(0, 300, rows) > 1400
    return pd.DataFrame(
        {
            "amount": [f"{value / 8:,.2f} €".translate({44: ".", 46: ","}) for value in level * 40],
            "level": level.astype(str),
            "share": [f"{value:.1f}%".replace(".", ",") for value in rng.random(rows) * 100],
            "code": rng.choice(["007", "012", "110"], rows),
            "since": moments(rng, rows, "%d.%m.%Y"),
            "plan": plan,
            **further,
            "target": np.where(left, "Yes", "No"),
        },
        dtype=object,
    )


def case_of(folder: Path, raw: pd.DataFrame, name: str = "linear", **entry: Any) -> Case:
    """The model of text rows."""
    (folder / "t.csv").write_bytes(csv_bytes(raw))
    (folder / "data").mkdir(exist_ok=True)
    return take_in_and_fit(folder, name, **entry)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, pd.DataFrame, Path]:
    """A model of the rows of `frame_of`, these rows, and the folder of the model."""
    folder, raw = tmp_path_factory.mktemp("office"), frame_of()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        case = case_of(folder, raw)
        return case, raw.drop(columns="target"), logged(case)


def with_value(rows: pd.DataFrame, column: str, place: int, value: Any) -> pd.DataFrame:
    values = rows[column].tolist()
    values[place] = value
    return rows.assign(**{column: pd.Series(values, dtype=object)})


ONLY_LOST: dict[str, tuple[str, Values]] = {
    "true in two spellings": ("ok", ["true", "True", "false"]),
    "false in two spellings, with words": ("ok", ["TRUE", "FALSE", "False", "open"]),
    "codes of 17 digits with gaps": ("ref", ["90000000000000001", "90000000000000003", "90000000000000006", ""]),
    "codes of 17 digits": ("ref", ["90000000000000001", "90000000000000003"]),
    "months with points": ("start_date", ["2023.01", "2023.10", "2023.02"]),
    "days with a time after a point": ("order_date", ["45000", "45000.25", "45010.5"]),
    "a word for what has no end": ("limit", ["Inf", "open", "10"]),
    "None among words": ("plan2", ["None", "month", ""]),
    "codes of two widths": ("ref", ["007", "07", "7"]),
    "codes with a sign": ("ref", ["+7", "7", "-7", "a"]),
    "codes like 1E3": ("ref", ["1E3", "1000", "2E3", "a"]),
    "codes of one width": ("ref", ["007", "012", "110", ""]),
    "codes of one width among words": ("ref", ["007", "012", "none yet"]),
    "true and false": ("ok", ["TRUE", "FALSE", ""]),
    "true and false among words": ("ok", ["true", "false", "open"]),
    "versions": ("version", ["1.1", "1.10", "1.0", "a"]),
    "numbers among words": ("floor", ["1", "2", "1.5", "attic", ""]),
}


@pytest.mark.parametrize("what", ONLY_LOST)
def test_what_other_programs_read_of_a_column_is_the_same_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name, words = ONLY_LOST[what]
    place = np.random.default_rng(5).permutation(np.arange(120) % len(words))
    raw = pd.DataFrame({name: [words[i] or None for i in place], "target": [f"{i}.5" for i in place]}, dtype=object)
    case = case_of(tmp_path, raw, "tree")
    assert name in case.model[0].columns
    by_word = case.expected["prediction"].groupby(raw[name].fillna("")).agg(["min", "max"])
    assert by_word["min"].nunique() == len(words), "the model does not tell the words apart"
    rows = raw[[name]]
    assert outcome(case, lambda: by_text(case, rows, ",", "utf-8"), np.arange(120), CLOSE) == "same"
    found = {}
    for word in [None, *words]:
        # the rows of one word alone have another type in pandas than all of them
        places = np.flatnonzero((rows[name].fillna("") == word).to_numpy() if word is not None else np.ones(120, bool))
        some = rows.iloc[places].reset_index(drop=True)
        for way, reads in WAYS.items():
            if not (way == NULLS and nulls_words(some)):
                found[way, word] = outcome(
                    case, lambda reads=reads, some=some: predictions(case.model, reads(some)), places, CLOSE
                )
    assert not {key: said for key, said in found.items() if said not in ("same", "refused")}
    assert {said for (way, _), said in found.items() if "text" in way} == {"same"}


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("amount", "12.5 €", r"'12.5 €' in line 5 is no number with a decimal comma and €"),
        ("amount", "5 kg", r"'5 kg' in line 5 is no number"),
        ("level", "many", r"'many' in line 5 is no number"),
        ("level", "1.5", r"'1.5' in line 5 is no number"),
        ("level", True, r"'True' in line 5 is no number"),
        ("level", "1e300", r"'1e300' in line 5 is infinite or too large"),
        ("share", "0,5", r"'0,5' in line 5 is no number with a decimal comma and %"),
        ("since", "02/13/2024", r"'02/13/2024' in line 5 is no date written as day first"),
        ("since", "soon", r"'soon' in line 5 is no date"),
        # numbers that say no longer what the text was
        ("amount", 12.5, "decimal comma"),
        ("share", 12, "in %"),
        ("level", 1.5, "decimal comma"),
        ("code", 7.5, "is a number, its values are words"),
        ("plan", float("nan"), "a word such as None"),
        # of JSON and spreadsheets
        ("level", [1], ""),
        ("level", {"a": 1}, ""),
        ("level", datetime(2024, 1, 1), ""),
    ],
    ids=str,
)
def test_a_value_in_no_way_of_its_column_is_refused_by_name_and_line(
    office: tuple[Case, pd.DataFrame, Path], column: str, value: Any, said: str
) -> None:
    case, rows, _ = office
    with pytest.raises(PipelineError, match=f"^{ROWS}: column '{column}'.*{said}"):
        predictions(case.model, with_value(rows, column, 3, value))


def test_whole_numbers_may_come_as_floats_and_broken_ones_may_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raw = frame_of()[["level", "target"]]
    raw.loc[5:9, "level"] = None
    case = case_of(tmp_path, raw)
    assert not differs(predictions(case.model, raw[["level"]].astype(float)), case.expected)
    with pytest.raises(PipelineError, match="column 'level': its values are whole numbers, and these are not"):
        predictions(case.model, pd.DataFrame({"level": [1.0, 1.5]}))
    # 1.5 or 1500: nothing in the source tells
    with pytest.raises(PipelineError, match=r"column 'level': '1\.500' in line 3 is no number"):
        predictions(case.model, pd.DataFrame({"level": ["1", "1.500"]}))


def test_marks_of_missing_values_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    raw = frame_of()
    for column, mark in (("level", "-999"), ("level", "gone"), ("plan", "unknown"), ("since", "9.9.9999")):
        raw.loc[raw.sample(8, random_state=len(column + mark)).index, column] = mark
    raw.loc[:3, ["level", "plan", "since"]] = ["5", "year", "02.03.2024"]
    marks = {"level": [-999, "gone"], "plan": ["unknown"], "since": ["9.9.9999"]}
    case = case_of(tmp_path, raw, missing=marks)
    rows = raw.drop(columns="target").head(2)
    assert np.abs(case.X["level"]).max() < 2001
    there = predictions(case.model, rows)
    for column, values in {**marks, "level": [-999, "-999", "gone", " gone "]}.items():
        missing = predictions(case.model, with_value(rows, column, 0, None))
        assert differs(missing, there), "a missing value tells nothing here"
        for value in values:
            assert not differs(predictions(case.model, with_value(rows, column, 0, value)), missing), value
    numbers = rows.assign(level=[-999, 5])
    assert not differs(predictions(case.model, numbers), predictions(case.model, with_value(rows, "level", 0, None)))


@pytest.mark.parametrize(
    ("text", "mark"), [("-999.0", -999.0), ("-999.0", "-999.0"), ("-999.00", -999), ("-999", -999)]
)
def test_a_mark_means_the_same_as_text_and_as_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, mark: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    raw = frame_of()[["level", "target"]]
    raw["level"] += ".5"
    raw.loc[10:20, "level"] = text
    case = case_of(tmp_path, raw, missing={"level": [mark]})
    rows = raw[["level"]]
    places = np.arange(len(raw))
    for reads in (as_pandas_reads, as_objects, as_json_split, as_typed_json):
        said = outcome(case, lambda reads=reads: predictions(case.model, reads(rows)), places, CLOSE)
        assert said in ("same", "refused")


def test_an_absent_column_is_named(office: tuple[Case, pd.DataFrame, Path]) -> None:
    case, rows, folder = office
    assert len(case.model[0].columns) == 6
    with same_path():
        loaded = load_model(str(folder))
        for column in case.model[0].columns:
            for predict_rows in (loaded.predict, case.model.predict, lambda rows: predictions(case.model, rows)):
                with pytest.raises((PipelineError, MlflowException), match=f"column '{column}' is absent"):
                    predict_rows(rows.drop(columns=column))
        assert not differs(loaded.predict(rows.assign(further="x")), case.expected)


def test_unknown_categories_are_taken(office: tuple[Case, pd.DataFrame, Path]) -> None:
    case, rows, _ = office
    for column, value in (("plan", "decade"), ("plan", 5), ("plan", True), ("code", "999"), ("code", 999)):
        found = predictions(case.model, with_value(rows.head(3), column, 0, value))
        assert set(found["prediction"]) <= {"Yes", "No"}
        assert not differs(found.tail(2), case.expected.iloc[1:3])
        assert differs(found.head(1), case.expected.head(1)), "the column tells nothing here"


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize(
    "words",
    [
        ["No", "Yes"],
        ["FALSE", "TRUE"],
        ["0", "1"],
        ["Some", "None"],
        ["a", "b", "c"],
        ["1", "2", "3"],
        ["1", "1.5", "2"],
    ],
    ids=" ".join,
)
def test_predictions_are_in_the_words_of_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    raw = frame_of()
    order = raw["level"].astype(int).rank(pct=True, method="first") * len(words) - 1e-9
    raw["target"] = [words[int(place)] for place in order]
    case = case_of(tmp_path, raw, name, task="binary" if len(words) == 2 else "multiclass")
    found = predictions(case.model, raw.drop(columns="target"))
    assert sorted(found) == ["prediction", *(f"probability_{word}" for word in sorted(words))]
    shares = found.filter(like="probability_")
    assert np.allclose(shares.sum(axis=1), 1)
    likely = shares.idxmax(axis=1).str.removeprefix("probability_")
    told = shares.max(axis=1) > 0.5
    assert (found["prediction"].astype(str) == likely)[told].all()
    assert set(found["prediction"].astype(str)) == set(words)
    # the target follows from the level, so that words in a wrong order would be found
    assert (found["prediction"].astype(str) == raw["target"]).mean() > 0.7


def test_a_probability_at_the_threshold_is_positive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    raw = frame_of()
    rows = raw.drop(columns="target")
    shares = predictions(case_of(tmp_path, raw, "tree").model, rows)["probability_Yes"]
    inner = np.unique(shares[(shares > 0) & (shares < 1) & (shares != 0.5)])
    assert len(inner) > 2
    for threshold in map(float, inner):
        case = case_of(tmp_path, raw, "tree", threshold=threshold)
        found = predictions(case.model, rows)
        assert (found["probability_Yes"] == shares).all()
        assert (found["prediction"] == np.where(shares >= threshold, "Yes", "No")).all()
        assert (found["prediction"] == "Yes").sum() > (shares > threshold).sum()
        assert isinstance(case.model[-1], TargetWords)
        assert (case.model.predict(rows) == found["prediction"]).all()


ALONE = """
import importlib.util, json, sys
assert importlib.util.find_spec("pipeline") is None, "this project is on the path"
import mlflow.pyfunc, mlflow.sklearn, pandas
folder, rows = sys.argv[1], pandas.DataFrame(json.load(open(sys.argv[2])))
if sys.argv[3] == "pyfunc":
    found = mlflow.pyfunc.load_model(folder).predict(rows)["prediction"]
else:
    found = mlflow.sklearn.load_model(folder).predict(rows)
import pipeline
assert pipeline.__file__.startswith(folder), pipeline.__file__
print(json.dumps(list(found)))
"""


@pytest.mark.parametrize("flavour", ["pyfunc", "sklearn"])
def test_a_logged_model_predicts_without_this_project(
    office: tuple[Case, pd.DataFrame, Path], tmp_path: Path, flavour: str
) -> None:
    case, rows, folder = office
    (tmp_path / "rows.json").write_text(json.dumps(rows.to_dict("records")))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    # -I: neither the current folder nor that of a script is on Python's path
    command = [sys.executable, "-I", "-W", "ignore", "-c", ALONE, str(folder), str(tmp_path / "rows.json"), flavour]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == case.expected["prediction"].tolist()


def test_the_servers_of_mlflow_take_rows_as_the_source_has_them(office: tuple[Case, pd.DataFrame, Path]) -> None:
    case, rows, folder = office
    with same_path():
        loaded = load_model(str(folder))
        schema = loaded.metadata.get_input_schema()
        values = rows.to_dict("split", index=False)
        bodies = {
            "application/json": json.dumps({"dataframe_split": values}),
            "application/json; charset=utf-8": json.dumps({"dataframe_records": rows.to_dict("records")}),
            # pandas takes None for missing, which is refused
            "text/csv": csv_bytes(rows[rows["plan"] != "None"]).decode(),
        }
        for kind, body in bodies.items():
            answer = pd.DataFrame(json.loads(invocations(body, kind, loaded, schema).response)["predictions"])
            expected = case.expected[rows["plan"] != "None"] if kind == "text/csv" else case.expected
            assert not differs(answer, expected.reset_index(drop=True)), kind


# The command.


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose dataset `left` has a champion."""
    folder = tmp_path_factory.mktemp("champion")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        Path("left.csv").write_bytes(csv_bytes(frame_of(400), ";", "cp1252"))
        entry = {"source": "left.csv", "file": "data/left.csv", "target": "target", "tune": "linear"}
        params = {**SETTINGS, "models": {"linear": MODELS["linear"]}, "datasets": {"left": entry}}
        Path("params.yaml").write_text(yaml.safe_dump(params))
        assert generate_data.main([]) == 0
        assert train.main([]) == 0
        assert compare_results.main([]) == 0
        assert validate.main(["--promote"]) == 0
    return folder


@pytest.fixture
def there(champion: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(champion)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return champion


def champions_answer() -> pd.DataFrame:
    """What the champion, as trained, says of the table in data/."""
    from pipeline.store.registry import run_with_alias

    found = run_with_alias(open_store(), "left", "champion")
    assert found is not None
    dataset = load_config().dataset("left")
    case = Case(
        dataset, features_and_target(load_dataset(dataset), dataset)[0], found[1].load_model(), found[1].served_model()
    )
    return case.expected


def written_rows(path: Path) -> pd.DataFrame:
    frame, _ = read_source(path, "mend")
    shares = {name: frame[name].astype(float) for name in frame if name.startswith("probability_")}
    return frame.assign(**shares)


@pytest.mark.parametrize("form", ["comma", "semicolon", "tab", "gz", "utf-8-sig", "utf-16", "cp1252"])
def test_the_command_predicts_the_rows_of_a_file(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    rows = frame_of(400).drop(columns="target")
    encoding = form if form in ("utf-8-sig", "utf-16", "cp1252") else "utf-8"
    content = csv_bytes(rows, {"semicolon": ";", "tab": "\t"}.get(form, ","), encoding)
    source, output = tmp_path / f"new.csv{'.gz' if form == 'gz' else ''}", tmp_path / "predictions.csv"
    source.write_bytes(gzip.compress(content) if form == "gz" else content)
    assert predict.main(["left", str(source), str(output)]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out == f"wrote {output} (400 rows)\n"
    found, expected = written_rows(output), champions_answer()
    assert list(found) == [*rows, *expected]
    assert found[list(rows)].equals(rows)
    assert not differs(found[list(expected)], expected)


def test_a_long_file_is_predicted_in_parts_as_a_short_one(there: Path, tmp_path: Path) -> None:
    rows = pd.concat([frame_of(400).drop(columns="target")] * 100, ignore_index=True)
    header, _, body = csv_bytes(rows).decode().partition("\n")
    outputs = []
    for times in (1, 3):
        (tmp_path / "new.csv").write_text(f"{header}\n{body * times}")
        assert predict.main(["left", str(tmp_path / "new.csv"), str(tmp_path / "out.csv")]) == 0
        outputs.append((tmp_path / "out.csv").read_text().splitlines())
    short, long = outputs
    assert len(short) == 40_001
    assert long == [short[0], *short[1:] * 3]
    expected = champions_answer()
    assert [line.split(",")[-3] for line in short[1:401]] == expected["prediction"].tolist()


def test_a_fault_far_down_is_named_and_leaves_no_file(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pd.concat([frame_of(400).drop(columns="target")] * 260, ignore_index=True)
    # the header is line 1
    for row, column, value in ((100_001, "amount", "12.5 €"), (3, "level", "x")):
        (tmp_path / "new.csv").write_bytes(csv_bytes(with_value(rows, column, row - 1, value)))
        output = tmp_path / "out" / "predictions.csv"
        output.parent.mkdir(exist_ok=True)
        assert predict.main(["left", str(tmp_path / "new.csv"), str(output)]) == 2
        said = capsys.readouterr().err
        assert not list(output.parent.iterdir())
        assert len(said.splitlines()) == 1
        assert f"column '{column}'" in said
        assert f"{value!r} in line {row + 1} " in said, said


def refused_with(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that the command is refused with."""
    assert predict.main(list(words)) == 2
    out, error = capsys.readouterr()
    assert not out
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1
    return error


def test_the_command_refuses_in_one_line(
    there: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    new, rows = tmp_path / "new.csv", frame_of(400).drop(columns="target")
    output = tmp_path / "out.csv"
    new.write_bytes(csv_bytes(rows))
    before = new.read_bytes()
    assert "give another name" in refused_with(capsys, "left", str(new), str(new))
    assert "give another name" in refused_with(capsys, "left", str(new), f"{tmp_path}/../{tmp_path.name}/new.csv")
    assert new.read_bytes() == before
    for taken in ("prediction", "probability_Yes"):
        new.write_bytes(csv_bytes(rows.assign(**{taken: "x"})))
        assert f"column '{taken}' is a name of the predictions" in refused_with(capsys, "left", str(new), str(output))
    new.write_bytes(csv_bytes(rows.drop(columns="since")))
    assert "column 'since' is absent" in refused_with(capsys, "left", str(new), str(output))
    new.write_bytes(csv_bytes(rows.head(0)))
    assert "has no rows" in refused_with(capsys, "left", str(new), str(output))
    assert "not found" in refused_with(capsys, "left", str(tmp_path / "none.csv"), str(output))
    new.write_bytes(csv_bytes(rows) + b"a,b\n")
    assert "line 402 has 2 fields" in refused_with(capsys, "left", str(new), str(output))
    assert not output.exists()


def test_without_a_champion_the_command_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    raw = frame_of()
    case = case_of(tmp_path, raw)
    arguments = ("t", "t.csv", "out.csv")
    refused_with(capsys, *arguments)
    # a store with a run, and no champion
    logged(case)
    assert "there is no champion; make one with `python validate.py --promote`" in refused_with(capsys, *arguments)
    assert not Path("out.csv").exists()
