"""A worker that stands still loses its rows when its lease is over, and not before; one that was killed at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from tests.conftest import DATABASES
from tests.trials.books import count_outcomes
from tests.trials.conftest import pick
from tests.trials.crowd import Crowd
from tests.trials.shared_worker import Process

#: Few enough for the other to come to the rows that the first held: they wait their turn behind its own.
N_ROWS = pick(short=24, long=60)
#: Calls of a process in flight, and attempts that it has opened beside them.
C = 8
LEASE_S = pick(short=0.75, long=2.0)


def start_two(crowd: Crowd, lease_s: float) -> tuple[Process, Process]:
    """A worker that has all its calls in flight, unanswered, and nothing to write; and one that has the same rows."""
    crowd.script.n_held = C
    first = crowd.start(N_ROWS, concurrency=C, lease_s=lease_s)
    opened = "SELECT count(*) FROM attempts WHERE outcome = 'open'"
    wait_until(lambda: len(crowd.script.given) == C and crowd.house.fetch(opened) == [(2 * C,)])
    return first, crowd.start(N_ROWS, concurrency=C, lease_s=lease_s)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("database", DATABASES)
def test_one_that_is_stopped_for_longer_than_its_lease_is_fenced_off(
    crowd: Crowd, say: Callable[[str], None], database: str
) -> None:
    stopped, other = start_two(crowd, LEASE_S)
    stopped.send(signal.SIGSTOP)
    # It is answered, and does not hear it before the other has asked some of the same again.
    crowd.script.lets_go.set()
    wait_until(lambda: len(crowd.script.given) > N_ROWS)
    stopped.send(signal.SIGCONT)
    crowd.finish(N_ROWS, [stopped, other])

    outcomes, n_calls = count_outcomes(crowd.house), len(crowd.script.given)
    say(
        f"stopped until its lease of {LEASE_S:g} s was over, {database}: {N_ROWS} rows, {n_calls} calls,"
        f" {outcomes} with {C} in flight"
    )
    # Its calls in flight came back when another had asked the same: kept, with what they cost, and settle nothing.
    assert 1 <= outcomes["fenced"] <= C
    assert n_calls == N_ROWS + outcomes["fenced"]
    [(n_unpriced,)] = crowd.house.fetch("SELECT count(*) FROM attempts WHERE outcome = 'fenced' AND cost_usd IS NULL")
    assert n_unpriced == 0
    assert set(outcomes) <= {"accepted", "fenced", "unsent"}


@pytest.mark.parametrize("database", pick(short=DATABASES[:1], long=DATABASES))
def test_one_that_is_stopped_for_less_than_its_lease_loses_nothing(
    crowd: Crowd, say: Callable[[str], None], database: str
) -> None:
    stopped, other = start_two(crowd, LEASE_S)
    stopped.send(signal.SIGSTOP)
    # The lease is renewed when a third of it is over: two thirds are certain.
    time.sleep(LEASE_S / 2)
    crowd.script.lets_go.set()
    stopped.send(signal.SIGCONT)
    crowd.finish(N_ROWS, [stopped, other])
    say(f"stopped for half its lease, {database}: {N_ROWS} rows, {len(crowd.script.given)} calls")
    assert len(crowd.script.given) == N_ROWS
    assert "fenced" not in count_outcomes(crowd.house)


@pytest.mark.parametrize("database", pick(short=DATABASES[:1], long=DATABASES))
def test_of_one_that_was_killed_the_rows_are_taken_over_at_once(
    crowd: Crowd, say: Callable[[str], None], database: str
) -> None:
    killed, other = start_two(crowd, lease_s=3600.0)
    killed.send(signal.SIGKILL)
    killed.wait_end(10)
    crowd.script.lets_go.set()
    at = time.monotonic()
    crowd.finish(N_ROWS, [other])
    took_s = time.monotonic() - at
    outcomes = count_outcomes(crowd.house)
    say(
        f"killed with {C} calls in flight and a lease of an hour, {database}: {N_ROWS} rows, {len(crowd.script.given)}"
        f" calls, {took_s:.1f} s for what it left"
    )
    assert len(crowd.script.given) <= N_ROWS + C
    # What it had opened beside its calls in flight it never sent, and nobody can tell.
    assert outcomes["open"] <= 2 * C
    assert outcomes["accepted"] == N_ROWS
