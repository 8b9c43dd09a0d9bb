"""A budget of seconds over several families: where it goes, that it is kept, and what is told of it."""

import json
import math
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import yaml
from conftest import PARAMS, take_in
from simulated import Simulated
from sklearn.linear_model import Ridge

import train
import tune_hyperparameters as tune
from pipeline.search import budget, cost, trials, winner
from pipeline.search.budget import Spent, curve_words, halvings, search_families
from pipeline.search.cost import Allowance, Bounds, Candidate
from pipeline.search.scorers import Steps
from pipeline.search.trials import OutOfTimeError
from pipeline.settings import load_config
from pipeline.tables.split import load_parts
from pipeline.training import build
from pipeline.training.assess import assess


@pytest.fixture
def simulate(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a search over simulated families, and returns what was spent and the clock's end."""

    def run(
        families: list[Simulated],
        seconds: float,
        scoring: Any = lambda family: 0.0,
        for_ensemble: float | None = None,
        of_seconds: float | None = None,
    ) -> tuple[Spent, float]:
        clock, by_study = [0.0], {family.kept.study_name: family for family in families}
        monkeypatch.setattr(time, "monotonic", lambda: clock[0])
        monkeypatch.setattr(cost, "seconds_to_score", lambda family, parts, trial: (0.0, scoring(family)))
        monkeypatch.setattr(cost, "trials_to_score", lambda family, parts: (family.in_trials, 0.0))
        monkeypatch.setattr(cost, "seconds_of", lambda trial: trial.user_attrs["seconds"])

        def run_trials(kept: optuna.Study, objective: Any, n_trials: int, left: float | None, *rest: Any) -> None:
            family = by_study[kept.study_name]
            while len(kept.trials) < n_trials:
                if left is not None and family.seconds > left:
                    clock[0] += max(min(left, family.gives_up), 0)
                    return
                clock[0] += family.seconds
                facts = {"slot": len(kept.trials), "seconds": family.seconds, "settings": {}}
                value = family.value + family.gain * len(kept.trials)
                if 0 < len(kept.trials) <= len(family.first):
                    value = family.first[len(kept.trials) - 1]
                kept.add_trial(optuna.trial.create_trial(value=value, user_attrs=facts))

        monkeypatch.setattr(budget.queue, "run_trials", run_trials)
        rows: Any = SimpleNamespace(train=SimpleNamespace(y=range(100)))
        allowance = Allowance(of_seconds, seconds, for_ensemble)
        spent = search_families(families, allowance, 1000, 4, rows, 1)  # type: ignore[arg-type]
        return spent, clock[0]

    return run


@pytest.mark.parametrize(("families", "left"), [(1, [1]), (2, [1]), (3, [2, 1]), (5, [3, 2, 1]), (7, [4, 2, 1])])
def test_half_of_the_families_go_on(families: int, left: list[int]) -> None:
    assert halvings(families) == left


def test_the_best_family_gets_most_and_the_worst_its_first_trial(simulate: Any) -> None:
    families = [Simulated(name, 1.0, value) for name, value in (("a", 0.1), ("b", 0.9), ("c", 0.5), ("d", 0.8))]
    spent, end = simulate(families, 100.0)
    assert 98 <= end <= 100
    assert spent.seconds["b"] > 2 * spent.seconds["d"] > 20
    assert (spent.seconds["a"], spent.seconds["c"]) == (1, 1)
    assert spent.curve[-1][2] == "b"
    values = [value for _, value, _ in spent.curve]
    assert values == sorted(values)


def test_a_family_is_judged_by_settings_that_are_known_to_be_good(simulate: Any) -> None:
    poor = Simulated("poor at first", 1.0, 0.1, first=[0.95])
    others = [Simulated(name, 1.0, value) for name, value in (("b", 0.9), ("c", 0.8), ("d", 0.7))]
    spent, _ = simulate([poor, *others], 100.0)
    assert spent.curve[-1][2] == "poor at first"
    assert len(poor.kept.trials) > 2
    assert len(others[-1].kept.trials) == 1


@pytest.mark.parametrize(("in_trials", "tried"), [(2.0, True), (2.4, False)])
def test_a_first_trial_leaves_the_time_to_score_it(simulate: Any, in_trials: float, tried: bool) -> None:
    # 95 s are left for a trial of 30 s, and twice as long to score it
    families = [Simulated("a", 4.0, 0.5), Simulated("b", 1.0, 0.4), Simulated("c", 30.0, 0.6, in_trials=in_trials)]
    simulate(families, 100.0)
    assert bool(families[2].kept.trials) == tried


@pytest.mark.parametrize(("seconds", "begun"), [(20.0, 3), (40.0, 2), (60.0, 1)])
def test_a_family_without_time_to_be_scored_is_not_begun(
    simulate: Any, seconds: float, begun: int, capsys: pytest.CaptureFixture[str]
) -> None:
    families = [Simulated("a", seconds, 0.5), Simulated("b", 1.0, 0.6), Simulated("c", 1.0, 0.6)]
    simulate(families, 100.0, lambda family: 80.0)
    assert [bool(family.kept.trials) for family in families] == [place < begun for place in range(3)]
    out = capsys.readouterr().out
    left_out = [name for name in "abc" if f"table {name}: left out, there is no time" in out]
    assert left_out == [family.model for family in families[begun:]]


# the simulated table has 100 rows
@pytest.mark.parametrize(("many", "begun"), [(101, ["a", "b", "c", "d"]), (100, ["b", "d", "a", "c"])])
def test_with_many_rows_large_trees_are_begun_first(
    simulate: Any, monkeypatch: pytest.MonkeyPatch, many: int, begun: list[str]
) -> None:
    monkeypatch.setattr(budget, "MANY_ROWS", many)
    spent, _ = simulate([Simulated(name, 1.0, 0.5, large=name in "bd") for name in "abcd"], 100.0)
    assert [*spent.seconds] == begun


def test_slow_families_are_left_out(simulate: Any, capsys: pytest.CaptureFixture[str]) -> None:
    families = [Simulated("known", 2.0, 0.6), Simulated("slow", 1000.0, 0.99), Simulated("plain", 1.0, 0.5)]
    spent, end = simulate(families, 60.0)
    assert end <= 60
    assert {name for name, seconds in spent.seconds.items() if seconds} >= {"known"}
    assert not families[1].kept.trials
    assert "table slow: left out, there is no time for a trial of it" in capsys.readouterr().out


def test_the_first_trial_of_all_ends_however_long_it_takes(simulate: Any) -> None:
    families = [Simulated("a", 50.0, 0.5), Simulated("b", 1.0, 0.6)]
    simulate(families, 10.0)
    assert [len(family.kept.trials) for family in families] == [1, 0]


@pytest.mark.parametrize(("scoring", "search"), [(5.0, 95.0), (40.0, 60.0), (90.0, 15.0)])
def test_winners_have_their_time(simulate: Any, scoring: float, search: float) -> None:
    families = [Simulated("a", 0.5, 0.5), Simulated("b", 0.5, 0.6)]
    _, end = simulate(families, 100.0, lambda family: scoring)
    assert end == pytest.approx(search, abs=1.5)


def test_a_family_with_few_settings_is_searched_for_few_trials(simulate: Any) -> None:
    families = [Simulated("a", 0.1, 0.6, space=["alpha"]), Simulated("b", 0.1, 0.5)]
    simulate(families, 100.0)
    assert len(families[0].kept.trials) == budget.TRIALS_OF_SETTING
    assert len(families[1].kept.trials) > 500


@pytest.mark.parametrize(("most", "search"), [(None, 55.0), (76.0, 55.0), (74.0, 90.0)])
def test_time_is_kept_for_another_winner_within_its_bound(simulate: Any, most: Any, search: float) -> None:
    families = [Simulated("a", 0.5, 0.6), Simulated("b", 0.5, 0.5)]
    _, end = simulate(families, 100.0, lambda family: 10.0 if family.model == "a" else 30.0, 5.0, most)
    assert end == pytest.approx(search, abs=1.5)


@pytest.mark.parametrize(("scoring", "search"), [(8.0, 100 - 4 * 8 - 5), (22.0, 100 - 2 * 22 - 5)])
def test_time_is_kept_for_further_winners_that_are_not_far_behind(simulate: Any, scoring: float, search: float) -> None:
    values = (("a", 0.9), ("b", 0.89), ("c", 0.88), ("d", 0.87), ("far too poor", 0.7))
    # also while trials go on to bring more
    families = [Simulated(name, 0.5, value, gain=1e-4) for name, value in values]
    _, end = simulate(families, 100.0, lambda family: scoring, 5.0, 100.0)
    assert end == pytest.approx(search, abs=1.5)


def test_a_winner_has_the_bound_of_its_place_also_where_one_before_it_is_left_out(simulate: Any) -> None:
    seconds = {"a": 10.0, "b": 25.0, "c": 13.0}
    families = [Simulated(name, 0.5, value, gain=0.0) for name, value in (("a", 0.9), ("b", 0.89), ("c", 0.88))]
    # four tenths of 60 s are too short for b, two tenths for c
    _, end = simulate(families, 100.0, lambda family: seconds[family.model], 5.0, 60.0)
    assert end == pytest.approx(90.0, abs=1.5)


def test_where_a_winner_has_not_enough_time_the_next_one_is_kept_some(simulate: Any) -> None:
    families = [Simulated(name, 0.5, value) for name, value in (("a", 0.9), ("b", 0.8), ("c", 0.7), ("d", 0.6))]
    _, end = simulate(families, 100.0, lambda family: 1000.0 if family.model == "b" else 10.0)
    assert end == pytest.approx(80.0, abs=1.5)


def test_a_family_whose_trials_have_no_time_leaves_it_to_the_others(
    simulate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a trial that cannot end is found out at once
    slow = Simulated("slow", 1.0, 0.9, gives_up=1.0)
    families = [slow, Simulated("a", 1.0, 0.8), Simulated("b", 1.0, 0.7)]
    was = budget.has_time

    def then_slow(family: Any, until: float) -> bool:
        if family.model == "slow" and len(family.kept.trials) == 2:
            family.seconds = 1000.0
        return was(family, until)

    monkeypatch.setattr(budget, "has_time", then_slow)
    spent, end = simulate(families, 100.0)
    assert end > 95
    assert spent.seconds["a"] > 50 > 10 > spent.seconds["slow"]


@pytest.mark.parametrize(("left", "ends"), [(100.0, True), (5.0, False)])
def test_a_trial_that_cannot_end_in_time_is_dropped_at_its_first_step(
    left: float, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, steps = [0.0], list[int]()

    def scorer(estimator: Any) -> Steps:
        for number in range(1, 6):
            clock[0] += 4.0
            steps.append(number)
            yield number, 0.5, number / 5

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(trials, "cpu_count", lambda: 2)
    recipe = build.Recipe("model", Ridge, {}, False, "regression", "r2", 0.5, {}, {}, frozenset(), 0)
    objective = trials.Objective(recipe, {}, [], "folds", {"numbers": [], "categories": []}, scorer, 10, 0.0)
    found = trials.run_trial(objective, [], trials.propose(objective, [], [], 0), left)
    assert (found is not None, len(steps)) == (ends, 5 if ends else 1)


def test_a_winner_that_takes_longer_to_score_ends_the_search(simulate: Any, capsys: pytest.CaptureFixture[str]) -> None:
    families = [Simulated("a", 1.0, 0.5), Simulated("b", 1.0, 0.6)]
    _, end = simulate(families, 100.0, lambda family: 5.0 * len(family.kept.trials))
    assert end <= 60
    # a line a trial, not one a look at the clock
    assert len(capsys.readouterr().out.splitlines()) == sum(len(family.kept.trials) for family in families)


@pytest.mark.parametrize(("scoring", "latest"), [(20.0, 100 - 3 * 20 - 10), (40.0, 100 - 40)])
def test_time_is_kept_for_an_ensemble_of_several_winners_alone(simulate: Any, scoring: float, latest: float) -> None:
    families = [Simulated("a", 1.0, 0.58), Simulated("b", 1.0, 0.6), Simulated("c", 1.0, 0.57)]
    _, end = simulate(families, 100.0, lambda family: scoring, 10.0)
    assert latest - 1 <= end <= latest


def test_what_half_the_time_brought_is_told() -> None:
    spent = Spent(curve=[(10.0, 0.80, "a"), (40.0, 0.83, "b"), (90.0, 0.835, "b"), (100.0, 0.835, "b")], total=100.0)
    assert curve_words(spent, "r2") == (
        "best R² of the search: 0.8000 after 25 s, 0.8300 after 50 s, 0.8350 after 100 s; the second half brought "
        "+0.0050, as long again may bring as much"
    )


def settings(**changes: Any) -> None:
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, **changes}, sort_keys=False))


