"""The flow, from the sample to the gate: what a good answer comes to, and what a bad one."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flows.triage_tickets import triage_tickets
from overnight.ledger import open_ledger
from overnight.ledger.queries import list_runs
from overnight.settings import Settings

GOOD = {
    "category": "shipping",
    "urgency": "normal",
    "summary": "The customer asks what became of an order.",
    "reply": "Thank you for your message. A colleague looks into your order today and writes to you.",
}


def _run(home: Path) -> tuple[str, dict[str, Any]]:
    """The state that the flow ends in, and the run as the ledger has it; an answer is asked for once."""
    # A file of its own: each row of the sample is accepted at intake.
    source = home / "tickets.csv"
    with source.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["ticket_id", "body"], ["T-1", "Where is my parcel?"], ["T-2", "And mine?"]])
    state: Any = triage_tickets(str(source), "openai:fake", f"file:{home / 'out.jsonl'}", return_state=True)
    with open_ledger(Settings.from_env().ledger_url).reading() as connection:
        [run] = list_runs(connection, 10)
    return str(state.name), run


def test_rows_with_good_answers_wait_for_a_person_and_none_has_left(home: Path, model: SimpleNamespace) -> None:
    model.answer = GOOD
    state, run = _run(home)
    assert (state, run["state"]) == ("Waiting", "waiting")
    assert len(model.asked) == 2
    assert not (home / "out.jsonl").exists()


def test_rows_whose_answers_break_a_check_are_held(home: Path, model: SimpleNamespace) -> None:
    model.answer = GOOD | {"reply": "As an AI language model I cannot help with this."}
    _, run = _run(home)
    assert run["state"] == "held"
    assert not (home / "out.jsonl").exists()
