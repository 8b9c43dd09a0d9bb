"""Generated parts of the pages, called by cog: help texts from the scripts, tables from committed figures."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from benchmarks.calibrate import PUBLISHED, PUBLISHED_TUNED
from benchmarks.paired import paired_interval
from pipeline.checks.check import CHECKS
from pipeline.gates.calibrated import seed_words
from pipeline.gates.judge import earlier_verdicts, told
from pipeline.gates.overview import doubts, standings_of, table_lines
from pipeline.html import glossary
from pipeline.metrics import METRICS
from pipeline.search.budget import value_after
from pipeline.settings import BOOSTING, ENSEMBLE, TUNED, load_config

ROOT = Path(__file__).resolve().parent.parent
AUTOML = {
    "ours": "ours",
    "ours_boost": "ours, extra `boost`",
    "autogluon_medium": "AutoGluon, medium_quality",
    "autogluon_best": "AutoGluon, best_quality",
    "flaml": "FLAML",
}


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


def verdicts() -> str:
    """The last lines of the pipeline: each gate's verdict, and how each dataset stands."""
    verdicts = earlier_verdicts(ROOT / "metrics/validation.json")
    lines = [*(verdict.line() for verdict in verdicts), "", *table_lines(standings_of(load_config(), verdicts))]
    return "\n".join(["```", *lines, "", told(verdicts), "```"])


def cold_run() -> str:
    """How long the pipeline takes."""
    found = _read("benchmarks/results/tuning_speed.json")
    minutes = found["cold"]["make pipeline"]["seconds"] / 60
    return (
        f"A cold run takes about {minutes:.0f} minutes on {found['cores']} cores, installing included; a second run "
        "finds nothing to do but to judge the gates."
    )


def results_table() -> str:
    """Our scores with their intervals beside the published ones and the ceilings."""
    rows = []
    for (name, metric), published in PUBLISHED.items():
        trained, tuned = _metrics("train", name)["models"], _metrics("tune", name)["models"]
        dataset = load_config().dataset(name)
        ceiling = _metrics("data", name)["ceiling"]
        level = f"{ceiling['value']:.4f}" if ceiling["metric"] == metric else ""
        models: dict[str, Any] = {model: (trained[model], published[model]) for model in published}
        best = PUBLISHED_TUNED.get((name, metric))
        models |= {f"{model}_tuned": (facts, best) for model, facts in tuned.items()}
        ensemble = _metrics("ensemble", name)["models"]
        models |= {model: (facts, None) for model, facts in ensemble.items()}
        parts = trained | {f"{model}_tuned": facts for model, facts in tuned.items()} | ensemble
        for model, (facts, other) in models.items():
            doubt = doubts(dataset, parts, model, metric)
            score = f"{facts['score'][metric]:.4f} {_interval(facts['interval'][metric])}{doubt}"
            rows.append([name, _label(metric), model, score, "" if other is None else f"{other:.4f}", level])
    return _table(["dataset", "metric", "model", "ours [95 % interval]", "published", "population ceiling"], rows)


def datasets_table() -> str:
    """The shapes of the three tables, and what no model can be expected to beat on them."""
    rows = []
    for name in dict.fromkeys(name for name, _ in PUBLISHED):
        facts = _metrics("data", name)
        share = f"{min(facts['class_share'].values()):.1%}" if facts["class_share"] else ""
        ceiling = f"{_label(facts['ceiling']['metric'])} {facts['ceiling']['value']:.4f}"
        rows.append([name, f"{facts['rows']:,} x {facts['columns']}", facts["target"], share, ceiling])
    return _table(["dataset", "rows x columns", "target", "share of the rarer class", "population ceiling"], rows)


def calibration_table() -> str:
    """Medians and ranges of the baselines over many generator seeds."""
    found = _read("benchmarks/results/calibration.json")
    rows = [
        [
            row["dataset"],
            _label(row["metric"]),
            row["model"],
            f"{row['published']:.4f}",
            f"{row['median']:.4f}",
            f"{row['low']:.4f} to {row['high']:.4f}",
        ]
        for row in found["table"]
    ]
    return _table(["dataset", "metric", "model", "published", f"median of {found['seeds']} seeds", "range"], rows)


def lucky_seed() -> str:
    """Which baselines the default seed puts outside the range of the calibration's seeds."""
    config = load_config()
    words = {
        name: seed_words(config.dataset(name), _metrics("train", name)["models"])
        for name in dict.fromkeys(name for name, _ in PUBLISHED)
    }
    told = [f"- {name}, seed {config.seed}: {sentence}" for name, sentence in words.items() if sentence]
    return "\n".join(told) or f"- The default seed, {config.seed}, is within the ranges of all calibration seeds."


