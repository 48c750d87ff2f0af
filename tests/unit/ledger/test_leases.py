"""A request is one worker's at a time, and nobody's clock or death leaves it stuck."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
import sqlalchemy as sa

from overnight.keys import digest_bytes
from overnight.ledger import Ledger
from overnight.ledger.clock import read_clock
from overnight.ledger.leases import Worker, claim, find_claimed, give_up, register, release, renew
from overnight.ledger.schema import leases

KEY, OTHER = digest_bytes(b"one"), digest_bytes(b"other")


@pytest.fixture
def mine(ledger: Ledger) -> Worker:
    """One who has been there for a while."""
    worker = ledger.write(lambda c: register(c, 60.0))
    worker.judges_from = 0.0
    return worker


@pytest.fixture
def theirs(ledger: Ledger) -> Worker:
    """Of a process that is alive: this one."""
    return ledger.write(lambda c: register(c, 60.0))


def _claim(ledger: Ledger, worker: Worker, *keys: str) -> set[str]:
    return ledger.write(lambda c: claim(c, worker, {key: worker.make_attempt_id() for key in keys}))


def _change(ledger: Ledger, worker: Worker, **values: object) -> None:
    ledger.write(lambda c: c.execute(sa.update(leases).where(leases.c.worker_id == worker.worker_id).values(**values)))


def test_a_request_is_claimed_by_one_worker(ledger: Ledger, mine: Worker, theirs: Worker) -> None:
    assert _claim(ledger, mine, KEY) == {KEY}
    assert _claim(ledger, theirs, KEY, OTHER) == {OTHER}
    with ledger.reading() as connection:
        assert find_claimed(connection, mine, [KEY, OTHER]) == {OTHER}
        assert find_claimed(connection, theirs, [KEY, OTHER]) == {KEY}


def test_a_worker_takes_up_what_it_claimed_and_left(ledger: Ledger, mine: Worker) -> None:
    assert _claim(ledger, mine, KEY) == _claim(ledger, mine, KEY) == {KEY}


def test_a_lease_that_is_over_is_taken_over_and_its_attempt_is_fenced_off(
    ledger: Ledger, mine: Worker, theirs: Worker
) -> None:
    attempt_id = theirs.make_attempt_id()
    ledger.write(lambda c: claim(c, theirs, {KEY: attempt_id}))
    _change(ledger, theirs, until=1.0)
    with ledger.reading() as connection:
        assert find_claimed(connection, mine, [KEY]) == set()
    assert _claim(ledger, mine, KEY) == {KEY}
    assert ledger.write(lambda c: give_up(c, [(KEY, attempt_id)])) == set()
    with ledger.reading() as connection:
        assert find_claimed(connection, theirs, [KEY]) == {KEY}


def test_a_lease_that_was_over_and_is_renewed_holds_what_nobody_took(
    ledger: Ledger, mine: Worker, theirs: Worker
) -> None:
    _claim(ledger, theirs, KEY)
    _change(ledger, theirs, until=1.0)
    ledger.write(lambda c: renew(c, theirs))
    assert _claim(ledger, mine, KEY) == set()


def test_after_a_time_in_which_nobody_could_write_nobody_s_lease_is_taken_at_once(
    ledger: Ledger, mine: Worker, theirs: Worker
) -> None:
    _claim(ledger, theirs, KEY)
    for worker in (mine, theirs):
        _change(ledger, worker, until=1.0)
    # Both wait for the database; this one is let in first.
    ledger.write(lambda c: renew(c, mine))
    assert mine.n_lapses == 1
    assert _claim(ledger, mine, KEY) == set()
    with ledger.reading() as connection:
        assert find_claimed(connection, mine, [KEY]) == {KEY}
    mine.judges_from = 0.0
    assert _claim(ledger, mine, KEY) == {KEY}


def test_a_new_worker_gives_the_others_a_moment_to_renew_theirs(ledger: Ledger, mine: Worker) -> None:
    _claim(ledger, mine, KEY)
    _change(ledger, mine, until=1.0)
    assert _claim(ledger, ledger.write(lambda c: register(c, 60.0)), KEY) == set()


def test_a_worker_knows_by_itself_when_its_lease_is_over(mine: Worker) -> None:
    assert mine.is_current
    mine.renewed_at -= 61.0
    assert not mine.is_current


def test_a_worker_that_ends_frees_what_it_had(ledger: Ledger, mine: Worker, theirs: Worker) -> None:
    _claim(ledger, theirs, KEY)
    ledger.write(lambda c: release(c, theirs))
    assert _claim(ledger, mine, KEY) == {KEY}


def test_a_claim_that_is_given_up_is_free(ledger: Ledger, mine: Worker, theirs: Worker) -> None:
    attempt_id = theirs.make_attempt_id()
    ledger.write(lambda c: claim(c, theirs, {KEY: attempt_id}))
    assert ledger.write(lambda c: give_up(c, [(KEY, attempt_id), (OTHER, attempt_id)])) == {attempt_id}
    assert _claim(ledger, mine, KEY) == {KEY}


def test_a_lease_of_before_the_machine_was_started_anew_is_over(ledger: Ledger, mine: Worker, theirs: Worker) -> None:
    _claim(ledger, theirs, KEY)
    _change(ledger, theirs, clock="of another start", until=1e12)
    assert _claim(ledger, mine, KEY) == {KEY}


@pytest.mark.skipif(not os.path.exists("/proc/self/ns/pid"), reason="only Linux tells which process is which")  # noqa: PTH110 - a link to nowhere
@pytest.mark.skipif(not os.path.exists("/proc/self/ns/pid"), reason="only Linux tells which process is which")  # noqa: PTH110 - the same
def test_a_process_that_proc_hides_is_not_gone(
    ledger: Ledger, mine: Worker, theirs: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    _claim(ledger, theirs, KEY)
    monkeypatch.setattr("overnight.ledger.process._find_start", lambda _: "")
    assert _claim(ledger, mine, KEY) == set()


@pytest.mark.parametrize(
    ("machine", "is_free"), [("{machine}", True), ("another-boot pid:[1]", False)], ids=["of this machine", "elsewhere"]
)
def test_a_process_that_is_gone_holds_nothing_on_its_own_machine(
    ledger: Ledger, mine: Worker, theirs: Worker, machine: str, is_free: bool
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    [process] = ledger.read(lambda c: c.execute(sa.select(leases.c.process).limit(1)).scalars().all())
    here, _, _ = process.rsplit(" ", 2)
    _claim(ledger, theirs, KEY)
    _change(ledger, theirs, process=f"{machine.format(machine=here)} {ended.pid} 1")
    assert _claim(ledger, mine, KEY) == ({KEY} if is_free else set())


def test_another_process_with_the_number_of_one_that_is_gone_holds_nothing(
    ledger: Ledger, mine: Worker, theirs: Worker
) -> None:
    [process] = ledger.read(lambda c: c.execute(sa.select(leases.c.process).limit(1)).scalars().all())
    machine, pid, started = process.rsplit(" ", 2)
    if not started:
        pytest.skip("Only Linux tells when a process was started.")
    _claim(ledger, theirs, KEY)
    _change(ledger, theirs, process=f"{machine} {pid} {int(started) - 1}")
    assert _claim(ledger, mine, KEY) == {KEY}


def test_numbers_of_workers_and_attempts_are_never_given_twice(ledger: Ledger, mine: Worker) -> None:
    ids = [mine.make_attempt_id() for _ in range(3)]
    ledger.write(lambda c: c.execute(sa.delete(leases)))
    later = ledger.write(lambda c: register(c, 60.0))
    assert later.worker_id > mine.worker_id
    assert ids == sorted({*ids})
    assert later.make_attempt_id() > ids[-1]


def test_a_lease_is_renewed_while_its_worker_does_nothing_and_ends_with_it(ledger_url: str) -> None:
    with closing(Ledger(ledger_url)) as ledger:
        ledger.register(1.0)
        first = _until(ledger)
        renewed = next(until for until in iter(lambda: _until(ledger), None) if until > first)
        assert renewed > first
    with closing(Ledger(ledger_url)) as again:
        assert _until(again) == 0.0


def _until(ledger: Ledger) -> float:
    [until] = ledger.read(lambda c: c.execute(sa.select(leases.c.until)).scalars().all())
    return float(until)


@pytest.fixture
def shifted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The wall clock is an hour ahead."""
    import time  # noqa: PLC0415 - what is patched

    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600.0)
    return


def test_who_sets_the_wall_clock_steals_no_lease(
    ledger: Ledger, mine: Worker, theirs: Worker, request: pytest.FixtureRequest
) -> None:
    _claim(ledger, theirs, KEY)
    before = ledger.read(read_clock)
    request.getfixturevalue("shifted")
    after = ledger.read(read_clock)
    assert after.clock == before.clock
    assert after.at - before.at < 60.0
    assert _claim(ledger, mine, KEY) == set()
