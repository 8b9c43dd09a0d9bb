"""The tests of columns: exact where they say so, and what each of them sees."""

from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
import pytest
from changes import CHANGES, SAME, TOO_SMALL, Change
from scipy import stats

from pipeline.drift.chance import chances
from pipeline.drift.check import Check, check
from pipeline.drift.column import change_of, percent
from pipeline.drift.compare import Compared, compare_tables
from pipeline.drift.measure import read_column, seconds, tallies_of
from pipeline.drift.numbers import distribution, level, tails
from pipeline.drift.recoded import copies_of, recoded, renamed
from pipeline.drift.registry import TESTS, DriftTest
from pipeline.drift.rows import Ranks, Sets, sets_of, tally, units_of
from pipeline.drift.words import counted, vocabulary
from pipeline.settings import Dataset, Drift
from pipeline.tables.columns import normalise_types

# What the table's reader undoes; and what docs/drift.md says is missed: three columns of which each pair is as before.
NOT_FOUND = ("trailing spaces", "trailing spaces in 6 %", "three flags became an exclusive or")


def compared(
    reference: pd.DataFrame, current: pd.DataFrame, group: str = "", types: Mapping[str, str] | None = None
) -> Compared:
    reference, current = normalise_types(reference), normalise_types(current)
    declared = {str(name): (types or {}).get(str(name), "") for name in reference if name != group} | {"target": ""}
    units = units_of(reference, current, group)
    return compare_tables(reference, current, declared, units, alpha=0.05, min_change=0.02, seed=0)


def drifted(found: Compared) -> dict[str, tuple[str, ...]]:
    return {column.column: column.reasons for column in found.all() if column.drift}


@pytest.mark.parametrize(
    ("before", "now", "change"),
    [(0.5, 0.55, 0.05), (0.01, 0.022, 0.0486), (0.0, 0.01, 0.099), (0.2, 0.2, 0.0), (0, 1, 0.5)],
)
def test_a_rare_share_counts_by_its_ratio_and_one_of_a_half_by_its_difference(
    before: float, now: float, change: float
) -> None:
    assert change_of(before, now) == pytest.approx(change, abs=5e-4)
    assert change_of(now, before) == pytest.approx(change_of(before, now))


def test_the_p_value_of_a_set_is_that_of_all_ways_to_choose_the_current_rows() -> None:
    inside = np.array([True, False, False, True, False, False, True, True, True])
    ways = Counter(int(inside[list(chosen)].sum()) for chosen in combinations(range(9), 4))
    found = int(inside[5:].sum())
    smaller = min(sum(n for k, n in ways.items() if side(k)) for side in (lambda k: k >= found, lambda k: k <= found))
    measured = sets_of([("it", inside)])
    assert measured is not None
    one = tally("t", measured, np.repeat([0, 1], [5, 4]), 2)
    units = units_of(pd.DataFrame(index=range(5)), pd.DataFrame(index=range(4)), "")
    assert chances([one], units, 0.05, 0.02, 0).p_values == pytest.approx([min(1, 2 * smaller / comb(9, 4))])


def test_sets_that_could_not_be_so_telling_are_not_corrected_for() -> None:
    """A set of 40 rows, all current, beside 1,000 of a few rows each, whose p-values cannot be that small."""
    units = np.repeat([0, 1], [4000, 1000])
    codes = np.concatenate([np.arange(1, 4001) % 1000 + 1, np.repeat([0, 1001], [40, 960])])
    one = tally("t", Sets([str(n) for n in range(1001)], codes), units, 2)
    both = units_of(pd.DataFrame(index=range(4000)), pd.DataFrame(index=range(1000)), "")
    found = chances([one], both, 0.05, 0.02, 0)
    assert found.corrected[0] == pytest.approx(found.p_values[0])
    assert found.corrected[1:].min() == 1.0


def test_ranks_have_the_p_value_of_mann_and_whitney() -> None:
    rng = np.random.default_rng(0)
    old, new = rng.normal(size=300), rng.normal(0.2, size=200)
    one = tally("t", level(np.concatenate([old, new]), str), np.repeat([0, 1], [300, 200]), 2)
    units = units_of(pd.DataFrame(index=range(300)), pd.DataFrame(index=range(200)), "")
    expected = stats.mannwhitneyu(new, old, use_continuity=False, method="asymptotic")
    assert chances([one], units, 0.05, 0.02, 0).p_values == pytest.approx([expected.pvalue])
    ranks_alone = one.sums[1, 0] / 200 - one.sums[0, 0] / 300
    assert 0.5 + ranks_alone == pytest.approx(expected.statistic / (300 * 200))


