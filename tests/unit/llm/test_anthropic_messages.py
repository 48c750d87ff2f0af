from __future__ import annotations

from dataclasses import replace

from overnight.records import Usage
from tests.fakes.provider import Scripted


def test_the_body_asks_for_structured_output_without_the_keywords_the_provider_refuses(anthropic, ask):
    anthropic.ask()
    (call,) = anthropic.fake.calls
    assert call.path == "/v1/messages"
    assert call.body == {
        "model": "claude-fake",
        "max_tokens": 100,
        "system": ask.system,
        "messages": [{"role": "user", "content": ask.user}],
        "output_config": {
            "format": {
                "type": "json_schema",
                "schema": {
                    "type": "object",
                    # A property may be called as a keyword is.
                    "properties": {
                        "format": {"enum": ["letter", "call"]},
                        "evidence": {"type": "string"},
                        "urgency": {"type": "integer"},
                    },
                    "required": ["format", "evidence", "urgency"],
                    "additionalProperties": False,
                },
            }
        },
    }


def test_version_and_key_go_in_headers(anthropic, key):
    anthropic.ask()
    headers = anthropic.fake.calls[0].headers
    assert (headers["anthropic-version"], headers["x-api-key"]) == ("2023-06-01", key)


def test_a_temperature_is_sent_only_where_the_prompt_sets_one(anthropic, ask):
    anthropic.ask(replace(ask, parameters={"temperature": 0.3}, system=None))
    body = anthropic.fake.calls[0].body
    assert (body["temperature"], body["max_tokens"]) == (0.3, 512)
    assert "system" not in body


def test_nested_objects_are_closed_and_data_is_left_alone(anthropic, ask):
    item = {"type": "object", "properties": {"n": {"const": {"minimum": 3}}, "d": {"type": "string", "format": "date"}}}
    schema = {"type": "object", "properties": {"items": {"type": "array", "minItems": 2, "items": {"anyOf": [item]}}}}
    anthropic.fake.answer = lambda _: Scripted(text="{}")
    anthropic.ask(replace(ask, schema=schema))
    wire = anthropic.fake.calls[0].body["output_config"]["format"]["schema"]
    assert wire["additionalProperties"] is False
    assert wire["properties"]["items"] == {
        "type": "array",
        "items": {
            "anyOf": [
                {
                    "type": "object",
                    "properties": {"n": {"const": {"minimum": 3}}, "d": {"type": "string"}},
                    "additionalProperties": False,
                }
            ]
        },
    }


def test_a_reply_is_read_whole_and_cached_tokens_count_as_input(anthropic):
    usage = {
        "input_tokens": 10,
        "output_tokens": 20,
        "cache_read_input_tokens": 30,
        "cache_creation_input_tokens": 40,
    }
    anthropic.fake.answer = lambda _: Scripted(
        text='{"a": 1}', reasoning="Thinking.", usage=usage, headers={"anthropic-ratelimit-tokens-limit": "5"}
    )
    reply = anthropic.ask()
    assert (reply.text, reply.reasoning, reply.stop_reason) == ('{"a": 1}', "Thinking.", "end_turn")
    assert (reply.model_served, reply.request_id) == ("claude-fake", "req_1")
    assert reply.usage == Usage(80, 20, cache_read_tokens=30, cache_write_tokens=40)
    assert reply.headers["anthropic-ratelimit-tokens-limit"] == "5"


def test_a_refusal_is_a_reply_with_its_category(anthropic):
    anthropic.fake.answer = lambda _: Scripted(refusal="Not this.")
    reply = anthropic.ask()
    assert (reply.text, reply.refusal, reply.stop_reason) == (None, "fake: Not this.", "refusal")


def test_a_truncation_is_a_reply(anthropic):
    anthropic.fake.answer = lambda _: Scripted(text='{"a": ', finish_reason="max_tokens")
    assert anthropic.ask().stop_reason == "max_tokens"
