import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.gates.judge import Lead, difference, judge
from pipeline.gates.results import DriftVerdict, DriftVerdicts, Expected, Results, read_results, select_model
from pipeline.metrics import metrics_of
from pipeline.settings import DRIFTED, Gate, load_config, settings_sha256


def model(cv: float, score: float, low: float, high: float) -> dict[str, Any]:
    """A model's figures, the same for every metric of a binary task."""
    metrics = metrics_of("binary")
    parts = {"cv": cv, "score": score, "naive": 0.6}
    figures: dict[str, Any] = {part: dict.fromkeys(metrics, value) for part, value in parts.items()}
    over_naive = {metric: [low - 0.6, high - 0.6] for metric in metrics}
    return {**figures, "interval": {metric: [low, high] for metric in metrics}, "over_naive": over_naive, "rough": ""}


STILL = DriftVerdict(False)
PARTS = {"reference": "train part", "current": "test part", "itself": False}
NO_DRIFT = DriftVerdicts(**PARTS, drift=False, columns=[STILL], target=STILL, joint=STILL)
MODELS = {"forest": model(0.80, 0.78, 0.74, 0.82), "linear": model(0.70, 0.99, 0.98, 1.0)}


def outcome(gate: Gate, published: Any = None, confident: bool = False, **changes: Any) -> Any:
    config = load_config()
    config = dataclasses.replace(config, gates={"customers": (gate,)})
    over_champion = changes.pop("over_champion", "it was not asked for")
    results = Results("customers", "d", changes.pop("models", MODELS), {}, drift=NO_DRIFT, champion=None, problems=())
    results = dataclasses.replace(results, **changes)
    [verdict] = judge(config.dataset("customers"), config, results, published, confident, over_champion)
    return verdict


@pytest.fixture(autouse=True)
def _in_project(project: Path) -> None:
    pass


def test_the_model_is_chosen_by_cross_validation_not_by_its_test_score() -> None:
    assert select_model(MODELS, "accuracy") == "forest"


@pytest.mark.parametrize(
    ("gate", "confident", "passed", "uncertain"),
    [
        (Gate("accuracy", above=0.70), False, True, False),
        (Gate("accuracy", above=0.76), False, True, True),
        (Gate("accuracy", above=0.76), True, False, True),
        (Gate("accuracy", above=0.78), False, False, True),
        (Gate("accuracy", above=0.90), False, False, False),
        (Gate("accuracy", below=0.90), False, True, False),
        (Gate("accuracy", below=0.80), True, False, True),
        (Gate("accuracy", above=0.1, over="naive"), False, True, False),
        (Gate("accuracy", above=0.2, over="naive"), False, False, True),
        (Gate("accuracy", above=0.13, over="naive"), True, True, False),
        (Gate("drifted_columns", below=1), False, True, False),
    ],
)
def test_bounds(gate: Gate, confident: bool, passed: bool, uncertain: bool) -> None:
    verdict = outcome(gate, confident=confident)
    assert (verdict.passed, verdict.uncertain) == (passed, uncertain)


def test_drift_gate_fails_on_a_drifted_column_and_where_drift_is_unknown() -> None:
    gate, moved = Gate("drifted_columns", below=1), DriftVerdict(True)
    for columns, target, joint, count in (
        ([moved, moved], None, STILL, 2),
        ([STILL], moved, moved, 1),
        ([STILL], STILL, moved, 1),
    ):
        found = outcome(gate, drift=DriftVerdicts(**PARTS, drift=True, columns=columns, target=target, joint=joint))
        assert (found.passed, found.value) == (False, count)
    assert "drift was not tested; run `python detect_drift.py" in outcome(gate, drift=None).reason
    few = dataclasses.replace(NO_DRIFT, drift=None)
    assert "drift could not be told, as there were too few new rows" in outcome(gate, drift=few).reason


def test_expected_score_gate() -> None:
    def with_expected(reliable: bool) -> DriftVerdicts:
        expected = Expected(0.75, (0.72, 0.78), reliable, "" if reliable else "40% of the current rows lie outside")
        return dataclasses.replace(NO_DRIFT, expected_score=expected)

    gate = Gate("expected_score", above=0.74)
    found = outcome(gate, drift=with_expected(True))
    assert (found.passed, found.uncertain, found.value) == (True, True, 0.75)
    assert not outcome(gate, drift=with_expected(True), confident=True).passed
    over = outcome(Gate("expected_score", above=0.1, over="naive"), drift=with_expected(True))
    assert over.passed
    assert over.text() == "forest expected_score +0.1500 over the naive's 0.6000, needed above 0.1"
    assert over.interval is None
    unsure = outcome(Gate("expected_score", above=0.1, over="naive"), drift=with_expected(True), confident=True)
    assert not unsure.passed
    assert "whose interval is not known: the other score is of other rows" in unsure.reason
    doubtful = outcome(gate, drift=with_expected(False))
    assert (doubtful.passed, doubtful.reason) == (
        False,
        "the expected score is not reliable: 40% of the current rows lie outside",
    )
    for nothing in (None, NO_DRIFT):
        assert "is not known; run `python detect_drift.py" in outcome(gate, drift=nothing).reason


