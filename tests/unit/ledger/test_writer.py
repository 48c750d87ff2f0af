from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future

import pytest
import sqlalchemy as sa

from overnight.ledger import Ledger
from overnight.ledger.schema import meta
from overnight.ledger.writer import GROUP


class _Refused(Exception):
    pass


def _add(ledger: Ledger, name: str) -> Future[str]:
    def job(connection: sa.Connection) -> str:
        connection.execute(meta.insert().values(name=name, value=""))
        return name

    return ledger.submit(job)


def _fail(ledger: Ledger) -> Future[None]:
    def job(connection: sa.Connection) -> None:
        connection.execute(meta.insert().values(name="of the failing job", value=""))
        raise _Refused

    return ledger.submit(job)


def _names(url: str) -> set[str]:
    """What a connection of its own can read; what the ledger keeps there for itself has a value."""
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        return set(connection.execute(sa.select(meta.c.name).where(meta.c.value == "")).scalars())


@pytest.fixture
def held(ledger: Ledger) -> threading.Event:
    """The writer is busy until the event is set: what is queued meanwhile is one group."""
    busy, release = threading.Event(), threading.Event()

    def job(connection: sa.Connection) -> None:
        busy.set()
        assert release.wait(10)

    ledger.submit(job)
    assert busy.wait(10)
    return release


def test_a_failing_job_does_not_take_others_of_its_group_with_it(
    ledger: Ledger, ledger_url: str, held: threading.Event
) -> None:
    before, failing, after = _add(ledger, "before"), _fail(ledger), _add(ledger, "after")
    held.set()
    assert (before.result(10), after.result(10)) == ("before", "after")
    with pytest.raises(_Refused):
        failing.result(10)
    assert _names(ledger_url) == {"before", "after"}


def test_jobs_that_wait_together_are_committed_together(ledger: Ledger, ledger_url: str, held: threading.Event) -> None:
    seen: list[set[str]] = []
    first = _add(ledger, "first")
    first.add_done_callback(lambda _: seen.append(_names(ledger_url)))
    others = [_add(ledger, f"{n}") for n in range(20)]
    held.set()
    assert [job.result(10) for job in others] == [f"{n}" for n in range(20)]
    assert len(seen[0]) == 21


def test_more_jobs_than_a_group_holds_are_all_committed(ledger: Ledger, ledger_url: str, held: threading.Event) -> None:
    jobs = [_add(ledger, f"{n}") for n in range(2 * GROUP + 1)]
    held.set()
    for job in jobs:
        job.result(10)
    assert len(_names(ledger_url)) == 2 * GROUP + 1


def test_a_future_resolves_only_when_another_connection_can_read_what_was_written(
    ledger: Ledger, ledger_url: str
) -> None:
    readable: list[bool] = []
    for n in range(10):
        done = threading.Event()

        def look(job: Future[str], done: threading.Event = done) -> None:
            readable.append(job.result() in _names(ledger_url))
            done.set()

        _add(ledger, f"{n}").add_done_callback(look)
        assert done.wait(10)
    assert readable == [True] * 10


def test_closing_commits_what_is_queued(ledger: Ledger, ledger_url: str, held: threading.Event) -> None:
    jobs = [_add(ledger, f"{n}") for n in range(3)]
    held.set()
    ledger.close()
    assert all(job.done() for job in jobs)
    assert _names(ledger_url) == {"0", "1", "2"}


def test_items_of_one_function_go_together_and_each_gets_its_own_result(ledger: Ledger, held: threading.Event) -> None:
    seen: list[list[int]] = []

    def double(connection: sa.Connection, items: Sequence[int]) -> list[int]:
        seen.append(list(items))
        return [2 * item for item in items]

    first = ledger.submit_each(double, 1)
    between = _add(ledger, "between")
    second = ledger.submit_each(double, 2)
    held.set()
    assert (first.result(10), between.result(10), second.result(10)) == (2, "between", 4)
    assert seen == [[1, 2]]


def test_two_functions_of_one_group_do_not_get_each_other_s_items(ledger: Ledger, held: threading.Event) -> None:
    def negate(connection: sa.Connection, items: Sequence[int]) -> list[int]:
        return [-item for item in items]

    def spell(connection: sa.Connection, items: Sequence[str]) -> list[str]:
        return [item * 2 for item in items]

    found = [ledger.submit_each(negate, 1), ledger.submit_each(negate, 2)]
    words = [ledger.submit_each(spell, "a"), ledger.submit_each(spell, "b")]
    held.set()
    assert ([f.result(10) for f in found], [w.result(10) for w in words]) == ([-1, -2], ["aa", "bb"])


def test_a_failing_item_does_not_take_others_of_its_group_with_it(
    ledger: Ledger, ledger_url: str, held: threading.Event
) -> None:
    def add_all(connection: sa.Connection, names: Sequence[str]) -> Sequence[str]:
        connection.execute(meta.insert(), [{"name": name, "value": ""} for name in names])
        if "bad" in names:
            raise _Refused
        return names

    one, bad, other = (ledger.submit_each(add_all, name) for name in ("one", "bad", "other"))
    beside = _add(ledger, "beside")
    held.set()
    assert (one.result(10), other.result(10), beside.result(10)) == ("one", "other", "beside")
    with pytest.raises(_Refused):
        bad.result(10)
    assert _names(ledger_url) == {"one", "other", "beside"}


@pytest.mark.parametrize("gives", [[], [1, 2, 3]], ids=["too few", "too many"])
def test_a_function_that_does_not_give_a_result_for_each_item_fails(ledger: Ledger, gives: list[int]) -> None:
    with pytest.raises(ValueError, match="zip"):
        ledger.submit_each(lambda _connection, _items: gives, 1).result(10)


def test_who_does_not_wait_any_more_holds_up_nobody(ledger: Ledger, held: threading.Event) -> None:
    given_up, other = _add(ledger, "given up"), _add(ledger, "other")
    assert given_up.cancel()
    held.set()
    assert other.result(10) == "other"
    assert _add(ledger, "later").result(10) == "later"


def test_a_job_that_is_repeated_runs_while_nothing_else_does(ledger: Ledger) -> None:
    twice = threading.Semaphore(0)
    ledger._writer.repeat(lambda _: twice.release(), 0.05)  # noqa: SLF001 - nobody but a ledger repeats
    assert twice.acquire(timeout=10)
    assert twice.acquire(timeout=10)


def test_what_is_in_no_hurry_goes_with_what_is(ledger: Ledger) -> None:
    seen: list[list[str]] = []

    def note(connection: sa.Connection, items: Sequence[str]) -> Sequence[str]:
        seen.append(list(items))
        return items

    async def story() -> None:
        waits = ledger.record(note, "waits", is_urgent=False)
        hurries = ledger.record(note, "hurries")
        assert [await waits, await hurries] == ["waits", "hurries"]
        assert await ledger.record(note, "alone", is_urgent=False) == "alone"

    asyncio.run(story())
    assert seen == [["waits", "hurries"], ["alone"]]
