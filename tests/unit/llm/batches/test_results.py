from __future__ import annotations

import asyncio
import json
import tracemalloc
from contextlib import aclosing

import pytest

from overnight.failures import CallFailed
from overnight.llm import ModelRef, endpoint_of, make_client
from overnight.llm.batches import lines, read_result
from overnight.records import ItemKind, ItemResult, Usage
from overnight.taxonomy import FailureClass
from tests.fakes.answers import Scripted
from tests.fakes.batches import Trouble


def read_fault(sender, result) -> CallFailed:
    return sender.fail(lambda: read_result(sender.model, endpoint_of(sender.model), result))


def number(item) -> int:
    return int(item.custom_id.split("-")[2], 16)


def test_an_answer_is_read_as_a_call_of_its_own_would_be(sender, ask):
    async def call():
        client = await make_client(sender.model, endpoint=endpoint_of(sender.model), timeout_s=5, concurrency=1)
        async with aclosing(client):
            return await client.send(sender.pack(1)[0].body)

    sender.provider.answer = lambda _: Scripted(text='{"a": 1}', reasoning="Hm.")
    online = asyncio.run(call())
    sender.submit(1)
    (result,) = sender.read()
    reply = read_result(sender.model, endpoint_of(sender.model), result)
    assert reply.usage.output_tokens > 0
    for name in ("status", "text", "reasoning", "refusal", "stop_reason", "model_served", "usage"):
        assert getattr(reply, name) == getattr(online, name)
    assert json.loads(reply.body) == json.loads(online.body)


def test_a_refusal_is_a_reply_in_a_batch_too(sender):
    sender.provider.answer = lambda _: Scripted(refusal="Not this.")
    sender.submit(1)
    reply = read_result(sender.model, endpoint_of(sender.model), sender.read()[0])
    assert "Not this." in reply.refusal


def test_requests_that_expire_or_are_canceled_are_told_from_answers(sender):
    kinds = {1: "expired", 2: "canceled"}
    sender.fake.decide = lambda item: kinds.get(number(item))
    sender.submit(4)
    results = sender.read_by_number()
    assert {n: r.kind for n, r in results.items()} == {
        0: ItemKind.ANSWERED,
        1: ItemKind.EXPIRED,
        2: ItemKind.CANCELED,
        3: ItemKind.ANSWERED,
    }
    assert read_fault(sender, results[1]).failure_class is FailureClass.EXPIRED
    assert read_fault(sender, results[2]).failure_class is FailureClass.CANCELED
    assert sum(sender.fake.executed.values()) == 2


@pytest.mark.parametrize(
    ("error_type", "status", "failure_class"),
    [
        ("invalid_request_error", 400, FailureClass.BAD_REQUEST),
        ("authentication_error", 401, FailureClass.AUTH),
        ("billing_error", 402, FailureClass.SPEND_LIMIT),
        ("not_found_error", 404, FailureClass.AUTH),
        ("request_too_large", 413, FailureClass.TOO_LARGE),
        ("rate_limit_error", 429, FailureClass.RATE_LIMIT),
        ("api_error", 500, FailureClass.OVERLOAD),
        ("timeout_error", 504, FailureClass.OVERLOAD),
        ("overloaded_error", 529, FailureClass.OVERLOAD),
    ],
)
def test_an_error_is_named_as_the_call_of_its_own_would_name_it(sender, error_type, status, failure_class):
    body = {"type": "error", "error": {"type": error_type, "message": "As told."}}
    sender.fake.decide = lambda _: Scripted(status=status, body=body)
    sender.submit(1)
    (result,) = sender.read()
    assert (result.kind, result.status, json.loads(result.body)) == (ItemKind.ANSWERED, status, body)
    failed = read_fault(sender, result)
    assert failed.failure_class is failure_class
    assert "As told" in str(failed)
    assert failed.reply.status == status
    assert not sender.fake.executed


def test_a_200_that_is_not_the_providers_is_an_overload(sender):
    sender.fake.decide = lambda _: Scripted(body={"nothing": "known"})
    sender.submit(1)
    assert read_fault(sender, sender.read()[0]).failure_class is FailureClass.OVERLOAD


def test_a_missing_result_may_be_billed(sender):
    failed = read_fault(sender, ItemResult("x", ItemKind.MISSING))
    assert failed.failure_class is FailureClass.TIMEOUT
    assert "may be billed" in str(failed)


@pytest.mark.parametrize("status", [200, 500])
def test_a_key_in_a_result_is_removed(sender, key, status):
    body = json.dumps({"error": {"type": "api_error", "message": f"Bad key {key}"}}).replace("sk-f", "\\u0073k-f")
    sender.fake.decide = lambda _: Scripted(status=status, body=body)
    sender.submit(1)
    (result,) = sender.read()
    assert key.encode() not in result.body
    assert b"[secret removed]" in result.body


def test_a_short_key_is_removed_from_an_error_and_not_from_an_answer(sender, monkeypatch):
    # "ollama" is no secret, and a word that an answer may hold.
    monkeypatch.setenv("OPENAI_API_KEY", "ollama")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "ollama")
    said = {"error": {"type": "api_error", "message": "ollama is slow"}}
    sender.fake.decide = lambda item: Scripted(status=200 if number(item) else 500, body=said)
    sender.submit(2)
    results = sender.read_by_number()
    assert (b"ollama" in results[0].body, b"ollama" in results[1].body) == (False, True)


