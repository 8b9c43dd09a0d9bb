"""Recommendations in words, each from the numbers."""

from __future__ import annotations

from pipeline.comparison.entries import Comparison, Entry, Lead
from pipeline.metrics import METRICS, lead
from pipeline.worth import decision_words

# An interval is wide from this share of the score on, or this much for scores below 1.
WIDE = 0.1


def advice(c: Comparison) -> list[str]:
    """What to do with a dataset's models, a sentence each."""
    best, metric = c.best, c.metric
    value, (low, high) = best.metrics[metric], best.intervals[metric]
    lines = [
        f"Use {best.name}: cross-validation ranks it first ({best.cv:.4f}), and it reaches {c.main.label} "
        f"{value:.4f} [{low:.4f}, {high:.4f}]{c.doubt}."
    ]
    if best.decision:
        lines.append(decision_words(best.decision, c.classes[-1], c.doubt))
    shown = {entry.name: c.tests[entry.name].words for entry in c.entries if entry.name in c.tests}
    equals = [entry for entry in c.entries if shown.get(entry.name) == "no difference shown"]
    cheapest = min(equals, key=lambda entry: entry.fit_seconds, default=best)
    if cheapest.fit_seconds < best.fit_seconds / 2:
        times = best.fit_seconds / cheapest.fit_seconds
        lines.append(
            f"No difference to {cheapest.name} is shown, which fits {times:.0f} times faster: it is the cheaper choice."
        )
    elif equals:
        lines.append(f"No difference is shown to {', '.join(entry.name for entry in equals)} on these rows.")
    higher = "higher" if c.main.higher_is_better else "lower, which is better,"
    for name, words in shown.items():
        if words == "worse":
            lines.append(f"{name} scores {higher} on the judged rows: more folds or rows would settle the choice.")
    lines += [tuning_words(tuned, base, metric) for tuned, base in c.tuned_pairs]
    if c.ceiling is not None:
        if max(lead(metric, bound, c.ceiling) for bound in (low, high)) >= 0:
            lines.append(
                f"The achievable ceiling {c.ceiling:.4f} lies within its interval: better models cannot help much."
            )
        else:
            left = lead(metric, c.ceiling, value)
            lines.append(f"{left:.4f} are left to the achievable ceiling {c.ceiling:.4f}.")
    if best.rough:
        lines.append(f"Its 95 % interval is rough: what decides it is too little ({best.rough}).")
    if high - low > WIDE * max(1, abs(value)):
        lines.append(f"Its 95 % interval is {high - low:.2f} wide: more labelled rows would tell the models apart.")
    if c.drift is not None and (c.drift["drift"] or c.drift["retrain"]):
        lines.append(f"{c.drift['verdict']} {c.drift['recommendation']}")
    return lines


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


def tuning_words(tuned: Entry, base: Entry, metric: str) -> str:
    """What tuning changed on the judged rows, and whether that is more than chance."""
    change = lead(metric, tuned.metrics[metric], base.metrics[metric])
    if change == 0:
        return f"Tuning {tuned.model} changed nothing: its first settings stayed the best."
    side = "better" if change > 0 else "worse"
    words = f"Tuning {tuned.model} made {METRICS[metric].label} {abs(change):.4f} {side}"
    if tuned.gain_interval is None:
        return f"{words}."
    gain = Lead(change, *tuned.gain_interval)
    shown = gain.words if gain.words == "no difference shown" else "more than chance"
    return f"{words} [{gain.low:+.4f}, {gain.high:+.4f}]: {shown}."
