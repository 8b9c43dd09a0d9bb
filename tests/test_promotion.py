"""Champions: registered, compared on the same rows, rolled back, and refused where a file was changed."""

import html
import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, make_customers
from markdown_it import MarkdownIt
from mlflow import MlflowClient

import compare_results
import generate_data
import train
import validate
from benchmarks.promotion import Situation, moves_of
from pipeline.gates.card import CARD, card_of, write_card
from pipeline.gates.promotion import level_of
from pipeline.html import plain_markdown
from pipeline.metrics import METRICS, Predictions
from pipeline.settings import load_config
from pipeline.store.connect import open_store
from pipeline.store.registry import run_with_alias, set_champion
from pipeline.store.runs import StoredRun
from pipeline.store.source import current_commit
from pipeline.tables.split import load_parts
from pipeline.training.fit import predict


def results_of(*models: str) -> None:
    """Train the models alone, and bring the metrics up to date."""
    Path("metrics/train/customers.json").unlink(missing_ok=True)
    for model in models:
        assert train.main(["--model", model]) == 0
    assert compare_results.main([]) == 0


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with `customers` alone, its table taken in, and a linear model as its first champion."""
    folder = tmp_path_factory.mktemp("promoted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        params = {**PARAMS, "datasets": {"customers": PARAMS["datasets"]["customers"]}}
        Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        make_customers().to_csv("y.csv", index=False)
        assert generate_data.main([]) == 0
        results_of("linear")
        assert validate.main(["--promote"]) == 0
        with closing(sqlite3.connect("mlruns/db.sqlite")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder


@pytest.fixture
def promoted(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the current folder; its store knows that its files are here."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "project"
    shutil.copytree(kept, folder, ignore=shutil.ignore_patterns("*-wal", "*-shm"))
    monkeypatch.chdir(folder)
    with closing(sqlite3.connect("mlruns/db.sqlite")) as connection, connection:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
        ):
            connection.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)", [kept.as_uri(), folder.as_uri()]
            )
    return folder


def champion() -> tuple[str, str]:
    found = run_with_alias(open_store(), "customers", "champion")
    assert found is not None
    return found[0], found[1].tags["model_type"]


def test_first_champion_says_what_it_is_and_stays_without_news(
    promoted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert champion() == ("1", "linear")
    client = open_store()
    version = client.get_model_version_by_alias("customers", "champion")
    trained = json.loads(Path("metrics/train/customers.json").read_text())
    model = trained["models"]["linear"]
    assert version.tags["data_sha256"] == trained["data_sha256"]
    assert version.tags["params_sha256"] == model["params_sha256"]
    assert version.tags["git_commit"] == current_commit()
    for metric, value in model["score"].items():
        assert float(version.tags[metric]) == value
        low, high = model["interval"][metric]
        assert json.loads(version.tags[f"{metric}_interval"]) == [low, high]
        assert f"{METRICS[metric].label}: {value:.4f} [{low:.4f}, {high:.4f}]" in version.description
    for part in ("linear (LogisticRegression)", version.run_id, trained["data_sha256"], current_commit()):
        assert part in version.description
    assert client.get_run(version.run_id).data.tags["model_type"] == "linear"
    mirrored = json.loads(Path("metrics/champion/customers.json").read_text())
    assert mirrored == {"dataset": "customers", "model": "linear", "score": model["score"]}
    capsys.readouterr()
    assert validate.main(["--promote"]) == 0
    assert "linear is champion already (version 1)" in capsys.readouterr().out


def test_the_champion_has_a_card_that_a_rollback_puts_back(promoted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("reports/customers")
    first = (folder / CARD).read_text()
    _, header, body = first.split("---\n", 2)
    metadata = yaml.safe_load(header)
    trained = json.loads(Path("metrics/train/customers.json").read_text())["models"]["linear"]
    [result] = metadata["model-index"][0]["results"]
    assert {one["type"]: one["value"] for one in result["metrics"]} == trained["score"]
    assert metadata["pipeline_tag"] == result["task"]["type"] == "tabular-classification"
    low, high = trained["interval"]["accuracy"]
    for words in (
        f"{low:.4f} to {high:.4f}",
        "models:/m-",
        "PASS",
        "Classes of left: ",
        "LogisticRegression",
    ):
        assert words in body
    checks = json.loads(Path("metrics/checks.json").read_text())["customers"]["linear"]
    assert checks
    for one in checks:
        # an alarm is among the limits too
        assert body.count(plain_markdown(one["sentence"])) == (2 if one["alarm"] else 1)
    page = (folder / "model_card.html").read_text()
    assert "<h2>Intended use and limits</h2>" in page
    assert "customers/model_card.html" in Path("reports/index.html").read_text()
    shutil.rmtree(folder)
    assert validate.main(["--promote"]) == 0
    assert (folder / CARD).read_text() == first
    results_of("gradient_boosting")
    with pytest.MonkeyPatch.context() as patch:
        rig(patch, "LogisticRegression")
        assert validate.main(["--promote"]) == 0
    assert "is champion (version 2)" in capsys.readouterr().out
    assert (folder / CARD).read_text() != first
    assert validate.main(["--rollback", "customers"]) == 0
    assert (folder / CARD).read_text() == first
    # that of a version from before there were cards must not stay for another
    write_card("customers", "")
    assert not list(folder.glob("model_card*"))


NAMES = ("<img src=x>", "a|b", "*a*", "_a_", "`a`", "[a](b)", "a_b", "&amp;", "a\nb", "~~a~~", "\\")


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_they_are(name: str) -> None:
    markdown = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    page = markdown.render(f"| h |\n|---|\n| {plain_markdown(name)} |")
    [cell] = re.findall("<td>(.*)</td>", page)
    assert html.unescape(cell) == " ".join(name.split())
    assert not re.search("<(?!/?t)", cell)


def rig(monkeypatch: pytest.MonkeyPatch, loser: str, every: int = 2) -> None:
    """The model of that class gets every n-th answer wrong, the other one none."""
    whole = predict

    def rigged(model, X, y, task):  # type: ignore[no-untyped-def]
        found = whole(model, X, y, task)
        loses = type(model[-1]).__name__ == loser
        turned = np.where(np.arange(len(y)) % every == 0, 1 - y, y) if loses else y
        return Predictions(found.actual, turned, found.score)

    monkeypatch.setattr("pipeline.gates.promotion.predict", rigged)


def test_a_better_model_wins_and_a_rollback_is_not_undone(
    promoted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results_of("gradient_boosting")
    rig(monkeypatch, loser="LogisticRegression")
    capsys.readouterr()
    assert validate.main(["--promote"]) == 0
    assert "gradient_boosting is champion (version 2): accuracy +0.5000 [+0." in capsys.readouterr().out
    assert champion() == ("2", "gradient_boosting")

    assert validate.main(["--rollback", "customers"]) == 0
    assert champion() == ("1", "linear")
    assert json.loads(Path("metrics/champion/customers.json").read_text())["model"] == "linear"
    capsys.readouterr()
    assert validate.main(["--promote"]) == 0
    assert "was rolled back (version 2) and is not promoted again" in capsys.readouterr().out
    assert champion() == ("1", "linear")
    assert validate.main(["--rollback", "customers"]) == 2
    assert "no former champion" in capsys.readouterr().err


def test_a_rollback_that_was_killed_is_finished_by_the_next_call(
    promoted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def killed(*words: object) -> None:
        raise KeyboardInterrupt

    results_of("gradient_boosting")
    rig(monkeypatch, loser="LogisticRegression")
    assert validate.main(["--promote"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_tag", killed)
        with pytest.raises(KeyboardInterrupt):
            validate.main(["--rollback", "customers"])
    assert champion() == ("1", "linear")
    assert validate.main(["--rollback", "customers"]) == 0
    assert champion() == ("1", "linear")
    assert "rolled_back" not in open_store().get_model_version("customers", "1").tags
    assert "rolled_back" in open_store().get_model_version("customers", "2").tags


def test_a_worse_model_is_challenger(
    promoted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results_of("gradient_boosting")
    rig(monkeypatch, loser="HistGradientBoostingClassifier")
    capsys.readouterr()
    assert validate.main(["--promote"]) == 0
    assert "gradient_boosting is challenger (version 2): accuracy -0.5000 [-0." in capsys.readouterr().out
    assert champion() == ("1", "linear")
    challenger = run_with_alias(open_store(), "customers", "challenger")
    assert challenger is not None
    assert challenger[0] == "2"


def test_promotion_needs_the_interval_above_zero(
    promoted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results_of("gradient_boosting")
    # the champion gets one row of 60 wrong
    rig(monkeypatch, loser="LogisticRegression", every=60)
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("above: 0.6", "above: 0.1"))
    assert "is challenger (version 2): accuracy +0.0167 [-0.0" in decision(capsys)


def decision(capsys: pytest.CaptureFixture[str]) -> str:
    """What promotion says."""
    capsys.readouterr()
    assert validate.main(["--promote"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if "(version" in line]
    return line


def test_tries_on_the_same_rows_are_counted_and_charged_for(
    promoted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    levels = [level_of(number) for number in range(1, 1000)]
    assert levels[0] == 0.95
    assert 0.049 < sum((1 - level) / 2 for level in levels) <= 0.05

    def killed(*words: object) -> None:
        raise KeyboardInterrupt

    results_of("gradient_boosting")
    rig(monkeypatch, loser="HistGradientBoostingClassifier")
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.gates.promotion.paired_differences", killed)
        with pytest.raises(KeyboardInterrupt):
            validate.main(["--promote"])
    # a call that was killed, and the same version again, are one try
    for _ in range(2):
        assert "on 60 rows against version 1, try 1 on these rows, at level 95 %" in decision(capsys)
    # in the order that a column is added in, the rows stay the same
    pd.read_csv("y.csv").assign(noise=np.arange(240) % 7).to_csv("y.csv", index=False)
    assert generate_data.main([]) == 0
    results_of("gradient_boosting")
    assert "on 60 rows against version 1, try 2 on these rows, at level 98.33 %" in decision(capsys)


def test_equal_models_hardly_ever_move_the_champion() -> None:
    moves = [moves_of(Situation("r2", 200), seed) for seed in range(60)]
    assert sum(one["before"] > 0 for one in moves) > 50
    assert sum(one["after"] > 0 for one in moves) <= 5


def test_worn_out_rows_promote_nothing_until_there_are_fresh_ones(
    promoted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.gates.promotion.TRIES", 1)
    results_of("gradient_boosting")
    rig(monkeypatch, loser="HistGradientBoostingClassifier")
    assert "try 1 on these rows, at level 95 %; the rows are worn out by" in decision(capsys)
    results_of("forest")
    rig(monkeypatch, loser="LogisticRegression")
    said = decision(capsys)
    assert "forest is challenger (version 3): not compared with version 1; the rows are worn out" in said
    assert said.endswith("0 of 60 are fresh, which are too few")
    assert champion() == ("1", "linear")

    config = load_config()
    before = load_parts(config.dataset("customers"), config)
    more = make_customers(1200, seed=1).assign(id=[f"new{i}" for i in range(1200)])
    pd.concat([pd.read_csv("y.csv"), more]).to_csv("y.csv", index=False)
    assert generate_data.main([]) == 0
    results_of("forest")
    after = load_parts(config.dataset("customers"), config).test.X["id"]
    unseen = ~after.isin(before.train.X["id"])
    fresh = int((unseen & ~after.isin(before.test.X["id"])).sum())
    # the new rows are so many that the old ones among them do not count
    monkeypatch.setattr("pipeline.gates.promotion.SHARED", 0.0)
    said = decision(capsys)
    assert "forest is champion (version 4)" in said
    assert f"on {fresh} rows against version 1, try 1 on these rows" in said
    assert said.endswith(f"{fresh} of {unseen.sum()} are fresh")


def test_without_a_column_of_the_champion_it_stays(promoted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = pd.read_csv("y.csv")
    column = next(name for name in source if name not in ("id", "left"))
    source.drop(columns=column).to_csv("y.csv", index=False)
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("above: 0.6", "above: 0.1"))
    assert generate_data.main([]) == 0
    results_of("linear")
    said = decision(capsys)
    assert "is challenger (version 2): it cannot be compared, as the table lacks columns of version 1" in said


def test_a_confident_gate_over_the_champion_looks_at_the_same_rows(
    promoted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = "{metric: accuracy, above: -0.1, over: champion}"
    params = yaml.safe_load(Path("params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump({**params, "gates": {"customers": [yaml.safe_load(gate)]}}))
    results_of("gradient_boosting")
    capsys.readouterr()
    # the champion is wrong in one row of 60 where the new model is right, which says little
    rig(monkeypatch, loser="LogisticRegression", every=60)
    assert validate.main(["--confident"]) == 0
    out = capsys.readouterr().out
    assert "PASS             customers: gradient_boosting accuracy +0.0167 [-0.0" in out
    assert "over the champion's 0." in out
    # charged like the promotion that it would be, and looking is no try
    assert ", try 1 on these rows, at level 95 %, needed above -0.1" in out
    shutil.rmtree("mlruns")
    assert validate.main(["--confident"]) == 1
    assert "whose interval is not known: " in capsys.readouterr().out


@pytest.mark.parametrize("added", [False, True])
def test_rows_that_the_champion_was_trained_on_do_not_count(
    promoted: Path, capsys: pytest.CaptureFixture[str], added: bool
) -> None:
    config = load_config()
    before = load_parts(config.dataset("customers"), config)
    source = pd.read_csv("y.csv")
    more = source.tail(40).assign(id=[f"new{i}" for i in range(40)])
    table = pd.concat([source, more])
    if added:
        table.insert(1, "noise", np.arange(len(table)) % 7)
    table.to_csv("y.csv", index=False)
    assert generate_data.main([]) == 0
    results_of("linear")
    capsys.readouterr()
    assert validate.main(["--promote"]) == 0
    after = load_parts(config.dataset("customers"), config)
    seen = after.test.X["id"].isin(before.train.X["id"])
    assert seen.any()
    assert f"on {(~seen).sum()} rows against version 1" in capsys.readouterr().out


def test_out_of_fold_predictions_decide_where_a_dataset_is_judged_by_them(
    promoted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["datasets"]["customers"]["evaluation"] = "cross_validation"
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    assert generate_data.main([]) == 0
    results_of("linear")
    capsys.readouterr()
    assert validate.main(["--promote"]) == 0
    # the champion was judged on the test part, so both predict it
    out = capsys.readouterr().out
    assert "linear is challenger (version 2): accuracy +0.0000 [+0.0000, +0.0000] on 60 rows" in out
    # where the score is shown it is said that all rows are judged
    places = "reports/index.html", "reports/comparison_report.html", "reports/summary.md", "logs/validation.log"
    for text in out, *registered("2"), *(Path(place).read_text() for place in places):
        assert "no untouched rows" in text
    set_champion(open_store(), "customers", "2")
    results_of("gradient_boosting")
    capsys.readouterr()
    assert validate.main(["--promote"]) == 0
    assert "on 240 rows against version 2" in capsys.readouterr().out


def registered(version: str) -> tuple[str, str]:
    """What a version says of itself, and its card."""
    client = open_store()
    found = client.get_model_version("customers", version)
    return found.description, card_of(StoredRun(client, client.get_run(found.run_id)))


def test_what_a_threshold_brings_is_told_of_a_version(promoted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["datasets"]["customers"]["threshold"] = {"capacity": 5}
    params["gates"] = {"customers": [{"metric": "roc_auc", "above": 0.5}]}
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    assert generate_data.main([]) == 0
    results_of("linear")
    capsys.readouterr()
    assert validate.main(["--promote"]) == 0
    description, card = registered("2")
    places = "reports/index.html", "reports/comparison_report.html", "reports/summary.md"
    for text in capsys.readouterr().out, description, card, *(Path(place).read_text() for place in places):
        assert "rows that are followed up are Yes (of 60 rows" in text
        assert "capacity 5)" in text
    assert "## Threshold" in card
    assert "of other rows like these about 8.33% reach it" in card


def test_a_failing_gate_is_not_promoted(promoted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("above: 0.6", "above: 0.999"))
    assert validate.main(["--promote"]) == 1
    assert "customers: not promoted" in capsys.readouterr().out


@pytest.mark.parametrize("broken", ["champion", "candidate"])
def test_a_changed_model_file_is_not_loaded(
    promoted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    first = set(Path("mlruns").glob("**/model.pkl"))
    results_of("gradient_boosting")
    files = set(Path("mlruns").glob("**/model.pkl"))
    for path in first if broken == "champion" else files - first:
        path.write_bytes(path.read_bytes() + b"x")
    assert validate.main(["--promote"]) == 2
    err = capsys.readouterr().err
    assert "SHA-256 differs" in err
    assert ("the champion cannot be used; `python validate.py --rollback customers`" in err) == (broken == "champion")
    assert champion() == ("1", "linear")
