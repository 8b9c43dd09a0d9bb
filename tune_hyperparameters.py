"""Tune a model with Optuna: TPE proposes, a median pruner stops poor trials early, the winner is refitted and scored.

    python tune_hyperparameters.py --dataset california_housing --n-trials 100

Forests grow step by step and report their score after each step, out of bag where they can; boosting stops each fold by
its validation loss and reports the running mean of the folds, as other models do. The study lives in
mlruns/optuna/<dataset>.db: a killed search goes on where it was.
Writes an MLflow run a trial, reports/<dataset>/tuning/<model>/ and metrics/tune/<dataset>.json.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cluster import connect, fits_on
from pipeline.config import Config, Dataset, PipelineError, load_config, settings_sha256
from pipeline.console import exit_code, without_passwords
from pipeline.data import earlier_models, file_sha256, write_atomic, write_json, write_text
from pipeline.database import STUDIES, check_database, create_database, database_errors
from pipeline.lock import hold
from pipeline.models import search_space
from pipeline.shared_study import (
    OutOfTimeError,
    SharedStudy,
    end_once,
    finished,
    in_memory,
    open_shared,
    persistently,
    progress,
    release,
    slot_of,
    work_in_processes,
    work_on,
)

if TYPE_CHECKING:
    import optuna
    from distributed import Client
    from matplotlib.figure import Figure

    from pipeline.assessment import Assessment, Parts
    from pipeline.evaluation import Predictions
    from pipeline.tracking import MlflowClient

# A tree of a search draws half the rows, at most so many; 61 of 100 trees then leave a row out.
TREE_SHARE, TREE_ROWS = 0.5, 4000
# Shares of a trial's trees that a search grows, out of bag and on folds: either way a tenth of them votes on each row,
# for five folds. Winners of larger shares were no better when cross-validated.
OUT_OF_BAG_SHARE, FOLDS_SHARE = 0.2, 0.5
# Forests that a trial's forest is grown as, side by side.
FOREST_PARTS = 4
# Trees grown before each report: a step means the same work in every trial, so that trials can be compared.
FOREST_STEPS = (10, 20)
# Scores that differ by less are the same to a plot of what matters.
SAME_SCORE = 1e-6
# Boosting iterations without a better validation loss after which the fit of a fold stops.
PATIENCE = 20

# A scorer judges a fresh estimator step by step: the step, the score so far, and the share of the work that is done.
Scorer = Callable[[Any], Generator[tuple[int, float, float]]]
Objective = Callable[["optuna.Trial", float], float]


def tune_dataset(
    dataset: Dataset,
    config: Config,
    model: str,
    n_trials: int,
    timeout: float | None,
    workers: int = 1,
    storage: str | None = None,
    cluster: Client | None = None,
) -> Path | None:
    """Search, refit and score the winner beside the baseline, log all of it; returns the metrics file's path.

    Trials and fits run on the `cluster`, if there is one. `storage` is the address of a database in which other
    processes work on the same study: None where another one of them refits the winner.
    """
    from pipeline import assessment, tracking

    started = time.time()
    space = search_space(dataset, config, model)
    parts = assessment.load_parts(dataset, config)
    hashes = {"data_sha256": file_sha256(Path(dataset.file)), "params_sha256": settings_sha256(config, dataset)}
    name = study_name(dataset, config, model, space, hashes)
    shared = open_shared(storage, name) if storage else None
    client = tracking.open_store(create=True)
    place = shared.place if shared else None
    end = partial(end_study, dataset, config, model, parts, space, hashes, client, started, place, cluster)
    if shared is not None:
        count = len(persistently(shared, partial(finished, shared.kept)))
        print(f"{dataset.name}: study {name} in {shared.place}, {count} finished trials", flush=True)
        run_together(shared, dataset, config, model, parts, n_trials, timeout, workers)
        study = in_memory(name, persistently(shared, partial(finished, shared.kept)))
        check_completed(study, dataset)
        return end_once(shared, f"{dataset.name} {model}", n_trials, partial(end, study))
    # a second search of the same study waits, then finds the trials done
    lock = STUDIES / f".{dataset.name}-{model}.lock"
    with hold(lock, f"{dataset.name} {model}: another search goes on"), database_errors(study_database(dataset)):
        study = open_study(dataset, model, name)
        if workers > 1:
            shared = open_shared(f"sqlite:///{study_database(dataset).resolve()}", name)
            # whoever has a claim here was killed
            release(shared)
            run_together(shared, dataset, config, model, parts, n_trials, timeout, workers)
        else:
            objective = make_objective(dataset, config, model, parts, space)
            run_trials(study, objective, n_trials, timeout, config, dataset, cluster)
        study = in_memory(name, finished(study))
    check_completed(study, dataset)
    return end(study)


def end_study(
    dataset: Dataset,
    config: Config,
    model: str,
    parts: Parts,
    space: Mapping[str, Any],
    hashes: Mapping[str, str],
    client: MlflowClient,
    started: float,
    place: str | None,
    cluster: Client | None,
    study: optuna.Study,
) -> Path:
    """Refit and score the winner beside the baseline, log all of it; returns the metrics file's path."""
    from pipeline import assessment, evaluation, tracking

    best = best_settings(study)
    with fits_on(cluster):
        baseline = assessment.logged_baseline(dataset, config, model, client, hashes) or assessment.assess(
            dataset, config, model, parts, progress=assessment.progress_lines(f"{dataset.name} {model}, baseline")
        )
        own = {name: baseline.params[name] for name in space if name in baseline.params}
        winner = baseline
        if best != own:
            winner = assessment.assess(
                dataset, config, model, parts, best, assessment.progress_lines(f"{dataset.name} {model}, winner")
            )
    if winner is baseline or winner.cv[dataset.metric] < baseline.cv[dataset.metric]:
        print(f"{dataset.name} {model}: the search found nothing better than the baseline, which stays")
        winner, best = baseline, own
    [(difference, difference_interval)] = evaluation.paired_differences(
        dataset.metric, winner.predictions, [baseline.predictions], config.seed
    )
    folder = Path("reports") / dataset.name / "tuning" / model
    write_study_reports(study, folder)

    common = {"dataset": dataset.name, "model_type": model, **hashes}
    parent = tracking.RunRecord(
        name=f"{model} study",
        tags={**common, "stage": "study", "study": study.study_name, **({"study_storage": place} if place else {})},
        params={"space": json.dumps(space), "seed": config.seed},
        start=started,
    )
    tracking.write_runs(client, dataset.name, [trial_record(trial, common) for trial in study.trials], parent=parent)
    tags = {**common, "stage": "tuned"}
    assessment.log_run(winner, dataset, config, parts, client, f"{model}_tuned", tags, folder, started)

    result = summarise(study, best, baseline, winner, dataset.metric)
    result |= {"difference": round(difference, 6), "difference_interval": [round(v, 6) for v in difference_interval]}
    print_result(dataset, model, result, baseline, winner)
    path = Path("metrics/tune") / f"{dataset.name}.json"
    with tracking.store_lock():
        # read and written under one lock: a search of another model may end at the same time
        others = earlier_models(path, hashes, "python tune_hyperparameters.py")
        write_json(path, {"dataset": dataset.name, **hashes, "models": {**others, model: result}})
    return path


