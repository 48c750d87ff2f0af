"""Many processes publish one approval at once: one of them does, the others are refused by name, no row goes twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.conftest import House
from tests.trials.conftest import IS_LONG, pick
from tests.trials.publisher import Ended, Press
from tests.trials.targets import Target

N_ROWS = pick(short=6, long=500)
N_PUBLISHERS = 16
ROWS = sorted(f"r{n}" for n in range(1, N_ROWS + 1))
ALL_OUT = dict.fromkeys(ROWS, "delivered")
CASES = [
    ("sqlite", "http"),
    ("sqlite", "sqlite"),
    ("postgres", "http"),
    ("postgres", "postgres"),
    *((database, kind) for database in ("sqlite", "postgres") for kind in (("mail", "file") if IS_LONG else ())),
]


def count_whys(ended: list[Ended], release_id: str) -> Counter[str]:
    """How many delivered, or were refused for which reason, in short."""
    used = f"The approval of release {release_id} has been used already."
    by_another = f"Release {release_id} is being delivered by another process now."
    short = {used: "used already", by_another: "by another"}
    return Counter(next((short[s] for s in short if e.why.startswith(s)), e.why or "delivered") for e in ended)


@pytest.mark.parametrize(("database", "kind"), CASES)
def test_of_16_publishers_of_a_live_approval_one_delivers_and_15_are_refused_by_name(
    house: House, target: Target, press: Press, say: Callable[[str], None]
) -> None:
    release = house.offer(N_ROWS, sink=target.sink)
    house.approve(release)
    ended = press.publish_at_once(house, target.sink, N_PUBLISHERS)
    found = count_whys(ended, release.release_id)
    say(f"{target.sink.partition(':')[0]}: {N_PUBLISHERS} publishers at once, {N_ROWS} rows: {dict(found)}")
    assert {(e.code, e.found) for e in ended} == {(0, "approved")}
    assert found == {"delivered": 1, "used already": N_PUBLISHERS - 1}
    assert [e.states for e in ended if not e.why] == [ALL_OUT]
    assert target.list_rows() == ROWS
    target.check()
    assert target.count_repeats() == 0
    assert house.fetch("SELECT state, n_sends, count(*) FROM outbox GROUP BY state, n_sends") == [
        ("delivered", 1, N_ROWS)
    ]


@pytest.mark.parametrize(("database", "kind"), CASES if IS_LONG else CASES[:4:3])
def test_several_that_drain_a_used_approval_at_once_send_each_row_once(
    house: House, target: Target, press: Press, say: Callable[[str], None]
) -> None:
    release = house.offer(N_ROWS, sink=target.sink)
    house.approve(release)
    assert press.publish(house, target.sink, failpoint="after-consume").code == -9
    ended = press.publish_at_once(house, target.sink, N_PUBLISHERS // 2)
    found = count_whys(ended, release.release_id)
    say(f"{target.sink.partition(':')[0]}: {N_PUBLISHERS // 2} drain at once, {N_ROWS} rows: {dict(found)}")
    assert {(e.code, e.found) for e in ended} == {(0, "consumed")}
    # Whoever ends while another has a row in hand is refused; the last one has all receipts.
    assert found["delivered"] >= 1
    assert found.keys() <= {"delivered", "by another"}
    assert target.list_rows() == ROWS
    target.check()
    assert target.count_repeats() == 0
    assert house.fetch("SELECT DISTINCT state FROM outbox") == [("delivered",)]
