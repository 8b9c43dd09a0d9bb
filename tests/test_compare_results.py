import csv
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, ROOT, make_customers, make_houses, take_in

import compare_results
import generate_data
import train
import tune_hyperparameters
from pipeline.comparison.collect import paired_tests
from pipeline.comparison.entries import Comparison, Entry
from pipeline.comparison.figures import PLOTS, Plot, dataset_plots, score_bars
from pipeline.comparison.page import comparison_page, summary_markdown
from pipeline.comparison.summary import comparison_csv, overall_words, summarise
from pipeline.comparison.words import advice, decision_title, tuning_words
from pipeline.gates.overview import Standing
from pipeline.metrics import METRICS, Metric, Predictions, Weighted, metric_value, metrics_of
from pipeline.store.connect import open_store
from pipeline.worth import decision_words

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which every stage up to the comparison has run, on tables with a hostile column name."""
    folder = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        Path("params.yaml").write_text(yaml.safe_dump(PARAMS, sort_keys=False))
        take_in(make_houses().rename(columns={"size": EVIL}))
        assert train.main([]) == 0
        assert tune_hyperparameters.main(["--model", "forest", "--n-trials", "4"]) == 0
        assert compare_results.main([]) == 0
    return folder


def test_results_are_datasets_models_metrics_and_plain_numbers(compared: Path) -> None:
    found = json.loads((compared / "metrics/comparison_results.json").read_text())
    assert set(found) == {"houses", "customers"}
    assert set(found["houses"]) == {"forest", "forest_tuned", "gradient_boosting", "linear"}
    assert set(found["houses"]["linear"]) == {*metrics_of("regression")}
    assert set(found["customers"]["linear"]) == {*metrics_of("binary")}
    trained = json.loads((compared / "metrics/train/houses.json").read_text())["models"]["linear"]["score"]
    assert found["houses"]["linear"] == pytest.approx(trained, abs=1e-5)


def test_summary_tells_best_gain_and_best_overall(compared: Path) -> None:
    summary = json.loads((compared / "metrics/summary.json").read_text())
    results = json.loads((compared / "metrics/comparison_results.json").read_text())
    tuned = json.loads((compared / "metrics/tune/houses.json").read_text())["models"]["forest"]
    houses = summary["datasets"]["houses"]
    assert houses["gain_of_tuning"]["forest"] == pytest.approx(tuned["gain"], abs=1e-5)
    assert houses["value"] == results["houses"][houses["best_model"]]["r2"]
    assert houses["interval"][0] <= houses["value"] <= houses["interval"][1]
    assert summary["best_overall"]["model"] in PARAMS["models"]


def test_page_needs_no_network_and_escapes_names_from_data(compared: Path) -> None:
    page = (compared / "reports/comparison_report.html").read_text()
    without_script = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(
        r"(?:src|href)=\"(?!#|http://127\.0\.0\.1:5000|data:|index\.html|houses/|customers/)", without_script
    )
    assert EVIL not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in without_script
    assert page.count('role="img"') >= 10
    assert "<th scope=" in page


def test_a_run_that_cannot_be_used_is_named_with_its_command(
    compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shutil.copytree(compared, tmp_path / "project"))
    for lost in Path("mlruns").rglob("feature_importance_error.json"):
        lost.unlink()
    assert compare_results.main([]) == 2
    [error] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    for command in (
        "train.py --dataset houses --model linear",
        "tune_hyperparameters.py --dataset customers --model forest",
    ):
        assert f"cannot be used; make it with `python {command}` (" in error


def test_without_the_table_of_a_dataset_its_checks_are_kept(
    compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shutil.copytree(compared, tmp_path / "project"))
    known = Path("metrics/checks.json").read_text()
    Path("data/houses.csv").unlink()
    assert compare_results.main([]) == 0
    assert "note: data/houses.csv is not there" in capsys.readouterr().err
    assert Path("metrics/checks.json").read_text() == known
    Path("metrics/checks.json").unlink()
    assert compare_results.main([]) == 0
    found = json.loads(Path("metrics/checks.json").read_text())
    assert not any(found["houses"].values())
    assert all(found["customers"].values())


def test_csv_and_markdown(compared: Path) -> None:
    rows = list(csv.DictReader((compared / "reports/comparison.csv").open()))
    assert len(rows) == 4 * len(metrics_of("regression")) + 4 * len(metrics_of("binary"))
    assert all(float(row["low"]) <= float(row["high"]) for row in rows)
    summary = (compared / "reports/summary.md").read_text()
    # every model of each dataset, as a table and as a chart that GitHub draws
    results = json.loads((compared / "metrics/comparison_results.json").read_text())
    for name, metric in (("houses", "r2"), ("customers", "accuracy")):
        section = summary.partition(f"<summary>{name}: every model")[2].partition("</details>")[0]
        scores = {model: f"{metrics[metric]:.4f}" for model, metrics in results[name].items()}
        assert dict(re.findall(r"^\| (\w+) \| (-?[\d.]+) \[", section, re.M)) == scores
        assert f"    bar [{', '.join(scores.values())}]\n```" in section
        assert "Loss of score when a column is shuffled" in section
    assert "| houses |" in summary
    # what is no more than chance is not called a gain
    for dataset in ("houses", "customers"):
        tuned = json.loads((compared / f"metrics/tune/{dataset}.json").read_text())["models"]["forest"]
        low, high = tuned["difference_interval"]
        [line] = [line for line in summary.splitlines() if line.startswith(f"| {dataset} |")]
        assert ("no difference shown" in line) == (low <= 0 <= high)
        assert (f"{tuned['gain']:+.2%}" in line) == (not low <= 0 <= high)


def test_the_page_says_when_and_from_what_it_was_made_and_how_to_open_a_run(compared: Path) -> None:
    page = (compared / "reports/comparison_report.html").read_text()
    assert re.search(r"gates <b>(PASS|FAIL): ", page)
    assert re.search(r"Made on \d{4}-\d\d-\d\d \d\d:\d\d.*, with seed 7, 3 folds, 25% of the rows to test on", page)
    assert page.count("--backend-store-uri") == 1
    assert "--backend-store-uri sqlite:///mlruns/db.sqlite</code>" in page


def test_every_plot_of_dvc_finds_its_columns_and_template(compared: Path) -> None:
    tables = {path.name: pd.read_csv(path) for path in (compared / "reports/plots").iterdir()}
    columns = set()
    for entry in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]:
        [(name, plot)] = entry.items()
        assert (ROOT / f".dvc/plots/{plot['template']}.json").exists()
        for axis in ("x", "y"):
            [(file, column)] = plot[axis].items() if isinstance(plot[axis], dict) else [(name, plot[axis])]
            assert column in tables[Path(file).name], (name, column)
            columns.add((Path(file).name, column))
    unused = {"dataset", "model"}
    assert columns == {(name, column) for name, table in tables.items() for column in set(table) - unused}
    assert all(len(table) > 1 and table.notna().all(axis=None) for table in tables.values())
    assert set(tables["roc.csv"]["dataset"]) == {"customers"}
    assert set(tables["roc.csv"]["model"]) == {"forest", "forest_tuned", "gradient_boosting", "linear"}
    best = tables["tuning.csv"].query("dataset == 'houses'")["best"]
    assert len(best) == 4
    assert best.is_monotonic_increasing
    predicted = tables["predicted.csv"]
    assert np.allclose(predicted["actual"] - predicted["predicted"], predicted["residual"], atol=1e-2)


def test_several_stores_and_a_moved_one(compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(compared, moved)
    monkeypatch.chdir(moved)
    shutil.move("mlruns", "elsewhere")
    uri = f"sqlite:///{moved}/elsewhere/db.sqlite"
    before = Path("metrics/comparison_results.json").read_text()
    original = compared.rename(tmp_path / "away")
    try:
        assert compare_results.main(["--tracking-uri", uri, "--tracking-uri", uri]) == 0
    finally:
        original.rename(compared)
    assert Path("metrics/comparison_results.json").read_text() == before


def test_each_store_of_parallel_jobs_has_one_dataset(
    compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uris = []
    for kept, dropped in (("houses", "customers"), ("customers", "houses")):
        shutil.copytree(compared / "mlruns", tmp_path / kept)
        uris.append(f"sqlite:///{tmp_path / kept}/db.sqlite")
        client = open_store(uris[-1])
        for name in (dropped, f"{dropped}.trials"):
            client.delete_experiment(client.get_experiment_by_name(name).experiment_id)
    monkeypatch.chdir(compared)
    before = Path("metrics/comparison_results.json").read_text()
    assert compare_results.main(["--tracking-uri", uris[0], "--tracking-uri", uris[1]]) == 0
    assert Path("metrics/comparison_results.json").read_text() == before
    assert compare_results.main(["--tracking-uri", uris[0]]) == 2
    assert "python train.py --dataset customers --model forest" in capsys.readouterr().err
    assert Path("metrics/comparison_results.json").read_text() == before


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("metrics/data/houses.json", "python generate_data.py --dataset houses"),
        ("metrics/train/houses.json", "python train.py --dataset houses"),
        ("mlruns", "python train.py"),
    ],
)
def test_missing_input_exits_2_with_the_command(
    compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    path: str, command: str,
) -> None:  # fmt: skip
    copy = tmp_path / "copy"
    shutil.copytree(compared, copy)
    monkeypatch.chdir(copy)
    shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink()
    assert compare_results.main([]) == 2
    [error] = [line for line in capsys.readouterr().err.splitlines() if "addresses are mended" not in line]
    assert command in error


def test_a_missing_run_is_named(
    compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(compared, copy)
    monkeypatch.chdir(copy)
    client = open_store()
    for name in ("houses", "customers"):
        for run in client.search_runs([client.get_experiment_by_name(name).experiment_id]):
            if run.info.run_name in ("linear", "forest_tuned"):
                client.delete_run(run.info.run_id)
    capsys.readouterr()
    assert compare_results.main([]) == 2
    [error] = capsys.readouterr().err.splitlines()
    scripts = {"train.py": "linear", "tune_hyperparameters.py": "forest"}
    missing = [f"`python {s} --dataset {d} --model {m}`" for d in ("houses", "customers") for s, m in scripts.items()]
    assert re.findall("`[^`]*`", error) == missing


def entry(name: str, right: int, seconds: float, gain: tuple[float, float] | None = None) -> Entry:
    actual = np.arange(400) % 2
    predicted = np.where(np.arange(400) < right, actual, 1 - actual)
    score = np.where(predicted == 1, 0.9, 0.1)
    predictions = Predictions(actual, predicted, score)
    metrics = {metric: metric_value(metric, predictions) for metric in metrics_of("binary")}
    intervals = {metric: (value - 0.02, value + 0.02) for metric, value in metrics.items()}
    cv = right / 400
    return Entry(name, "E", metrics, intervals, cv, seconds, 9, "r", "0", "s", predictions, {"a": 0.1}, gain)


def comparison(entries: Sequence[Entry], chosen: str, **facts: Any) -> Comparison:
    metric = facts.get("metric", "accuracy")
    known = {"dataset": "d", "task": "binary", "metric": metric, "evaluation": "holdout", "rows": 400, "target": "y"}
    known |= {"classes": ("no", "yes"), "synthetic": False}
    known |= {"ceiling": None, "naive": 0.5, "studies": {}, "drift": None, "links": {}}
    known["standing"] = Standing("d", chosen, "0.8", "", "not tested", "", ())
    tests = paired_tests(entries, chosen, metric, 0)
    return Comparison(**known | {"entries": tuple(entries), "chosen": chosen, "tests": tests} | facts)


def test_paired_tests_and_advice_follow_the_numbers() -> None:
    entries = [entry("good", 360, 9.0), entry("same", 359, 1.0), entry("bad", 250, 1.0)]
    found = comparison(entries, "good", ceiling=0.91)
    assert (found.tests["same"].words, found.tests["bad"].words) == ("no difference shown", "better")
    words = " ".join(advice(found))
    assert "No difference to same is shown, which fits 9 times faster" in words
    assert "lies within its interval" in words
    drift = {"drift": True, "retrain": True, "verdict": "V", "recommendation": "R"}
    words = " ".join(advice(comparison(entries, "good", ceiling=0.99, drift=drift)))
    assert "0.0900 [0.0700, 0.1100] are left" in words
    assert words.endswith("V R")
    found = comparison(entries, "bad")
    assert found.tests["good"].words == "worse"
    assert "good does better on the judged rows, by 0." in " ".join(advice(found))


COST = {
    "cost": 410.2,
    "per_rows": 1000,
    "interval": [300, 12345.6],
    "others": {
        "half": {"cost": 700.0, "saved": 289.8, "saved_interval": [100.0, 400.0]},
        "nobody": {"cost": 500.0, "saved": 89.8, "saved_interval": [-100.0, 400.0]},
        "everybody": {"cost": 300.0, "saved": -110.2, "saved_interval": [-400.0, -100.0]},
    },
}
HITS = {"capacity": 50, "rows": 2400, "positives": 640, "followed": 53, "hits": 40, "interval": [30.2, 49.9]}
HITS |= {"others": {"half": {"hits": 300, "followed": 1200}, "random": {"hits": 14.1333, "followed": 53}}}


def test_what_the_labels_of_the_chosen_model_are_worth_is_said() -> None:
    assert decision_words(COST, "Yes") == (
        "At its threshold wrong predictions cost 410.2 [300, 12,346] per 1,000 rows; at 0.5 700 (more), nobody "
        "followed up 500 (no difference shown), everybody followed up 300 (less)."
    )
    entries = [replace(entry("good", 360, 1.0), decision=HITS), entry("bad", 250, 1.0)]
    good = comparison(entries, "good", classes=("No", "Yes"))
    assert (
        "At its threshold 40 [30, 50] of 53 rows that are followed up are Yes (of 2,400 rows, 640 of them Yes; "
        "capacity 50); at 0.5 300 of 1,200, as many at random 14.13 of 53." in advice(good)
    )
    assert decision_title(good).endswith("of 2,400 rows 640 are, and 50 can be followed up")
    assert "threshold" not in " ".join(advice(comparison(entries, "bad", classes=("No", "Yes"))))


@pytest.mark.parametrize(("found", "told"), [(COST, "410.2 [300, 12,346]"), (HITS, "40 [30, 50] of 53")])
def test_what_the_labels_of_every_model_are_worth_is_a_table_of_the_page(found: dict[str, Any], told: str) -> None:
    entries = [replace(entry(name, 360, 1.0), decision=found) for name in ("good", "bad")]
    c = comparison(entries, "good", classes=("No", "Yes"), evaluation="cross_validation")
    page = comparison_page([c], "", "")
    assert page.count(f'<td class="number">{told} (no untouched rows)</td>') == 2
    best = summarise([c])
    assert told in summary_markdown([c], best).replace("\\", "")
    assert best["datasets"]["d"]["decision"] == found


def test_a_score_of_all_rows_says_so_wherever_it_is_shown() -> None:
    said, pages = "no untouched rows", []
    for evaluation, times in (("holdout", 0), ("cross_validation", 1)):
        doubt = f", {said}" * times
        entries = [replace(entry("good", 360, 1.0), doubts=f" rough{doubt}"), replace(entry("bad", 250, 1.0))]
        entries[1] = replace(entries[1], doubts=doubt.replace(",", ""))
        c = comparison(entries, "good", classes=("No", "Yes"), evaluation=evaluation)
        summary = summarise([c])
        # the best model, and every one
        assert summary_markdown([c], summary).count(said) == 3 * times
        assert summary_markdown([c], summary).count("rough") == 2
        assert overall_words([c], summary["best_overall"]).count(said) == times
        assert " ".join(advice(c)).count(said) == times
        assert next(score_bars(c)).words.count(said) == times
        pages.append(comparison_page([c], "", "").count(said))
        assert {row["evaluation"] for row in csv.DictReader(comparison_csv([c]).splitlines())} == {evaluation}
    # badge, every model, recommendation, figure twice
    assert pages[1] - pages[0] == 1 + len(entries) + 1 + 2


def test_tuning_words_follow_the_difference() -> None:
    low, high = entry("m", 300, 1.0), entry("m", 320, 1.0)

    def words(now: Entry, before: Entry, *interval: float) -> str:
        return tuning_words(replace(now, name="m_tuned", gain_interval=interval or None), before, "accuracy")

    assert words(high, low, 0.01, 0.09) == "Tuning m made accuracy 0.0500 better [+0.0100, +0.0900]: more than chance."
    assert words(low, high, -0.12, 0.02).endswith("m, accuracy: -0.0500 [-0.1200, +0.0200], no difference shown.")
    assert words(low, high, -0.09, -0.01).endswith("more than chance, so that its baseline is the better one there.")
    assert words(high, low).endswith("better.")
    assert "found none with a better cross-validated score than 0.7500" in words(low, low)


@pytest.fixture
def log_loss(monkeypatch: pytest.MonkeyPatch) -> Metric:
    """A metric that is better when lower, known to every stage by this one entry."""

    def of(p: Predictions) -> Weighted:
        chance = np.where(p.actual == 1, p.score, 1 - p.score)
        return lambda w: w @ -np.log(chance.clip(1e-15)) / w.sum(axis=1)

    metric = Metric("log loss", "Lower is better.", ("binary",), of, scale="loss")
    monkeypatch.setitem(METRICS, "log_loss", metric)
    return metric


def test_a_metric_that_is_better_when_lower_turns_words_ranks_and_figures_round(log_loss: Metric) -> None:
    worse = replace(entry("m", 300, 1.0), cv=0.6)
    better = replace(entry("m_tuned", 380, 1.0, (0.3, 0.4)), cv=0.3)
    trials = [(1, 0.5, "COMPLETE"), (2, 0.7, "COMPLETE"), (3, 0.2, "COMPLETE")]
    best = comparison([worse, better], "m_tuned", metric="log_loss", studies={"m": trials}, ceiling=0.1)
    assert best.tests["m"].words == "better"
    words = " ".join(advice(best))
    assert "Tuning m made log loss 0.4394 better [+0.3000, +0.4000]: more than chance." in words
    assert "0.1152 [0.0952, 0.1352] are left to the population ceiling" in words
    assert "lies within its interval" in " ".join(advice(replace(best, ceiling=0.2)))
    words = " ".join(advice(comparison([worse, better], "m", metric="log_loss")))
    assert "m_tuned does better on the judged rows, by 0.4394" in words
    assert summarise([best])["datasets"]["d"]["gain_of_tuning"]["m"] > 0
    others = [replace(better, name="n"), worse]
    ranks = summarise([comparison(others, "n", metric="log_loss")])["best_overall"]
    assert ranks == {"model": "n", "datasets_won": 1, "mean_rank": 1.0}
    _, heatmap, history, *_ = dataset_plots(best)
    column = heatmap.traces[0]["x"].index("log loss")
    assert heatmap.traces[0]["z"][:, column].tolist() == [0, 1]
    assert list(history.traces[2]["y"]) == [0.5, 0.5, 0.2]
    low, high = history.layout["yaxis"]["range"]
    assert low < 0.2
    assert high > 0.7
    assert "best search value 0.2000" in history.words
    assert history.layout["yaxis"]["title"]["text"] == "log loss (lower is better) in the search"


def test_a_dataset_is_compared_by_a_new_metric(project: Path, log_loss: Metric) -> None:
    make_customers().to_csv("y.csv", index=False)
    customers = {**PARAMS["datasets"]["customers"], "metric": "log_loss"}
    Path("params.yaml").write_text(yaml.safe_dump({**PARAMS, "gates": {}, "datasets": {"customers": customers}}))
    assert generate_data.main([]) == 0
    assert train.main([]) == 0
    assert tune_hyperparameters.main(["--n-trials", "3"]) == 0
    assert compare_results.main([]) == 0
    trained, tuned = (json.loads(Path(f"metrics/{s}/customers.json").read_text())["models"] for s in ("train", "tune"))
    models = trained | {f"{name}_tuned": model for name, model in tuned.items()}
    losses = {name: model["cv"]["log_loss"] for name, model in models.items()}
    assert losses["forest_tuned"] <= losses["forest"]
    best = min(losses, key=lambda name: losses[name])
    summary = json.loads(Path("metrics/summary.json").read_text())
    assert summary["datasets"]["customers"]["best_model"] == best
    assert summary["best_overall"]["model"] == best.removesuffix("_tuned")
    page = Path("reports/comparison_report.html").read_text()
    assert f"by cross-validation it is the first ({losses[best]:.4f}), and it reaches log loss" in page
    assert "<td>log loss (lower is better)</td>" in page


def test_a_plot_is_one_function_and_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def counts(c: Comparison) -> Iterator[Plot]:
        yield Plot("Rows judged", "How many.", [{"type": "bar", "x": [EVIL], "y": np.array([c.rows])}], {})

    monkeypatch.setitem(PLOTS, counts, ("binary",))
    found = comparison([entry("m", 300, 1.0)], "m")
    page = comparison_page([found], "words", "seed 1")
    titles = re.findall(r"<figure>\s*<h3>(.*)</h3>", page)
    assert titles == [plot.title for plot in dataset_plots(found)]
    assert titles[-2:] == ["Feature importance side by side", "Rows judged"]
    assert '"y": [400.0]' in page
    assert "Rows judged" not in {plot.title for plot in dataset_plots(replace(found, task="multiclass"))}


def test_a_gain_over_a_score_of_0_is_told_in_words(project: Path) -> None:
    frame = make_customers()
    frame["left"] = ["Yes" if row % 20 == 0 else "No" for row in range(len(frame))]
    frame.to_csv("y.csv", index=False)
    customers = {**PARAMS["datasets"]["customers"], "metric": "f1"}
    params = {**PARAMS, "gates": {}, "datasets": {"customers": customers}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    assert generate_data.main([]) == 0
    assert train.main(["--model", "forest"]) == 0
    assert tune_hyperparameters.main(["--n-trials", "2"]) == 0
    assert compare_results.main([]) == 0
    found = json.loads(Path("metrics/train/customers.json").read_text())["models"]["forest"]
    assert found["score"]["f1"] == 0
    assert json.loads(Path("metrics/tune/customers.json").read_text())["models"]["forest"]["gain"] is None
    assert "| forest from 0 |" in Path("reports/summary.md").read_text()
