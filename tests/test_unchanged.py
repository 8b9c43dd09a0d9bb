"""What has not changed is taken from its run: a model or a search is done again only where its own facts changed."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, make_customers
from matplotlib.figure import Figure

import compare_results
import generate_data
import train
import tune_hyperparameters as tune
import validate
from pipeline.files import file_sha256
from pipeline.search import trials, winner
from pipeline.store.connect import open_store
from pipeline.store.runs import HASHES
from pipeline.training import assess as assessment

MODELS = [*PARAMS["models"]]
TRAINED = Path("metrics/train/customers.json")
TUNED = Path("metrics/tune/customers.json")
SEARCH = ["--dataset", "customers", "--n-trials", "4", "--workers", "1"]


def write(**changes: Any) -> None:
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, **changes}, sort_keys=False))


def with_setting(model: str, **params: Any) -> dict[str, Any]:
    """The models, one of them with another setting."""
    spec = PARAMS["models"][model]
    return {**PARAMS["models"], model: {**spec, "params": {**spec.get("params", {}), **params}}}


def runs_of(dataset: str) -> Counter[str]:
    client = open_store()
    experiment = client.get_experiment_by_name(dataset)
    assert experiment is not None
    return Counter(run.info.run_name for run in client.search_runs([experiment.experiment_id]))


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The models that are assessed inside, and `trial` for each trial of a search."""
    done: list[str] = []
    whole, trial = assessment.assess, trials.score_trial

    def assess(recipe: Any, *facts: Any, **further: Any) -> Any:
        done.append(recipe.model)
        return whole(recipe, *facts, **further)

    def score_trial(*facts: Any) -> Any:
        done.append("trial")
        return trial(*facts)

    with monkeypatch.context() as patch:
        for module in (assessment, winner):
            patch.setattr(module, "assess", assess)
        patch.setattr(trials, "score_trial", score_trial)
        yield done


@pytest.fixture
def trained(project: Path) -> bytes:
    """The metrics of customers, trained."""
    assert train.main(["--dataset", "customers"]) == 0
    return TRAINED.read_bytes()


