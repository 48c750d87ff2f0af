"""A purge beside a night that is about to offer a release; on SQLite and on Postgres."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from overnight.failures import RunHalted
from overnight.ledger import Ledger
from overnight.records import Release
from tests.conftest import House
from tests.unit.ledger.nights import Nights

TEXTS = ["a red car of now", "a blue car of now"]
LOST = "release_rows r JOIN bodies b ON b.digest = r.payload WHERE length(b.data) = 0"


class Interrupted(Ledger):
    """A ledger that lets something else happen after each of its transactions."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.then: Callable[[], object] = lambda: None

    def write(self, job: Callable[[sa.Connection], Any]) -> Any:
        done = super().write(job)
        self.then()
        return done


@pytest.fixture
def interrupted(nights: Nights) -> Iterator[Interrupted]:
    with closing(Interrupted(nights.house.ledger.url)) as ledger:
        yield ledger


def _offer(nights: Nights, ledger: Ledger) -> Release:
    house: House = replace(nights.house, ledger=ledger)
    return house.offer_checked([nights.ask(TEXTS)], nights.prompt)


def test_a_release_that_a_purge_comes_before_has_all_of_its_bytes(nights: Nights, interrupted: Interrupted) -> None:
    dropped: list[int] = []

    def purge() -> None:
        # Until it has met payloads that no release names yet.
        if not any(dropped):
            dropped.append(nights.purge().counts["bodies"])

    interrupted.then = purge
    release = _offer(nights, interrupted)
    assert dropped[-1] == len(TEXTS)
    assert nights.count(LOST) == 0
    nights.deliver(release)
    assert len(nights.house.out.read_text().splitlines()) == len(TEXTS)


def test_a_release_whose_bytes_are_dropped_each_time_is_not_recorded(nights: Nights, interrupted: Interrupted) -> None:
    interrupted.then = nights.purge
    with pytest.raises(RunHalted, match=r"^The release of run night-1 is not recorded: 5 times a purge .*$"):
        _offer(nights, interrupted)
    assert nights.count("releases") == nights.count("release_rows") == 0
    interrupted.then = lambda: None
    _offer(nights, interrupted)
    assert (nights.count("releases"), nights.count(LOST)) == (1, 0)


def test_a_release_that_is_offered_again_has_its_bytes_again(nights: Nights, interrupted: Interrupted) -> None:
    release = _offer(nights, interrupted)
    n_left = 2

    def lose() -> None:
        nonlocal n_left
        if n_left:
            n_left -= 1
            nights.house.tamper("UPDATE bodies SET data = '' WHERE digest IN (SELECT payload FROM release_rows)")

    interrupted.then = lose
    assert _offer(nights, interrupted).release_id == release.release_id
    assert (n_left, nights.count(LOST)) == (0, 0)
