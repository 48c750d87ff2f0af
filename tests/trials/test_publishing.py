"""Killed while it publishes, and taken up by another process: once in an idempotent sink, at most one row in doubt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from overnight.deliver import settle_unknown
from tests.conftest import House
from tests.trials.conftest import IS_LONG, pick
from tests.trials.publisher import Press
from tests.trials.targets import Target

N_ROWS = pick(short=6, long=200)
#: Rows that one process has in hand at a mail server.
N_IN_HAND = 1
POINTS = ["after-consume", "before-deliver", "after-deliver", "after-settled"]
#: Where a row is handed over alone, a process comes by the last three once a row.
BY_ROW = [*POINTS, *(f"{point}:{n}" for point in POINTS[1:] for n in pick(short=[3], long=[3, N_ROWS]))]
OPEN = ("promised", "sending", "unknown")


def list_open(house: House) -> list[str]:
    """The rows of the outbox that are not settled for good, as STATE ROW."""
    return [f"{state} {row}" for row, state in house.fetch("SELECT row_id, state FROM outbox") if state in OPEN]


ROWS = sorted(f"r{n}" for n in range(1, N_ROWS + 1))
KILLED = [
    *(("sqlite", "http", point) for point in BY_ROW),
    *(("sqlite", kind, point) for kind in ("file", "sqlite", "postgres") for point in POINTS),
    *(("postgres", kind, "after-deliver") for kind in ("http", "file", "sqlite", "postgres")),
    *(("postgres", kind, point) for kind in ("http", "postgres") for point in (BY_ROW if IS_LONG else [])),
]


@pytest.mark.parametrize(("database", "kind", "point"), KILLED)
def test_an_idempotent_sink_holds_each_row_once_after_a_kill(
    point: str, house: House, target: Target, press: Press, say: Callable[[str], None]
) -> None:
    house.approve(house.offer(N_ROWS, sink=target.sink))
    assert press.publish(house, target.sink, failpoint=point).code == -9
    n_open = len(list_open(house))
    ended = press.publish(house, target.sink)
    n_after = len(target.list_rows())
    say(f"{target.sink.partition(':')[0]}: killed {point}, {n_open} of {N_ROWS} rows open: {n_after} rows in the end")
    assert (ended.code, ended.found, ended.why) == (0, "consumed", "")
    assert ended.states == dict.fromkeys(ROWS, "delivered")
    assert target.list_rows() == ROWS
    # What had arrived and was not recorded comes once more, and nothing else.
    assert target.count_repeats() == (target.sink.startswith("http") and point.startswith("after-deliver"))
    target.check()
    assert list_open(house) == []


BY_MAIL = [*(("sqlite", point) for point in BY_ROW), ("postgres", "after-deliver:3")]


@pytest.mark.parametrize("kind", ["mail"])
@pytest.mark.parametrize(("database", "point"), BY_MAIL)
def test_a_mail_in_doubt_after_a_kill_is_sent_again_only_when_a_person_says_so(
    point: str, house: House, target: Target, press: Press, say: Callable[[str], None]
) -> None:
    release = house.offer(N_ROWS, sink=target.sink)
    house.approve(release)
    assert press.publish(house, target.sink, failpoint=point).code == -9
    ended = press.publish(house, target.sink)
    sent, unknown = target.list_rows(), [row for row, state in ended.states.items() if state == "unknown"]
    say(f"mail: killed {point}: {len(sent)} of {N_ROWS} sent once, {len(unknown)} unknown")
    assert (ended.code, ended.found, ended.why) == (0, "consumed", "")
    assert set(Counter(sent).values()) == {1}
    # Between a row's hand-over and its record alone is it in doubt.
    assert len(unknown) == (N_IN_HAND if point.startswith(("before-deliver", "after-deliver")) else 0)
    assert set(ROWS) - set(sent) <= set(unknown)

    again = press.publish(house, target.sink)
    assert (target.list_rows(), again.states) == (sent, ended.states)
    for row in unknown:
        arrived = row in sent
        settle_unknown(release.release_id, [row], arrived=arrived, by="Ada", reason="looked", ledger=house.ledger)
    assert press.publish(house, target.sink).states == dict.fromkeys(ROWS, "delivered")
    assert target.list_rows() == ROWS
    assert list_open(house) == []
