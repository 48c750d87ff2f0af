"""A provider batch is packed, sent once, found again, and given up only where the provider never had it."""

from __future__ import annotations

import time

import pytest

from overnight.failures import LedgerRefused
from overnight.ledger.attempts import NotOpened
from overnight.ledger.leases import find_claimed
from overnight.ledger.provider_batch_packing import begin_batch
from overnight.ledger.provider_batches import (
    list_batches,
    mark_in_doubt,
    mark_submitted,
    record_canceling,
    record_look,
    record_reason,
    release_batch,
)
from overnight.ledger.shares import find_asking
from overnight.ledger.spend import Cap, Shortfall, Spend, run_scope
from overnight.records import BatchLook, BatchState
from tests.conftest import RUN
from tests.unit.ledger.packing import ID, KEYS, OTHER_ID, USD, Packing


def _release(packing: Packing, batch_id: str = ID, reason: str = "it was refused") -> int:
    return packing.write(lambda c: release_batch(c, batch_id, reason=reason, now=9.0))


def _doubt(packing: Packing) -> None:
    packing.write(lambda c: mark_in_doubt(c, ID, reason="listed twice", now=9.0))


def test_what_is_packed_is_claimed_paid_for_and_counted_in_one_commit(packing: Packing) -> None:
    ids = packing.pack(packing.begin())
    assert all(isinstance(found, int) for found in ids)
    found = packing.find()
    assert (found.state, found.n_items, found.packed_by) == (BatchState.PACKING, 5, packing.worker.worker_id)
    assert packing.find_spend() == (Spend(0.0, 5 * USD), Spend(0.0, 5 * USD))
    items = packing.house.fetch("SELECT attempt_id, batch_id, kind FROM provider_batch_items ORDER BY attempt_id")
    assert items == [(found, ID, None) for found in ids]
    claims = packing.house.fetch("SELECT DISTINCT worker_id FROM claims")
    assert claims == [(packing.find().worker_id,)] != [(packing.worker.worker_id,)]


def test_of_what_does_not_fit_under_a_cap_nothing_is_packed(packing: Packing) -> None:
    caps = (Cap(run_scope(RUN), 2 * USD),)
    found = packing.pack(packing.begin(), caps=caps)
    assert [isinstance(one, Shortfall) for one in found] == [False, False, True, True, True]
    assert packing.find().n_items == packing.house.fetch("SELECT count(*) FROM claims")[0][0] == 2


def test_a_batch_s_request_is_free_for_nobody_and_nobody_waits_for_it(packing: Packing) -> None:
    packed, other = packing.begin(), packing.register()
    packing.pack(packed)
    packing.kill(packing.worker)
    in_batch = [NotOpened.IN_BATCH] * 5
    assert packing.open(other, *KEYS) == packing.open(packing.worker, *KEYS) == in_batch
    assert packing.pack(packed) == packing.pack(packing.begin(OTHER_ID)) == in_batch
    assert packing.read(lambda c: find_claimed(c, other, KEYS)) == set()
    assert packing.house.fetch("SELECT count(*) FROM attempts") == [(5,)]


def test_what_another_process_asks_is_not_packed_until_that_is_gone(packing: Packing) -> None:
    other = packing.register()
    packing.open(other, KEYS[0])
    assert packing.pack(packing.begin(), KEYS[:1]) == [NotOpened.ELSEWHERE]
    packing.kill(other)
    assert isinstance(packing.pack(packing.begin(OTHER_ID), KEYS[:1])[0], int)


def test_what_the_process_left_unasked_itself_it_packs(packing: Packing) -> None:
    packing.open(packing.worker, KEYS[0])
    assert isinstance(packing.pack(packing.begin(), KEYS[:1])[0], int)


def test_a_batch_takes_no_part_of_a_limit_for_calls(packing: Packing) -> None:
    packing.pack(packing.begin())
    assert packing.read(lambda c: find_asking(c, packing.register())) == {}


def test_a_batch_is_sent_once_and_by_who_packed_it(packing: Packing) -> None:
    packed = packing.begin()
    packing.pack(packed, KEYS[:2])
    assert packing.submit(worker=packing.register()) is None
    found = packing.submit()
    assert found
    assert (found.state, found.n_items, found.key_mark, found.submitting_at) == (BatchState.SUBMITTING, 2, "mark", 2.0)
    assert packing.submit() is None
    assert packing.pack(packed, KEYS[2:]) == [NotOpened.ELSEWHERE] * 3
    assert (packing.find().n_items, packing.find_spend()[0]) == (2, Spend(0.0, 2 * USD))


def test_what_the_provider_shows_is_kept(packing: Packing) -> None:
    packing.send()
    packing.write(lambda c: record_canceling(c, ID, 6.0))
    packing.write(lambda c: record_canceling(c, ID, 7.0))
    look = BatchLook(f"of {ID}", "canceling", is_ended=False, n_items=5, n_done=3)
    packing.write(lambda c: record_look(c, ID, look, 8.0))
    found = packing.find()
    assert (found.state, found.status, found.n_done, found.looked_at) == (BatchState.SUBMITTED, "canceling", 3, 8.0)
    assert (found.submitted_at, found.expires_at, found.canceled_at) == (3.0, 90.0, 6.0)


