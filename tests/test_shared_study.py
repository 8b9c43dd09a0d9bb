"""One study, several processes: here what a claim is; with real servers and kills in test_more_machines.py."""

import argparse
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState, create_trial

import tune_hyperparameters as tune
from pipeline.console import PipelineError
from pipeline.search.shared_study import (
    SharedStudy,
    finished,
    held,
    keep,
    open_shared,
    persistently,
    release,
    running,
    slot_of,
    take,
)


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


def open_often(address: str, count: int) -> list[SharedStudy]:
    return [open_shared(address, "forest") for _ in range(count)]


def trial(slot: int, value: float) -> optuna.trial.FrozenTrial:
    return create_trial(state=TrialState.COMPLETE, value=value, user_attrs={"slot": slot})


def test_a_slot_has_one_claim_until_that_fails(address: str) -> None:
    one, other = open_often(address, 2)
    claim = take(one, 3)
    assert claim is not None
    assert take(one, 3) is None
    assert take(other, 3) is None
    assert [slot_of(claim) for claim in running(other)] == [3]
    with pytest.raises(KeyError), held(one, claim):
        raise KeyError
    assert running(other) == []
    assert take(other, 3) is not None
    release(one)
    with held(other, take(other, 3)):
        keep(other, trial(3, 0.5))
    assert take(one, 3) is None
    assert [(slot_of(kept), kept.value) for kept in finished(one.kept)] == [(3, 0.5)]


def test_a_claim_without_heartbeats_is_dropped_and_nobody_is_judged_too_soon(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.search.shared_study.GRACE", 1)
    monkeypatch.setattr("pipeline.search.shared_study.HEARTBEAT", 1)
    dead, other = open_often(address, 2)
    assert take(dead, 0) is not None
    alive = take(dead, 1)
    assert alive is not None
    with held(dead, alive):
        time.sleep(3)
        assert [slot_of(claim) for claim in running(other)] == [1]
    late = open_shared(address, "forest")
    assert take(late, 0) is not None
    time.sleep(2.5)
    late.judges_from += 60
    assert [slot_of(claim) for claim in running(late)] == [0]


def test_a_trial_that_comes_late_does_not_count(address: str) -> None:
    one, other = open_often(address, 2)
    keep(one, trial(0, 0.5))
    keep(one, trial(0, 0.9))
    other.kept.add_trial(trial(0, 0.8))
    other.kept.add_trial(trial(1, 0.1))
    assert [(slot_of(kept), kept.value) for kept in finished(one.kept)] == [(0, 0.5), (1, 0.1)]


@pytest.mark.parametrize("address", ["nonsense", "mysql://tuner:secret@host/studies", "sqlite:///x.db"])
def test_an_address_of_another_kind_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refusal:
        tune.postgresql_address(address)
    assert "give postgresql://" in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_a_server_that_is_not_there_is_told_in_one_line_without_the_password(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_STUDY_STORAGE", "postgresql://tuner:secret@127.0.0.1:1/studies")
    assert tune.main(["--dataset", "customers"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: postgresql://127.0.0.1:1/studies: cannot be used (")
    assert "secret" not in line


def test_a_missing_driver_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(PipelineError, match="driver is missing; run `make scale`"):
        open_shared("postgresql://tuner@host/studies", "forest")


def test_the_command_to_go_on_hides_the_password(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tune, "tune_dataset", interrupted)
    words = ["--dataset", "customers", "--storage", "postgresql://tuner:secret@host/studies"]
    assert tune.main(words) == 130
    assert "--storage postgresql://tuner:***@host/studies" in capsys.readouterr().err


def test_a_connection_that_is_lost_while_trials_are_read_is_waited_for(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # no lock, as with a server
    shared = replace(open_shared(address, "forest"), lock=None)
    keep(shared, trial(0, 0.5))
    losses = [OSError("the server closed the connection")]

    @sqlalchemy.event.listens_for(shared.storage.engine, "before_cursor_execute")
    def lose(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        # Optuna asks a second time over the same connection, which is refused for another reason
        if "FROM trials" in statement and losses:
            connection.invalidate()
            raise sqlalchemy.exc.OperationalError(statement, {}, losses.pop())

    assert [slot_of(kept) for kept in persistently(shared, partial(finished, shared.kept))] == [0]
    assert losses == []
    assert "the connection is lost (the server closed the connection); trying again" in capsys.readouterr().err