def tuning_table() -> str:
    """What tuning gained, and what pruning did."""
    rows = []
    for name in dict.fromkeys(name for name, _ in PUBLISHED):
        metric = _metrics("train", name)["metric"]
        for model, facts in _metrics("tune", name)["models"].items():
            trials = facts["trials"]
            rows.append(
                [
                    name,
                    model,
                    f"{trials['complete']}, {trials['pruned']}, {trials['failed']}",
                    f"{facts['pruned_work']:.0%}",
                    f"{_label(metric)} {facts['baseline_cv']:.4f}, {facts['cv'][metric]:.4f}",
                    f"{facts['difference']:+.4f} {_interval(facts['difference_interval'], '+.4f')}",
                ]
            )
    head = ["dataset", "model", "complete, pruned, failed", "work saved by pruning", "cross-validated before, after"]
    return _table([*head, "difference on judged rows"], rows)


def lag_table() -> str:
    """What a lag costs a search."""
    found = _read("benchmarks/results/lag.json")
    rows = [
        [lag, f"{facts['share']:.3f}", f"{facts['loss']:+.3f} {_interval(facts['loss_interval'], '+.3f')}"]
        for lag, facts in found["lags"].items()
    ]
    return _table(["lag", "share of the way to the best", "less than one after the other"], rows)


def speed_table() -> str:
    """Seconds beside the plain way, from one run of the benchmark."""
    found = _read("benchmarks/results/tuning_speed.json")

    def row(name: str, plain: float, parts: Sequence[dict[str, float]], ratio: float) -> list[str]:
        whole, imports, fits, rest = (
            sum(part[key] for part in parts) for key in ("seconds", "imports", "fit_predict", "rest")
        )
        return [name, f"{plain:.0f} s", f"{whole:.0f} s: {imports:.0f}, {fits:.0f}, {rest:.0f}", f"{ratio:.1f}"]

    base, tuned = found["baselines"], found["tuning"]
    plain = sum(facts["plain_seconds"] for facts in tuned.values())
    rows = [
        row("the nine baseline models", base["plain_seconds"], [base["ours"]], base["ratio"]),
        *(row(f"100 trials, {name}", f["plain_seconds"], [f["ours"]], f["ratio"]) for name, f in tuned.items()),
        row("300 trials together", plain, [facts["ours"] for facts in tuned.values()], found["tuning_ratio"]),
    ]
    for name, whole in found["cold"].items():
        ours = f"{whole['seconds']:.0f} s, {whole['cores_busy']:.1f} cores busy"
        rows.append([f"`{name}`, cold", f"{found['plain_seconds']:.0f} s", ours, f"{whole['ratio']:.1f}"])
    return _table(["work", "plain", "ours: all, of it imports, fits and predictions, rest", "times faster"], rows)


def winners_table() -> str:
    """The search's winner beside those of plain studies, of the specified space and of ours."""
    spaces = {"specified": "the four specified, no class weights", "ours": "as ours"}
    found = _read("benchmarks/results/winners.json")
    rows = [
        [
            name,
            spaces[space],
            str(row["plain_trials"]),
            f"{_label(row['metric'])} {row['plain']:.4f}",
            f"{row['ours']:.4f}",
            f"{row['difference']:+.4f} {_interval(row['interval'], '+.4f')}{_shown(row['interval'])}",
        ]
        for name, studies in found.items()
        for space, row in studies.items()
    ]
    alike = [studies["ours"]["interval"] for studies in found.values()]
    better, worse = sum(low > 0 for low, _ in alike), sum(high < 0 for _, high in alike)
    words = (
        f"With the same settings searched, ours is shown to be better on {better} of {len(alike)} tables and worse on "
        f"{worse}: what it saves is [time](#time)."
    )
    head = ["dataset", "settings searched by the plain study", "plain trials", "plain winner", "our winner"]
    return "\n".join([_table([*head, "difference on judged rows [95 % interval]"], rows), "", words])


def automl_tables() -> str:
    """The public tables that our search is measured on beside other systems."""
    rows = [
        [
            name,
            facts["from"],
            f"{facts['rows']:,} x {facts['columns']}",
            f"{facts['target']}, {_label(facts['metric'])}"
            + ("" if facts["positive"] is None else f", {facts['positive']:.0%} positive"),
            f"{facts['categories']}",
            f"{facts['missing']:.1%}",
            f"{', '.join(facts['left_out'])}: {facts['why']}" if facts["left_out"] else "",
        ]
        for name, facts in _read("benchmarks/results/automl.json")["tables"].items()
    ]
    head = ["table", "from (R package, item)", "rows x columns", "target, metric", "columns of words", "missing values"]
    return _table([*head, "left out"], rows)


