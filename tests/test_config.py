import copy
from pathlib import Path

import pytest
import yaml
from conftest import PARAMS

from pipeline.console import PipelineError
from pipeline.settings import load_config, settings_sha256


def test_defaults_are_filled_in(project: Path) -> None:
    config = load_config()
    assert config.dataset("houses").metric == "r2"
    assert config.dataset("houses").evaluation == "holdout"
    assert config.gates["customers"][0].above == 0.6


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["folds"], "five", "folds: expected a whole number"),
        (["folds"], 1, "folds: 1 is out of range"),
        (["test_size"], float("nan"), "test_size"),
        (["foldz"], 5, "did you mean 'folds'"),
        (["datasets", "houses", "taget"], "x", "did you mean 'target'"),
        (["datasets", "houses", "task"], "ranking", "'ranking' is none of"),
        (["datasets", "houses", "metric"], "f1", "datasets.houses.metric"),
        (["datasets", "houses", "tune"], "forrest", "datasets.houses.tune"),
        (["datasets", "houses", "file"], 3, "datasets.houses.file"),
        (["datasets", "a/b"], {}, "letters, digits"),
        (["models", "forest", "regression"], "Forest", "import path"),
        (["gates", "house"], [], "did you mean 'houses'"),
        (["gates", "houses"], [{"metric": "r2"}], "needs one of above and below"),
        (["tuning", "trials"], 0, "tuning.trials: 0 is out of range"),
    ],
)
def test_a_mistake_is_named_with_its_key(project: Path, path: list[str], value: object, words: str) -> None:
    params = copy.deepcopy(PARAMS)
    section = params
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    Path("params.yaml").write_text(yaml.safe_dump(params))
    with pytest.raises(PipelineError, match=words):
        load_config()


def test_a_key_given_twice_is_refused_with_its_line(project: Path) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text("seed: 1\n" + text)
    with pytest.raises(PipelineError, match="line 2: key 'seed' is there twice"):
        load_config()


def test_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="root folder"):
        load_config(tmp_path / "params.yaml")


def test_settings_hash_changes_with_models_and_not_with_gates(project: Path) -> None:
    def digest(**changes: object) -> str:
        Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, **changes}))
        config = load_config()
        return settings_sha256(config, config.dataset("houses"))

    assert digest() == digest(gates={})
    assert digest() != digest(seed=8)
