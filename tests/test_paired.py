"""The t interval of paired differences, which the benchmarks' tables say "no difference shown" by."""

import numpy as np
import pytest

from benchmarks.paired import paired_interval


def test_the_interval_is_that_of_student_and_wider_where_training_rows_overlap() -> None:
    low, high = paired_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    wider = paired_interval([1.0, 2.0, 3.0], test_share=0.2)
    assert wider[1] - 2 == pytest.approx((high - 2) * ((1 / 3 + 1 / 4) / (1 / 3)) ** 0.5)


def test_of_splits_of_one_table_it_holds_the_true_difference_where_a_plain_one_does_not() -> None:
    """The means of ten random fifths of one table hang together, as they are of the same 100 rows."""
    rng, held = np.random.default_rng(0), {0.0: 0, 0.2: 0}
    for _ in range(300):
        table = rng.normal(size=100)
        splits = [rng.permutation(100) for _ in range(10)]
        differences = [table[rows[:20]].mean() for rows in splits]
        for share in held:
            low, high = paired_interval(differences, share)
            held[share] += low <= 0 <= high
    assert held[0.0] / 300 < 0.85
    assert held[0.2] / 300 > 0.9
