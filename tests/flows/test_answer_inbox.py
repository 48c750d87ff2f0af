"""Requests from outside through their own flow: taken, reviewed, answered; and nothing where nothing waits."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from flows.answer_inbox import answer_inbox
from overnight.cli.plan import as_object
from overnight.failures import PartRefused
from overnight.inbox import Submitted, find, look, settle, submit
from overnight.ledger.inbox import InboxRequest
from overnight.prompts import load_prompt
from overnight.records import InboxState
from overnight.settings import Settings
from tasks.plan import plan_flow
from tests.fakes.provider import Scripted, answer_by_schema
from tests.flows.conftest import Ended, Project

TICKETS = {
    "T-1": "My parcel is lost and I am furious so call me now",
    "T-2": "This is urgent since I forgot my password today",
    "T-3": "You charged me twice and I need that back at once",
}


def _send(project: Project, ticket_id: str) -> Submitted:
    row = {"ticket_id": ticket_id, "body": TICKETS[ticket_id]}
    return submit(row, load_prompt("triage_ticket"), ledger=project.ledger, sent_by="Ada", now=time.time())


def _run(project: Project, run_id: str, **parameters: Any) -> Ended:
    return project.call(run_id, answer_inbox, model="openai:gpt-fake", **parameters)


def _look(project: Project, sent: Submitted) -> InboxRequest:
    found = look(sent.inbox_key, ledger=project.ledger)
    assert found is not None
    return found


def test_an_answer_is_there_after_the_gate_and_the_same_request_is_never_paid_for_again(project: Project) -> None:
    sent = [_send(project, ticket) for ticket in TICKETS]
    planned = as_object("answer_inbox", plan_flow(answer_inbox, {"model": "openai:gpt-fake"}, Settings.from_env()))
    assert (planned["rows"], _look(project, sent[0]).state) == (3, InboxState.QUEUED)

    waiting = _run(project, "inbox-1")
    assert (waiting.name, waiting.summary.calls) == ("COMPLETED Waiting", 3), waiting.state.message
    assert [_look(project, one).answer for one in sent] == [None] * 3
    project.decide("inbox-1", **{"T-2": "wrong"})
    done = _run(project, "inbox-1")
    assert (done.summary.state, done.summary.published, done.summary.held) == ("released", 2, 1), done.state.message

    states = {one.row_id: _look(project, one) for one in sent}
    assert {row: r.state for row, r in states.items()} == {"T-1": "answered", "T-2": "closed", "T-3": "answered"}
    assert states["T-2"].reason == "held by a reviewer"
    answer = orjson.loads(states["T-1"].answer or "null")
    assert (answer["row_id"], "category" in answer) == ("T-1", True)
    again = _send(project, "T-1")
    assert (again.is_new, again.inbox_key) == (False, sent[0].inbox_key)
    found = find(again.inbox_key, ledger=project.ledger)
    assert found is not None
    assert found.answer == states["T-1"].answer
    _assert_empty(project, "inbox-2")
    assert len(project.fake.calls) == 3


def _assert_empty(project: Project, run_id: str) -> None:
    project.monkeypatch.setenv("OVERNIGHT_RUN_ID", run_id)
    state: Any = answer_inbox(model="openai:gpt-fake", return_state=True)
    assert (state.type.value, state.name) == ("COMPLETED", "Empty")
    with project.ledger.reading() as connection:
        assert connection.exec_driver_sql(f"SELECT count(*) FROM runs WHERE run_id = '{run_id}'").scalar() == 0  # noqa: S608 - ours


def test_where_nothing_waits_no_run_is_begun(project: Project) -> None:
    _assert_empty(project, "inbox-1")


def test_what_a_halted_run_had_is_the_next_ones_and_the_old_run_leaves_it_there(project: Project) -> None:
    sent = [_send(project, ticket) for ticket in TICKETS]
    project.fake.answer = lambda _: Scripted(status=401)
    halted = _run(project, "inbox-1")
    assert (halted.summary.state, halted.summary.pending) == ("halted", 3)
    project.fake.answer = answer_by_schema
    assert _run(project, "inbox-2").name == "COMPLETED Waiting"
    assert {_look(project, one).run_id for one in sent} == {"inbox-2"}

    n_calls = len(project.fake.calls)
    old = _run(project, "inbox-1")
    assert (old.summary.state, old.summary.quarantined, old.summary.release) == ("held", 3, None), old.state.message
    assert len(project.fake.calls) == n_calls
    project.decide("inbox-2")
    assert _run(project, "inbox-2").summary.published == 3
    assert {_look(project, one).state for one in sent} == {InboxState.ANSWERED}


def test_a_run_that_is_continued_pays_for_no_row_that_is_another_runs_by_now(project: Project) -> None:
    sent = [_send(project, ticket) for ticket in TICKETS]
    project.fake.answer = lambda _: Scripted(status=401)
    assert _run(project, "inbox-1").summary.state == "halted"
    project.fake.answer = answer_by_schema
    # Another prompt: what one of the runs was answered is no hit for the other.
    text = project.folder / "prompts" / "triage_ticket" / "prompt.md"
    text.write_text(text.read_text().replace("{% block user %}", "{% block user %}\nBe brief.\n"))
    assert "Be brief." in text.read_text()
    project.monkeypatch.setenv("OVERNIGHT_LIMIT", "2")
    assert _run(project, "inbox-2").name == "COMPLETED Waiting"
    assert [_look(project, one).run_id for one in sent] == ["inbox-2", "inbox-2", None]

    n_calls = len(project.fake.calls)
    old = _run(project, "inbox-1")
    assert (len(project.fake.calls) - n_calls, old.summary.pending, old.summary.quarantined) == (0, 0, 3)
    assert _look(project, sent[2]).state == InboxState.QUEUED


def test_a_fault_while_requests_are_settled_does_not_take_the_place_of_the_runs_own_end(project: Project) -> None:
    sent = [_send(project, ticket) for ticket in TICKETS]
    project.fake.answer = lambda body: (
        Scripted(refusal="I may not.") if "twice" in str(body["messages"][-1]) else answer_by_schema(body)
    )

    def refuse(*_: object) -> None:
        raise PartRefused("The place of parts is away.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settle, "read_part", refuse)
        assert _run(project, "inbox-1").name == "COMPLETED Waiting"
        project.decide("inbox-1")
        done = _run(project, "inbox-1")
        assert (done.name.split()[0], done.summary.published) == ("COMPLETED", 2), done.state.message
        _assert_empty(project, "inbox-2")
        assert _look(project, sent[2]).state == InboxState.TAKEN
    _assert_empty(project, "inbox-3")
    assert _look(project, sent[2]).reason == "quarantined: refusal"


def test_a_quarantined_request_is_closed_and_a_retry_answers_it(project: Project) -> None:
    sent = [_send(project, ticket) for ticket in TICKETS]
    project.fake.answer = lambda body: (
        Scripted(refusal="I may not.") if "twice" in str(body["messages"][-1]) else answer_by_schema(body)
    )
    assert _run(project, "inbox-1").name == "COMPLETED Waiting"
    assert _look(project, sent[2]).reason == "quarantined: refusal"
    project.fake.answer = answer_by_schema
    retry = {"source": "quarantine:inbox-1"}
    assert _run(project, "retry-1", **retry).name == "COMPLETED Waiting"
    project.decide("retry-1")
    assert _run(project, "retry-1", **retry).summary.published == 1
    assert (_look(project, sent[2]).state, _look(project, sent[2]).reason) == (InboxState.ANSWERED, None)
    assert _look(project, sent[0]).state == InboxState.TAKEN