def automl_scores() -> str:
    """Ours beside AutoGluon and FLAML at equal wall time: who is ahead, scores, and the differences of each table."""
    found = _read("benchmarks/results/automl.json")
    counted = sorted(found["summary"], key=_automl_order)
    counts = [
        [
            f"{row['budget']:.0f} s, {row['split']}",
            AUTOML[row["ours"]],
            AUTOML[row["other"]],
            "kept" if row["kept"] else "worked on",
            f"{row['ahead']} of {len(row['tables'])}",
            *(f"{row[way]}" for way in ("shown_ahead", "shown_behind")),
        ]
        for row in counted
    ]
    head = ["budget, split", "of ours", "beside", "tables", "ours is ahead on", "shown ahead", "shown behind"]
    parts = [_table(head, counts)] if counts else []
    parts += _automl_over_splits(counted)
    measured = {(row["budget"], row["split"]) for row in found["rows"]}
    for budget, split in sorted(measured, key=lambda one: (one[0], -one[1])):
        rows, compared = (
            [row for row in some if (row["budget"], row["split"]) == (budget, split)]
            for some in (found["rows"], counted)
        )
        tables = {name: facts for name, facts in found["tables"].items() if any(row["table"] == name for row in rows)}
        parts += [
            f"**{budget:.0f} s, split {split}.** Scores:",
            _automl_scores(rows, tables),
            "Differences [95 % interval]:",
            _automl_differences(compared, tables),
        ]
    return "\n\n".join(parts)


def automl_ingredients() -> str:
    """What each part of our search gives alone in the same budget: the mean lead of the test score over boosting of the
    default install, whose settings the same search has found.
    """
    rows = [row for row in _read("benchmarks/results/automl.json")["rows"] if row["system"].startswith("ours")]
    found: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        same = [one for one in rows if all(one[key] == row[key] for key in ("budget", "table", "split"))]
        plain = next((one["models"] for one in same if one["system"] == "ours"), {})
        if f"{BOOSTING}{TUNED}" not in plain:
            continue
        single = [scores for name, scores in row["models"].items() if name != ENSEMBLE]
        key = f"{row['budget']:.0f} s", AUTOML[row["system"]]
        for part, score in (("the best single model", max(single)[1]), ("with the ensemble", row["score"])):
            found.setdefault((*key, part), []).append(score - plain[f"{BOOSTING}{TUNED}"][1])
    lines = [
        [*key, f"{len(leads)}", _signed([sum(leads) / len(leads), *paired_interval(leads)])]
        for key, leads in found.items()
        if len(leads) > 1
    ]
    head = ["budget", "of ours", "chosen by its cross-validated score", "tables x splits"]
    return _table([*head, "test score less that of tuned `gradient_boosting` alone"], lines)


def automl_curves() -> str:
    """How often the second half of a search brought no more than the second quarter, by which a search tells what as
    long again may bring.
    """
    gains = []
    for row in _read("benchmarks/results/automl.json")["rows"]:
        curve = row.get("curve") or [[0.0, math.nan, ""]]
        quarter, half, whole = (value_after(curve, curve[-1][0] * share) for share in (0.25, 0.5, 1.0))
        if math.isfinite(quarter):
            gains.append((half - quarter, whole - half))
    less = sum(last <= first for first, last in gains)
    first, last = (sum(own) / max(1, len(gains)) for own in zip(*gains, strict=True)) if gains else (0.0, 0.0)
    return (
        f"Of {len(gains)} searches above, {less} gained no more in their second half than in their second quarter; the "
        f"means are {last:+.4f} and {first:+.4f} (R² or ROC-AUC of the search)."
    )


def _automl_order(row: dict[str, Any]) -> tuple[Any, ...]:
    """Where a count stands: by budget, the newest split first, kept tables last."""
    systems = list(AUTOML)
    return row["budget"], -row["split"], row["kept"], systems.index(row["ours"]), systems.index(row["other"])


