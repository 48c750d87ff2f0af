"""Runs take requests in order of arrival, each one run's; what a run leaves behind is the next one's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from overnight.complete import read_source
from overnight.failures import ApprovalRefused, InputRefused, RunHalted
from overnight.inbox import drain
from overnight.inbox.drain import get_worker, pin_requests, take_up
from overnight.inbox.fence import find_lost
from overnight.ledger.leases import release as end_lease
from overnight.ledger.manifests import find_batches, find_latest_batches
from overnight.records import Batch, RowState, RunState
from tests.conftest import DATABASES
from tests.unit.inbox.conftest import SOURCE, Desk

ON_EACH = pytest.mark.parametrize("database", DATABASES)


def _end_process(desk: Desk) -> None:
    """What is seen of a process that was killed, by others on its machine: its lease is over."""
    worker = get_worker(desk.house.ledger, 60.0)
    desk.house.ledger.write(lambda c: end_lease(c, worker))


def _take_and_not_pin(desk: Desk, run_id: str) -> Desk:
    """Another process, broken off after it has taken what waits for the run."""
    other = desk.open_other()
    other.house.begin(run_id)
    taking = drain._Taking(SOURCE, run_id, other.house.ledger, get_worker(other.house.ledger, 60.0))  # noqa: SLF001 - broken off
    assert list(taking.stream(9))
    return other


@ON_EACH
def test_a_run_pins_what_waits_in_order_of_arrival_and_the_next_run_only_what_came_since(desk: Desk) -> None:
    desk.send("r3", "r1", "r2")
    first = desk.take("run-1")
    desk.send("r3", "r4")
    second = desk.take("run-2")
    assert (desk.rows(first), desk.rows(second)) == (["r3", "r1", "r2"], ["r4"])
    assert desk.take("run-3") == []
    assert desk.house.fetch("SELECT row_id, run_id, epoch FROM inbox ORDER BY inbox_id") == [
        *(("r3", "run-1", 1), ("r1", "run-1", 1), ("r2", "run-1", 1)),
        ("r4", "run-2", 1),
    ]


def test_a_limit_leaves_the_later_ones(desk: Desk) -> None:
    desk.send("r1", "r2", "r3")
    assert desk.rows(desk.take("run-1", limit=2)) == ["r1", "r2"]
    assert desk.states() == {"r1": "taken", "r2": "taken", "r3": "queued"}


@ON_EACH
def test_another_version_of_a_row_waits_for_the_next_run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "_N_AT_ONCE", 2)
    keys = desk.send(("r1", "first"), ("r1", "second"), ("r2", "x"), ("r1", "third"))
    first, second = desk.take("run-1"), desk.take("run-2")
    assert (desk.rows(first), desk.rows(second)) == (["r1", "r2"], ["r1"])
    assert not [b.n_quarantined for b in (*first, *second) if b.n_quarantined]
    assert [desk.find(key).run_id for key in keys] == ["run-1", "run-2", "run-1", None]


@ON_EACH
def test_what_a_process_had_taken_and_not_pinned_is_the_next_ones_once_it_is_gone(desk: Desk) -> None:
    desk.send("r1", "r2")
    killed = _take_and_not_pin(desk, "run-1")
    assert desk.take_all("run-2") == []  # it is alive
    _end_process(killed)
    assert desk.rows(desk.take_all("run-2")) == ["r1", "r2"]


@ON_EACH
def test_a_run_that_was_killed_before_it_pinned_and_is_put_back_takes_its_requests_again(desk: Desk) -> None:
    desk.send("r1", "r2")
    _end_process(_take_and_not_pin(desk, "run-1"))
    desk.send("r3")
    batches = desk.take("run-1")
    assert desk.rows(batches) == ["r1", "r2", "r3"]
    desk.publish(desk.offer("run-1", batches))
    assert set(desk.states().values()) == {"answered"}


@ON_EACH
def test_a_run_that_is_put_back_answers_the_version_of_a_row_that_it_read(desk: Desk) -> None:
    [first] = desk.send(("r1", "first words"))
    _end_process(_take_and_not_pin(desk, "run-1"))
    [second] = desk.send(("r1", "other words"))
    desk.publish(desk.offer("run-1", desk.take("run-1")))
    assert (desk.find(first).state, desk.find(second).state) == ("answered", "queued")


@ON_EACH
def test_a_process_whose_run_was_put_back_beside_it_pins_nothing(desk: Desk) -> None:
    desk.send("r1", "r2")
    slow, meanwhile = desk.open_other(), list[list[Batch]]()

    def stand_still(name: str) -> None:
        if name == "before-pinned":
            patch.undo()
            meanwhile.append(desk.take("run-1"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drain, "reach", stand_still)
        with pytest.raises(RunHalted):
            slow.take("run-1")
    assert desk.rows(meanwhile[0]) == ["r1", "r2"]
    assert desk.states() == {"r1": "taken", "r2": "taken"}


@ON_EACH
@pytest.mark.parametrize("is_offered", [True, False])
def test_what_a_run_has_and_never_pinned_is_the_next_ones_when_it_is_settled(desk: Desk, is_offered: bool) -> None:
    desk.send("r1")
    if is_offered:
        desk.offer("run-1", desk.take("run-1"))
        desk.send("r2")
    _take_and_not_pin(desk, "run-1")
    desk.end("run-1", RunState.RELEASED)
    desk.settle("run-1")
    assert desk.states() == ({"r1": "taken", "r2": "queued"} if is_offered else {"r1": "queued"})


@ON_EACH
def test_who_stood_still_for_longer_than_the_lease_pins_nothing_and_gives_the_rest_back(desk: Desk) -> None:
    desk.send("r1", "r2")
    slow, meanwhile = desk.open_other(), list[list[Batch]]()

    def stand_still(name: str) -> None:
        if name == "before-pinned":
            patch.undo()
            _end_process(slow)
            assert desk.has_waiting()
            meanwhile.append(desk.take("run-2", limit=1))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drain, "reach", stand_still)
        with pytest.raises(RunHalted, match="2 of the 2 requests") as halted:
            slow.take("run-1")
    assert "\n" not in str(halted.value)
    assert desk.rows(meanwhile[0]) == ["r1"]
    with desk.house.ledger.reading() as connection:
        assert find_batches(connection, "run-1", Batch) == []
    assert desk.states() == {"r1": "taken", "r2": "queued"}


def test_two_processes_of_one_run_do_not_both_pin(desk: Desk) -> None:
    desk.send("r1")
    desk.take("run-1")
    desk.send("r2")
    with pytest.raises(RunHalted):
        desk.open_other().take("run-1")
    assert desk.states() == {"r1": "taken", "r2": "queued"}


def test_requests_to_another_prompt_are_refused_and_stay(desk: Desk) -> None:
    desk.send("r1")
    desk.house.begin("run-1")
    other = dataclasses.replace(desk.house.make_prompt(), name="other")
    with pytest.raises(InputRefused, match="inbox:other"):
        pin_requests(SOURCE, other, "run-1", ledger=desk.house.ledger, place=desk.house.home, lease_s=60.0)
    assert desk.states() == {"r1": "queued"}


def test_a_column_that_the_prompt_declares_since_is_a_missing_value(desk: Desk) -> None:
    desk.send("r1")
    desk.house.begin("run-1")
    wider = dataclasses.replace(desk.house.make_prompt(), inputs=("body", "subject"))
    [batch] = pin_requests(SOURCE, wider, "run-1", ledger=desk.house.ledger, place=desk.house.home, lease_s=60.0)
    assert (batch.n_rows, batch.n_quarantined) == (1, 1)


@ON_EACH
@pytest.mark.parametrize(
    "end",
    [lambda desk: desk.end("run-1", RunState.HALTED), lambda desk: desk.end("run-1", RunState.HELD), _end_process],
)
def test_a_run_that_ended_without_an_offer_loses_its_requests_to_the_next_and_offers_them_no_more(
    desk: Desk, end: Callable[[Desk], None]
) -> None:
    desk.send("r1", "r2")
    old = desk.open_other()
    batches = old.take("run-1")
    assert desk.take_all("run-2") == []
    end(old)
    assert desk.rows(desk.take("run-2", limit=1) if desk.has_waiting() else []) == ["r1"]
    lost = find_lost("run-1", ledger=desk.house.ledger, place=desk.house.home)
    assert lost == {"r1": "run-2", "r2": "the next run"}
    with pytest.raises(ApprovalRefused, match="2 rows of run run-1, the first r1, were taken over"):
        old.offer("run-1", batches)
    assert desk.house.fetch("SELECT count(*) FROM releases") == [(0,)]


@ON_EACH
def test_a_run_that_has_offered_keeps_its_requests_whatever_becomes_of_its_process(desk: Desk) -> None:
    desk.send("r1", "r2")
    old = desk.open_other()
    old.offer("run-1", old.take("run-1"))
    _end_process(old)
    desk.end("run-1", RunState.HALTED)
    assert not desk.has_waiting()
    assert find_lost("run-1", ledger=desk.house.ledger, place=desk.house.home) == {}


def test_a_run_that_is_continued_in_another_process_keeps_its_requests(desk: Desk) -> None:
    desk.send("r1")
    old = desk.open_other()
    old.take("run-1")
    _end_process(old)
    take_up("run-1", ledger=desk.house.ledger, lease_s=60.0)
    assert not desk.has_waiting()


def test_what_nobody_answered_waits_again_once_the_run_has_offered_the_others(desk: Desk) -> None:
    desk.send("r1", "r2")
    release = desk.offer("run-1", desk.take("run-1"), r2=RowState.PENDING)
    second = desk.take_all("run-2")
    assert desk.rows(second) == ["r2"]
    desk.publish(release)
    desk.publish(desk.offer("run-2", second))
    assert desk.states() == {"r1": "answered", "r2": "answered"}


def test_a_plan_sees_what_a_run_would_take_and_takes_nothing(desk: Desk) -> None:
    desk.send("r1", "r2", ("r1", "another version"))
    house = desk.house

    def plan() -> list[str]:
        settings = dataclasses.replace(house.settings, limit=2)
        found = read_source("inbox:sort", house.make_prompt(), ledger=house.ledger, settings=settings, place=house.home)
        return desk.rows(list(found))

    assert plan() == ["r1", "r2"]
    assert set(desk.states().values()) == {"queued"}
    desk.take("run-1")
    assert plan() == ["r1"]  # its other version
    desk.end("run-1", RunState.HALTED)
    assert plan() == ["r1", "r2"]
    assert house.fetch("SELECT DISTINCT run_id FROM inbox WHERE state = 'taken'") == [("run-1",)]


def test_a_plan_of_an_empty_inbox_says_so(desk: Desk) -> None:
    house = desk.house
    with pytest.raises(InputRefused, match="Nothing waits in inbox:sort"):
        list(
            read_source(
                "inbox:sort", house.make_prompt(), ledger=house.ledger, settings=house.settings, place=house.home
            )
        )


@ON_EACH
def test_a_run_whose_part_cannot_be_read_is_said_and_keeps_nobody_else_from_being_served(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.send("r1", "r2")
    desk.offer("run-1", desk.take("run-1"), r2=RowState.PENDING)
    with desk.house.ledger.reading() as connection:
        [part] = {batch.part for _, batch in find_latest_batches(connection, "run-1").items()}
    path, away = desk.house.home / part.path, desk.house.home / "away"
    path.rename(away)
    desk.send("r3")
    assert desk.rows(desk.take_all("run-2")) == ["r3"]
    assert "requests of run run-1 could not be settled yet" in caplog.text
    away.rename(path)
    assert desk.rows(desk.take_all("run-3")) == ["r2"]


def test_a_run_whose_rows_are_with_a_provider_keeps_its_requests_although_nobody_works_on_it(desk: Desk) -> None:
    desk.send("r1", "r2")
    old = desk.open_other()
    old.take("run-1")
    old.end("run-1", RunState.BATCHED)
    _end_process(old)
    assert not desk.has_waiting()
    desk.end("run-1", RunState.HALTED)
    assert desk.has_waiting()
