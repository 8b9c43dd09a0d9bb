"""Put every model's results side by side: JSON for machines, one HTML page for people.

    python compare_results.py
    python compare_results.py --tracking-uri sqlite:///a/db.sqlite --tracking-uri sqlite:///b/db.sqlite

Takes from MLflow, for each dataset and model, the newest finished run of exactly the data and settings that metrics/
tells of. Writes metrics/comparison_results.json, metrics/summary.json, reports/comparison_report.html,
reports/comparison.csv and reports/summary.md.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import SCORES, Config, Dataset, PipelineError, load_config
from pipeline.console import exit_code
from pipeline.data import read_json, write_json, write_text
from pipeline.gates import SAME, Results, judge, read_results, select_model

if TYPE_CHECKING:
    from pipeline.report import Comparison, Entry, Trial
    from pipeline.tracking import MlflowClient, StoredRun

REPORT = Path("reports/comparison_report.html")
OUTPUTS = (
    Path("metrics/comparison_results.json"),
    Path("metrics/summary.json"),
    REPORT,
    Path("reports/comparison.csv"),
    Path("reports/summary.md"),
)
PAGES = {
    "drift": "drift_report.html",
    "data quality": "quality_report.html",
    "target drift": "target_drift_report.html",
}


def compare_dataset(dataset: Dataset, config: Config, stores: Sequence[MlflowClient]) -> Comparison:
    """One dataset's models, tests, studies, verdicts and advice.

    Raises:
        PipelineError: results or runs are missing or stale; the message names the command that makes them.
    """
    from pipeline.report import Comparison

    results = read_results(dataset, config)
    blocking = [problem for problem in results.problems if "/tune/" not in problem and "/drift/" not in problem]
    if blocking:
        raise PipelineError(blocking[0])
    for problem in results.problems:
        print(f"note: {problem}; left out here", file=sys.stderr)
    chosen = select_model(results.models, dataset.metric)
    if chosen is None:
        raise PipelineError(f"{dataset.name}: no trained model; run `python train.py --dataset {dataset.name}`")
    runs = find_runs(dataset, results, stores)
    entries = tuple(read_entry(name, run, dataset, results) for name, run in runs.items())
    facts = read_json(
        Path("metrics/data") / f"{dataset.name}.json", f"python generate_data.py --dataset {dataset.name}"
    )
    ceiling = facts.get("ceiling") or {}
    drift_file = Path("metrics/drift") / f"{dataset.name}.json"
    drift = None if results.drifted is None else read_json(drift_file, "python detect_drift.py")
    tests = paired_tests(entries, chosen, dataset.metric, config.seed)
    return Comparison(
        dataset=dataset.name,
        task=dataset.task,
        metric=dataset.metric,
        evaluation=dataset.evaluation,
        rows=facts["rows"],
        target=dataset.target,
        ceiling=ceiling.get("value"),
        naive=next((model["naive"].get(dataset.metric) for model in results.models.values()), None),
        entries=entries,
        chosen=chosen,
        tests=tests,
        studies=read_studies(dataset, results, stores),
        drift=drift,
        verdicts=tuple(judge(dataset, config, results)),
        links=page_links(dataset, results),
        advice=tuple(advice(dataset, entries, chosen, tests, ceiling.get("value"), drift, results.models)),
    )


def find_runs(dataset: Dataset, results: Results, stores: Sequence[MlflowClient]) -> dict[str, StoredRun]:
    """The newest run of each result, over all stores; tuned models follow their baselines."""
    from pipeline import tracking

    found: dict[str, StoredRun] = {}
    for client in stores:
        for stage, ending in (("baseline", ""), ("tuned", "_tuned")):
            runs = tracking.newest_runs(client, dataset.name, stage, results.data_sha256, results.params_sha256)
            for model, run in runs.items():
                other = found.get(model + ending)
                if other is None or run.start_time > other.start_time:
                    found[model + ending] = run
    for name in results.models:
        if name not in found:
            model = name.removesuffix("_tuned")
            script = "tune_hyperparameters.py" if name != model else "train.py"
            raise PipelineError(
                f"{dataset.name}: no finished MLflow run of {name} for the data and settings in metrics/; "
                f"make it with `python {script} --dataset {dataset.name} --model {model}`"
            )
    order = {name.removesuffix("_tuned"): position for position, name in reversed(list(enumerate(results.models)))}
    names = sorted(results.models, key=lambda name: (order[name.removesuffix("_tuned")], name))
    return {name: found[name] for name in names}


def read_entry(name: str, run: StoredRun, dataset: Dataset, results: Results) -> Entry:
    """What a run's metrics and artifacts say."""
    from pipeline.assessment import read_predictions
    from pipeline.report import Entry

    model = name.removesuffix("_tuned")
    metrics = run.metrics
    return Entry(
        name=name,
        model=model,
        tuned=name != model,
        estimator=run.params["estimator"],
        metrics={metric: metrics[metric] for metric in SCORES[dataset.task]},
        intervals={metric: (metrics[f"{metric}_low"], metrics[f"{metric}_high"]) for metric in SCORES[dataset.task]},
        cv=results.models[name]["cv"][dataset.metric],
        fit_seconds=metrics["fit_seconds"],
        model_bytes=int(metrics["model_bytes"]),
        run_id=run.run_id,
        experiment_id=run.experiment_id,
        store=run.store,
        predictions=read_predictions(run.artifact("predictions.csv"), dataset.task),
        importance=json.loads(run.artifact("feature_importance.json").read_text(encoding="utf-8")),
    )