@pytest.mark.parametrize(("interval", "passes"), [([0.11, 0.25], True), ([0.09, 0.27], False)])
def test_a_confident_lead_over_the_naive_prediction_has_the_interval_of_the_same_rows(
    interval: list[float], passes: bool
) -> None:
    # the interval of the score alone, [0.74, 0.82], would leave a lead of 0.14 at least
    forest = {**MODELS["forest"], "over_naive": {"accuracy": interval, "rmse": interval}}
    gate = Gate("accuracy", above=0.1, over="naive")
    found = outcome(gate, models={"forest": forest}, confident=True)
    assert (found.passed, found.interval, found.uncertain) == (passes, tuple(interval), not passes)
    low, high = interval
    words = f"forest accuracy +0.1800 [{low:+.4f}, {high:+.4f}] over the naive's 0.6000, needed above 0.1"
    assert found.text() == words
    assert outcome(gate, models={"forest": forest}).passed


def test_a_lead_is_turned_round_where_lower_is_better() -> None:
    assert difference("rmse", -0.2, {"rmse": Lead(0.2, (0.1, 0.3))}) == (-0.2, (-0.3, -0.1))
    assert difference("r2", 0.2, {"r2": Lead(0.2, (0.1, 0.3))}) == (0.2, (0.1, 0.3))
    assert difference("r2", 0.2, "no store") == (0.2, None)


def test_a_drift_gate_takes_the_comparison_that_it_names() -> None:
    def passes(comparison: dict[str, Any], **names: str) -> bool:
        found = outcome(Gate("drifted_columns", below=1, **names), drift=dataclasses.replace(NO_DRIFT, **comparison))
        assert found.passed == (not found.reason)
        return found.passed

    january = {"reference": "data/customers.csv", "current": "january.csv"}
    by_hand = {"reference": "december.csv", "current": "january.csv"}
    # the parts of the table, or a file compared with it
    assert passes({})
    assert passes(january)
    assert not passes(by_hand)
    assert passes(by_hand, reference="december.csv")
    assert not passes(by_hand, reference="december.csv", current="february.csv")
    assert passes(january, current="january.csv")
    assert not passes({}, current="january.csv")
    assert not passes(january, current="test part")
    for comparison in ({}, january, by_hand):
        assert not passes(comparison | {"itself": True}, reference=comparison.get("reference", "train part"))


def test_a_dataset_without_gates_has_to_beat_the_naive_model_in_the_direction_of_its_metric() -> None:
    config = load_config()
    houses = config.dataset("houses")
    assert config.gates_of(houses) == (Gate("r2", above=0.0, over="naive"),)
    assert config.gates_of(dataclasses.replace(houses, metric="rmse")) == (Gate("rmse", below=0.0, over="naive"),)


def test_champion_gate() -> None:
    gate = Gate("accuracy", above=-0.01, over="champion")
    assert outcome(gate).passed
    assert outcome(gate, champion={"score": {"accuracy": 0.785}}).passed
    assert not outcome(gate, champion={"score": {"accuracy": 0.80}}).passed
    assert not outcome(gate, champion={"score": {}}).passed
    better = {"score": {"accuracy": 0.70}}
    # without the predictions of both there is no interval to be confident by
    assert not outcome(gate, champion=better, confident=True, over_champion="there is no store").passed
    for low, passes in ((-0.005, True), (-0.02, False)):
        leads = {"accuracy": Lead(0.07, (low, 0.12))}
        found = outcome(gate, champion=better, confident=True, over_champion=leads)
        assert (found.passed, found.value, found.interval) == (passes, 0.07, (low, 0.12))


def write_metrics(models: Any = MODELS, data_sha256: str = "d", **hashes: str) -> None:
    """Metrics of models with the present hash of settings, or those of `hashes`."""
    config = load_config()
    present = {name: settings_sha256(config, config.dataset("customers"), name) for name in models}
    models = {name: {"params_sha256": hashes.get(name, present[name]), **facts} for name, facts in models.items()}
    Path("metrics/data").mkdir(parents=True, exist_ok=True)
    Path("metrics/train").mkdir(exist_ok=True)
    Path("metrics/data/customers.json").write_text(json.dumps({"sha256": "d", "target": "left"}))
    Path("metrics/train/customers.json").write_text(json.dumps({"data_sha256": data_sha256, "models": models}))


