"""What comes back for each request of a provider batch is recorded once, judged by one, and paid for once."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial

import pytest

from overnight.failures import LedgerRefused
from overnight.ledger import Ledger
from overnight.ledger.attempts import NotOpened
from overnight.ledger.bodies import make_body
from overnight.ledger.closings import Closing, close_attempts
from overnight.ledger.leases import Worker, find_claimed
from overnight.ledger.provider_batch_items import InBatch, find_in_batches, list_items, record_results, take_arrived
from overnight.ledger.sends import Sends, find_sends
from overnight.ledger.spend import Spend
from overnight.llm.batches import name_item
from overnight.records import BatchState, ItemKind, ItemResult
from tests.conftest import RUN
from tests.unit.ledger.packing import ID, KEYS, OTHER_ID, USD, Packing, race


def test_what_is_sent_is_read_in_pages_as_the_exact_bytes(packing: Packing) -> None:
    packed = packing.begin()
    ids = packing.pack(packed, KEYS[:4])
    ids += packing.pack(packed, KEYS[4:], sent=make_body(b"other bytes"))
    first = packing.read(lambda c: list_items(c, ID, 0, 3))
    then = packing.read(lambda c: list_items(c, ID, first[-1].attempt_id, 3))
    assert [item.attempt_id for item in first + then] == ids
    assert [item.request_key for item in first + then] == KEYS
    assert [item.body for item in first + then] == [*(f"of {key}".encode() for key in KEYS[:4]), b"other bytes"]
    assert packing.read(lambda c: list_items(c, OTHER_ID, 0, 3)) == []


def test_bytes_that_were_altered_are_not_sent(packing: Packing) -> None:
    packing.pack(packing.begin(), KEYS[:1])
    packing.house.tamper("UPDATE bodies SET data = :data", data=make_body(b"altered").packed)
    with pytest.raises(LedgerRefused, match="missing or altered"):
        packing.read(lambda c: list_items(c, ID, 0, 3))


def test_results_in_any_order_are_matched_by_name_and_recorded_once(packing: Packing) -> None:
    ids = packing.send()
    results = [packing.make_result(key, ids[key], body=f"answer to {key}".encode()) for key in sorted(KEYS)]
    assert [result.custom_id[:24] for result in results] != [key[:24] for key in KEYS]
    other = ItemResult(results[0].custom_id, ItemKind.EXPIRED)
    assert packing.record([*results[:3], other]) == 3
    assert packing.record([other, *results]) == 2
    assert packing.record(results) == 0
    taken = packing.take()
    assert {key: arrived.attempt_id for key, arrived in taken.items()} == ids
    assert {key: arrived.result.body for key, arrived in taken.items()} == {
        key: f"answer to {key}".encode() for key in KEYS
    }
    found = taken[KEYS[0]]
    assert (found.run_id, found.opened_at, found.reserved_usd, found.cause) == (RUN, 1.0, USD, "first")
    assert found.result == packing.make_result(KEYS[0], ids[KEYS[0]], body=f"answer to {KEYS[0]}".encode())


def test_what_names_no_request_of_the_batch_is_left(packing: Packing) -> None:
    ids = packing.send(KEYS[:2])
    packing.send(KEYS[2:], OTHER_ID)
    key, n = KEYS[0], ids[KEYS[0]]
    [good] = [packing.make_result(key, n)]
    names = ["", "-", "x", f"{key[:24]}-{ID}-zz", f"{key[:24]}-{ID}-{'f' * 40}", f"{key[:24]}-{ID}--1"]
    names += [name_item(OTHER_ID, n, key), name_item(ID, n, KEYS[1]), name_item(ID, n + 99, key)]
    assert packing.record([replace(good, custom_id=name) for name in names]) == 0
    assert packing.record([packing.make_result(key, n, OTHER_ID)], OTHER_ID) == 0
    assert packing.take() == {}
    assert packing.record([good]) == 1


def test_of_a_batch_that_is_not_known_to_be_sent_no_result_is_recorded(packing: Packing) -> None:
    packing.pack(packing.begin())
    packing.submit()
    [item, *_] = packing.read(lambda c: list_items(c, ID, 0, 5))
    assert packing.record([packing.make_result(KEYS[0], item.attempt_id)]) == 0
    assert packing.end() == 0
    assert packing.find_state() is BatchState.SUBMITTING


def test_what_the_provider_says_nothing_of_is_missing(packing: Packing) -> None:
    ids = packing.send()
    packing.answer({key: ids[key] for key in KEYS[:3]})
    assert (packing.end(), packing.end()) == (2, 0)
    found = packing.find()
    assert (found.state, found.n_done, found.ended_at) == (BatchState.ENDED, 5, 5.0)
    taken = packing.take()
    kinds = [taken[key].result.kind for key in KEYS]
    assert kinds == [ItemKind.ANSWERED] * 3 + [ItemKind.MISSING] * 2
    assert (taken[KEYS[4]].result.body, taken[KEYS[4]].result.status) == (b"", None)


def test_a_request_stands_in_its_batch_until_its_result_is_judged(packing: Packing) -> None:
    ids = packing.send()
    packing.answer({KEYS[0]: ids[KEYS[0]]})

    def find() -> dict[str, InBatch]:
        return packing.read(lambda c: find_in_batches(c, KEYS))

    made = {key: InBatch(n, ID, RUN, BatchState.SUBMITTED, has_result=key == KEYS[0]) for key, n in ids.items()}
    assert find() == made
    assert packing.close(packing.make_closing(packing.take()[KEYS[0]])) == [True]
    assert find().keys() == set(KEYS[1:])
    assert packing.take() == {}
    assert packing.find_spend()[0] == Spend(pytest.approx(0.1), 4 * USD)  # type: ignore[arg-type]
    assert packing.open(packing.worker, KEYS[0]) == [NotOpened.SETTLED]


def test_what_failed_is_free_to_be_packed_again(packing: Packing) -> None:
    ids = packing.send(KEYS[:1])
    packing.end()
    [arrived] = packing.take().values()
    accepted = packing.make_closing(arrived)
    failed = replace(accepted, outcome="failed", failure_class="expired", completion=None, body=None, cost_usd=0.0)
    assert packing.close(failed) == [True]
    again = packing.send(KEYS[:1], OTHER_ID, cause="again")
    assert again.keys() == ids.keys()
    assert again != ids
    packing.answer(again, OTHER_ID)
    assert packing.take()[KEYS[0]].batch_id == OTHER_ID
    assert packing.take()[KEYS[0]].cause == "again"


def test_one_who_lives_has_an_answer_in_hand_and_the_others_wait_for_it(packing: Packing) -> None:
    ids, other = packing.send(), packing.register()
    packing.answer(ids)
    assert packing.take(other, KEYS[:2]).keys() == set(KEYS[:2])
    assert packing.take().keys() == set(KEYS[2:])
    assert packing.take(other, KEYS[:2]).keys() == set(KEYS[:2])
    assert packing.open(packing.worker, *KEYS[1:3]) == [NotOpened.ELSEWHERE, NotOpened.IN_BATCH]
    assert packing.read(lambda c: find_claimed(c, packing.worker, KEYS)) == set(KEYS[:2])
    packing.kill(other)
    assert packing.read(lambda c: find_claimed(c, packing.worker, KEYS)) == set()
    assert packing.open(packing.worker, *KEYS[:2]) == [NotOpened.IN_BATCH] * 2
    assert packing.take(keys=KEYS[:2]).keys() == set(KEYS[:2])


def test_an_answer_that_two_had_in_hand_is_booked_once(packing: Packing) -> None:
    ids, other = packing.send(KEYS[:1]), packing.register()
    packing.answer(ids)
    [theirs] = packing.take(other).values()
    packing.kill(other)
    [mine] = packing.take().values()
    assert packing.close(packing.make_closing(mine, 0.1)) == [True]
    late = packing.make_closing(theirs, 0.3)
    assert packing.close(late) == packing.close(replace(late, outcome="failed", completion=None)) == [False]
    assert packing.find_spend() == (Spend(0.1), Spend(0.1))
    assert packing.house.fetch("SELECT outcome, cost_usd FROM attempts") == [("accepted", 0.1)]


def test_an_attempt_that_is_closed_twice_in_one_commit_is_booked_once(packing: Packing) -> None:
    packing.answer(packing.send(KEYS[:1]))
    [arrived] = packing.take().values()
    closings = [packing.make_closing(arrived, 0.1), packing.make_closing(arrived, 0.3)]
    assert packing.close(*closings) == [True, False]
    assert packing.find_spend() == (Spend(0.1), Spend(0.1))


def test_what_two_processes_take_at_the_same_time_each_judges_apart(packing: Packing) -> None:
    """Of many answers each goes to one of them, and each is booked once, whoever is quicker."""
    packing.answer(packing.send())
    with closing(Ledger(packing.house.settings.ledger_url)) as beside:
        ledgers = [packing.house.ledger, beside]
        workers = [packing.register(), packing.register()]

        def take(ledger: Ledger, worker: Worker) -> list[Closing]:
            taken = ledger.write(lambda c: take_arrived(c, worker, KEYS))
            return [packing.make_closing(arrived) for arrived in taken.values()]

        taken = race(*(partial(take, *both) for both in zip(ledgers, workers, strict=True)))
        assert sorted(c.key for some in taken for c in some) == sorted(KEYS)
        # Both close all: as where one of them was taken for gone, and was not.
        both = [c for some in taken for c in some]
        stand = race(*(partial(ledger.write, lambda c: close_attempts(c, both)) for ledger in ledgers))
    assert sorted(map(sum, zip(*stand, strict=True))) == [1] * len(KEYS)
    assert packing.find_spend() == (Spend(pytest.approx(0.5)), Spend(pytest.approx(0.5)))  # type: ignore[arg-type]


def test_results_that_two_processes_read_at_the_same_time_are_recorded_once(packing: Packing) -> None:
    ids = packing.send()
    results = [packing.make_result(key, n) for key, n in ids.items()]
    with closing(Ledger(packing.house.settings.ledger_url)) as beside:
        jobs = (partial(record_results, batch_id=ID, results=some, now=4.0) for some in (results, results[::-1]))
        n_new = race(*(partial(at.write, job) for at, job in zip((packing.house.ledger, beside), jobs, strict=True)))
    assert sum(n_new) == len(KEYS)


def test_what_a_batch_holds_is_neither_lost_nor_failed(packing: Packing) -> None:
    ids = packing.send(KEYS[:2])
    packing.open(packing.worker, KEYS[2])

    def find() -> dict[str, Sends]:
        return packing.read(lambda c: find_sends(c, RUN, KEYS))

    assert find().keys() == {KEYS[2]}
    packing.end()
    arrived = packing.take()[KEYS[0]]
    lost = Closing(ids[KEYS[0]], KEYS[0], 6.0, "failed", failure_class="expired", message="too late")
    packing.close(replace(lost, reserved_usd=arrived.reserved_usd))
    assert find()[KEYS[0]].failures == (("expired", "too late"),)
    assert find().keys() == {KEYS[0], KEYS[2]}


def test_the_names_of_requests_are_those_that_are_sent(packing: Packing) -> None:
    ids = packing.send(KEYS[:1])
    packing.end()
    [arrived] = packing.take().values()
    assert arrived.result.custom_id == name_item(ID, ids[KEYS[0]], KEYS[0])
