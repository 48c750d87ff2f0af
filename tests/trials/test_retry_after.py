"""What a provider asks to wait is waited, up to two minutes; for longer the row is left for a later pass."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from tests.fakes.provider import Scripted
from tests.trials.conftest import pick
from tests.trials.night import Night
from tests.trials.scripts import GOOD, Script

WAIT_S = pick(short=1, long=100)
HOUR_S = 3600
#: First wait of the ordinary backoff.
BASE_S = 0.01


def test_retry_after_is_obeyed_where_it_is_sense_and_short(
    open_night: Callable[..., Night], script: Script, say: Callable[[str], None]
) -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(seconds=HOUR_S), usegmt=True)
    asked = {"r1": str(HOUR_S), "r2": in_an_hour, "r3": "when the moon is full", "r4": "-5", "r5": str(WAIT_S)}

    def refuse_once(_: int, row: str) -> Scripted:
        is_first = not script.times_of(row)
        return Scripted(status=429, headers={"retry-after": asked[row]}) if is_first and row in asked else GOOD

    script.decide = refuse_once
    night = open_night(["some words"] * 50, retry_base_s=BASE_S)
    ended = night.work()

    waited_s = {row: times[1] - times[0] for row in asked if len(times := script.times_of(row)) > 1}
    said = ", ".join(f"{asked[row]}: {seconds:.2f} s" for row, seconds in waited_s.items())
    say(f"retry-after: {said}; an hour, and a date an hour ahead: left pending, passes {ended.n_passes}")
    # All four passes are over, and neither was sent a second time.
    assert ended.n_passes == 4
    assert {row: len(script.times_of(row)) for row in asked} == {"r1": 1, "r2": 1, "r3": 2, "r4": 2, "r5": 2}
    pending = {row["row_id"]: row["failure_class"] for row in night.read_rows(ended) if row["state"] == "pending"}
    assert pending == {"r1": "rate_limit", "r2": "rate_limit"}
    assert ended.states == (48, 0, 2)
    assert all(BASE_S <= waited_s[row] < BASE_S + 5.0 for row in ("r3", "r4"))
    assert WAIT_S <= waited_s["r5"] < WAIT_S + 5.0

    # As if the calls had been made an hour earlier: the one is due, the other's date is still ahead.
    night.house.tamper("UPDATE attempts SET closed_at = closed_at - :s WHERE outcome = 'failed'", s=HOUR_S + 1)
    with night.continued(retry_base_s=0.0) as again:
        assert again.work().states == (49, 0, 1)
    assert {row: len(script.times_of(row)) for row in ("r1", "r2")} == {"r1": 2, "r2": 1}
    assert set(script.count_good().values()) == {1}
