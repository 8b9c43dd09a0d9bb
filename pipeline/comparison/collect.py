"""A dataset's models, studies, tests and verdicts, read from its MLflow runs and metrics."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sklearn.pipeline import Pipeline

from pipeline.checks.check import check_models
from pipeline.checks.evidence import read_evidence, read_search, read_table_of
from pipeline.checks.finding import Finding
from pipeline.comparison.entries import Comparison, Entry, Lead, Trial
from pipeline.console import PipelineError, one_line
from pipeline.explain.explanation import Explanation, explain_model
from pipeline.explain.importance import importance_intervals, read_importance
from pipeline.files import read_json
from pipeline.gates.judge import judge
from pipeline.gates.overview import doubts, page_links, plot_links, standing
from pipeline.gates.results import METRICS_DIR, read_object, read_results, select_model
from pipeline.intervals import paired_differences
from pipeline.metrics import metrics_of
from pipeline.settings import TUNED, Config, Dataset, command_of, stage_of
from pipeline.store.runs import StoredRun, child_runs, newest_run
from pipeline.tables.columns import value_text
from pipeline.tables.split import Parts
from pipeline.training.record import IMPORTANCE_ERROR, OUT_OF_FOLD

# Stages whose results may be missing.
OPTIONAL = ("tune", "ensemble", "drift")
# Artifacts of a run that the checks read.
EVIDENCE = (OUT_OF_FOLD, IMPORTANCE_ERROR)

if TYPE_CHECKING:
    from mlflow import MlflowClient


def compare_dataset(dataset: Dataset, config: Config, stores: Sequence[MlflowClient]) -> Comparison:
    """One dataset's models, tests, studies and verdicts.
    PipelineError: results or runs are missing or stale; the message names the command that makes them.
    """
    name, metric = dataset.name, dataset.metric
    results = read_results(dataset, config)
    optional = [problem for problem in results.problems if any(f"/{stage}/" in problem for stage in OPTIONAL)]
    if len(optional) < len(results.problems):
        raise PipelineError("; ".join(results.problems))
    for problem in optional:
        print(f"note: {problem}; left out here", file=sys.stderr)
    chosen = select_model(results.models, metric)
    if chosen is None:
        raise PipelineError(f"{name}: no trained model; run `python train.py --dataset {name}`")
    hashes = {model: (results.data_sha256, facts["params_sha256"]) for model, facts in results.models.items()}
    runs = find_runs(name, stores, hashes)
    entries, wrong = [], []
    for model, run in runs.items():
        try:
            for artifact in EVIDENCE:
                run.artifact(artifact)
            entries.append(read_entry(model, run, dataset, results.models, config.test_size))
        except PipelineError as error:
            wrong.append(f"the run of {model} cannot be used; make it with `{command_of(name, model)}` ({error})")
    if wrong:
        raise PipelineError(f"{name}: {'; '.join(wrong)}")
    naive = next((model["naive"].get(metric) for model in results.models.values()), None)
    trials = find_trials(name, stores, hashes)
    searches = {
        f"{model}{TUNED}": read_search(config, dataset, model, runs[f"{model}{TUNED}"], found)
        for model, found in trials.items()
    }
    if Path(dataset.file).exists():
        table = read_table_of(dataset, config, naive, results.data_sha256)
        judged = {entry.name: entry.predictions for entry in entries}
        checks = check_models(read_evidence(table, runs, judged, searches))
        best = next(entry for entry in entries if entry.name == chosen)
        explanation = read_explanation(runs[chosen], best, dataset, table.parts, config.seed)
    else:
        # as in a job of another dataset
        print(
            f"note: {dataset.file} is not there; the checks of its models are those of metrics/checks.json",
            file=sys.stderr,
        )
        checks = earlier_checks(name)
        explanation = f"{dataset.file} was not there when this page was made, so nothing else is shown of it."
    entries = [replace(entry, checks=checks.get(entry.name, {})) for entry in entries]
    facts = read_json(METRICS_DIR / f"data/{name}.json", f"python generate_data.py --dataset {name}")
    drift_file = METRICS_DIR / f"drift/{name}.json"
    return Comparison(
        dataset=name,
        task=dataset.task,
        metric=metric,
        evaluation=dataset.evaluation,
        rows=facts["rows"],
        target=dataset.target,
        synthetic=dataset.synthetic,
        classes=class_names(facts),
        ceiling=results.ceiling.get(metric),
        naive=naive,
        entries=tuple(entries),
        chosen=chosen,
        tests=paired_tests(entries, chosen, metric, config.seed),
        studies=read_studies(trials),
        curve=read_object(METRICS_DIR / f"tune/{name}.json")[0].get("curve", []),
        drift=None if results.drift is None else read_json(drift_file, "python detect_drift.py"),
        standing=standing(results, dataset, tuple(judge(dataset, config, results))),
        links=page_links(name),
        explanation=explanation,
    )


def read_explanation(run: StoredRun, entry: Entry, dataset: Dataset, parts: Parts, seed: int) -> Explanation | str:
    """Of a model, from its run; why there is none, as where its library is not installed here."""
    try:
        return explain_model(load(run), dataset, parts, entry.importance, seed)
    except PipelineError as error:
        print(f"note: {dataset.name}: {entry.name} is not explained ({one_line(error)})", file=sys.stderr)
        return f"{entry.name} could not be loaded and asked for predictions ({one_line(error)})."


def load(run: StoredRun) -> Pipeline:
    """A run's model. PipelineError: it cannot be read, as with another version of its library."""
    try:
        return run.load_model()
    except (ImportError, AttributeError) as error:
        raise PipelineError(f"run {run.run_id}: its model cannot be read here: {error}") from error


