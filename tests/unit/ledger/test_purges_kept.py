"""What a purge leaves whole, and what is done with it afterwards; on SQLite and on Postgres."""

from __future__ import annotations

import time

import pytest

from overnight.deliver import deliver_release, recall_release
from overnight.ledger.releases import find_release
from overnight.records import RunState
from tests.conftest import RUN
from tests.unit.ledger.nights import TEXTS, Nights


def test_what_a_young_run_uses_stays_whole_however_old_it_is(nights: Nights) -> None:
    nights.publish([*TEXTS, "of the old night alone"])
    nights.ask(TEXTS, run_id="night-2")
    nights.make_old()
    nights.house.tamper("UPDATE passes SET started_at = 2000 WHERE run_id = 'night-2'")
    nights.house.tamper("UPDATE runs SET state = 'released' WHERE run_id = 'night-2'")
    done = nights.purge()
    assert (done.counts["requests"], done.kept) == (1, {"young": 1})
    assert nights.count("completions") == len(TEXTS)
    n_calls = len(nights.fake.calls)
    nights.ask(TEXTS, run_id="night-3")
    assert len(nights.fake.calls) == n_calls
    assert nights.count("bodies b JOIN requests r ON r.body = b.digest WHERE length(b.data) > 0") == len(TEXTS)


def test_an_open_review_has_all_that_it_needs_afterwards(nights: Nights) -> None:
    release = nights.offer()
    nights.end(RUN, RunState.HALTED)
    nights.make_old()
    assert nights.purge().kept == {"in review": 1}
    shown = nights.house.ledger.read(lambda c: find_release(c, RUN))
    assert shown is not None
    assert shown.items == release.items
    approval = nights.house.approve(shown)
    assert {r.state for r in deliver_release(approval, ledger=nights.house.ledger, settings=nights.house.settings)} == {
        "delivered"
    }


def test_an_approval_that_can_be_used_delivers_afterwards(nights: Nights) -> None:
    approval = nights.house.approve(nights.offer())
    nights.end(RUN, RunState.HALTED)
    for statement in ("UPDATE requests SET recorded_at = 2", "UPDATE approvals SET signature = signature"):
        nights.house.tamper(statement)
    # Everything is old, but for the approval's last moment.
    done = nights.purge(before=time.time() + 60, clock=lambda: approval.expires_at.timestamp() - 1)
    assert done.kept == {"approved": 1}
    receipts = deliver_release(approval, ledger=nights.house.ledger, settings=nights.house.settings)
    assert {r.state for r in receipts} == {"delivered"}


@pytest.mark.parametrize("state", ["promised", "sending", "unknown"])
def test_deliveries_that_are_not_at_their_end_keep_their_run(nights: Nights, state: str) -> None:
    nights.publish()
    nights.make_old()
    nights.house.tamper("UPDATE outbox SET state = :state WHERE position = 0", state=state)
    assert nights.purge().kept == {"not delivered": 1}
    assert len(nights.list_left()) == 8


@pytest.mark.parametrize("state", ["running", "waiting"])
def test_a_run_that_is_not_at_its_end_stays_whole(nights: Nights, state: str) -> None:
    nights.publish()
    nights.make_old()
    nights.end(RUN, RunState(state))
    assert nights.purge().kept == {state: 1}
    assert len(nights.list_left()) == 8


def test_what_stood_at_a_sink_before_a_kept_release_can_be_put_back(nights: Nights) -> None:
    nights.publish()
    nights.publish([*TEXTS, "one more"], run_id="night-2")
    nights.house.tamper("UPDATE runs SET started_at = 2")
    nights.make_old()
    nights.house.tamper("UPDATE passes SET started_at = 2000 WHERE run_id = 'night-2'")
    nights.purge()
    query = "release_rows r JOIN bodies b ON b.digest = r.payload WHERE length(b.data) = 0"
    assert nights.count(query) == 0


@pytest.mark.parametrize("is_offered", [True, False])
def test_a_retry_that_is_not_at_its_end_joins_the_rows_of_an_old_night_afterwards(
    nights: Nights, *, is_offered: bool
) -> None:
    nights.publish()
    before = time.time()
    nights.house.begin("retry-1", retries=RUN, now=before)
    release = nights.offer_retry("retry-1", RUN) if is_offered else None
    nights.end("retry-1", RunState.WAITING)
    done = nights.purge(before=before)
    assert (done.counts["runs"], done.kept) == (1, {"young": 1})
    approval = nights.house.approve(release or nights.offer_retry("retry-1", RUN))
    deliver_release(approval, ledger=nights.house.ledger, settings=nights.house.settings)
    assert len(nights.house.out.read_text().splitlines()) == len(TEXTS) + 1


def test_a_retry_of_a_retry_keeps_what_both_go_on_from(nights: Nights) -> None:
    nights.publish()
    nights.house.begin("retry-1", retries=RUN, now=1.0)
    nights.deliver(nights.offer_retry("retry-1", RUN, ["once mended red"]))
    nights.end("retry-1")
    before = time.time()
    nights.house.begin("retry-2", retries="retry-1", now=before)
    release = nights.offer_retry("retry-2", "retry-1", ["twice mended red"], first=21)
    nights.purge(before=before)
    nights.deliver(release)
    assert len(nights.house.out.read_text().splitlines()) == len(TEXTS) + 2


def test_what_a_retry_and_its_night_wrote_together_can_be_put_back(nights: Nights) -> None:
    nights.publish()
    nights.house.begin("retry-1", retries=RUN, now=1.0)
    nights.deliver(nights.offer_retry("retry-1", RUN))
    nights.end("retry-1")
    stood, before = nights.house.out.read_text(), time.time()
    nights.house.begin("night-2", now=before)
    release = nights.publish(["another red"], run_id="night-2")
    nights.purge(before=before)
    recall_release(
        release.release_id, by="Ada", reason="no", ledger=nights.house.ledger, settings=nights.house.settings
    )
    assert nights.house.out.read_text() == stood


def test_what_a_recall_put_back_can_be_put_back_once_more(nights: Nights) -> None:
    nights.publish()
    stood = nights.house.out.read_text()
    second = nights.publish(["another red"], run_id="night-2")
    settings, ledger = nights.house.settings, nights.house.ledger
    recall_release(second.release_id, by="Ada", reason="no", ledger=ledger, settings=settings)
    before = time.time()
    nights.house.begin("night-3", now=before)
    third = nights.publish(["a third red"], run_id="night-3")
    nights.purge(before=before)
    recall_release(third.release_id, by="Ada", reason="no", ledger=ledger, settings=settings)
    assert nights.house.out.read_text() == stood


def test_what_a_release_would_replace_that_has_not_left_yet_can_be_put_back(nights: Nights) -> None:
    nights.publish()
    stood, before = nights.house.out.read_text(), time.time()
    nights.house.begin("night-2", now=before)
    release = nights.offer(["another red"], "night-2")
    nights.purge(before=before)
    nights.deliver(release)
    ledger, settings = nights.house.ledger, nights.house.settings
    recall_release(release.release_id, by="Ada", reason="no", ledger=ledger, settings=settings)
    assert nights.house.out.read_text() == stood
