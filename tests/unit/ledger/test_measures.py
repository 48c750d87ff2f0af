from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from overnight.ledger.measures import Measures, find_measures, find_reference, list_measures, record_measures
from overnight.ledger.runs import open_pass
from tests.conftest import DATABASES, House

PLAIN = Measures("night-1", 1, "sort", "a" * 64, "{}", "{}", "[]", None, 5.0)


def begin(house: House, run_id: str, at: float, *, flow: str = "sort", kind: str = "night") -> None:
    def write(connection: sa.Connection) -> None:
        open_pass(
            connection,
            run_id=run_id,
            flow=flow,
            parameters={},
            flow_run_id=f"of-{run_id}",
            deployed=False,
            now=at,
            kind=kind,
        )
        record_measures(connection, replace(PLAIN, run_id=run_id))

    house.ledger.write(write)


def approve(house: House, run_id: str) -> None:
    house.approve(house.offer(run_id=run_id))


def find(house: House, run_id: str, since: str | None = None) -> str | None:
    with house.ledger.reading() as connection:
        found = find_reference(connection, "sort", run_id, since=since)
    return found.run_id if found else None


@pytest.mark.parametrize("database", DATABASES)
def test_measures_are_kept_by_step_and_a_later_pass_replaces_them(house: House) -> None:
    begin(house, "night-1", 1.0)
    second = replace(PLAIN, step=2, prompt_name="reply", compared_with="night-0")
    house.ledger.write(lambda c: record_measures(c, second))
    house.ledger.write(lambda c: record_measures(c, replace(PLAIN, figures='{"n": 2}')))
    with house.ledger.reading() as connection:
        assert find_measures(connection, "night-1") == {1: replace(PLAIN, figures='{"n": 2}'), 2: second}
        assert find_measures(connection, "night-9") == {}


@pytest.mark.parametrize("database", DATABASES)
def test_a_run_is_compared_with_the_last_night_before_it_that_was_approved(house: House) -> None:
    for at, run_id in enumerate(["night-1", "night-2", "night-3", "night-4"]):
        begin(house, run_id, float(at))
    assert find(house, "night-4") is None
    approve(house, "night-1")
    assert find(house, "night-4") == "night-1"
    approve(house, "night-2")
    assert (find(house, "night-4"), find(house, "night-2"), find(house, "night-1")) == ("night-2", "night-1", None)


def test_neither_a_retry_nor_another_flow_is_compared_with(house: House) -> None:
    begin(house, "night-1", 1.0, kind="retry")
    begin(house, "night-2", 2.0, flow="other")
    begin(house, "night-3", 3.0)
    approve(house, "night-1")
    approve(house, "night-2")
    assert find(house, "night-3") is None


def test_a_run_that_is_named_is_compared_with_until_a_later_one_was_approved(house: House) -> None:
    for at, run_id in enumerate(["night-1", "night-2", "night-3", "night-4"]):
        begin(house, run_id, float(at))
    approve(house, "night-1")
    assert find(house, "night-3", since="night-2") == "night-2"
    approve(house, "night-3")
    assert find(house, "night-4", since="night-2") == "night-3"


def test_the_last_nights_of_a_prompt_are_listed_oldest_first(house: House) -> None:
    for at in range(1, 5):
        begin(house, f"night-{at}", float(at))
    begin(house, "shadow", 9.0, kind="shadow")
    with house.ledger.reading() as connection:
        found = list_measures(connection, "sort", limit=3, flow="sort")
    assert [night.measures.run_id for night in found] == ["night-2", "night-3", "night-4"]
    assert (found[0].flow, found[0].state, found[0].started_at) == ("sort", "running", 2.0)
