"""The committed schedules, by Prefect's own reckoning: once a local day, whatever the clocks do."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from prefect.server.schemas.schedules import CronSchedule

COMMITTED = yaml.safe_load((Path(__file__).parents[2] / "prefect.yaml").read_text())
#: Where somebody may move them to: changes at 1, 2 and 3 o'clock, at midnight, by half an hour and by two.
ZONES = [
    *("Europe/Paris", "Europe/London", "America/New_York", "America/Havana", "America/Santiago", "Africa/Cairo"),
    *("Africa/Casablanca", "Australia/Lord_Howe", "Antarctica/Troll", "Asia/Kolkata", "UTC"),
]
#: Prefect gives at most a thousand times at once.
YEARS = (2026, 2027, 2028)
#: Tags of deployments whose runs wait for a person: a run that comes back is a second one beside whichever works then.
WAITING = {"nightly", "inbox"}


def _list_schedules(*, daily: bool) -> list[Any]:
    found = [
        pytest.param(s, id=f"{d['entrypoint'].rpartition('.')[2]} {s['cron']}")
        for d in COMMITTED["deployments"]
        for s in d.get("schedules", ())
        if s["cron"].split()[1].isdigit() is daily
    ]
    assert found
    return found


def _fire(cron: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    dates = asyncio.run(CronSchedule(cron=cron, timezone=zone).get_dates(start=start, end=end))
    assert len(dates) < 1000, "Prefect stopped counting"
    return [datetime.fromtimestamp(moment.timestamp(), UTC) for moment in dates]


def _count_days(cron: str, zone: str, year: int) -> Counter[date]:
    """How often it fires on each local day of a year."""
    local = ZoneInfo(zone)
    first, last = (datetime(y, 1, 1, tzinfo=local) for y in (year, year + 1))
    fired = Counter(moment.astimezone(local).date() for moment in _fire(cron, zone, first, last - timedelta(seconds=1)))
    n_days = (last.date() - first.date()).days
    return Counter({day: fired[day] for day in (first.date() + timedelta(days=n) for n in range(n_days))})


def _list_changes(zone: str) -> list[date]:
    """The local days of two years on which the clocks change."""
    local = ZoneInfo(zone)
    days = [date(2027, 1, 1) + timedelta(days=n) for n in range(730)]
    offsets = [datetime(d.year, d.month, d.day, 12, tzinfo=local).utcoffset() for d in days]
    return [day for day, before, after in zip(days[1:], offsets, offsets[1:], strict=False) if before != after]


@pytest.mark.parametrize("schedule", _list_schedules(daily=True))
def test_what_fires_daily_fires_once_each_local_day_for_three_years(schedule: dict[str, Any]) -> None:
    for year in YEARS:
        assert set(_count_days(schedule["cron"], schedule["timezone"], year).values()) == {1}, year


@pytest.mark.parametrize("zone", ZONES)
def test_moved_to_another_zone_they_fire_at_their_hours_on_the_days_of_its_changes_too(zone: str) -> None:
    local = ZoneInfo(zone)
    for schedule, day in itertools.product([p.values[0] for p in _list_schedules(daily=True)], _list_changes(zone)):
        cron: str = schedule["cron"]
        first = datetime(day.year, day.month, day.day, tzinfo=local) - timedelta(days=1)
        fired = [m.astimezone(local) for m in _fire(cron, zone, first, first + timedelta(days=3, seconds=-1))]
        assert [m.date() for m in fired] == [day + timedelta(days=n) for n in (-1, 0, 1)], (cron, day)
        assert {(m.minute, m.hour) for m in fired} == {tuple(int(part) for part in cron.split()[:2])}, (cron, day)


@pytest.mark.parametrize("day", ["2027-03-28", "2027-10-31"])
def test_a_scheduler_that_looks_again_and_again_through_a_change_of_the_clocks_finds_no_other_time(day: str) -> None:
    for schedule in (p.values[0] for p in _list_schedules(daily=True)):
        cron, zone = schedule["cron"], schedule["timezone"]
        local = ZoneInfo(zone)
        noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=local).astimezone(UTC)
        looks = (noon - timedelta(hours=36) + timedelta(hours=3 * n) for n in range(20))
        found = {moment for look in looks for moment in _fire(cron, zone, look, look + timedelta(days=2))}
        fired = Counter(moment.astimezone(local).date() for moment in found)
        assert [fired[noon.date() + timedelta(days=n)] for n in (0, 1)] == [1, 1], cron


@pytest.mark.parametrize("schedule", _list_schedules(daily=False))
def test_what_fires_more_often_leaves_no_real_hour_out(schedule: dict[str, Any]) -> None:
    for day in ("2027-03-28", "2027-10-31"):
        first = datetime.fromisoformat(f"{day}T00:00+00:00")
        fired = _fire(schedule["cron"], schedule["timezone"], first, first + timedelta(hours=24))
        gaps = {later - earlier for earlier, later in itertools.pairwise(fired)}
        assert len(gaps) == 1
        assert gaps.pop() <= timedelta(hours=1)


def test_every_schedule_says_what_becomes_of_a_second_run_and_never_cancels_one_that_comes_back_reviewed() -> None:
    for deployment in COMMITTED["deployments"]:
        if deployment.get("schedules"):
            strategy = "ENQUEUE" if WAITING & set(deployment["tags"]) else "CANCEL_NEW"
            assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": strategy}
            assert all(s["active"] is True and s["timezone"] for s in deployment["schedules"])


# What the documents warn of: with another release of Prefect, or of Python, they may have to be written anew.
@pytest.mark.parametrize(
    ("cron", "zone", "day", "fires"),
    [
        ("30 2 * * *", "Europe/Paris", "2027-03-28", ["01:30"]),
        ("30 2 * * *", "Europe/Paris", "2027-10-31", ["02:30"]),
        ("30 0 * * *", "Africa/Cairo", "2027-04-30", []),
    ],
    ids=["an hour early in spring", "once in autumn", "not at all where midnight is left out"],
)
def test_hours_that_the_clocks_leave_out_are_no_hours_for_a_schedule(
    cron: str, zone: str, day: str, fires: list[str]
) -> None:
    local = ZoneInfo(zone)
    found = _fire(cron, zone, datetime(2027, 1, 1, tzinfo=local), datetime(2027, 12, 31, tzinfo=local))
    times = [m.astimezone(local) for m in found]
    assert [f"{m:%H:%M}" for m in times if f"{m:%Y-%m-%d}" == day] == fires