def study_name(
    dataset: Dataset, config: Config, model: str, space: Mapping[str, Any], hashes: Mapping[str, str]
) -> str:
    """The name of the study of exactly this data, space and seed."""
    way = way_of_scoring(dataset, config, model, space)
    tuning = [config.tuning.search_rows, config.tuning.startup_trials, PATIENCE]
    forests = [TREE_SHARE, TREE_ROWS, OUT_OF_BAG_SHARE, FOLDS_SHARE, FOREST_PARTS, FOREST_STEPS]
    facts = json.dumps([model, way, space, tuning, forests, hashes], sort_keys=True)
    return f"{model}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"


def open_study(dataset: Dataset, model: str, name: str) -> optuna.Study:
    """The study of that name in the project's own database; a new one, announced, where data, space or seed changed.

    Raises:
        PipelineError: the database is damaged, read-only or of another version.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    database = study_database(dataset)
    if not database.exists():
        create_database(database, lambda path: open_storage(path).engine.dispose())
    check_database(database, "an Optuna store", "studies")
    storage = open_storage(database)
    known = [study.study_name for study in storage.get_all_studies()]
    if name not in known and any(other.startswith(f"{model}-") for other in known):
        print(f"{dataset.name} {model}: data, settings or search space changed; a new study starts", flush=True)
    return optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)


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
    kept: optuna.Study,
    objective: Objective,
    n_trials: int,
    timeout: float | None,
    config: Config,
    dataset: Dataset,
    cluster: Client | None = None,
) -> None:
    """Go on until `kept` holds n_trials (complete, pruned or failed), or the time is up.

    A trial runs in memory and is kept when it is over, whole and in one transaction: a kill leaves no trace of the
    trial that it hits.
    """
    from tqdm import tqdm

    deadline = math.inf if timeout is None else time.monotonic() + timeout
    study = in_memory(kept.study_name, finished(kept))
    done = [slot_of(trial) for trial in study.trials]
    if done:
        print(f"{dataset.name}: going on after {len(done)} finished trials", flush=True)
    with tqdm(
        total=n_trials, initial=min(len(done), n_trials), desc=dataset.name, unit="trial", file=sys.stdout
    ) as bar:
        slots = sorted(set(range(n_trials)) - set(done))
        run = trials_one_by_one if cluster is None else partial(trials_side_by_side, cluster)
        for trial in run(objective, config, deadline, study, slots):
            kept.add_trial(trial)
            bar.update()
            bar.set_postfix_str(progress(study.get_trials(deepcopy=False)))


def trials_one_by_one(
    objective: Objective, config: Config, deadline: float, study: optuna.Study, slots: Sequence[int]
) -> Iterator[optuna.trial.FrozenTrial]:
    """Each trial as it ends, until the time is up; the study holds them too."""
    for slot in slots:
        if slot and time.monotonic() >= deadline:
            return
        try:
            yield run_trial(objective, config, deadline, study, slot)
        except OutOfTimeError:
            return


def trials_side_by_side(
    cluster: Client, objective: Objective, config: Config, deadline: float, study: optuna.Study, slots: Sequence[int]
) -> Iterator[optuna.trial.FrozenTrial]:
    """Each trial as it ends, as many at once as the cluster has threads; the study holds them too.

    A trial knows those that were over when it began. It depends on nothing else, so Dask runs it again where its worker
    is lost.
    """
    from distributed import wait

    waiting, running = list(slots), set[Any]()
    while True:
        room = max(1, sum(cluster.nthreads().values()))
        while waiting and len(running) < room and (waiting[0] == 0 or time.monotonic() < deadline):
            known, seconds = study.get_trials(deepcopy=False), deadline - time.monotonic()
            running.add(cluster.submit(run_trial_apart, objective, config, seconds, known, waiting.pop(0), pure=False))
        if not running:
            return
        for future in wait(running, return_when="FIRST_COMPLETED").done:
            running.discard(future)
            trial = future.result()
            if trial is not None:
                study.add_trial(trial)
                yield trial


def run_trial_apart(
    objective: Objective, config: Config, seconds: float, known: Sequence[optuna.trial.FrozenTrial], slot: int
) -> optuna.trial.FrozenTrial | None:
    """The trial of a slot in a worker of a cluster, after those that are known; None where the seconds are over."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    study.add_trials(known)
    try:
        return run_trial(objective, config, time.monotonic() + seconds, study, slot)
    except OutOfTimeError:
        return None


