"""How a run asks is decided by who runs it, then by the prompt; what contradicts itself is refused on one line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

import pytest

from overnight.complete.mode import find_by_at, resolve_mode
from overnight.failures import OvernightError
from overnight.records import Mode
from tests.conftest import House

BATCH, ONLINE = Mode.BATCH, Mode.ONLINE
LOCAL = "local:smollm2-135m"
OTHER = "anthropic:claude-haiku-4-5"


@pytest.mark.parametrize(
    ("said", "prompt", "model", "found"),
    [
        ((None, None), (ONLINE, None), None, (ONLINE, None)),
        ((None, None), (BATCH, None), None, (BATCH, None)),
        ((None, None), (BATCH, "06:00"), None, (BATCH, "06:00")),
        ((None, "05:00"), (BATCH, "06:00"), None, (BATCH, "05:00")),
        ((BATCH, None), (ONLINE, None), None, (BATCH, None)),
        ((BATCH, "05:00"), (ONLINE, None), OTHER, (BATCH, "05:00")),
        ((BATCH, None), (BATCH, "06:00"), OTHER, (BATCH, "06:00")),
        ((ONLINE, None), (BATCH, "06:00"), None, (ONLINE, None)),
        # A time is for those of a flow that are asked in batches.
        ((None, "05:00"), (ONLINE, None), None, (ONLINE, None)),
        ((ONLINE, "05:00"), (BATCH, "06:00"), None, (ONLINE, None)),
        # What the prompt says holds for models that have batches.
        ((None, None), (BATCH, "06:00"), LOCAL, (ONLINE, None)),
        ((None, "05:00"), (BATCH, None), LOCAL, (ONLINE, None)),
    ],
)
def test_settings_decide_then_the_prompt(
    house: House,
    said: tuple[str | None, str | None],
    prompt: tuple[str, str | None],
    model: str | None,
    found: tuple[Mode, str | None],
) -> None:
    asked = replace(house.make_prompt(), mode=prompt[0], by=prompt[1])
    given = replace(house.settings, mode=said[0], by=said[1])
    assert resolve_mode(asked, model, given) == found


@pytest.mark.parametrize(
    ("said", "mode", "model", "why"),
    [
        ((BATCH, None), ONLINE, LOCAL, "local:smollm2-135m has no batches"),
        ((BATCH, None), BATCH, LOCAL, "local:smollm2-135m has no batches"),
        ((None, None), BATCH, "gpt", "is not PROVIDER:NAME"),
    ],
)
def test_what_contradicts_itself_is_refused(
    house: House, said: tuple[str | None, str | None], mode: str, model: str | None, why: str
) -> None:
    given = replace(house.settings, mode=said[0], by=said[1])
    with pytest.raises(OvernightError) as caught:
        resolve_mode(replace(house.make_prompt(), mode=mode), model, given)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def in_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    def move(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "now", "by", "at"),
    [
        ("UTC", "2026-03-02T22:30:00+00:00", "06:00", "2026-03-03T06:00:00+00:00"),
        ("UTC", "2026-03-02T05:59:59+00:00", "06:00", "2026-03-02T06:00:00+00:00"),
        # The very minute is over.
        ("UTC", "2026-03-02T06:00:00+00:00", "06:00", "2026-03-03T06:00:00+00:00"),
        ("Asia/Kolkata", "2026-03-02T22:30:00+00:00", "06:00", "2026-03-03T06:00:00+05:30"),
        # The clock is put forward from 2 to 3 in the night of the 29th, and back from 3 to 2 in that of 25 October.
        ("Europe/Berlin", "2026-03-28T22:00:00+01:00", "06:00", "2026-03-29T06:00:00+02:00"),
        ("Europe/Berlin", "2026-03-28T22:00:00+01:00", "02:30", "2026-03-29T03:30:00+02:00"),
        ("Europe/Berlin", "2026-03-29T03:10:00+02:00", "02:30", "2026-03-29T03:30:00+02:00"),
        ("Europe/Berlin", "2026-03-29T03:40:00+02:00", "02:30", "2026-03-30T02:30:00+02:00"),
        ("Europe/Berlin", "2026-10-24T22:00:00+02:00", "06:00", "2026-10-25T06:00:00+01:00"),
        ("Europe/Berlin", "2026-10-24T22:00:00+02:00", "02:30", "2026-10-25T02:30:00+02:00"),
        ("Europe/Berlin", "2026-10-25T02:40:00+02:00", "02:30", "2026-10-25T02:30:00+01:00"),
        ("Europe/Berlin", "2026-10-25T02:40:00+01:00", "02:30", "2026-10-26T02:30:00+01:00"),
    ],
)
def test_the_time_is_the_next_that_a_clock_here_shows(
    in_zone: Callable[[str], None], zone: str, now: str, by: str, at: str
) -> None:
    in_zone(zone)
    assert find_by_at(by, datetime.fromisoformat(now).timestamp()) == datetime.fromisoformat(at).timestamp()
