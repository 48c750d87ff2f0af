"""Processes that are given the same rows at the same time ask each of them once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import DATABASES
from tests.fakes.provider import Scripted
from tests.trials.conftest import pick
from tests.trials.crowd import Crowd

N_PROCESSES = pick(short=2, long=4)
N_ROWS = pick(short=100, long=10_000)
#: Long enough for the others to want a row that is being asked.
SLOW = Scripted(delay_s=pick(short=0.05, long=0.02))


@pytest.mark.parametrize("database", DATABASES)
def test_each_row_is_asked_once(crowd: Crowd, say: Callable[[str], None], database: str) -> None:
    crowd.script.decide = lambda *_: SLOW
    ended = crowd.finish(N_ROWS, [crowd.start(N_ROWS) for _ in range(N_PROCESSES)])
    say(
        f"{N_PROCESSES} processes with the same {N_ROWS} rows, {database}: {len(crowd.script.given)} calls,"
        f" {' + '.join(str(e.n_calls) for e in ended)}, {max(e.seconds for e in ended):.1f} s"
    )
    crowd.check_asked_once(N_ROWS)
    # They worked together, and not one after the other.
    assert all(e.n_calls > 0 for e in ended)
    assert sum(e.n_calls for e in ended) == N_ROWS
