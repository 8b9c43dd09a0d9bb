import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.console import PipelineError
from pipeline.settings import load_config
from pipeline.tables.columns import normalise_types
from pipeline.tables.split import features_and_target, fold_indices, load_dataset, rows_of, sample_rows, split


def test_types_are_numbers_or_objects() -> None:
    frame = normalise_types(pd.DataFrame({"n": [1, 2], "b": [True, False], "s": ["x", None]}))
    assert list(frame.dtypes.astype(str)) == ["float64", "object", "object"]
    assert frame["s"][1] is None


def test_split_is_shared_stratified_and_loses_no_row(project: Path) -> None:
    config = load_config()
    dataset = config.dataset("customers")
    frame = load_dataset(dataset)
    train, test = split(frame, dataset, config)
    again, _ = split(frame, dataset, config)
    assert sorted([*train.index, *test.index]) == list(range(len(frame)))
    assert list(train.index) == list(again.index)
    share = (frame["left"] == "Yes").mean()
    assert abs((test["left"] == "Yes").mean() - share) < 0.02


def test_folds_cover_each_row_once(project: Path) -> None:
    config = load_config()
    dataset = config.dataset("customers")
    X, y = features_and_target(load_dataset(dataset), dataset)
    folds = fold_indices(X, y, dataset, config)
    assert sorted(np.concatenate([validation for _, validation in folds])) == list(range(len(y)))
    assert set(y) == {0, 1}


@pytest.mark.parametrize("limit", [150, 1000])
def test_a_search_has_folds_of_its_own(project: Path, limit: int) -> None:
    config = load_config()
    dataset = config.dataset("customers")
    rows = rows_of(load_dataset(dataset), dataset, config)
    searched = sample_rows(rows, dataset, config, limit)
    assert len(searched.y) == min(limit, len(rows.y))
    own, other = ([set(part.X.index[fold]) for _, fold in part.folds] for part in (rows, searched))
    # a fold of one is spread over all folds of the other
    assert all(mine & theirs and mine - theirs for mine in own for theirs in other)
    # a seed has only so many digits
    sample_rows(rows, dataset, dataclasses.replace(config, seed=2**32 - 1), limit)


def test_a_class_smaller_than_the_folds_is_refused(project: Path) -> None:
    config = load_config()
    with pytest.raises(PipelineError, match="2 rows of the smallest class"):
        fold_indices(pd.DataFrame(index=range(6)), np.array([1, 1, 0, 0, 0, 0]), config.dataset("customers"), config)


def test_missing_target_value_is_named_with_its_line(project: Path) -> None:
    frame = pd.read_csv("data/houses.csv")
    frame.loc[3, "price"] = None
    frame.to_csv("data/houses.csv", index=False)
    with pytest.raises(PipelineError, match="missing in line 5"):
        load_dataset(load_config().dataset("houses"))


def test_missing_table_names_its_command(project: Path) -> None:
    Path("data/houses.csv").unlink()
    with pytest.raises(PipelineError, match=r"generate_data\.py --dataset houses"):
        load_dataset(load_config().dataset("houses"))


def rows_by_group_and_time(rows: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"patient": rng.integers(0, 12, rows).astype(str), "day": rng.permutation(rows)})
    return normalise_types(frame.assign(y=np.where(rng.random(rows) < 0.4, "Yes", "No"), x=rng.normal(size=rows)))


@pytest.mark.parametrize("task", ["regression", "binary"])
def test_no_group_is_on_both_sides_of_the_split_or_of_a_fold(project: Path, task: str) -> None:
    config = load_config()
    target = "x" if task == "regression" else "y"
    dataset = dataclasses.replace(
        config.dataset("customers"), task=task, target=target, group="patient", positive="Yes"
    )
    frame = rows_by_group_and_time()
    train, test = split(frame, dataset, config)
    assert sorted([*train.index, *test.index]) == list(range(len(frame)))
    assert not set(train["patient"]) & set(test["patient"])
    X, y = features_and_target(train, dataset)
    for fitted, validated in fold_indices(X, y, dataset, config):
        assert not set(X["patient"].iloc[fitted]) & set(X["patient"].iloc[validated])
    assert "patient" in dataset.unused


def test_with_time_every_part_follows_what_it_is_learned_from(project: Path) -> None:
    config = load_config()
    dataset = dataclasses.replace(config.dataset("customers"), target="y", time="day", positive="Yes")
    train, test = split(rows_by_group_and_time(), dataset, config)
    assert train["day"].max() < test["day"].min()
    X, y = features_and_target(train, dataset)
    for fitted, validated in fold_indices(X, y, dataset, config):
        assert X["day"].iloc[fitted].max() < X["day"].iloc[validated].min()


def test_a_split_column_that_is_absent_or_has_gaps_is_named(project: Path) -> None:
    config = load_config()
    frame = rows_by_group_and_time()
    dataset = dataclasses.replace(config.dataset("customers"), target="y", group="pateint")
    with pytest.raises(PipelineError, match="did you mean 'patient'"):
        split(frame, dataset, config)
    frame.loc[3, "patient"] = None
    with pytest.raises(PipelineError, match="patient has missing values"):
        split(frame, dataclasses.replace(dataset, group="patient"), config)


def test_classes_of_numbers_are_the_same_in_every_part(project: Path) -> None:
    config = load_config()
    frame = normalise_types(pd.DataFrame({"left": [1.0, 2.0, 1.5], "x": [1.0, 2.0, 3.0]}))
    dataset = dataclasses.replace(config.dataset("customers"), task="multiclass", positive=None)
    halves = dataclasses.replace(dataset, classes=("1", "1.5", "2"))
    whole = dataclasses.replace(dataset, classes=("1", "2"))
    assert features_and_target(frame, dataset)[1].tolist() == ["1", "2", "1.5"]
    assert features_and_target(frame[:2], halves)[1].tolist() == ["1", "2"]
    assert features_and_target(frame[:2], whole)[1].tolist() == [1, 2]


def test_rows_of_one_time_stay_on_one_side(project: Path) -> None:
    config = load_config()
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"day": np.repeat(np.arange(12.0), 10), "x": rng.normal(size=120), "y": ["a", "b"] * 60})
    dataset = dataclasses.replace(config.dataset("customers"), target="y", time="day", positive="a")
    train, test = split(normalise_types(frame), dataset, config)
    assert not set(train["day"]) & set(test["day"])
    shifted = normalise_types(frame.assign(day=np.repeat(np.arange(8.0), 15)))
    train, test = split(shifted, dataset, dataclasses.replace(config, test_size=0.3))
    assert not set(train["day"]) & set(test["day"])
    X, y = features_and_target(shifted, dataset)
    for fitted, validated in fold_indices(X, y, dataset, config):
        assert X["day"].iloc[fitted].max() < X["day"].iloc[validated].min()
    with pytest.raises(PipelineError, match="too few different times in day for 3 folds"):
        fold_indices(X.assign(day=np.repeat([0.0, 1.0], 60)), y, dataset, config)
    with pytest.raises(PipelineError, match="holds no dates and no numbers"):
        split(frame.assign(day=frame["y"]), dataset, config)
