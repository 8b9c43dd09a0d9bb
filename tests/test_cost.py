"""How long it takes to score winners, and what is scored in the seconds that there are."""

import math
import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from simulated import Simulated
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from pipeline.search import cost
from pipeline.search.cost import Allowance, Bounds, within
from pipeline.search.trials import OutOfTimeError
from pipeline.training import build


def test_a_winner_beside_the_best_is_the_best_that_its_share_of_the_time_is_enough_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cost, "seconds_to_score", lambda family, parts, trial: (0.0, trial.user_attrs["seconds"]))
    family: Any = Simulated("a", 1.0, 0.5)
    for slot, (value, seconds, state) in enumerate(
        [
            (0.5, 4.0, "COMPLETE"),
            (0.7, 9.0, "COMPLETE"),
            (0.6, 2.0, "COMPLETE"),
            (0.9, 50.0, "COMPLETE"),
            (0.8, 1.0, "PRUNED"),
        ]
    ):
        facts = {"slot": slot, "seconds": seconds, "settings": {}}
        kept = optuna.trial.create_trial(value=value, user_attrs=facts, state=optuna.trial.TrialState[state])
        family.kept.add_trial(kept)
    parts: Any = SimpleNamespace(train=SimpleNamespace(y=range(100)))
    found = [cost.to_score(family, family.kept, parts, Bounds(seconds, 20.0)) for seconds in (1.0, 5.0, 10.0, math.inf)]
    assert [([one.trial.value for one in picked], seconds) for picked, seconds in found] == [
        ([], 0.0),
        ([0.6], 2.0),
        ([0.7], 9.0),
        ([0.9], 50.0),
    ]
    # where none is scored in its share, the best one is where there is time
    [best], seconds = cost.to_score(family, family.kept, parts, Bounds(1.0, 50.0))
    assert (best.trial.value, seconds) == (0.9, 50.0)


