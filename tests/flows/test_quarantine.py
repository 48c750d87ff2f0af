"""The quarantine of a night, retried by its own flow: who is asked again, what joins what left, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.answer_urgent_tickets import answer_urgent_tickets
from flows.replay_quarantine import replay_quarantine
from flows.route_banking_query import route_banking_query
from overnight.cli.plan import as_object
from overnight.deliver.recall import recall_release
from overnight.ledger.retries import find_retry
from overnight.report.measure import measure
from overnight.report.quarantine import find_quarantine
from overnight.settings import Settings
from tasks.plan import plan_flow
from tests.fakes.provider import Scripted, answer_by_schema
from tests.flows.conftest import Ended, Project

#: Rows 2 and 5 are refused; row 8 has no text.
TEXTS = [
    *("my card has not arrived", "refuse this card", "how do I change my PIN", "the transfer was declined"),
    *("refuse that PIN", "top up failed again", "is Apple Pay supported", " "),
]
SOURCE = "quarantine:night-1"
TICKETS = {
    "T-1": "My parcel is lost and I am furious so call me now",
    "T-2": "This is urgent since I forgot my password today",
    "T-3": "You charged me twice and I need that back at once",
}


def _refuse_some(body: dict[str, Any]) -> Scripted | dict[str, Any]:
    return Scripted(refusal="I may not.") if "refuse" in str(body["messages"][-1]) else answer_by_schema(body)


@pytest.fixture
def night(project: Project) -> Project:
    """Night 1 waits: five rows are accepted, two refused for good, one has no text."""
    Path("queries.csv").write_text("id,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(TEXTS, 1)))
    checks: Any = json.loads(project.checks.read_text())
    project.checks.write_text(json.dumps(checks | {"max_quarantined": 0.9}))
    project.fake.answer = _refuse_some
    ended = project.run("night-1")
    assert (ended.summary.accepted, ended.summary.quarantined) == (5, 3), ended.state.message
    return project


def _publish(project: Project, run_id: str, **verdicts: str) -> Ended:
    project.decide(run_id, **verdicts)
    return project.run(run_id) if run_id == "night-1" else _retry(project, run_id)


def _retry(project: Project, run_id: str, source: str = SOURCE, sink: str | None = None) -> Ended:
    sink = sink or f"file:{project.out}"
    return project.call(run_id, route_banking_query, source=source, model="openai:gpt-fake", sink=sink)


def _rows_out(path: Path) -> list[str]:
    return [json.loads(line)["row_id"] for line in path.read_text().splitlines()]


def _balances(ended: Ended) -> bool:
    s = ended.summary
    return s.rows == s.published + s.held + s.quarantined + s.pending


def test_a_retry_asks_the_refused_rows_alone_and_what_passes_joins_the_file(night: Project) -> None:
    first = _publish(night, "night-1")
    assert (first.summary.state, _rows_out(night.out)) == ("released", ["1", "3", "4", "6", "7"])
    night.fake.answer, n_calls = answer_by_schema, len(night.fake.calls)

    waiting = _retry(night, "retry-1")
    s = waiting.summary
    assert (waiting.name, s.rows, s.calls, s.hits, s.accepted) == ("COMPLETED Waiting", 2, 2, 0, 2)
    with night.ledger.reading() as connection:
        retry = find_retry(connection, "retry-1")
    assert retry is not None
    assert retry.of_run == "night-1"

    done = _publish(night, "retry-1")
    assert (done.name, done.summary.published) == ("COMPLETED Completed", 2)
    assert _rows_out(night.out) == ["1", "3", "4", "6", "7", "2", "5"]
    assert len(night.fake.calls) == n_calls + 2
    # The books of both: the rows stay quarantined in the night, which called for them.
    again = night.run("night-1")
    assert (again.summary.published, again.summary.quarantined, again.summary.held) == (5, 3, 0)
    assert (again.summary.calls, again.summary.hits) == (first.summary.calls, first.summary.hits) == (7, 0)
    assert _balances(again)
    assert _balances(done)
    lines = [
        measure(run, ledger=night.ledger, place=Settings.from_env().parts, now=1.0).retries
        for run in ("night-1", "retry-1")
    ]
    assert lines == [
        ("2 rows of its quarantine retried in run retry-1, released: 2 accepted, 0 quarantined, 0 pending.",),
        ("It retries 2 rows that run night-1 had quarantined.",),
    ]

    receipts = recall_release(
        night.find_release("retry-1").release_id,
        by="Ada",
        reason="no",
        ledger=night.ledger,
        settings=Settings.from_env(),
    )
    assert [r.state for r in receipts] == ["recalled", "recalled"]
    assert _rows_out(night.out) == ["1", "3", "4", "6", "7"]

    # A later night has their answers, though its batch stood in the cache with two rows refused.
    assert night.run("night-2").summary.calls == 0
    assert night.run("night-2").summary.accepted == 7


def test_a_refusal_of_the_retry_itself_stands_and_costs_no_second_call(night: Project) -> None:
    _publish(night, "night-1")
    n_calls = len(night.fake.calls)
    held = _retry(night, "retry-1")
    assert (held.summary.state, held.summary.quarantined, len(night.fake.calls)) == ("held", 2, n_calls + 2)
    assert "no accepted row" in str(held.state.message)
    resumed = _retry(night, "retry-1")
    assert (resumed.summary.quarantined, resumed.summary.calls, len(night.fake.calls)) == (2, 2, n_calls + 2)
    # Another retry asks once more; a row that passes is not held back by the one that does not.
    night.fake.answer = lambda body: (
        answer_by_schema(body) if "PIN" in str(body["messages"][-1]) else _refuse_some(body)
    )
    second = _retry(night, "retry-2")
    assert (second.name, second.summary.accepted, second.summary.quarantined) == ("COMPLETED Waiting", 1, 1)
    assert len(night.fake.calls) == n_calls + 4
    # What one has offered is left to it, also by a retry of another; and the file, until that one is delivered.
    other = f"file:{night.folder}/other.jsonl"
    refused = _retry(night, "retry-0")
    assert (refused.name, len(night.fake.calls)) == ("FAILED Halted", n_calls + 4)
    assert "of run retry-2 is still to be delivered" in str(refused.state.message)
    third = _retry(night, "retry-3", sink=other)
    assert (third.summary.rows, third.summary.quarantined) == (1, 1)
    fourth = _retry(night, "retry-4", "quarantine:retry-1", sink=other)
    assert (fourth.summary.rows, fourth.summary.quarantined) == (1, 1)
    found = find_quarantine("night-1", ledger=night.ledger, place=Settings.from_env().parts)
    [group] = [group for group in found.groups if group.failure_class == "refusal"]
    assert group.retried == {
        "retry-1": {"quarantined": 2},
        "retry-2": {"quarantined": 1, "accepted": 1},
        "retry-3": {"quarantined": 1},
        "retry-4": {"quarantined": 1},
    }
    assert found.n_to_retry == 1


def test_a_night_that_was_held_leaves_what_its_retry_offered_to_the_retry(project: Project) -> None:
    Path("queries.csv").write_text("id,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(TEXTS, 1)))
    checks: Any = json.loads(project.checks.read_text())
    project.checks.write_text(json.dumps(checks | {"max_quarantined": 0.01}))
    project.fake.answer = _refuse_some
    held = project.run("night-1")
    assert (held.name, held.summary.quarantined, held.summary.release) == ("FAILED Held", 3, None)
    project.fake.answer, n_calls = answer_by_schema, len(project.fake.calls) + 2
    assert _retry(project, "retry-1").name == "COMPLETED Waiting"
    early = project.run("night-1")
    assert (early.name, early.summary.quarantined) == ("FAILED Halted", 3)
    assert "of run retry-1 is still to be delivered" in str(early.state.message)
    retried = _publish(project, "retry-1", **{"2": "wrong"})
    assert (retried.summary.published, retried.summary.held) == (1, 1)

    # The others of the night are not held for these any more, and join the file.
    assert project.run("night-1").name == "COMPLETED Waiting"
    assert project.run("night-1").name == "COMPLETED Waiting"
    done = _publish(project, "night-1")
    assert (done.summary.published, done.summary.quarantined, done.summary.held) == (5, 3, 0)
    assert _balances(done)
    assert _balances(retried)
    assert _rows_out(project.out) == ["5", "1", "3", "4", "6", "7"]
    found = find_quarantine("night-1", ledger=project.ledger, place=Settings.from_env().parts)
    assert found.n_to_retry == 0
    [group] = [group for group in found.groups if group.rule == "offered_elsewhere"]
    assert (group.n_rows, group.examples) == (2, ("2", "5"))
    assert group.reason == "Run retry-1 has offered this row: it leaves from there, or not at all."
    assert group.what_to_do.startswith("Nothing here: that run's reviewer decides.")
    # A later night has all answers: what was left to the retry is no matter of its own batches.
    later = project.run("night-2", sink=f"file:{project.folder}/later.jsonl")
    assert (later.summary.accepted, later.summary.calls, len(project.fake.calls)) == (7, 0, n_calls)


def test_rows_that_intake_set_aside_have_nothing_to_ask(night: Project) -> None:
    ended = _retry(night, "retry-1", f"{SOURCE}?reason=missing_value", f"file:{night.folder}/other.jsonl")
    assert ended.name == "FAILED Halted"
    assert "1 were set aside at intake" in str(ended.state.message)
    assert "\n" not in str(ended.state.message)


def test_a_retry_is_planned_as_it_would_run(night: Project) -> None:
    given = {"source": SOURCE, "model": "openai:gpt-fake"}
    plan = as_object("route-banking-query", plan_flow(route_banking_query, given, Settings.from_env()))
    assert (plan["rows"], plan["hits"], plan["misses"]) == (2, 0, 2)
    assert plan["steps"][0]["quarantined_before"] == 0


def test_a_retry_whose_rows_would_be_lost_is_refused_before_any_call(night: Project) -> None:
    n_calls = len(night.fake.calls)
    early = _retry(night, "retry-1")
    assert (early.name, len(night.fake.calls)) == ("FAILED Halted", n_calls)
    assert "is still to be delivered" in str(early.state.message)

    _publish(night, "night-1")
    night.run("night-2")
    _publish_as(night, "night-2")
    late = _retry(night, "retry-2")
    assert (late.name, len(night.fake.calls)) == ("FAILED Halted", n_calls)
    assert "would take its place. Give them another --sink." in str(late.state.message)

    night.fake.answer = answer_by_schema
    other = f"file:{night.folder}/other.jsonl"
    assert _retry(night, "retry-3", sink=other).name == "COMPLETED Waiting"
    night.decide("retry-3")
    assert _retry(night, "retry-3", sink=other).summary.published == 2
    assert _rows_out(night.folder / "other.jsonl") == ["2", "5"]
    assert _rows_out(night.out) == ["1", "3", "4", "6", "7"]


def _publish_as(project: Project, run_id: str) -> None:
    project.decide(run_id)
    assert project.run(run_id).summary.published == 5


def test_a_row_refused_in_a_later_step_goes_through_the_first_by_what_is_known(project: Project) -> None:
    Path("tickets.csv").write_text("ticket_id,body\n" + "".join(f"{name},{text}\n" for name, text in TICKETS.items()))
    checks = project.folder / "prompts" / "draft_reply" / "checks.json"
    checks.write_text(json.dumps(json.loads(checks.read_text()) | {"max_quarantined": 0.9}))

    def run(run_id: str, source: str) -> Ended:
        sink = f"file:{project.out}"
        return project.call(run_id, answer_urgent_tickets, source=source, model="openai:gpt-fake", sink=sink)

    project.fake.answer = lambda body: (
        Scripted(refusal="I may not.")
        if "letter" in answer_by_schema(body) and "furious" in str(body)
        else _reply(body)
    )
    first = run("night-1", "tickets.csv")
    assert (first.summary.accepted, first.summary.quarantined, first.summary.calls) == (2, 1, 6)
    project.decide("night-1")
    assert run("night-1", "tickets.csv").summary.published == 2
    project.fake.answer = _reply
    again = run("retry-1", SOURCE)
    s = again.summary
    assert (again.name, s.rows, s.accepted, s.calls, s.hits) == ("COMPLETED Waiting", 1, 1, 1, 1)
    project.decide("retry-1")
    done = run("retry-1", SOURCE)
    assert done.summary.published == 1
    assert _balances(done)
    assert _rows_out(project.out) == ["T-2", "T-3", "T-1"]
    letters = [json.loads(line)["letter"] for line in project.out.read_text().splitlines()]
    assert ["furious" in letter for letter in letters] == [False, False, True]


def _reply(body: dict[str, Any]) -> dict[str, Any]:
    """What passes the rules of both prompts: each letter names the ticket's own trouble, and echoes none."""
    found, ticket = answer_by_schema(body), str(body["messages"][-1])
    about = next(word for word in ("furious", "password", "twice") if word in ticket)
    if "urgency" in found:
        words = {"urgency": "high", "summary": f"A ticket about: {about}.", "category": "other"}
        return found | words | {"reply": f"We have read what you wrote about {about} and look into it."}
    return found | {"greeting": "Good day,", "letter": f"We are sorry to hear about {about}. A colleague looks at it."}


def test_the_flow_says_in_one_line_where_there_is_nothing_to_start(night: Project) -> None:
    state: Any = replay_quarantine(run="night-9", return_state=True)
    assert (state.name, state.message) == ("Failed", "There is no run night-9. `overnight runs` lists the runs.")
    state = replay_quarantine(run="night-1", return_state=True)
    assert state.message.startswith("The flow route-banking-query has no deployment here.")
