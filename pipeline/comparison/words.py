"""Recommendations and summaries in words, each from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.comparison.entries import Comparison, Entry
from pipeline.gates.results import SAME
from pipeline.settings import Dataset


def advice(
    dataset: Dataset,
    entries: Sequence[Entry],
    chosen: str,
    tests: Mapping[str, tuple[float, tuple[float, float], str]],
    ceiling: float | None,
    drift: Mapping[str, Any] | None,
    facts: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """Recommendations in words, each from the numbers; `facts` are the committed figures of each model."""
    from pipeline.metrics import METRICS

    metric, name = dataset.metric, METRICS[dataset.metric].label
    best = next(entry for entry in entries if entry.name == chosen)
    low, high = best.intervals[metric]
    lines = [
        f"Use {chosen}: cross-validation ranks it first ({best.cv:.4f}), and it reaches {name} "
        f"{best.metrics[metric]:.4f} [{low:.4f}, {high:.4f}]."
    ]
    equals = [other for other in entries if other.name in tests and tests[other.name][2] == "no difference shown"]
    cheaper = [other for other in equals if other.fit_seconds < best.fit_seconds / 2]
    if cheaper:
        pick = min(cheaper, key=lambda other: other.fit_seconds)
        times = best.fit_seconds / pick.fit_seconds
        lines.append(
            f"No difference to {pick.name} is shown, which fits {times:.0f} times faster: it is the cheaper choice."
        )
    elif equals:
        lines.append(f"No difference is shown to {', '.join(other.name for other in equals)} on these rows.")
    for other in entries:
        if other.name in tests and tests[other.name][2] == "worse":
            lines.append(f"{other.name} scores higher on the judged rows: more folds or rows would settle the choice.")
    for tuned in (entry for entry in entries if entry.tuned):
        base = next((entry for entry in entries if entry.name == tuned.model), None)
        if base is not None:
            lines.append(tuning_words(tuned, base, name, metric, facts.get(tuned.name, {})))
    if ceiling is not None:
        if high >= ceiling:
            lines.append(
                f"The achievable ceiling {ceiling:.4f} lies within its interval: better models cannot help much."
            )
        else:
            lines.append(f"{ceiling - best.metrics[metric]:.4f} are left to the achievable ceiling {ceiling:.4f}.")
    if high - low > 0.1:
        lines.append(f"Its 95 % interval is {high - low:.2f} wide: more labelled rows would tell the models apart.")
    if drift is not None and (drift["drift"] or drift["retrain"]):
        lines.append(f"{drift['verdict']} {drift['recommendation']}")
    return lines


def tuning_words(tuned: Entry, base: Entry, name: str, metric: str, facts: Mapping[str, Any]) -> str:
    """What tuning changed on the judged rows, and whether that is more than chance."""
    change = tuned.metrics[metric] - base.metrics[metric]
    if change == 0:
        return f"Tuning {tuned.model} changed nothing: its first settings stayed the best."
    words = f"Tuning {tuned.model} {'gained' if change > 0 else 'lost'} {abs(change):.4f} {name}"
    low, high = facts.get("difference_interval", (None, None))
    if low is None:
        return f"{words}."
    shown = "more than chance" if low > 0 or high < 0 else "no difference shown"
    return f"{words} [{low:+.4f}, {high:+.4f}]: {shown}."


def overall_words(summary: Mapping[str, Any]) -> str:
    from pipeline.metrics import METRICS

    best = summary["best_overall"]
    parts = [
        f"{name}: {facts['best_model']} ({METRICS[facts['metric']].label} {facts['value']:.3f})"
        for name, facts in summary["datasets"].items()
    ]
    return (
        f"Best over all is {best['model']}, tuned or not, chosen on {best['datasets_won']} of {len(parts)} datasets "
        f"(mean rank {best['mean_rank']:.2f}). {'; '.join(parts)}."
    )


def summary_markdown(
    comparisons: Sequence[Comparison], summary: Mapping[str, Any], earlier: Mapping[str, Any] | None
) -> str:
    """The page for a pull request; with the differences to earlier comparison results where they are given."""
    lines = [
        "### Results",
        "",
        "| dataset | best model | metric | score [95 % interval] | ceiling | gain of tuning | gates |",
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for comparison in comparisons:
        facts = summary["datasets"][comparison.dataset]
        changes = facts["gain_of_tuning"].items()
        gains = ", ".join(f"{model} {'from 0' if gain is None else format(gain, '+.2%')}" for model, gain in changes)
        low, high = facts["interval"]
        passed = "pass" if all(verdict.passed for verdict in comparison.verdicts) else "**fail**"
        ceiling = "unknown" if comparison.ceiling is None else f"{comparison.ceiling:.4f}"
        score = f"{facts['value']:.4f} [{low:.4f}, {high:.4f}]"
        tuning = gains or "not tuned"
        cells = [comparison.dataset, facts["best_model"], facts["metric"], score, ceiling, tuning, passed]
        lines.append(f"| {' | '.join(cells)} |")
    best = summary["best_overall"]
    lines += ["", f"Best over all: {best['model']} ({best['datasets_won']} of {len(comparisons)} datasets)."]
    if earlier is not None:
        lines += ["", *difference_lines(comparisons, earlier)]
    return "\n".join(lines) + "\n"


def difference_lines(comparisons: Sequence[Comparison], earlier: Mapping[str, Any]) -> list[str]:
    """A Markdown table of every metric that differs from earlier comparison results."""
    rows = []
    for comparison in comparisons:
        before = earlier.get(comparison.dataset, {})
        for entry in comparison.entries:
            for metric, value in entry.metrics.items():
                old = before.get(entry.name, {}).get(metric)
                if old is None:
                    rows.append(f"| {comparison.dataset} | {entry.name} | {metric} | new | {value:.4f} | |")
                elif abs(value - old) > SAME:
                    change = f"{value - old:+.4f}"
                    rows.append(
                        f"| {comparison.dataset} | {entry.name} | {metric} | {old:.4f} | {value:.4f} | {change} |"
                    )
        now = {entry.name for entry in comparison.entries}
        rows += [f"| {comparison.dataset} | {name} | | there | not run | |" for name in before if name not in now]
    if not rows:
        return ["No metric differs from the earlier results."]
    return ["| dataset | model | metric | before | now | difference |", "|---|---|---|---|---|---|", *rows]
