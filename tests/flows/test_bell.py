"""The second bell on a real server of Prefect's: people are told although no code of a run tells them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.states import Crashed, Failed, State, Suspended

from overnight.cli.bell import NAME, TAG, put_bell
from overnight.failures import OvernightError
from overnight.nights import WITH_PROVIDER
from tests.fakes.people import People


@flow
def nothing() -> None:
    """A flow whose runs are only made and moved about."""


@pytest.fixture
def people(server: None) -> Iterator[People]:
    with People() as people:
        yield people
    put_bell([])


def _count_bells() -> int:
    with get_client(sync_client=True) as client:
        return len(client.read_automations_by_name(NAME))


def _move_run(name: str, state: State[None], *tags: str) -> None:
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(nothing, name=name, tags=tags)
        client.set_flow_run_state(run.id, state, force=True)


def test_people_are_told_of_nightly_runs_that_wait_fail_or_crash(people: People) -> None:
    put_bell([people.url])
    _move_run("other", Failed(message="of another project"))
    _move_run("batched", Suspended(message=f"{WITH_PROVIDER}4 requests in 1 provider batch."), TAG)
    _move_run("one", Suspended(timeout_seconds=60), TAG)
    _move_run("two", Failed(name="Halted", message="words of a row"), TAG)
    _move_run("three", Crashed(message="words of a row"), TAG)
    people.wait_for(3)
    assert sorted(people.titles) == ["one is Suspended", "three is Crashed", "two is Halted"]
    assert "words of a row" not in str(people.notices)


def test_it_is_put_in_place_once_and_taken_away_where_nobody_is_to_be_told(people: People) -> None:
    with People() as others:
        put_bell([people.url])
        put_bell([people.url, others.url])
        assert _count_bells() == 1
        _move_run("one", Suspended(timeout_seconds=60), TAG)
        people.wait_for(1)
        others.wait_for(1)
    for _ in range(2):
        put_bell([])
    assert _count_bells() == 0


def test_a_malformed_address_is_not_put_in_place(people: People) -> None:
    with pytest.raises(OvernightError, match="The address 1 of OVERNIGHT_NOTIFY"):
        put_bell(["slack://tok-en/secret"])
    assert _count_bells() == 0
