"""A Postgres that crashes in mid-run: processes wait and go on by themselves, lose nothing and book nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from overnight.ledger import Ledger
from tests.conftest import House, make_settings
from tests.fakes.postgres import Postgres, find_postgres, start_postgres
from tests.fakes.provider import Scripted
from tests.trials.books import count_outcomes
from tests.trials.conftest import pick
from tests.trials.crowd import Crowd
from tests.trials.scripts import Script
from tests.trials.shared_worker import Process

pytestmark = pytest.mark.skipif(find_postgres() is None, reason="There is no Postgres on this machine.")

N_ROWS = pick(short=160, long=3_000)
N_PROCESSES = 2
C = 8
N_CRASHES = pick(short=1, long=12)
SLOW = Scripted(delay_s=0.05)
#: After this much of the rows the server goes.
SHARE = 0.8 / N_CRASHES
RECONNECTS_S = 30.0


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server that writes through to the disk, and may be crashed."""
    with start_postgres() as server:
        yield server


@pytest.fixture
def crowd(crowd: Crowd, server: Postgres) -> Iterator[Crowd]:
    """Those that work on that server."""
    url = server.make_database()
    with closing(Ledger(url)) as ledger:
        yield replace(crowd, house=House(make_settings(crowd.house.home, url), ledger))


def start(crowd: Crowd, n_processes: int) -> list[Process]:
    crowd.script.decide = lambda *_: SLOW
    return [crowd.start(N_ROWS, concurrency=C) for _ in range(n_processes)]


def wait_for_calls(script: Script, n_calls: int) -> None:
    until = time.monotonic() + RECONNECTS_S
    while len(script.given) < n_calls:
        assert time.monotonic() < until, f"no call for {RECONNECTS_S:g} s"
        time.sleep(0.005)


def finish(crowd: Crowd, processes: list[Process]) -> str:
    """Everything is there, once; what the trial shows."""
    crowd.finish(N_ROWS, processes)
    calls = {given.call_id for given in crowd.script.given}
    recorded = [i for (i,) in crowd.house.fetch("SELECT provider_request_id FROM attempts WHERE outcome <> 'unsent'")]
    assert len(recorded) == len(set(recorded))
    assert set(recorded) <= calls
    return (
        f"{N_ROWS} rows, {len(calls)} calls, twice {len(calls) - N_ROWS}, acknowledged answers lost 0,"
        f" {count_outcomes(crowd.house)}"
    )


def test_a_crash_in_mid_run_loses_no_answer_and_books_none_twice(
    crowd: Crowd, server: Postgres, say: Callable[[str], None]
) -> None:
    processes = start(crowd, N_PROCESSES)
    back_s = []
    for n in range(1, N_CRASHES + 1):
        wait_for_calls(crowd.script, int(n * SHARE * N_ROWS))
        server.restart("immediate")
        restarted, n_calls = time.monotonic(), len(crowd.script.given)
        # More than what was in flight: what is new was opened on the server since.
        wait_for_calls(crowd.script, min(n_calls + N_PROCESSES * C + 1, N_ROWS))
        back_s.append(time.monotonic() - restarted)
    found = finish(crowd, processes)
    say(
        f"Postgres crashed {N_CRASHES} times under {N_PROCESSES} processes: {found};"
        f" back after {max(back_s):.2f} s at most"
    )
    assert max(back_s) < RECONNECTS_S
    assert len(crowd.script.given) - N_ROWS <= N_CRASHES * N_PROCESSES * C


def test_a_server_that_stays_away_for_a_while_is_waited_for(
    crowd: Crowd, server: Postgres, say: Callable[[str], None]
) -> None:
    away_s = pick(short=0.5, long=40.0)
    # One that waits for the other's rows looks for them less often when a look takes long, which the short form spares.
    processes = start(crowd, pick(short=1, long=2))
    wait_for_calls(crowd.script, N_ROWS // 2)
    server.stop("immediate")
    time.sleep(away_s)
    n_calls = len(crowd.script.given)
    server.start()
    started = time.monotonic()
    found = finish(crowd, processes)
    took_s = time.monotonic() - started
    say(
        f"Postgres away for {away_s:g} s: {found}, {n_calls} of them before it was back;"
        f" all was done {took_s:.1f} s after it was"
    )
    # Whatever was opened before it went was sent, and nothing else.
    assert n_calls <= N_ROWS // 2 + 2 * N_PROCESSES * C
    # All the rest, and the time that it takes to notice.
    assert took_s < RECONNECTS_S
