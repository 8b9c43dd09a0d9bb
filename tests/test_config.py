import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import PARAMS, ROOT
from dvc.utils.serialize import modify_yaml
from pydantic import ValidationError

from pipeline.console import PipelineError
from pipeline.search.trials import make_objective, propose
from pipeline.settings import Config, Dataset, drift_sha256, load_config, search_sha256, settings_sha256
from pipeline.tables.split import load_parts
from pipeline.training.build import build_estimator, resolve_recipe

SCHEMA = json.loads((ROOT / "params.schema.json").read_text())
HOUSES, FIRST = ("datasets", "houses"), ("first_trials",)


def first(settings: dict[str, Any], model: str = "forest") -> tuple[tuple[str, ...], dict[str, Any]]:
    """Settings that a model's search for classes tries second, after empty ones: key and value of params.yaml."""
    return FIRST, {model: {"classification": [{}, settings]}}


def load_with(key: tuple[Any, ...], value: object) -> Config:
    """The settings of PARAMS with one value changed."""
    params: Any = copy.deepcopy(PARAMS)
    section = params
    for name in key[:-1]:
        section = section.setdefault(name, {})
    section[key[-1]] = value
    Path("params.yaml").write_text(yaml.safe_dump(params))
    return load_config()


def test_defaults_are_filled_in(project: Path) -> None:
    config = load_config()
    assert config.dataset("houses").metric == "r2"
    assert config.dataset("houses").evaluation == "holdout"
    assert config.gates["customers"][0].above == 0.6


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (("folds",), "five", "folds: expected a whole number, found 'five'"),
        (("folds",), "5", "folds: expected a whole number, found '5'"),
        (("folds",), 5.0, "folds: expected a whole number, found 5.0"),
        (("folds",), True, "folds: expected a whole number, found True"),
        (("folds",), None, "folds: has no value"),
        (("folds",), 1, "folds: 1 is out of range; give a number of at least 2"),
        (("test_size",), "0.2", "test_size: expected a number"),
        (("test_size",), True, "test_size: expected a number"),
        (("test_size",), float("nan"), "test_size: expected a finite number, found nan"),
        (("test_size",), 10**400, "test_size: expected a number"),
        (("foldz",), 5, "foldz: 'foldz' is unknown; did you mean 'folds'"),
        ((*HOUSES, "taget"), "x", "did you mean 'target'"),
        ((*HOUSES, "name"), "x", "houses.name: 'name' is unknown; known: source, file"),
        ((*HOUSES, "group"), "x", "houses.group: 'group' is unknown"),
        ((*HOUSES, "task"), "ranking", "'ranking' is unknown; known: regression, binary, multiclass"),
        ((*HOUSES, "task"), "", "houses.task: has no value"),
        ((*HOUSES, "metric"), "f1", "datasets.houses.metric: 'f1' is unknown; known: r2, rmse, mae"),
        ((*HOUSES, "evaluation"), 5, "5 is unknown; known: holdout, cross_validation"),
        ((*HOUSES, "positive"), [1], "houses.positive: expected text"),
        ((*HOUSES, "threshold"), "tund", "houses.threshold: expected a number, found 'tund'"),
        ((*HOUSES, "threshold"), {}, "houses.threshold: give one of cost and capacity"),
        ((*HOUSES, "threshold"), {"capacity": 0}, "threshold.capacity: 0 is out of range; give a number of at least 1"),
        ((*HOUSES, "threshold"), {"capacity": 2.5}, "threshold.capacity: expected a whole number, found 2.5"),
        ((*HOUSES, "threshold"), {"costs": 1}, "threshold.costs: 'costs' is unknown; did you mean 'cost'"),
        ((*HOUSES, "threshold"), {"cost": 3}, "threshold.cost: expected `name: value` lines, found 3"),
        ((*HOUSES, "threshold"), {"cost": {"false_positive": 1}}, "threshold.cost.false_negative: is missing"),
        (
            (*HOUSES, "threshold"),
            {"cost": {"false_positive": 0, "false_negative": 1}},
            "threshold.cost.false_positive: 0 is out of range; give a number above 0",
        ),
        ((*HOUSES, "types"), {"size": "numbr"}, "houses.types.size: 'numbr' is unknown; did you mean 'number'"),
        ((*HOUSES, "types"), {5: "number"}, r"houses.types: expected text \(in quotes\), found 5"),
        ((*HOUSES, "drop"), "age", "houses.drop: expected a list, found 'age'"),
        ((*HOUSES, "drop"), ["price"], "price is the target"),
        ((*HOUSES, "split"), {"grup": "kind"}, "houses.split: expected 'group' or 'time', found 'grup'"),
        ((*HOUSES, "split"), {"group": "kind", "time": "age"}, "give one of group and time"),
        ((*HOUSES, "split"), {"group": 3}, "houses.split: expected text"),
        ((*HOUSES, "delimiter"), ";;", "expected one character, found ';;'"),
        ((*HOUSES, "tune"), "forrest", "datasets.houses.tune: 'forrest' is unknown; did you mean 'forest'"),
        ((*HOUSES, "models"), {"forrest": {}}, "datasets.houses.models.forrest: .* did you mean 'forest'"),
        ((*HOUSES, "models"), {"forest": 3}, "houses.models.forest: expected `name: value` lines, found 3"),
        ((*HOUSES, "file"), 3, r"datasets.houses.file: expected text \(in quotes\), found 3"),
        ((*HOUSES, "file"), "data/houses.txt", "has to lie in data/ and end with .csv or .parquet"),
        ((*HOUSES, "file"), "/data/houses.csv", "has to lie in data/"),
        ((*HOUSES, "file"), "data/../train.csv", "has to lie in data/"),
        ((*HOUSES, "file"), "data/customers.csv", "data/customers.csv is the file of customers too"),
        ((*HOUSES, "source"), "./data/houses.csv", "is the source itself"),
        (HOUSES, {"source": "x.csv", "target": "price"}, "datasets.houses.file: is missing"),
        (HOUSES, [], "datasets.houses: expected `name: value` lines, found list"),
        (("datasets", "a/b"), {}, "letters, digits"),
        (("datasets", 5), {}, r"datasets: expected text \(in quotes\), found 5"),
        (("models", "forest", "regression"), "Forest", "import path"),
        (("models", "forest", "scale"), "no", "models.forest.scale: expected a valid boolean, found 'no'"),
        (("models", "forest", "params"), {"since": yaml.safe_load("2024-01-01")}, "number or text .in quotes"),
        (("search_spaces", "forrest"), {}, "search_spaces.forrest: .* did you mean 'forest'"),
        (("gates", "house"), [], "did you mean 'houses'"),
        (("gates", "houses"), {}, "gates.houses: expected a list, found dict"),
        (("gates", "houses"), [{"metric": "r2"}], "gates.houses.0: a gate needs one of above and below"),
        (("gates", "houses"), [{"metric": "r2", "above": 0, "below": 1}], "needs one of above and below"),
        (("gates", "houses"), [{"metric": "f1", "above": 0}], "gates.houses.0.metric: 'f1' is unknown"),
        (("gates", "houses"), [{"metric": "r2", "above": 0, "current": "a"}], "goes with drifted_columns alone"),
        (("gates", "houses"), [{"metric": "r2", "above": 0, "over": "best"}], "known: naive, champion"),
        (("tuning", "trials"), 0, "tuning.trials: 0 is out of range"),
        (("tuning", "budget"), "2 min", "tuning.budget: expected a number, found '2 min'"),
        ((*HOUSES, "trials"), 0, "datasets.houses.trials: 0 is out of range; give a number of at least 1"),
        ((*HOUSES, "trials"), 1.5, "datasets.houses.trials: expected a whole number, found 1.5"),
        (FIRST, {"forrest": {"regression": [{"max_depth": 3}]}}, "first_trials.forrest: .* did you mean 'forest'"),
        (FIRST, {"forrest": {}}, "first_trials.forrest: .* did you mean 'forest'"),
        (FIRST, {"forest": [{"max_depth": 3}]}, "first_trials.forest: expected `name: value` lines, found list"),
        (FIRST, {"forest": {"regresion": []}}, "first_trials.forest.regresion: .* did you mean 'regression'"),
        (FIRST, {"forest": {"regression": {"max_depth": 3}}}, "forest.regression: expected a list, found dict"),
        (FIRST, {"forest": {"regression": [3]}}, "forest.regression.0: expected `name: value` lines, found 3"),
        (*first({"max_dpth": 3}), "forest.classification.1.max_dpth: 'max_dpth' is unknown; did you mean 'max_depth'"),
        (*first({"max_depth": 1}), r"forest.classification.1.max_depth: 1 is not in its range, \[2, 8\]"),
        (*first({"max_depth": 9}), r"max_depth: 9 is not in its range, \[2, 8\]"),
        (*first({"max_depth": 3.0}), "max_depth: 3.0 is not in its range"),
        (*first({"max_depth": "3"}), "max_depth: '3' is not in its range"),
        (*first({"max_depth": True}), "max_depth: True is not in its range"),
        (*first({"max_depth": None}), "max_depth: None is not in its range"),
        (*first({"max_depth": [3]}), r"max_depth: \[3\] is not in its range"),
        (*first({"max_features": 0.1}), "max_features: 0.1 is not in its range"),
        (*first({"max_features": float("nan")}), "max_features: nan is not in its range"),
        (*first({"C": 11}, "linear"), "linear.classification.1.C: 11 is not in its range, {'log': .0.01, 10.0.}"),
        (FIRST, {"linear": {"regression": [{"C": 1}]}}, "first_trials.linear.regression.0.C: 'C' is unknown"),
    ],
)
def test_a_mistake_is_named_with_its_key(project: Path, key: tuple[Any, ...], value: object, words: str) -> None:
    with pytest.raises(PipelineError, match=rf"^params.yaml: line \d+: .*{words}"):
        load_with(key, value)


