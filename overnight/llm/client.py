"""One way to ask a model, whichever provider serves it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from overnight.failures import ModelRefused
from overnight.llm import local
from overnight.llm.model import ModelRef, api_key_of, check_ready, endpoint_of
from overnight.records import Ask, Reply


class Client(Protocol):
    """A model that can be asked; every call is sent once."""

    def encode(self, ask: Ask) -> bytes:
        """The exact body that will be sent; the same ask gives the same bytes."""
        ...

    async def send(self, body: bytes) -> Reply:
        """
        The provider's reply to a body, refusals and truncations included.

        Raises:
            CallFailed: Anything but a 200 of the provider's shape.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections; for the embedded model, end its process."""
        ...


async def make_client(model: ModelRef, *, endpoint: str, timeout_s: float, concurrency: int) -> Client:
    """
    A client for the model at the endpoint that the prompt hash holds.

    Args:
        model: What to ask.
        endpoint: As `endpoint_of` gave it when the run was pinned.
        timeout_s: Total deadline of one call.
        concurrency: Connections kept to the provider.

    Raises:
        ModelRefused: The key or the model's file is missing, or the embedded model does not start.
    """
    check_ready(model)
    if model.provider == "local":
        return await _make_local_client(model, endpoint, timeout_s)
    if model.provider == "anthropic":
        from overnight.llm.anthropic_messages import AnthropicMessages  # noqa: PLC0415 - half a second of imports

        return AnthropicMessages(
            model, endpoint=endpoint, api_key=api_key_of(model), timeout_s=timeout_s, concurrency=concurrency
        )
    from overnight.llm.openai_chat import OpenAIChat  # noqa: PLC0415 - half a second of imports

    return OpenAIChat(model, endpoint=endpoint, api_key=api_key_of(model), timeout_s=timeout_s, concurrency=concurrency)


async def _make_local_client(model: ModelRef, endpoint: str, timeout_s: float) -> Client:
    from overnight.llm.openai_chat import OpenAIChat  # noqa: PLC0415 - half a second of imports

    if endpoint != endpoint_of(model):
        raise ModelRefused(
            f"{model} is pinned to the file {endpoint}, but this version carries {endpoint_of(model)}. Start a new run."
        )
    server = await asyncio.to_thread(local.acquire_server)
    chat = OpenAIChat(
        model,
        endpoint=f"{server.url}/v1",
        api_key=server.key,
        timeout_s=timeout_s,
        concurrency=1,
        defaults={"temperature": 0},
        # Otherwise the text depends on what the server was asked before.
        extra={"cache_prompt": False},
    )
    return local.LocalClient(server, chat)
