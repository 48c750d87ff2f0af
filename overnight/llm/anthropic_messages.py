"""Anthropic's Messages API."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from overnight.llm.exchange import Exchange
from overnight.llm.model import ModelRef
from overnight.llm.wire import (
    WireSchema,
    as_count,
    as_object,
    as_text,
    encode_body,
    list_turns,
    misshapen,
    read_object,
    read_parameters,
)
from overnight.records import Ask, Reply, Usage

ANTHROPIC_VERSION = "2023-06-01"

#: Structured output refuses these, and objects that are not closed.
_DROPPED = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "pattern", "format"),
        *("minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains"),
        *("minProperties", "maxProperties", "propertyNames", "patternProperties"),
    }
)


class AnthropicMessages:
    """A Messages client; it sends no temperature unless the prompt sets one."""

    def __init__(self, model: ModelRef, *, endpoint: str, api_key: str, timeout_s: float, concurrency: int) -> None:
        self._model = model
        self._schema = WireSchema(dropped=_DROPPED, closed=True, all_required=False)
        self._exchange = Exchange(
            f"{endpoint}/v1/messages",
            make_headers(api_key),
            who=str(model),
            secret=api_key,
            timeout_s=timeout_s,
            concurrency=concurrency,
        )

    def encode(self, ask: Ask) -> bytes:
        """The exact body that will be sent."""
        max_tokens, parameters = read_parameters(ask, {})
        return encode_body(
            {
                "model": self._model.name,
                "max_tokens": max_tokens,
                **({"system": ask.system} if ask.system else {}),
                "messages": list_turns(ask),
                **parameters,
                "output_config": {"format": {"type": "json_schema", "schema": self._schema.encode(ask.schema)}},
            }
        )

    async def send(self, body: bytes) -> Reply:
        """The reply to the body; `CallFailed` for anything but a message."""
        reply = await self._exchange.post(body)
        return self._exchange.mask(read_message(self._exchange.who, reply))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._exchange.aclose()


def make_headers(api_key: str) -> dict[str, str]:
    """What names the caller and the version of the API."""
    return {"x-api-key": api_key, "anthropic-version": ANTHROPIC_VERSION}


def read_message(who: str, reply: Reply) -> Reply:
    """
    The reply of a 200 with what its body says.

    Raises:
        CallFailed: The body is no message.
    """
    data = read_object(reply.body)
    content = data.get("content")
    if data.get("type") != "message" or not isinstance(content, list):
        raise misshapen(who, reply, "a message")
    blocks = [as_object(block) for block in content]
    stop_reason = as_text(data.get("stop_reason"))
    return replace(
        reply,
        text=_join(blocks, "text", "text"),
        reasoning=_join(blocks, "thinking", "thinking"),
        refusal=_read_refusal(as_object(data.get("stop_details"))) if stop_reason == "refusal" else None,
        stop_reason=stop_reason,
        model_served=as_text(data.get("model")),
        usage=_read_usage(as_object(data.get("usage"))),
    )


def _join(blocks: list[dict[str, Any]], kind: str, name: str) -> str | None:
    texts = [as_text(block.get(name)) for block in blocks if block.get("type") == kind]
    return "".join(t for t in texts if t) or None


def _read_refusal(details: dict[str, Any]) -> str:
    said = [as_text(details.get("category")), as_text(details.get("explanation"))]
    return ": ".join(s for s in said if s) or "no reason given"


def _read_usage(usage: dict[str, Any]) -> Usage:
    read = as_count(usage.get("cache_read_input_tokens"))
    written = as_count(usage.get("cache_creation_input_tokens"))
    return Usage(
        # Anthropic counts what went through its cache beside the input tokens, not within them.
        input_tokens=as_count(usage.get("input_tokens")) + read + written,
        output_tokens=as_count(usage.get("output_tokens")),
        cache_read_tokens=read,
        cache_write_tokens=written,
    )
