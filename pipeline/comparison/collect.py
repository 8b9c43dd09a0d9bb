"""A dataset's models, studies, tests and verdicts, read from its MLflow runs and metrics."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.comparison.entries import Comparison, Entry, Trial
from pipeline.comparison.words import advice
from pipeline.console import PipelineError
from pipeline.files import read_json
from pipeline.gates.judge import judge
from pipeline.gates.results import Results, read_results, select_model
from pipeline.metrics import metrics_of
from pipeline.settings import Config, Dataset
from pipeline.store.runs import StoredRun

REPORT = Path("reports/comparison_report.html")


PAGES = {
    "drift": "drift_report.html",
    "data quality": "quality_report.html",
    "target drift": "target_drift_report.html",
}

if TYPE_CHECKING:
    from mlflow import MlflowClient


def compare_dataset(dataset: Dataset, config: Config, stores: Sequence[MlflowClient]) -> Comparison:
    """One dataset's models, tests, studies, verdicts and advice.

    Raises:
        PipelineError: results or runs are missing or stale; the message names the command that makes them.
    """
    from pipeline.comparison.entries import Comparison

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
    from pipeline.store.runs import newest_runs

    found: dict[str, StoredRun] = {}
    for client in stores:
        for stage, ending in (("baseline", ""), ("tuned", "_tuned")):
            runs = newest_runs(client, dataset.name, stage, results.data_sha256, results.params_sha256)
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
    from pipeline.comparison.entries import Entry
    from pipeline.store.predictions import read_predictions

    model = name.removesuffix("_tuned")
    metrics = run.metrics
    return Entry(
        name=name,
        model=model,
        tuned=name != model,
        estimator=run.params["estimator"],
        metrics={metric: metrics[metric] for metric in metrics_of(dataset.task)},
        intervals={
            metric: (metrics[f"{metric}_low"], metrics[f"{metric}_high"]) for metric in metrics_of(dataset.task)
        },
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
    from pipeline.comparison.entries import Trial
    from pipeline.store.runs import child_runs, newest_runs

    studies: dict[str, tuple[Trial, ...]] = {}
    for client in stores:
        runs = newest_runs(client, dataset.name, "study", results.data_sha256, results.params_sha256)
        for model, run in runs.items():
            trials = [
                Trial(int(child.name.removeprefix("Trial_")), child.metrics["value"], child.tags["trial_state"])
                for child in child_runs(client, run)
                if "value" in child.metrics
            ]
            if any(trial.state == "COMPLETE" for trial in trials):
                studies[model] = tuple(sorted(trials, key=lambda trial: trial.number))
    return studies


def paired_tests(
    entries: Sequence[Entry], chosen: str, metric: str, seed: int
) -> dict[str, tuple[float, tuple[float, float], str]]:
    """The chosen model's lead over each other on the same rows, its 95 % interval, and what that shows."""
    from pipeline.bootstrap import paired_differences

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