def test_ranks_that_are_all_the_same_tell_nothing() -> None:
    units = units_of(pd.DataFrame(index=range(300)), pd.DataFrame(index=range(200)), "")
    one = tally("t", Ranks(("", ""), np.full(500, 1 / 3)), units.of_row, 2)
    assert chances([one], units, 0.05, 0.02, 0).p_values == pytest.approx([1.0])


def test_groups_are_resampled_as_groups() -> None:
    """Groups with effects of their own: rows taken one by one would be an alarm nearly every time."""
    alarms = {"group": 0, "": 0}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(50), 30)
        frame = pd.DataFrame({"g": [f"g{n}" for n in group], "x": rng.normal(size=1500) + rng.normal(size=50)[group]})
        for word in alarms:
            found = compared(frame[:1200], frame[1200:], word and "g")
            alarms[word] += bool(drifted(found))
    assert alarms["group"] <= 3
    assert alarms[""] >= 15
    moved = frame.assign(x=np.where(group >= 40, 6.0, 0.0) + frame["x"])
    assert "x" in drifted(compared(moved[:1200], moved[1200:], "g"))


def test_three_groups_can_show_nothing() -> None:
    frame = pd.DataFrame({"g": np.repeat(["a", "b", "c", "d"], 100), "x": np.repeat([0.0, 0.0, 0.0, 9.0], 100)})
    frame["x"] += np.random.default_rng(0).normal(size=400)
    found = compared(frame[:300], frame[300:], "g")
    assert not drifted(found)
    assert found.visible == 0.5


@pytest.mark.parametrize(
    ("old", "new", "note", "drift"),
    [
        ([1.0, 2.0] * 50, [None] * 100, "all empty in the current table", True),
        ([None] * 100, [None] * 100, "all empty in the reference and current table", False),
        ([None] * 100, [1.0, 2.0] * 50, "all empty in the reference table", True),
        ([3.0] * 100, [3.0] * 100, "constant", False),
        ([3.0] * 100, [4.0] * 100, "", True),
        (["a"] * 100, ["a"] * 100, "constant", False),
        ([f"text {i}" for i in range(200)], [f"text {i}" for i in range(200)], "", False),
        ([1.0, 2.0] * 50, ["x", "y"] * 50, "numbers before, other values now", True),
        (["x", "y"] * 50, [1.0, 2.0] * 50, "categories before, numbers now", True),
        ([True, False] * 50, [True, False] * 50, "", False),
        ([True, False] * 50, [True, None] * 50, "", True),
    ],
)
def test_odd_columns_get_a_plain_note(old: list, new: list, note: str, drift: bool) -> None:
    [column] = compared(pd.DataFrame({"size": old}), pd.DataFrame({"size": new})).columns
    assert column.note == note
    assert column.drift is drift


@pytest.mark.parametrize("rows", [1, 2, 10])
def test_a_tiny_current_table_raises_no_alarm(rows: int) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=2000), "plan": rng.choice(["a", "b"], 2000)})
    frame.loc[:9, "plan"] = "rare"
    for seed in range(10):
        assert not drifted(compared(frame, frame.sample(rows, random_state=seed)))
    assert not drifted(compared(frame, frame.head(1)))


def test_the_order_of_columns_and_a_new_one_do_not_count() -> None:
    rng = np.random.default_rng(0)
    old, new = (pd.DataFrame({"x": rng.normal(size=n), "plan": rng.choice(["a", "b"], n)}) for n in (400, 100))
    found = compared(old, new.assign(extra=1.0)[["extra", "plan", "x"]])
    assert [(column.column, column.drift) for column in found.columns] == [
        ("x", False),
        ("plan", False),
        ("extra", False),
    ]
    assert found.columns[:2] == compared(old, new).columns


def test_tails_are_shares_of_rows_beyond_outer_quantiles() -> None:
    values = np.arange(1000.0)
    found = tails(values, lambda value: f"{value:g}")
    assert found is not None
    assert dict(zip(found.words, np.bincount(found.codes).tolist(), strict=True)) == {
        "at most 1": 2, "at most 5": 6, "at most 25": 26, "at least 998": 2, "at least 994": 6, "at least 974": 26,
    }  # fmt: skip
    below = distribution(values, lambda value: f"{value:g}")
    assert below is not None
    assert below.words[0] == "at most 49"


