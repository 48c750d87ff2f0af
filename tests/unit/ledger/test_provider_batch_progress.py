"""How far provider batches are is told of each run, and what a process has left behind is found."""

from __future__ import annotations

import orjson

from overnight.keys import request_key
from overnight.ledger.history import find_request
from overnight.ledger.inspection import inspect_ledger
from overnight.ledger.leases import Worker
from overnight.ledger.provider_batch_progress import BatchProgress, find_progress, list_stale
from overnight.ledger.provider_batches import mark_in_doubt, record_look, release_batch
from overnight.records import BatchLook, BatchState
from overnight.report.why.asked import _STATES, tell_asked
from tests.conftest import RUN
from tests.unit.ledger.packing import ID, KEYS, OTHER_ID, Packing


def _find(packing: Packing) -> dict[str, BatchProgress]:
    return packing.read(lambda c: find_progress(c, [RUN, "night-2"]))


def _list_stale(packing: Packing, worker: Worker) -> list[tuple[str, bool]]:
    found = packing.read(lambda c: list_stale(c, worker))
    return sorted((stale.batch.batch_id, stale.is_in_hand) for stale in found)


def test_a_run_s_batches_are_told_together_until_they_are_over(packing: Packing) -> None:
    assert _find(packing) == {}
    packing.send(KEYS[:3])
    packing.pack(packing.begin(OTHER_ID, now=7.0), KEYS[3:])
    look = BatchLook(f"of {ID}", "in_progress", is_ended=False, n_items=3, n_done=2)
    packing.write(lambda c: record_look(c, ID, look, 8.0))
    assert _find(packing) == {RUN: BatchProgress(2, 5, 2, 2.0, 0, ("in_progress",))}
    packing.end()
    assert _find(packing) == {RUN: BatchProgress(1, 2, 0, 7.0, 0, ())}
    packing.submit(OTHER_ID, now=9.0)
    packing.write(lambda c: mark_in_doubt(c, OTHER_ID, reason="why", now=10.0))
    assert _find(packing) == {RUN: BatchProgress(1, 2, 0, 9.0, 1, ())}
    packing.write(lambda c: release_batch(c, OTHER_ID, reason="why", now=11.0))
    assert _find(packing) == {}


def test_what_a_process_left_half_packed_is_found_once_it_is_gone(packing: Packing) -> None:
    packing.begin()
    packing.send(KEYS, OTHER_ID)
    other = packing.register()
    assert _list_stale(packing, other) == _list_stale(packing, packing.worker) == []
    packing.kill(packing.worker)
    assert _list_stale(packing, other) == [(ID, False)]


def test_what_is_being_sent_is_found_and_whether_that_is_in_anothers_hand(packing: Packing) -> None:
    packing.begin()
    packing.submit()
    other = packing.register()
    assert _list_stale(packing, other) == [(ID, True)]
    assert _list_stale(packing, packing.worker) == [(ID, False)]
    packing.kill(packing.worker)
    assert _list_stale(packing, other) == [(ID, False)]
    packing.hear()
    assert _list_stale(packing, other) == []


def test_a_request_in_a_batch_is_no_call_of_unknown_outcome(packing: Packing) -> None:
    packing.send(KEYS[:3])
    packing.open(packing.worker, KEYS[3])
    facts = inspect_ledger(packing.house.settings.ledger_url)
    assert (facts.n_unknown, facts.n_in_batches) == (1, 3)


def test_why_tells_of_each_attempt_with_which_batch_it_went_and_how_that_stands(packing: Packing) -> None:
    key = request_key("{}", packing.prompt.prompt_hash)
    packing.pack(packing.begin(), [key])

    def tell() -> list[str]:
        request = packing.read(lambda c: find_request(c, key))
        assert request
        return [node.lines[0] for node in tell_asked(request, 10.0) if node.title.startswith("attempt")]

    assert tell() == [f"in provider batch {ID}, which has not been sent"]
    packing.submit()
    assert tell() == [f"in provider batch {ID}, which was being sent: the provider may have it"]
    packing.hear()
    assert tell() == [f"in provider batch {ID} (batch_1), which the provider has: its answer has not come yet"]
    packing.end()
    [line] = tell()
    assert line.startswith(f"in provider batch {ID} (batch_1): its result (missing) came 1970-01-01")
    assert line.endswith(", and is not judged yet")
    packing.close(packing.make_closing(packing.take(keys=[key])[key]))
    assert tell() == [f"in provider batch {ID} (batch_1)"]


def test_the_history_of_a_request_that_went_with_a_batch_can_be_written_as_json(packing: Packing) -> None:
    key = request_key("{}", packing.prompt.prompt_hash)
    packing.answer(packing.send([key]))
    packing.end()
    packing.close(packing.make_closing(packing.take(keys=[key])[key]))
    found = orjson.loads(orjson.dumps(packing.read(lambda c: find_request(c, key))))
    assert found["attempts"][0]["provider_batch"]["batch_id"] == ID


def test_of_every_state_of_a_batch_why_has_words() -> None:
    assert set(_STATES) == set(BatchState)
