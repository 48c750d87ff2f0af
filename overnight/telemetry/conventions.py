"""Calls as OpenTelemetry's conventions for generative AI describe them: attributes, and messages where asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import orjson

from overnight.masking import mask_secrets
from overnight.records import Reply

Attributes = dict[str, str | int | float | list[str]]

#: Boundaries that the conventions ask for.
TOKEN_BUCKETS = [4**n for n in range(14)]
DURATION_BUCKETS = [0.01 * 2**n for n in range(14)]

#: Numbers of a request; everything else in it is the prompt's, or the row's.
_NUMBERS = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")
_PORTS = {"http": 80, "https": 443}
#: What a provider calls its answers and models; anything else in that place may be words of an answer.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@/+-]{0,127}")
#: Stop reasons by the name that the conventions have for them.
_FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


@dataclass(frozen=True)
class SendFacts:
    """One send, by what is known before it."""

    run_id: str
    request_key: str
    attempt_id: int
    #: Why it is made: "first", "again", "reask", …
    cause: str
    provider: str
    model: str
    endpoint: str
    #: The bytes that are sent.
    body: bytes


def describe_model(facts: SendFacts) -> Attributes:
    """What spans and metrics have in common: operation, model and server."""
    attributes: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": facts.provider,
        "gen_ai.request.model": facts.model,
    }
    parts = urlsplit(facts.endpoint)
    if parts.hostname and parts.scheme in _PORTS:  # the embedded model is at no address
        attributes |= {"server.address": parts.hostname, "server.port": parts.port or _PORTS[parts.scheme]}
    return attributes


def describe_request(facts: SendFacts, body: Mapping[str, Any]) -> Attributes:
    """What a span says of the request besides."""
    attributes: Attributes = {
        "gen_ai.output.type": "json",
        "overnight.run_id": facts.run_id,
        "overnight.request_key": facts.request_key,
        "overnight.attempt_id": facts.attempt_id,
        "overnight.cause": facts.cause,
    }
    numbers = {name: _find_number(body.get(name)) for name in _NUMBERS}
    numbers["max_tokens"] = _find_number(body.get("max_completion_tokens", body.get("max_tokens")))
    return attributes | {f"gen_ai.request.{name}": n for name, n in numbers.items() if n is not None}


def describe_reply(reply: Reply) -> Attributes:
    """What a span says of the reply."""
    usage = reply.usage
    attributes: Attributes = {}
    if name := find_model_served(reply):
        attributes["gen_ai.response.model"] = name
    if name := _find_name(read_json(reply.body).get("id")) if reply.status == HTTPStatus.OK else None:
        attributes["gen_ai.response.id"] = name
    if name := _find_name(reply.stop_reason):
        attributes["gen_ai.response.finish_reasons"] = [name]
    counted = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read.input_tokens": usage.cache_read_tokens,
        "cache_creation.input_tokens": usage.cache_write_tokens,
        "reasoning.output_tokens": usage.reasoning_tokens,
    }
    return attributes | {f"gen_ai.usage.{kind}": n for kind, n in counted.items() if n}


def find_model_served(reply: Reply) -> str | None:
    """The model that says it has answered."""
    return _find_name(reply.model_served)


def describe_input(body: Mapping[str, Any]) -> Attributes:
    """The messages that were sent, word by word."""
    attributes: Attributes = {"gen_ai.input.messages": _dump([_message(m) for m in body.get("messages", [])])}
    if system := body.get("system"):
        attributes["gen_ai.system_instructions"] = _dump([_part("text", system)])
    return attributes


def describe_output(reply: Reply) -> Attributes:
    """The answer, word by word."""
    said = (("reasoning", reply.reasoning), ("text", reply.text), ("text", reply.refusal))
    stop = reply.stop_reason or "error"
    message = {
        "role": "assistant",
        "parts": [_part(kind, text) for kind, text in said if text],
        "finish_reason": _FINISHES.get(stop, stop),
    }
    return {"gen_ai.output.messages": _dump([message])} if message["parts"] else {}


def read_json(data: bytes) -> dict[str, Any]:
    """The JSON object in the bytes; empty where they hold none."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _message(turn: Mapping[str, Any]) -> dict[str, Any]:
    return {"role": turn["role"], "parts": [_part("text", turn["content"])]}


def _part(kind: str, text: str) -> dict[str, str]:
    return {"type": kind, "content": mask_secrets(text)}


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()


def _find_name(value: Any) -> str | None:
    return value if isinstance(value, str) and _NAME.fullmatch(value) else None


def _find_number(value: Any) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63 else None
