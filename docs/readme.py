"""Generated parts of the README, called by cog: help texts from the scripts, tables from the committed metrics."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.calibrate import PUBLISHED, PUBLISHED_TUNED

ROOT = Path(__file__).resolve().parent.parent
LABELS = {"r2": "R²", "roc_auc": "ROC-AUC", "f1": "F1", "accuracy": "accuracy"}


def help_text(script: str) -> str:
    """What `python <script> --help` prints, as a code block."""
    done = subprocess.run(
        [sys.executable, str(ROOT / script), "--help"],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=True,
    )
    return f"```\n$ python {script} --help\n{done.stdout}```"


def results_table() -> str:
    """Our scores with their intervals beside the published ones and the ceilings."""
    lines = ["| dataset | metric | model | ours [95 % interval] | published | ceiling |", "|---|---|---|---|---|---|"]
    for (name, metric), published in PUBLISHED.items():
        trained, tuned = _metrics("train", name)["models"], _metrics("tune", name)["models"]
        ceiling = _metrics("data", name)["ceiling"]
        level = f"{ceiling['value']:.4f}" if ceiling["metric"] == metric else ""
        rows: dict[str, Any] = {model: (trained[model], published[model]) for model in published}
        best = PUBLISHED_TUNED.get((name, metric))
        rows |= {f"{model}_tuned": (facts, best) for model, facts in tuned.items()}
        for model, (facts, other) in rows.items():
            low, high = facts["interval"][metric]
            score = f"{facts['score'][metric]:.4f} [{low:.4f}, {high:.4f}]"
            reference = "" if other is None else f"{other:.4f}"
            lines.append(f"| {name} | {LABELS[metric]} | {model} | {score} | {reference} | {level} |")
    return "\n".join(lines)


def calibration_table() -> str:
    """Medians and ranges of the baselines over many generator seeds."""
    found = _read("benchmarks/results/calibration.json")
    lines = [
        f"| dataset | metric | model | published | median of {found['seeds']} seeds | range |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["table"]:
        lines.append(
            f"| {row['dataset']} | {LABELS[row['metric']]} | {row['model']} | {row['published']:.4f} "
            f"| {row['median']:.4f} | {row['low']:.4f} to {row['high']:.4f} |"
        )
    return "\n".join(lines)


def tuning_table() -> str:
    """What tuning gained, and what pruning did."""
    lines = [
        "| dataset | model | complete, pruned, failed | cross-validated before, after | difference on judged rows |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(name for name, _ in PUBLISHED):
        metric = _metrics("train", name)["metric"]
        for model, facts in _metrics("tune", name)["models"].items():
            trials = facts["trials"]
            low, high = facts["difference_interval"]
            lines.append(
                f"| {name} | {model} | {trials['complete']}, {trials['pruned']}, {trials['failed']} "
                f"| {LABELS[metric]} {facts['baseline_cv']:.4f}, {facts['cv'][metric]:.4f} "
                f"| {facts['difference']:+.4f} [{low:+.4f}, {high:+.4f}] |"
            )
    return "\n".join(lines)


def speed_table() -> str:
    """Seconds beside the plain way, from one run of the benchmark."""
    found = _read("benchmarks/results/tuning_speed.json")
    lines = [
        "| work | plain | ours: all, of it imports, fits and predictions, rest | times faster |",
        "|---|---|---|---|",
    ]

    def line(name: str, plain: float, parts: list[dict[str, float]], ratio: float) -> str:
        all_, imports, fits, rest = (
            sum(part[key] for part in parts) for key in ("seconds", "imports", "fit_predict", "rest")
        )
        return f"| {name} | {plain:.0f} s | {all_:.0f} s: {imports:.0f}, {fits:.0f}, {rest:.0f} | {ratio:.1f} |"

    base = found["baselines"]
    lines.append(line("the baseline models", base["plain_seconds"], list(base["ours"].values()), base["ratio"]))
    for name, row in found["tuning"].items():
        lines.append(line(f"100 trials, {name}", row["plain_seconds"], [row["ours"]], row["ratio"]))
    plain = sum(row["plain_seconds"] for row in found["tuning"].values())
    ours = [row["ours"] for row in found["tuning"].values()]
    lines.append(line("300 trials together", plain, ours, found["tuning_ratio"]))
    if "repro" in found:
        row = found["repro"]
        lines.append(
            f"| the whole `dvc repro` | {row['plain_seconds']:.0f} s | {row['seconds']:.0f} s | {row['ratio']:.1f} |"
        )
    return "\n".join(lines)


def winners_table() -> str:
    """The search's winner beside that of a plain study."""
    lines = [
        "| dataset | plain trials | plain winner | our winner | difference on judged rows |",
        "|---|---|---|---|---|",
    ]
    for name, row in _read("benchmarks/results/winners.json").items():
        low, high = row["interval"]
        lines.append(
            f"| {name} | {row['plain_trials']} | {LABELS[row['metric']]} {row['plain']:.4f} | {row['ours']:.4f} "
            f"| {row['difference']:+.4f} [{low:+.4f}, {high:+.4f}] |"
        )
    return "\n".join(lines)


