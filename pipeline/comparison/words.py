"""Recommendations in words, each from the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.checks.check import CHECKS
from pipeline.comparison.entries import Comparison, Entry, Lead
from pipeline.explain.cases import Case
from pipeline.metrics import METRICS, lead
from pipeline.uncertainty import uncertainty_words
from pipeline.worth import decision_words

# An interval is wide from so much on: of scores whose best is 1 as they are, of errors as a part of them.
WIDE, WIDE_ERROR = 0.1, 0.2
# Where so large a share of the rows is of one class, accuracy says little of the other.
ONE_CLASS = 0.9
# Columns of an explained row that are seen at once.
LINES = 6


def advice(c: Comparison) -> list[str]:
    """What to do with a dataset's models, a sentence each."""
    best, metric = c.best, c.metric
    value, (low, high) = best.metrics[metric], best.intervals[metric]
    against = "; ".join(reasons_against(c))
    begin = f"Do not use {best.name} yet: {against}. By" if against else f"Use {best.name}: by"
    lines = [
        f"{begin} cross-validation it is the first ({best.cv:.4f}), and it reaches {c.main.label} {value:.4f} "
        f"[{low:.4f}, {high:.4f}]{c.doubt}."
    ]
    for verdict in c.standing.verdicts:
        if verdict.passed and verdict.uncertain:
            lines.append(f"A gate is passed by the value alone, and would not be with --confident: {verdict.text()}.")
    lines += class_words(c)
    if best.decision:
        lines.append(decision_words(best.decision, c.classes[-1], c.doubt))
    if best.uncertainty:
        lines.append(uncertainty_words(best.uncertainty))
    lines += rival_words(c)
    lines += [tuning_words(tuned, base, metric) for tuned, base in c.tuned_pairs]
    lines += [ensemble_words(entry) for entry in c.entries if entry.weights]
    if c.ceiling is not None:
        lines.append(ceiling_words(c, c.ceiling))
    if best.rough:
        lines.append(f"Its 95 % interval is rough, as too little decides it ({best.rough}): bring more labelled rows.")
    if high - low > (WIDE * max(1, abs(value)) if c.main.higher_is_better else WIDE_ERROR * abs(value)):
        lines.append(f"Its 95 % interval is {high - low:.2g} wide: four times as many labelled rows would halve that.")
    if c.evaluation == "cross_validation":
        lines.append(
            "It was chosen on most of the rows that judge it, none is untouched: confirm its score on fresh rows."
        )
    lines += check_words(c)
    if c.drift is not None and (c.drift["drift"] or c.drift["retrain"]):
        lines.append(f"{c.drift['verdict']} {c.drift['recommendation']}")
    return lines


def reasons_against(c: Comparison) -> Iterator[str]:
    """Why the chosen model is not to be used, a part of a sentence each."""
    for verdict in c.standing.verdicts:
        if not verdict.passed:
            yield f"a gate fails ({verdict.text()})"
    if c.naive is not None and c.best.over_naive is not None and c.best.over_naive[0] <= 0:
        low, high = c.best.over_naive
        yield f"that it beats the naive prediction ({c.naive:.4f}) is not shown (its lead is [{low:+.4f}, {high:+.4f}])"
    better = [name for name, found in c.tests.items() if found.words == "worse"]
    if better:
        yield f"{', '.join(better)} {'does' if len(better) == 1 else 'do'} better on the judged rows, beyond chance"
    for name, found in c.best.checks.items():
        if found.alarm and CHECKS[name].forbids:
            yield f"{CHECKS[name].todo} ({found.sentence.rstrip('.')})"


def check_words(c: Comparison) -> Iterator[str]:
    """What to do about the alarms of the chosen model, and about searches of others that end at an edge."""
    for entry in c.entries:
        for name, found in entry.checks.items():
            own = entry.name == c.chosen
            if found.alarm and not (own and CHECKS[name].forbids) and (own or name == "edge"):
                todo = CHECKS[name].todo
                yield f"{entry.name}: {todo}. {found.sentence}"


def class_words(c: Comparison) -> Iterator[str]:
    """What accuracy does not show where one class is rare."""
    p = c.best.predictions
    if c.task == "binary" and not (p.predicted == 1).any():
        yield (
            f"It predicts no row to be {c.classes[-1]}, and {int((p.actual == 1).sum()):,} are: choose the threshold "
            "by F1 or cost, or compare models by ROC-AUC."
        )
    if c.metric == "accuracy" and c.naive is not None and c.naive >= ONE_CLASS:
        yield f"One class has {c.naive:.1%} of the rows, so accuracy says little of the others: set another metric."


