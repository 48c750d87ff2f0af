from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from overnight.failures import CallFailed, PromptRefused
from overnight.llm import make_client
from overnight.records import Ask, Usage
from overnight.taxonomy import FailureClass
from tests.fakes.provider import Scripted


def test_the_body_is_a_strict_schema_request(openai, ask):
    openai.ask()
    (call,) = openai.fake.calls
    assert call.path == "/v1/chat/completions"
    assert call.body == {
        "model": "gpt-fake",
        "messages": [{"role": "system", "content": ask.system}, {"role": "user", "content": ask.user}],
        "max_tokens": 100,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": ask.schema},
        },
    }


def test_the_key_goes_in_a_bearer_header(openai, key):
    openai.ask()
    assert openai.fake.calls[0].headers["authorization"] == f"Bearer {key}"


def test_without_a_key_no_header_is_sent(openai, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    openai.ask()
    assert "authorization" not in openai.fake.calls[0].headers


def encode(model, endpoint, ask) -> bytes:
    async def encode_once() -> bytes:
        client = await make_client(model, endpoint=endpoint, timeout_s=1, concurrency=1)
        try:
            return client.encode(ask)
        finally:
            await client.aclose()

    return asyncio.run(encode_once())


def test_openai_itself_gets_what_its_strict_mode_takes(openai, ask):
    loose = {
        "type": "object",
        "properties": {"a": {"type": "string", "maxLength": 9}, "b": {"type": "integer", "minimum": 1}},
    }
    body = json.loads(encode(openai.model, "https://api.openai.com/v1", replace(ask, schema=loose)))
    assert body["max_completion_tokens"] == 100
    assert "max_tokens" not in body
    assert body["response_format"]["json_schema"]["schema"] == {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "integer", "minimum": 1}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }


def test_the_same_ask_gives_the_same_bytes(openai, ask):
    url = openai.fake.openai_base_url
    assert encode(openai.model, url, ask) == encode(openai.model, url, ask)


def test_parameters_pass_through_and_the_limit_has_a_default(openai, ask):
    openai.ask(replace(ask, system=None, parameters={"temperature": 0.5, "seed": 3}))
    body = openai.fake.calls[0].body
    assert (body["temperature"], body["seed"], body["max_tokens"]) == (0.5, 3, 512)
    assert [m["role"] for m in body["messages"]] == ["user"]


def test_a_parameter_cannot_replace_the_request(openai, ask):
    with pytest.raises(PromptRefused, match="'stream'"):
        openai.ask(replace(ask, parameters={"stream": True}))


def test_a_text_without_a_utf8_form_is_the_rows_fault(openai, ask):
    with pytest.raises(CallFailed) as caught:
        openai.ask(Ask(None, "\ud800", ask.schema, {}))
    assert caught.value.failure_class is FailureClass.BAD_REQUEST
    assert openai.fake.calls == []


def test_a_reply_is_read_whole(openai):
    usage = {
        "prompt_tokens": 50,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 30},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    openai.fake.answer = lambda _: Scripted(
        text='{"a": 1}',
        reasoning="Thinking.",
        model="gpt-other",
        usage=usage,
        headers={"x-request-id": "req-7", "x-ratelimit-remaining-requests": "9", "set-cookie": "a=b"},
    )
    reply = openai.ask()
    assert (reply.text, reply.reasoning, reply.refusal, reply.stop_reason) == ('{"a": 1}', "Thinking.", None, "stop")
    assert reply.model_served == "gpt-other"
    assert reply.usage == Usage(50, 20, cache_read_tokens=30, reasoning_tokens=5)
    assert json.loads(reply.body)["model"] == "gpt-other"
    assert reply.headers["x-ratelimit-remaining-requests"] == "9"
    assert "set-cookie" not in reply.headers


def test_a_refusal_is_a_reply(openai):
    openai.fake.answer = lambda _: Scripted(refusal="I cannot help with that.")
    reply = openai.ask()
    assert (reply.text, reply.refusal) == (None, "I cannot help with that.")


def test_a_truncation_is_a_reply_with_its_partial_text(openai):
    openai.fake.answer = lambda _: Scripted(text='{"a": ', finish_reason="length")
    reply = openai.ask()
    assert (reply.text, reply.stop_reason) == ('{"a": ', "length")


def test_a_lone_surrogate_in_the_text_becomes_its_escape(openai):
    openai.fake.answer = lambda _: Scripted(text='{"a": "\ud800"}')
    assert openai.ask().text == '{"a": "\\ud800"}'


@pytest.mark.parametrize("usage", [{"prompt_tokens": None}, {"prompt_tokens": "many", "prompt_tokens_details": 3}])
def test_nonsense_in_the_usage_counts_as_nothing(openai, usage):
    openai.fake.answer = lambda _: Scripted(usage=usage)
    assert openai.ask().usage == Usage()
