"""Champions: registered, compared on the same rows, rolled back, and refused where a file was changed."""

import json
from pathlib import Path

import numpy as np
import pytest

import compare_results
import generate_data
import train
import validate
from pipeline import tracking


def results_of(*models: str) -> None:
    """Train the models alone, and bring the metrics up to date."""
    Path("metrics/train/customers.json").unlink(missing_ok=True)
    for model in models:
        assert train.main(["--dataset", "customers", "--model", model]) == 0
    assert compare_results.main([]) == 0


@pytest.fixture
def promoted(project: Path) -> Path:
    """Both tables taken in, and a linear model as the first champion of `customers`."""
    for source, name in (("x.csv", "houses"), ("y.csv", "customers")):
        Path(source).write_text(Path(f"data/{name}.csv").read_text())
    assert generate_data.main([]) == 0
    assert train.main(["--dataset", "houses", "--model", "linear"]) == 0
    results_of("linear")
    assert validate.main(["--dataset", "customers", "--promote"]) == 0
    return project


def champion() -> tuple[str, str]:
    found = tracking.run_with_alias(tracking.open_store(), "customers", "champion")
    assert found is not None
    return found[0], found[1].tags["model_type"]


def test_first_champion_and_nothing_new(promoted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert champion() == ("1", "linear")
    mirrored = json.loads(Path("metrics/champion/customers.json").read_text())
    trained = json.loads(Path("metrics/train/customers.json").read_text())["models"]["linear"]
    assert mirrored == {"dataset": "customers", "model": "linear", "score": trained["score"]}
    capsys.readouterr()
    assert validate.main(["--dataset", "customers", "--promote"]) == 0
    assert "linear is champion already (version 1)" in capsys.readouterr().out


@pytest.mark.parametrize("better", [True, False])
def test_a_better_model_wins_a_worse_one_challenges_and_rollback_restores(
    promoted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], better: bool
) -> None:
    from pipeline import evaluation

    results_of("gradient_boosting")
    predict = evaluation.predict
    client = tracking.open_store()
    former = tracking.run_with_alias(client, "customers", "champion")
    assert former is not None
    linear = type(former[1].load_model()[-1])

    def rigged(model, X, y, task):  # type: ignore[no-untyped-def]
        # the loser's every second answer is turned around
        found = predict(model, X, y, task)
        loses = (type(model[-1]) is linear) == better
        turned = np.where(np.arange(len(y)) % 2 == 0, 1 - y, y) if loses else y
        return evaluation.Predictions(found.actual, turned, found.score)

    monkeypatch.setattr(evaluation, "predict", rigged)
    capsys.readouterr()
    assert validate.main(["--dataset", "customers", "--promote"]) == 0
    out = capsys.readouterr().out
    assert ("is champion (version 2)" if better else "is challenger (version 2)") in out
    assert champion() == (("2", "gradient_boosting") if better else ("1", "linear"))
    if better:
        assert validate.main(["--rollback", "customers"]) == 0
        assert champion() == ("1", "linear")
        assert json.loads(Path("metrics/champion/customers.json").read_text())["model"] == "linear"
    else:
        assert validate.main(["--rollback", "customers"]) == 2


def test_a_failing_gate_is_not_promoted(promoted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("above: 0.6", "above: 0.999"))
    assert validate.main(["--dataset", "customers", "--promote"]) == 1
    assert "customers: not promoted" in capsys.readouterr().out


def test_a_changed_model_file_is_refused(promoted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in Path("mlruns").glob("**/model.pkl"):
        path.write_bytes(path.read_bytes() + b"x")
    results_of("forest")
    for path in Path("mlruns").glob("**/model.pkl"):
        path.write_bytes(path.read_bytes() + b"x")
    assert validate.main(["--dataset", "customers", "--promote"]) == 2
    assert "SHA-256 differs" in capsys.readouterr().err
