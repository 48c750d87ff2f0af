"""OpenAI chat completions, and the many servers that speak it (vLLM, Ollama, llama.cpp, gateways)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

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

#: OpenAI's strict mode refuses these.
_DROPPED = frozenset({"minLength", "maxLength", "uniqueItems", "minProperties", "maxProperties", "propertyNames"})


class OpenAIChat:
    """
    A chat-completions client.

    Args:
        defaults: Parameters for prompts that do not set them.
        extra: Fields of every body.
    """

    def __init__(
        self,
        model: ModelRef,
        *,
        endpoint: str,
        api_key: str,
        timeout_s: float,
        concurrency: int,
        defaults: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self._model = model
        self._defaults = defaults or {}
        self._extra = extra or {}
        # Strict mode is OpenAI's own; elsewhere the whole schema steers the decoding better.
        genuine = urlsplit(endpoint).hostname == "api.openai.com"
        self._max_tokens_name = "max_completion_tokens" if genuine else "max_tokens"
        self._schema = WireSchema(dropped=_DROPPED if genuine else frozenset(), closed=genuine, all_required=genuine)
        self._exchange = Exchange(
            f"{endpoint}/chat/completions",
            make_headers(api_key),
            who=str(model),
            secret=api_key,
            timeout_s=timeout_s,
            concurrency=concurrency,
        )

    def encode(self, ask: Ask) -> bytes:
        """The exact body that will be sent."""
        max_tokens, parameters = read_parameters(ask, self._defaults)
        system = [{"role": "system", "content": ask.system}] if ask.system else []
        schema = {"name": "answer", "strict": True, "schema": self._schema.encode(ask.schema)}
        return encode_body(
            {
                "model": self._model.name,
                "messages": [*system, *list_turns(ask)],
                self._max_tokens_name: max_tokens,
                **parameters,
                **self._extra,
                "response_format": {"type": "json_schema", "json_schema": schema},
            }
        )

    async def send(self, body: bytes) -> Reply:
        """The reply to the body; `CallFailed` for anything but a chat completion."""
        reply = await self._exchange.post(body)
        return self._exchange.mask(read_completion(self._exchange.who, reply))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._exchange.aclose()


def make_headers(api_key: str) -> dict[str, str]:
    """What names the caller; many a compatible server does without."""
    return {"authorization": f"Bearer {api_key}"} if api_key else {}


def read_completion(who: str, reply: Reply) -> Reply:
    """
    The reply of a 200 with what its body says.

    Raises:
        CallFailed: The body is no chat completion.
    """
    data = read_object(reply.body)
    choices = data.get("choices")
    choice = as_object(choices[0]) if isinstance(choices, list) and choices else {}
    message = choice.get("message")
    if not isinstance(message, dict) or not isinstance(message.get("content"), str | None):
        raise misshapen(who, reply, "a chat completion")
    return replace(
        reply,
        text=as_text(message.get("content")),
        reasoning=as_text(message.get("reasoning_content")) or as_text(message.get("reasoning")),
        refusal=as_text(message.get("refusal")) or None,
        stop_reason=as_text(choice.get("finish_reason")),
        model_served=as_text(data.get("model")),
        usage=_read_usage(as_object(data.get("usage"))),
    )


def _read_usage(usage: dict[str, Any]) -> Usage:
    return Usage(
        input_tokens=as_count(usage.get("prompt_tokens")),
        output_tokens=as_count(usage.get("completion_tokens")),
        cache_read_tokens=as_count(as_object(usage.get("prompt_tokens_details")).get("cached_tokens")),
        reasoning_tokens=as_count(as_object(usage.get("completion_tokens_details")).get("reasoning_tokens")),
    )
