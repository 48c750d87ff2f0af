"""What stops a run: a key, a limit, the budget, a wrong model; what was answered is kept, nothing is quarantined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from overnight.failures import CallFailed, FailureClass
from overnight.ledger.queries import summarize
from tests.conftest import RUN
from tests.fakes.provider import Scripted
from tests.unit.complete.conftest import Desk

TEXTS = [f"row {n}" for n in range(30)]
NO_KEY = Scripted(status=401, body={"error": {"message": "Incorrect API key"}})
NO_CREDIT = Scripted(status=429, body={"error": {"code": "insufficient_quota", "message": "You exceeded your quota"}})
OTHER_MODEL = Scripted(model="gpt-other")
#: About 0.0006 USD by the list price of gpt-4o.
DEAR = Scripted(usage={"prompt_tokens": 40, "completion_tokens": 50})


@pytest.mark.parametrize("scripted", [NO_KEY, NO_CREDIT, OTHER_MODEL], ids=["auth", "spend_limit", "wrong_model"])
def test_a_run_halts_after_at_most_c_calls_and_its_rows_stay_pending(desk: Desk, scripted: Scripted) -> None:
    desk.fake.answer = lambda _: scripted
    completed = desk.complete(desk.house.read_batch(TEXTS))
    assert (completed.n_accepted, completed.n_quarantined, completed.n_pending) == (0, 0, len(TEXTS))
    assert 1 <= len(desk.fake.calls) <= desk.engine.settings.concurrency
    assert desk.why_halted()
    assert "\n" not in desk.why_halted()


def test_a_halted_run_says_why(desk: Desk) -> None:
    desk.fake.answer = lambda _: NO_KEY
    desk.ask(TEXTS)
    assert "answered 401: Incorrect API key. Check the key" in desk.why_halted()


def test_a_wrong_model_is_named_with_the_one_that_was_asked_for(desk: Desk) -> None:
    desk.fake.answer = lambda _: OTHER_MODEL
    desk.ask(["one"])
    assert "gpt-fake was asked for and gpt-other answered" in desk.why_halted()


def test_a_dated_name_of_the_same_model_is_no_other(desk: Desk) -> None:
    desk.fake.answer = lambda _: Scripted(model="gpt-fake-2026-01-01")
    assert desk.list_states(["one"]) == ["accepted"]


def test_a_halted_run_sends_nothing_of_its_later_batches(desk: Desk) -> None:
    desk.fake.answer = lambda _: NO_KEY
    desk.ask(["one"])
    n_calls = len(desk.fake.calls)
    assert desk.list_states(TEXTS) == ["pending"] * len(TEXTS)
    assert len(desk.fake.calls) == n_calls


def test_another_run_of_the_process_is_not_halted(desk: Desk) -> None:
    desk.fake.answer = lambda _: NO_KEY
    desk.ask(["one"])
    desk.fake.answer = lambda _: Scripted()
    assert desk.list_states(["one"], run_id=desk.house.begin("night-2")) == ["accepted"]


def test_what_was_answered_before_the_halt_is_kept(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(concurrency=1)
    desk.fake.answer = lambda _: Scripted() if len(desk.fake.calls) <= 5 else NO_KEY
    assert Counter(desk.list_states(TEXTS)) == {"accepted": 5, "pending": 25}
    again = open_desk()
    again.fake.answer = lambda _: Scripted()
    assert Counter(again.list_states(TEXTS)) == {"accepted": 30}
    assert len(desk.fake.calls) == 6 + 25


def test_an_attempt_that_was_opened_and_not_sent_says_so(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(concurrency=1)
    desk.fake.answer = lambda _: NO_KEY
    desk.ask(TEXTS)
    outcomes = Counter(outcome for (outcome,) in desk.house.fetch("SELECT outcome FROM attempts"))
    assert outcomes["failed"] == len(desk.fake.calls) == 1
    assert set(outcomes) <= {"failed", "unsent"}


def test_spend_never_exceeds_the_cap_and_the_run_says_so(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(budget_usd=0.008)
    desk.fake.answer = lambda _: DEAR
    states = Counter(desk.list_states(TEXTS, desk.make_prompt(model="openai:gpt-4o")))
    [(spent,)] = desk.house.fetch("SELECT sum(cost_usd) FROM attempts")
    assert 0 < spent <= 0.008
    assert states["accepted"] == len(desk.fake.calls) > 0
    assert states["accepted"] + states["pending"] == len(TEXTS)
    assert "of the budget of $0.0080" in desk.why_halted()
    assert "Raise --budget and run again" in desk.why_halted()


def test_a_run_that_goes_on_counts_what_it_spent_before(open_desk: Callable[..., Desk]) -> None:
    for _ in range(3):
        desk = open_desk(budget_usd=0.008)
        desk.fake.answer = lambda _: DEAR
        desk.ask(TEXTS, desk.make_prompt(model="openai:gpt-4o"))
    [(spent,)] = desk.house.fetch("SELECT sum(cost_usd) FROM attempts")
    assert 0 < spent <= 0.008


def test_a_call_that_may_have_been_billed_counts_at_its_worst_price(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(budget_usd=1.0)
    desk.fake.answer = lambda _: Scripted(drop=True)
    assert desk.list_states(["one"], desk.make_prompt(model="openai:gpt-4o")) == ["pending"]
    budget = desk.engine.context(RUN).budget
    assert budget.spent_usd > 0
    assert budget.reserved_usd == 0


def test_another_process_counts_what_was_reserved_for_calls_that_may_have_been_billed(
    open_desk: Callable[..., Desk],
) -> None:
    desk = open_desk(budget_usd=1.0)
    desk.fake.answer = lambda _: Scripted(drop=True)
    prompt = desk.make_prompt(model="openai:gpt-4o")
    assert desk.list_states(["one"], prompt) == ["pending"]
    spent = desk.engine.context(RUN).budget.spent_usd
    assert open_desk(budget_usd=1.0).engine.context(RUN).budget.spent_usd == pytest.approx(spent)
    # A process that was killed while it waited for its answers leaves its attempts open.
    desk.house.tamper("UPDATE attempts SET outcome = 'open', closed_at = NULL")
    assert open_desk(budget_usd=1.0).engine.context(RUN).budget.spent_usd == pytest.approx(spent)
    # Another run has spent nothing.
    assert desk.engine.context(desk.house.begin("night-2")).budget.spent_usd == 0


def test_a_run_that_somebody_stops_keeps_the_calls_in_flight_and_sends_no_other(
    open_desk: Callable[..., Desk],
) -> None:
    desk = open_desk(concurrency=2)

    def stop(body: dict[str, Any]) -> Scripted:
        desk.engine.context(RUN).halted = CallFailed(FailureClass.STOPPED, "it was stopped by hand.")
        return Scripted()

    desk.fake.answer = stop
    states = Counter(desk.list_states(TEXTS))
    assert states["accepted"] == len(desk.fake.calls) in {1, 2}
    assert states["accepted"] + states["pending"] == len(TEXTS)


def test_a_call_whose_tokens_nobody_counted_is_booked_at_its_worst_price(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(budget_usd=0.008)
    desk.fake.answer = lambda _: Scripted(usage={"prompt_tokens": 0})
    assert Counter(desk.list_states(TEXTS, desk.make_prompt(model="openai:gpt-4o")))["pending"] > 0
    assert desk.engine.context(RUN).budget.spent_usd <= 0.008
    with desk.house.ledger.reading() as connection:
        assert summarize(connection, RUN, 2.0).cost_usd is None


def test_a_budget_of_nothing_makes_no_call(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(budget_usd=0.0)
    assert desk.list_states(["one"], desk.make_prompt(model="openai:gpt-4o")) == ["pending"]
    assert desk.fake.calls == []


def test_a_budget_for_a_model_without_a_price_makes_no_call_and_says_so(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(budget_usd=1.0)
    assert desk.list_states(["one"]) == ["pending"]
    assert desk.fake.calls == []
    assert "no price is known for this model" in desk.why_halted()