def found(name: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(Path(f"metrics/tune/{name}.json").read_text())
    return facts


def test_a_budget_goes_to_all_families_and_each_search_can_be_found_again(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    assert tune.main(["--dataset", "houses", "--timeout", "15"]) == 0
    took, printed, first = time.monotonic() - started, capsys.readouterr().out, found("houses")
    # generous: the machine may be busy
    assert took < 40
    # linear regression has nothing to tune
    assert {*first["models"]} <= {"forest", "gradient_boosting"}
    seconds = [when for when, *_ in first["curve"]]
    assert seconds == sorted(seconds)
    assert first["curve"][-1][1] == max(value for _, value, _ in first["curve"])
    told = r"the time was up; `python tune_hyperparameters.py (.*)` (?:finds the same|scores its settings at)"
    commands = re.findall(told, printed)
    # the others had as many trials as are tried at most
    whole = [name for name, facts in first["models"].items() if sum(facts["trials"].values()) == 8]
    assert len(commands) == len(first["models"]) - len(whole)
    for command in [*commands, *(f"--dataset houses --model {name} --n-trials 8" for name in whole)]:
        assert tune.main(command.split()) == 0
    again = found("houses")["models"]
    for name, facts in first["models"].items():
        slower = facts["params"].get("learning_rate") != again[name]["params"].get("learning_rate")
        same = ("best_value", "trials") if slower else ("params", "best_value", "trials", "cv", "score")
        assert {key: again[name][key] for key in same} == {key: facts[key] for key in same}, name


def test_a_winner_of_other_settings_than_the_best_says_how_these_are_scored(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cheap = dict[str, optuna.trial.FrozenTrial]()

    def worst_trial(family: Any, study: optuna.Study, parts: Any, bounds: Bounds) -> Any:
        if bounds.seconds == math.inf:
            return [Candidate(study.best_trial, study.best_trial.user_attrs["settings"])], 0.1
        cheap[family.model] = cost.best_first(family, study)[-1]
        return [Candidate(cheap[family.model], cheap[family.model].user_attrs["settings"])], 0.1

    monkeypatch.setattr(cost, "to_score", worst_trial)
    assert tune.main(["--dataset", "houses", "--model", "gradient_boosting", "--n-trials", "8"]) == 0
    capsys.readouterr()
    assert tune.main(["--dataset", "houses", "--timeout", "15"]) == 0
    printed, models = capsys.readouterr().out, found("houses")["models"]
    best = max(models, key=lambda name: models[name]["best_value"])
    [other] = {*models} - {best}
    assert models[other]["params"] == cheap[other].user_attrs["settings"]
    assert models[other]["best_value"] == round(cheap[other].value or 0.0, 6)
    [(value, command)] = re.findall(
        r"settings, of (.*), take longer; `python tune_hyperparameters.py (.*)` sc", printed
    )
    assert tune.main(command.split()) == 0
    again = found("houses")["models"][other]
    assert f"{again['best_value']:.4f}" == value
    assert again["best_value"] > models[other]["best_value"]


def test_a_budget_of_params_is_spent_once(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings(tuning={**PARAMS["tuning"], "budget": 4})
    assert train.main(["--dataset", "houses"]) == 0
    assert tune.main(["--dataset", "houses"]) == 0
    first = found("houses")
    # train.py has logged the baselines, which winners are compared with
    assert all("difference_interval" in facts for facts in first["models"].values())
    capsys.readouterr()

    def searched(*facts: Any) -> None:
        raise AssertionError("the search goes on")

    monkeypatch.setattr(budget, "search_families", searched)
    assert tune.main(["--dataset", "houses"]) == 0
    assert "unchanged, the winner is taken from its run" in capsys.readouterr().out
    again = found("houses")
    # a winner that there was no time for is scored now
    assert first["models"].items() <= again["models"].items()
    assert again["curve"] == first["curve"]


def test_a_slower_winner_stays_as_slow_as_it_was_scored(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings(tuning={**PARAMS["tuning"], "budget": 20})
    to_score = cost.to_score

    def in_spare_time(spare: float) -> dict[str, Any]:
        bounds = Bounds(1e9, slower=spare)
        monkeypatch.setattr(cost, "to_score", lambda *facts: (to_score(*facts[:3], bounds)[0], 0.1))
        assert tune.main(["--dataset", "houses"]) == 0
        return found("houses")["models"]["gradient_boosting"]

    slower = in_spare_time(1e9)
    capsys.readouterr()
    assert in_spare_time(0.0) == slower
    assert "houses gradient_boosting: unchanged, the winner is taken from its run" in capsys.readouterr().out
    monkeypatch.setattr(cost, "to_score", to_score)
    assert tune.main(["--dataset", "houses", "--model", "gradient_boosting", "--n-trials", "8"]) == 0
    of_trial = found("houses")["models"]["gradient_boosting"]
    assert slower["params"]["learning_rate"] == round(of_trial["params"]["learning_rate"] / 4, 6)
    assert slower["params"]["max_iter"] == 4 * of_trial["params"]["max_iter"]
    assert slower["best_value"] == of_trial["best_value"]


def test_next_to_no_time_gives_one_winner(project: Path) -> None:
    assert tune.main(["--dataset", "houses", "--timeout", "0.001"]) == 0
    [facts] = found("houses")["models"].values()
    assert sum(facts["trials"].values()) == 1


def test_a_family_that_fails_or_is_not_installed_is_left_out(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = {"regression": "sklearn.linear_model.Ridge", "classification": "sklearn.linear_model.Ridge"}
    absent = {"regression": "nowhere.Regressor", "classification": "nowhere.Classifier"}
    models = {**PARAMS["models"], "broken": {**broken, "params": {"solver": "none of them"}}, "absent": absent}
    spaces = {"alpha": {"log": [0.1, 10.0]}}
    settings(models=models, search_spaces={**PARAMS["search_spaces"], "broken": spaces, "absent": spaces})
    assert tune.main(["--dataset", "houses", "--timeout", "6"]) == 0
    assert {*found("houses")["models"]} <= {"forest", "gradient_boosting"}
    assert "houses: note: absent is left out, as nowhere is not installed" in capsys.readouterr().out


def test_a_model_much_like_another_one_is_left_out(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forest = PARAMS["models"]["forest"]
    settings(models={**PARAMS["models"], "forest": {**forest, "instead_of": "gradient_boosting"}})
    config = load_config()
    assert tune.families_of(config.dataset("houses"), config) == ["forest"]
    assert "houses: note: gradient_boosting is left out for one much like it" in capsys.readouterr().out
    settings(models={**PARAMS["models"], "forest": {**forest, "instead_of": "boosting"}})
    assert tune.main(["--dataset", "houses"]) == 2
    assert "models.forest.instead_of: 'boosting' is unknown" in capsys.readouterr().err
    settings(models={**PARAMS["models"], "forest": {**forest, "instead_of": "forest"}})
    assert tune.main(["--dataset", "houses"]) == 2
    assert "models.forest.instead_of: stands for a model that stands for one" in capsys.readouterr().err


def test_search_and_ensemble_share_the_time_of_all_tables(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take_in()
    started = time.monotonic()
    assert tune.main(["--timeout", "20", "--ensemble"]) == 0
    # generous: the machine may be busy
    assert time.monotonic() - started < 50
    printed = capsys.readouterr().out
    for name in PARAMS["datasets"]:
        assert f"{name} ensemble: " in printed
        assert Path(f"metrics/ensemble/{name}.json").exists()


def test_each_winner_knows_what_logging_those_before_took(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_in()
    seen, bounds, log = list[float](), cost.bounds_of_winner, winner.log_winner

    def remembered(order: Any, place: int, parts: Any, allowance: Allowance, scored: int, pace: float) -> Any:
        seen.append(allowance.logged)
        return bounds(order, place, parts, allowance, scored, pace)

    def slow(*arguments: Any) -> Any:
        time.sleep(0.5)
        return log(*arguments)

    monkeypatch.setattr(cost, "bounds_of_winner", remembered)
    monkeypatch.setattr(winner, "log_winner", slow)
    assert tune.main(["--dataset", "houses", "--timeout", "30", "--ensemble"]) == 0
    assert seen[0] == 0.0
    assert seen[1] >= 0.5


def test_settings_that_many_trials_led_to_are_compared_on_all_folds(project: Path) -> None:
    take_in()
    config = load_config()
    dataset = config.dataset("houses")
    parts, recipe = load_parts(dataset, config), build.resolve_recipe(dataset, config, "gradient_boosting")
    poor, good, middling = candidates = [{"max_iter": 1}, {"max_iter": 60}, {"max_iter": 5}]
    alone = {number: assess(recipe, parts, settings).cv["r2"] for number, settings in enumerate(candidates)}
    assert alone[1] > alone[2] > alone[0]
    told: list[tuple[int, int]] = []
    place, best = winner.score_best(
        recipe, parts, candidates, lambda step, done, fits: told.append((done, fits)), "houses"
    )
    assert (place, best.params["max_iter"], best.cv["r2"]) == (1, 60, alone[1])
    # each counted as if it were the last, with the fit of the best one on all rows
    assert told == [
        *((k, 4) for k in range(1, 4)),
        *((k, 7) for k in range(4, 7)),
        *((k, 10) for k in range(7, 10)),
        (10, 10),
    ]

    def until_the_third(step: str, done: int, fits: int) -> None:
        if fits == 10:
            raise OutOfTimeError

    assert winner.score_best(recipe, parts, [poor, middling, good], until_the_third, "houses")[0] == 1

    def never(step: str, done: int, fits: int) -> None:
        raise OutOfTimeError

    with pytest.raises(OutOfTimeError):
        winner.score_best(recipe, parts, candidates, never, "houses")
