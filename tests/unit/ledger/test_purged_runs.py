from __future__ import annotations

from functools import partial

import pytest

from overnight.failures import PartMissing, PartPurged, PartRefused
from overnight.ledger.purged_runs import find_purge, naming_purge
from overnight.ledger.purges import open_purge
from overnight.ledger.runs import set_state
from overnight.records import RunState
from tests.conftest import DATABASES, RUN, House

on_each = pytest.mark.parametrize("database", DATABASES)


@pytest.fixture
def old(house: House) -> House:
    """A run that began at 1 and has ended."""
    house.begin()
    house.ledger.write(lambda c: set_state(c, RUN, RunState.HELD))
    return house


def _find(house: House) -> tuple[str, str] | None:
    found = house.ledger.read(lambda c: find_purge(c, RUN))
    return (found.by, found.day) if found else None


@on_each
def test_the_first_purge_that_did_not_leave_the_run_whole_is_named(old: House) -> None:
    for before, by in ((0.5, "too early"), (2.0, "Ada"), (3.0, "Bo")):
        old.ledger.write(partial(open_purge, before=before, by=by, now=86_400.0))
    assert _find(old) == ("Ada", "1970-01-02 00:00 UTC")


@on_each
@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.WAITING])
def test_a_run_that_was_left_whole_was_purged_by_none(old: House, state: RunState) -> None:
    old.ledger.write(lambda c: set_state(c, RUN, state))
    old.ledger.write(lambda c: open_purge(c, 2.0, "Ada", 3.0))
    assert _find(old) is None


def test_a_run_that_was_continued_since_was_purged_by_none(old: House) -> None:
    old.ledger.write(lambda c: open_purge(c, 2.0, "Ada", 3.0))
    old.begin(now=9.0)
    old.ledger.write(lambda c: set_state(c, RUN, RunState.HELD))
    assert _find(old) is None


def _read(house: House, fault: PartRefused) -> None:
    with house.ledger.reading() as connection, naming_purge(connection, RUN):
        raise fault


def test_only_a_part_that_is_missing_is_said_to_be_purged(old: House) -> None:
    with pytest.raises(PartMissing, match="gone"):
        _read(old, PartMissing("gone"))
    old.ledger.write(lambda c: open_purge(c, 2.0, "Ada", 3.0))
    with pytest.raises(PartPurged, match="The rows of run night-1 were dropped by the purge of 1970-01-01 00:00 UTC"):
        _read(old, PartMissing("gone"))
    with pytest.raises(PartRefused, match="altered"):
        _read(old, PartRefused("altered"))
