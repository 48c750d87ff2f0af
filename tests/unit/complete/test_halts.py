"""What stops a run: a key, a limit, the budget, a wrong model; what was answered is kept, nothing is quarantined."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from overnight.complete import describe_halt, take_back
from overnight.failures import CallFailed
from overnight.ledger.queries import summarize
from overnight.ledger.spend import Cap, Spend, find_spend, night_scope, reserve, run_scope
from overnight.records import ModelTerms
from overnight.taxonomy import FailureClass
from tests.conftest import RUN
from tests.fakes.provider import Scripted
from tests.unit.complete.conftest import Desk

TEXTS = [f"row {n}" for n in range(30)]
NO_KEY = Scripted(status=401, body={"error": {"message": "Incorrect API key"}})
NO_CREDIT = Scripted(status=429, body={"error": {"code": "insufficient_quota", "message": "You exceeded your quota"}})
OTHER_MODEL = Scripted(model="gpt-other")
BAD_REQUEST = Scripted(status=400, body={"error": {"message": "no parameter temperature"}})
#: About 0.0006 USD by the list price of gpt-4o.
DEAR = Scripted(usage={"prompt_tokens": 40, "completion_tokens": 50})
DEAR_USD = 40 * 2.5e-6 + 50 * 1e-5


def wait_for(what: Callable[[], bool]) -> None:
    """Until the engine's own thread has come so far."""
    for _ in range(1000):
        if what():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


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


def _spend(desk: Desk, run_id: str = RUN) -> Spend:
    with desk.house.ledger.reading() as connection:
        return find_spend(connection, [run_scope(run_id)]).get(run_scope(run_id), Spend())