def earlier_checks(dataset: str) -> dict[str, dict[str, Finding]]:
    """What an earlier call found of each model; empty where there is nothing to read."""
    found, _ = read_object(METRICS_DIR / "checks.json")
    models = found.get(dataset, {})
    return {
        model: {one["check"]: Finding(one["alarm"], one["sentence"]) for one in checks}
        for model, checks in models.items()
    }


def class_names(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """The two classes of a binary target in the table's words, the positive one last; none for other tasks."""
    if facts["task"] != "binary":
        return ()
    positive = value_text(facts["positive"])
    return (*(name for name in facts["class_share"] if name != positive), positive)


def find_runs(
    dataset: str, stores: Sequence[MlflowClient], hashes: Mapping[str, tuple[str, str]]
) -> dict[str, StoredRun]:
    """The newest run of each model with its hashes of data and settings, over all stores; tuned models follow their
    baselines. PipelineError: models have none.
    """
    newest: dict[str, StoredRun] = {}
    mends: dict[str, str] = {}
    for name, own in hashes.items():
        found = [newest_run(store, dataset, *stage_of(name), *own) for store in stores]
        if runs := [run for run in found if run is not None]:
            newest[name] = max(runs, key=lambda run: run.start_time)
        else:
            mends[name] = f"`{command_of(dataset, name)}`"
    if mends:
        words = f"no finished MLflow run of {', '.join(mends)} for the data and settings in metrics/"
        raise PipelineError(f"{dataset}: {words}; make it with {', '.join(mends.values())}")
    models = dict.fromkeys(stage_of(name)[1] for name in hashes)
    return {name: newest[name] for model in models for name in (model, f"{model}{TUNED}") if name in hashes}


def read_entry(
    name: str, run: StoredRun, dataset: Dataset, models: Mapping[str, Mapping[str, Any]], test_size: float
) -> Entry:
    """What a run's metrics and artifacts say, and the committed facts of the model."""
    scores, task, facts = run.metrics, dataset.task, models[name]
    predictions, importance = run.predictions(task, dataset.kept), read_importance(run)
    # importance is of the test part
    share = test_size if dataset.evaluation == "cross_validation" else 1
    return Entry(
        name=name,
        estimator=run.params["estimator"],
        metrics={other: scores[other] for other in metrics_of(task)},
        intervals={other: (scores[f"{other}_low"], scores[f"{other}_high"]) for other in metrics_of(task)},
        cv=facts["cv"][dataset.metric],
        fit_seconds=scores["fit_seconds"],
        model_bytes=int(scores["model_bytes"]),
        run_id=run.run_id,
        experiment_id=run.experiment_id,
        store=run.store,
        predictions=predictions,
        importance={column: value for column, (value, _) in importance.items()},
        importance_interval=importance_intervals(importance, predictions, share),
        gain_interval=facts.get("difference_interval"),
        plots=plot_links(run.tags["dataset"], name),
        rough=facts["rough"],
        over_naive=tuple(facts["over_naive"][dataset.metric]),
        doubts=doubts(dataset, models, name, dataset.metric),
        decision=facts.get("decision"),
        uncertainty=facts.get("uncertainty"),
        weights=facts.get("weights", {}),
    )


def find_trials(
    dataset: str, stores: Sequence[MlflowClient], hashes: Mapping[str, tuple[str, str]]
) -> dict[str, list[StoredRun]]:
    """The runs of every tuned model's trials in its newest study, without those that failed; of models with a complete
    one.
    """
    studies: dict[str, list[StoredRun]] = {}
    tuned = {stage_of(name)[1]: own for name, own in hashes.items() if name.endswith(TUNED)}
    for model, own in tuned.items():
        found = [(newest_run(store, dataset, "study", model, *own), store) for store in stores]
        for run, store in sorted(((run, store) for run, store in found if run), key=lambda pair: -pair[0].start_time):
            trials = [child for child in child_runs(store, run) if "value" in child.metrics]
            if any(trial.tags["trial_state"] == "COMPLETE" for trial in trials):
                studies[model] = trials
                break
    return studies


def read_studies(trials: Mapping[str, Sequence[StoredRun]]) -> dict[str, Sequence[Trial]]:
    """Every tuned model's trials, oldest first."""
    return {
        model: sorted(
            (int(run.name.removeprefix("Trial_")), run.metrics["value"], run.tags["trial_state"]) for run in runs
        )
        for model, runs in trials.items()
    }


def paired_tests(entries: Sequence[Entry], chosen: str, metric: str, seed: int) -> dict[str, Lead]:
    """The chosen model's lead over each other on the same rows."""
    predictions = {entry.name: entry.predictions for entry in entries}
    best = predictions.pop(chosen)
    leads = paired_differences(metric, best, list(predictions.values()), seed)
    return {name: Lead(value, *interval) for name, (value, interval) in zip(predictions, leads, strict=True)}
