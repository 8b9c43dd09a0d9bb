"""What can be wrong with a model, told from what its run keeps: a check is one entry of CHECKS.

Each decides by a test at LEVEL, so that it raises its alarm in few of the models with nothing wrong; how often it does
is measured by benchmarks/checks.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.checks.calibration import calibration
from pipeline.checks.edges import winner_at_the_edge
from pipeline.checks.evidence import Evidence
from pipeline.checks.finding import Finding
from pipeline.checks.folds import folds_disagree
from pipeline.checks.levels import unseen_error
from pipeline.checks.rivals import overfitting, simpler_as_good
from pipeline.checks.segments import weakest_segment
from pipeline.checks.single_columns import column_gives_target_away, useless_columns
from pipeline.checks.twins import same_rows
from pipeline.training.importance import IMPORTANCE_ROWS

# How often each check raises its alarm, where nothing is wrong and where something is.
MEASURED = Path(__file__).parents[2] / "benchmarks/results/checks.json"


@dataclass(frozen=True)
class Check:
    """A check: its title, what raises the alarm, the test that decides, what to do about an alarm, and the function
    that reads the evidence. `of_table`: it says the same of every model. `forbids`: a model with its alarm is not to be
    used.
    """

    title: str
    alarm: str
    test: str
    todo: str
    find: Callable[[Evidence], Finding]
    of_table: bool = False
    forbids: bool = False


def _overfitting(e: Evidence) -> Finding:
    t, test = e.table, e.judged.of(e.of_test_part)
    units = t.units_of(e.pooled_rows.append(e.rows[e.of_test_part]))
    return overfitting(t.task, t.metric, e.own, e.others, e.pooled, test, units, t.in_order, t.seed)


def _folds(e: Evidence) -> Finding:
    t = e.table
    return folds_disagree(t.task, t.metric, e.pooled, e.fold, t.belonging is not None, t.in_order, t.seed)


def _giveaway(e: Evidence) -> Finding:
    t, train = e.table, e.table.parts.train
    return column_gives_target_away(t.task, train, t.columns, t.units_of(train.X.index))


def _same_rows(e: Evidence) -> Finding:
    return same_rows(*(e.table.learned(rows) for rows in (e.table.parts.train, e.table.parts.test)))


def _edge(e: Evidence) -> Finding:
    if e.search is None:
        return Finding(None, "Not applicable: its settings were not searched.")
    return winner_at_the_edge(e.search.settings, e.search.space, e.search.trials, e.search.allowed)


def _simpler(e: Evidence) -> Finding:
    t, units = e.table, e.table.units_of(e.rows)
    count = len(e.rows if units is None else np.unique(units))
    return simpler_as_good(t.task, t.metric, e.own, e.others, t.naive, e.judged.actual, count)


def _useless(e: Evidence) -> Finding:
    t = e.table
    judged, test = t.units_of(e.rows), t.units_of(t.parts.test.X.index)
    units, measured = (
        len(rows if of is None else np.unique(of)) for rows, of in ((e.rows, judged), (t.parts.test.X, test))
    )
    unseen = unseen_error(e.own.without, units, min(measured, IMPORTANCE_ROWS))
    freedom = np.inf if test is None else min(measured, IMPORTANCE_ROWS) - 1
    return useless_columns(t.task, t.metric, e.importance, e.own.value, t.naive, t.parts.test.y, unseen, freedom)


def _calibration(e: Evidence) -> Finding:
    t = e.table
    return calibration(t.task, e.judged, t.units_of(e.rows), t.in_order, t.seed)


def _weakest(e: Evidence) -> Finding:
    t = e.table
    return weakest_segment(t.task, e.judged, t.features.loc[e.rows], t.dates, t.units_of(e.rows), t.seed)


# In the order of the page.
CHECKS = {
    "overfitting": Check(
        "Overfitting gap",
        "a model that fits its training rows less well is better on the judged rows, or the test part gives less than "
        "cross-validation promised",
        "t-test of paired differences (Holm) and permutation test, 0.5 % each",
        "regularise it, or take a model that fits its training rows less closely",
        _overfitting,
    ),
    "folds": Check(
        "Folds that disagree",
        "the score of a fold is more than 1.25 times as far from their mean as those of folds of rows drawn by chance",
        "permutation test, 1 %",
        "look at what the rows of that fold have in common",
        _folds,
    ),
    "giveaway": Check(
        "A column that gives the target away",
        "one column alone explains more than 90 % of the target out of fold",
        "z-test (Holm), 1 %",
        "find out whether that column is known before the target is, and drop it if not",
        _giveaway,
        of_table=True,
        forbids=True,
    ),
    "same_rows": Check(
        "The same rows in train and test",
        "test rows that share a rare number with a training row equal it in all else, more often than one with the "
        "next number",
        "sign test (Holm), 1 %",
        "remove the rows that are there twice, and train again",
        _same_rows,
        of_table=True,
        forbids=True,
    ),
    "edge": Check(
        "Winner at the edge of the search space",
        "a setting of the winner is at an end of its range that can be passed, and trials get better towards it",
        "t-test of the slope (Holm), 1 %",
        "widen that range in search_spaces, and search again",
        _edge,
    ),
    "simpler": Check(
        "A simpler model as good",
        "a model of at most half the bytes loses less than 2 % of the lead over the naive prediction",
        "non-inferiority t-test (Holm), 1 %",
        "take the smaller model where that loss does not matter",
        _simpler,
    ),
    "useless": Check(
        "Useless columns",
        "shuffling a column costs less than 1 % of the lead over the naive prediction",
        "t-test (Holm), 1 %",
        "train without these columns, one at a time, and compare",
        _useless,
    ),
    "calibration": Check(
        "Calibration",
        "probabilities of two classes do not come true: in their mean, in how extreme they are, or over bins",
        "largest of three distances against draws by the probabilities, 1 %",
        "do not act on its probabilities as they are",
        _calibration,
    ),
    "segment": Check(
        "Weakest segment of rows",
        "the error in a range or category, found in one half of the judged rows, is above 1.25 times that of the rest "
        "in the other half",
        "z-test of the log ratio, 1 %",
        "look at these rows first: more of them, or columns that tell them apart",
        _weakest,
    ),
}


def check_models(evidence: Mapping[str, Evidence]) -> dict[str, dict[str, Finding]]:
    """What each check finds of each model, by their names."""
    first = next(iter(evidence.values()))
    of_table = {name: check.find(first) for name, check in CHECKS.items() if check.of_table}
    return {
        model: {name: of_table.get(name) or check.find(own) for name, check in CHECKS.items()}
        for model, own in evidence.items()
    }


def measured(path: Path = MEASURED) -> dict[str, str]:
    """How often each check raised its alarm on tables with nothing wrong, in words, by its name; of none where the file
    is not there, as in a project that has only the package.
    """
    rows = json.loads(path.read_text(encoding="utf-8"))["false_alarms"] if path.exists() else {}
    return {
        name: f"{row['alarms']} of {row['draws']:,} ({row['alarms'] / row['draws']:.1%})" for name, row in rows.items()
    }
