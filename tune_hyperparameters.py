"""Tune a model with Optuna: TPE proposes, a median pruner stops poor trials early, the winner is refitted and scored.

    python tune_hyperparameters.py --dataset california_housing --n-trials 100

Forests without class weights grow step by step and report their out-of-bag score after each step; other models report
the running mean of their folds. The study lives in mlruns/optuna/<dataset>.db: a killed search goes on where it was.
Writes an MLflow run a trial, reports/<dataset>/tuning/<model>/ and metrics/tune/<dataset>.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import Config, Dataset, PipelineError, load_config, settings_sha256
from pipeline.console import exit_code
from pipeline.data import earlier_models, file_sha256, write_atomic, write_json, write_text
from pipeline.database import STUDIES, check_database, create_database, database_errors
from pipeline.lock import hold

if TYPE_CHECKING:
    import optuna

    from pipeline.assessment import Assessment, Parts

# Trees grown before each report; a step means the same work in every trial, so that trials can be compared.
FOREST_STEPS = (20, 40, 80, 160)
Objective = Callable[["optuna.Trial"], float]


def tune_dataset(dataset: Dataset, config: Config, model: str, n_trials: int, timeout: float | None) -> Path:
    """Search, refit and score the winner beside the baseline, log all of it; returns the metrics file's path."""
    from pipeline import assessment, evaluation, tracking
    from pipeline.models import search_space

    started = time.time()
    space = search_space(dataset, config, model)
    parts = assessment.load_parts(dataset, config)
    hashes = {"data_sha256": file_sha256(Path(dataset.file)), "params_sha256": settings_sha256(config, dataset)}
    client = tracking.open_store(create=True)
    objective = make_objective(dataset, config, model, parts, space)
    # a second search of the same study waits, then finds the trials done
    lock = STUDIES / f".{dataset.name}-{model}.lock"
    with hold(lock, f"{dataset.name} {model}: another search goes on"), database_errors(study_database(dataset)):
        study = open_study(dataset, config, model, space, hashes)
        run_trials(study, objective, n_trials, timeout, config, dataset)
    done = finished_trials(study)
    best = best_settings(study)

    print(f"{dataset.name} {model}: scoring the baseline and the winner on the same folds", flush=True)
    baseline = assessment.assess(dataset, config, model, parts)
    winner = assessment.assess(dataset, config, model, parts, best)
    if winner.cv[dataset.metric] < baseline.cv[dataset.metric]:
        print(f"{dataset.name} {model}: the winner of the search is no better than the baseline, which stays")
        winner, best = baseline, {name: baseline.params[name] for name in space if name in baseline.params}
    [(difference, difference_interval)] = evaluation.paired_differences(
        dataset.metric, winner.predictions, [baseline.predictions], config.seed
    )
    folder = Path("reports") / dataset.name / "tuning" / model
    write_study_reports(study, folder)
    importance = assessment.importances(winner, dataset, config, parts)
    plots = assessment.save_plots(winner, importance, dataset, f"{dataset.name}: {model}, tuned", folder)

    common = {"dataset": dataset.name, "model_type": model, **hashes}
    parent = tracking.RunRecord(
        name=f"{model} study",
        tags={**common, "stage": "study", "study": study.study_name},
        params={"space": json.dumps(space), "seed": config.seed},
        start=started,
    )
    tracking.write_runs(client, dataset.name, [trial_record(trial, common) for trial in done], parent=parent)
    record = assessment.run_record(winner, importance, f"{model}_tuned", {**common, "stage": "tuned"}, plots, started)
    example = parts.X_train.head(assessment.EXAMPLE_ROWS)
    tracking.write_runs(client, dataset.name, [record], model=winner.model, example=example)

    result = summarise(study, best, baseline, winner, dataset.metric)
    result |= {"difference": round(difference, 6), "difference_interval": [round(v, 6) for v in difference_interval]}
    print_result(dataset, model, result, baseline, winner)
    path = Path("metrics/tune") / f"{dataset.name}.json"
    with tracking.store_lock():
        # read and written under one lock: a search of another model may end at the same time
        others = earlier_models(path, hashes, "python tune_hyperparameters.py")
        write_json(path, {"dataset": dataset.name, **hashes, "models": {**others, model: result}})
    return path