def flaml_table() -> str:
    """Gradient boosting beside FLAML at equal wall time."""
    found = _read("benchmarks/results/flaml.json")
    lines = [
        f"| table | metric, {found['seconds']:.0f} s | ours | our trials | FLAML | difference ± standard error |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in found["tables"].items():
        trials = [split["ours"]["trials"] for split in row["splits"]]
        inside = ", no difference shown" if abs(row["difference"]) < row["standard_error"] else ""
        lines.append(
            f"| {name} | {LABELS[row['metric']]} | {row['ours']:.4f} | {min(trials)} to {max(trials)} "
            f"| {row['flaml']:.4f} | {row['difference']:+.4f} ± {row['standard_error']:.4f}{inside} |"
        )
    return "\n".join(lines)


def threshold_table() -> str:
    """F1 at tuned thresholds as cross-validation finds it, and on fresh rows."""
    found = _read("benchmarks/results/threshold_bias.json")
    lines = [
        f"| model | threshold from | cross-validated F1, mean of {found['seeds']} tables | F1 on fresh rows "
        "| difference ± standard error |",
        "|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        lines.append(
            f"| {row['model']} | {row['threshold']} | {row['cross_validated']:.3f} | {row['fresh_rows']:.3f} "
            f"| {row['difference']:+.3f} ± {row['standard_error']:.3f} |"
        )
    return "\n".join(lines)


def drift_table() -> str:
    """How often the drift verdict is a false alarm, and how often it finds what it should."""
    found = _read("benchmarks/results/drift_verdicts.json")
    lines = ["| situation | dataset | rows | tables | drift called |", "|---|---|---|---|---|"]
    for row in found["table"]:
        lines.append(
            f"| {row['situation']} | {row['dataset']} | {row['rows']:,} | {row['tables']} | {row['called']:.1%} |"
        )
    return "\n".join(lines)


def drift_speed() -> str:
    """What a large table costs."""
    rows = [
        f"{row['situation']} {row['processor_seconds']:.0f} s on the processor and {row['peak_mb'] / 1000:.1f} GB"
        for row in _read("benchmarks/results/drift_speed.json")["table"]
    ]
    return f"1,000,000 rows of 12 columns (`python -m benchmarks.drift_speed`): {'; '.join(rows)}."


def compare_speed() -> str:
    """What many runs cost."""
    rows = [
        f"{row['trials']:,} trial runs {row['processor_seconds']:.1f} s"
        for row in _read("benchmarks/results/compare_speed.json")["table"]
    ]
    return f"Besides imports, on the processor (`python -m benchmarks.compare_speed`): {'; '.join(rows)}."


def row_scaling() -> str:
    """What each stage costs at growing numbers of rows, and how that grows."""
    found = _read("benchmarks/results/row_scaling.json")
    sizes = [size["rows"] for size in found["table"][0]["sizes"]]
    steps = [f"{low:,} to {high:,}" for low, high in itertools.pairwise(sizes)]
    head = [*(f"{rows:,} rows" for rows in sizes), *(f"exponent, {step}" for step in steps)]
    lines = [f"| stage | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for row in found["table"]:
        costs = [f"{size['processor_seconds']:,.0f} s, {size['peak_mb'] / 1000:.1f} GB" for size in row["sizes"]]
        grown = [f"{value:.2f}" for value in row["exponents"]]
        lines.append(f"| `{row['stage']}` | {' | '.join([*costs, *grown])} |")
    return "\n".join(lines)


def billion_rows() -> str:
    """What each stage takes for a million rows more, and what a billion rows would take at that rate."""
    found = _read("benchmarks/results/row_scaling.json")
    lines = [
        "| stage | processor time a million rows | memory a row | a billion rows, processor time | memory |",
        "|---|---|---|---|---|",
    ]
    for row in found["table"]:
        smaller, larger = row["sizes"][-2:]
        more = larger["rows"] - smaller["rows"]
        seconds = (larger["processor_seconds"] - smaller["processor_seconds"]) / more
        memory = (larger["peak_mb"] - smaller["peak_mb"]) * 1e6 / more
        if seconds * 1e9 < 3600:
            lines.append(f"| `{row['stage']}` | reads no rows | | | |")
            continue
        lines.append(
            f"| `{row['stage']}` | {seconds * 1e6:,.0f} s | {memory:,.0f} bytes "
            f"| {seconds * 1e9 / 3600:,.0f} hours | {memory:,.0f} GB |"
        )
    words = f"Forests have {found['trees']} trees here; a hundred take {100 // found['trees']} times as long to fit."
    return "\n".join([*lines, "", words])


def many_runs() -> str:
    """What a store of many runs costs."""
    found = _read("benchmarks/results/many_runs.json")
    ratios = [
        f"`{row['script']}` takes {row['ratio']:.2f} times as long as on an empty store" for row in found["table"]
    ]
    return (
        f"With {found['trials']:,} trial runs in the store (`python -m benchmarks.many_runs`, imports included) "
        f"`compare_results.py` takes {found['compare']['seconds']:.0f} s; {', '.join(ratios)}."
    )


def own_tables() -> str:
    """Our best baseline beside the best hand-written pipeline, on tables of which nothing is set but the target."""
    lines = ["| table | rows x columns | metric | ours | written by hand | ratio |", "|---|---|---|---|---|---|"]
    for row in _read("benchmarks/results/own_tables.json")["table"]:
        lines.append(
            f"| {row['table']} | {row['rows']:,} x {row['columns']} | {LABELS[row['metric']]} "
            f"| {row['ours']:.4f} ({row['model']}) | {row['by_hand']:.4f} | {row['ratio']:.4f} |"
        )
    return "\n".join(lines)


def _metrics(stage: str, name: str) -> Any:
    return _read(f"metrics/{stage}/{name}.json")


def _read(path: str) -> Any:
    return json.loads((ROOT / path).read_text(encoding="utf-8"))