def test_a_line_that_is_too_long_is_not_held(monkeypatch):
    monkeypatch.setattr(lines, "MAX_BODY_BYTES", 100_000)

    async def drip():
        yield b'{"custom_id": "long", "response": "'
        for _ in range(1000):
            yield b"x" * 10_000
        yield b'"}\n{"custom_id": "next"}\n'

    async def read():
        tracemalloc.start()
        try:
            return [line async for line in lines.read_lines("who", drip())], tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    found, peak = asyncio.run(read())
    assert found == [({}, "long"), ({"custom_id": "next"}, None)]
    assert peak < 1_000_000


def test_a_cut_file_of_results_is_no_end(sender):
    sender.submit(50)
    look = sender.look()
    sender.fake.troubles.append(Trouble("results", is_done=True, cut_at=3000))
    assert sender.fail(lambda: sender.read(look)).failure_class is FailureClass.TIMEOUT
    assert len(sender.read(look)) == 50


def test_a_file_that_ends_within_a_line_was_cut_even_where_its_length_says_nothing(sender):
    sender.submit(1)
    look = sender.look()
    sender.fake.troubles.append(Trouble("results", body='{"custom_id": "a-b-1", "resp'))
    assert sender.fail(lambda: sender.read(look)).failure_class is FailureClass.TIMEOUT


def test_lines_that_say_nothing_are_left_out(sender):
    sender.submit(1)
    look = sender.look()
    good = json.dumps(
        {"custom_id": "good", "response": {"status_code": 200, "body": {}}, "result": {"type": "succeeded"}}
    )
    odd = ["no json", "[1]", "{}", "", '{"custom_id": 7}', '{"custom_id": "odd", "result": {"type": "new"}}']
    sender.fake.troubles.append(Trouble("results", body="\n".join([*odd, good, ""])))
    assert [result.custom_id for result in sender.read(look)] == ["good"]


def test_a_result_without_a_line_break_at_the_end_counts(sender):
    sender.submit(1)
    look = sender.look()
    body = '{"custom_id": "last", "response": {"status_code": 200, "body": {}}, "result": {"type": "succeeded"}}'
    sender.fake.troubles.append(Trouble("results", body=body))
    assert [result.custom_id for result in sender.read(look)] == ["last"]


def test_an_answer_that_is_too_long_is_too_large_and_the_others_are_read(sender, monkeypatch):
    monkeypatch.setattr(lines, "MAX_BODY_BYTES", 50_000)
    sender.fake.decide = lambda item: Scripted(text="x" * 400_000) if number(item) == 1 else None
    sender.submit(3)
    results = sender.read_by_number()
    assert len(results) == 3
    assert read_fault(sender, results[1]).failure_class is FailureClass.TOO_LARGE
    assert results[0].status == results[2].status == 200


def test_a_name_within_an_answer_that_is_too_long_is_not_taken_for_the_requests(sender, monkeypatch):
    monkeypatch.setattr(lines, "MAX_BODY_BYTES", 2000)
    sender.submit(1)
    look = sender.look()
    line = '{"response": {"custom_id": "inner", "x": "' + "x" * 5000 + '"}, "custom_id": "outer"}\n'
    sender.fake.troubles.append(Trouble("results", body=line))
    assert sender.read(look) == []


def test_results_are_read_from_where_the_batch_is(anthropic):
    # A URL of an answer would carry the key to whoever it names.
    with type(anthropic.provider)() as other:
        anthropic.fake.results_url = f"{other.anthropic_base_url}/v1/messages/batches/x/results"
        anthropic.submit()
        assert len(anthropic.read()) == 3
        assert other.calls == []


def test_an_error_without_its_shell_is_read(anthropic):
    anthropic.submit(1)
    look = anthropic.look()
    line = {"custom_id": "a", "result": {"type": "errored", "error": {"type": "overloaded_error", "message": "Busy"}}}
    anthropic.fake.troubles.append(Trouble("results", body=json.dumps(line)))
    (result,) = anthropic.read(look)
    assert result.status == 529
    assert "Busy" in str(read_fault(anthropic, result))


def test_an_error_without_a_response_has_the_status_that_says_the_same(openai):
    openai.submit(1)
    openai.fake.decide = lambda _: "expired"
    look = openai.look()
    coded = [("rate_limit_exceeded", 429), ("invalid_request", 400), ("server_error", 500)]
    body = "\n".join(
        json.dumps({"custom_id": code, "response": None, "error": {"code": code, "message": "Said."}})
        for code, _ in coded
    )
    openai.fake.troubles.append(Trouble("results", body=body))
    assert [(r.custom_id, r.status) for r in openai.read(look)] == coded


def test_answers_and_errors_of_openai_stand_in_two_files_of_which_either_may_be_missing(openai):
    openai.fake.decide = lambda item: "expired" if number(item) else None
    openai.submit(1)
    assert len(openai.look().files) == 1
    assert openai.fake.received.pop().output_file_id is None
    openai.submit(2)
    assert len(openai.look().files) == 2
    openai.fake.received.clear()
    openai.fake.decide = lambda _: "expired"
    openai.submit(2)
    look = openai.look()
    assert (look.status, len(look.files), len(openai.read(look))) == ("expired", 1, 2)


def test_usage_is_what_the_line_says(openai):
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 5}}
    openai.fake.decide = lambda _: Scripted(text="{}", usage=usage)
    openai.submit(1)
    reply = read_result(ModelRef("openai", "gpt-fake"), "http://x/v1", openai.read()[0])
    assert reply.usage == Usage(10, 20, cache_read_tokens=5)
