"""A purge beside provider batches: what has come and is not judged stays, the rest goes with its run."""

from __future__ import annotations

import threading
import time

from overnight.keys import digest_bytes
from overnight.ledger.bodies import find_body
from overnight.ledger.provider_batches import record_reason
from overnight.ledger.runs import set_state
from overnight.ledger.spend import Spend
from overnight.purge import Purged, describe_purge, purge
from overnight.records import RunState
from tests.conftest import RUN
from tests.unit.ledger.packing import ID, KEYS, OTHER_ID, Packing

SAID = b"what the provider said"
_KEPT = "Left whole: 1 runs that have requests in provider batches."


def _purge(packing: Packing, *, now: float = 2000.0) -> Purged:
    house = packing.house
    return purge(house.ledger, house.home, house.home, before=1000.0, by="Ada", is_dry=False, clock=lambda: now)


def _end(packing: Packing, state: RunState = RunState.HALTED) -> None:
    packing.write(lambda c: set_state(c, RUN, state))


def _find_body(packing: Packing, data: bytes) -> bytes | None:
    return packing.read(lambda c: find_body(c, digest_bytes(data)))


def test_what_stands_in_a_batch_is_left_whole_however_old_it_is(packing: Packing) -> None:
    ids = packing.send(KEYS[:2])
    packing.write(lambda c: record_reason(c, ID, "words of the provider", 3.0))
    packing.answer({KEYS[0]: ids[KEYS[0]]}, body=SAID)
    _end(packing)
    done = _purge(packing)
    assert (done.kept, done.counts["requests"]) == ({"in batches": 1}, 0)
    assert _KEPT in list(describe_purge(done))
    assert packing.take()[KEYS[0]].result.body == SAID
    assert _find_body(packing, f"of {KEYS[1]}".encode()) is not None
    assert packing.find().reason == "words of the provider"


def test_a_run_that_waits_for_its_batches_is_left_whole(packing: Packing) -> None:
    _end(packing, RunState.BATCHED)
    assert _purge(packing).kept == {"in batches": 1}


def test_what_was_judged_goes_with_its_run_and_so_do_a_provider_s_words(packing: Packing) -> None:
    packing.answer(packing.send(KEYS[:1]), body=SAID)
    packing.end()
    packing.write(lambda c: record_reason(c, ID, "words of the provider", 5.0))
    packing.close(packing.make_closing(packing.take()[KEYS[0]]))
    packing.house.tamper("UPDATE completions SET accepted_at = 2")
    _end(packing)
    done = _purge(packing)
    assert (done.kept, done.counts["requests"]) == ({}, 1)
    assert _find_body(packing, SAID) is None
    assert _find_body(packing, f"of {KEYS[0]}".encode()) is None
    assert packing.find().reason is None
    assert packing.house.fetch("SELECT kind, status FROM provider_batch_items") == [("answered", 200)]
    assert packing.find_spend()[0] == Spend(0.1)


def test_what_came_for_a_request_that_is_kept_stays(packing: Packing) -> None:
    """Its attempt failed, so that nothing but its item names the bytes."""
    packing.answer(packing.send(KEYS[:1]), body=SAID)
    [arrived] = packing.take().values()
    packing.close(packing.make_closing(arrived))
    packing.house.tamper("UPDATE attempts SET body = NULL")
    packing.house.tamper("UPDATE completions SET accepted_at = 5000")
    _end(packing)
    _purge(packing)
    assert _find_body(packing, SAID) == SAID


def test_a_result_that_comes_while_the_same_bytes_are_dropped_has_them(packing: Packing) -> None:
    """One of a batch of long ago is dropped; the same bytes come for another, whoever is first."""
    packing.answer(packing.send(KEYS[:1]), body=SAID)
    packing.end()
    packing.close(packing.make_closing(packing.take()[KEYS[0]]))
    packing.house.tamper("UPDATE completions SET accepted_at = 2")
    packing.house.tamper("UPDATE attempts SET body = NULL")
    ids = packing.send(KEYS[1:2], OTHER_ID)
    _end(packing)
    recorded = threading.Event()

    def clock() -> float:
        # After it was found out what may be dropped, and before it is.
        if packing.house.fetch("SELECT count(*) FROM purges") == [(1,)] and not recorded.is_set():
            recorded.set()
            packing.answer(ids, OTHER_ID, body=SAID, now=time.time())
        return 2000.0

    house = packing.house
    purge(house.ledger, house.home, house.home, before=1000.0, by="Ada", is_dry=False, clock=clock)
    assert recorded.is_set()
    assert packing.take()[KEYS[1]].result.body == SAID