def run_trial(
    objective: Objective, config: Config, deadline: float, study: optuna.Study, slot: int
) -> optuna.trial.FrozenTrial:
    """The trial of a slot, run to its end in a study in memory.

    Its sampling is seeded from the seed and the slot, so a search that was killed and resumed proposes what one left
    alone would have, and no two processes propose the same. The first has the baseline's settings, and always ends.

    Raises:
        OutOfTimeError: the deadline has passed.
        PipelineError: the search space is wrong.
    """
    import optuna
    from optuna.trial import TrialState

    startup = config.tuning.startup_trials
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=startup)
    with warnings.catch_warnings():
        # `group` is experimental; without it the first trial, which suggests nothing, would leave no setting that all
        # trials share, and the sampler would draw each on its own
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = optuna.samplers.TPESampler(
            seed=config.seed * 100_003 + slot, n_startup_trials=startup, multivariate=True, group=True
        )
    trial = study.ask()
    trial.set_user_attr("slot", slot)
    try:
        value = objective(trial, deadline if slot else math.inf)
        if not math.isfinite(value):
            raise ValueError(f"the score is {value}")
        study.tell(trial, value)
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except (OutOfTimeError, PipelineError):
        raise
    except Exception as error:
        # whatever an estimator raises is the result of its trial, not the end of the search
        trial.set_user_attr("reason", f"{type(error).__name__}: {error}")
        study.tell(trial, state=TrialState.FAIL)
    return study.get_trials(deepcopy=False)[-1]