def test_spend_never_exceeds_the_cap_and_the_run_says_so(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(budget_usd=0.008)
    desk.fake.answer = lambda _: DEAR
    states = Counter(desk.list_states(TEXTS, desk.make_prompt(model="openai:gpt-4o")))
    [(spent,)] = desk.house.fetch("SELECT sum(cost_usd) FROM attempts")
    assert 0 < spent <= 0.008
    assert (_spend(desk).spent_usd, _spend(desk).reserved_usd) == (pytest.approx(spent), pytest.approx(0))
    assert states["accepted"] == len(desk.fake.calls) > 0
    assert states["accepted"] + states["pending"] == len(TEXTS)
    assert f"of the $0.008000 of run {RUN}" in desk.why_halted()
    assert "Raise --budget." in desk.why_halted()
    # It stops only where not even one call more fits, whatever was in flight.
    assert spent > 0.008 - 2 * 0.0012


def test_the_runs_of_a_night_are_held_to_their_cap_together(open_desk: Callable[..., Desk]) -> None:
    for n in range(3):
        desk = open_desk(nightly_budget_usd=0.008)
        desk.fake.answer = lambda _: DEAR
        prompt, texts = desk.make_prompt(model="openai:gpt-4o"), [f"{n}: {text}" for text in TEXTS]
        desk.ask(texts, prompt, run_id=desk.house.begin(f"night-{n}"))
    [(spent,)] = desk.house.fetch("SELECT sum(cost_usd) FROM attempts")
    assert 0 < spent <= 0.008
    assert "OVERNIGHT_NIGHTLY_BUDGET_USD" in desk.why_halted("night-2")
    with desk.house.ledger.reading() as connection:
        [night] = find_spend(connection, [night_scope(time.time())]).values()
    assert night.spent_usd == pytest.approx(spent)


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
    [(reserved,)] = desk.house.fetch("SELECT sum(reserved_usd) FROM attempts")
    assert (_spend(desk).spent_usd, _spend(desk).reserved_usd) == (pytest.approx(reserved), pytest.approx(0))
    # Another run has spent nothing.
    assert _spend(desk, "night-2") == Spend()


def test_what_a_killed_process_set_aside_is_not_given_out_again(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(budget_usd=0.001, call_timeout_s=0.3)
    # A process that was killed while it waited for its answers leaves its attempts open.
    desk.house.ledger.write(lambda c: reserve(c, [([Cap(run_scope(RUN))], 0.0009)]))
    assert desk.list_states(["one"], desk.make_prompt(model="openai:gpt-4o")) == ["pending"]
    assert desk.fake.calls == []
    assert "$0.000900 set aside for calls that have not come back" in desk.why_halted()


def test_a_run_that_somebody_stops_keeps_the_calls_in_flight_and_sends_no_other(
    open_desk: Callable[..., Desk],
) -> None:
    desk = open_desk(concurrency=2)

    def stop(body: dict[str, Any]) -> Scripted:
        desk.engine.context(RUN).halt(CallFailed(FailureClass.STOPPED, "It was stopped by hand."))
        return Scripted()

    desk.fake.answer = stop
    states = Counter(desk.list_states(TEXTS))
    assert states["accepted"] == len(desk.fake.calls) in {1, 2}
    assert states["accepted"] + states["pending"] == len(TEXTS)


def test_a_call_whose_tokens_nobody_counted_is_booked_at_its_worst_price(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(budget_usd=0.008)
    desk.fake.answer = lambda _: Scripted(usage={"prompt_tokens": 0})
    assert Counter(desk.list_states(TEXTS, desk.make_prompt(model="openai:gpt-4o")))["pending"] > 0
    assert _spend(desk).total_usd <= 0.008
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
    assert "no price is known for openai:gpt-fake" in desk.why_halted()


def test_a_model_with_a_declared_price_can_have_a_budget(open_desk: Callable[..., Desk]) -> None:
    terms = ModelTerms("openai:gpt-fake", input_usd_per_million=1.0, output_usd_per_million=1000.0)
    desk = open_desk(budget_usd=0.2, terms=(terms,))
    desk.fake.answer = lambda _: DEAR
    states = Counter(desk.list_states(TEXTS))
    [(spent,)] = desk.house.fetch("SELECT sum(cost_usd) FROM attempts")
    assert states["accepted"] == 3
    assert spent == pytest.approx(3 * (40 * 1e-6 + 50 * 1e-3))


def test_the_same_bad_request_on_five_rows_halts_and_blames_no_row(desk: Desk) -> None:
    desk.fake.answer = lambda _: BAD_REQUEST
    completed = desk.complete(desk.house.read_batch(TEXTS))
    assert 5 <= len(desk.fake.calls) <= 5 + desk.engine.settings.concurrency
    assert "5 rows failed with the same bad request" in desk.why_halted()
    [remade] = take_back([completed], desk.engine.context(RUN), desk.engine)
    assert (remade.n_quarantined, remade.n_pending) == (0, len(TEXTS))
    assert {row["state"] for row in desk.read(remade)} == {"pending"}
    assert desk.house.fetch("SELECT * FROM quarantines") == []
    desk.engine.begin_pass(RUN)
    desk.fake.answer = lambda _: Scripted()
    assert desk.list_states(TEXTS) == ["accepted"] * len(TEXTS)


def test_where_others_were_answered_rows_with_a_bad_request_stay_quarantined_and_the_run_gets_on(
    open_desk: Callable[..., Desk],
) -> None:
    desk = open_desk(concurrency=1)
    poison = {f"row {n}" for n in range(20, 27)}
    desk.fake.answer = lambda body: BAD_REQUEST if any(f"<query>{p}<" in str(body) for p in poison) else Scripted()
    states = Counter(desk.list_states(TEXTS))
    assert (states["accepted"], states["quarantined"]) == (20, 5)
    desk.engine.begin_pass(RUN)
    assert Counter(desk.list_states(TEXTS)) == {"accepted": 23, "quarantined": 7}


def test_four_bad_requests_do_not_halt(desk: Desk) -> None:
    desk.fake.answer = lambda _: BAD_REQUEST
    assert desk.list_states(TEXTS[:4]) == ["quarantined"] * 4
    assert desk.why_halted() == ""


def test_a_run_that_is_stopped_while_its_rows_wait_ends_at_once(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(retry_base_s=600.0)
    arrived = threading.Event()

    def answer(_: Any) -> Scripted:
        arrived.set()
        return Scripted(status=503)

    desk.fake.answer = answer
    batch = desk.house.read_batch(["one"])
    with ThreadPoolExecutor() as pool:
        completed = pool.submit(desk.complete, batch)
        assert arrived.wait(10)
        desk.engine.context(RUN).halt(CallFailed(FailureClass.STOPPED, "It was stopped by hand."))
        assert completed.result(10).n_pending == 1


def test_a_bad_answer_whose_tokens_nobody_counted_is_booked_at_its_worst_price(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(budget_usd=0.02)
    desk.fake.answer = lambda _: Scripted(refusal="I may not.", usage={"prompt_tokens": 0})
    desk.ask(TEXTS, desk.make_prompt(model="openai:gpt-4o"))
    assert "of the $0.020000" in desk.why_halted()
    assert 0.01 < _spend(desk).total_usd <= 0.02


def test_without_a_cap_what_may_have_been_billed_is_counted_too(desk: Desk) -> None:
    desk.fake.answer = lambda _: Scripted(drop=True)
    desk.list_states(["one"], desk.make_prompt(model="openai:gpt-4o"))
    assert _spend(desk).spent_usd > 0


def test_a_bad_request_that_begins_in_mid_run_blames_no_row(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(concurrency=2)
    desk.fake.answer = lambda _: Scripted() if len(desk.fake.calls) <= 10 else BAD_REQUEST
    completed = desk.complete(desk.house.read_batch(TEXTS))
    [remade] = take_back([completed], desk.engine.context(RUN), desk.engine)
    assert (remade.n_accepted, remade.n_quarantined) == (10, 0)
    desk.fake.answer = lambda _: Scripted()
    assert desk.list_states(TEXTS, run_id=desk.house.begin("night-2")) == ["accepted"] * len(TEXTS)


def test_rows_that_fail_so_twice_are_to_blame_and_the_run_gets_on(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(concurrency=1)
    poison = {f"row {n}" for n in range(7)}
    desk.fake.answer = lambda body: BAD_REQUEST if any(f"<query>{p}<" in str(body) for p in poison) else Scripted()
    for n in range(4):
        run_id = desk.house.begin(f"night-{n}")
        completed = desk.complete(desk.house.read_batch(TEXTS), run_id=run_id)
        take_back([completed], desk.engine.context(run_id), desk.engine)
    assert Counter(desk.list_states(TEXTS, run_id=desk.house.begin("night-9"))) == {"accepted": 23, "quarantined": 7}


def test_a_run_that_is_stopped_during_a_hold_of_the_rate_ends_at_once(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(concurrency=1)
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "60s"}
    desk.fake.answer = lambda _: Scripted(headers=headers)
    batch = desk.house.read_batch(TEXTS)
    with ThreadPoolExecutor() as pool:
        completed = pool.submit(desk.complete, batch)
        wait_for(lambda: desk.engine.context(RUN).n_accepted == 1)
        desk.engine.context(RUN).halt(CallFailed(FailureClass.STOPPED, "It was stopped by hand."))
        assert completed.result(10).n_pending == len(TEXTS) - 1
    # Those that waited for a slot were not sent, and nothing is set aside for them.
    assert {outcome for (outcome,) in desk.house.fetch("SELECT outcome FROM attempts")} <= {"accepted", "unsent"}
    assert _spend(desk).reserved_usd == pytest.approx(0)


def test_a_row_that_two_runs_ask_for_at_once_is_not_lost_when_one_of_them_stops(desk: Desk) -> None:
    arrived, goes_on = threading.Event(), threading.Event()

    def answer(_: Any) -> Scripted:
        arrived.set()
        assert goes_on.wait(10)
        return NO_KEY if len(desk.fake.calls) == 1 else Scripted()

    desk.fake.answer = answer
    prompt, batch, other = desk.make_prompt(), desk.house.read_batch(["same"]), desk.house.begin("night-2")
    with ThreadPoolExecutor() as pool:
        stopped = pool.submit(desk.complete, batch, prompt)
        assert arrived.wait(10)
        going = pool.submit(desk.complete, batch, prompt, run_id=other)
        threading.Event().wait(0.2)
        goes_on.set()
        assert (stopped.result(10).n_pending, going.result(10).n_accepted) == (1, 1)


def test_a_run_that_its_budget_stops_says_what_is_left_and_what_that_will_take(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(budget_usd=0.0)
    prompt = desk.make_prompt(model="openai:gpt-4o")
    completed = desk.complete(desk.house.read_batch(TEXTS), prompt)
    line = describe_halt(desk.engine.context(RUN), prompt, completed.n_pending, desk.house.ledger)
    assert "30 rows are left, which will take $" in line
    assert "more at the most where one call a row is enough" in line
    desk = open_desk(budget_usd=0.01)
    desk.engine.begin_pass(RUN)
    desk.fake.answer = lambda _: DEAR
    completed = desk.complete(desk.house.read_batch(TEXTS), prompt)
    line = describe_halt(desk.engine.context(RUN), prompt, completed.n_pending, desk.house.ledger)
    each = DEAR_USD * completed.n_pending
    assert f"{completed.n_pending} rows are left, which will take about ${each:.4f} to ${each:.4f} more" in line


def test_a_provider_that_does_not_answer_is_named_while_it_is_waited_for(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(probe_s=60.0)
    desk.fake.answer = lambda _: Scripted(status=503)
    assert desk.engine.list_silent() == []
    batch = desk.house.read_batch(TEXTS)
    with ThreadPoolExecutor() as pool:
        completed = pool.submit(desk.complete, batch)
        wait_for(lambda: desk.engine.list_silent() == ["openai:gpt-fake"])
        desk.engine.context(RUN).halt(CallFailed(FailureClass.STOPPED, "It was stopped by hand."))
        assert completed.result(10).n_pending == len(TEXTS)
    assert 20 <= len(desk.fake.calls) <= 20 + desk.engine.settings.concurrency
