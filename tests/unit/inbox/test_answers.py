"""An answer is in the inbox once a person has let it out, the exact bytes, and not before."""

from __future__ import annotations

import time

import orjson
import pytest
import sqlalchemy as sa

from overnight.deliver import describe_sink, recall_release
from overnight.failures import LedgerRefused, SinkRefused
from overnight.inbox import count, look
from overnight.keys import delivery_key, digest_bytes
from overnight.records import InboxState, Receipt, RowState, RunState
from tests.conftest import DATABASES
from tests.unit.inbox.conftest import SINK, Desk

ON_EACH = pytest.mark.parametrize("database", DATABASES)


def _list(receipts: list[Receipt]) -> dict[str, tuple[str, str]]:
    return {r.row_id: (r.state, r.detail) for r in receipts}


def test_the_inbox_is_a_sink_whose_deliveries_can_be_taken_back(desk: Desk) -> None:
    facts = describe_sink(SINK, desk.house.settings)
    assert (facts.name, facts.operation, facts.effect) == ("inbox:sort", "answer", "reversible")
    for address in ("inbox:", "inbox:../x", "inbox:a b"):
        with pytest.raises(SinkRefused):
            describe_sink(address, desk.house.settings)


@ON_EACH
def test_nothing_is_answered_before_the_approval_and_then_the_exact_bytes_are(desk: Desk) -> None:
    desk.send("r1", "r2")
    release = desk.offer("run-1", desk.take("run-1"))
    approval = desk.house.approve(release)
    assert [desk.find(row).answer for row in ("r1", "r2")] == [None, None]
    receipts = desk.deliver(approval)
    assert _list(receipts) == {"r1": ("delivered", "answered"), "r2": ("delivered", "answered")}
    found = desk.find("r1")
    assert (found.state, found.run_id, found.reason) == (InboxState.ANSWERED, "run-1", None)
    assert found.answer is not None
    assert orjson.loads(found.answer)["quote"] == "r1"
    assert delivery_key(SINK, "r1", digest_bytes(found.answer.encode())) == receipts[0].delivery_key


@ON_EACH
def test_what_a_reviewer_holds_or_rejects_is_closed_and_answered_where_it_is_let_out_later(desk: Desk) -> None:
    desk.send("r1", "r2", "r3")
    release = desk.offer("run-1", batches := desk.take("run-1"), r3=RowState.QUARANTINED)
    desk.publish(release, r2="wrong")
    desk.settle("run-1")
    assert desk.states() == {"r1": "answered", "r2": "closed", "r3": "closed"}
    assert [desk.find(row).reason for row in ("r2", "r3")] == ["held by a reviewer", "quarantined: refusal"]
    house = desk.house
    checked = desk.answer("run-1", batches, r3=RowState.QUARANTINED)
    again = house.offer_checked(
        checked, house.make_prompt(), sink=SINK, run_id="run-1", now=time.time(), held_of=release
    )
    desk.publish(again)
    assert desk.find("r2").state == InboxState.ANSWERED
    assert desk.find("r2").reason is None


def test_a_release_that_is_rejected_closes_its_requests(desk: Desk) -> None:
    desk.send("r1", "r2")
    release = desk.offer("run-1", desk.take("run-1"))
    assert desk.house.decide(release, desk.house.answer(release, "reject")) == RunState.REJECTED
    assert not desk.has_waiting()
    assert {desk.find(row).reason for row in ("r1", "r2")} == {"rejected by a reviewer"}
    assert [c.n for c in count("sort", ledger=desk.house.ledger)] == [2]


@ON_EACH
def test_versions_of_a_row_are_each_answered_in_whichever_order_they_are_let_out(desk: Desk) -> None:
    old, new = desk.send(("r1", "first words"), ("r1", "other words"))
    first, second = desk.offer("run-1", desk.take("run-1")), desk.offer("run-2", desk.take("run-2"))
    desk.publish(second)
    assert _list(desk.publish(first)) == {"r1": ("delivered", "answered")}
    assert [desk.find(key).run_id for key in (old, new)] == ["run-1", "run-2"]
    assert desk.find(old).answer != desk.find(new).answer


def test_rows_that_were_answered_are_not_answered_otherwise(desk: Desk) -> None:
    desk.send("r1")
    batches = desk.take("run-1")
    desk.publish(desk.offer("run-1", batches))
    before = desk.find("r1").answer
    house = desk.house
    [checked] = (house.check(["another"], house.make_prompt()),)
    release = house.offer_checked([checked], house.make_prompt(), sink=SINK, run_id="run-1", now=time.time())
    [receipt] = desk.publish(release)
    assert (receipt.state, receipt.detail) == ("failed", "it was answered otherwise before, and the first answer stays")
    assert desk.find("r1").answer == before


def test_a_run_over_a_file_answers_nobody(desk: Desk) -> None:
    desk.send("r1")
    release = desk.house.offer(1, sink=SINK)
    with pytest.raises(SinkRefused, match="No row of this run is of inbox:sort"):
        desk.publish(release)
    assert desk.states() == {"r1": "queued"}


def test_what_a_run_releases_elsewhere_is_said(desk: Desk) -> None:
    desk.send("r1")
    desk.publish(desk.offer("run-1", desk.take("run-1"), sink=desk.house.sink))
    desk.settle("run-1")
    assert desk.find("r1").state == InboxState.CLOSED
    assert desk.find("r1").reason == f"released to {desk.house.sink}"


@ON_EACH
def test_a_recall_takes_answers_back_and_says_which_were_read(desk: Desk) -> None:
    desk.send("r1", "r2")
    release = desk.offer("run-1", desk.take("run-1"))
    desk.publish(release)
    assert look(desk.keys["r2"], ledger=desk.house.ledger) is not None  # by whoever runs the house
    assert desk.find("r1").read_at == 7.0
    done = recall_release(
        release.release_id, by="Ada", reason="wrong", ledger=desk.house.ledger, settings=desk.house.settings
    )
    assert _list(done) == {
        "r1": ("recalled", "taken back; whoever asked had read it, first at 1970-01-01 00:00 UTC"),
        "r2": ("recalled", "taken back before whoever asked had read it"),
    }
    found = desk.find("r1")
    assert (found.state, found.answer, found.reason) == (InboxState.CLOSED, None, "its answer was recalled")


@ON_EACH
def test_the_database_refuses_an_answer_that_no_approval_lets_out(desk: Desk) -> None:
    desk.send("r1", "r2")
    release = desk.offer("run-1", desk.take("run-1"))
    desk.house.approve(release)
    for state in ("answer = '{}', state = 'answered'", "answer = '{}', delivery_key = inbox_key"):
        with pytest.raises(LedgerRefused, match="by what a consumed approval lets out"):
            desk.house.ledger.write(lambda c, s=state: c.execute(sa.text(f"UPDATE inbox SET {s}")))  # noqa: S608 - ours
    with pytest.raises(LedgerRefused, match="nothing is deleted from inbox"):
        desk.house.ledger.write(lambda c: c.execute(sa.text("DELETE FROM inbox")))


def test_an_answer_that_was_altered_is_not_shown(desk: Desk) -> None:
    desk.send("r1")
    desk.publish(desk.offer("run-1", desk.take("run-1")))
    desk.house.tamper("UPDATE inbox SET answer = :text", text='{"label":"blue"}')
    with pytest.raises(LedgerRefused, match="not the one that was released"):
        desk.find("r1")