def check_completed(study: optuna.Study, dataset: Dataset) -> None:
    """Raises PipelineError where every trial failed."""
    trials = study.get_trials(deepcopy=False)
    if not any(trial.state.name == "COMPLETE" for trial in trials):
        raise PipelineError(f"{dataset.name}: every trial failed; the last one: {trials[-1].user_attrs['reason']}")


def run_together(
    shared: SharedStudy,
    dataset: Dataset,
    config: Config,
    model: str,
    parts: Parts,
    n_trials: int,
    timeout: float | None,
    workers: int,
) -> None:
    """Help with the trials of a shared study, in this process or in so many `workers`, until there are n_trials or the
    time is up. Trials begin as in run_trials, but know only those that were over by then; so the order in which
    processes come decides what is proposed.

    Raises:
        PipelineError: a worker was refused something, or all workers were killed.
    """
    if workers > 1:
        facts = (dataset, config, model, n_trials, timeout)
        work_in_processes(shared, workers, help_search, facts, n_trials, dataset.name)
        return
    objective = make_objective(dataset, config, model, parts, search_space(dataset, config, model))
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    work_on(shared, partial(run_trial, objective, config, deadline), n_trials, deadline, dataset.name)


def help_search(
    shared: SharedStudy, dataset: Dataset, config: Config, model: str, n_trials: int, timeout: float | None
) -> None:
    """What each worker process does."""
    from pipeline import assessment

    run_together(shared, dataset, config, model, assessment.load_parts(dataset, config), n_trials, timeout, workers=1)


def best_settings(study: optuna.Study) -> dict[str, Any]:
    """The settings of the best complete trial."""
    return dict(study.best_trial.user_attrs["settings"])


def pruned_work(trials: Sequence[optuna.trial.FrozenTrial]) -> float:
    """Share of the search's work that pruning saved, the work of one whole trial taken as the unit."""
    return sum(1 - trial.user_attrs["done"] for trial in trials if trial.state.name == "PRUNED") / len(trials)


def make_objective(dataset: Dataset, config: Config, model: str, parts: Parts, space: Mapping[str, Any]) -> Objective:
    """Settings -> score on at most search_rows training rows. Data is read and preprocessed here, once."""
    import optuna
    from sklearn.utils import resample

    from pipeline.models import build_estimator, build_preprocessing, model_params, suggest

    X, y = parts.X_train, parts.y_train
    if len(y) > config.tuning.search_rows and dataset.time:
        X, y = X.tail(config.tuning.search_rows), y[-config.tuning.search_rows :]
    elif len(y) > config.tuning.search_rows:
        X, y = resample(
            X,
            y,
            replace=False,
            n_samples=config.tuning.search_rows,
            random_state=config.seed,
            stratify=None if dataset.task == "regression" else y,
        )
    way = way_of_scoring(dataset, config, model, space)
    scorers = {"out of bag": out_of_bag_scorer, "grown on folds": grown_scorer}
    score = scorers.get(way, fold_scorer)(build_preprocessing(config.models[model], dataset, X), X, y, dataset, config)
    own = model_params(dataset, config, model)

    def objective(trial: optuna.Trial, deadline: float) -> float:
        if slot_of(trial) == 0:
            settings = {key: own[key] for key in own if key in space}
        elif way == "early stopping":
            # the iterations are found, not suggested: as many as help, up to the end of their range
            settings = suggest(trial, {key: space[key] for key in space if key != "max_iter"})
            settings |= {"max_iter": highest(space["max_iter"]), "early_stopping": True}
        else:
            settings = suggest(trial, space)
        trial.set_user_attr("settings", settings)
        estimator = build_estimator(dataset, config, model, settings, X)
        value = math.nan
        with closing(score(estimator)) as steps:
            for step, value, done in steps:
                trial.report(value, step)
                trial.set_user_attr("done", round(done, 6))
                if done < 1 and time.monotonic() > deadline:
                    raise OutOfTimeError
                if done < 1 and trial.should_prune():
                    raise optuna.TrialPruned
        found = estimator.get_params()
        trial.set_user_attr("settings", {key: found[key] for key in settings})
        return value

    return objective


