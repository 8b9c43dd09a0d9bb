import json
import math
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, ROOT, make_customers, make_houses

import train
import tune_hyperparameters as tune
from pipeline import intervals
from pipeline.files import hold
from pipeline.metrics import Predictions
from pipeline.search import budget, queue, winner
from pipeline.search.cost import Allowance
from pipeline.search.trials import score_trial
from pipeline.settings import load_config
from pipeline.store.connect import open_store
from pipeline.tables.split import load_parts
from pipeline.training import fit
from pipeline.training.assess import assess
from pipeline.training.build import resolve_recipe


def study_of(dataset: str) -> optuna.Study:
    storage = f"sqlite:///mlruns/optuna/{dataset}.db"
    return optuna.load_study(study_name=optuna.get_all_study_names(storage)[-1], storage=storage)


def outcome(dataset: str) -> list[tuple]:
    return [
        (trial.number, trial.state.name, trial.value, trial.intermediate_values, trial.params)
        for trial in study_of(dataset).trials
    ]


def start_again_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same project in a new folder, without a store: MLflow keeps the files of an old one open."""
    folder = Path("again").resolve()
    shutil.copytree("data", folder / "data")
    shutil.copy("params.yaml", folder)
    monkeypatch.chdir(folder)


def outcome_if_any(dataset: str) -> list[tuple]:
    return outcome(dataset) if Path(f"mlruns/optuna/{dataset}.db").exists() else []


def all_runs(dataset: str) -> list:
    client = open_store()
    return client.search_runs([found.experiment_id for found in client.search_experiments()])


def trial_runs(dataset: str) -> list:
    client = open_store()
    experiment = client.get_experiment_by_name(f"{dataset}.trials").experiment_id
    return client.search_runs([experiment], "tags.stage = 'trial'")


@pytest.mark.pictures
def test_trials_report_and_are_pruned_and_each_is_a_run(project: Path) -> None:
    assert tune.main(["--dataset", "customers", "--n-trials", "20"]) == 0
    found = json.loads(Path("metrics/tune/customers.json").read_text())["models"]["forest"]
    assert sum(found["trials"].values()) == 20
    assert found["trials"]["pruned"] > 0
    assert 0 < found["pruned_work"] < 1
    states = {"COMPLETE": "FINISHED", "PRUNED": "KILLED"}
    runs = trial_runs("customers")
    assert sorted(run.info.run_name for run in runs) == sorted(f"Trial_{n}" for n in range(1, 21))
    assert all(run.info.status == states[run.data.tags["trial_state"]] for run in runs)
    assert len({run.data.tags["mlflow.parentRunId"] for run in runs}) == 1
    # a trial's scores after each step are its learning curve, and the last one is its value
    for trial in study_of("customers").trials:
        [run] = [run for run in runs if run.info.run_name == f"Trial_{trial.number + 1}"]
        history = open_store().get_metric_history(run.info.run_id, "value")
        assert {point.step: point.value for point in history} == trial.intermediate_values
        assert run.data.metrics == {"value": trial.value or trial.intermediate_values[trial.last_step]}
    [study] = [run for run in all_runs("customers") if run.data.tags["stage"] == "study"]
    assert "in 20 trials" in study.data.tags["mlflow.note.content"]
    folder = Path("reports/customers/tuning/forest")
    for name in ("optimization_history", "param_importances", "parallel_coordinate", "slice"):
        assert (folder / f"{name}.png").stat().st_size > 5000
        assert f'id="{name}"' in (folder / "tuning.html").read_text()
    assert "Tuning of forest on customers" in (folder / "tuning.html").read_text()
    assert set(pd.read_csv(folder / "trials.csv")["state"]) == {"COMPLETE", "PRUNED"}


def test_more_trials_extend_the_study_and_nothing_is_logged_twice(project: Path) -> None:
    tune.main(["--dataset", "customers", "--n-trials", "4"])
    first = outcome("customers")
    tune.main(["--dataset", "customers", "--n-trials", "7"])
    assert outcome("customers")[:4] == first
    assert len(outcome("customers")) == 7
    assert len(trial_runs("customers")) == 7


def test_the_baseline_is_the_first_trial(project: Path) -> None:
    tune.main(["--dataset", "houses", "--model", "forest", "--n-trials", "2"])
    first = study_of("houses").trials[0]
    assert first.user_attrs["settings"] == {"n_estimators": 20, "max_depth": 6}


def test_settings_that_are_known_to_be_good_are_tried_first(project: Path) -> None:
    good = [{"max_depth": 3, "max_features": 0.25}, {"max_depth": 8}]
    # settings of another model or kind of task are none of its
    others = {"regression": [{"max_depth": 2}]}, {"classification": [{"learning_rate": 0.2}]}
    first = {"forest": {"classification": good, **others[0]}, "gradient_boosting": others[1]}
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "first_trials": first}))
    assert tune.main(["--dataset", "customers", "--n-trials", "5"]) == 0
    settings = [trial.user_attrs["settings"] for trial in study_of("customers").trials]
    assert settings[0] == {"n_estimators": 20, "max_depth": 6}
    assert [{name: found[name] for name in known} for found, known in zip(settings[1:], good, strict=False)] == good
    # what is not given is proposed
    assert 0.2 <= settings[2]["max_features"] <= 1
    table = pd.read_csv("reports/customers/tuning/forest/trials.csv")
    assert table["params_max_depth"].tolist() == [found["max_depth"] for found in settings]
    assert table["params_max_features"].tolist()[1] == 0.25


@pytest.mark.parametrize("given", [True, False])
def test_a_first_trial_of_what_the_search_finds_itself_is_told(
    project: Path, capsys: pytest.CaptureFixture[str], given: bool
) -> None:
    first = {"forest": {"classification": [{"max_depth": 3} | ({"n_estimators": 40} if given else {})]}}
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "first_trials": first}))
    assert tune.main(["--dataset", "customers", "--n-trials", "2"]) == 0
    told = "note: first_trials gives n_estimators, which the search finds by itself; it is not used"
    assert (told in capsys.readouterr().out) == given


def test_other_first_trials_are_another_search(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for depth, new in ((3, False), (4, True)):
        first = {"forest": {"classification": [{"max_depth": depth}]}}
        Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "first_trials": first}))
        assert tune.main(["--dataset", "customers", "--n-trials", "2"]) == 0
        assert ("a new study starts" in capsys.readouterr().out) == new
        assert study_of("customers").trials[1].user_attrs["settings"]["max_depth"] == depth


def test_a_search_is_bound_by_its_trials_or_else_by_time(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[int, float | None]] = []

    def watched(families, allowance, n_trials, *rest):
        left = allowance.deadline - time.monotonic()
        asked.append((n_trials, None if left == math.inf else round(left, -1)))
        return search_families(families, Allowance(), 1, *rest)

    search_families = budget.search_families
    monkeypatch.setattr(budget, "search_families", watched)
    counted = {**PARAMS["datasets"], "customers": {**PARAMS["datasets"]["customers"], "trials": 5}}
    tuning = {**PARAMS["tuning"], "budget": 90, "trials": 9}
    for datasets in (PARAMS["datasets"], counted):
        Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "datasets": datasets, "tuning": tuning}))
        for words in ([], ["--n-trials", "3"], ["--timeout", "60"], ["--n-trials", "3", "--timeout", "60"]):
            assert tune.main(["--dataset", "customers", *words]) == 0
    assert asked == [(9, 90), (3, None), (9, 60), (3, 60), (5, None), (3, None), (5, 60), (3, 60)]
    # the same search, which ends elsewhere
    assert len(optuna.get_all_study_names("sqlite:///mlruns/optuna/customers.db")) == 1
    assert "a new study starts" not in capsys.readouterr().out


@pytest.mark.parametrize("seconds", [0.0, 1000.0])
def test_without_a_terminal_the_progress_is_a_line_now_and_then(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seconds: float
) -> None:
    monkeypatch.setattr(queue, "BAR_SECONDS", seconds)
    assert tune.main(["--dataset", "customers", "--n-trials", "6", "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert "\r" not in printed
    shown = [line for line in printed.splitlines() if "/6 [" in line]
    # the beginning and the end at least
    assert len(shown) == (2 if seconds else 8)
    assert "best" in shown[-1]


def test_the_page_of_a_model_that_is_gone_goes_too(project: Path) -> None:
    former = Path("reports/customers/tuning/former")
    former.mkdir(parents=True)
    (former / "tuning.html").write_text("of a model that params.yaml has no more")
    assert tune.main(["--dataset", "customers", "--n-trials", "2"]) == 0
    assert [folder.name for folder in former.parent.iterdir()] == ["forest"]


def test_an_unknown_setting_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forest = {**PARAMS["models"]["forest"], "params": {"n_tree": 3}}
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "models": {**PARAMS["models"], "forest": forest}}))
    assert tune.main(["--dataset", "customers", "--n-trials", "2"]) == 2
    assert "models.forest: RandomForestClassifier has no setting 'n_tree'" in capsys.readouterr().err


def test_a_weighted_forest_is_searched_on_folds_not_out_of_bag(project: Path) -> None:
    # a rare class that class weights draw into every bootstrap would have no out-of-bag votes at all
    forest = {**PARAMS["models"]["forest"], "classification_params": {"class_weight": "balanced"}}
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "models": {**PARAMS["models"], "forest": forest}}))
    tune.main(["--dataset", "customers", "--n-trials", "2"])
    baseline = study_of("customers").trials[0]
    # each of three folds grows a forest of 20 trees; out of bag four parts would grow 5 each
    assert list(baseline.intermediate_values) == [6, 13, 20]


def test_the_baseline_stays_where_the_winner_is_not_ahead(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for level, stays in ((intervals.AHEAD, False), (1 - 1e-12, True)):
        monkeypatch.setattr(intervals.is_ahead, "__defaults__", (level,))
        assert tune.main(["--dataset", "customers", "--n-trials", "12"]) == 0
        found = json.loads(Path("metrics/tune/customers.json").read_text())["models"]["forest"]
        assert ("the baseline stays" in capsys.readouterr().out) == stays
        assert (found["cv"]["accuracy"] == found["baseline_cv"]) == stays
        assert found["cv"]["accuracy"] >= found["baseline_cv"]


def test_a_lead_that_luck_gives_is_not_ahead() -> None:
    rng = np.random.default_rng(0)
    actual = rng.integers(0, 2, 1000)
    baseline = Predictions(actual, np.where(rng.random(1000) < 0.8, actual, 1 - actual))
    # right where the other is wrong so many times, and wrong where it is right so many
    wrong, right = (np.flatnonzero((baseline.predicted == actual) == same) for same in (False, True))
    for gained, lost, ahead in ((30, 0, True), (30, 30, False), (30, 26, False), (30, 15, True), (0, 0, False)):
        predicted = baseline.predicted.copy()
        turned = [*wrong[:gained], *right[:lost]]
        predicted[turned] = 1 - predicted[turned]
        found = intervals.is_ahead("accuracy", Predictions(actual, predicted), baseline, 0)
        # a standard error of the number is the root of all that differ
        assert found == ahead == (gained - lost > np.sqrt(gained + lost))


def test_changed_settings_start_a_new_study_and_say_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tune.main(["--dataset", "customers", "--n-trials", "2"])
    assert "a new study starts" not in capsys.readouterr().out
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "seed": 8}))
    tune.main(["--dataset", "customers", "--n-trials", "2"])
    assert "a new study starts" in capsys.readouterr().out


@pytest.mark.parametrize("model", ["gradient_boosting", "linear"])
def test_a_fold_of_one_class_has_no_say(project: Path, model: str) -> None:
    frame = make_customers(240).assign(day=range(240))
    # of 180 training rows folds validate 45 each, the first of them these
    frame.loc[45:89, "left"] = "No"
    frame.to_csv("data/customers.csv", index=False)
    customers = {**PARAMS["datasets"]["customers"], "metric": "roc_auc", "split": {"time": "day"}}
    params = {**PARAMS, "datasets": {"customers": customers}, "tuning": {**PARAMS["tuning"], "search_rows": 180}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert tune.main(["--model", model, "--n-trials", "3"]) == 0
    first = study_of("customers").trials[0]
    assert first.state.name == "COMPLETE"
    assert list(first.intermediate_values) == [2, 3]


@pytest.mark.parametrize("model", list(PARAMS["models"]))
def test_a_column_may_have_no_value_where_a_fold_learns(project: Path, model: str) -> None:
    rng = np.random.default_rng(0)
    days = pd.date_range("2025-01-01", periods=240).astype(str)
    frame = make_customers(240).assign(day=range(240), later=rng.normal(size=240), seen=days)
    frame.loc[:120, ["later", "seen"]] = None
    frame.to_csv("data/customers.csv", index=False)
    types = {"seen": "date", "tenure": "number", "later": "number", "day": "number"}
    customers = {**PARAMS["datasets"]["customers"], "split": {"time": "day"}, "types": types}
    params = {**PARAMS, "datasets": {"customers": customers}, "tuning": {**PARAMS["tuning"], "search_rows": 180}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert train.main(["--model", model]) == 0
    assert tune.main(["--model", model, "--n-trials", "3"]) == 0
    assert all(trial.state.name != "FAIL" for trial in study_of("customers").trials)


@pytest.mark.pictures
@pytest.mark.parametrize(
    ("trials", "words"), [(1, "Too few complete trials"), (3, "complete trials differ by at most")]
)
def test_trials_that_tell_nothing_have_no_plot_of_what_matters(project: Path, trials: int, words: str) -> None:
    # every leaf holds all rows, so every trial predicts the same
    make_houses(30).to_csv("data/houses.csv", index=False)
    arguments = ["--dataset", "houses", "--model", "gradient_boosting", "--n-trials", str(trials)]
    assert tune.main(arguments) == 0
    folder = Path("reports/houses/tuning/gradient_boosting")
    page = (folder / "tuning.html").read_text()
    assert words in page
    assert (folder / "param_importances.png").stat().st_size > 0
    assert ('id="slice"' in page) == (trials > 1)


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
@pytest.mark.parametrize("model", ["forest", "gradient_boosting"])
def test_a_class_may_come_up_after_the_rows_that_a_fold_learns_from(project: Path, model: str, metric: str) -> None:
    frame = make_customers(240).assign(day=range(240), left=list("abab" * 60))
    frame.loc[100::3, "left"] = "c"
    frame.to_csv("data/customers.csv", index=False)
    customers = {"source": "y.csv", "file": "data/customers.csv", "target": "left", "task": "multiclass"}
    customers |= {"metric": metric, "split": {"time": "day"}}
    params = {**PARAMS, "gates": {}, "datasets": {"customers": customers}}
    params["tuning"] = {**PARAMS["tuning"], "search_rows": 180}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert tune.main(["--model", model, "--n-trials", "3"]) == 0
    trials = study_of("customers").trials
    assert all(trial.state.name != "FAIL" for trial in trials), [trial.user_attrs.get("reason") for trial in trials]


def test_a_search_may_use_all_rows_but_one(project: Path) -> None:
    tuning = {**PARAMS["tuning"], "search_rows": len(make_customers()) * 3 // 4 - 1}
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "tuning": tuning}))
    assert tune.main(["--dataset", "customers", "--n-trials", "1"]) == 0


def test_if_every_trial_fails_the_reason_is_given(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = {**PARAMS, "search_spaces": {"gradient_boosting": {"max_iter": [-9, -5]}}}
    params["models"] = {**PARAMS["models"], "gradient_boosting": {**PARAMS["models"]["gradient_boosting"]}}
    params["models"]["gradient_boosting"]["params"] = {"max_iter": -1}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert tune.main(["--dataset", "houses", "--n-trials", "3"]) == 2
    assert "every trial failed" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--n-trials", "0"], ["--timeout", "-1"], ["--model", "nosuch"], ["--workers", "0"]])
def test_usage_errors_exit_2(project: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        tune.main(words)
    assert stop.value.code == 2


def test_a_trial_that_fails_is_recorded_with_its_reason_and_the_search_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing_at_the_third(objective, trial, deadline):
        if trial.user_attrs["slot"] == 2:
            raise RuntimeError("the estimator gave up")
        return score_trial(objective, trial, deadline)

    monkeypatch.setattr("pipeline.search.trials.score_trial", failing_at_the_third)
    assert tune.main(["--dataset", "customers", "--n-trials", "4", "--workers", "1"]) == 0
    assert json.loads(Path("metrics/tune/customers.json").read_text())["models"]["forest"]["trials"]["failed"] == 1
    [run] = [run for run in trial_runs("customers") if run.info.status == "FAILED"]
    assert run.info.run_name == "Trial_3"
    assert run.data.tags["reason"] == "RuntimeError: the estimator gave up"


def test_the_baseline_is_taken_from_the_training_of_the_same_code(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, metrics = ["--dataset", "customers", "--n-trials", "4"], Path("metrics/tune/customers.json")
    assessed = "customers forest, baseline: fold 1 of 3 done"
    tune.main(words)
    alone = metrics.read_text()
    assert assessed in capsys.readouterr().out

    def train_and_tune() -> None:
        train.main(["--dataset", "customers", "--model", "forest"])
        capsys.readouterr()
        tune.main(words)
        assert "baseline: fold" not in capsys.readouterr().out
        assert metrics.read_text() == alone

    train_and_tune()
    monkeypatch.setattr("sklearn.__version__", "another")
    tune.main(words)
    assert assessed in capsys.readouterr().out
    # what other code finds too is that code's as well
    train_and_tune()


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--dataset", "customers", "--n-trials", "4", "--workers", "1"]
    tune.main(words)
    alone = outcome("customers")
    start_again_elsewhere(monkeypatch)

    def interrupted_at_the_third(objective, trial, deadline):
        if trial.user_attrs["slot"] == 2:
            raise KeyboardInterrupt
        return score_trial(objective, trial, deadline)

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.search.trials.score_trial", interrupted_at_the_third)
        assert tune.main(words) == 130
    assert (
        "To go on: python tune_hyperparameters.py --dataset customers --n-trials 4 --workers 1"
        in capsys.readouterr().err
    )
    assert outcome("customers") == alone[:2]
    tune.main(words)
    assert outcome("customers") == alone
    assert len(trial_runs("customers")) == 4


def test_timeout_stops_inside_a_slow_trial_which_leaves_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []

    def slow(*facts):
        for step in range(1, 11):
            time.sleep(0.2)
            steps.append(step)
            yield step, 0.5, step / 10

    monkeypatch.setattr("pipeline.search.scorers.score_forest", slow)
    # the baseline always ends, and takes 2 seconds; the trial after it is cut off
    tune.main(["--dataset", "customers", "--n-trials", "50", "--timeout", "2.5"])
    assert steps[:10] == list(range(1, 11))
    assert len(steps) < 20
    assert len(outcome("customers")) == len(trial_runs("customers")) == 1


def test_boosting_finds_its_iterations_by_early_stopping(project: Path) -> None:
    assert tune.main(["--dataset", "houses", "--model", "gradient_boosting", "--n-trials", "6"]) == 0
    complete = [trial for trial in study_of("houses").trials if trial.state.name == "COMPLETE"]
    baseline, *others = [trial.user_attrs["settings"] for trial in complete]
    assert baseline["max_iter"] == 10
    assert all(1 <= settings["max_iter"] <= 20 and settings["early_stopping"] is False for settings in others)
    assert all("max_iter" not in trial.params for trial in study_of("houses").trials)


# What a search does one after the other, and where a kill can hit it.
KILL = """
import os, signal, sys
sys.path.insert(0, {root!r})
import tune_hyperparameters as tune
from pipeline.plots import study
from pipeline.search import winner
import mlflow.sklearn, optuna

