"""A dataset's models, studies, tests and verdicts, read from its MLflow runs and metrics."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.bootstrap import paired_differences
from pipeline.comparison.entries import Comparison, Entry, Lead, Trial
from pipeline.console import PipelineError
from pipeline.files import read_json
from pipeline.gates.judge import judge
from pipeline.gates.overview import page_links
from pipeline.gates.results import METRICS_DIR, read_results, select_model
from pipeline.metrics import metrics_of
from pipeline.settings import Config, Dataset
from pipeline.store.runs import StoredRun, child_runs, newest_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient


def compare_dataset(dataset: Dataset, config: Config, stores: Sequence[MlflowClient]) -> Comparison:
    """One dataset's models, tests, studies and verdicts.
    PipelineError: results or runs are missing or stale; the message names the command that makes them.
    """
    name, metric = dataset.name, dataset.metric
    results = read_results(dataset, config)
    for problem in results.problems:
        if "/tune/" not in problem and "/drift/" not in problem:
            raise PipelineError(problem)
        print(f"note: {problem}; left out here", file=sys.stderr)
    chosen = select_model(results.models, metric)
    if chosen is None:
        raise PipelineError(f"{name}: no trained model; run `python train.py --dataset {name}`")
    hashes = (results.data_sha256, results.params_sha256)
    runs = find_runs(name, stores, hashes, results.models)
    entries = [read_entry(model, run, dataset.task, metric, results.models[model]) for model, run in runs.items()]
    facts = read_json(METRICS_DIR / f"data/{name}.json", f"python generate_data.py --dataset {name}")
    drift_file = METRICS_DIR / f"drift/{name}.json"
    return Comparison(
        dataset=name,
        task=dataset.task,
        metric=metric,
        evaluation=dataset.evaluation,
        rows=facts["rows"],
        target=dataset.target,
        ceiling=results.ceiling.get(metric),
        naive=next((model["naive"].get(metric) for model in results.models.values()), None),
        entries=tuple(entries),
        chosen=chosen,
        tests=paired_tests(entries, chosen, metric, config.seed),
        studies=read_studies(name, stores, hashes),
        drift=None if results.drift is None else read_json(drift_file, "python detect_drift.py"),
        verdicts=tuple(judge(dataset, config, results)),
        links=page_links(name),
    )


def find_runs(
    dataset: str, stores: Sequence[MlflowClient], hashes: tuple[str, str], models: Collection[str]
) -> dict[str, StoredRun]:
    """The newest run of each model, over all stores; tuned models follow their baselines. PipelineError: a model has no
    run with these hashes of data and settings.
    """
    found = [
        (f"{model}{ending}", run)
        for stage, ending in (("baseline", ""), ("tuned", "_tuned"))
        for store in stores
        for model, run in newest_runs(store, dataset, stage, *hashes).items()
    ]
    newest = dict(sorted(found, key=lambda item: item[1].start_time))
    if missing := next((name for name in models if name not in newest), ""):
        script = "tune_hyperparameters.py" if missing.endswith("_tuned") else "train.py"
        raise PipelineError(
            f"{dataset}: no finished MLflow run of {missing} for the data and settings in metrics/; make it with "
            f"`python {script} --dataset {dataset} --model {missing.removesuffix('_tuned')}`"
        )
    baselines = dict.fromkeys(name.removesuffix("_tuned") for name in models)
    return {name: newest[name] for base in baselines for name in (base, f"{base}_tuned") if name in models}


def read_entry(name: str, run: StoredRun, task: str, metric: str, facts: Mapping[str, Any]) -> Entry:
    """What a run's metrics and artifacts say, and the committed `facts` of the model."""
    scores = run.metrics
    return Entry(
        name=name,
        estimator=run.params["estimator"],
        metrics={other: scores[other] for other in metrics_of(task)},
        intervals={other: (scores[f"{other}_low"], scores[f"{other}_high"]) for other in metrics_of(task)},
        cv=facts["cv"][metric],
        fit_seconds=scores["fit_seconds"],
        model_bytes=int(scores["model_bytes"]),
        run_id=run.run_id,
        experiment_id=run.experiment_id,
        store=run.store,
        predictions=run.predictions(task),
        importance=json.loads(run.artifact("feature_importance.json").read_text(encoding="utf-8")),
        gain_interval=facts.get("difference_interval"),
    )


def read_studies(dataset: str, stores: Sequence[MlflowClient], hashes: tuple[str, str]) -> dict[str, Sequence[Trial]]:
    """Every tuned model's trials, oldest first; failed trials have no value and are left out."""
    studies: dict[str, Sequence[Trial]] = {}
    for store in stores:
        for model, run in newest_runs(store, dataset, "study", *hashes).items():
            trials = [
                (int(child.name.removeprefix("Trial_")), child.metrics["value"], child.tags["trial_state"])
                for child in child_runs(store, run)
                if "value" in child.metrics
            ]
            if any(state == "COMPLETE" for _, _, state in trials):
                studies[model] = sorted(trials)
    return studies


def paired_tests(entries: Sequence[Entry], chosen: str, metric: str, seed: int) -> dict[str, Lead]:
    """The chosen model's lead over each other on the same rows."""
    predictions = {entry.name: entry.predictions for entry in entries}
    best = predictions.pop(chosen)
    leads = paired_differences(metric, best, list(predictions.values()), seed)
    return {name: Lead(value, *interval) for name, (value, interval) in zip(predictions, leads, strict=True)}
