"""How often each check of a model raises its alarm where nothing is wrong, and where something is.

    python -m benchmarks.checks --draws 120

So many tables of each kind, task and number of rows, half as many with a fault, simulated so that the truth is known.
Checks of predictions get simulated ones; folds, useless columns and the edge of a search come from fits and searches.
Writes benchmarks/results/checks.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from pipeline.checks.calibration import calibration
from pipeline.checks.edges import winner_at_the_edge
from pipeline.checks.finding import Finding
from pipeline.checks.folds import folds_disagree
from pipeline.checks.levels import LEVEL, unseen_error, without_each_group
from pipeline.checks.rivals import Rival, overfitting, simpler_as_good
from pipeline.checks.segments import weakest_segment
from pipeline.checks.single_columns import column_gives_target_away, useless_columns
from pipeline.checks.twins import same_rows
from pipeline.files import write_json
from pipeline.metrics import Predictions, metric_value
from pipeline.search.space import suggest
from pipeline.tables.split import Rows
from pipeline.training.build import Recipe, build_model
from pipeline.training.fit import fit, predict
from pipeline.training.importance import IMPORTANCE_ROWS, importances

OUTPUT = Path("benchmarks/results/checks.json")
GROUP = 10
METRIC = {"regression": "r2", "binary": "roc_auc"}
# Of a normal distribution at 95 %, for Wilson's interval.
Z = 1.959964
Draw = Callable[[str, int, np.random.Generator], Finding]


@dataclass(frozen=True)
class Situation:
    """Tables of one kind: what is wrong in words (nothing where empty), the tasks, the numbers of rows, and a draw."""

    check: str
    fault: str
    draw: Draw
    tasks: tuple[str, ...] = ("regression", "binary")
    rows: tuple[int, ...] = (400, 4000)
    nothing: str = ""


def predictions(task: str, signal: np.ndarray, noise: np.ndarray, error: np.ndarray) -> Predictions:
    """Of a model that knows the signal but for an error; the target is the signal and noise, or its sign."""
    actual = signal + noise
    if task == "regression":
        return Predictions(actual, signal + error)
    score = 1 / (1 + np.exp(-2 * (signal + error)))
    return Predictions((actual > 0).astype(int), (score >= 0.5).astype(int), score)


def two_models(
    task: str, rows: int, rng: np.random.Generator, own: float, other: float, group: int = 1
) -> tuple[Predictions, Predictions]:
    """Two models on the same rows whose errors have such standard deviations, half of their variance shared; each row
    comes `group` times, with noise of its own of a tenth.
    """
    of = np.repeat(np.arange(rows // group), group)
    signal, noise, shared, first, second = rng.normal(size=(5, rows // group))[:, of]
    noise = 0.5 * noise + 0.05 * rng.normal(size=len(of))
    errors = [sd * (shared + own_part) / np.sqrt(2) for sd, own_part in ((own, first), (other, second))]
    return predictions(task, signal, noise, errors[0]), predictions(task, signal, noise, errors[1])


def rivals(task: str, models: Sequence[Predictions], units: np.ndarray | None = None) -> list[Rival]:
    """The first fits its training rows best and is the largest."""
    metric, n = METRIC[task], len(models[0].actual)
    without = without_each_group(metric, models, np.arange(n) if units is None else units, 0)
    return [
        Rival(f"model {k}", 10**6 // 10**k, 0.99 - 0.1 * k, metric_value(metric, p), without[:, k])
        for k, p in enumerate(models)
    ]


def overfit(
    task: str, rows: int, rng: np.random.Generator, own: float = 0.5, in_test: float = 0.5, group: int = 1
) -> Finding:
    """A model beside another with an error of 0.5; `own` is its error in out-of-fold predictions, `in_test` its error
    in the test part of a quarter of so many rows, on which both are judged.
    """
    test, other = two_models(task, rows // 4, rng, in_test, 0.5, group)
    pooled, _ = two_models(task, rows, rng, own, 0.5, group)
    units = np.arange(len(pooled.actual) + len(test.actual)) // group if group > 1 else None
    first, *others = rivals(task, [test, other], None if units is None else units[len(pooled.actual) :])
    return overfitting(task, METRIC[task], first, others, pooled, test, units, False, int(rng.integers(2**31)))


def folds(task: str, rows: int, rng: np.random.Generator, broken: float = 0.0) -> Finding:
    """Trees of five folds; in one of them such a share of the predictions is shuffled."""
    X = rng.normal(size=(rows, 4))
    signal = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2]
    y = signal + rng.normal(size=rows) if task == "regression" else (signal + rng.normal(size=rows) > 0).astype(int)
    kind = DecisionTreeRegressor if task == "regression" else DecisionTreeClassifier
    seed = int(rng.integers(2**31))
    cut = (KFold if task == "regression" else StratifiedKFold)(5, shuffle=True, random_state=seed)
    fold, predicted = np.zeros(rows, dtype=int), np.zeros(rows)
    for number, (train, validation) in enumerate(cut.split(X, y), 1):
        model = kind(min_samples_leaf=10, random_state=0).fit(X[train], y[train])
        fold[validation] = number
        values = model.predict(X[validation]) if task == "regression" else model.predict_proba(X[validation])[:, 1]
        if number == 3 and broken:
            wrong = rng.permutation(len(values))[: int(broken * len(values))]
            values[np.sort(wrong)] = values[wrong]
        predicted[validation] = values
    pooled = Predictions(y, predicted)
    if task != "regression":
        pooled = Predictions(y, (predicted >= 0.5).astype(int), predicted)
    return folds_disagree(task, METRIC[task], pooled, fold, False, False, seed)


def giveaway(task: str, rows: int, rng: np.random.Generator, explained: float) -> Finding:
    """Six columns, one of which explains such a share of the target, now and then with words or missing values."""
    X = pd.DataFrame(rng.normal(size=(rows, 5)), columns=[f"x{k}" for k in range(5)])
    if task == "regression":
        known = rng.normal(size=rows)
        y = np.sqrt(explained) * known + np.sqrt(1 - explained) * rng.normal(size=rows)
    else:
        # of two values, with chances p and 1 - p of the class: 4 p (1 - p) of the Brier score is left
        p = (1 - np.sqrt(explained)) / 2
        known = rng.integers(2, size=rows).astype(float)
        y = np.where(rng.random(rows) < p, 1 - known, known).astype(int)
    X["known"] = known
    if task == "binary" and rng.random() < 0.5:
        X["known"] = pd.Series(known).map({1.0: "yes"})
    cut = (KFold if task == "regression" else StratifiedKFold)(5, shuffle=True, random_state=0)
    return column_gives_target_away(task, Rows(X, y, list(cut.split(X, y))), [*X], None)


def twins(task: str, rows: int, rng: np.random.Generator, copied: float = 0.0) -> Finding:
    """Columns that are fine, coarse or mostly zero, in turn; such a share of the test rows is copied from training."""
    kind = rng.integers(3)
    latent = rng.normal(size=(rows, 4))
    latent[:, 1:] += latent[:, :1]
    if kind == 0:
        X = pd.DataFrame(latent)
    elif kind == 1:
        X = pd.DataFrame(np.round(latent[:, :2] * 10))
        X[2] = np.where(latent[:, 2] > 0.5, "a", "b")
    else:
        X = pd.DataFrame(np.floor(np.exp(latent)) * (rng.random((rows, 4)) < 0.3))
        X[0] = np.round(latent[:, 0] * 20)
    X.columns = [f"x{k}" for k in range(X.shape[1])]
    target = latent.sum(axis=1) + rng.normal(size=rows)
    X["target"] = np.round(target, 1) if task == "regression" else (target > 0).astype(float)
    train, test = X[rows // 5 :].reset_index(drop=True), X[: rows // 5].reset_index(drop=True)
    copies = rng.permutation(len(test))[: int(copied * len(test))]
    test.iloc[copies] = train.iloc[rng.permutation(len(train))[: len(copies)]].to_numpy()
    return same_rows(train, test)


SPACE = {
    "depth": [2, 20],
    "leaf": [1, 5],
    "rate": {"log": [0.01, 1.0]},
    "share": [0.1, 1.0],
    "trees": [50, 300],
}


def edge(task: str, rows: int, rng: np.random.Generator, slope: float = 0.0) -> Finding:
    """A search by Optuna's TPE in so many trials, with an optimum within the ranges of depth and rate and no effect of
    the rest; with a slope the value rises with share up to its end by so many standard deviations of the noise.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    depth, rate = rng.uniform(4, 18), rng.uniform(-4, -0.6)
    trials: list[tuple[dict[str, Any], float]] = []

    def objective(trial: optuna.Trial) -> float:
        s = suggest(trial, SPACE)
        value = -(((s["depth"] - depth) / 5) ** 2) - (np.log(s["rate"]) - rate) ** 2 + rng.normal()
        trials.append((s, float(value + slope * s["share"])))
        return trials[-1][1]

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=int(rng.integers(2**31))))
    study.optimize(objective, n_trials=rows)
    return winner_at_the_edge(study.best_params, SPACE, trials, lambda name, value: True)


