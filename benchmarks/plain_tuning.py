"""The plain way to train and tune, which tuning_speed.py compares this project with; its winner beside ours.

    python -m benchmarks.plain_tuning --dataset customer_churn --folder FOLDER --space ours

Five-fold cross_val_score, fluent MLflow logging, the specified models as scikit-learn has them (forests on all cores),
a MedianPruner that no report ever reaches. With `--space specified` the forest has the four settings of the
specification and no class weights; with `--space ours` it has the search space and the dataset's settings of
params.yaml, class weights among them. The study stays in the folder: a stopped one goes on. At its end the winner is
scored beside that of metrics/tune/ on the judged rows of the one split: benchmarks/results/winners.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import optuna
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline

from pipeline.files import read_json, write_json
from pipeline.intervals import paired_differences
from pipeline.metrics import metric_value
from pipeline.search.space import suggest
from pipeline.settings import Config, Dataset, load_config
from pipeline.tables.split import Parts, load_parts
from pipeline.training.assess import assess
from pipeline.training.build import build_preprocessing, columns_by_kind, resolve_recipe
from pipeline.training.fit import out_of_fold, predict

OUTPUT = Path("benchmarks/results/winners.json")
SPACE = {"n_estimators": (50, 300), "max_depth": (10, 50), "min_samples_split": (2, 10), "min_samples_leaf": (1, 5)}
SPACES = ("specified", "ours")
BASELINE = {"n_estimators": 100, "max_depth": 20, "min_samples_split": 5}


def plain_model(dataset: Dataset, config: Config, parts: Parts, name: str, **settings: Any) -> Pipeline:
    """An unfitted model of the specification behind the project's preprocessing."""
    regression = dataset.task == "regression"
    estimator = {
        "random_forest": lambda: (RandomForestRegressor if regression else RandomForestClassifier)(
            random_state=config.seed, n_jobs=-1, **settings
        ),
        "gradient_boosting": lambda: (GradientBoostingRegressor if regression else GradientBoostingClassifier)(
            random_state=config.seed
        ),
        "logistic_regression": lambda: LinearRegression() if regression else LogisticRegression(max_iter=1000),
    }[name]()
    recipe = resolve_recipe(dataset, config, name)
    return make_pipeline(build_preprocessing(recipe, columns_by_kind(recipe, parts.train.X)), estimator)


def plain_baseline(dataset: Dataset, config: Config, parts: Parts, name: str) -> None:
    """Cross-validate, fit, score and log one baseline model."""
    model = plain_model(dataset, config, parts, name, **(BASELINE if name == "random_forest" else {}))
    with mlflow.start_run(run_name=name):
        values = cross_val_score(model, parts.train.X, parts.train.y, cv=5, scoring=dataset.metric)
        model.fit(parts.train.X, parts.train.y)
        mlflow.log_metrics({"cv": values.mean(), "test": model.score(parts.test.X, parts.test.y)})
        mlflow.sklearn.log_model(model, name="model", serialization_format="pickle")


def plain_trial(study: optuna.Study, dataset: Dataset, config: Config, parts: Parts, space: str = SPACES[0]) -> None:
    """Ask, cross-validate, log, tell."""
    trial = study.ask()
    settings = suggest(trial, SPACE if space == SPACES[0] else config.search_spaces["random_forest"])
    model = plain_model(dataset, config, parts, "random_forest", **fixed_settings(dataset, config, space) | settings)
    with mlflow.start_run(run_name=f"Trial_{trial.number}"):
        value = float(cross_val_score(model, parts.train.X, parts.train.y, cv=5, scoring=dataset.metric).mean())
        mlflow.log_params(settings)
        mlflow.log_metric(dataset.metric, value)
        mlflow.set_tags({"dataset": dataset.name, "stage": "trial"})
    study.tell(trial, value)


def fixed_settings(dataset: Dataset, config: Config, space: str) -> dict[str, Any]:
    """What the forest has beside the settings that are searched."""
    return {} if space == SPACES[0] else dict(resolve_recipe(dataset, config, "random_forest").settings)


def open_plain_study(dataset: Dataset, config: Config, folder: Path) -> optuna.Study:
    """The study in the folder, and MLflow set to log there."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{folder.resolve()}/{dataset.name}-mlflow.sqlite")
    if mlflow.get_experiment_by_name(dataset.name) is None:
        mlflow.create_experiment(dataset.name, (folder / "artifacts").resolve().as_uri())
    mlflow.set_experiment(dataset.name)
    return optuna.create_study(
        study_name=dataset.name,
        storage=f"sqlite:///{folder.resolve()}/{dataset.name}.sqlite",
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=config.seed),
        pruner=optuna.pruners.MedianPruner(),
        load_if_exists=True,
    )


def winners(
    study: optuna.Study, trials: int, dataset: Dataset, config: Config, parts: Parts, space: str
) -> dict[str, Any]:
    """Our committed winner minus that of a plain study of so many trials on the judged rows, with its 95 % interval."""
    found = read_json(Path("metrics/tune") / f"{dataset.name}.json", "python tune_hyperparameters.py")
    ours = assess(resolve_recipe(dataset, config, dataset.tune), parts, found["models"][dataset.tune]["params"])
    settings = fixed_settings(dataset, config, space) | study.best_params
    model = plain_model(dataset, config, parts, "random_forest", **settings)
    if parts.whole is not None:
        plain = out_of_fold(model, parts.whole, dataset.task)
    else:
        plain = predict(model.fit(parts.train.X, parts.train.y), parts.test.X, parts.test.y, dataset.task)
    [(difference, interval)] = paired_differences(dataset.metric, ours.predictions, [plain], config.seed)
    return {
        "metric": dataset.metric,
        "plain_trials": trials,
        "plain": round(metric_value(dataset.metric, plain), 4),
        "ours": round(metric_value(dataset.metric, ours.predictions), 4),
        "difference": round(difference, 4),
        "interval": [round(bound, 4) for bound in interval],
    }


def main(argv: Sequence[str] | None = None) -> int:
    config = load_config()
    parser = argparse.ArgumentParser(description="Run a plain study, and set its winner beside ours.")
    parser.add_argument("--dataset", choices=list(config.datasets), required=True)
    parser.add_argument("--space", choices=SPACES, default=SPACES[0], help="what the plain study searches")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args(argv)
    dataset = config.dataset(args.dataset)
    parts = load_parts(dataset, config)
    study = open_plain_study(dataset, config, args.folder / args.space)
    while (count := len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))) < args.trials:
        plain_trial(study, dataset, config, parts, args.space)
        print(f"{dataset.name}: {count + 1} of {args.trials}, best {study.best_value:.4f}", flush=True)
    table = json.loads(OUTPUT.read_text(encoding="utf-8")) if OUTPUT.exists() else {}
    row = winners(study, count, dataset, config, parts, args.space)
    found = table.get(dataset.name, {}) | {args.space: row}
    table[dataset.name] = {space: found[space] for space in SPACES if space in found}
    print(f"{dataset.name}: plain winner {study.best_params}; {row}")
    write_json(OUTPUT, {name: table[name] for name in config.datasets if name in table})
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
