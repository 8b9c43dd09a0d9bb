"""A family of models on a simulated clock."""

import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from pipeline.search.study import in_memory


@dataclass
class Recipe:
    metric: str = "r2"


@dataclass
class Simulated:
    """A family whose trials take some seconds of a simulated clock each, and reach some value."""

    model: str
    seconds: float
    value: float
    dataset: str = "table"
    recipe: Recipe = field(default_factory=Recipe)
    objective: Any = None
    gives_up: float = math.inf
    # scoring takes as long as so many trials
    in_trials: float = 0.0
    # by so much each trial is better than the one before
    gain: float = 1e-4
    space: Any = range(100)
    # values of its trials after the first
    first: Any = ()
    way: str = "folds"
    naive: float = 0.0
    large: bool = False
    # all folds of the training part, so that nothing is compared once more
    rows: Any = field(default_factory=lambda: SimpleNamespace(folds=[((), range(100))]))

    def __post_init__(self) -> None:
        self.kept = in_memory(self.model, "r2", [])

    @property
    def label(self) -> str:
        return f"table {self.model}"