def highest(rule: Any) -> int:
    return max(rule["log"] if isinstance(rule, Mapping) else rule)


def way_of_scoring(dataset: Dataset, config: Config, model: str, space: Mapping[str, Any]) -> str:
    """How a model's trials are scored: "out of bag", "grown on folds", "early stopping" or "folds".

    Class weights steer the bootstrap: a rare class is then in every tree, and has no out-of-bag votes at all. Rows that
    belong together or follow one another would be on both sides of a bootstrap sample.
    """
    from pipeline.models import build_estimator, model_params

    baseline = build_estimator(dataset, config, model, None)
    if hasattr(baseline, "oob_score") and hasattr(baseline, "warm_start"):
        unweighted = getattr(baseline, "class_weight", None) is None
        random_rows = not dataset.group and not dataset.time
        fixed = not {"bootstrap", "max_samples", "class_weight"} & {*space, *model_params(dataset, config, model)}
        return "out of bag" if baseline.bootstrap and unweighted and random_rows and fixed else "grown on folds"
    if "max_iter" in space and "X_val" in inspect.signature(baseline.fit).parameters:
        return "early stopping"
    return "folds"


def out_of_bag_scorer(preprocessing: Any, X: Any, y: Any, dataset: Dataset, config: Config) -> Scorer:
    """Out-of-bag score (Breiman 2001) of a forest that grows: the trees and votes of a step stay for the next.

    The forest is grown as FOREST_PARTS smaller ones side by side, however many cores there are: the same in any place.
    """
    import numpy as np
    from joblib import cpu_count
    from sklearn.base import clone

    from pipeline.evaluation import metric_value

    features = np.asarray(preprocessing.fit_transform(X, y), dtype=np.float32)
    rows = max(1, min(TREE_ROWS, int(TREE_SHARE * len(y))))
    labels = None if dataset.task == "regression" else np.unique(y)
    width = () if labels is None else (len(labels),)

    def score(estimator: Any) -> Generator[tuple[int, float, float]]:
        settings = {"warm_start": True, "max_samples": rows, "n_jobs": 1}
        seeds = range(config.seed, config.seed + FOREST_PARTS)
        forests = [clone(estimator).set_params(**settings, random_state=seed) for seed in seeds]
        votes = np.zeros((FOREST_PARTS, len(y), *width))
        voters = np.zeros((FOREST_PARTS, len(y)))

        def grow(part: int, trees: int) -> None:
            forest = forests[part]
            new = slice(forest.n_estimators if hasattr(forest, "estimators_") else 0, trees)
            forest.set_params(n_estimators=trees).fit(features, y)
            for tree, drawn in zip(forest.estimators_[new], forest.estimators_samples_[new], strict=True):
                left_out = np.ones(len(y), dtype=bool)
                left_out[drawn] = False
                votes[part, left_out] += vote(tree, features[left_out])
                voters[part, left_out] += 1

        with ThreadPoolExecutor(cpu_count()) as threads:
            for trees, done in growth(OUT_OF_BAG_SHARE * estimator.n_estimators, FOREST_PARTS):
                list(threads.map(grow, range(FOREST_PARTS), [trees] * FOREST_PARTS))
                asked = voters.sum(axis=0) > 0
                means = (votes.sum(axis=0)[asked].T / voters.sum(axis=0)[asked]).T
                yield trees, metric_value(dataset.metric, voted(dataset, labels, y[asked], means)), done

    return score