def rival_words(c: Comparison) -> Iterator[str]:
    """How the others do on the same rows."""
    best, others = c.best, [entry for entry in c.entries if entry.name in c.tests]
    equals = [entry for entry in others if c.tests[entry.name].words == "no difference shown"]
    cheapest = min(equals, key=lambda entry: entry.fit_seconds, default=best)
    if cheapest.fit_seconds < best.fit_seconds / 2:
        times, most = best.fit_seconds / cheapest.fit_seconds, c.tests[cheapest.name].high
        yield (
            f"No difference to {cheapest.name} is shown, which fits {times:.0f} times faster: it is the cheaper "
            f"choice, where {c.main.label} may be worse by up to {most:.4f}."
        )
    elif equals:
        yield f"No difference is shown to {', '.join(entry.name for entry in equals)} on these rows."
    for entry in others:
        found = c.tests[entry.name]
        if found.words == "worse":
            yield (
                f"{entry.name} does better on the judged rows, by {-found.value:.4f} [{-found.high:+.4f}, "
                f"{-found.low:+.4f}], though cross-validation ranks it lower ({entry.cv:.4f}). Find out why, or "
                "judge on fresh rows: a choice by the judged rows would make their scores too good."
            )


def ensemble_words(ensemble: Entry) -> str:
    """What an ensemble is made of, and what that costs."""
    parts = ", ".join(f"{weight:.2f} {name}" for name, weight in ensemble.weights.items())
    return (
        f"The {ensemble.name} is the weighted mean of {len(ensemble.weights)} models ({parts}), which all have to "
        "answer each time. Its cross-validated score has paid for the choice of the weights."
    )


def ceiling_words(c: Comparison, ceiling: float) -> str:
    """What is left to the best score that can be expected."""
    value, bounds = c.best.metrics[c.metric], c.best.intervals[c.metric]
    least, most = sorted(lead(c.metric, ceiling, bound) for bound in bounds)
    left = lead(c.metric, ceiling, value)
    if left < 0:
        return (
            f"Its score is above the population ceiling {ceiling:.4f}, by chance of these rows: expect no more than "
            "that of others."
        )
    if least <= 0:
        return (
            f"The population ceiling {ceiling:.4f} lies within its interval: a better model can gain at most "
            f"{most:.4f} with these columns."
        )
    return f"{left:.4f} [{least:.4f}, {most:.4f}] are left to the population ceiling {ceiling:.4f}."


def decision_title(c: Comparison) -> str:
    """What the figures of the models' labels are, where thresholds are chosen for a cost or a capacity."""
    found, positive = c.decisions[0].decision, c.classes[-1]
    assert found is not None
    if "cost" in found:
        return f"Cost of wrong predictions per {found['per_rows']:,} rows, and whether others cost more or less"
    return (
        f"How many of the rows that are followed up are {positive}: of {found['rows']:,} rows {found['positives']:,} "
        f"are, and {found['capacity']:,} can be followed up"
    )


@dataclass(frozen=True)
class Part:
    """A line of an explained row: a column, its value, what it adds to the prediction, and how large that is beside the
    largest (0 to 1).
    """

    column: str
    value: str
    added: float | None
    size: float = 0.0


def parts_of(case: Case) -> tuple[list[Part], list[Part]]:
    """The lines of a row that are shown, largest contributions first, and the others; without any contributions in the
    order of importance. What all columns that are not shown add together is a line of its own.
    """
    names = [*case.values]
    if case.added is None:
        lines = [Part(name, case.values[name], None) for name in names]
        return lines[:LINES], lines[LINES:]
    added = case.added
    shown = sorted(added, key=lambda name: -abs(added[name]))[:LINES]
    hidden = sorted(set(names) - {*shown}, key=lambda name: (-abs(added.get(name, 0.0)), names.index(name)))
    largest = max((abs(value) for value in added.values()), default=0.0) or 1.0
    lines = [Part(name, case.values[name], added[name], abs(added[name]) / largest) for name in shown]
    if hidden:
        left = case.rest + sum(added.get(name, 0.0) for name in hidden)
        which = "other column" if len(hidden) == 1 else "other columns"
        lines.append(Part(f"{len(hidden)} {which}", "", left, min(1.0, abs(left) / largest)))
    return lines, [Part(name, case.values[name], added.get(name)) for name in hidden]


def signed(value: float) -> str:
    """A contribution, as short as can be read."""
    return f"{value:+,.0f}" if abs(value) >= 1e4 else f"{value:+.3g}" if abs(value) >= 5e-5 else "+0"


def tuning_words(tuned: Entry, base: Entry, metric: str) -> str:
    """What tuning changed on the judged rows, and whether that is more than chance."""
    change = lead(metric, tuned.metrics[metric], base.metrics[metric])
    if change == 0 and tuned.cv == base.cv:
        return (
            f"The search for settings of {tuned.model} found none with a better cross-validated score than "
            f"{base.cv:.4f}: those of the baseline stay."
        )
    label, side = METRICS[metric].label, "worse" if change < 0 else "better"
    if tuned.gain_interval is None:
        return f"Tuning {tuned.model} made {label} {abs(change):.4f} {side}."
    gain = Lead(change, *tuned.gain_interval)
    interval = f"[{gain.low:+.4f}, {gain.high:+.4f}]"
    if gain.words == "no difference shown":
        return f"Tuning {tuned.model}, {label}: {change:+.4f} {interval}, no difference shown."
    more = "" if gain.words == "better" else ", so that its baseline is the better one there"
    return f"Tuning {tuned.model} made {label} {abs(change):.4f} {side} {interval}: more than chance{more}."
