"""The way out of a flow: held rows that leave later, a sink on hold, and a run whose gate is forced."""

from __future__ import annotations

import json
import time

import pytest

from overnight.approve import find_standing
from overnight.deliver import recall_release
from overnight.ledger.runs import set_state
from overnight.ledger.sinks import hold_sink, lift_hold
from overnight.records import Approval, RunState
from overnight.settings import Settings
from tests.flows.conftest import Project


def _rows_out(project: Project) -> list[str]:
    if not project.out.exists():
        return []
    return [json.loads(line)["row_id"] for line in project.out.read_text().splitlines()]


def _offer_held(project: Project, monkeypatch: pytest.MonkeyPatch) -> str:
    with monkeypatch.context() as patch:
        patch.setenv("OVERNIGHT_OFFERS_HELD", "1")
        return project.run("night-1").name


def test_held_rows_leave_later_under_a_digest_and_an_approval_of_their_own(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.run("night-1")
    project.decide("night-1", **{"2": "wrong", "3": "unsure"})
    first = project.find_release("night-1")
    s = project.run("night-1").summary
    assert (s.published, s.held) == (1, 2)

    assert _offer_held(project, monkeypatch) == "COMPLETED Waiting"
    second = project.find_release("night-1")
    assert second.digest != first.digest
    assert {i.row_id for i in second.items} == {"2", "3"}
    assert _rows_out(project) == ["1"]
    # Offering once more changes nothing: it waits already.
    assert _offer_held(project, monkeypatch) == "COMPLETED Waiting"
    assert project.find_release("night-1") == second

    project.decide("night-1", **{"2": "wrong"})
    s = project.run("night-1").summary
    assert (s.state, s.published, s.held, s.accepted) == ("released", 2, 1, 3)
    # A file holds its run's release whole: those that left first among them.
    assert _rows_out(project) == ["1", "3"]
    ledger, settings = project.ledger, Settings.from_env()
    recall_release(second.release_id, by="Ada", reason="no", ledger=ledger, settings=settings)
    assert _rows_out(project) == ["1"]


def test_held_rows_that_are_rejected_take_nothing_back(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.run("night-1")
    project.decide("night-1", **{"2": "wrong"})
    project.run("night-1")
    _offer_held(project, monkeypatch)
    project.decide("night-1", "reject")
    s = project.run("night-1").summary
    assert (s.state, s.published, s.held) == ("released", 2, 1)
    assert _rows_out(project) == ["1", "3"]


def test_where_nothing_is_held_nothing_is_offered(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.run("night-1")
    project.decide("night-1")
    project.run("night-1")
    assert _offer_held(project, monkeypatch) == "FAILED Halted"
    assert _rows_out(project) == ["1", "2", "3"]


def test_a_sink_on_hold_halts_the_run_and_keeps_its_approval(project: Project) -> None:
    project.run("night-1")
    project.decide("night-1")
    sink = f"file:{project.out}"
    project.ledger.write(lambda c: hold_sink(c, sink, by="Ada", reason="wrong tone", now=time.time()))
    ended = project.run("night-1")
    assert ended.name == "FAILED Halted"
    assert "on hold by Ada" in str(ended.state.message)
    assert _rows_out(project) == []
    project.ledger.write(lambda c: lift_hold(c, sink, by="Ada", reason="", now=time.time()))
    assert project.run("night-1").summary.published == 3
    assert _rows_out(project) == ["1", "2", "3"]


def test_a_run_that_is_called_released_has_released_nothing(project: Project) -> None:
    project.run("night-1")
    project.ledger.write(lambda c: set_state(c, "night-1", RunState.RELEASED))
    assert find_standing(project.ledger, "night-1", f"file:{project.out}", now=time.time()) is None
    assert project.run("night-1").name == "COMPLETED Waiting"
    assert _rows_out(project) == []


def test_a_run_that_is_resumed_twice_delivers_once(project: Project) -> None:
    project.run("night-1")
    assert isinstance(project.decide("night-1"), Approval)
    first, again = project.run("night-1"), project.run("night-1")
    assert first.summary.published == again.summary.published == 3
    assert len(_rows_out(project)) == 3