def test_a_mistake_is_named_with_its_line(project: Path) -> None:
    text = Path("params.yaml").read_text().replace("above: 0.6", "above: high")
    Path("params.yaml").write_text(text)
    line = text.splitlines().index("    above: high") + 1
    with pytest.raises(PipelineError, match=f"line {line}: gates.customers.0.above: expected a number, found 'high'"):
        load_config()


def test_a_first_trial_out_of_range_is_named_with_its_line(project: Path) -> None:
    lines = "first_trials:\n  forest:\n    regression:\n      - {max_depth: 3}\n      - {max_depth: 99}\n"
    text = Path("params.yaml").read_text() + lines
    Path("params.yaml").write_text(text)
    words = f"line {len(text.splitlines())}: first_trials.forest.regression.1.max_depth: 99 is not in its range"
    with pytest.raises(PipelineError, match=words):
        load_config()


def test_first_trials_at_the_ends_of_their_ranges_are_taken(project: Path) -> None:
    choices = {"max_depth": {"choice": [3, None]}, "max_features": {"choice": ["sqrt", 0.5]}}
    Path("params.yaml").write_text(
        yaml.safe_dump(
            {
                **PARAMS,
                "search_spaces": {**PARAMS["search_spaces"], "forest": choices},
                "first_trials": {
                    "forest": {"regression": [{"max_depth": None}, {"max_depth": 3, "max_features": "sqrt"}]},
                    "gradient_boosting": {"classification": [{"learning_rate": 0.5}, {"learning_rate": 0.01}]},
                    "linear": {"classification": [{"C": 10}, {"C": 0.01}]},
                },
            }
        )
    )
    found = load_config().first_trials
    assert found["forest"].regression == ({"max_depth": None}, {"max_depth": 3, "max_features": "sqrt"})
    assert found["linear"].classification == ({"C": 10}, {"C": 0.01})
    assert found["linear"].regression == ()