def read_studies(dataset: Dataset, results: Results, stores: Sequence[MlflowClient]) -> dict[str, tuple[Trial, ...]]:
    """Every tuned model's trials, oldest first; failed trials have no value and are left out."""
    from pipeline import tracking
    from pipeline.report import Trial

    studies: dict[str, tuple[Trial, ...]] = {}
    for client in stores:
        runs = tracking.newest_runs(client, dataset.name, "study", results.data_sha256, results.params_sha256)
        for model, run in runs.items():
            trials = [
                Trial(int(child.name.removeprefix("Trial_")), child.metrics["value"], child.tags["trial_state"])
                for child in tracking.child_runs(client, run)
                if "value" in child.metrics
            ]
            if any(trial.state == "COMPLETE" for trial in trials):
                studies[model] = tuple(sorted(trials, key=lambda trial: trial.number))
    return studies


def paired_tests(
    entries: Sequence[Entry], chosen: str, metric: str, seed: int
) -> dict[str, tuple[float, tuple[float, float], str]]:
    """The chosen model's lead over each other on the same rows, its 95 % interval, and what that shows."""
    from pipeline.evaluation import paired_differences

    best = next(entry for entry in entries if entry.name == chosen)
    others = [entry for entry in entries if entry.name != chosen]
    differences = paired_differences(metric, best.predictions, [other.predictions for other in others], seed)
    tests = {}
    for other, (difference, (low, high)) in zip(others, differences, strict=True):
        words = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
        tests[other.name] = (difference, (low, high), words)
    return tests


def page_links(dataset: Dataset, results: Results) -> dict[str, str]:
    """Addresses, relative to the report, of the other pages that exist."""
    folder = REPORT.parent / dataset.name
    pages = {text: folder / name for text, name in PAGES.items()}
    for name in results.models:
        if name.endswith("_tuned"):
            model = name.removesuffix("_tuned")
            pages[f"tuning of {model}"] = folder / "tuning" / model / "optimization_history.html"
    return {text: page.relative_to(REPORT.parent).as_posix() for text, page in pages.items() if page.exists()}


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
    from pipeline.report import NAMES

    metric, name = dataset.metric, NAMES[dataset.metric]
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