def _automl_over_splits(compared: Sequence[dict[str, Any]]) -> list[str]:
    """On how many of the worked-on tables that were measured on several splits ours is ahead by the mean difference."""
    found: dict[Any, dict[str, list[float]]] = {}
    for row in compared:
        tables = found.setdefault((row["budget"], row["ours"], row["other"]), {})
        for name, facts in row["tables"].items() if not row["kept"] else ():
            tables.setdefault(name, []).append(facts["difference"])
    rows = []
    for (budget, mine, other), tables in found.items():
        means = [(sum(own) / len(own), len(own)) for own in tables.values() if len(own) > 1]
        if means:
            splits = f"{max(number for _, number in means)}"
            ahead = f"{sum(mean > 0 for mean, _ in means)} of {len(means)}"
            rows.append([f"{budget:.0f} s", AUTOML[mine], AUTOML[other], splits, ahead])
    if not rows:
        return []
    words = "By the mean difference of the splits, of the tables that were worked on and measured on several:"
    return [words, _table(["budget", "of ours", "beside", "splits", "ours is ahead on"], rows)]


def _automl_scores(rows: Sequence[dict[str, Any]], tables: dict[str, Any]) -> str:
    """The score of each system on each table of a split, or that it failed, and its seconds."""
    systems = [name for name in AUTOML if any(row["system"] == name for row in rows)]
    scores = {(row["table"], row["system"]): f"{row['score']:.4f}" if "score" in row else "failed" for row in rows}
    lines = [
        [f"{name}, {_label(facts['metric'])}", *(scores.get((name, system), "") for system in systems)]
        for name, facts in tables.items()
    ]
    seconds = [[row["seconds"] for row in rows if row["system"] == one and "seconds" in row] for one in systems]
    told = [f"{sum(of_one) / len(of_one):.0f}, {max(of_one):.0f}" if of_one else "" for of_one in seconds]
    lines.append(["*seconds: mean, most*", *told])
    return _table(["table, metric", *(AUTOML[system] for system in systems)], lines)


def _automl_differences(compared: Sequence[dict[str, Any]], tables: dict[str, Any]) -> str:
    """Ours less each other system on each table."""
    others, mine = ([name for name in AUTOML if any(row[key] == name for row in compared)] for key in ("other", "ours"))
    found = {(row["ours"], row["other"], name): facts for row in compared for name, facts in row["tables"].items()}
    lines = [
        [name, AUTOML[one], *(_difference(found.get((one, other, name))) for other in others)]
        for name in tables
        for one in mine
    ]
    return _table(["table", "", *(f"less {AUTOML[other]}" for other in others)], lines)


def _difference(facts: dict[str, Any] | None) -> str:
    """A difference with its interval."""
    return f"{facts['difference']:+.4f} {_interval(facts['interval'], '+.4f')}" if facts else ""


def search_rows_table() -> str:
    """What a search on a sample of a large table loses, by the rows of the sample."""
    found = _read("benchmarks/results/search_rows.json")
    tables, rows = list(dict.fromkeys(row["table"] for row in found["table"])), []
    for size, facts in found["sizes"].items():
        scores = [[row["sizes"][size]["score"] for row in found["table"] if row["table"] == table] for table in tables]
        whole = f"{facts['lost']:+.4f} {_interval(facts['interval'], '+.4f')}"
        means = [f"{sum(own) / len(own):.4f}" for own in scores]
        rows.append([f"{int(size):,}", *means, whole, f"{facts['seconds']:.0f} s"])
    return _table(["rows searched on", *tables, "less than with the largest sample", "seconds of the search"], rows)


def metrics_table() -> str:
    """Every metric: what a dataset's `metric` calls it, its label, and whose task it is of."""
    rows = []
    for name, metric in METRICS.items():
        tasks = [f"**{task}**" if task in metric.default_of else task for task in metric.tasks]
        rows.append([f"`{name}`", metric.label, ", ".join(tasks), "higher" if metric.higher_is_better else "lower"])
    return _table(["`metric`", "label", "tasks (bold: the default)", "better"], rows)


def threshold_table() -> str:
    """F1 at tuned thresholds as cross-validation finds it, and on fresh rows."""
    found = _read("benchmarks/results/threshold_bias.json")
    rows = [
        [
            row["model"],
            row["threshold"],
            f"{row['cross_validated']:.3f}",
            f"{row['fresh_rows']:.3f}",
            f"{row['difference']:+.3f} {_interval(row['interval'], '+.3f')}",
        ]
        for row in found["rows"]
    ]
    head = ["model", "threshold from", f"cross-validated F1, mean of {found['seeds']} tables", "F1 on fresh rows"]
    highest = max(row["interval"][1] for row in found["rows"] if row["threshold"] == "other folds")
    words = f"With thresholds of the other folds every interval ends below +{highest + 0.0005:.3f}."
    return "\n".join([_table([*head, "difference [95 % interval]"], rows), "", words])