def passes_with(**changes: Any) -> bool:
    """Whether a gate on accuracy passes where a part of the chosen model's figures is another one."""
    config = load_config()
    dataset = config.dataset("customers")
    write_metrics({"forest": {**MODELS["forest"], **changes}})
    return all(verdict.passed for verdict in judge(dataset, config, read_results(dataset, config)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.9", None, True])
def test_what_is_no_number_fails(value: Any) -> None:
    score = MODELS["forest"]["score"]
    assert passes_with(score=score)
    assert not passes_with(score={**score, "accuracy": value})


@pytest.mark.parametrize("interval", [None, "x", [0.7], [0.82, 0.74], [0.74, float("nan")]])
def test_what_is_no_interval_fails(interval: Any) -> None:
    assert not passes_with(interval={**MODELS["forest"]["interval"], "accuracy": interval})


def test_published_figures_have_to_agree_in_every_model() -> None:
    config = load_config()
    dataset = config.dataset("customers")
    results = Results("customers", "d", MODELS, {}, drift=NO_DRIFT, champion=None, problems=())
    scores = {name: dict(facts["score"]) for name, facts in MODELS.items()}
    assert all(verdict.passed for verdict in judge(dataset, config, results, scores))
    others: list[Any] = [{**scores["linear"], "f1": 0.98}, {"f1": 0.99}, 3, None]
    for published in ({}, *({**scores, "linear": other} for other in others), {**scores, "unheard-of": {}}):
        failing, *_ = judge(dataset, config, results, published)
        assert not failing.passed
        assert "run `python compare_results.py`" in failing.reason


def test_stale_results_are_named_by_what_changed() -> None:
    config = load_config()
    dataset = config.dataset("customers")
    write_metrics()
    assert read_results(dataset, config).problems == ()
    for facts, words in (({"data_sha256": "x"}, "other data"), ({"forest": "x", "linear": "x"}, "other settings")):
        write_metrics(**facts)
        results = read_results(dataset, config)
        [problem] = results.problems
        assert words in problem
        assert problem.endswith("; run `python train.py --dataset customers`")
        assert not any(verdict.passed for verdict in judge(dataset, config, results))
    for broken in ("", "[]", "{"):
        Path("metrics/train/customers.json").write_text(broken)
        assert "python train.py --dataset customers" in read_results(dataset, config).problems[0]


def test_only_what_is_stale_is_called_so_all_at_once_and_in_order() -> None:
    config = load_config()
    dataset = config.dataset("customers")
    write_metrics(linear="x")
    tuned = {name: {**MODELS[name], "params_sha256": "x"} for name in ("linear", "forest")}
    Path("metrics/tune").mkdir()
    Path("metrics/tune/customers.json").write_text(json.dumps({"data_sha256": "d", "models": tuned}))
    results = read_results(dataset, config)
    assert [*results.models] == ["forest"]
    reasons = [verdict.reason for verdict in judge(dataset, config, results, {}) if verdict.reason]
    scripts = ["train.py", "tune_hyperparameters.py", "tune_hyperparameters.py", "compare_results.py"]
    models = [f" --dataset customers --model {name}" for name in ("linear", "linear", "forest")]
    commands = [f"`python {script}{model}`" for script, model in zip(scripts, [*models, ""], strict=True)]
    assert [reason.count(command) for reason, command in zip(reasons, commands, strict=True)] == [1] * 4
    # a model that params.yaml names no more goes with the next training
    write_metrics()
    path = Path("metrics/train/customers.json")
    path.write_text(path.read_text().replace('"linear"', '"former"'))
    [problem, *_] = read_results(dataset, config).problems
    assert problem.endswith("former is no model of params.yaml; run `python train.py --dataset customers`")


def test_a_score_of_all_rows_is_called_so_in_its_verdict_and_drift_is_not() -> None:
    config = load_config()
    dataset = dataclasses.replace(config.dataset("customers"), evaluation="cross_validation")
    gates = [Gate("accuracy", above=0.7), Gate("accuracy", above=0.1, over="naive"), Gate(DRIFTED, below=1)]
    config = dataclasses.replace(config, gates={"customers": tuple(gates)})
    results = Results("customers", "d", MODELS, {}, drift=NO_DRIFT, champion=None, problems=())
    alone, over, drift = (verdict.line() for verdict in judge(dataset, config, results))
    assert "accuracy 0.7800 [0.7400, 0.8200] (no untouched rows), needed above 0.7" in alone
    assert "[+0.1400, +0.2200] (no untouched rows) over the naive's 0.6000" in over
    assert "untouched" not in drift
    assert "untouched" not in outcome(gates[0]).line()