def test_what_is_counted_of_texts_and_their_words() -> None:
    texts = np.array(["Ab, 1é", "two words", ""], dtype=object)
    numbers = {name: values.round(3).tolist() for name, values in counted(texts).items()}
    assert [*numbers.values()] == [[6, 9, 0], [2, 2, 0], [0.167, 0, 0], [0.333, 0, 0], [0.167, 0, 0]]
    found = vocabulary(np.array(["to be", "not to"] * 3, dtype=object), str)
    assert found is not None
    assert (found.words, np.bincount(found.codes).tolist()) == (["the word 'to'"], [6])


def test_renamed_recoded_and_rescaled_columns_are_called_that() -> None:
    rng = np.random.default_rng(0)
    old = pd.DataFrame(
        {"price": rng.gamma(3, 10, 500), "paid": rng.choice(["No", "Yes"], 500), "age": rng.normal(40, 9, 500)}
    )
    new = pd.DataFrame(
        {
            "cost": rng.gamma(3, 10, 300).astype(str),
            "paid": rng.choice(["0", "1"], 300),
            "age": rng.normal(-40, 9, 300),
        }
    )
    assert renamed(old, new, dict.fromkeys(old, "")) == {"price": "cost"}
    told = drifted(compared(old, new.assign(cost=new["cost"].astype(float))))
    assert told["price"] == ("is absent from the current table; cost has values like it: renamed?",)
    assert told["paid"][0] == "was recoded as a whole: 'No', 'Yes' before, '0', '1' now"
    assert told["age"][0] == "has values that are about -1.01 times those before"
    spread = read_column(old["age"], 40 + 2 * (old["age"] - 40), "")
    assert recoded(spread, old["age"], old["age"]) == ""


def test_rows_of_the_training_table_are_recognised() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=100), "plan": rng.choice(["a", "b"], 100)})
    fresh = pd.DataFrame({"x": rng.normal(size=60), "plan": rng.choice(["a", "b"], 60)})
    assert copies_of(table, pd.concat([table.head(40), fresh])).tolist() == [True] * 40 + [False] * 60
    # a row that comes up more often than in the table is a copy once
    assert copies_of(table, table.head(1).sample(50, replace=True, random_state=0)).sum() == 0
    assert copies_of(table, pd.concat([table.head(50), table.head(1)])).sum() == 50
    # rows that are equal by chance are no copies
    assert not copies_of(table[["plan"]], table[["plan"]]).any()


def test_ranks_of_mostly_one_value_are_no_alarm() -> None:
    """Without drift: a single value above zero among 20 rows has no p-value of its own from a normal limit."""
    alarms = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        old, new = (
            pd.DataFrame({f"c{k}": np.where(rng.random(n) < 0.003, rng.random(n), 0.0) for k in range(20)})
            for n in (20_000, 20)
        )
        alarms += bool(drifted(compared(old, new)))
    assert alarms <= 3


def test_some_values_of_another_kind_are_a_share_of_rows_like_any_other() -> None:
    rng = np.random.default_rng(0)
    old, new = rng.normal(size=4000).round(2), rng.normal(size=2000).round(2).astype(str).astype(object)
    new[0] = "unknown"
    [column] = compared(pd.DataFrame({"x": old}), pd.DataFrame({"x": new})).columns
    assert (column.kind, column.drift) == ("number", False)
    new[:60] = "unknown"
    [column] = compared(pd.DataFrame({"x": old}), pd.DataFrame({"x": new})).columns
    assert column.reasons == ("has a value that is no number in 3.0 % of its values, 0.0 % before",)
    days = pd.DataFrame({"d": ["2024-02-01", "2024-03-09"] * 100})
    [column] = compared(days, days.replace("2024-03-09", "2024-02-30"), types={"d": "date"}).columns
    assert column.reasons[0] == "has a value that is no date in 50.0 % of its values, 0.0 % before"


def test_cuts_that_read_alike_stay_apart() -> None:
    values = 1_700_000_000.0 + np.arange(10_000)
    found = distribution(values, read_column(pd.Series(values), pd.Series(values), "").say)
    assert found is not None
    assert len({*found.words}) == len(found.words) == 19


def test_dates_of_any_year_are_seconds() -> None:
    found = seconds(pd.Series(["1970-01-02", "9999-12-31", "0800-01-01T00:00:01Z", "2024-02-30", "now", None]))
    assert found[0] == 86_400
    assert found[1] > 2.5e11 > 0 > found[2]
    assert np.isnan(found[3:]).all()