def decision_table() -> str:
    """What is said of labels at chosen thresholds with its interval, and what is true on fresh rows."""
    found = _read("benchmarks/results/decisions.json")
    rows = []
    for row in found["rows"]:
        unit = "hits" if "followed" in row else "per 1,000 rows"
        followed = f", {row['followed']:.2f} of the capacity followed up" if "followed" in row else ""
        rows.append(
            [
                f"{row['dataset']}, {row['rows']:,} rows, {row['model']}, {row['evaluation']}",
                f"{row['threshold']} ({unit})",
                f"{row['said']:,.1f}",
                f"{row['true']:,.1f}{followed}",
                f"{row['difference']:+.1f} ± {row['standard_error']:.1f}",
                f"{row['held']:.1%}",
            ]
        )
    held, largest = (
        [row["held"] for row in found["rows"]],
        max(abs(row["difference"]) / row["standard_error"] for row in found["rows"]),
    )
    chance = 200 * (0.95 * 0.05 / found["tables"]) ** 0.5
    words = (
        f"Means of {found['tables']} tables each; the largest difference is {largest:.1f} standard errors from zero. "
        f"The intervals hold the true figure in {min(held):.1%} to {max(held):.1%}, in all "
        f"{sum(held) / len(held):.1%}; by chance alone 95 % moves by {chance:.1f} points (two standard errors)."
    )
    head = ["judged", "threshold", "said", "on fresh rows", "difference ± standard error", "intervals that hold it"]
    return "\n".join([_table(head, rows), "", words])


def recalibration_table() -> str:
    """How calibration errors and recalibration do on simulated tables."""
    found = _read("benchmarks/results/uncertainty.json")
    rows = [
        [
            f"{row['fault']}, {row['rows']:,} {_kind(row['kind'])}",
            f"{row['true']:.3f}",
            f"{row['error']:.3f}",
            f"{row['held']:.1%}",
            f"{row['kept']:.1%}",
            f"{row['before']:.4f}",
            f"{row['after']:.4f}",
        ]
        for row in found["classes"]
    ]
    head = ["model", "true error", "found", "intervals that hold it", "recalibration kept", "log loss of fresh rows"]
    words = f"Means of {found['tables']} tables each. A true model is recalibrated by mistake where it is kept."
    return "\n".join([_table([*head, "recalibrated"], rows), "", words])


def prediction_interval_table() -> str:
    """Which share of fresh rows prediction intervals hold on simulated tables."""
    found = _read("benchmarks/results/uncertainty.json")
    rows = [
        [
            f"{row['rows']:,} {_kind(row['kind'])}",
            f"{row['held']:.1%} ± {2 * row['held_error']:.1%}",
            f"{row['held_lowest']:.1%}",
            f"{row['held_highest']:.1%}",
        ]
        for row in found["numbers"]
    ]
    return _table(["learned from", "held, ± two standard errors", "in the lowest tenth", "in the highest tenth"], rows)


def _kind(kind: str) -> str:
    return {"rows": "rows", "groups": "rows in groups of 20", "time": "rows in time"}[kind]


def coverage_table() -> str:
    """How often intervals hold the true score of simulated models, and how wide they are."""
    found = _read("benchmarks/results/coverage.json")["rows"]

    def span(values: Iterable[float], style: str) -> str:
        low, *_, high = sorted(values)
        return f"{low:{style}} to {high:{style}}"

    rows = []
    for row in found:
        rarer = f", {row['rarer_class']:,} of the rarer class" if row["rarer_class"] else ""
        rarer += f", ROC-AUC {row['truth']['roc_auc']:.3f}" if "roc_auc" in row["truth"] else ""
        rows.append(
            [
                f"{row['task']}, {row['situation']}{rarer}{' (rough)' if row['rough'] else ''}",
                f"{row['tables']:,}",
                ", ".join(f"{_label(metric)} {100 * share:.1f}" for metric, share in row["score"].items()),
                *(
                    span((scale * value for value in row[part].values()), ".1f") if part in row else ""
                    for part, scale in (("lead", 100), ("single_rows", 100), ("times_as_wide", 1))
                ),
            ]
        )
    head = ["judged rows", "tables", "% of intervals that hold the true score", "difference of two models, %"]
    shares = [100 * share for row in found if not row["rough"] for share in row["score"].values()]
    within = sum(93 <= share <= 97 for share in shares)
    errors = ", ".join(
        f"{200 * (0.95 * 0.05 / count) ** 0.5:.1f} points with {count:,} tables"
        for count in dict.fromkeys(row["tables"] for row in found)
    )
    words = (
        f"Of the {len(shares)} shares that are not rough {within} lie between 93 and 97 %; they go from "
        f"{span(shares, '.1f')} %. By chance alone a share of 95 % moves by {errors} (two standard errors)."
    )
    return "\n".join([_table([*head, "of single rows, %", "times as wide as that"], rows), "", words])


