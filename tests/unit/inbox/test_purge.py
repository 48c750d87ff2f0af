"""A purge drops what was asked and answered long ago and keeps the key; sent again, it is a new request."""

from __future__ import annotations

import time

import pytest

from overnight.ledger.inbox import purge_settled
from overnight.purge import purge
from overnight.records import InboxState, RunState
from tests.conftest import DATABASES
from tests.unit.inbox.conftest import SINK, Desk


@pytest.mark.parametrize("database", DATABASES)
def test_what_is_settled_loses_its_texts_and_what_waits_keeps_them(desk: Desk) -> None:
    [key] = desk.send("r1")
    desk.publish(desk.offer("run-1", desk.take("run-1")))
    desk.end("run-1", RunState.RELEASED)
    desk.send("r2")
    house = desk.house

    def run(*, is_dry: bool) -> int:
        # What was settled a moment ago is older than then.
        done = purge(house.ledger, house.home, house.home, before=2e9, by="Ada", is_dry=is_dry, clock=lambda: 2e9)
        return done.counts["inbox"]

    assert run(is_dry=True) == 1
    assert desk.find(key).answer is not None
    assert run(is_dry=False) == 1
    found = desk.find(key)
    assert (found.state, found.answer, found.purged_at) == (InboxState.ANSWERED, None, 2e9)
    assert house.fetch("SELECT input FROM inbox ORDER BY inbox_id")[0] == ("",)
    assert house.fetch("SELECT input FROM inbox ORDER BY inbox_id")[1] != ("",)

    assert desk.send("r1") == [key]
    assert (desk.find(key).state, desk.find(key).purged_at) == (InboxState.QUEUED, None)
    # Its new answer may well be the same bytes as those that left before.
    desk.publish(desk.offer("run-2", desk.take("run-2")))
    assert desk.find(key).state == InboxState.ANSWERED
    assert desk.find(key).answer is not None


@pytest.mark.parametrize("database", DATABASES)
def test_an_answer_that_is_let_out_after_the_purge_is_there_when_the_row_is_sent_again(desk: Desk) -> None:
    key, other = desk.send("r1", "r2")
    batches = desk.take("run-1")
    held = desk.offer("run-1", batches)
    desk.publish(held, r1="wrong")
    desk.settle("run-1")
    house = desk.house
    assert house.ledger.write(lambda c: purge_settled(c, [key], before=2e9, now=2e9)) == {key}
    assert desk.find(other).answer is not None
    again = house.offer_checked(
        desk.answer("run-1", batches), house.make_prompt(), sink=SINK, run_id="run-1", now=time.time(), held_of=held
    )
    desk.publish(again)
    answer = desk.find(key).answer
    assert answer is not None

    assert desk.send("r1") == [key]
    assert (desk.find(key).state, desk.find(key).answer) == (InboxState.ANSWERED, answer)
    assert house.ledger.write(lambda c: purge_settled(c, [key], before=2e10, now=3e9)) == {key}