def open_study(
    dataset: Dataset, config: Config, model: str, space: Mapping[str, Any], hashes: Mapping[str, str]
) -> optuna.Study:
    """The study of exactly this data, space and seed; a new one, announced, where any of them changed.

    The caller holds the study's lock: a trial that is RUNNING was left by a killed process.

    Raises:
        PipelineError: the database is damaged, read-only or of another version.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    objective = "out-of-bag" if searches_out_of_bag(dataset, config, model, space) else "folds"
    tuning = [config.tuning.search_rows, config.tuning.startup_trials]
    facts = json.dumps([model, objective, space, *tuning, hashes], sort_keys=True)
    name = f"{model}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"
    database = study_database(dataset)
    if not database.exists():
        create_database(database, lambda path: open_storage(path).engine.dispose())
    check_database(database, "an Optuna store", "studies")
    storage = open_storage(database)
    known = [study.study_name for study in storage.get_all_studies()]
    if name not in known and any(other.startswith(f"{model}-") for other in known):
        print(f"{dataset.name} {model}: data, settings or search space changed; a new study starts", flush=True)
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=config.tuning.startup_trials),
    )
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study._storage.set_trial_user_attr(trial._trial_id, "interrupted", True)
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def study_database(dataset: Dataset) -> Path:
    return STUDIES / f"{dataset.name}.db"


def open_storage(database: Path) -> optuna.storages.RDBStorage:
    import optuna

    try:
        return optuna.storages.RDBStorage(
            f"sqlite:///{database.resolve()}", engine_kwargs={"connect_args": {"timeout": 60}}
        )
    except RuntimeError as error:
        # of another version of Optuna
        raise PipelineError(f"{database}: {error}") from None


def run_trials(
    study: optuna.Study, objective: Objective, n_trials: int, timeout: float | None, config: Config, dataset: Dataset
) -> None:
    """Go on until n_trials are finished in all (complete, pruned or failed), or the time is up.

    Each trial's sampling is seeded from the seed and the count of finished trials, so a search that was killed and
    resumed proposes what one left alone would have. The first trial holds the baseline's settings.

    Raises:
        PipelineError: every trial failed.
    """
    import optuna
    from optuna.trial import TrialState
    from tqdm import tqdm

    deadline = None if timeout is None else time.monotonic() + timeout
    count = len(finished_trials(study))
    if count:
        print(f"{dataset.name}: going on after {count} finished trials", flush=True)
    with tqdm(total=n_trials, initial=min(count, n_trials), desc=dataset.name, unit="trial", file=sys.stdout) as bar:
        while count < n_trials and (deadline is None or time.monotonic() < deadline or count == 0):
            study.sampler = optuna.samplers.TPESampler(
                seed=config.seed * 100_003 + count, n_startup_trials=config.tuning.startup_trials
            )
            trial = study.ask()
            trial.set_user_attr("position", count + 1)
            try:
                study.tell(trial, objective(trial))
            except optuna.TrialPruned:
                study.tell(trial, state=TrialState.PRUNED)
            except PipelineError:
                study.tell(trial, state=TrialState.FAIL)
                raise
            except (ValueError, FloatingPointError, MemoryError) as error:
                trial.set_user_attr("reason", f"{type(error).__name__}: {error}")
                study.tell(trial, state=TrialState.FAIL)
            count += 1
            bar.update()
            bar.set_postfix_str(progress(study))
    if not any(trial.state == TrialState.COMPLETE for trial in study.trials):
        reasons = [trial.user_attrs.get("reason", "unknown") for trial in finished_trials(study)]
        raise PipelineError(f"{dataset.name}: every trial failed; the last one: {reasons[-1]}")


def progress(study: optuna.Study) -> str:
    states = [trial.state.name for trial in finished_trials(study)]
    complete = "COMPLETE" in states
    return f"best {study.best_value:.4f}, {states.count('PRUNED')} pruned" if complete else "none complete yet"


def finished_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Complete, pruned and failed trials in order; a trial that a kill interrupted is none of them."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished() and not trial.user_attrs.get("interrupted")
    ]


def best_settings(study: optuna.Study) -> dict[str, Any]:
    """The settings of the best complete trial; empty where the baseline's own won."""
    return dict(study.best_trial.user_attrs["settings"])


def make_objective(dataset: Dataset, config: Config, model: str, parts: Parts, space: Mapping[str, Any]) -> Objective:
    """Settings -> score on at most search_rows training rows. Data is read and preprocessed here, once."""
    from sklearn.model_selection import train_test_split

    from pipeline.models import build_estimator, build_preprocessing, model_params

    X, y = parts.X_train, parts.y_train
    if len(y) > config.tuning.search_rows and dataset.time:
        X, y = X.tail(config.tuning.search_rows), y[-config.tuning.search_rows :]
    elif len(y) > config.tuning.search_rows:
        strata = None if dataset.task == "regression" else y
        X, _, y, _ = train_test_split(
            X, y, train_size=config.tuning.search_rows, random_state=config.seed, stratify=strata
        )
    preprocessing = build_preprocessing(config.models[model], dataset, X)
    score = (
        forest_objective(preprocessing, X, y, dataset)
        if searches_out_of_bag(dataset, config, model, space)
        else fold_objective(preprocessing, X, y, dataset, config)
    )

    def objective(trial: optuna.Trial) -> float:
        from pipeline.models import suggest

        own = model_params(dataset, config, model)
        is_baseline = trial.user_attrs["position"] == 1
        settings = {key: own[key] for key in own if key in space} if is_baseline else suggest(trial, space)
        trial.set_user_attr("settings", settings)
        estimator = build_estimator(dataset, config, model, settings)
        return score(trial, estimator, estimator.get_params().get("n_estimators", 0))

    return objective