def simpler(task: str, rows: int, rng: np.random.Generator, worse: bool, group: int = 1) -> Finding:
    """A model beside a smaller one that is as good, or `worse` by just what counts: a fiftieth of the lead in R², and
    as much in accuracy.
    """
    if task == "regression":
        # R² is 1 - (0.25 + 0.0025 + e²) / 1.2525, of a lead of which a fiftieth is lost
        lead = 1 - (0.2525 + 0.25) / 1.2525
        other = np.sqrt(0.25 + 0.02 * lead * 1.2525) if worse else 0.5
        models = [*two_models(task, rows, rng, 0.5, float(other), group)]
        metric, naive = "r2", 0.0
    else:
        of = np.repeat(np.arange(rows // group), group)
        actual = rng.integers(2, size=len(of))
        wrong, apart = rng.random((2, rows // group))
        # of 80 %, over a naive 50 %
        rate = 0.2 + (0.006 if worse else 0.0)
        first = (wrong < 0.2)[of]
        moved = np.where(wrong < 0.2, apart < 0.1, apart < (rate - 0.18) / 0.8)[of]
        labels = [np.where(fault, 1 - actual, actual) for fault in (first, first ^ moved)]
        models = [Predictions(actual, label, label.astype(float)) for label in labels]
        metric, naive = "accuracy", 0.5
    units = np.arange(len(models[0].actual)) // group
    without = without_each_group(metric, models, units, 0)
    own, small = (
        Rival(f"model {k}", 10**6 // 10**k, 0.9, metric_value(metric, p), without[:, k]) for k, p in enumerate(models)
    )
    return simpler_as_good(task, metric, own, [small], naive, models[0].actual, rows // group)


def useless(
    task: str, rows: int, rng: np.random.Generator, least: float, rare: bool = False, group: int = 1
) -> Finding:
    """A linear model of five columns, the last with such a weight beside 1 of the others, or a rare flag that decides;
    judged on half the rows. The rows of a group share half the variance of columns and noise.
    """
    metric = "accuracy" if rare and task == "binary" else METRIC[task]
    numbers = rng.normal(size=(2 * rows, 6))
    if group > 1:
        numbers = (numbers + np.repeat(rng.normal(size=(2 * rows // group, 6)), group, axis=0)) / 2**0.5
    X = pd.DataFrame(numbers[:, :5], columns=[f"x{k}" for k in range(5)])
    if rare:
        X["x4"] = (rng.random(len(X)) < 0.005).astype(float)
    target = X.to_numpy() @ np.array([1, 1, 1, 1, least]) + numbers[:, 5]
    y = target if task == "regression" else (target > 0).astype(int)
    estimator = LinearRegression if task == "regression" else LogisticRegression
    seed = int(rng.integers(2**31))
    recipe = Recipe("m", estimator, {}, True, task, metric, 0.5, {}, {}, frozenset(), seed)
    model = fit(build_model(recipe, X[:rows]), X[:rows], y[:rows])
    units, together = np.arange(rows) // group, group > 1
    test = Rows(X[rows:], y[rows:], [], {"group": units} if together else {})
    judged, naive = predict(model, test.X, test.y, task), 0.0 if task == "regression" else 0.5
    without, count = without_each_group(metric, [judged], units, seed)[:, 0], rows // group
    unseen = unseen_error(without, count, min(count, IMPORTANCE_ROWS))
    importance, value = importances(model, recipe, test), metric_value(metric, judged)
    freedom = min(count, IMPORTANCE_ROWS) - 1 if together else np.inf
    return useless_columns(task, metric, importance, value, naive, test.y, unseen, freedom)


def probabilities(task: str, rows: int, rng: np.random.Generator, slope: float = 1.0, group: int = 1) -> Finding:
    """Probabilities of a table of one to fifty positives in a hundred rows; their log-odds are too large by a factor.
    The rows of a group share what decides them.
    """
    logit = rng.normal(rng.uniform(-3, 0), 1.5, rows)
    chance = 1 / (1 + np.exp(-logit))
    decides = np.repeat(rng.random(rows // group), group)
    actual = (decides < chance[: len(decides)]).astype(int)
    score = (1 / (1 + np.exp(-slope * logit)))[: len(decides)]
    units = np.arange(len(decides)) // group if group > 1 else None
    return calibration(
        "binary", Predictions(actual, (score >= 0.5).astype(int), score), units, False, int(rng.integers(2**31))
    )


def segment(task: str, rows: int, rng: np.random.Generator, worse: float, group: int = 1) -> Finding:
    """Eight columns, some with words or missing values; in a quarter of one the error is so many times that of the
    rest. Errors have heavy tails.
    """
    of = np.repeat(np.arange(rows // group), group)
    X = pd.DataFrame(rng.normal(size=(rows // group, 8)), columns=[f"x{k}" for k in range(8)])
    X["x6"] = rng.choice(["a", "b", "c"], len(X))
    X.loc[rng.random(len(X)) < 0.1, "x5"] = np.nan
    weak = (X["x0"] > X["x0"].quantile(0.75)).to_numpy()
    if task == "regression":
        error = rng.standard_t(5, len(X)) * np.where(weak, worse, 1.0)
        judged = Predictions(np.zeros(len(of)), error[of] + 0.1 * rng.normal(size=len(of)))
    else:
        wrong = rng.random(len(X)) < 0.15 * np.where(weak, worse, 1.0)
        actual = rng.integers(2, size=len(of))
        labels = np.where(wrong[of], 1 - actual, actual)
        judged = Predictions(actual, labels, labels.astype(float))
    units = of if group > 1 else None
    X = X.iloc[of].reset_index(drop=True)
    return weakest_segment(task, judged, X, (), units, int(rng.integers(2**31)))


SITUATIONS = [
    Situation("overfitting", "", overfit),
    Situation("overfitting", "", partial(overfit, group=GROUP), nothing=f"groups of {GROUP} rows"),
    Situation("overfitting", "errors 30 % larger than another model's", partial(overfit, own=0.65, in_test=0.65)),
    Situation("overfitting", "errors 50 % larger in the test part", partial(overfit, in_test=0.75)),
    Situation("folds", "", folds),
    Situation("folds", "half of a fold's predictions shuffled", partial(folds, broken=0.5)),
    Situation("giveaway", "", partial(giveaway, explained=0.6), nothing="a column explains 60 %"),
    Situation("giveaway", "", partial(giveaway, explained=0.88), nothing="a column explains 88 %"),
    Situation("giveaway", "a column explains 97 %", partial(giveaway, explained=0.97)),
    Situation("same_rows", "", twins),
    Situation("same_rows", "a quarter of the test rows copied", partial(twins, copied=0.25)),
    Situation("edge", "", edge, rows=(60, 80, 100), tasks=("search",)),
    Situation("edge", "better up to the end", partial(edge, slope=6.0), rows=(60, 80, 100), tasks=("search",)),
    Situation("simpler", "", partial(simpler, worse=True), nothing="the smaller one worse by the margin"),
    Situation("simpler", "", partial(simpler, worse=True, group=GROUP), nothing=f"the same in groups of {GROUP} rows"),
    Situation("simpler", "the smaller one equal", partial(simpler, worse=False), rows=(400, 4000, 40000)),
    Situation("useless", "", partial(useless, least=0.5), nothing="a column with half the weight"),
    Situation("useless", "", partial(useless, least=20.0, rare=True), nothing="a flag in 1 of 200 rows that decides"),
    Situation("useless", "a column of noise", partial(useless, least=0.0)),
    Situation("calibration", "", probabilities, tasks=("binary",), rows=(200, 1000, 10000)),
    Situation(
        "calibration",
        "",
        partial(probabilities, group=GROUP),
        tasks=("binary",),
        rows=(1000, 10000),
        nothing=f"groups of {GROUP} rows",
    ),
    Situation("calibration", "log-odds 50 % too large", partial(probabilities, slope=1.5), tasks=("binary",)),
    Situation("segment", "", partial(segment, worse=1.0)),
    Situation("segment", "", partial(segment, worse=1.2), nothing="a quarter 1.2 times as bad"),
    Situation("segment", "", partial(segment, worse=1.0, group=GROUP), nothing=f"groups of {GROUP} rows"),
    Situation("segment", "a quarter twice as bad", partial(segment, worse=2.0)),
    Situation(
        "useless",
        "",
        partial(useless, least=0.5, group=GROUP),
        nothing=f"a column with half the weight, groups of {GROUP} rows",
    ),
]


def counted(job: tuple[int, str, int, int]) -> dict[str, Any]:
    """One situation at one task and number of rows: how many of the draws raise the alarm, and how many say nothing."""
    place, task, rows, draws = job
    situation = SITUATIONS[place]
    with threadpool_limits(1):
        found = [situation.draw(task, rows, np.random.default_rng([place, rows, len(task), n])) for n in range(draws)]
    alarms = [finding.alarm for finding in found]
    return {
        "check": situation.check,
        "fault": situation.fault,
        "situation": situation.nothing,
        "task": task,
        "rows": rows,
        "draws": draws,
        "alarms": sum(alarm is True for alarm in alarms),
        "cannot_be_said": sum(alarm is None for alarm in alarms),
    }


def wilson(alarms: int, draws: int) -> list[float]:
    """The 95 % interval of a share (Wilson 1927)."""
    share, spread = alarms / draws, Z**2 / draws
    half = Z * np.sqrt(share * (1 - share) / draws + spread / draws / 4)
    return [round(float((share + spread / 2 + side * half) / (1 + spread)), 5) for side in (-1, 1)]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Count false alarms and detections of the checks of a model.")
    parser.add_argument("--draws", type=int, default=120, help="tables of each kind, task and number of rows")
    parser.add_argument(
        "--check",
        action="append",
        choices=dict.fromkeys(s.check for s in SITUATIONS),
        help="default: all; the others stay as they were",
    )
    args = parser.parse_args(argv)
    jobs = [
        (place, task, rows, args.draws // 2 if situation.fault else args.draws)
        for place, situation in enumerate(SITUATIONS)
        if not args.check or situation.check in args.check
        for task in situation.tasks
        for rows in situation.rows
    ]
    with ProcessPoolExecutor(2) as pool:
        found = [*tqdm(pool.map(counted, jobs), total=len(jobs))]
    for row in found:
        print(row)
    earlier = json.loads(OUTPUT.read_text(encoding="utf-8"))["situations"] if args.check else []
    found += [row for row in earlier if row["check"] not in args.check]
    alarms: dict[str, Any] = {}
    for check in dict.fromkeys(situation.check for situation in SITUATIONS):
        rows = [row for row in found if row["check"] == check and not row["fault"]]
        # what cannot be said is no chance of a false alarm
        draws = sum(row["draws"] - row["cannot_be_said"] for row in rows)
        total = sum(row["alarms"] for row in rows)
        alarms[check] = {"draws": draws, "alarms": total, "interval": wilson(total, draws)}
    situations = [row for check in alarms for row in found if row["check"] == check]
    write_json(OUTPUT, {"level": LEVEL, "false_alarms": alarms, "situations": situations})
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