@pytest.mark.parametrize("text", ["", "[]", "5"])
def test_a_file_without_lines_of_settings_is_refused(project: Path, text: str) -> None:
    Path("params.yaml").write_text(text)
    with pytest.raises(PipelineError, match="line 1: the file: expected `name: value` lines"):
        load_config()


def test_a_key_given_twice_is_refused_with_its_line(project: Path) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text("seed: 1\n" + text)
    with pytest.raises(PipelineError, match="line 2: key 'seed' is there twice"):
        load_config()


# what is something else in YAML 1.1: true or false, octal or base 60, text
PLAIN_WORDS = ("Yes", "no", "On", "off", "y", "N", "12:30", "1.2.10", "1e")
PLAIN_NUMBERS = {"010": 10, "0o17": 15, "1e3": 1000.0, "-1E-2": -0.01, "0x1F": 31}


@pytest.mark.parametrize("word", PLAIN_WORDS)
def test_a_plain_word_is_text_as_it_is_for_dvc(project: Path, word: str) -> None:
    text = Path("params.yaml").read_text().replace("positive: 'Yes'", f"positive: {word}")
    Path("params.yaml").write_text(text)
    assert load_config().datasets["customers"].positive == word


@pytest.mark.parametrize(("written", "value"), PLAIN_NUMBERS.items())
def test_a_plain_number_is_the_number_that_it_is_for_dvc(project: Path, written: str, value: float) -> None:
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("above: 0.6", f"above: {written}"))
    assert load_config().gates["customers"][0].above == value


