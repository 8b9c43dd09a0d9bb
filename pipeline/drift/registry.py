"""What a drift test is, in one entry each: the columns it is for, its test, its effect size, and what that is held to.

A new drift test is one more entry of TESTS; verdict, metrics and pages take it from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.drift.categories import chi_squared, cohen_w, stability_index
from pipeline.drift.numbers import kolmogorov_smirnov, wasserstein


@dataclass(frozen=True)
class DriftTest:
    """How columns of one kind are tested: drift needs a corrected p-value below alpha and an effect of some size.

    `test` returns its name, statistic and p-value; it and `effect` take both sides of a column: sorted values of a
    "numeric" one, counts a category of a "categorical" one. `words` say how far a column moved, with the effect in
    braces. `setting`: the key below `drift:` in params.yaml (a field of settings.Drift) that the effect has to reach.
    """

    kind: str
    test: Callable[..., tuple[str, float, float]]
    effect: Callable[..., float]
    words: str
    setting: str
    target_only: bool = False


# By the name of the effect. Of several entries that fit a column the last one is taken.
TESTS = {
    "Wasserstein distance / standard deviation": DriftTest(
        "numeric", kolmogorov_smirnov, wasserstein, "by {:.2f} standard deviations", "min_wasserstein"
    ),
    "population stability index": DriftTest("categorical", chi_squared, stability_index, "by PSI {:.2f}", "min_psi"),
    # sees a rare class multiply, which the stability index does not
    "Cohen's w": DriftTest(
        "categorical", chi_squared, cohen_w, "by Cohen's w {:.2f}", "min_target_shift", target_only=True
    ),
}


def test_name(kind: str, is_target: bool) -> str:
    """The key of the entry by which a column is tested."""
    return [name for name, test in TESTS.items() if test.kind == kind and (is_target or not test.target_only)][-1]


def effect_words(effect_name: str, effect: float | None) -> str:
    """How far a column moved."""
    return "" if effect is None else TESTS[effect_name].words.format(effect)