def test_rows_without_a_group_are_groups_of_their_own() -> None:
    old, new = pd.DataFrame({"g": ["a", "a", None, None]}), pd.DataFrame({"g": ["a", None, "b"]})
    units = units_of(old, new, "g")
    assert len({*units.of_row[:2]}) == 1
    assert len({*units.of_row[1:]}) == 6
    assert units.current[units.of_row].tolist() == [False] * 4 + [True] * 3


def test_columns_that_are_expected_to_move_are_told_and_not_tested() -> None:
    old, new = pd.DataFrame({"x": np.arange(200.0)}), pd.DataFrame({"x": np.arange(200.0) + 500})
    units = units_of(old, new, "")
    words = {"alpha": 0.05, "min_change": 0.02, "seed": 0}
    assert drifted(compare_tables(old, new, {"x": "", "y": ""}, units, **words))
    [column] = compare_tables(old, new, {"x": "", "y": ""}, units, expected={"x"}, **words).columns
    assert (column.note, column.drift) == ("expected to move", False)


def test_a_drift_test_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    even = DriftTest(("number",), lambda values, say: sets_of([("an even number", values % 2 == 0)]))
    old, new = pd.DataFrame({"x": np.arange(2000.0)}), pd.DataFrame({"x": np.arange(0.0, 2000.0, 2)})
    monkeypatch.setattr("pipeline.drift.registry.TESTS", TESTS)
    monkeypatch.setitem(TESTS, "even numbers", even)
    assert drifted(compared(old, new))["x"][0] == "has an even number in 100.0 % of its values, 50.0 % before"
    monkeypatch.delitem(TESTS, "even numbers")
    assert not drifted(compared(old, new))


@pytest.mark.parametrize(
    ("share", "words"), [(0.5, "50.0 %"), (0.0, "0.0 %"), (0.0012, "0.12 %"), (0.00001, "below 0.01 %")]
)
def test_shares_in_words(share: float, words: str) -> None:
    assert percent(share) == words


def judged(change: Change, seed: int, rows: int, reference_rows: int) -> Check:
    reference, current = map(normalise_types, change.make(np.random.default_rng(seed), reference_rows, rows))
    task = "binary" if "target" in reference and reference["target"].dtype != "float64" else "regression"
    types = dict(change.types)
    dataset = Dataset(source="x", file="data/x.csv", target="target", task=task, types=types, positive="Yes")
    return check(dataset, Drift(), reference, current, seed=0, alpha=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("change", [c for c in CHANGES if c.name not in NOT_FOUND], ids=lambda change: change.name)
def test_what_a_person_would_want_to_be_told_is_found(change: Change) -> None:
    found = judged(change, 1, change.rows, 4 * change.rows)
    if not change.joint:
        assert change.column in drifted(found.compared)
    assert found.drift


@pytest.mark.slow
def test_tables_of_the_same_source_are_rarely_an_alarm() -> None:
    calls = [judged(change, seed, 500, 2000).drift for change in SAME for seed in range(100, 104)]
    # 96 draws at 5 %: more than 10 is no chance
    assert sum(bool(call) for call in calls) <= 10


@pytest.mark.slow
@pytest.mark.parametrize("change", TOO_SMALL, ids=lambda change: change.name)
def test_what_matters_to_nobody_is_no_alarm_however_many_rows(change: Change) -> None:
    assert judged(change, 1, change.rows, 4 * change.rows).drift is False


def test_every_test_of_the_registry_is_used_by_some_column() -> None:
    rng = np.random.default_rng(0)
    n = 400
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=n).round(2),
            "few": rng.integers(0, 3, n).astype(float),
            "mixed": np.where(rng.random(n) < 0.5, 7.0, rng.normal(size=n)),
            "category": [f"c{k}" for k in rng.zipf(1.7, n)],
            "date": [
                f"2024-01-{d:02}T{h:02}:00:00"
                for d, h in zip(rng.integers(1, 29, n), rng.integers(0, 24, n), strict=True)
            ],
            "text": [f"word{k} and {'the same' if k % 2 else 'other'}" for k in rng.integers(0, 10**6, n)],
        }
    )
    frame.loc[:20, "text"] = "N/A"
    frame.loc[0, "category"] = "typo"
    units = units_of(frame, frame[1:], "")
    types = {"date": "date", "text": "text"}
    used = {
        one.test
        for name in frame
        for one in tallies_of(read_column(frame[name], frame[name][1:], types.get(str(name), "")), units)
    }
    assert {*TESTS} <= used
