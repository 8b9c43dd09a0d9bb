"""How often the champion moves among 50 models that are equally good, and how often a better one becomes it.

    python -m benchmarks.promotion

A model is simulated by its predictions for one holdout: its errors are partly those of every other one, and of the
same size, so that whatever lead it has there is luck. Each challenger in turn is held against the champion, as
promotion once did (a difference above 0) and as it does (the interval at the level of the try, none after the last
one). The errors of a better challenger are smaller, by BETTER. Writes benchmarks/results/promotion.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from pipeline.files import write_json
from pipeline.gates.promotion import TRIES, level_of
from pipeline.intervals import paired_differences
from pipeline.metrics import Predictions, lead, metric_value

OUTPUT = Path("benchmarks/results/promotion.json")
CHALLENGERS, POPULATION_ROWS = 50, 400_000
# Of the variance of a model's errors, what it has in common with every other model.
SHARED = 0.7
# A better model's errors, as a share of those of the others.
BETTER = 0.9
# How far apart the classes are for a model, in standard deviations of its errors.
APART = 1.8
# Holdouts of a situation that a better model is held against, and the tries at which it comes.
BETTER_RUNS = 400
NUMBERS = (1, 3, TRIES)


@dataclass(frozen=True)
class Situation:
    """Rows of a holdout that are judged by a metric; `share`: of the positive class, of a binary one."""

    metric: str
    rows: int
    share: float = 0.3


SITUATIONS = (
    *(Situation("accuracy", rows) for rows in (200, 1000, 4000)),
    Situation("roc_auc", 1000),
    Situation("roc_auc", 1000, share=0.03),
    *(Situation("r2", rows) for rows in (200, 1000, 4000)),
)


def simulated(situation: Situation, rows: int, rng: np.random.Generator) -> Callable[[float], Predictions]:
    """Of a holdout, what gives the predictions of one model after the other, by the size of its errors."""
    shared, regression = np.sqrt(SHARED) * rng.normal(size=rows), situation.metric == "r2"
    actual = 2 * rng.normal(size=rows) if regression else (rng.random(rows) < situation.share).astype(int)

    def model(size: float) -> Predictions:
        errors = size * (shared + np.sqrt(1 - SHARED) * rng.normal(size=rows))
        if regression:
            return Predictions(actual, actual + errors)
        score = APART * actual + errors
        # where the two classes are equally likely
        threshold = APART / 2 + np.log((1 - situation.share) / situation.share) / APART
        return Predictions(actual, (score >= threshold).astype(int), score)

    return model


def moves_of(situation: Situation, seed: int) -> dict[str, float]:
    """How often the champion of one holdout moved among equal models under each rule, and how far the score that
    promotion once kept rose above the true one.
    """
    model = simulated(situation, situation.rows, np.random.default_rng(seed))
    first, challengers = model(1), [model(1) for _ in range(CHALLENGERS)]
    found = {"before": 0.0, "after": 0.0}
    champion = first
    for challenger in challengers:
        values = [metric_value(situation.metric, one) for one in (challenger, champion)]
        if lead(situation.metric, *values) > 0:
            champion, found["before"] = challenger, found["before"] + 1
    found["lucky"] = lead(situation.metric, *(metric_value(situation.metric, one) for one in (champion, first)))
    champion = first
    with threadpool_limits(1):
        for number, challenger in enumerate(challengers[:TRIES], 1):
            if wins(situation.metric, challenger, champion, number, seed):
                champion, found["after"] = challenger, found["after"] + 1
    return found


def wins(metric: str, challenger: Predictions, champion: Predictions, number: int, seed: int) -> bool:
    """Whether promotion makes the challenger champion at that try."""
    if lead(metric, metric_value(metric, challenger), metric_value(metric, champion)) <= 0:
        return False
    [(_, (low, _))] = paired_differences(metric, challenger, [champion], seed, level_of(number))
    return low > 0


def found_better(situation: Situation, seed: int) -> dict[str, bool]:
    """Whether a better challenger becomes champion on one holdout: before, and at each of NUMBERS."""
    model = simulated(situation, situation.rows, np.random.default_rng(10**6 + seed))
    pair = model(BETTER), model(1)
    ahead = lead(situation.metric, *(metric_value(situation.metric, one) for one in pair)) > 0
    with threadpool_limits(1):
        return {"before": ahead, **{str(n): wins(situation.metric, *pair, n, seed) for n in NUMBERS}}


def row_of(
    situation: Situation, moves: Sequence[dict[str, float]], better: Sequence[dict[str, bool]]
) -> dict[str, Any]:
    """What the file has of a situation, from what was found of each holdout."""
    model = simulated(situation, POPULATION_ROWS, np.random.default_rng(10**7))
    scores = [metric_value(situation.metric, model(size)) for size in (BETTER, 1)]
    return {
        **asdict(situation),
        "moved_before": sum(one["before"] > 0 for one in moves),
        "moved": sum(one["after"] > 0 for one in moves),
        "moves_before": float(np.mean([one["before"] for one in moves])),
        "lucky": float(np.mean([one["lucky"] for one in moves])),
        "score": scores[1],
        "better_by": lead(situation.metric, *scores),
        "found": {name: float(np.mean([one[name] for one in better])) for name in better[0]},
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Simulate promotions of equal models, and of a better one.")
    parser.add_argument("--runs", type=int, default=1000, help="holdouts of a situation (default: %(default)s)")
    runs, rows = parser.parse_args(argv).runs, []
    with ProcessPoolExecutor() as processes:
        for situation in SITUATIONS:
            words = f"{situation.metric}, {situation.rows} rows"
            work = processes.map(moves_of, repeat(situation), range(runs), chunksize=10)
            moves = [*tqdm(work, total=runs, desc=words)]
            better = [*processes.map(found_better, repeat(situation), range(BETTER_RUNS), chunksize=10)]
            rows.append(row_of(situation, moves, better))
            print(json.dumps(rows[-1]), flush=True)
    rounded = json.loads(json.dumps(rows), parse_float=lambda text: round(float(text), 4))
    write_json(OUTPUT, {"runs": runs, "challengers": CHALLENGERS, "tries": TRIES, "rows": rounded})
    print(f"wrote {OUTPUT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
