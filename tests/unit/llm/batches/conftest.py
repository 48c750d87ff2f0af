from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from overnight.failures import CallFailed
from overnight.llm import ModelRef, endpoint_of
from overnight.llm.batches import BatchClient, BatchItem, Found, make_batch_client, name_item
from overnight.records import BatchLook, ItemResult
from tests.fakes.batches import FakeBatch, FakeBatches
from tests.fakes.provider import FakeProvider

T = TypeVar("T")

KEY = "sk-fake-0123456789abcdef"
BATCH = "0123456789abcdef"
MODELS = {"openai": ModelRef("openai", "gpt-fake"), "anthropic": ModelRef("anthropic", "claude-fake")}


@dataclass(frozen=True)
class Sender:
    """Sends batches to a fake as one of the two providers, each step by a client of its own."""

    model: ModelRef
    provider: FakeProvider
    timeout_s: float = 5.0
    batch_id: str = BATCH
    key: str = KEY

    @property
    def fake(self) -> FakeBatches:
        return self.provider.batches

    @property
    def only(self) -> FakeBatch:
        (batch,) = self.fake.received
        return batch

    def pack(self, n: int = 3, batch_id: str = BATCH) -> list[BatchItem]:
        return [
            BatchItem(
                name_item(batch_id, i, f"{i:064x}"),
                json.dumps(
                    {
                        "model": self.model.name,
                        "max_tokens": 5,
                        "messages": [{"role": "user", "content": f"Frage {i} äö"}],
                    },
                    ensure_ascii=False,
                ).encode(),
            )
            for i in range(n)
        ]

    def submit(self, n: int = 3, batch_id: str = BATCH) -> BatchLook:
        return self.run(lambda client: client.submit(batch_id, self.pack(n, batch_id), n))

    def look(self, provider_id: str | None = None) -> BatchLook:
        return self.run(lambda client: client.look(provider_id or self.fake.received[0].provider_id))

    def cancel(self, provider_id: str | None = None) -> BatchLook:
        return self.run(lambda client: client.cancel(provider_id or self.fake.received[0].provider_id))

    def find(
        self, n: int = 3, *, batch_id: str = BATCH, since: float | None = None, spared: Collection[str] = ()
    ) -> Found:
        at = time.time() if since is None else since
        return self.run(lambda client: client.find(batch_id, since=at, n_items=n, spared=spared))

    def read(self, look: BatchLook | None = None) -> list[ItemResult]:
        async def read(client: BatchClient) -> list[ItemResult]:
            return [result async for result in client.read_results(look or await client.look(self.only.provider_id))]

        return self.run(read)

    def read_by_number(self) -> dict[int, ItemResult]:
        """By the number of the item, as `pack` counts."""
        return {int(result.custom_id.split("-")[2], 16): result for result in self.read()}

    def run(self, step: Callable[[BatchClient], Awaitable[T]], endpoint: str | None = None) -> T:
        async def run() -> T:
            client = await make_batch_client(
                self.model, endpoint=endpoint or endpoint_of(self.model), timeout_s=self.timeout_s
            )
            async with aclosing(client):
                return await step(client)

        return asyncio.run(run())

    def fail(self, step: Callable[[], Any]) -> CallFailed:
        """What a step failed with: one line, that does not tell the key."""
        with pytest.raises(CallFailed) as caught:
            step()
        assert "\n" not in str(caught.value)
        assert KEY not in f"{caught.value} {caught.value.reply}"
        return caught.value


@pytest.fixture(params=["openai", "anthropic"])
def sender(request: pytest.FixtureRequest, fake: FakeProvider) -> Sender:
    """Each provider in turn."""
    return Sender(MODELS[request.param], fake)


@pytest.fixture
def openai(fake: FakeProvider) -> Sender:
    return Sender(MODELS["openai"], fake)


@pytest.fixture
def anthropic(fake: FakeProvider) -> Sender:
    return Sender(MODELS["anthropic"], fake)
