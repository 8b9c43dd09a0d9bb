import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, ROOT

import tune_hyperparameters as tune
from pipeline import tracking


def study_of(dataset: str) -> optuna.Study:
    storage = f"sqlite:///mlruns/optuna/{dataset}.db"
    return optuna.load_study(study_name=optuna.get_all_study_names(storage)[-1], storage=storage)


def outcome(dataset: str) -> list[tuple]:
    return [
        (trial.user_attrs["position"], trial.state.name, trial.value, tuple(sorted(trial.params.items())))
        for trial in tune.finished_trials(study_of(dataset))
    ]


def trial_runs(dataset: str) -> list:
    client = tracking.open_store()
    experiment = client.get_experiment_by_name(dataset).experiment_id
    return client.search_runs([experiment], "tags.stage = 'trial'")


def test_trials_report_and_are_pruned_and_each_is_a_run(project: Path) -> None:
    assert tune.main(["--dataset", "customers", "--n-trials", "20"]) == 0
    found = json.loads(Path("metrics/tune/customers.json").read_text())["models"]["forest"]
    assert sum(found["trials"].values()) == 20
    assert found["trials"]["pruned"] > 0
    states = {"COMPLETE": "FINISHED", "PRUNED": "KILLED"}
    runs = trial_runs("customers")
    assert sorted(run.info.run_name for run in runs) == sorted(f"Trial_{n}" for n in range(1, 21))
    assert all(run.info.status == states[run.data.tags["trial_state"]] for run in runs)
    assert len({run.data.tags["mlflow.parentRunId"] for run in runs}) == 1
    folder = Path("reports/customers/tuning/forest")
    for name in ("optimization_history", "param_importances", "parallel_coordinate", "slice"):
        assert (folder / f"{name}.png").stat().st_size > 5000
        assert "Plotly.newPlot" in (folder / f"{name}.html").read_text()
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
    first = tune.finished_trials(study_of("houses"))[0]
    assert first.user_attrs["settings"] == {"n_estimators": 20, "max_depth": 6}


def test_a_weighted_forest_is_searched_on_folds_not_out_of_bag(project: Path) -> None:
    # a rare class that class weights draw into every bootstrap would have no out-of-bag votes at all
    forest = {**PARAMS["models"]["forest"], "classification_params": {"class_weight": "balanced"}}
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "models": {**PARAMS["models"], "forest": forest}}))
    tune.main(["--dataset", "customers", "--n-trials", "2"])
    assert (
        max(max(trial.intermediate_values) for trial in tune.finished_trials(study_of("customers"))) == PARAMS["folds"]
    )


def test_the_baseline_stays_where_the_winner_is_no_better(project: Path) -> None:
    assert tune.main(["--dataset", "customers", "--n-trials", "12"]) == 0
    found = json.loads(Path("metrics/tune/customers.json").read_text())["models"]["forest"]
    assert found["cv"]["accuracy"] >= found["baseline_cv"]


def test_changed_settings_start_a_new_study_and_say_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tune.main(["--dataset", "customers", "--n-trials", "2"])
    assert "a new study starts" not in capsys.readouterr().out
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "seed": 8}))
    tune.main(["--dataset", "customers", "--n-trials", "2"])
    assert "a new study starts" in capsys.readouterr().out


def test_if_every_trial_fails_the_reason_is_given(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = {**PARAMS, "search_spaces": {"gradient_boosting": {"max_iter": [-9, -5]}}}
    params["models"] = {**PARAMS["models"], "gradient_boosting": {**PARAMS["models"]["gradient_boosting"]}}
    params["models"]["gradient_boosting"]["params"] = {"max_iter": -1}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert tune.main(["--dataset", "houses", "--n-trials", "3"]) == 2
    assert "every trial failed" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--n-trials", "0"], ["--timeout", "-1"], ["--model", "nosuch"]])
def test_usage_errors_exit_2(project: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        tune.main(words)
    assert stop.value.code == 2


@pytest.mark.slow
def test_a_search_killed_many_times_ends_as_one_left_alone(project: Path) -> None:
    command = [sys.executable, str(ROOT / "tune_hyperparameters.py"), "--dataset", "customers", "--n-trials", "25"]
    database = Path("mlruns/optuna/customers.db")
    kills = 0
    for delay in (0.1, 0.3, 0.6, 0.9, 0.2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not database.exists() and process.poll() is None:
            time.sleep(0.05)
        time.sleep(delay)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 3
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0
    resumed, metrics = outcome("customers"), Path("metrics/tune/customers.json").read_text()
    runs = trial_runs("customers")
    assert len(runs) == len({run.info.run_name for run in runs}) == 25
    database.unlink()
    tune.main(["--dataset", "customers", "--n-trials", "25"])
    assert outcome("customers") == resumed
    assert Path("metrics/tune/customers.json").read_text() == metrics
