"""A run that stops is known to stop by all who look, until a new pass begins."""

from __future__ import annotations

import pytest

from overnight.failures import CallFailed
from overnight.ledger import Ledger
from overnight.ledger.halts import clear_halt, find_halts, record_halt
from overnight.taxonomy import FailureClass
from tests.conftest import DATABASES, RUN, House

NO_KEY = CallFailed(FailureClass.AUTH, "Incorrect API key. Check the key.")
STOPPED = CallFailed(FailureClass.STOPPED, "It was stopped by hand.")


def _find(ledger: Ledger) -> dict[tuple[str, int], tuple[str, str]]:
    found = ledger.read(lambda c: find_halts(c, [RUN, "night-2"]))
    return {of: (str(failure.failure_class), str(failure)) for of, failure in found.items()}


@pytest.mark.parametrize("database", DATABASES)
def test_the_first_reason_stays_until_it_is_cleared(house: House, database: str) -> None:
    house.begin()
    house.begin("night-2")
    house.ledger.write(lambda c: record_halt(c, RUN, 1, NO_KEY, 1.0))
    house.ledger.write(lambda c: record_halt(c, RUN, 1, STOPPED, 2.0))
    assert _find(house.ledger) == {(RUN, 1): ("auth", "Incorrect API key. Check the key.")}
    house.ledger.write(lambda c: clear_halt(c, RUN, 1))
    assert _find(house.ledger) == {}
    house.ledger.write(lambda c: record_halt(c, RUN, 1, STOPPED, 3.0))
    assert _find(house.ledger) == {(RUN, 1): ("stopped", "It was stopped by hand.")}


def test_a_run_that_was_never_begun_has_nobody_to_tell(house: House) -> None:
    house.ledger.write(lambda c: record_halt(c, RUN, 1, NO_KEY, 1.0))
    assert _find(house.ledger) == {}


@pytest.mark.parametrize("database", DATABASES)
def test_each_pass_of_a_run_has_a_reason_of_its_own(house: House, database: str) -> None:
    house.begin()
    house.ledger.write(lambda c: record_halt(c, RUN, 2, STOPPED, 1.0))
    house.ledger.write(lambda c: record_halt(c, RUN, 1, NO_KEY, 2.0))
    found = house.ledger.read(lambda c: find_halts(c, [RUN]))
    assert [(of, str(failure)) for of, failure in found.items()] == [
        ((RUN, 1), "Incorrect API key. Check the key."),
        ((RUN, 2), "It was stopped by hand."),
    ]
    house.ledger.write(lambda c: clear_halt(c, RUN, 2))
    assert list(_find(house.ledger)) == [(RUN, 1)]
