"""A study that several processes work on."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.console import PipelineError
from pipeline.files import hold
from pipeline.store.sqlite import database_errors, source_of

if TYPE_CHECKING:
    import optuna

Result = TypeVar("Result")
# Seconds from one heartbeat to the next, and without one until a process counts as dead.
HEARTBEAT, GRACE = 5, 30
# Seconds for which a lost connection is tried again.
PATIENCE = 300
# Seconds between two looks at what the others do.
LOOK = 2.0
# PostgreSQL: how soon a server that does not answer is given up, and one clock for all heartbeats.
CONNECTION = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "tcp_user_timeout": 30_000,
    "options": "-c timezone=UTC",
}


class OutOfTimeError(Exception):
    """The search's time is up in the middle of a trial, which is dropped as if it had never begun."""


@dataclass
class SharedStudy:
    """A study that is worked on together.

    `kept` holds the finished trials, `claims` who is at work; `place` names the database without its password. SQLite
    cannot lock a row: there `lock` is a file to hold. Nobody is called dead before `judges_from` (monotonic seconds).
    `ended_before` are the slots that had been done when the study was opened.
    """

    kept: optuna.Study
    claims: optuna.Study
    storage: optuna.storages.RDBStorage
    place: str
    lock: Path | None
    judges_from: float
    ended_before: Sequence[Any]


def open_shared(url: str, name: str) -> SharedStudy:
    """The study of that name in a PostgreSQL database (`postgresql://...`) or an SQLite file (`sqlite:///...`).

    Raises:
        PipelineError: the address is wrong, the driver is missing, or the database refuses; without the password.
    """
    import optuna
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise PipelineError(
            "the study's storage: not a database's address; give postgresql://user@host/database"
        ) from None
    engine: dict[str, Any] = {"connect_args": {"timeout": 60}}
    place, lock = str(address.database), None
    if address.get_backend_name() == "sqlite":
        lock = Path(place).with_name(f".{Path(place).stem}-claims.lock")
    else:
        place = (
            f"postgresql://{address.host or ''}{f':{address.port}' if address.port else ''}/{address.database or ''}"
        )
        address = address.set(drivername="postgresql+psycopg")
        engine = {"pool_pre_ping": True, "connect_args": CONNECTION}
    for attempt in (1, 2, 3, 4):
        try:
            with warnings.catch_warnings():
                # heartbeats are experimental
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                storage = optuna.storages.RDBStorage(
                    address.render_as_string(hide_password=False),
                    engine_kwargs=engine,
                    heartbeat_interval=HEARTBEAT,
                    grace_period=GRACE,
                )
            kept, claims = (
                optuna.create_study(study_name=title, storage=storage, direction="maximize", load_if_exists=True)
                for title in (name, f"claims of {name}")
            )
            break
        except ImportError:
            raise PipelineError(f"{place}: the PostgreSQL driver is missing; run `make scale`") from None
        except RuntimeError as error:
            # of another version of Optuna
            raise PipelineError(f"{place}: {error}") from None
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            if lock is not None:
                raise
            # of two hosts that make the tables at once, one is refused
            if attempt == 4 or _lost_connection(error):
                raise PipelineError(
                    f"{place}: cannot be used ({_words(error)}); mend the address, or start the server"
                ) from None
            time.sleep(attempt)
    done = [slot_of(claim) for claim in claims.get_trials(states=[optuna.trial.TrialState.COMPLETE])]
    # one that has just come has not seen whether the others' heartbeats could be written
    return SharedStudy(kept, claims, storage, place, lock, time.monotonic() + 2 * HEARTBEAT, done)