def test_settings_that_dvc_has_written_are_the_same_settings(project: Path) -> None:
    for text in (Path("params.yaml").read_text(), (ROOT / "params.yaml").read_text()):
        Path("params.yaml").write_text(text)
        before = load_config()
        # as `dvc exp run -S` does
        with modify_yaml("params.yaml") as settings:
            model = next(iter(settings["models"].values()))
            depth, model["params"]["max_depth"] = model["params"]["max_depth"], 3
        assert load_config() != before
        with modify_yaml("params.yaml") as settings:
            next(iter(settings["models"].values()))["params"]["max_depth"] = depth
        assert load_config() == before


def test_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="root folder"):
        load_config(tmp_path / "params.yaml")


def numeric_settings() -> dict[tuple[str, ...], dict[str, Any]]:
    """Every setting that the schema calls a number, but those that may be any."""
    sections = {(): SCHEMA["properties"], HOUSES: SCHEMA["$defs"]["Dataset"]["properties"]}
    sections |= {(name.lower(),): SCHEMA["$defs"][name]["properties"] for name in ("Tuning", "Drift")}
    found = {}
    for section, properties in sections.items():
        for name, facts in properties.items():
            kinds = facts.get("oneOf", [facts])
            for rule in (rule for kind in kinds for rule in kind.get("anyOf", [kind])):
                if rule.get("type") in ("integer", "number") and name != "positive":
                    found[*section, name] = rule
    return found


def test_every_numeric_setting_is_taken_at_its_bounds_and_refused_beyond(project: Path) -> None:
    found = numeric_settings()
    assert len(found) == 16
    assert found[("seed",)] == found[("seed",)] | {"minimum": 0, "maximum": 2**32 - 1}
    for key, rule in found.items():
        above, below = rule.get("exclusiveMinimum"), rule.get("exclusiveMaximum")
        least = rule.get("minimum", 1e-9)
        largest = rule.get("maximum", 10**9 if below is None else below - 1e-9)
        step = 1 if rule["type"] == "integer" else 1e-9
        for value in (least, largest):
            taken: Any = load_with(key, value)
            for name in key:
                taken = taken[name] if isinstance(taken, dict) else getattr(taken, name)
            assert (key, taken) == (key, value)
        beyond = [least - step if above is None else above, below, largest + step if "maximum" in rule else None]
        for value in (value for value in beyond if value is not None):
            with pytest.raises(PipelineError, match=f"{'.'.join(key)}: {value} is out of range"):
                load_with(key, value)


def test_a_search_takes_the_largest_seed(project: Path) -> None:
    config = load_with(("seed",), 2**32 - 1)
    dataset = config.dataset("houses")
    rows = load_parts(dataset, config).train
    recipe = resolve_recipe(dataset, config, "forest")
    objective = make_objective(recipe, config.search_spaces["forest"], (), "out of bag", rows, startup_trials=1)
    trial = propose(objective, [], [], 1)
    estimator = build_estimator(recipe, objective.columns, trial.user_attrs["settings"])
    assert len(list(objective.scorer(estimator))) > 0