def summarise(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Best model a dataset, gain of tuning, and the best over all (most datasets won, ties by mean rank)."""
    from pipeline.evaluation import relative_gain

    datasets: dict[str, Any] = {}
    ranks: dict[str, list[int]] = {}
    for comparison in comparisons:
        metric = comparison.metric
        best = comparison.entry(comparison.chosen)
        ordered = sorted(comparison.entries, key=lambda entry: -entry.cv)
        for rank, entry in enumerate(ordered, 1):
            ranks.setdefault(entry.model, []).append(rank)
        gains = {}
        for tuned in (entry for entry in comparison.entries if entry.tuned):
            base = next((entry for entry in comparison.entries if entry.name == tuned.model), None)
            if base is not None:
                gains[tuned.model] = relative_gain(tuned.metrics[metric], base.metrics[metric])
        datasets[comparison.dataset] = {
            "best_model": best.name,
            "metric": metric,
            "value": round(best.metrics[metric], 6),
            "interval": [round(bound, 6) for bound in best.intervals[metric]],
            "ceiling": comparison.ceiling,
            "evaluation": comparison.evaluation,
            "gain_of_tuning": gains,
        }
    won = [comparison.entry(comparison.chosen).model for comparison in comparisons]
    overall = min(ranks, key=lambda model: (-won.count(model), sum(ranks[model]) / len(ranks[model])))
    return {
        "datasets": datasets,
        "best_overall": {
            "model": overall,
            "datasets_won": won.count(overall),
            "mean_rank": round(sum(ranks[overall]) / len(ranks[overall]), 4),
        },
    }


def overall_words(summary: Mapping[str, Any]) -> str:
    from pipeline.report import NAMES

    best = summary["best_overall"]
    parts = [
        f"{name}: {facts['best_model']} ({NAMES[facts['metric']]} {facts['value']:.3f})"
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


def comparison_csv(comparisons: Sequence[Comparison]) -> str:
    """One line a dataset, model and metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["dataset", "model", "estimator", "metric", "value", "low", "high", "fit_seconds", "model_bytes"])
    for comparison in comparisons:
        for entry in comparison.entries:
            for metric, value in entry.metrics.items():
                low, high = entry.intervals[metric]
                row = [comparison.dataset, entry.name, entry.estimator, metric, value, low, high]
                writer.writerow([*row, entry.fit_seconds, entry.model_bytes])
    return text.getvalue()


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compare all models and write the report.")
    parser.add_argument(
        "--tracking-uri",
        action="append",
        metavar="URI",
        help="an MLflow store to read, can be given several times (default: mlruns/db.sqlite)",
    )
    parser.add_argument(
        "--against", type=Path, metavar="FILE", help="an earlier comparison_results.json, to show the differences to"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    try:
        config = load_config()
        args = build_parser().parse_args(argv)
        earlier = read_json(args.against, "python compare_results.py") if args.against else None
        from pipeline import tracking

        stores = [tracking.open_store(uri) for uri in args.tracking_uri or [None]]
        comparisons = []
        for name in config.datasets:
            print(f"comparing {name}", flush=True)
            comparisons.append(compare_dataset(config.dataset(name), config, stores))
        from pipeline.report import render

        summary = summarise(comparisons)
        results = {
            comparison.dataset: {
                entry.name: {metric: round(value, 6) for metric, value in entry.metrics.items()}
                for entry in comparison.entries
            }
            for comparison in comparisons
        }
        made_from = f"Made by compare_results.py from {len(comparisons)} datasets and " + (
            f"{sum(len(comparison.entries) for comparison in comparisons)} models; scores are those of fitted models."
        )
        write_json(OUTPUTS[0], results)
        write_json(OUTPUTS[1], summary)
        write_text(REPORT, render(comparisons, overall_words(summary), made_from))
        write_text(OUTPUTS[3], comparison_csv(comparisons))
        write_text(OUTPUTS[4], summary_markdown(comparisons, summary, earlier))
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(overall_words(summary))
    print(f"wrote {', '.join(map(str, OUTPUTS))}")
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
