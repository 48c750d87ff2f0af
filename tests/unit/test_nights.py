"""Which late run begins, and what becomes of a broken one: decided on facts, without a server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from overnight.nights import Beginning, Broken, Care, Skip, decide, find_skip, is_expected

HOUR, DAY = 3600.0, 86_400.0
DUE = 1_000_000.0
BROKEN = Broken("f1", at=DUE + HOUR, due_at=DUE, n_restarts=0, run_state="running", last_flow_run_id="f1")


def _decide(broken: Broken, *, now: float = DUE + HOUR + 60, restarts: int = 2) -> Care:
    return decide(broken, now=now, restarts=restarts, stale_s=6 * HOUR).care


@pytest.mark.parametrize(
    ("late_s", "skip"), [(-1.0, None), (0.0, None), (6 * HOUR, None), (6 * HOUR + 1, Skip.STALE), (9 * DAY, Skip.STALE)]
)
def test_a_scheduled_run_is_skipped_when_it_would_begin_too_late(late_s: float, skip: Skip | None) -> None:
    assert find_skip(Beginning(DUE, is_known=False, n_starts=1), DUE + late_s, 6 * HOUR) is skip


@pytest.mark.parametrize(
    "beginning",
    [
        Beginning(None, is_known=False, n_starts=1),
        Beginning(DUE, is_known=True, n_starts=1),
        Beginning(DUE, is_known=False, n_starts=2),
    ],
    ids=["started by somebody", "continues a run", "a retry"],
)
def test_only_a_new_run_that_a_schedule_made_is_ever_skipped(beginning: Beginning) -> None:
    assert find_skip(replace(beginning, newer_at=DUE + DAY), DUE + 2 * DAY, 6 * HOUR) is None


@pytest.mark.parametrize(("newer_at", "skip"), [(DUE + HOUR, Skip.REPLACED), (DUE, None), (None, None)])
def test_a_queue_of_late_runs_collapses_to_the_newest(newer_at: float | None, skip: Skip | None) -> None:
    assert find_skip(Beginning(DUE, is_known=False, n_starts=1, newer_at=newer_at), DUE + 2 * HOUR, 6 * HOUR) is skip


@pytest.mark.parametrize("state", ["running", "waiting", "batched"])
@pytest.mark.parametrize("is_lost", [False, True])
def test_a_run_whose_process_was_killed_is_put_back(state: str, is_lost: bool) -> None:
    assert _decide(replace(BROKEN, run_state=state, is_lost=is_lost)) is Care.RESTART


def test_one_that_died_before_it_opened_its_run_is_put_back_unless_it_is_too_late() -> None:
    unopened = replace(BROKEN, run_state=None, last_flow_run_id=None)
    assert _decide(unopened) is Care.RESTART
    assert _decide(unopened, now=DUE + 6 * HOUR + 1) is Care.TELL


@pytest.mark.parametrize(
    ("n_restarts", "restarts", "care"), [(1, 2, Care.RESTART), (2, 2, Care.TELL), (0, 0, Care.TELL)]
)
def test_a_run_is_put_back_so_often_and_then_people_are_told(n_restarts: int, restarts: int, care: Care) -> None:
    assert _decide(replace(BROKEN, n_restarts=n_restarts), restarts=restarts) is care


@pytest.mark.parametrize("state", ["released", "rejected", "held", "compared"])
def test_a_run_that_has_ended_is_left(state: str) -> None:
    assert _decide(replace(BROKEN, run_state=state)) is Care.LEAVE


def test_a_run_that_another_flow_run_continues_is_left() -> None:
    assert _decide(replace(BROKEN, last_flow_run_id="by-hand")) is Care.LEAVE


def test_nobody_goes_on_beside_a_process_that_lives() -> None:
    assert _decide(replace(BROKEN, is_alive=True)) is Care.WAIT


def test_a_lost_run_waits_while_another_of_its_deployment_works() -> None:
    crowded = replace(BROKEN, is_crowded=True)
    assert (_decide(replace(crowded, is_lost=True)), _decide(crowded)) == (Care.WAIT, Care.RESTART)


def test_people_are_told_of_what_is_not_put_back() -> None:
    assert _decide(replace(BROKEN, run_state="halted")) is Care.TELL
    assert _decide(replace(BROKEN, is_known=False)) is Care.TELL
    assert _decide(BROKEN, now=BROKEN.at + DAY + 1) is Care.TELL


@pytest.mark.parametrize(("due_at", "expected"), [(None, False), (DUE - 1, False), (DUE, False), (DUE + 1, True)])
def test_a_schedule_is_not_missed_for_what_was_due_before_anybody_knew_it(due_at: float | None, expected: bool) -> None:
    assert is_expected(due_at, known_since=DUE) is expected