def grown_scorer(preprocessing: Any, X: Any, y: Any, dataset: Dataset, config: Config) -> Scorer:
    """Pooled out-of-fold score of forests that grow, one a fold."""
    import numpy as np
    from joblib import cpu_count
    from sklearn.base import clone

    from pipeline.evaluation import metric_value

    folds = preprocessed_folds(preprocessing, X, y, dataset, config, dtype="float32")
    actual = np.concatenate([fold[3] for fold in folds])
    labels = None if dataset.task == "regression" else np.unique(y)
    width = () if labels is None else (len(labels),)

    def score(estimator: Any) -> Generator[tuple[int, float, float]]:
        rows = max(1, min(TREE_ROWS, int(TREE_SHARE * len(folds[0][1]))))
        forests = [clone(estimator).set_params(warm_start=True, n_jobs=1) for _ in folds]
        if estimator.bootstrap and estimator.max_samples is None:
            forests = [forest.set_params(max_samples=rows) for forest in forests]
        votes = [np.zeros((len(fold[3]), *width)) for fold in folds]

        def grow(fold: int, trees: int) -> None:
            forest, (X_train, y_train, X_validation, _) = forests[fold], folds[fold]
            new = slice(forest.n_estimators if hasattr(forest, "estimators_") else 0, trees)
            forest.set_params(n_estimators=trees).fit(X_train, y_train)
            # classes that come up only after the rows that a fold learns from have no votes
            known = slice(None) if labels is None else np.searchsorted(labels, forest.classes_)
            for tree in forest.estimators_[new]:
                votes[fold][..., known] += vote(tree, X_validation)

        with ThreadPoolExecutor(cpu_count()) as threads, warnings.catch_warnings():
            # class weights of a forest that grows: right here, where every fit has the same rows
            warnings.simplefilter("ignore", UserWarning)
            for trees, done in growth(FOLDS_SHARE * estimator.n_estimators, len(folds)):
                list(threads.map(grow, range(len(folds)), [trees] * len(folds)))
                means = np.concatenate([cast / trees for cast in votes])
                yield trees, metric_value(dataset.metric, voted(dataset, labels, actual, means)), done

    return score


