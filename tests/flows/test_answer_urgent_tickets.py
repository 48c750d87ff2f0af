"""Two prompts in a row: the second reads the first one's answers; reuse, money and `why` across both."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flows.answer_urgent_tickets import answer_urgent_tickets
from overnight.ledger.queries import summarize
from overnight.report.why import explain_row, render_row
from overnight.settings import Settings
from tests.fakes.provider import Scripted, answer_by_schema
from tests.flows.conftest import Ended, Project

TICKETS = {
    "T-1": "My parcel is lost and I am furious, call me now",
    "T-2": "Wherever might passwords be changed, please",
    "T-3": "You charged me twice, this is urgent, help",
    "T-4": "Thank you for the quick delivery of my shoes",
}
URGENT = ("furious", "urgent")


def _answer(body: dict[str, Any]) -> dict[str, Any]:
    found = answer_by_schema(body)
    if "urgency" in found:
        found["urgency"] = "high" if any(word in _text(body) for word in URGENT) else "low"
    return found


def _text(body: dict[str, Any]) -> str:
    return str(body["messages"][1]["content"])


def _write(tickets: dict[str, str]) -> None:
    with open("tickets.csv", "w") as file:  # noqa: PTH123 - a few lines
        file.write("ticket_id,body\n" + "".join(f'{name},"{body}"\n' for name, body in tickets.items()))


@pytest.fixture
def desk(project: Project) -> Project:
    _write(TICKETS)
    project.fake.answer = _answer
    return project


def _run(project: Project, run_id: str, model: str = "openai:gpt-fake") -> Ended:
    sink = f"file:{project.out}"
    return project.call(run_id, answer_urgent_tickets, source="tickets.csv", model=model, sink=sink)


def test_the_second_prompt_reads_the_answers_of_the_first_and_only_of_the_rows_it_takes(desk: Project) -> None:
    first = _run(desk, "night-1")
    assert first.name == "COMPLETED Waiting"
    s = first.summary
    assert (s.rows, s.accepted, s.skipped, s.quarantined, s.pending, s.calls) == (4, 4, 2, 0, 0, 6)
    drafts = [_text(call.body) for call in desk.fake.calls[4:]]
    assert all(text.startswith("Category: ") and "Summary: " in text for text in drafts)
    assert sum("furious" in text or "urgent" in text for text in drafts) == 2
    steps = ["complete-batch-1", "check-batch-1", "complete-batch-2.1", "check-batch-2.1"]
    assert set(first.list_task_runs(6)) == {"pin-input", "chain-draft_reply", *steps}

    again = _run(desk, "night-2")
    assert (again.summary.hits, again.summary.calls) == (6, 0)
    assert [again.list_task_runs(6)[step] for step in steps] == ["Cached"] * 4

    _write(TICKETS | {"T-3": "You charged me twice, this is so urgent, help"})
    assert _run(desk, "night-3").summary.calls == 2

    desk.decide("night-3", **{"T-1": "wrong"})
    done = _run(desk, "night-3")
    assert (done.name, done.summary.state) == ("COMPLETED Completed", "released")
    assert (done.summary.published, done.summary.held, done.summary.skipped) == (1, 1, 2)
    [row] = [json.loads(line) for line in desk.out.read_text().splitlines()]
    assert row["row_id"] == "T-3"
    assert {"greeting", "letter", "prompt_hash"} <= set(row)


def test_why_tells_both_steps_of_a_row(desk: Project) -> None:
    _run(desk, "night-1")
    home = Settings.from_env().home
    found = explain_row("T-1", run_id=None, ledger=desk.ledger, place=home)
    [earlier] = found["earlier"]
    assert (earlier["request"]["name"], found["request"]["name"]) == ("triage_ticket", "draft_reply")
    assert earlier["output"]["summary"] == found["input"]["summary"]
    words = render_row(found)
    assert words.index("triage_ticket") < words.index("step 2") < words.index("draft_reply, hash")
    # A row that no later step took is told as far as it went.
    alone = explain_row("T-2", run_id=None, ledger=desk.ledger, place=home)
    assert (alone["earlier"], alone["request"]["name"], alone["state"]) == ([], "triage_ticket", "accepted")


def test_both_steps_spend_from_one_budget(desk: Project) -> None:
    desk.monkeypatch.setenv("OVERNIGHT_BUDGET_USD", "0.0145")
    usage = {"prompt_tokens": 200, "completion_tokens": 200}
    desk.fake.answer = lambda body: Scripted(text=json.dumps(_answer(body)), usage=usage)
    halted = _run(desk, "night-1", "openai:gpt-4o")
    # Four triages and one draft at 0.0025 USD: the next may cost more than what is left.
    assert (halted.name, halted.summary.calls) == ("FAILED Halted", len(desk.fake.calls))
    assert "of run night-1" in str(halted.state.message)
    assert "rows are left, which will take about $" in str(halted.state.message)
    assert halted.summary.cost_usd is not None
    assert 0.0025 * 4 <= halted.summary.cost_usd <= 0.0145
    desk.monkeypatch.setenv("OVERNIGHT_BUDGET_USD", "1")
    assert _run(desk, "night-1", "openai:gpt-4o").name == "COMPLETED Waiting"
    assert len(desk.fake.calls) == 6


def test_a_night_without_a_row_for_the_last_step_ends_well(desk: Project) -> None:
    _write({"T-2": TICKETS["T-2"]})
    ended = _run(desk, "night-1")
    assert ended.name == "COMPLETED Released"
    assert "no row for its last step" in str(ended.state.message)
    with desk.ledger.reading() as connection:
        assert summarize(connection, "night-1", 2.0).skipped == 1


def test_a_step_with_too_many_rows_set_aside_is_held_and_not_chained(desk: Project) -> None:
    desk.fake.answer = lambda body: _answer(body) if "furious" in _text(body) else Scripted(refusal="I may not.")
    ended = _run(desk, "night-1")
    assert (ended.name, ended.summary.state, len(desk.fake.calls)) == ("FAILED Held", "held", 4)
    assert "3 of 4 answered rows are quarantined" in str(ended.state.message)
    assert "triage_ticket allows 2.0%" in str(ended.state.message)
    # The limit is no part of the prompt's hash: raising it asks nothing again.
    checks = desk.folder / "prompts" / "triage_ticket" / "checks.json"
    checks.write_text(json.dumps(json.loads(checks.read_text()) | {"max_quarantined": 0.8}))
    assert _run(desk, "night-2").name == "COMPLETED Waiting"
    assert len(desk.fake.calls) == 5
