from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from overnight.failures import PartRefused
from overnight.keys import canonical_json, request_key
from overnight.ledger.completions import Completion, accept
from overnight.records import Batch
from tests.fakes.provider import Scripted, answer_by_schema
from tests.unit.complete.conftest import Desk

NO_ELSEWHERE = {"rule": "forbidden", "field": "quote", "phrases": ["elsewhere"]}
LONG = {"rule": "max_chars", "field": "quote", "limit": 3}

#: A row by its first word: what the provider does, and how the row ends.
ENDS = {
    "good": (Scripted(), "accepted"),
    "busy": (Scripted(status=503), "pending"),
    "refused": (Scripted(refusal="no"), "quarantined"),
    "cut": (Scripted(finish_reason="length"), "quarantined"),
}


def _text_of(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"]).removeprefix("Sort this: <query>").removesuffix("</query>")


def test_every_row_is_answered_and_keeps_its_place(desk: Desk) -> None:
    rows = desk.ask(["one red car", "two blue cars"])
    assert [(r["row_id"], r["state"], r["reason"]) for r in rows] == [
        ("r1", "accepted", None),
        ("r2", "accepted", None),
    ]
    assert ["one red car" in rows[0]["output"], "two blue cars" in rows[1]["output"]] == [True, True]


def test_a_hit_costs_no_call(desk: Desk) -> None:
    first = desk.ask(["a", "b"])
    assert desk.ask(["b", "a", "c"])[:2] == [
        {**first[1], "row_id": "r1", "row_number": 1},
        {**first[0], "row_id": "r2", "row_number": 2},
    ]
    assert [_text_of(call.body) for call in desk.fake.calls[2:]] == ["c"]


def test_the_same_batch_again_is_the_same_part(desk: Desk) -> None:
    batch = desk.house.read_batch(["a", "", "b"])
    assert desk.complete(batch) == desk.complete(batch)


def test_equal_rows_of_a_batch_cost_one_call(desk: Desk) -> None:
    assert desk.list_states(["same", "same", "same"]) == ["accepted"] * 3
    assert len(desk.fake.calls) == 1


def test_equal_rows_of_two_batches_at_once_cost_one_call(desk: Desk) -> None:
    arrived, both_wait = threading.Event(), threading.Event()

    def answer(body: dict[str, Any]) -> Scripted:
        arrived.set()
        assert both_wait.wait(10)
        return Scripted()

    desk.fake.answer = answer
    prompt, one, other = desk.make_prompt(), desk.house.read_batch(["same"]), desk.house.read_batch(["same"], n=2)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(desk.complete, one, prompt)
        assert arrived.wait(10)
        second = pool.submit(desk.complete, other, prompt)
        both_wait.set()
        assert (first.result(10).n_accepted, second.result(10).n_accepted) == (1, 1)
    assert len(desk.fake.calls) == 1


@pytest.mark.parametrize("rules", [[], [NO_ELSEWHERE]], ids=["no rule", "a rule that refuses it"])
def test_an_answer_that_another_process_gave_meanwhile_costs_no_call_and_is_judged(
    open_desk: Callable[..., Desk], rules: list[dict[str, Any]]
) -> None:
    desk = open_desk(concurrency=1)
    prompt = desk.make_prompt(*rules)
    late = canonical_json({"body": "third"}).decode()

    def answer_the_third(body: dict[str, Any]) -> dict[str, Any]:
        found = desk.house.fetch("SELECT min(attempt_id) FROM attempts")
        key = request_key(late, prompt.prompt_hash)
        desk.house.ledger.write(lambda c: _accept_elsewhere(c, key, late, prompt.prompt_hash, found[0][0]))
        return answer_by_schema(body)

    desk.fake.answer = answer_the_third
    # One call in flight and one that waits for its turn: the third is looked at again only after the first.
    rows = desk.ask(["first", "second", "third"], prompt)
    assert [r["state"] for r in rows[:2]] == ["accepted"] * 2
    found = (rows[2]["state"], rows[2]["output"], rows[2]["failure_class"])
    if rules:
        assert found == ("quarantined", None, "check_failed")
    else:
        assert found == ("accepted", '{"label":"red","quote":"elsewhere"}', None)
    assert sorted(_text_of(call.body) for call in desk.fake.calls) == ["first", "second"]


def _accept_elsewhere(connection: Any, key: str, input_json: str, prompt_hash: str, attempt_id: int) -> None:
    values = {"k": bytes.fromhex(key), "p": bytes.fromhex(prompt_hash), "i": input_json}
    connection.exec_driver_sql(
        "INSERT OR IGNORE INTO requests SELECT :k, :p, :i, body, 1.0, NULL FROM requests LIMIT 1", values
    )
    accept(connection, [(key, Completion(attempt_id, '{"label":"red","quote":"elsewhere"}'))], 1.0)


def test_rows_set_aside_at_intake_stay_as_they_are_and_cost_no_call(desk: Desk) -> None:
    rows = desk.ask(["good", ""])
    assert [(r["state"], r["failure_class"]) for r in rows] == [("accepted", None), ("quarantined", "missing_value")]
    assert len(desk.fake.calls) == 1


def test_an_altered_part_is_refused_before_any_call(desk: Desk) -> None:
    batch = desk.house.read_batch(["a"])
    (desk.house.home / batch.part.path).write_bytes(b"other rows")
    with pytest.raises(PartRefused):
        desk.complete(batch)
    assert desk.fake.calls == []


def test_a_new_row_rule_judges_recorded_answers_without_a_call(desk: Desk) -> None:
    lax, strict = desk.make_prompt(), desk.make_prompt(LONG)
    assert desk.list_states(["long text", "sun"], lax) == ["accepted", "accepted"]
    rows = desk.ask(["long text", "sun"], strict)
    assert [(r["state"], r["failure_class"], r["rule"]) for r in rows] == [
        ("quarantined", "check_failed", "max_chars(quote)"),
        ("accepted", None, None),
    ]
    assert desk.list_states(["long text", "sun"], lax) == ["accepted", "accepted"]
    assert len(desk.fake.calls) == 2


def test_an_answer_that_a_rule_refused_is_accepted_without_a_call_when_the_rule_is_gone(desk: Desk) -> None:
    lax, strict = desk.make_prompt(), desk.make_prompt(LONG)
    [refused] = desk.ask(["long text"], strict)
    assert (refused["state"], refused["output"]) == ("quarantined", None)
    [freed] = desk.ask(["long text"], lax)
    assert (freed["state"], freed["reason"]) == ("accepted", None)
    assert '"quote":"long text"' in freed["output"]
    assert desk.list_states(["long text"], strict) == ["quarantined"]
    assert len(desk.fake.calls) == 2  # the first, and once with what was wrong


@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["", *(f"{word} {n}" for word in ENDS for n in range(50))]), min_size=1, max_size=12))
def test_no_row_vanishes_whatever_the_provider_does(desk: Desk, texts: list[str]) -> None:
    desk.fake.answer = lambda body: ENDS[_text_of(body).split()[0]][0]
    batch: Batch = desk.house.read_batch(texts)
    completed = desk.complete(batch)
    assert completed.n_accepted + completed.n_quarantined + completed.n_pending == batch.n_rows == len(texts)
    rows = desk.read(completed)
    assert [r["row_id"] for r in rows] == [f"r{n}" for n in range(1, len(texts) + 1)]
    assert [r["state"] for r in rows] == [ENDS[t.split()[0]][1] if t else "quarantined" for t in texts]
    assert all((r["output"] is not None) == (r["state"] == "accepted") == (r["reason"] is None) for r in rows)