def growth(trees: float, parts: int) -> Iterator[tuple[int, float]]:
    """The steps by which forests grow that have so many trees together: trees of each of them, share of the work."""
    size = max(1, round(trees / parts))
    for step in [*(step // parts for step in FOREST_STEPS if parts <= step < size * parts), size]:
        yield step, step / size


def vote(tree: Any, features: Any) -> Any:
    """A tree's votes: values (n,) for regression, else a share a class (n, classes)."""
    return (tree.predict_proba if hasattr(tree, "predict_proba") else tree.predict)(features, check_input=False)


def voted(dataset: Dataset, labels: Any, actual: Any, means: Any) -> Predictions:
    """Predictions from the mean votes of trees: values (n,) for regression, else a share for each of the labels, sorted
    (n, classes).
    """
    from pipeline.evaluation import Predictions

    if labels is None:
        return Predictions(actual, means)
    return Predictions(actual, labels[means.argmax(axis=1)], means[:, 1] if dataset.task == "binary" else None)


def fold_scorer(preprocessing: Any, X: Any, y: Any, dataset: Dataset, config: Config) -> Scorer:
    """Running mean over the folds for which the metric is defined. With early stopping the validation rows say when to
    stop; the estimator gets the mean of the folds' best iterations.

    The folds are fitted side by side, each on one core, and looked at in their order: how many cores there are changes
    no result. What is left when a trial is pruned is dropped.
    """
    import numpy as np
    from joblib import effective_n_jobs
    from sklearn.base import clone
    from threadpoolctl import threadpool_limits

    from pipeline.evaluation import Predictions, metric_value

    folds = preprocessed_folds(preprocessing, X, y, dataset, config)

    def score(estimator: Any) -> Generator[tuple[int, float, float]]:
        values: list[float] = []
        iterations: list[int] = []
        stopped = getattr(estimator, "early_stopping", False) is True and hasattr(estimator, "max_iter")

        def judge(fold: tuple[Any, Any, Any, Any]) -> tuple[float, int]:
            X_train, y_train, X_validation, y_validation = fold
            # in order of time a class may come up after the rows that a fold learns from
            known = slice(None) if dataset.task == "regression" else np.isin(y_validation, y_train)
            fitted = clone(estimator)
            with threadpool_limits(1, user_api="openmp"):
                if stopped:
                    fitted.set_params(n_iter_no_change=PATIENCE, scoring="loss")
                    fitted.fit(X_train, y_train, X_val=X_validation[known], y_val=y_validation[known])
                else:
                    fitted.fit(X_train, y_train)
                probability = fitted.predict_proba(X_validation)[:, 1] if dataset.task == "binary" else None
                predictions = Predictions(y_validation, fitted.predict(X_validation), probability)
            best = max(1, int(np.argmax(fitted.validation_score_))) if stopped else 0
            return metric_value(dataset.metric, predictions), best

        threads = ThreadPoolExecutor(effective_n_jobs(getattr(estimator, "n_jobs", None) or -1))
        try:
            for number, (value, best) in enumerate(threads.map(judge, folds), 1):
                # ROC-AUC is not defined for a fold of one class
                values += [value] if math.isfinite(value) else []
                iterations.append(best)
                if stopped and number == len(folds):
                    estimator.set_params(max_iter=round(np.mean(iterations)), early_stopping=False)
                if values or number == len(folds):
                    yield number, float(np.mean(values)) if values else math.nan, number / len(folds)
        finally:
            threads.shutdown(cancel_futures=True)

    return score


def preprocessed_folds(
    preprocessing: Any, X: Any, y: Any, dataset: Dataset, config: Config, dtype: str = "float64"
) -> list[tuple[Any, Any, Any, Any]]:
    """Each fold's X_train, y_train, X_validation, y_validation, the preprocessing fitted on its own training rows."""
    import numpy as np
    from sklearn.base import clone

    from pipeline.data import fold_indices
    from pipeline.evaluation import empty_columns_as_zero

    folds = []
    for train, validation in fold_indices(X, y, dataset, config):
        fitted = clone(preprocessing)
        # fit_transform, as target encoding is cross-fitted only there
        learned = empty_columns_as_zero(np.asarray(fitted.fit_transform(X.iloc[train], y[train]), dtype=dtype))
        asked = np.asarray(fitted.transform(X.iloc[validation]), dtype=dtype)
        folds.append((learned, y[train], asked, y[validation]))
    return folds


def trial_record(trial: optuna.trial.FrozenTrial, tags: Mapping[str, str]) -> Any:
    """A trial's MLflow run: a pruned trial was stopped on purpose (KILLED), a failed one FAILED."""
    from pipeline.tracking import RunRecord

    status = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}[trial.state.name]
    values = [trial.value] if trial.value is not None else list(trial.intermediate_values.values())[-1:]
    reason = {"reason": trial.user_attrs["reason"][:500]} if "reason" in trial.user_attrs else {}
    return RunRecord(
        name=f"Trial_{slot_of(trial) + 1}",
        tags={**tags, "stage": "trial", "trial_state": trial.state.name, **reason},
        params=trial.user_attrs.get("settings", {}),
        metrics={"value": values[0], "step": max(trial.intermediate_values, default=0)} if values else {},
        status=status,
        start=trial.datetime_start.timestamp() if trial.datetime_start else None,
        end=trial.datetime_complete.timestamp() if trial.datetime_complete else None,
    )


def write_study_reports(study: optuna.Study, folder: Path) -> None:
    """trials.csv, and each of Optuna's plots as a PNG and an interactive page.

    The pages share plotly's script beside them, so that the folder can be moved or sent, and opened without a network.
    """
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
    shown.add_trials([trial for trial in study.get_trials(deepcopy=False) if trial.params])
    values = [trial.value for trial in shown.trials if trial.value is not None and trial.state.name == "COMPLETE"]
    few = "" if len(values) > 1 else "Too few complete trials for this plot"
    # fANOVA has no variance to share out where trials do not differ
    level = few or ("" if max(values) - min(values) > SAME_SCORE else "No setting changes the score")
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
        reason = "" if source is study else level if name == "param_importances" else few
        if reason:
            write_text(folder / f"{name}.html", f"<!doctype html><title>{name}</title><p>{reason}.</p>\n")
            figure = pyplot.figure()
            figure.text(0.5, 0.5, reason, ha="center")
        else:
            page = getattr(optuna.visualization, function)(source, **options)
            write_text(folder / f"{name}.html", page.to_html(include_plotlyjs="plotly.min.js"))
            # Optuna sets the style of all figures; the context takes it back
            with warnings.catch_warnings(), pyplot.style.context("default"):
                warnings.simplefilter("ignore")
                axes = getattr(optuna.visualization.matplotlib, function)(source, **options)
            figure = (axes.flat[0] if hasattr(axes, "flat") else axes).figure
            figure.set_size_inches(14 if name == "slice" else 9, 5)
            if name == "parallel_coordinate":
                make_readable(figure)
        write_atomic(folder / f"{name}.png", partial(figure.savefig, dpi=110, bbox_inches="tight"))
        pyplot.close("all")


def make_readable(figure: Figure) -> None:
    """Parallel coordinates without the grid of each axis, and with a plain ground behind the numbers."""
    for axes in figure.axes:
        axes.grid(False)
        axes.set_facecolor("white")
        for label in axes.get_yticklabels():
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})