place, count = {place!r}, {count}
owner, name = {{
    "ask": (optuna.Study, "ask"),
    "report": (optuna.Trial, "report"),
    "keep": (optuna.Study, "add_trial"),
    "assess": (winner, "assess"),
    "create_run": (mlflow.MlflowClient, "create_run"),
    "log_batch": (mlflow.MlflowClient, "log_batch"),
    "set_terminated": (mlflow.MlflowClient, "set_terminated"),
    "log_model": (mlflow.sklearn, "save_model"),
    "plots": (study, "write_study_reports"),
    "metrics": (tune, "write_json"),
}}[place]
whole = getattr(owner, name)

def dying(*args, **options):
    global count
    count -= 1
    if count == 0 and {before}:
        os.kill(os.getpid(), signal.SIGKILL)
    result = whole(*args, **options)
    if count == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, name, dying)
tune.main(["--dataset", "customers", "--n-trials", "12", "--workers", "1"])
"""


@pytest.mark.slow
def test_a_kill_anywhere_loses_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--dataset", "customers", "--n-trials", "12", "--workers", "1"]
    tune.main(words)
    alone, metrics = outcome("customers"), Path("metrics/tune/customers.json").read_text()
    start_again_elsewhere(monkeypatch)
    rng = random.Random(0)
    draw = {"ask": 8, "report": 20, "keep": 8, "create_run": 10, "log_batch": 10, "set_terminated": 10}
    places = ["ask", "report", "report", "keep", "ask", "assess"]
    places += ["create_run", "log_batch", "set_terminated", "log_model", "plots", "metrics"]
    for place in places:
        # searches go on from kill to kill, so that later counts are smaller
        count = rng.randint(1, 3 if place in draw and len(outcome_if_any("customers")) else draw.get(place, 1))
        code = KILL.format(root=str(ROOT), place=place, count=count, before=rng.random() < 0.5)
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False)
        assert done.returncode == -signal.SIGKILL, place
        kept = outcome_if_any("customers")
        assert kept == alone[: len(kept)], place
    assert tune.main(words) == 0
    assert outcome("customers") == alone
    assert Path("metrics/tune/customers.json").read_text() == metrics
    runs = all_runs("customers")
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED", "FAILED"}
    names = sorted(run.info.run_name for run in runs)
    assert names == sorted([*(f"Trial_{n}" for n in range(1, 13)), "forest study", "forest_tuned"])


def test_a_search_beside_another_one_says_that_it_waits(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor() as threads:
        with hold(Path("mlruns/optuna/.customers-linear.lock"), "unexpected"):
            second = threads.submit(tune.main, ["--dataset", "customers", "--model", "linear", "--n-trials", "1"])
            deadline = time.monotonic() + 120
            printed = ""
            while "another search goes on" not in printed and time.monotonic() < deadline:
                time.sleep(0.1)
                printed += capfd.readouterr().err
            assert "customers linear: another search goes on; waiting" in printed
            assert not second.done()
        assert second.result() == 0


def test_a_cluster_shares_a_search_with_no_other_processes(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        tune.main(["--scheduler", "tcp://127.0.0.1:8786", "--workers", "2"])
    assert "goes without --workers" in capsys.readouterr().err


def test_the_winner_of_many_trials_is_the_best_of_a_few_on_all_folds(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []

    def lucky_at_first(model: Any, *facts: Any) -> Predictions:
        """What has the best value of the search is poor on all folds."""
        calls.append(model)
        found = fit.out_of_fold(model, *facts)
        return replace(found, predicted=found.predicted[::-1]) if len(calls) == 1 else found

    monkeypatch.setattr(winner, "out_of_fold", lucky_at_first)
    # a trial is scored on two of three folds
    tuning = {**PARAMS["tuning"], "validation_rows": 50}
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "tuning": tuning}))
    words = ["--dataset", "houses", "--model", "gradient_boosting", "--n-trials", "20"]
    assert tune.main(words) == 0
    assert len(calls) == 3
    first = json.loads(Path("metrics/tune/houses.json").read_text())["models"]["gradient_boosting"]
    config = load_config()
    dataset = config.dataset("houses")
    parts, recipe = load_parts(dataset, config), resolve_recipe(dataset, config, "gradient_boosting")
    complete = [trial for trial in study_of("houses").trials if trial.state.name == "COMPLETE"]
    second, third = sorted(complete, key=lambda trial: -trial.value)[1:3]
    values = {trial.value: assess(recipe, parts, trial.user_attrs["settings"]).cv["r2"] for trial in (second, third)}
    assert first["cv"]["r2"] == pytest.approx(max(values.values()), abs=1e-6)
    assert first["best_value"] == pytest.approx(max(values, key=lambda value: values[value]), abs=1e-6)
    capsys.readouterr()
    assert tune.main(words) == 0
    assert "unchanged, the winner is taken from its run" in capsys.readouterr().out
    assert json.loads(Path("metrics/tune/houses.json").read_text())["models"]["gradient_boosting"] == first
    assert len(calls) == 3