def test_a_second_training_fits_nothing_and_says_so(
    trained: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree("metrics/train")
    plots = {path: path.read_bytes() for path in Path("reports").rglob("*.png")}
    shutil.rmtree("reports")
    capsys.readouterr()
    with watched(monkeypatch) as done:
        assert train.main(["--dataset", "customers"]) == 0
    assert done == []
    assert TRAINED.read_bytes() == trained
    assert {path: path.read_bytes() for path in Path("reports").rglob("*.png")} == plots
    assert len(plots) == 3 * len(MODELS)
    assert runs_of("customers") == Counter(MODELS)
    score = json.loads(trained)["models"]["forest"]["score"]["accuracy"]
    line, *_, last = capsys.readouterr().out.splitlines()
    assert line.startswith(f"customers forest (1 of 3): unchanged, accuracy {score:.4f} [")
    assert line.endswith("] taken from its run")
    assert last == f"wrote {TRAINED} and reports/customers/train/"


def test_force_fits_all_and_finds_the_same(trained: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(monkeypatch) as done:
        assert train.main(["--dataset", "customers", "--force"]) == 0
    assert done == MODELS
    assert TRAINED.read_bytes() == trained
    assert runs_of("customers") == Counter(MODELS)


def test_plots_of_other_code_come_with_force_and_stay(trained: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    plot = Path("reports/customers/train/linear/diagnostics.png")
    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, path, **options: Path(path).write_bytes(b"drawn anew"))
        for words, drawn in (([], b"blank"), (["--force"], b"drawn anew")):
            assert train.main(["--dataset", "customers", *words]) == 0
            assert plot.read_bytes() == drawn
    plot.unlink()
    with watched(monkeypatch) as done:
        assert train.main(["--dataset", "customers"]) == 0
    assert done == []
    assert plot.read_bytes() == b"drawn anew"
    assert runs_of("customers") == Counter(MODELS)


def test_a_changed_setting_fits_its_model_alone_and_back_again_none(
    trained: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = Path("reports/customers/train/gradient_boosting/diagnostics.png")
    write(models=with_setting("gradient_boosting", max_iter=12))
    with watched(monkeypatch) as done:
        assert train.main(["--dataset", "customers"]) == 0
    assert done == ["gradient_boosting"]
    assert runs_of("customers") == Counter({**dict.fromkeys(MODELS, 1), "gradient_boosting": 2})
    before, after = (json.loads(text)["models"] for text in (trained, TRAINED.read_bytes()))
    assert {name for name in MODELS if before[name] != after[name]} == {"gradient_boosting"}
    # as a picture of the other setting
    plot.write_bytes(b"other")
    write()
    with watched(monkeypatch) as done:
        assert train.main(["--dataset", "customers"]) == 0
    assert done == []
    assert TRAINED.read_bytes() == trained
    assert plot.read_bytes() == b"blank"


def test_a_fourth_model_fits_the_fourth_alone(trained: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    write(models={**PARAMS["models"], "fourth": PARAMS["models"]["linear"]})
    with watched(monkeypatch) as done:
        assert train.main(["--dataset", "customers"]) == 0
    assert done == ["fourth"]
    assert runs_of("customers") == Counter([*MODELS, "fourth"])
    assert [*json.loads(TRAINED.read_text())["models"]] == [*MODELS, "fourth"]
    # and goes with its entry
    write()
    with watched(monkeypatch) as done:
        assert train.main(["--dataset", "customers"]) == 0
    assert done == []
    assert TRAINED.read_bytes() == trained


@pytest.mark.parametrize("changed", ["seed", "data", "code", "served"])
def test_what_all_depend_on_fits_all(trained: bytes, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    if changed == "seed":
        write(seed=8)
    elif changed == "data":
        make_customers(seed=1).to_csv("data/customers.csv", index=False)
    elif changed == "code":
        monkeypatch.setattr("sklearn.__version__", "another")
    else:
        # the code that goes with a model, to read rows
        monkeypatch.setattr("pipeline.store.models.SHIPPED", ("console.py",))
    with watched(monkeypatch) as done:
        assert train.main(["--dataset", "customers"]) == 0
    assert done == MODELS


def test_an_estimator_of_own_code_is_fitted_again_where_that_changed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = project / "own_estimator.py"
    module.write_text("from sklearn.linear_model import LogisticRegression, Ridge\n\n\nclass Own(Ridge):\n    pass\n")
    monkeypatch.syspath_prepend(project)
    own = {"regression": "own_estimator.Own", "classification": "own_estimator.Own", "scale": True}
    write(models={**PARAMS["models"], "linear": own})
    for fits in (["linear"], [], ["linear"]):
        with watched(monkeypatch) as done:
            assert train.main(["--dataset", "houses", "--model", "linear"]) == 0
        assert done == fits
        if not fits:
            module.write_text(module.read_text() + "    # changed\n")
    sys.modules.pop("own_estimator")


@pytest.mark.parametrize(
    "name", ["model.pkl", "predictions.csv", "out_of_fold.csv", "feature_importance_error.json", "diagnostics.png"]
)
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_run_is_made_again(trained: bytes, monkeypatch: pytest.MonkeyPatch, name: str, damage: str) -> None:
    files = [*Path("mlruns").rglob(name)]
    assert len(files) == len(MODELS)
    damaged = files[0]
    damaged.write_bytes(damaged.read_bytes()[:-1]) if damage == "changed" else damaged.unlink()
    for fits in (1, 0):
        with watched(monkeypatch) as done:
            assert train.main(["--dataset", "customers"]) == 0
        assert len(done) == fits
        assert TRAINED.read_bytes() == trained
    assert sum(runs_of("customers").values()) == len(MODELS) + 1


def test_a_run_whose_tables_have_other_columns_is_made_again(
    trained: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As runs of an earlier version, which are whole but cannot be read."""
    client = open_store()
    path = next(iter(Path("mlruns").rglob("predictions.csv")))
    path.write_text(path.read_text().replace("predicted", "was_predicted", 1))
    run = client.get_run(path.parts[path.parts.index("artifacts", 2) - 1])
    hashes = json.loads(run.data.tags[HASHES]) | {path.name: file_sha256(path)}
    client.set_tag(run.info.run_id, HASHES, json.dumps(hashes))
    for fits in (1, 0):
        with watched(monkeypatch) as done:
            assert train.main(["--dataset", "customers"]) == 0
        assert len(done) == fits
        assert TRAINED.read_bytes() == trained


def test_a_search_is_not_repeated_where_another_model_changed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(["--dataset", "customers"]) == 0
    assert tune.main(SEARCH) == 0
    found, runs = TUNED.read_bytes(), runs_of("customers")
    table = Path("reports/customers/tuning/forest/trials.csv").read_bytes()
    more = {**with_setting("gradient_boosting", max_iter=12), "fourth": PARAMS["models"]["linear"]}
    write(models=more)
    shutil.rmtree("reports")
    TUNED.unlink()
    capsys.readouterr()
    with watched(monkeypatch) as done:
        assert tune.main(SEARCH) == 0
    assert done == []
    assert TUNED.read_bytes() == found
    assert runs_of("customers") == runs
    assert Path("reports/customers/tuning/forest/trials.csv").read_bytes() == table
    assert Path("reports/customers/tuning/forest/diagnostics.png").exists()
    out = capsys.readouterr().out
    assert "customers forest: unchanged, the winner is taken from its run" in out
    assert "a new study starts" not in out


@pytest.mark.pictures
def test_a_search_that_found_nothing_better_is_not_repeated_either(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = assessment.assess

    def worse(recipe: Any, parts: Any, overrides: Any = None, *facts: Any, **further: Any) -> Any:
        found = whole(recipe, parts, overrides, *facts, **further)
        if overrides:
            object.__setattr__(found, "pooled", replace(found.pooled, predicted=1 - found.pooled.actual))
        return found

    assert train.main(["--dataset", "customers"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(winner, "assess", worse)
        assert tune.main([*SEARCH, "--n-trials", "8"]) == 0
    found, runs = TUNED.read_bytes(), runs_of("customers")
    plot = Path("reports/customers/tuning/forest/predictions_plot.png")
    drawn = plot.read_bytes()
    model = json.loads(found)["models"]["forest"]
    assert (model["params"], model["gain"]) == ({"n_estimators": 20, "max_depth": 6}, 0)
    with watched(monkeypatch) as done:
        assert tune.main([*SEARCH, "--n-trials", "8"]) == 0
    assert done == []
    assert TUNED.read_bytes() == found
    assert runs_of("customers") == runs
    # with the name of the tuned model, not of the baseline
    assert plot.read_bytes() == drawn


def test_a_search_that_its_time_ended_is_not_gone_on_with(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tuning={**PARAMS["tuning"], "trials": 1000, "budget": 1})
    words = ["--dataset", "customers", "--workers", "1"]
    assert train.main(["--dataset", "customers"]) == 0
    assert tune.main(words) == 0
    found = TUNED.read_bytes()
    with watched(monkeypatch) as done:
        assert tune.main(words) == 0
    assert done == []
    assert TUNED.read_bytes() == found
    # who asks for more gets it
    count = sum(json.loads(found)["models"]["forest"]["trials"].values())
    with watched(monkeypatch) as done:
        assert tune.main([*words, "--n-trials", str(count + 1)]) == 0
    assert "trial" in done


def test_the_tuned_model_is_taken_from_its_run_by_training_too(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tune.main(SEARCH) == 0
    runs = runs_of("customers")
    for words, fits in (([], []), (["--force"], ["forest"])):
        with watched(monkeypatch) as done:
            assert train.main(["--dataset", "customers", "--tuned", *words]) == 0
        assert done == fits
        assert runs_of("customers") == runs


def test_gates_name_the_stale_model_alone_and_its_command_mends_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_customers().to_csv("y.csv", index=False)
    datasets = {"customers": PARAMS["datasets"]["customers"]}
    write(datasets=datasets)
    assert generate_data.main([]) == train.main([]) == tune.main(SEARCH) == compare_results.main([]) == 0
    assert validate.main([]) == 0
    write(datasets=datasets, models=with_setting("linear", C=0.1))
    capsys.readouterr()
    assert validate.main([]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL ")]
    assert len(failed) == 2
    assert "linear is stale (of other settings); run `python train.py --dataset customers --model linear`" in failed[0]
    assert "run `python compare_results.py`" in failed[1]
    assert compare_results.main([]) == 2
    assert "`python train.py --dataset customers --model linear`" in capsys.readouterr().err
    with watched(monkeypatch) as done:
        assert train.main(["--dataset", "customers", "--model", "linear"]) == 0
    assert done == ["linear"]
    assert compare_results.main([]) == validate.main([]) == 0


def test_classes_of_digits_are_read_from_their_run_as_the_words_that_they_are(project: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=240), "b": rng.normal(size=240), "grade": rng.integers(1, 4, 240)})
    table.to_csv("grades.csv", index=False)
    grades = {"source": "grades.csv", "file": "data/grades.csv", "target": "grade", "types": {"grade": "category"}}
    write(datasets={"grades": {**grades, "task": "multiclass", "metric": "accuracy"}}, gates={})
    assert generate_data.main([]) == 0
    assert train.main([]) == 0
    first = Path("metrics/train/grades.json").read_bytes()
    assert train.main([]) == 0
    assert Path("metrics/train/grades.json").read_bytes() == first


def test_a_model_that_was_deleted_is_trained_again_beside_files_of_others(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train.main(["--dataset", "customers"])
    Path("reports/customers/train/.DS_Store").touch()
    client = open_store()
    experiment = client.get_experiment_by_name("customers")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id], "tags.model_type = 'linear'")
    client.delete_logged_model(run.data.tags["model_id"])
    with watched(monkeypatch) as done:
        assert train.main(["--dataset", "customers"]) == 0
    assert done == ["linear"]