def searches_out_of_bag(dataset: Dataset, config: Config, model: str, space: Mapping[str, Any]) -> bool:
    """Whether the model is a forest that can be scored out of bag.

    Class weights steer the bootstrap: a rare class is then in every tree, and has no out-of-bag votes at all. Rows that
    belong together or follow one another would be on both sides of a bootstrap sample.
    """
    from pipeline.models import build_estimator

    baseline = build_estimator(dataset, config, model, None)
    weighted = getattr(baseline, "class_weight", None) is not None or "class_weight" in space
    random_rows = not dataset.group and not dataset.time
    return hasattr(baseline, "oob_score") and hasattr(baseline, "warm_start") and not weighted and random_rows


def forest_objective(preprocessing: Any, X: Any, y: Any, dataset: Dataset) -> Callable[..., float]:
    """Out-of-bag score of a forest that grows: the trees of a step stay for the next."""
    import optuna

    from pipeline.evaluation import Predictions, metric_value

    features = preprocessing.fit_transform(X, y)

    def score(trial: optuna.Trial, estimator: Any, size: int) -> float:
        # a bootstrap sample leaves each row out of about a third of the trees: out-of-bag prediction is free
        estimator.set_params(warm_start=True, oob_score=True, bootstrap=True)
        value = float("nan")
        for trees in [*(step for step in FOREST_STEPS if step < size), size]:
            estimator.set_params(n_estimators=trees)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                estimator.fit(features, y)
            if dataset.task == "regression":
                predictions = Predictions(y, estimator.oob_prediction_)
            else:
                votes = estimator.oob_decision_function_
                labels = estimator.classes_[votes.argmax(axis=1)]
                predictions = Predictions(y, labels, votes[:, 1] if dataset.task == "binary" else None)
            value = metric_value(dataset.metric, predictions)
            trial.report(value, trees)
            if trees < size and trial.should_prune():
                raise optuna.TrialPruned
        return value

    return score


def fold_objective(preprocessing: Any, X: Any, y: Any, dataset: Dataset, config: Config) -> Callable[..., float]:
    """Running mean over the folds; the preprocessing is fitted on each fold's own training rows."""
    import numpy as np
    import optuna
    from sklearn.base import clone

    from pipeline.data import fold_indices
    from pipeline.evaluation import Predictions, metric_value

    folds = []
    for train, validation in fold_indices(X, y, dataset, config):
        fitted = clone(preprocessing)
        # fit_transform, as target encoding is cross-fitted only there
        learned = fitted.fit_transform(X.iloc[train], y[train])
        folds.append((learned, y[train], fitted.transform(X.iloc[validation]), y[validation]))

    def score(trial: optuna.Trial, estimator: Any, size: int) -> float:
        values: list[float] = []
        for step, (X_train, y_train, X_validation, y_validation) in enumerate(folds, 1):
            fitted = clone(estimator).fit(X_train, y_train)
            probability = fitted.predict_proba(X_validation)[:, 1] if dataset.task == "binary" else None
            predictions = Predictions(y_validation, fitted.predict(X_validation), probability)
            values.append(metric_value(dataset.metric, predictions))
            trial.report(float(np.mean(values)), step)
            if step < len(folds) and trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(values))

    return score


def trial_record(trial: optuna.trial.FrozenTrial, tags: Mapping[str, str]) -> Any:
    """A trial's MLflow run: a pruned trial was stopped on purpose (KILLED), a failed one FAILED."""
    from pipeline.tracking import RunRecord

    status = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}[trial.state.name]
    values = [trial.value] if trial.value is not None else list(trial.intermediate_values.values())[-1:]
    reason = {"reason": trial.user_attrs["reason"][:500]} if "reason" in trial.user_attrs else {}
    return RunRecord(
        name=f"Trial_{trial.user_attrs['position']}",
        tags={**tags, "stage": "trial", "trial_state": trial.state.name, **reason},
        params=trial.user_attrs.get("settings", {}),
        metrics={"value": values[0], "step": max(trial.intermediate_values, default=0)} if values else {},
        status=status,
        start=trial.datetime_start.timestamp() if trial.datetime_start else None,
        end=trial.datetime_complete.timestamp() if trial.datetime_complete else None,
    )


