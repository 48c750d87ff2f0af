from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from overnight.complete import engine, judge
from overnight.failures import PromptRefused
from overnight.keys import answer_digest
from overnight.ledger.bodies import get_body
from overnight.llm import Client, ModelRef, make_client
from overnight.records import ModelTerms
from tests.fakes.provider import Call, Scripted
from tests.unit.complete.conftest import Desk

VERBATIM = {"rule": "verbatim", "field": "quote", "of": "body"}
RATE_LIMIT = Scripted(status=429, headers={"retry-after": "0"})


def _in_turn(*answers: Scripted) -> Callable[[dict[str, Any]], Scripted]:
    """One answer after the other, then good ones."""
    left = list(answers)
    return lambda _: left.pop(0) if left else Scripted()


def test_an_attempt_is_open_when_its_call_arrives_and_closed_with_the_answer(desk: Desk) -> None:
    seen: list[tuple[Any, ...]] = []

    def look(body: dict[str, Any]) -> Scripted:
        seen.extend(desk.house.fetch("SELECT outcome, closed_at FROM attempts"))
        return Scripted()

    desk.fake.answer = look
    desk.ask(["some words"])
    assert seen == [("open", None)]
    [(outcome, opened_at, closed_at)] = desk.house.fetch("SELECT outcome, opened_at, closed_at FROM attempts")
    assert outcome == "accepted"
    assert closed_at >= opened_at


