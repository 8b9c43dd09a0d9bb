"""Made-up situations, what an expert would say in each, and what the pages say.

Each case has the figures of a situation in plain values, the expert's answer in a sentence, and of that answer the
words that the pages have to say and those that they must not. The answers were written before the code was asked.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.checks.finding import Finding
from pipeline.comparison.entries import Comparison, Entry, Lead
from pipeline.comparison.words import advice
from pipeline.drift.column import NO_VALUE, ColumnDrift
from pipeline.drift.column import Finding as Change
from pipeline.drift.expected import ExpectedScore
from pipeline.drift.quality import quality
from pipeline.drift.score import judged_loss
from pipeline.drift.verdict import recommend
from pipeline.gates import promotion
from pipeline.gates.judge import Verdict
from pipeline.gates.overview import Standing
from pipeline.metrics import Predictions
from pipeline.store.registry import Try


@dataclass(frozen=True)
class Situation:
    """What there is (`facts`, handed to `ask`), and what an expert says of it."""

    name: str
    ask: Callable[..., str]
    facts: Mapping[str, Any]
    expert: str
    says: Sequence[str]
    never: Sequence[str] = ()


def entry(
    name: str,
    score: float,
    low: float,
    high: float,
    cv: float,
    seconds: float = 1.0,
    positives: int = 100,
    found: int = 90,
    **more: Any,
) -> Entry:
    """A model with its main metric: of 400 judged rows so many are positive, and so many of these are predicted so."""
    actual = (np.arange(400) < positives).astype(int)
    predictions = Predictions(actual, (np.arange(400) < found).astype(int), actual * 0.8)
    metrics, intervals = dict.fromkeys(METRICS, score), dict.fromkeys(METRICS, (low, high))
    more = {"over_naive": (0.05, 0.2), **more}
    return Entry(name, "E", metrics, intervals, cv, seconds, 1000, "r", "0", "s", predictions, {"a": 0.1}, **more)


METRICS = ("accuracy", "roc_auc", "r2", "rmse")


def page(entries: Sequence[Entry], leads: Mapping[str, tuple[float, float, float]], **facts: Any) -> str:
    """What the comparison recommends; the first entry is the chosen one."""
    chosen, verdicts = entries[0].name, facts.pop("gates", ())
    known = {"task": "binary", "metric": "accuracy", "evaluation": "holdout", "naive": 0.6, "ceiling": None}
    known |= {"drift": None, "studies": {}, "links": {}, "classes": ("No", "Yes"), "synthetic": False} | facts
    if known["task"] == "regression":
        known["classes"] = ()
    return " ".join(
        advice(
            Comparison(
                dataset="d",
                rows=2000,
                target="y",
                entries=tuple(entries),
                chosen=chosen,
                tests={name: Lead(*lead) for name, lead in leads.items()},
                standing=Standing("d", chosen, "", "", "", "", tuple(verdicts)),
                **known,
            )
        )
    )


def gate(value: float, low: float, high: float, *, passed: bool, uncertain: bool) -> Verdict:
    return Verdict("d", "forest", "accuracy", "above 0.7", value, (low, high), passed=passed, uncertain=uncertain)


def alarm(check: str, sentence: str) -> dict[str, Finding]:
    return {check: Finding(True, sentence)}


def retrain(
    *,
    drift: bool | None,
    moved: Sequence[ColumnDrift] = (),
    expected: tuple[float, float, float, bool] | None = None,
    score: tuple[int, float, float, float] | None = None,
) -> str:
    """What drift's page recommends for a model of accuracy 0.80 [0.79, 0.81], a loss of 0.016 counting as none.

    `expected`: the score without labels, its interval, and whether it is reliable; `score`: labelled rows, the true
    score on them, its interval.
    """
    model: Any = SimpleNamespace(name="forest", metric="accuracy", before=0.80, before_interval=(0.79, 0.81))
    told = expected and ExpectedScore("accuracy", expected[0], expected[1:3], 500.0, expected[3], "too few rows")
    true = score and judged_loss(model, score[0], score[1], score[2:], 0.016)
    yes, words = recommend(drift, moved, true or None, told or None, model, 0.02, labelled=score is not None)
    return f"{'RETRAIN' if yes else 'KEEP'}: {words}"


MOVED = ColumnDrift("age", "number", drift=True, reasons=("moved",))
BROKEN = Change(
    test="missing", words=NO_VALUE, before=0.0, now=0.4, change=0.4, p_value=1e-9, p_corrected=1e-9, pairs=False
)
FAULTY = ColumnDrift("age", "number", findings=(BROKEN,), drift=True, reasons=(BROKEN.text(),))


def promote(*, difference: tuple[float, float, float], tries: int) -> str:
    """What promotion says of a challenger after so many earlier tries on the same 500 rows."""
    rows = pd.DataFrame({"a": np.arange(500.0)})
    y = np.arange(500) % 2
    same = Predictions(y, np.where(np.arange(500) < 400, y, 1 - y), y * 0.5)
    known = [Try(str(n), "1", n + 1, ["a"], promotion.row_hashes(rows)) for n in range(tries)]
    dataset: Any = SimpleNamespace(name="d", task="binary", metric="accuracy")
    nothing: Any = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promotion, "tries_of", lambda *_: known)
        patch.setattr(promotion, "record_try", lambda *_: None)
        patch.setattr(promotion, "side_by_side", lambda *_: ([same, same], rows, ""))
        patch.setattr(promotion, "paired_differences", lambda *_: [(difference[0], difference[1:])])
        wins, words = promotion.contest(nothing, dataset, nothing, ("99", nothing), ("1", nothing), 0)
    return f"{'CHAMPION' if wins else 'CHALLENGER'}: {words}"


def clean_table() -> str:
    return quality(pd.DataFrame({"a": np.arange(100.0), "b": ["x", "y"] * 50}))[1]


BOOSTING = entry("boosting", 0.85, 0.83, 0.87, 0.846, 2.0)
FOREST = entry("forest", 0.80, 0.78, 0.82, 0.801, 9.0)
TUNED = entry("forest_tuned", 0.806, 0.786, 0.826, 0.809, 9.0, gain_interval=(-0.010, 0.022))
RARE = {"positives": 4, "found": 0}

SITUATIONS = [
    Situation(
        "a clear winner",
        page,
        {"entries": [BOOSTING, FOREST], "leads": {"forest": (0.05, 0.03, 0.07)}},
        "Use boosting; there is nothing to hold against it in these figures.",
        ["^Use boosting", r"0\.8500 \[0\.8300, 0\.8700\]"],
        ["not use", "cheaper", "gate", "untouched"],
    ),
    Situation(
        "no better than the naive prediction",
        page,
        {"entries": [entry("forest", 0.61, 0.58, 0.64, 0.612, over_naive=(-0.02, 0.04))], "leads": {}},
        "Do not use it: the majority class may do as well. Better columns or more rows come first.",
        ["^Do not use forest", r"naive prediction \(0\.6000\).*not shown", r"\[-0\.0200, \+0\.0400\]"],
        ["^Use"],
    ),
    Situation(
        "another model as good and much faster",
        page,
        {
            "entries": [FOREST, entry("linear", 0.797, 0.777, 0.817, 0.796, 0.5)],
            "leads": {"linear": (0.003, -0.006, 0.012)},
        },
        "They are not told apart. The linear model is cheaper, if a score that may be 0.012 lower is acceptable.",
        ["linear.*fits 18 times faster", r"up to 0\.0120"],
        ["equal", "as good"],
    ),
    Situation(
        "tuning within chance",
        page,
        {"entries": [TUNED, FOREST], "leads": {"forest": (0.006, -0.010, 0.022)}},
        "The search has shown no gain; do not credit it with 0.006.",
        [r"Tuning forest.*\[-0\.0100, \+0\.0220\].*no difference shown"],
        ["made accuracy 0.0060 better", "nothing"],
    ),
    Situation(
        "tuning made it worse",
        page,
        {
            "entries": [
                entry("forest_tuned", 0.76, 0.74, 0.78, 0.809, gain_interval=(-0.060, -0.020)),
                FOREST,
            ],
            "leads": {"forest": (-0.04, -0.06, -0.02)},
        },
        "Cross-validation and the judged rows disagree by more than chance: the search has fitted its folds, or the "
        "test part is unlike them. Find out why; do not choose by the judged rows, and do not blame too few rows.",
        ["forest does better on the judged rows", "[Ff]ind out why", r"\[\+0\.0200, \+0\.0600\]", "0.0400 worse"],
        ["more folds or rows would settle", "^Use"],
    ),
    Situation(
        "the search kept the baseline",
        page,
        {
            "entries": [FOREST, entry("forest_tuned", 0.80, 0.78, 0.82, 0.801, 9.0, gain_interval=(0.0, 0.0))],
            "leads": {"forest_tuned": (0.0, 0.0, 0.0)},
        },
        "Keep the baseline's settings: the search found none that cross-validates better. That is no proof of none.",
        ["baseline.*stay", r"0\.8010"],
        ["stayed the best", "nothing better"],
    ),
    Situation(
        "few rows, a wide interval",
        page,
        {"entries": [entry("forest", 0.80, 0.70, 0.88, 0.801)], "leads": {}},
        "The score is hardly known; four times as many labelled rows halve the interval. Whether they would tell two "
        "models apart nobody can say.",
        [r"0\.18 wide", "four times as many.*halve"],
        ["would tell the models apart"],
    ),
    Situation(
        "an error in large units, a narrow interval",
        page,
        {
            "entries": [entry("forest", 50000.0, 48000.0, 52000.0, 50500.0)],
            "leads": {},
            "metric": "rmse",
            "task": "regression",
            "naive": 90000.0,
        },
        "8 % of the error is narrow enough to work with.",
        ["^Use forest"],
        ["wide"],
    ),
    Situation(
        "an error in small units, a wide interval",
        page,
        {
            "entries": [entry("forest", 0.010, 0.006, 0.014, 0.010)],
            "leads": {},
            "metric": "rmse",
            "task": "regression",
            "naive": 0.03,
        },
        "The error is known to 40 % only, however small its unit: more labelled rows.",
        [r"0\.008.* wide", "four times as many"],
    ),
    Situation(
        "twenty frauds, all rows judged",
        page,
        {
            "entries": [entry("forest", 0.998, 0.991, 1.0, 0.997, rough="20 rows of the rarer class")],
            "leads": {},
            "metric": "roc_auc",
            "evaluation": "cross_validation",
        },
        "The interval rests on 20 frauds, and no row is untouched: collect frauds, and confirm on fresh rows first.",
        ["rough", "20 rows of the rarer class", "fresh rows", "untouched"],
    ),
    Situation(
        "the winner at the edge of its search space",
        page,
        {
            "entries": [
                entry(
                    "forest_tuned",
                    0.84,
                    0.82,
                    0.86,
                    0.841,
                    checks=alarm("edge", "max_depth 50 of 10 to 50 (p = 0.002)."),
                )
            ],
            "leads": {},
        },
        "Widen the range of max_depth and search again.",
        ["search again", "max_depth 50 of 10 to 50"],
    ),
    Situation(
        "a tuned model that is not chosen, at the edge of its search space",
        page,
        {
            "entries": [
                BOOSTING,
                entry(
                    "forest_tuned",
                    0.84,
                    0.82,
                    0.86,
                    0.841,
                    checks=alarm("edge", "max_depth 50 of 10 to 50 (p = 0.002)."),
                ),
            ],
            "leads": {"forest_tuned": (0.01, -0.005, 0.025)},
        },
        "A wider range might make the forest the better one: search again before the choice is final.",
        ["^Use boosting", "forest_tuned.*max_depth 50 of 10 to 50", "search again"],
    ),
    Situation(
        "an overfitted model",
        page,
        {
            "entries": [
                entry(
                    "forest",
                    0.80,
                    0.78,
                    0.82,
                    0.801,
                    checks=alarm("overfitting", "It reaches 0.99 on its training rows."),
                ),
            ],
            "leads": {},
        },
        "Regularise it, or take the model that fits its training rows less closely.",
        ["less closely", "0.99 on its training rows"],
    ),
    Situation(
        "a column that gives the target away",
        page,
        {
            "entries": [entry("forest", 0.99, 0.98, 1.0, 0.99, checks=alarm("giveaway", "refund_date with 99.1%."))],
            "leads": {},
        },
        "Do not use it before it is known whether that column is there when predictions are made.",
        ["^Do not use forest", "refund_date with 99.1%"],
        ["^Use"],
    ),
    Situation(
        "a gate that fails",
        page,
        {
            "entries": [entry("forest", 0.68, 0.66, 0.70, 0.681)],
            "leads": {},
            "gates": [gate(0.68, 0.66, 0.70, passed=False, uncertain=False)],
        },
        "Do not use it: it is below the bound that was set for use.",
        ["^Do not use forest", "gate", "above 0.7"],
        ["^Use"],
    ),
    Situation(
        "a gate that is passed by the value alone",
        page,
        {
            "entries": [entry("forest", 0.71, 0.68, 0.74, 0.712)],
            "leads": {},
            "gates": [gate(0.71, 0.68, 0.74, passed=True, uncertain=True)],
        },
        "It passes, but may be below the bound on other rows; with --confident it would not pass.",
        ["^Use forest", r"\[0\.6800, 0\.7400\].*above 0\.7", "--confident"],
    ),
    Situation(
        "the ceiling within the interval",
        page,
        {"entries": [BOOSTING], "leads": {}, "ceiling": 0.86, "synthetic": True},
        "At most 0.03 can be gained with these columns; not that nothing can.",
        [r"ceiling 0\.8600.*at most 0\.0300"],
        ["cannot help"],
    ),
    Situation(
        "a score above the ceiling",
        page,
        {"entries": [BOOSTING], "leads": {}, "ceiling": 0.84, "synthetic": True},
        "No model can keep that: these rows are lucky, expect no more than the ceiling elsewhere.",
        [r"above the population ceiling 0\.8400", "chance"],
        ["cannot help", "are left"],
    ),
    Situation(
        "one positive in a hundred, judged by accuracy",
        page,
        {
            "entries": [entry("forest", 0.99, 0.98, 1.0, 0.99, over_naive=(0.0, 0.0), **RARE)],
            "leads": {},
            "naive": 0.99,
        },
        "It predicts No for everybody, as the naive prediction does: useless in spite of 0.99. Another metric, another "
        "threshold.",
        ["^Do not use forest", "predicts no row to be Yes", "threshold", "ROC-AUC"],
        ["^Use"],
    ),
    Situation(
        "a threshold that saves nothing that can be shown",
        page,
        {
            "entries": [
                entry(
                    "forest",
                    0.80,
                    0.78,
                    0.82,
                    0.801,
                    decision={
                        "cost": 0.41,
                        "interval": [0.3, 0.5],
                        "per_rows": 1000,
                        "others": {"half": {"cost": 0.44, "saved": 0.03, "saved_interval": [-0.02, 0.08]}},
                    },
                )
            ],
            "leads": {},
        },
        "The chosen threshold is not shown to be cheaper than 0.5.",
        [r"0\.41 \[0\.3, 0\.5\].*0\.44.*no difference shown"],
    ),
    Situation(
        "drift, and no labels",
        retrain,
        {"drift": True, "moved": [MOVED], "expected": (0.79, 0.70, 0.85, False)},
        "Retrain on rows like these, once they have labels; what the drift costs is not known without.",
        ["^RETRAIN", "should be retrained", "without labels"],
    ),
    Situation(
        "drift, no labels, and no loss expected",
        retrain,
        {"drift": True, "moved": [MOVED], "expected": (0.80, 0.795, 0.805, True)},
        "From the columns alone at most so much is lost; it can wait, but only labels would show it.",
        ["^KEEP", r"0\.01", "without labels"],
        ["[Nn]o need"],
    ),
    Situation(
        "no drift found, and no labels",
        retrain,
        {"drift": False, "expected": (0.80, 0.79, 0.81, True)},
        "Whether to retrain cannot be told: label some of the rows.",
        ["^KEEP", "without labels", "label"],
        ["[Nn]othing", "[Nn]o need", "no reason"],
    ),
    Situation(
        "a column that came half empty",
        retrain,
        {"drift": True, "moved": [FAULTY]},
        "First find the fault in the source; retraining on broken rows would teach the fault.",
        ["^RETRAIN: First find out why age", "mended, not learned"],
    ),
    Situation(
        "labels that show a loss without drift",
        retrain,
        {"drift": False, "score": (5000, 0.70, 0.69, 0.71)},
        "Retrain: the target depends on the columns in another way than before.",
        ["^RETRAIN", "another way", r"0\.1000"],
    ),
    Situation(
        "drift, and labels that show that it costs little",
        retrain,
        {"drift": True, "moved": [MOVED], "score": (50000, 0.80, 0.797, 0.803)},
        "Keep it: the loss is at most what was agreed to count as none.",
        ["^KEEP", "margin", r"\[-0\.0104, 0\.0104\]"],
    ),
    Situation(
        "too few current rows",
        retrain,
        {"drift": None},
        "Nothing can be said yet; bring more rows.",
        ["^KEEP", "more rows"],
        ["no drift", "[Nn]o need"],
    ),
    Situation(
        "a challenger that is near the champion",
        promote,
        {"difference": (0.004, -0.006, 0.014), "tries": 1},
        "The champion stays: the difference may be chance.",
        ["^CHALLENGER", r"\+0\.0040 \[-0\.0060, \+0\.0140\]", "try 2"],
    ),
    Situation(
        "a better challenger on rows that are worn out",
        promote,
        {"difference": (0.02, 0.005, 0.035), "tries": 10},
        "Ten tries have used these rows up: fresh ones first, whatever the difference.",
        ["^CHALLENGER", "worn out", "fresh"],
    ),
    Situation(
        "a table without missing values or duplicates",
        clean_table,
        {},
        "Missing values and duplicates are below their limits; that says nothing of other faults.",
        [r"limit", "5%", "1%"],
        ["is good", "[Nn]othing"],
    ),
]


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.name)
def test_the_pages_say_what_an_expert_would(situation: Situation) -> None:
    words = situation.ask(**situation.facts)
    assert [said for said in situation.says if not re.search(said, words)] == [], f"{situation.expert}\n{words}"
    assert [said for said in situation.never if re.search(said, words)] == [], f"{situation.expert}\n{words}"