def selection_table() -> str:
    """How much too good the best of many trials looks, by the rows that it is judged on."""
    found = _read("benchmarks/results/selection_bias.json")
    rows = [
        [
            f"{row['dataset']}, {row['rows']:,} rows, {_label(row['metric'])}",
            row["way"],
            *(_signed(row[part]) for part in ("too_good", "baseline_too_good", "lead_too_good")),
        ]
        for row in found["rows"]
    ]
    words = f"{found['tables']} tables each, {found['trials']} trials a table, the baseline among them."
    return "\n".join([_table(["tables", "judged on", "best trial too good by", "baseline", "lead"], rows), "", words])


def choice_table() -> str:
    """How often rules keep the baseline where no trial is better, and what they gain where one is."""
    found = _read("benchmarks/results/selection_bias.json")
    tables, choices = found["tables"], found["choices"]
    rows = [
        [
            row["rule"],
            f"{row['dataset']}, {row['rows']:,} rows, {_label(row['metric'])}",
            f"{row['kept_if_no_better'] / tables:.0%}",
            f"{row['taken']}, {row['taken_and_worse']}, {row['left_and_better']}",
            _signed(row["gained"]),
            _signed(row["best_trial_ahead"]),
        ]
        for row in sorted(choices, key=lambda row: [one["rule"] for one in choices].index(row["rule"]))
    ]
    shares = []
    for rule in dict.fromkeys(row["rule"] for row in choices):
        kept = [row["kept_if_no_better"] for row in choices if row["rule"] == rule]
        low, high = stats.binomtest(sum(kept), tables * len(kept)).proportion_ci(method="exact")
        shares.append(f"{rule}: {sum(kept) / tables / len(kept):.0%} [{low:.0%}, {high:.0%}]")
    head = ["the best trial is taken by", "tables", "baseline kept where no trial is better"]
    head += ["taken, of these worse, left though better", "gained in truth", "of which could be gained"]
    words = f"The baseline is kept where no trial is better, by {'; '.join(shares)}."
    return "\n".join([_table(head, rows), "", words])


def promotion_table() -> str:
    """How often the champion moved among equal models, before and now, and how often a better one was found."""
    found = _read("benchmarks/results/promotion.json")
    runs, numbers = found["runs"], [number for number in found["rows"][0]["found"] if number != "before"]
    rows = [
        [
            f"{_label(row['metric'])} {row['score']:.3f}, {row['rows']:,} rows"
            + (f", {row['share']:.0%} positive" if row["metric"] != "r2" else ""),
            f"{row['moved_before'] / runs:.1%}",
            f"{row['moves_before']:.1f}",
            f"{row['lucky']:+.3f}",
            f"{row['moved'] / runs:.1%}",
            f"{row['better_by']:+.3f}",
            *(f"{row['found'][number]:.0%}" for number in numbers),
        ]
        for row in found["rows"]
    ]
    head = ["holdout", "moved where a difference above 0 was enough", "times", "score seen to rise by", "moves now"]
    tries = [f"found at try {number}" for number in numbers]
    moved, holdouts = [row["moved"] for row in found["rows"]], runs * len(rows)
    low, high = stats.binomtest(sum(moved), holdouts).proportion_ci(method="exact")
    words = (
        f"Each row is of {runs:,} holdouts, {found['challengers']} challengers each. Now {sum(moved) / holdouts:.1%} "
        f"of all {holdouts:,} move it [{low:.1%}, {high:.1%}]; a row's share is known to about "
        f"{196 * (0.05 * 0.95 / runs) ** 0.5:.0f} points, the largest is {max(moved) / runs:.1%}."
    )
    return "\n".join([_table([*head, "a better model's lead", *tries], rows), "", words])