def test_a_batch_of_the_provider_is_one_of_ours_alone(packing: Packing) -> None:
    packing.send(KEYS[:1])
    packing.pack(packing.begin(OTHER_ID), KEYS[1:])
    packing.submit(OTHER_ID)
    with pytest.raises(LedgerRefused, match=f"cannot be of {ID}: that is {ID} already"):
        packing.hear(OTHER_ID, f"of {ID}")
    assert packing.find_state(OTHER_ID) is BatchState.SUBMITTING
    packing.hear(ID, f"of {ID}", now=99.0)
    assert packing.find().submitted_at == 3.0


@pytest.mark.parametrize("reached", [BatchState.PACKING, BatchState.SUBMITTING, BatchState.IN_DOUBT])
def test_a_batch_that_was_not_sent_frees_its_requests_and_their_money(packing: Packing, reached: BatchState) -> None:
    packing.pack(packing.begin())
    if reached is not BatchState.PACKING:
        packing.submit()
    if reached is BatchState.IN_DOUBT:
        _doubt(packing)
    assert (packing.find_state(), packing.find_keys()) == (reached, set(KEYS))
    assert (_release(packing), _release(packing, reason="again")) == (5, 0)
    found = packing.find()
    assert (found.state, found.reason, found.ended_at) == (BatchState.UNSENT, "it was refused", 9.0)
    assert packing.find_spend() == (Spend(), Spend())
    assert packing.house.fetch("SELECT DISTINCT outcome, closed_at, cost_usd FROM attempts") == [("unsent", 9.0, None)]
    assert packing.find_keys() == set()
    assert all(isinstance(one, int) for one in packing.open(packing.register(), *KEYS))


def test_money_goes_back_to_the_night_that_it_was_set_aside_in(packing: Packing) -> None:
    now, packed = time.time(), packing.begin()
    packing.pack(packed, KEYS[:2], opened_at=now)
    packing.pack(packed, KEYS[2:], opened_at=now + 86_400)
    assert packing.find_spend(now)[1] == Spend(0.0, 2 * USD)
    _release(packing)
    assert packing.find_spend(now) == packing.find_spend(now + 86_400) == (Spend(), Spend())


def test_a_batch_that_the_provider_has_is_not_given_up(packing: Packing) -> None:
    packing.send()
    assert _release(packing) == 0
    _doubt(packing)
    assert (packing.find_state(), packing.find_spend()[0]) == (BatchState.SUBMITTED, Spend(0.0, 5 * USD))


def test_a_doubt_is_settled_by_finding_the_batch_and_who_did_so_is_kept(packing: Packing) -> None:
    packing.pack(packing.begin())
    packing.submit()
    packing.write(lambda c: record_reason(c, ID, "one of two: b1, b2", 4.0))
    assert packing.find().reason == "one of two: b1, b2"
    _doubt(packing)
    look = BatchLook("b1", "in_progress", is_ended=False)
    packing.write(lambda c: mark_submitted(c, ID, look, 10.0, settled_by="Ada"))
    found = packing.find()
    assert (found.state, found.provider_id, found.reason) == (BatchState.SUBMITTED, "b1", None)
    assert packing.house.fetch("SELECT settled_by FROM provider_batches") == [("Ada",)]


def test_an_answer_to_a_batch_that_was_given_up_is_not_passed_over(packing: Packing) -> None:
    packing.pack(packing.begin())
    packing.submit()
    _release(packing)
    with pytest.raises(LedgerRefused, match=r"is unsent \(it was refused\), and the provider has it as batch_1"):
        packing.hear()
    assert packing.find_state() is BatchState.UNSENT


def test_batches_are_listed_newest_first_by_run_and_by_state(packing: Packing) -> None:
    packing.house.begin("night-2")
    for n, run_id in enumerate([RUN, RUN, "night-2"]):
        packing.write(
            lambda c, n=n, run_id=run_id: begin_batch(
                c, batch_id=f"b{n}", run_id=run_id, model="m", endpoint="e", packed_by=packing.worker, now=float(n)
            )
        )
    packing.submit("b0")

    def find(**given: object) -> list[str]:
        return packing.read(lambda c: [batch.batch_id for batch in list_batches(c, **given)])  # type: ignore[arg-type]

    assert find() == ["b2", "b1", "b0"]
    assert (find(run_id=RUN), find(limit=1)) == (["b1", "b0"], ["b2"])
    assert (find(states=[BatchState.PACKING], run_id=RUN), find(states=[])) == (["b1"], [])


def test_a_batch_that_is_not_there_is_refused_by_its_name(packing: Packing) -> None:
    with pytest.raises(LedgerRefused, match="There is no provider batch nowhere"):
        packing.find("nowhere")