def test_everything_that_was_sent_and_came_back_is_recorded(desk: Desk) -> None:
    usage = {
        "prompt_tokens": 70,
        "completion_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 60},
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    desk.fake.answer = _in_turn(Scripted(reasoning="it is red", usage=usage, headers={"x-ratelimit-left": "9"}))
    [row] = desk.ask(["some words"])
    [(sent, received)] = desk.house.fetch("SELECT r.body, a.body FROM requests r JOIN attempts a USING (request_key)")
    [call] = desk.fake.calls
    with desk.house.ledger.reading() as connection:
        assert get_body(connection, sent.hex()) == call.raw
        response = get_body(connection, received.hex())
    assert b'"reasoning_content": "it is red"' in response
    [found] = desk.house.fetch(
        "SELECT stop_reason, reasoning, model_served, status, input_tokens, output_tokens, cache_read_tokens,"
        " reasoning_tokens FROM attempts"
    )
    assert found == ("stop", "it is red", "gpt-fake", 200, 70, 30, 60, 20)
    [(output, digest)] = desk.house.fetch("SELECT output, output_digest FROM completions")
    assert (output, digest.hex()) == (row["output"], answer_digest(row["request_key"], row["output"]))
    [(headers,)] = desk.house.fetch("SELECT headers FROM attempts")
    assert '"x-ratelimit-left":"9"' in headers


def test_no_key_is_written_to_the_ledger(desk: Desk) -> None:
    desk.fake.answer = _in_turn(Scripted(status=500, body="you sent sk-fake-0123456789abcdef"))
    desk.ask(["some words"])
    desk.house.ledger.close()
    connection = sqlite3.connect(desk.house.home / "ledger.sqlite")
    dump = "\n".join(connection.iterdump())
    connection.close()
    assert "sk-fake" not in dump
    assert b"sk-fake".hex() not in dump.lower()


def test_transient_failures_are_sent_again_and_end_accepted(desk: Desk) -> None:
    desk.fake.answer = _in_turn(RATE_LIMIT, Scripted(status=500), Scripted(drop=True))
    assert desk.list_states(["some words"]) == ["accepted"]
    assert desk.house.fetch("SELECT outcome, failure_class, status FROM attempts ORDER BY attempt_id") == [
        ("failed", "rate_limit", 429),
        ("failed", "overload", 500),
        ("failed", "timeout", None),
        ("accepted", None, 200),
    ]


def test_a_retry_waits_as_long_as_the_provider_asks(desk: Desk) -> None:
    desk.fake.answer = _in_turn(Scripted(status=429, headers={"retry-after-ms": "150"}))
    desk.ask(["some words"])
    first, second = desk.fake.calls
    assert second.time - first.time >= 0.15


def test_a_wait_that_is_too_long_leaves_the_row_pending_after_one_call(desk: Desk) -> None:
    desk.fake.answer = _in_turn(Scripted(status=429, headers={"retry-after": "3600"}))
    assert desk.list_states(["some words"]) == ["pending"]
    assert len(desk.fake.calls) == 1


def test_sixteen_sends_in_vain_are_all_that_a_run_makes_whoever_begins_anew(open_desk: Callable[..., Desk]) -> None:
    for n_calls in (4, 8, 12, 16, 16):
        desk = open_desk()
        desk.fake.answer = lambda _: Scripted(status=429, headers={"retry-after": "0"})
        [row] = desk.ask(["some words"])
        assert (row["state"], row["failure_class"], len(desk.fake.calls)) == ("pending", "rate_limit", n_calls)
    # Another run is another budget.
    desk.fake.answer = lambda _: Scripted()
    assert desk.list_states(["some words"], run_id=desk.house.begin("night-2")) == ["accepted"]


def test_a_send_that_was_killed_counts(desk: Desk) -> None:
    desk.fake.answer = _in_turn(*[RATE_LIMIT] * 4)
    desk.ask(["some words"])
    desk.house.tamper("UPDATE attempts SET outcome = 'open', failure_class = NULL, closed_at = NULL")
    desk.fake.answer = lambda _: RATE_LIMIT
    for _ in range(4):
        desk.ask(["some words"])
    assert len(desk.fake.calls) == 16


def test_a_row_told_to_come_back_in_an_hour_is_left_alone_until_then(desk: Desk) -> None:
    desk.fake.answer = _in_turn(Scripted(status=429, headers={"retry-after": "3600"}))
    [row] = desk.ask(["some words"])
    assert desk.ask(["some words"]) == [row]
    assert len(desk.fake.calls) == 1
    desk.house.tamper("UPDATE attempts SET closed_at = closed_at - 3601")
    assert desk.list_states(["some words"]) == ["accepted"]


def test_four_transient_failures_leave_the_row_pending_and_a_later_pass_asks_again(desk: Desk) -> None:
    desk.fake.answer = _in_turn(*[RATE_LIMIT] * 4)
    [row] = desk.ask(["some words"])
    assert (row["state"], row["failure_class"], len(desk.fake.calls)) == ("pending", "rate_limit", 4)
    assert desk.list_states(["some words"]) == ["accepted"]
    assert len(desk.fake.calls) == 5


def test_a_call_that_hangs_ends_at_its_deadline(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(call_timeout_s=0.4)
    desk.fake.answer = _in_turn(Scripted(delay_s=60))
    assert desk.list_states(["some words"]) == ["accepted"]
    assert desk.house.fetch("SELECT failure_class FROM attempts ORDER BY attempt_id") == [("timeout",), (None,)]


def test_at_most_c_calls_are_in_flight(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(concurrency=3)
    desk.fake.answer = lambda _: Scripted(delay_s=0.2)
    assert desk.list_states([f"row {n}" for n in range(7)]) == ["accepted"] * 7
    # A call lasts as long as its delay at the least: those that came within one were in flight together.
    together = [sum(0 <= other.time - call.time < 0.2 for other in desk.fake.calls) for call in desk.fake.calls]
    assert max(together) == 3


def test_a_slot_is_held_until_its_answer_is_on_disk(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(concurrency=1)
    unacknowledged: list[int] = []

    def look(body: dict[str, Any]) -> Scripted:
        calls: list[Call] = desk.fake.calls
        [(n_answers,)] = desk.house.fetch("SELECT count(*) FROM completions")
        unacknowledged.append(len(calls) - n_answers)
        return Scripted()

    desk.fake.answer = look
    desk.ask([f"row {n}" for n in range(5)])
    assert unacknowledged == [1] * 5


def test_a_row_that_the_template_cannot_take_is_quarantined_alone_and_nothing_is_remembered(desk: Desk) -> None:
    prompt = desk.house.make_prompt(endpoint=desk.fake.openai_base_url, text="{{ body | int(default=none) + 1 }}")
    for _ in range(2):
        rows = desk.ask(["1", "no number", "2"], prompt)
        assert [(r["state"], r["failure_class"]) for r in rows] == [
            ("accepted", None),
            ("quarantined", "unrenderable"),
            ("accepted", None),
        ]
        assert rows[1]["reason"].startswith("The template of prompt 'sort' fails on a row")
        assert "\n" not in rows[1]["reason"]
    assert len(desk.fake.calls) == 2
    assert desk.house.fetch("SELECT * FROM quarantines") == []
    assert desk.house.fetch("SELECT count(*) FROM attempts") == [(2,)]


@pytest.mark.parametrize("status", [429, 503])
def test_where_the_provider_says_not_to_send_it_again_a_row_is_sent_once_and_left_pending(
    desk: Desk, status: int
) -> None:
    desk.fake.answer = _in_turn(Scripted(status=status, headers={"x-should-retry": "false"}))
    [row] = desk.ask(["some words"])
    assert (row["state"], len(desk.fake.calls)) == ("pending", 1)
    assert "a later run asks" in row["reason"]
    assert desk.list_states(["some words"]) == ["accepted"]
    assert len(desk.fake.calls) == 2


def test_an_error_that_nobody_foresaw_waits_for_the_calls_in_flight(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(rules: Any, values: dict[str, Any], output: Any, memory: Any) -> None:
        if values["body"] == "odd":
            raise ZeroDivisionError

    monkeypatch.setattr(judge, "check_row", check)
    desk.fake.answer = lambda body: Scripted(delay_s=0.0 if "odd" in str(body["messages"]) else 0.3)
    with pytest.raises(ZeroDivisionError):
        desk.ask(["odd", "good", "fine"])
    assert desk.house.fetch("SELECT outcome FROM attempts ORDER BY outcome") == [
        ("accepted",),
        ("accepted",),
        ("open",),
    ]


def test_the_embedded_model_has_at_most_one_call_in_flight_whatever_the_concurrency(
    open_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = open_desk(concurrency=4)

    async def make_stand_in(model: ModelRef, **options: Any) -> Client:
        return await make_client(ModelRef("openai", model.name), **options)

    monkeypatch.setattr(engine, "make_client", make_stand_in)
    desk.fake.answer = lambda _: Scripted(delay_s=0.1)
    prompt = desk.make_prompt(model="local:tiny")
    assert desk.list_states([f"row {n}" for n in range(4)], prompt) == ["accepted"] * 4
    times = [call.time for call in desk.fake.calls]
    assert all(later - earlier >= 0.1 for earlier, later in pairwise(times))


def test_a_call_to_a_provider_does_not_wait_for_the_embedded_model(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def make_stand_in(model: ModelRef, **options: Any) -> Client:
        return await make_client(ModelRef("openai", model.name), **options)

    monkeypatch.setattr(engine, "make_client", make_stand_in)
    embedded, remote = (
        desk.engine.run(desk.engine.lane(m, desk.fake.openai_base_url)) for m in ("local:a", "openai:a")
    )
    assert embedded.limiter is desk.engine.local_limiter
    assert remote.limiter is desk.engine.limiter is not desk.engine.local_limiter


def test_declared_requests_a_minute_are_kept(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(terms=(ModelTerms("openai:gpt-fake", requests_per_minute=240),))
    assert desk.list_states([f"row {n}" for n in range(8)]) == ["accepted"] * 8
    times = sorted(call.time for call in desk.fake.calls)
    # A second's worth at once, which are four, and then one each quarter of a second.
    assert times[-1] - times[0] >= 0.8


@pytest.mark.parametrize("count", [2**31, 2**63, 10**30])
def test_a_count_of_tokens_that_no_ledger_holds_is_not_known(desk: Desk, count: int) -> None:
    desk.fake.answer = lambda _: Scripted(usage={"prompt_tokens": count, "completion_tokens": 1})
    assert desk.list_states(["some words"]) == ["accepted"]
    assert desk.house.fetch("SELECT input_tokens, output_tokens, cost_usd FROM attempts") == [(0, 1, None)]


def test_a_parameter_that_is_not_the_prompt_s_to_set_refuses_the_prompt_and_blames_no_row(desk: Desk) -> None:
    prompt = replace(desk.make_prompt(), parameters={"n": 2})
    with pytest.raises(PromptRefused, match="sets the parameter 'n'"):
        desk.ask(["some words", "others"], prompt)
    assert desk.fake.calls == []
