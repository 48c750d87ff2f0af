"""Nights that overlap, a night in which the clocks change, a clock that is an hour off: nothing is paid twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from overnight.approve import find_standing
from overnight.deliver import deliver_release
from overnight.failures import ApprovalRefused
from overnight.ledger.spend import night_scope
from tests.conftest import DATABASES, RUN, House
from tests.fakes.provider import Scripted
from tests.trials.books import count_outcomes
from tests.trials.conftest import pick
from tests.trials.crowd import Crowd
from tests.trials.shared_worker import Ended

N_ROWS = pick(short=48, long=1_600)
SLOW = Scripted(delay_s=0.1)
HOUR_S = 3600.0
#: Longer than any process of a busy machine stands still, and much shorter than an hour.
LEASE_S = pick(short=3.0, long=6.0)
BERLIN = "Europe/Berlin"
#: How long before a change of the clock the runs begin, which last for twice as long.
AHEAD_S = 0.01 * N_ROWS / 2
#: When the clocks there change, or a night ends, and how many nights that makes.
CHANGES = {
    "back an hour": (datetime(2026, 10, 25, 1, tzinfo=UTC), 1),
    "forward an hour": (datetime(2026, 3, 29, 1, tzinfo=UTC), 1),
    "noon": (datetime(2026, 10, 25, 11, tzinfo=UTC), 2),
}


def run_two(crowd: Crowd, first: dict[str, Any], second: dict[str, Any]) -> list[Ended]:
    """Two processes over the same rows, each in its own way; no row is asked twice."""
    crowd.script.decide = lambda *_: SLOW
    ended = crowd.finish(N_ROWS, [crowd.start(N_ROWS, **how) for how in (first, second)])
    crowd.check_asked_once(N_ROWS)
    assert all(e.n_calls > 0 for e in ended)
    assert count_outcomes(crowd.house).keys() <= {"accepted", "unsent"}
    return ended


@pytest.mark.parametrize("database", pick(short=DATABASES[:1], long=DATABASES))
def test_two_runs_over_the_same_rows_make_no_extra_call(
    crowd: Crowd, say: Callable[[str], None], database: str
) -> None:
    ended = run_two(crowd, {"run_id": RUN}, {"run_id": "night-2"})
    query = "SELECT scope, spent_usd + reserved_usd FROM spend WHERE scope LIKE 'run:%'"
    spent: dict[str, float] = {str(scope): usd for scope, usd in crowd.house.fetch(query)}
    say(f"two runs overlap, {database}: {N_ROWS} rows, {' + '.join(str(e.n_calls) for e in ended)} calls")
    assert spent.keys() == {f"run:{RUN}", "run:night-2"}
    for run_id, usd in crowd.house.fetch("SELECT run_id, sum(cost_usd) FROM attempts GROUP BY run_id"):
        assert spent[f"run:{run_id}"] == pytest.approx(usd)


@pytest.mark.parametrize("database", DATABASES)
def test_a_clock_that_is_an_hour_off_steals_no_lease_and_loses_none(
    crowd: Crowd, say: Callable[[str], None], database: str
) -> None:
    # One jumps an hour ahead and two back; the other's clock was wrong from the start.
    jumps = {"shifts": [(0.0, 0.0), (0.3, HOUR_S), (0.5, -HOUR_S)], "lease_s": LEASE_S}
    ended = run_two(crowd, jumps, {"shifts": [(0.0, -HOUR_S)], "lease_s": LEASE_S})
    say(
        f"clocks an hour off, leases of {LEASE_S:g} s, {database}: {N_ROWS} rows, {len(crowd.script.given)} calls,"
        f" fenced 0, {max(e.seconds for e in ended):.1f} s"
    )


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_across_a_change_of_the_clock_counts_its_money_once(
    crowd: Crowd, say: Callable[[str], None], change: str
) -> None:
    at, n_nights = CHANGES[change]
    where = {"begins_at": at.timestamp() - AHEAD_S, "timezone": BERLIN, "concurrency": 4}
    run_two(crowd, where, where | {"run_id": "night-2"})
    [(first, last)] = crowd.house.fetch("SELECT min(opened_at), max(opened_at) FROM attempts")
    assert first < at.timestamp() < last
    nights = [
        scope for (scope,) in crowd.house.fetch("SELECT scope FROM spend WHERE scope LIKE 'night:%' ORDER BY scope")
    ]
    say(f"across {change}: {N_ROWS} rows, {len(crowd.script.given)} calls, booked under {', '.join(nights)}")
    assert len(nights) == n_nights


@pytest.mark.parametrize("day", ["2026-03-28", "2026-10-24"])
def test_the_night_of_a_change_is_one_from_noon_to_noon(day: str) -> None:
    noon = datetime.fromisoformat(day).replace(hour=12, tzinfo=ZoneInfo(BERLIN))
    begins, ends = noon.timestamp(), (noon + timedelta(days=1)).timestamp()
    with pytest.MonkeyPatch.context() as patch, _standing_in(BERLIN, patch):
        scopes = {night_scope(begins + s) for s in range(0, int(ends - begins), 60)}
        assert (scopes, night_scope(begins - 1) in scopes, night_scope(ends) in scopes) == (
            {f"night:{day}"},
            False,
            False,
        )


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("issued_h", [0, 1], ids=["set back after the issue", "ahead at the issue"])
def test_no_approval_is_extended(
    house: House, monkeypatch: pytest.MonkeyPatch, say: Callable[[str], None], database: str, issued_h: int
) -> None:
    read, lives_s = time.time, 0.3
    monkeypatch.setattr(time, "time", lambda: read() + issued_h * HOUR_S)
    approval = house.approve(house.offer(approval_s=lives_s))
    monkeypatch.setattr(time, "time", lambda: read() + (issued_h - 1) * HOUR_S)
    assert find_standing(house.ledger, RUN, house.sink, now=time.time()) == approval
    time.sleep(lives_s)
    assert find_standing(house.ledger, RUN, house.sink, now=time.time()) is None
    with pytest.raises(ApprovalRefused, match="expired at"):
        deliver_release(approval, ledger=house.ledger, settings=house.settings)
    assert house.fetch("SELECT * FROM outbox") == []
    say(f"clock set back by an hour, {database}: the approval of {lives_s} s is over after {lives_s} s, 0 rows out")


@contextmanager
def _standing_in(timezone: str, patch: pytest.MonkeyPatch) -> Iterator[None]:
    patch.setenv("TZ", timezone)
    time.tzset()
    yield
    patch.undo()
    time.tzset()
