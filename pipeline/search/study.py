"""The study of a search: its name, its database, its trials in the order of the search."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import optuna

from pipeline.console import PipelineError
from pipeline.metrics import METRICS
from pipeline.search import scorers
from pipeline.store.sqlite import STUDIES, check_database, close_at_exit, create_database
from pipeline.tables.split import SEARCH_SEED


def study_name(model: str, way: str, hashes: Mapping[str, str]) -> str:
    """The name of the study of exactly these hashes of data and settings, searched and scored in exactly this way."""
    forests: list[Any] = [scorers.TREE_SHARE, scorers.TREE_ROWS, scorers.OUT_OF_BAG_STEPS, scorers.FOLDS_STEPS]
    forests += [scorers.FOREST_PARTS, scorers.TREE_TOLERANCE]
    facts = json.dumps([model, way, scorers.PATIENCE.get(way), forests, SEARCH_SEED, hashes], sort_keys=True)
    parts = {"data": hashes["data_sha256"], "settings": hashes["params_sha256"]}
    parts["search"] = hashlib.sha256(facts.encode()).hexdigest()
    return f"{model} ({', '.join(f'{part} {sha256[:8]}' for part, sha256 in parts.items())})"


def study_database(dataset: str) -> Path:
    return STUDIES / f"{dataset}.db"


def open_study(dataset: str, model: str, name: str, metric: str) -> optuna.Study:
    """The study of that name in the dataset's database; a new one, announced, where data, space or seed changed.
    PipelineError: the database is damaged, read-only or of another version.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    database = study_database(dataset)
    if not database.exists():
        create_database(database, lambda path: open_storage(path).engine.dispose())
    check_database(database, "an Optuna store", "studies")
    storage = open_storage(database)
    known = [study.study_name for study in storage.get_all_studies()]
    if name not in known and any(other.startswith((f"{model} (", f"{model}-")) for other in known):
        print(f"{dataset} {model}: data, settings or search space changed; a new study starts", flush=True)
    study = optuna.create_study(study_name=name, storage=storage, direction=direction_of(metric), load_if_exists=True)
    if study.metric_names is None:
        with warnings.catch_warnings():
            # experimental; optuna-dashboard shows it
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([METRICS[metric].label])
    return study


def direction_of(metric: str) -> Literal["maximize", "minimize"]:
    return "maximize" if METRICS[metric].higher_is_better else "minimize"


def open_storage(database: Path) -> optuna.storages.RDBStorage:
    options = {"connect_args": {"timeout": 60}}
    close_at_exit()
    try:
        return optuna.storages.RDBStorage(f"sqlite:///{database.resolve()}", engine_kwargs=options)
    except RuntimeError as error:
        # of another version of Optuna
        raise PipelineError(f"{database}: {error}") from None


def in_memory(name: str, metric: str, trials: Sequence[optuna.trial.FrozenTrial]) -> optuna.Study:
    """A study of that name in this process alone, with copies of the trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(study_name=name, direction=direction_of(metric))
    study.add_trials(trials)
    return study


def slot_of(trial: optuna.trial.FrozenTrial) -> int:
    """A trial's place in the order of the search, from 0; its number in the database is its place in that of ending."""
    return trial.user_attrs["slot"]


def trials_of(study: optuna.Study, n_trials: int) -> list[optuna.trial.FrozenTrial]:
    """The first n_trials of the search, in its order; fewer where one is missing, as it ended by time."""
    found = sorted(study.get_trials(deepcopy=False), key=slot_of)[:n_trials]
    return [trial for place, trial in enumerate(found) if slot_of(trial) == place]


def progress(direction: Any, trials: Sequence[optuna.trial.FrozenTrial]) -> str:
    """The best value so far, and how many trials were pruned."""
    values = [trial.value for trial in trials if trial.state.name == "COMPLETE" and trial.value is not None]
    pruned = sum(trial.state.name == "PRUNED" for trial in trials)
    best = min if direction.name == "MINIMIZE" else max
    return f"best {best(values):.4f}, {pruned} pruned" if values else "none complete yet"