@pytest.mark.parametrize(
    ("trials", "seconds", "way", "seen", "values"),
    [
        # values that few trials were chosen by are believed, as are those of all rows
        (4, math.inf, "folds", 40, [3]),
        (50, math.inf, "folds", 100, [49]),
        (50, math.inf, "out of bag", 40, [49]),
        # one more for each five, up to three
        (5, math.inf, "folds", 40, [4, 3]),
        (10, math.inf, "folds", 40, [9, 8, 7]),
        (50, math.inf, "folds", 40, [49, 48, 47]),
        # each further one takes the folds alone
        (50, 10.0, "folds", 40, [49]),
        (50, 13.0, "folds", 40, [49, 48]),
        (50, 9.0, "folds", 40, []),
    ],
)
def test_the_best_of_many_trials_on_a_part_of_the_rows_are_compared_on_all(
    monkeypatch: pytest.MonkeyPatch, trials: int, seconds: float, way: str, seen: int, values: list[int]
) -> None:
    monkeypatch.setattr(cost, "seconds_to_score", lambda family, parts, trial: (3.0, 7.0))
    rows = SimpleNamespace(folds=[((), range(seen // 2))] * 2, y=range(100))
    family: Any = Simulated("a", 1.0, 0.5, way=way, rows=rows)
    for slot in range(trials):
        family.kept.add_trial(optuna.trial.create_trial(value=slot, user_attrs={"slot": slot, "settings": {}}))
    parts: Any = SimpleNamespace(train=SimpleNamespace(y=range(100)))
    found, total = cost.to_score(family, family.kept, parts, Bounds(seconds))
    assert [one.trial.value for one in found] == values
    assert total == (3.0 * len(values) + 7.0 if values else 0.0)


@pytest.mark.parametrize(("of_seconds", "compared"), [(None, 3), (60.0, 3), (59.0, 2), (29.0, 1)])
def test_comparing_takes_a_tenth_of_the_time_at_most(
    monkeypatch: pytest.MonkeyPatch, of_seconds: float | None, compared: int
) -> None:
    monkeypatch.setattr(cost, "seconds_to_score", lambda family, parts, trial: (3.0, 7.0))
    family: Any = Simulated("a", 1.0, 0.5, rows=SimpleNamespace(folds=[((), range(20))] * 2))
    for slot in range(30):
        family.kept.add_trial(optuna.trial.create_trial(value=slot, user_attrs={"slot": slot, "settings": {}}))
    parts: Any = SimpleNamespace(train=SimpleNamespace(y=range(100)))
    found, total = cost.to_score(family, family.kept, parts, Bounds(100.0, comparing=Allowance(of_seconds).comparing))
    assert (len(found), total) == (compared, 7.0 + 3.0 * compared)


@pytest.mark.parametrize(
    ("spare", "seconds", "times"),
    [(0.0, 100.0, 1.0), (3.0, 100.0, 1.5), (60.0, 100.0, 4.0), (60.0, 13.0, 1.5), (60.0, 10.0, 1.0)],
)
def test_a_winner_learns_more_slowly_where_there_is_time(
    monkeypatch: pytest.MonkeyPatch, spare: float, seconds: float, times: float
) -> None:
    # fits of 6 s, and 4 s to log them
    monkeypatch.setattr(cost, "seconds_to_score", lambda family, parts, trial: (3.0, 7.0))
    monkeypatch.setattr(cost, "seconds_to_log", lambda parts: 4.0)
    space, way = ["n_estimators", "learning_rate", "depth"], "early stopping of a library"
    family: Any = Simulated("a", 1.0, 0.5, space=space, way=way)
    settings = {"n_estimators": 400, "learning_rate": 0.12345678, "depth": 5}
    family.kept.add_trial(optuna.trial.create_trial(value=0.5, user_attrs={"slot": 0, "settings": settings}))
    parts: Any = SimpleNamespace(train=SimpleNamespace(y=range(100)))
    [found], total = cost.to_score(family, family.kept, parts, Bounds(seconds, slower=spare))
    rate = 0.12345678 if times == 1 else round(0.12345678 / times, 6)
    assert found.settings == settings | {"n_estimators": 400 * times, "learning_rate": rate}
    assert (total, found.is_slower, found.is_cut) == (4.0 + 6.0 * times, times > 1, False)
    # one without a rate stays as it is, in no more time; so do all of a family whose rate is not searched for
    family.kept.add_trial(optuna.trial.create_trial(value=0.6, user_attrs={"slot": 1, "settings": {"n_estimators": 9}}))
    [found], total = cost.to_score(family, family.kept, parts, Bounds(seconds, slower=spare))
    assert (found.settings, total) == ({"n_estimators": 9}, 10.0)
    other: Any = Simulated("b", 1.0, 0.5, space=["n_estimators", "depth"], way=way)
    assert not cost.can_be_slower(other, [cost.Candidate(family.kept.trials[0], settings)])


def test_none_but_the_next_best_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    family: Any = Simulated("a", 1.0, 0.5, rows=SimpleNamespace(folds=[((), range(20))] * 2))
    for slot in range(30):
        family.kept.add_trial(optuna.trial.create_trial(value=slot, user_attrs={"slot": slot, "settings": {}}))
    parts: Any = SimpleNamespace(train=SimpleNamespace(y=range(100)))
    # the two after the best take long, all others no time
    monkeypatch.setattr(cost, "seconds_to_score", lambda family, parts, trial: (9.0 * (trial.value in (28, 27)), 5.0))
    found, total = cost.to_score(family, family.kept, parts, Bounds(10.0))
    assert ([one.trial.value for one in found], total) == ([29], 5.0)


def test_work_that_would_not_end_in_time_is_given_up() -> None:
    told: list[int] = []
    progress = within(time.monotonic() + 1000, lambda step, done, fits: told.append(done))
    for number in range(7):
        progress("", number, 6)
    assert told == [*range(7)]
    late = within(time.monotonic() - 1, lambda step, done, fits: None)
    late("", 1, 6)
    with pytest.raises(OutOfTimeError):
        late("", 2, 6)


def test_wide_tables_have_more_time_to_log_and_an_ensemble_a_fifth_at_most() -> None:
    def parts(columns: int) -> Any:
        rows = SimpleNamespace(X=pd.DataFrame(np.zeros((2, columns))), y=np.zeros(2))
        return SimpleNamespace(train=rows, test=rows)

    assert cost.seconds_to_log(parts(70)) > 1.5 * cost.seconds_to_log(parts(10))
    assert cost.seconds_of_ensemble(parts(10), 1000.0) == 2.5 * cost.seconds_to_log(parts(10))
    assert cost.seconds_of_ensemble(parts(70), 20.0) == 4.0


def test_more_members_of_an_ensemble_take_longer() -> None:
    assert [Allowance(for_ensemble=10.0).for_members(members) for members in (1, 2, 3, 5)] == [10.0, 10.0, 10.5, 11.5]
    # it predicts with each of them, and logs them, once more
    assert [Allowance(for_ensemble=10.0, logged=11.0).for_members(members) for members in (2, 5)] == [11.0, 11.5]
    assert Allowance(for_ensemble=0.0, logged=11.0).for_members(5) == 0.0


@pytest.mark.parametrize(
    ("forest", "as_many_rows"),
    # 63 % of 800 rows in place of 1 - exp(-1/2) of them; all of them as before
    [(RandomForestRegressor, (1 - math.exp(-1)) / (1 - math.exp(-0.5))), (ExtraTreesRegressor, 1.0)],
)
def test_a_forest_takes_as_long_as_the_different_rows_of_its_trees(forest: Any, as_many_rows: float) -> None:
    recipe = build.Recipe(
        "forest", forest, {"n_estimators": 80}, False, "regression", "r2", 0.5, {}, {}, frozenset(), 0
    )
    rows = SimpleNamespace(y=np.zeros(1000), X=pd.DataFrame({"x": np.zeros(1000)}))
    rows.folds = [(np.arange(800), np.arange(800, 1000))] * 5
    family: Any = SimpleNamespace(way="grown on folds", recipe=recipe, rows=rows)
    parts: Any = SimpleNamespace(train=rows, test=rows, whole=None)
    trial: Any = SimpleNamespace(duration=timedelta(seconds=3), user_attrs={"settings": {}})
    # five folds and a last fit, for which two are counted; a trial grows as many trees in all
    expected = 3 * 5 * as_many_rows, 3 * 2 * as_many_rows + cost.seconds_to_log(parts)
    assert cost.seconds_to_score(family, parts, trial) == pytest.approx(expected)


@pytest.mark.parametrize(("slot", "share"), [(0, 1.0), (1, 100 / 140)])
def test_a_winner_has_no_iterations_past_the_best_one(slot: int, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "cpu_count", lambda: 2)
    rows = SimpleNamespace(y=np.zeros(1000), X=pd.DataFrame({"x": np.zeros(1000)}))
    rows.folds = [(np.arange(800), np.arange(800, 1000))] * 5
    searched = SimpleNamespace(y=rows.y, folds=rows.folds[-2:])
    family: Any = SimpleNamespace(way="early stopping of a library", rows=searched, seconds_to_prepare=0.5, first=())
    parts: Any = SimpleNamespace(train=rows, test=rows, whole=None)
    facts = {"slot": slot, "settings": {"n_estimators": 100}, "seconds_a_row": 1e-3}
    trial: Any = SimpleNamespace(duration=timedelta(seconds=7), user_attrs=facts)
    # five folds and a last fit, two at a time
    fits, log = 3 * (7 * share + 0.5), cost.seconds_to_log(parts)
    # the rows of both parts, and those with a column shuffled three times, on two cores
    expected = fits, log + 1e-3 * (2 * 1000 + 4 * 1000) / 2
    assert cost.seconds_to_score(family, parts, trial) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("seconds", "iterations", "takes"), [(31.0, 400, 30.0), (20.0, 252, 20.0), (13.0, None, None), (15.0, None, None)]
)
def test_a_winner_has_as_many_iterations_as_there_is_time_for(
    monkeypatch: pytest.MonkeyPatch, seconds: float, iterations: int | None, takes: float | None
) -> None:
    # 27 s of fits, and 3 s to log it
    monkeypatch.setattr(cost, "seconds_to_score", lambda family, parts, trial: (20.0, 10.0))
    monkeypatch.setattr(cost, "seconds_to_log", lambda parts: 3.0)
    family: Any = Simulated("a", 1.0, 0.5, way="early stopping of a library")
    settings = {"n_estimators": 400, "depth": 5}
    family.kept.add_trial(optuna.trial.create_trial(value=0.5, user_attrs={"slot": 0, "settings": settings}))
    parts: Any = SimpleNamespace(train=SimpleNamespace(y=range(100)))
    found, total = cost.to_score(family, family.kept, parts, Bounds(seconds, seconds))
    if iterations is None:
        assert found == []
    else:
        assert [one.settings for one in found] == [{"n_estimators": iterations, "depth": 5}]
        assert total == takes
    # what the trial found stays
    assert family.kept.trials[0].user_attrs["settings"] == settings


@pytest.mark.parametrize(
    ("place", "for_ensemble", "most"),
    [(0, True, 40.0), (1, True, 40.0), (2, True, 20.0), (5, True, 20.0), (0, False, math.inf), (1, False, 40.0)],
)
def test_a_winner_has_a_share_of_the_time(place: int, for_ensemble: bool, most: float) -> None:
    kept = 5.0 if for_ensemble else None
    assert Allowance(100.0, 0.0, kept).most_of_winner(place) == most
    assert Allowance(for_ensemble=kept).most_of_winner(place) == math.inf
