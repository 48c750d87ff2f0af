"""What another process is asking is waited for, and taken over when that process is gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from overnight.complete.elsewhere import Elsewhere
from overnight.failures import CallFailed, LedgerRefused
from overnight.keys import canonical_json, request_key
from overnight.ledger import Ledger
from overnight.ledger.attempts import Opening, open_attempts
from overnight.ledger.bodies import make_body
from overnight.ledger.leases import release
from overnight.records import Prompt
from overnight.taxonomy import FailureClass
from tests.conftest import RUN, House
from tests.fakes.provider import Scripted, answer_by_schema
from tests.unit.complete.conftest import Desk


def test_rows_that_another_engine_asks_are_waited_for_and_cost_no_call(open_desk: Callable[..., Desk]) -> None:
    desk, other = open_desk(), open_desk()
    arrived, answers = threading.Event(), threading.Event()

    def answer(_: dict[str, Any]) -> Scripted:
        arrived.set()
        assert answers.wait(10)
        return Scripted()

    desk.fake.answer = answer
    prompt, batch = desk.make_prompt(), desk.house.read_batch(["one", "two", "three"])
    with ThreadPoolExecutor() as pool:
        first = pool.submit(desk.complete, batch, prompt)
        assert arrived.wait(10)
        second = pool.submit(other.complete, batch, prompt, run_id=desk.house.begin("night-2"))
        with pytest.raises(TimeoutError):
            second.result(0.3)
        answers.set()
        assert desk.read(first.result(10)) == desk.read(second.result(10))
    assert len(desk.fake.calls) == 3


def test_a_run_that_is_halted_does_not_wait_for_another_process(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    prompt = desk.make_prompt()
    _claim(desk.house, prompt, "one")
    arrived = threading.Event()
    desk.fake.answer = lambda body: (arrived.set(), answer_by_schema(body))[1]
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(desk.ask, ["one", "two"], prompt)
        assert arrived.wait(10)
        _stop(desk)
        assert [row["state"] for row in waiting.result(10)] == ["pending", "accepted"]


def test_what_a_process_that_ended_had_claimed_is_asked(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    prompt = desk.make_prompt()
    _claim(desk.house, prompt, "one")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(desk.ask, ["one"], prompt)
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
        worker = desk.house.worker
        desk.house.ledger.write(lambda connection: release(connection, worker))
        assert [row["state"] for row in waiting.result(10)] == ["accepted"]
    assert desk.house.fetch("SELECT outcome FROM attempts ORDER BY attempt_id") == [("open",), ("accepted",)]


def _claim(house: House, prompt: Prompt, text: str) -> None:
    """As a process that is alive and has sent the row."""
    given = canonical_json({"body": text}).decode()
    key = request_key(given, prompt.prompt_hash)
    opening = Opening(key, prompt.prompt_hash, given, make_body(b"sent"), RUN, 1.0)
    worker = house.worker
    [opened] = house.ledger.write(lambda c: open_attempts(c, worker, [opening]))
    assert isinstance(opened, int)


def _stop(desk: Desk) -> None:
    desk.engine.context(RUN).halt(CallFailed(FailureClass.STOPPED, "Somebody stopped the run."))


class _Broken:
    """A ledger whose reading fails, when it is let."""

    def __init__(self) -> None:
        self.reads, self.fails = threading.Event(), threading.Event()

    def read(self, job: Any) -> Any:  # noqa: ARG002 - a ledger's signature
        self.reads.set()
        assert self.fails.wait(10)
        raise LedgerRefused("gone")


def test_whoever_joins_while_the_ledger_fails_hears_of_it_too() -> None:
    async def story() -> None:
        broken = _Broken()
        elsewhere = Elsewhere(cast("Ledger", broken))
        first = asyncio.create_task(elsewhere.wait("one"))
        assert await asyncio.to_thread(broken.reads.wait, 10)
        second = asyncio.create_task(elsewhere.wait("two"))
        await asyncio.sleep(0)
        broken.fails.set()
        for waiting in (first, second):
            with pytest.raises(LedgerRefused):
                await asyncio.wait_for(waiting, 10)

    asyncio.run(story())