def write_study_reports(study: optuna.Study, folder: Path) -> None:
    """trials.csv, and each of Optuna's plots as an interactive page (plotly's script beside them) and a PNG."""
    import matplotlib
    import optuna

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from plotly.offline import get_plotlyjs

    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "plotly.min.js", get_plotlyjs())
    write_text(folder / "trials.csv", study.trials_dataframe().to_csv(index=False))
    shown = optuna.create_study(direction="maximize")
    # the baseline trial holds no suggested settings, so only the history can show it
    shown.add_trials([trial for trial in finished_trials(study) if trial.params])
    several = len([trial for trial in shown.trials if trial.state.name == "COMPLETE"]) > 1
    figures: dict[str, tuple[str, optuna.Study, dict[str, Any]]] = {
        "optimization_history": ("plot_optimization_history", study, {}),
        "param_importances": (
            "plot_param_importances",
            shown,
            {"evaluator": optuna.importance.FanovaImportanceEvaluator(seed=0)},
        ),
        "parallel_coordinate": ("plot_parallel_coordinate", shown, {}),
        "slice": ("plot_slice", shown, {}),
    }
    for name, (function, source, options) in figures.items():
        if source is shown and not several:
            empty = f"<!doctype html><title>{name}</title><p>Too few complete trials for this plot.</p>\n"
            write_text(folder / f"{name}.html", empty)
            figure = pyplot.figure()
            figure.text(0.5, 0.5, "Too few complete trials for this plot", ha="center")
        else:
            page = getattr(optuna.visualization, function)(source, **options)
            write_text(folder / f"{name}.html", page.to_html(include_plotlyjs="plotly.min.js"))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                axes = getattr(optuna.visualization.matplotlib, function)(source, **options)
            figure = (axes.flat[0] if hasattr(axes, "flat") else axes).figure
            figure.set_size_inches(14 if name == "slice" else 9, 5)
        write_atomic(folder / f"{name}.png", partial(figure.savefig, dpi=110, bbox_inches="tight"))
        pyplot.close("all")


def summarise(
    study: optuna.Study, best: Mapping[str, Any], baseline: Assessment, winner: Assessment, metric: str
) -> dict[str, Any]:
    """The winner's part of the committed metrics."""
    from pipeline.assessment import summary

    states = [trial.state.name for trial in finished_trials(study)]
    gain = (winner.score[metric] - baseline.score[metric]) / abs(baseline.score[metric])
    facts = summary(winner)
    return {
        "estimator": facts.pop("estimator"),
        "params": dict(best),
        "best_value": round(study.best_value, 6),
        "trials": {
            "complete": states.count("COMPLETE"),
            "pruned": states.count("PRUNED"),
            "failed": states.count("FAIL"),
        },
        **facts,
        "baseline_cv": round(baseline.cv[metric], 6),
        "gain": round(gain, 6),
    }


def print_result(
    dataset: Dataset, model: str, result: Mapping[str, Any], baseline: Assessment, winner: Assessment
) -> None:
    metric, trials = dataset.metric, result["trials"]
    low, high = result["difference_interval"]
    print(f"{dataset.name} {model}: best settings {json.dumps(result['params'])}")
    print(f"  trials: {trials['complete']} complete, {trials['pruned']} pruned, {trials['failed']} failed")
    print(f"  cross-validated {metric}: baseline {baseline.cv[metric]:.4f}, tuned {winner.cv[metric]:.4f}")
    print(
        f"  {metric}: baseline {baseline.score[metric]:.4f}, tuned {winner.score[metric]:.4f}, "
        f"difference {result['difference']:+.4f} [{low:+.4f}, {high:+.4f}]",
        flush=True,
    )


def build_parser(config: Config) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Search for better settings with Optuna, and refit and score the winner."
    )
    parser.add_argument("--dataset", choices=["all", *config.datasets], default="all", help="default: all")
    parser.add_argument("--model", choices=list(config.models), help="default: the dataset's `tune` in params.yaml")
    parser.add_argument(
        "--n-trials",
        type=positive_int,
        default=config.tuning.trials,
        help="trials in all, finished ones of an earlier call included (default: %(default)s)",
    )
    parser.add_argument("--timeout", type=positive_float, metavar="SECONDS", help="bound of a dataset's search")
    return parser


def positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("give a whole number of at least 1")
    return value


def positive_float(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("give a number above 0")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    try:
        config = load_config()
        args = build_parser(config).parse_args(argv)
        for name in list(config.datasets) if args.dataset == "all" else [args.dataset]:
            dataset = config.dataset(name)
            model = args.model or dataset.tune
            written = tune_dataset(dataset, config, model, args.n_trials, args.timeout)
            print(f"wrote {written}, reports/{name}/tuning/{model}/ and the study's MLflow runs in mlruns/")
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        words = " ".join(["python", "tune_hyperparameters.py", *(argv if argv is not None else sys.argv[1:])])
        print(f"\nstopped; finished trials are kept. To go on: {words}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
