"""What was told, and which runs wait: in every database."""

from __future__ import annotations

from overnight.ledger import Ledger
from overnight.ledger.notices import find_told, list_waiting, name_round, record_told, was_told
from overnight.ledger.runs import set_state
from overnight.records import RunState
from tests.fakes.waits import FLOW_RUN, record_outcome, record_wait

DAY = 86_400.0


def test_what_was_told_is_told_once_and_keeps_its_first_time(ledger: Ledger) -> None:
    record_wait(ledger, at=1.0)
    for now in (5.0, 6.0):
        ledger.write(lambda c, now=now: record_told(c, "night-1", "waiting", "r:0", now))  # type: ignore[misc]
    with ledger.reading() as connection:
        assert find_told(connection, "night-1", "waiting", "r:0") == 5.0
        assert not was_told(connection, "night-1", "waiting", "r:1")
        assert not was_told(connection, "night-1", "soon", "r:0")


def test_a_run_waits_from_its_draw_for_as_long_as_its_policy_says(ledger: Ledger) -> None:
    release = record_wait(ledger, at=100.0, waits_d=2.0)
    with ledger.reading() as connection:
        [waiting] = list_waiting(connection)
    assert (waiting.flow, waiting.flow_run_id, waiting.release.release_id) == ("sort", FLOW_RUN, release.release_id)
    assert (waiting.since, waiting.until) == (100.0, 100.0 + 2 * DAY)


def test_it_waits_anew_from_the_last_answer_and_from_when_people_were_told(ledger: Ledger) -> None:
    release = record_outcome(ledger, record_wait(ledger, at=100.0), "second", at=200.0)
    assert (release.round, name_round(release)) == (1, "of-night-1:1")
    with ledger.reading() as connection:
        assert list_waiting(connection)[0].since == 200.0
    ledger.write(lambda c: record_told(c, "night-1", "waiting", name_round(release), 300.0))
    with ledger.reading() as connection:
        assert list_waiting(connection)[0].since == 300.0


def test_without_a_time_to_wait_it_has_no_end(ledger: Ledger) -> None:
    record_wait(ledger, at=1.0, waits_d=None)
    with ledger.reading() as connection:
        assert list_waiting(connection)[0].until is None


def test_a_run_that_ended_by_hand_or_does_not_wait_any_more_is_not_listed(ledger: Ledger) -> None:
    record_wait(ledger, "by-hand", at=1.0, deployed=False)
    record_wait(ledger, "done", at=1.0)
    beside = record_wait(ledger, "beside", at=1.0, deployed=False)
    ledger.write(lambda c: set_state(c, "done", RunState.RELEASED))
    # By hand, with somebody beside it: people were told.
    ledger.write(lambda c: record_told(c, "beside", "waiting", name_round(beside), 2.0))
    with ledger.reading() as connection:
        assert [w.release.run_id for w in list_waiting(connection)] == ["beside"]