def work_on(
    shared: SharedStudy,
    run: Callable[[optuna.Study, int], optuna.trial.FrozenTrial],
    n_trials: int,
    deadline: float,
    label: str,
) -> None:
    """Claim a slot, let `run` fill it in a study in memory, and keep the trial; over and over until there are n_trials
    or the deadline (monotonic seconds) has passed. Where all that is left is with other processes, wait for these: the
    trial of one that is killed has to be run again.
    """
    from tqdm import tqdm

    waiting = False
    parent = multiprocessing.parent_process()
    with tqdm(total=n_trials, desc=label, unit="trial", file=sys.stdout, disable=parent is not None) as bar:
        # where the parent was killed, nobody is left to stop this process
        while parent is None or parent.is_alive():
            others = persistently(shared, partial(running, shared))
            known = persistently(shared, partial(finished, shared.kept))
            missing = set(range(n_trials)) - {slot_of(trial) for trial in known}
            bar.n = n_trials - len(missing)
            bar.set_postfix_str(progress(known))
            if not missing or (0 not in missing and time.monotonic() >= deadline):
                return
            free = sorted(missing - {slot_of(claim) for claim in others})
            if not free:
                if not waiting and parent is None:
                    bar.write(f"{label}: the last trials are with other processes; waiting for them")
                waiting = True
                time.sleep(LOOK)
                continue
            # the baseline first, then any: processes that start at once rarely want the same
            slot = 0 if free[0] == 0 else random.choice(free)
            claim_id = persistently(shared, partial(take, shared, slot))
            if claim_id is None:
                continue
            # with what the others try, so that the sampler keeps away from it
            study = in_memory(shared.kept.study_name, [*known, *others])
            with suppress(OutOfTimeError), held(shared, claim_id, partial(_newest, study, len(known) + len(others))):
                persistently(shared, partial(keep, shared, run(study, slot)))


