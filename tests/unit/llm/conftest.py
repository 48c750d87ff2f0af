from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from overnight.failures import CallFailed
from overnight.llm import ModelRef, endpoint_of, make_client
from overnight.records import Ask, Reply
from tests.fakes.provider import FakeProvider

KEY = "sk-fake-0123456789abcdef"
SCHEMA = {
    "type": "object",
    "properties": {
        "format": {"enum": ["letter", "call"]},
        "evidence": {"type": "string", "minLength": 1, "maxLength": 40},
        "urgency": {"type": "integer", "minimum": 1, "maximum": 5},
    },
    "required": ["format", "evidence", "urgency"],
    "additionalProperties": False,
}
ASK = Ask(
    system="You sort tickets.",
    user="Sort this: <ticket>My card was stolen in Lyon, please help.</ticket>",
    schema=SCHEMA,
    parameters={"max_tokens": 100},
)


@dataclass(frozen=True)
class Asker:
    """Asks a fake provider as one of the two providers."""

    model: ModelRef
    fake: FakeProvider

    def ask(self, ask: Ask = ASK, *, timeout_s: float = 10.0, endpoint: str | None = None) -> Reply:
        return asyncio.run(self._ask(ask, timeout_s, endpoint))

    def fail(self, *, timeout_s: float = 10.0, endpoint: str | None = None) -> CallFailed:
        with pytest.raises(CallFailed) as caught:
            self.ask(timeout_s=timeout_s, endpoint=endpoint)
        assert "\n" not in str(caught.value)
        return caught.value

    async def _ask(self, ask: Ask, timeout_s: float, endpoint: str | None) -> Reply:
        client = await make_client(
            self.model, endpoint=endpoint or endpoint_of(self.model), timeout_s=timeout_s, concurrency=2
        )
        try:
            return await client.send(client.encode(ask))
        finally:
            await client.aclose()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.openai_base_url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.anthropic_base_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        yield provider


@pytest.fixture
def openai(fake: FakeProvider) -> Asker:
    return Asker(ModelRef("openai", "gpt-fake"), fake)


@pytest.fixture
def anthropic(fake: FakeProvider) -> Asker:
    return Asker(ModelRef("anthropic", "claude-fake"), fake)


@pytest.fixture(params=["openai", "anthropic"])
def asker(request: pytest.FixtureRequest) -> Asker:
    """Each provider in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def make_reply() -> Callable[..., Reply]:
    """A reply as a client gives it, with a text that was finished."""
    good = Reply(status=200, body=b"", text="{}", stop_reason="stop")
    return lambda **changes: replace(good, **changes)


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def ask() -> Ask:
    return ASK
