"""Requests from outside, drained by processes that are killed: none is lost, none is answered twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import orjson
import pytest

from overnight.inbox import submit_all
from overnight.ledger.releases import find_release
from tests.conftest import DATABASES, House
from tests.trials.books import check_books
from tests.trials.conftest import C, pick
from tests.trials.inbox_worker import SINK, Orders, Workers
from tests.trials.record import Provider

#: Requests handed in at once.
_LOT = 2000
_STALLED_S = 120.0


def send(house: House, n_rows: int) -> list[str]:
    """Hand them all in, in lots, the last lot once more; their keys."""
    prompt, keys = house.make_prompt(), list[str]()
    for first in [*range(0, n_rows, _LOT), max(0, n_rows - _LOT)]:
        rows = [{"id": f"r{n}", "body": f"some words r{n}"} for n in range(first, min(first + _LOT, n_rows))]
        made = submit_all(rows, prompt, ledger=house.ledger, sent_by="Ada", now=time.time())
        keys += [m.inbox_key for m in made if m.is_new]
    return keys


def wait_for_calls(provider: Provider, n_calls: int) -> None:
    """Until there were so many."""
    n_so_far, came_at = 0, time.monotonic()
    while (n := provider.count_calls()) < n_calls:
        n_so_far, came_at = n, time.monotonic() if n > n_so_far else came_at
        assert time.monotonic() < came_at + _STALLED_S, "the calls stopped coming"
        time.sleep(0.01)


def approve(house: House, run_id: str) -> None:
    with house.ledger.reading() as connection:
        release = find_release(connection, run_id, SINK)
    assert release is not None
    house.approve(release)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Makes the processes."""
    with Workers.open(tmp_path_factory.mktemp("workers")) as workers:
        yield workers


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("database", pick(short=DATABASES, long=("sqlite",)))
def test_requests_are_each_answered_once_though_workers_are_killed(
    house: House, provider: Provider, workers: Workers, say: Callable[[str], None], database: str
) -> None:
    n_rows, n_before, started = pick(short=600, long=100_000), provider.count_calls(), time.monotonic()
    keys = send(house, n_rows)
    enqueued_s = time.monotonic() - started
    assert len(keys) == len(set(keys)) == n_rows

    orders = Orders(str(house.home), house.settings.ledger_url, provider.endpoint, "run-1", n_rows // 2, C)
    killed = workers.start(orders)
    other = workers.start(replace(orders, run_id="run-2", limit=n_rows - n_rows // 2))
    wait_for_calls(provider, n_before + n_rows // 4)
    killed.kill()
    ended = [other.read(), workers.start(replace(orders, run_id="run-3", limit=n_rows)).read()]
    # Whichever of the first two came first took what it wanted.
    n_taken = [e["n_rows"] if e else 0 for e in ended]
    assert sum(n_taken) == n_rows
    assert house.fetch("SELECT count(*) FROM inbox WHERE answer IS NOT NULL") == [(0,)]
    n_calls = provider.count_calls() - n_before

    for run_id in ("run-2", "run-3"):
        approve(house, run_id)
    publish = replace(orders, limit=None)
    assert workers.start(replace(publish, run_id="run-2", failpoint="after-deliver")).read() is None
    for run_id, n in zip(("run-2", "run-3"), n_taken, strict=True):
        assert workers.start(replace(publish, run_id=run_id)).read() == {"n_delivered": n, "n_rows": n}

    say(
        f"{database}: {n_rows:,} requests enqueued in {enqueued_s:.1f} s and drained in"
        f" {time.monotonic() - started - enqueued_s:.0f} s by processes of which one was killed among its calls, one"
        f" among its deliveries: lost 0, answered twice 0, {n_calls:,} calls (C = {C})"
    )
    check_answers(house, keys)
    assert n_rows <= n_calls <= n_rows + C
    assert len(called := provider.list_rows()[n_before:]) == n_calls
    assert set(called) == {f"r{n}" for n in range(1, n_rows)} | {"r0"}
    check_books(house, n_rows)


def check_answers(house: House, keys: list[str]) -> None:
    """Each request has one answer, to what it asked, that one delivery has brought."""
    found = house.fetch("SELECT inbox_key, row_id, state, answer, delivery_key, run_id FROM inbox")
    assert Counter(row[2] for row in found) == {"answered": len(keys)}
    assert {bytes(row[0]).hex() for row in found} == set(keys)
    for _, row_id, _, answer, _, _ in found:
        assert orjson.loads(answer)["row_id"] == row_id
    assert {row[5] for row in found} <= {"run-2", "run-3"}
    delivered = house.fetch("SELECT delivery_key, state FROM outbox")
    assert Counter(state for _, state in delivered) == {"delivered": len(keys)}
    assert {bytes(key) for key, _ in delivered} == {bytes(row[4]) for row in found}
