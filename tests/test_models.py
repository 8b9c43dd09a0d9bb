import copy
import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS

from pipeline.console import PipelineError
from pipeline.settings import load_config
from pipeline.tables.split import features_and_target, load_dataset
from pipeline.training.build import build_model, resolve_recipe


@pytest.mark.parametrize("name", ["forest", "gradient_boosting", "linear"])
def test_a_model_takes_missing_values_and_unseen_categories(project: Path, name: str) -> None:
    config = load_config()
    dataset = config.dataset("customers")
    X, y = features_and_target(load_dataset(dataset), dataset)
    model = build_model(resolve_recipe(dataset, config, name), X).fit(X, y)
    odd = pd.DataFrame({"id": ["new", None], "tenure": [np.nan, 3.0], "plan": ["decade", None]})
    assert set(pickle.loads(pickle.dumps(model)).predict(odd)) <= {0, 1}


def test_identifier_columns_change_nothing(project: Path) -> None:
    config = load_config()
    dataset = config.dataset("customers")
    X, y = features_and_target(load_dataset(dataset), dataset)
    model = build_model(resolve_recipe(dataset, config, "forest"), X).fit(X, y)
    assert np.array_equal(model.predict_proba(X), model.predict_proba(X.assign(id="other")))


def test_the_factory_returns_fresh_unfitted_models(project: Path) -> None:
    config = load_config()
    dataset = config.dataset("houses")
    X, _ = features_and_target(load_dataset(dataset), dataset)
    first, second = (build_model(resolve_recipe(dataset, config, "forest"), X) for _ in range(2))
    assert first is not second
    assert first[-1].random_state == config.seed
    assert not hasattr(first[-1], "estimators_")


def test_a_fourth_model_is_one_entry(project: Path) -> None:
    params = copy.deepcopy(PARAMS)
    params["models"]["extra_trees"] = {
        "regression": "sklearn.ensemble.ExtraTreesRegressor",
        "classification": "sklearn.ensemble.ExtraTreesClassifier",
        "params": {"n_estimators": 5},
    }
    Path("params.yaml").write_text(yaml.safe_dump(params))
    import train

    assert train.main(["--dataset", "houses"]) == 0
    assert "extra_trees" in Path("metrics/train/houses.json").read_text()


def test_an_unknown_setting_is_named(project: Path) -> None:
    config = load_config()
    dataset = dataclasses.replace(config.dataset("houses"), models={"forest": {"n_tree": 3}})
    X, _ = features_and_target(load_dataset(dataset), dataset)
    with pytest.raises(PipelineError, match="RandomForestRegressor has no setting 'n_tree'"):
        build_model(resolve_recipe(dataset, config, "forest"), X)