def drift_table() -> str:
    """How often the drift verdict is a false alarm, how small a change is found, ours and others', and the zoo."""
    found = _read("benchmarks/results/drift_verdicts.json")
    alarms = [
        [
            row["situation"],
            f"{row['reference_rows']:,} + {row['current_rows']:,}",
            f"{row['alarms']} of {row['draws']}",
            f"{row['no_verdict']}",
        ]
        for row in found["alarms"]
    ]
    power, zoo = found["power"], found["zoo"]
    tools = {"ours": "ours", "evidently": "Evidently", "alibi": "Alibi Detect"}
    sizes = {(row["change"], row["rows"]): row for row in power["changes"]}
    counts = list(dict.fromkeys(row["rows"] for row in power["changes"]))

    def cell(row: dict[str, Any], tool: str) -> str:
        return "not tested" if tool not in row else row[tool] or "none"

    unchanged = {(row["tool"], row["rows"]): f"{row['alarms']} of {row['tables']}" for row in power["unchanged"]}
    rows = [
        [change, *(cell(sizes[change, count], tool) for tool in tools for count in counts)]
        for change in dict.fromkeys(change for change, _ in sizes)
    ]
    rows.append(["*any column flagged, nothing changed*", *(unchanged[tool, n] for tool in tools for n in counts)])
    head = ["changed", *(f"{words}, {count:,} rows" for words in tools.values() for count in counts)]
    told = zoo["too_small_told"]
    words = (
        f"Of {zoo['changes']} everyday changes (`tests/changes.py`), {zoo['draws']} tables each, {zoo['found']:.1%} "
        f"raise an alarm and {zoo['named']:.1%} name what changed; of {zoo['too_small']} differences too small to "
        f"matter, at 200,000 + 50,000 rows, {len(told) or 'none'} {'do' if len(told) > 1 else 'does'}. *none*: no size "
        "that was tried is found nine times in ten."
    )
    situations = _table(["nothing changed", "rows (reference + current)", "false alarms", "no verdict"], alarms)
    return "\n".join([situations, "", _table(head, rows), "", words])


def expected_table() -> str:
    """How often the interval of the score without labels holds the true score, and how far off the estimate is."""
    found = _read("benchmarks/results/expected_score.json")
    rows = [
        [
            row.get("table", "all"),
            row.get("metric", ""),
            row["shift"],
            f"{row['tables']}",
            f"{row['reliable']:.0%}",
            "" if row["coverage_reliable"] is None else f"{row['coverage_reliable']:.0%}",
            f"{row['coverage']:.0%}",
            f"{row['error']:.4f}",
            f"{row['error_unchanged']:.4f}",
        ]
        for row in [*found["table"], *found["all"]]
    ]
    head = ["table", "metric", "shift", "tables", "reliable", "interval holds the true score where reliable", "in all"]
    few = min(row["tables"] for row in found["table"])
    words = (
        f"With {few} tables a share of 95 % is known to {196 * (0.95 * 0.05 / few) ** 0.5:.0f} points (two standard "
        "errors); errors are means, without intervals."
    )
    return "\n".join([_table([*head, "mean absolute error", "assuming nothing changed"], rows), "", words])


def checks_table() -> str:
    """Each check of a model: what raises its alarm, its test, how often it did so where nothing and where something was
    wrong.
    """
    found = _read("benchmarks/results/checks.json")
    rows = []
    for name, check in CHECKS.items():
        total = found["false_alarms"][name]
        low, high = total["interval"]
        counted = f"{total['alarms']} of {total['draws']:,}"
        share = f"{counted}: {total['alarms'] / total['draws']:.1%} [{low:.1%}, {high:.1%}]"
        seen: dict[str, list[str]] = {}
        for row in found["situations"]:
            if row["check"] == name and row["fault"]:
                words = f"{row['alarms'] / row['draws']:.0%} ({row['task']}, {row['rows']:,})"
                seen.setdefault(row["fault"], []).append(words)
        faults = "; ".join(f"{fault}: {', '.join(words)}" for fault, words in seen.items())
        rows.append([check.title, check.alarm, check.test, share, faults])
    head = ["check", "alarm", "test", "false alarms [95 % interval]", "detected (task, rows or trials)"]
    worst = max(
        (row for row in found["situations"] if not row["fault"] and row["draws"] > row["cannot_be_said"]),
        key=lambda row: row["alarms"] / (row["draws"] - row["cannot_be_said"]),
    )
    where = f", {worst['situation']}" if worst["situation"] else ""
    words = (
        f"The most in one situation: {CHECKS[worst['check']].title.lower()} ({worst['task']}, {worst['rows']:,} rows"
        f"{where}), {worst['alarms']} of {worst['draws'] - worst['cannot_be_said']}."
    )
    return "\n".join([_table(head, rows), "", words])