def summarise(
    study: optuna.Study, best: Mapping[str, Any], baseline: Assessment, winner: Assessment, metric: str
) -> dict[str, Any]:
    """The winner's part of the committed metrics."""
    from pipeline.assessment import summary
    from pipeline.evaluation import relative_gain

    states = [trial.state.name for trial in study.get_trials(deepcopy=False)]
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
        "pruned_work": round(pruned_work(study.trials), 6),
        **facts,
        "baseline_cv": round(baseline.cv[metric], 6),
        "gain": relative_gain(winner.score[metric], baseline.score[metric]),
    }


def print_result(
    dataset: Dataset, model: str, result: Mapping[str, Any], baseline: Assessment, winner: Assessment
) -> None:
    metric, trials = dataset.metric, result["trials"]
    low, high = result["difference_interval"]
    print(f"{dataset.name} {model}: best settings {json.dumps(result['params'])}")
    print(
        f"  trials: {trials['complete']} complete, {trials['pruned']} pruned, {trials['failed']} failed; "
        f"pruning saved {result['pruned_work']:.0%} of the search's work"
    )
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
    parser.add_argument(
        "--workers",
        type=positive_int,
        default=1,
        metavar="N",
        help="processes that share the search; with more than one the order in which trials end decides what is "
        "tried next, so that no two searches are the same (default: %(default)s)",
    )
    parser.add_argument(
        "--storage",
        type=postgresql_address,
        metavar="URL",
        default=os.environ.get("PIPELINE_STUDY_STORAGE") or None,
        help="postgresql://user@host/database: share the search with every machine that is given the same "
        "(default: the variable PIPELINE_STUDY_STORAGE)",
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster to search on, as tcp://host:8786")
    parser.add_argument(
        "--timeout",
        type=positive_float,
        metavar="SECONDS",
        help="bound of a dataset's search; scoring the winner comes on top",
    )
    return parser


def positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("give a whole number of at least 1")
    return value


def postgresql_address(text: str) -> str:
    if not text.startswith(("postgresql://", "postgresql+psycopg://")):
        # what was given is not repeated: it may hold a password
        raise argparse.ArgumentTypeError("give postgresql://user@host/database; on one machine use --workers")
    return text


def positive_float(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("give a number above 0")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    try:
        config = load_config()
        parser = build_parser(config)
        args = parser.parse_args(argv)
        if args.scheduler and (args.workers > 1 or args.storage):
            parser.error("argument --scheduler: goes with neither --workers nor --storage")
        from pipeline import tracking

        with connect(args.scheduler) as cluster:
            for name in list(config.datasets) if args.dataset == "all" else [args.dataset]:
                dataset = config.dataset(name)
                model = args.model or dataset.tune
                shares = args.workers, args.storage, cluster
                written = tune_dataset(dataset, config, model, args.n_trials, args.timeout, *shares)
                if written is None:
                    continue
                reports = f"reports/{name}/tuning/{model}/"
                print(f"wrote {written}, {reports} and the study's MLflow runs in {tracking.place()}")
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        words = " ".join(["python", "tune_hyperparameters.py", *(argv if argv is not None else sys.argv[1:])])
        print(f"\nstopped; finished trials are kept. To go on: {without_passwords(words)}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(exit_code(main))