def work_in_processes(
    shared: SharedStudy, count: int, help_search: Callable[..., None], facts: Sequence[Any], n_trials: int, label: str
) -> None:
    """Let `count` processes call `help_search(shared, *facts)`, each with its part of this machine's cores, and show
    how far they are. The trial of one that is killed is free at once, for the others.

    Raises:
        PipelineError: one was refused something, or all were killed.
    """
    import joblib
    from tqdm import tqdm

    context = multiprocessing.get_context("spawn")
    refused = context.SimpleQueue()
    threads = max(1, joblib.cpu_count() // count)
    own = (shared.storage.url, shared.kept.study_name, threads, refused, help_search, facts)
    processes = [context.Process(target=_work, args=own) for _ in range(count)]
    alive = list(processes)
    try:
        for process in processes:
            process.start()
        with tqdm(total=n_trials, desc=label, unit="trial", file=sys.stdout) as bar:
            while alive:
                wait([process.sentinel for process in alive], timeout=1)
                gone = [process for process in alive if not process.is_alive()]
                alive = [process for process in alive if process not in gone]
                for process in gone:
                    if process.exitcode:
                        bar.write(f"{label}: worker process {process.pid} ended with {process.exitcode}")
                if gone:
                    persistently(shared, partial(release, shared, [process.pid for process in gone]))
                known = persistently(shared, partial(finished, shared.kept))
                bar.n = min(len(known), n_trials)
                bar.set_postfix_str(progress(known))
    finally:
        for process in alive:
            process.terminate()
            process.join()
        if alive:
            # where the database is away too, the heartbeats that stop do the same
            with suppress(Exception):
                release(shared, [process.pid for process in alive])
    if not refused.empty():
        raise PipelineError(refused.get())
    if all(process.exitcode for process in processes):
        raise PipelineError(f"{label}: every worker process ended early; finished trials are kept, run it again")


def end_once(shared: SharedStudy, label: str, n_trials: int, end: Callable[[], Path]) -> Path | None:
    """Let `end` do what is to be done once at the end of a study: by the first of the processes that share it to come
    here, and by another one if that is killed. None in the others, which see it through.

    A call that finds the study ended before it began has come for the results: it does the same again.
    """
    count = len(persistently(shared, partial(finished, shared.kept)))
    if count < n_trials and persistently(shared, partial(running, shared)):
        print(f"{label}: the time is up; other processes go on, and the last of them refits the winner", flush=True)
        return None
    slot, waiting = f"the end after {count} trials", False
    if slot in shared.ended_before:
        return end()
    while True:
        claim_id = persistently(shared, partial(take, shared, slot))
        if claim_id is not None:
            with held(shared, claim_id):
                return end()
        if (worker := persistently(shared, partial(_who_did, shared, slot))) is not None:
            print(
                f"{label}: the study is over; {worker} refitted the winner, and has the reports and metrics. "
                "The same command writes them here too",
                flush=True,
            )
            return None
        if not waiting:
            print(f"{label}: another process refits the winner; waiting to see it through", flush=True)
            waiting = True
        time.sleep(LOOK)
        # a dead one loses its claim
        persistently(shared, partial(running, shared))


def worker_of(pid: int) -> str:
    """The name of a process of this machine, for the others to read."""
    return f"process {pid} on {socket.gethostname()}"


def slot_of(trial: optuna.trial.FrozenTrial | optuna.Trial) -> Any:
    """A trial's place in its search, from 0; where a claim is for the end of a search, its name."""
    return trial.user_attrs.get("slot", trial.number)


def finished(kept: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that count, in the order of their slots: of several of a slot, the first."""
    first: dict[int, optuna.trial.FrozenTrial] = {}
    for trial in kept.get_trials(deepcopy=False):
        first.setdefault(slot_of(trial), trial)
    return [first[slot] for slot in sorted(first)]


def running(shared: SharedStudy) -> list[optuna.trial.FrozenTrial]:
    """The claims of the processes that are at work; those of dead ones are dropped first."""
    import optuna

    if time.monotonic() >= shared.judges_from:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(shared.claims)
    return _claims(shared, optuna.trial.TrialState.RUNNING)


def in_memory(name: str, trials: Sequence[optuna.trial.FrozenTrial]) -> optuna.Study:
    """A study of that name in this process alone, with copies of the trials."""
    import optuna

    study = optuna.create_study(study_name=name, direction="maximize")
    study.add_trials(trials)
    return study


def progress(trials: Sequence[optuna.trial.FrozenTrial]) -> str:
    values = [trial.value for trial in trials if trial.state.name == "COMPLETE" and trial.value is not None]
    pruned = sum(trial.state.name == "PRUNED" for trial in trials)
    return f"best {max(values):.4f}, {pruned} pruned" if values else "none complete yet"


def take(shared: SharedStudy, slot: Any) -> int | None:
    """Claim a slot for this process; the id of the claim, None where another process has it or has done it.

    The first claim of a slot that has not failed is its only one. It gets a heartbeat before it runs: a process that is
    killed in between leaves nothing that runs for ever.
    """
    import optuna
    from optuna.trial import TrialState

    with _one_at_a_time(shared):
        live = (TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE)
        if not any(slot_of(claim) == slot for claim in _claims(shared, *live)):
            shared.claims.add_trial(optuna.create_trial(state=TrialState.WAITING, user_attrs={"slot": slot}))
        first = next(claim for claim in _claims(shared, *live) if slot_of(claim) == slot)
        if first.state != TrialState.WAITING:
            return None
        study_id = shared.storage.get_study_id_from_name(shared.claims.study_name)
        claim_id = shared.storage.get_trial_id_from_study_id_trial_number(study_id, first.number)
        shared.storage.record_heartbeat(claim_id)
        if not shared.storage.set_trial_state_values(claim_id, TrialState.RUNNING):
            return None
        shared.storage.set_trial_user_attr(claim_id, "worker", worker_of(os.getpid()))
    return claim_id


@contextmanager
def held(
    shared: SharedStudy, claim_id: int, announced: Callable[[], Sequence[optuna.trial.FrozenTrial]] = list
) -> Iterator[None]:
    """Keep a claim alive while what it is for is done; it fails where that raises, so that another process can take it.

    The settings of the trial that is `announced` are written beside the heartbeats, for the samplers of the others.
    """
    from optuna.trial import TrialState

    over = threading.Event()
    heart = threading.Thread(target=_beat, args=(shared, claim_id, announced, over), daemon=True)
    heart.start()
    try:
        yield
    except BaseException:
        over.set()
        with suppress(Exception):
            shared.storage.set_trial_state_values(claim_id, TrialState.FAIL)
        raise
    finally:
        over.set()
        heart.join()
    persistently(shared, lambda: _complete(shared, claim_id))


def keep(shared: SharedStudy, trial: optuna.trial.FrozenTrial) -> None:
    """Add a finished trial, unless its slot has one by now."""
    if slot_of(trial) not in [slot_of(other) for other in shared.kept.get_trials(deepcopy=False)]:
        shared.kept.add_trial(trial)


def release(shared: SharedStudy, pids: Sequence[int | None] = ()) -> None:
    """Free what processes of this machine that are known to be dead were at; every claim, where none is named."""
    import optuna

    workers = [worker_of(pid) for pid in pids if pid is not None]
    for claim in _claims(shared, optuna.trial.TrialState.RUNNING):
        if not pids or claim.user_attrs.get("worker") in workers:
            with suppress(optuna.exceptions.UpdateFinishedTrialError):
                shared.claims.tell(claim.number, state=optuna.trial.TrialState.FAIL)


def persistently(shared: SharedStudy, action: Callable[[], Result]) -> Result:
    """The result of `action`, which is tried again while the connection to a server is lost. It has to be one that may
    be done twice: what was asked for may have been done before the answer was lost.

    Raises:
        PipelineError: the server is away for too long.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    lost = None
    while True:
        try:
            return action()
        except (SQLAlchemyError, StorageInternalError) as error:
            if shared.lock is not None or not _lost_connection(error):
                raise
            if lost is None:
                lost = time.monotonic()
                minutes = PATIENCE // 60
                print(
                    f"{shared.place}: the connection is lost ({_words(error)}); trying again for {minutes} minutes",
                    file=sys.stderr,
                    flush=True,
                )
            shared.judges_from = time.monotonic() + GRACE
            if time.monotonic() - lost > PATIENCE:
                raise PipelineError(
                    f"{shared.place}: cannot be reached ({_words(error)}); finished trials are kept: "
                    "when it is back, run the same command again"
                ) from None
            time.sleep(1)


def _claims(shared: SharedStudy, *states: Any) -> list[optuna.trial.FrozenTrial]:
    return shared.claims.get_trials(deepcopy=False, states=states)


def _who_did(shared: SharedStudy, slot: Any) -> str | None:
    from optuna.trial import TrialState

    done = [claim for claim in _claims(shared, TrialState.COMPLETE) if slot_of(claim) == slot]
    return done[0].user_attrs["worker"] if done else None


def _complete(shared: SharedStudy, claim_id: int) -> None:
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    # finished already: by this call before its answer was lost, or by others who took this process for dead
    with suppress(UpdateFinishedTrialError):
        shared.storage.set_trial_state_values(claim_id, TrialState.COMPLETE)


def _work(
    url: str, name: str, threads: int, refused: Any, help_search: Callable[..., None], facts: Sequence[Any]
) -> None:
    # Ctrl-C reaches all processes; the parent ends these
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # read when the libraries are loaded
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LOKY_MAX_CPU_COUNT"):
        os.environ[variable] = str(threads)
    try:
        shared = open_shared(url, name)
        with database_errors(shared.place):
            help_search(shared, *facts)
    except PipelineError as error:
        refused.put(str(error))


def _newest(study: optuna.Study, count: int) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False)[count:]


def _beat(
    shared: SharedStudy,
    claim_id: int,
    announced: Callable[[], Sequence[optuna.trial.FrozenTrial]],
    over: threading.Event,
) -> None:
    parent = multiprocessing.parent_process()
    told: set[str] = set()
    pause = float(HEARTBEAT)
    while not over.wait(pause):
        if parent is not None and not parent.is_alive():
            os._exit(1)
        try:
            shared.storage.record_heartbeat(claim_id)
            for trial in announced():
                for name in trial.params.keys() - told:
                    distribution = trial.distributions[name]
                    value = distribution.to_internal_repr(trial.params[name])
                    shared.storage.set_trial_param(claim_id, name, value, distribution)
                    told.add(name)
            pause = HEARTBEAT
        except Exception:
            # the main thread tells of it where it needs the connection; what others could not write is not their death
            shared.judges_from = time.monotonic() + GRACE
            pause = 1
        finally:
            shared.storage.remove_session()


def _one_at_a_time(shared: SharedStudy) -> AbstractContextManager[Any]:
    return (
        nullcontext() if shared.lock is None else hold(shared.lock, f"{shared.place}: another process claims a trial")
    )


def _lost_connection(error: BaseException) -> BaseException | None:
    """What says that the server is away, in a start or a stop, or out of connections; None where it refuses what was
    asked. Optuna may ask again after the loss, and fails for that then, so all that led to an error counts.
    """
    from sqlalchemy.exc import InterfaceError, OperationalError

    return source_of(error, (OperationalError, InterfaceError))


def _words(error: BaseException) -> str:
    cause = _lost_connection(error) or error.__cause__ or error
    return " ".join(str(getattr(cause, "orig", None) or cause).split())[:200]