def own_tables() -> str:
    """Our best baseline beside the best hand-written pipeline, on tables of which nothing is set but the target."""
    rows = [
        [
            row["table"],
            f"{row['rows']:,} x {row['columns']}",
            _label(row["metric"]),
            f"{row['ours']:.4f} ({row['model']})",
            f"{row['by_hand']:.4f}",
            f"{row['difference']:+.4f} {_interval(row['interval'], '+.4f')}{_shown(row['interval'])}",
        ]
        for row in _read("benchmarks/results/own_tables.json")["table"]
    ]
    folds = _read("benchmarks/results/own_tables.json")["table"][0]["folds"]
    head = ["table", "rows x columns", "metric", "ours", "written by hand"]
    return _table([*head, f"mean difference of the {folds} folds [95 % interval]"], rows)


def row_scaling() -> str:
    """What each stage costs at growing numbers of rows, how that grows, and the size of the reports."""
    result = _read("benchmarks/results/row_scaling.json")
    found, sizes = result["table"], [size["rows"] for size in result["table"][0]["sizes"]]
    steps = [f"exponent, {low:,} to {high:,}" for low, high in itertools.pairwise(sizes)]
    rows = [
        [
            f"`{row['stage']}`",
            *(f"{size['processor_seconds']:,.0f} s, {size['peak_mb'] / 1000:.1f} GB" for size in row["sizes"]),
            *(f"{value:.2f}" for value in row["exponents"]),
        ]
        for row in found
    ]
    reports = zip(zip(*result["report_kb"].values(), strict=True), sizes, strict=True)
    words = ", ".join(f"{sum(kilobytes) / 1000:.1f} MB at {size:,} rows" for kilobytes, size in reports)
    table = _table(["stage", *(f"{size:,} rows" for size in sizes), *steps], rows)
    return "\n".join([table, "", f"All reports and metrics together: {words}."])


def billion_rows() -> str:
    """What each stage takes for a million rows more, and what a billion rows would take at that rate."""
    found = _read("benchmarks/results/row_scaling.json")
    rows = []
    for row in found["table"]:
        smaller, larger = row["sizes"][-2:]
        more = larger["rows"] - smaller["rows"]
        seconds = (larger["processor_seconds"] - smaller["processor_seconds"]) / more
        memory = (larger["peak_mb"] - smaller["peak_mb"]) * 1e6 / more
        if seconds * 1e9 < 3600:
            rows.append([f"`{row['stage']}`", "reads no rows", "", "", ""])
            continue
        times = [f"{seconds * 1e6:,.0f} s", f"{memory:,.0f} bytes", f"{seconds * 1e9 / 3600:,.0f} hours"]
        rows.append([f"`{row['stage']}`", *times, f"{memory:,.0f} GB"])
    head = ["stage", "processor time a million rows", "memory a row", "a billion rows, processor time", "memory"]
    words = f"Forests have {found['trees']} trees here; a hundred take {100 // found['trees']} times as long to fit."
    return "\n".join([_table(head, rows), "", words])


def many_runs() -> str:
    """What a store of many runs costs."""
    found = _read("benchmarks/results/many_runs.json")
    ratios = [
        f"`{row['script']}` takes {row['ratio']:.2f} times as long as on an empty store" for row in found["table"]
    ]
    return (
        f"With {found['trials']:,} trial runs in the store (`python -m benchmarks.many_runs`, imports included) "
        f"`compare_results.py` takes {found['compare']['processor_seconds']:.0f} s on the processor; "
        f"{', '.join(ratios)}. Writing the run of a trial takes {found['milliseconds_a_run']:.0f} ms on the processor."
    )


def glossary_table() -> str:
    """What each term of the pages means."""
    return _table(["term", "meaning"], ([name, meaning] for name, meaning in glossary().items()))


def _shown(interval: Sequence[float]) -> str:
    """What goes behind the interval of a difference."""
    return ", no difference shown" if interval[0] <= 0 <= interval[1] else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join([f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)])


def _label(metric: str) -> str:
    return METRICS[metric].label


def _interval(bounds: Sequence[float], style: str = ".4f") -> str:
    return f"[{bounds[0]:{style}}, {bounds[1]:{style}}]"


def _signed(value: Sequence[float]) -> str:
    """A mean with its interval."""
    return f"{value[0]:+.4f} {_interval(value[1:], '+.4f')}"


def _metrics(stage: str, name: str) -> Any:
    return _read(f"metrics/{stage}/{name}.json")


def _read(path: str) -> Any:
    return json.loads((ROOT / path).read_text(encoding="utf-8"))