def test_the_schema_is_current_and_named_in_the_file() -> None:
    command = [sys.executable, "-m", "pipeline.settings"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert (ROOT / "params.schema.json").read_text() == made, "run `make docs`"
    first, *_ = (ROOT / "params.yaml").read_text().splitlines()
    assert first == "# yaml-language-server: $schema=params.schema.json"


def test_every_key_is_described_in_the_schema_and_bound_to_its_words() -> None:
    sections = [SCHEMA, *(section for name, section in SCHEMA["$defs"].items() if name != "JsonValue")]
    for section in sections:
        assert section["additionalProperties"] is False
        assert not {"name", "group", "time"} & section["properties"].keys()
        for name, facts in section["properties"].items():
            assert "\n" not in facts["description"], name
    dataset = SCHEMA["$defs"]["Dataset"]
    assert dataset["required"] == ["source", "file", "target"]
    assert dataset["properties"]["task"]["enum"] == ["regression", "binary", "multiclass"]
    assert "average_precision" in dataset["properties"]["metric"]["enum"]
    assert "date" in dataset["properties"]["types"]["additionalProperties"]["enum"]


def test_a_dataset_made_in_code_is_checked_as_one_in_the_file(project: Path) -> None:
    dataset = load_config().dataset("customers")
    assert pickle.loads(pickle.dumps(dataset)) == dataset
    assert dataclasses.asdict(dataset)["group"] == ""
    assert dataclasses.replace(dataset, group="plan").unused == {"id", "plan"}
    with pytest.raises(ValidationError, match="Input should be a valid string"):
        dataclasses.replace(dataset, target=5)
    with pytest.raises(ValidationError, match="colour"):
        Dataset(source="x.csv", file="data/x.csv", target="y", colour="red")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ([], "is of another target than left"),
        ({"target": "price"}, "is of another target than left"),
        ({"target": "left", "task": "ranking"}, "names no known task"),
        ({"target": "left"}, "names no known task"),
        ({"target": "left", "task": "binary"}, "names no positive class"),
        ({"target": "left", "task": "regression", "types": {"id": "numbr"}}, "no known task, or no types"),
        ({"target": "left", "task": "regression", "types": 5}, "no known task, or no types"),
    ],
)
def test_faulty_facts_are_refused_with_the_command_that_makes_them(project: Path, facts: object, words: str) -> None:
    entry = {key: PARAMS["datasets"]["customers"][key] for key in ("source", "file", "target")}
    Path("metrics/data").mkdir(parents=True)
    Path("metrics/data/customers.json").write_text(json.dumps(facts))
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "gates": {}, "datasets": {"customers": entry}}))
    config = load_config()
    with pytest.raises(PipelineError, match=f"{words}.*generate_data.py --dataset customers"):
        config.dataset("customers")


def test_facts_of_another_task_give_types_alone(project: Path) -> None:
    facts = {"target": "left", "task": "binary", "positive": "Yes", "evaluation": "cross_validation"}
    Path("metrics/data").mkdir(parents=True)
    Path("metrics/data/customers.json").write_text(json.dumps({**facts, "types": {"tenure": "number"}}))
    entry = {key: PARAMS["datasets"]["customers"][key] for key in ("source", "file", "target")}
    for task, expected in (
        (None, ("binary", "Yes", "cross_validation")),
        ("multiclass", ("multiclass", None, "holdout")),
    ):
        params = {**PARAMS, "gates": {}, "datasets": {"customers": entry | ({"task": task} if task else {})}}
        Path("params.yaml").write_text(yaml.safe_dump(params))
        dataset = load_config().dataset("customers")
        assert (dataset.task, dataset.positive, dataset.evaluation) == expected
        assert dataset.types == {"tenure": "number"}


def test_a_hash_of_settings_is_of_what_a_result_depends_on(project: Path) -> None:
    def digests(**changes: object) -> dict[str, str]:
        Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, **changes}))
        config = load_config()
        houses, models = config.dataset("houses"), [*PARAMS["models"]]
        found = {f"train {name}": settings_sha256(config, houses, name) for name in models}
        found |= {f"tune {name}": search_sha256(config, houses, name) for name in models}
        return found | {"drift": drift_sha256(config, houses)}

    def changed(**changes: object) -> set[str]:
        return {key for key, value in digests(**changes).items() if value != before[key]}

    before = digests()
    models, forest, houses = PARAMS["models"], PARAMS["models"]["forest"], PARAMS["datasets"]["houses"]
    customers = PARAMS["datasets"]["customers"]
    own = {"datasets": {"houses": {**houses, "models": {"forest": {"max_depth": 6}}}, "customers": customers}}
    assert changed(gates={}) == changed(models={**models, "fourth": forest}) == set()
    assert changed(seed=8) == {*before}
    assert changed(folds=4) == {*before} - {"drift"}
    deeper = {**forest, "params": {**forest["params"], "max_depth": 7}}
    assert changed(models={**models, "forest": deeper}) == {"train forest", "tune forest"}
    # of the other kind of task, and the same setting in another place
    assert changed(models={**models, "forest": {**forest, "classification_params": {"max_depth": 7}}}) == set()
    assert changed(**own) == set()
    shallow = {**forest, "params": {"n_estimators": 20, "n_jobs": 1}}
    assert changed(**own, models={**models, "forest": shallow}) == set()
    linear = {"linear": {"alpha": [0, 1]}}
    assert changed(search_spaces={**PARAMS["search_spaces"], **linear}) == {"tune linear"}
    assert changed(tuning={**PARAMS["tuning"], "trials": 9, "budget": 9}) == set()
    assert changed(tuning={**PARAMS["tuning"], "lag": 2}) == {f"tune {name}" for name in models}
