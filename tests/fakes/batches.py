"""
Batches of both APIs for the fake provider: it ends, loses, refuses and bills as a test says.

In a test: `fake.batches.ends_after = None`, then `fake.batches.end()`. What is set holds from the next request on. What
was received stays, whoever sent it and however that process ended.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.answers import Scripted, encode_answer

OPENAI, ANTHROPIC = "openai", "anthropic"
_PATHS = {OPENAI: "/v1/chat/completions", ANTHROPIC: "/v1/messages"}
_DAY_S = 24 * 3600.0


@dataclass(frozen=True)
class FakeItem:
    """One request of a batch as it arrived."""

    custom_id: str
    body: Any


@dataclass(frozen=True)
class Done:
    """What became of an item: "answered", "expired" or "canceled"."""

    item: FakeItem
    kind: str
    status: int = 200
    body: Any = None


@dataclass
class FakeBatch:
    """One batch that was received."""

    provider: str
    provider_id: str
    #: The key it was sent by: no other one sees it.
    owner: str
    items: list[FakeItem]
    created_at: float
    metadata: dict[str, str] = field(default_factory=dict)
    input_file_id: str = ""
    #: As it was sent: OpenAI's file, Anthropic's body.
    raw: bytes = b""
    #: Of OpenAI: code and message where it fails as a whole.
    refused: tuple[str, str] | None = None
    #: Somebody else's: it ends on command alone, and nothing of it is asked or billed.
    is_others: bool = False
    n_looks: int = 0
    is_told_to_end: bool = False
    #: The looks that it had when it was asked to stop.
    canceled_at_look: int | None = None
    #: None until it ended.
    done: list[Done] | None = None
    #: Of OpenAI: the files of answers and errors, where there are such.
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def custom_ids(self) -> list[str]:
        return [item.custom_id for item in self.items]


@dataclass
class Trouble:
    """What goes wrong with the next calls of a kind."""

    #: "upload", "create", "look", "list", "cancel" or "results".
    on: str
    #: The call is carried out, and only its answer is lost or spoiled.
    is_done: bool = False
    #: None: the connection is dropped, or the answer is cut at `cut_at`.
    status: int | None = None
    #: Replaces the body.
    body: str | None = None
    delay_s: float = 0.0
    #: So many bytes of the body, and no more.
    cut_at: int | None = None
    #: So many lines of the body, as if they were all.
    n_lines: int | None = None
    #: How many calls.
    n: int = 1


class Refusal(Exception):
    """An answer that is no 200."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class FakeBatches:
    """
    What was received, and how it behaves.

    Attributes:
        received: Every batch that was accepted, in order; those of others too.
        executed: By custom id, how often an item was answered with a 200: each was paid for.
        ends_after: The looks that show a batch going on; 0: it has ended before the first, None: it ends on command.
        decide: For an item: None (it is answered as a call is), "expired", "canceled", or a `Scripted` answer.
        seed: Results come in an order drawn from it; None: as they were sent.
        progress: The share that OpenAI shows as done before the end; Anthropic shows none.
        cancel_looks: The looks that a cancel takes.
        is_done_at_cancel: Whether an item had been answered when its batch was canceled.
        fails: Code and message of the OpenAI batches to come that fail as a whole, one each.
        max_items, max_bytes: Of one batch; None: the provider's own.
        troubles: Each is used up by as many calls of its kind as it says.
        results_url: Of Anthropic: what it shows as such.
        clock: Seconds since the epoch.
    """

    def __init__(self, bill: Callable[[Any], None], ask: Callable[[Any], Awaitable[Scripted]]) -> None:
        self.received: list[FakeBatch] = []
        self.executed: Counter[str] = Counter()
        self.ends_after: int | None = 0
        self.decide: Callable[[FakeItem], str | Scripted | None] = lambda _: None
        self.seed: int | None = None
        self.progress = 0.0
        self.cancel_looks = 0
        self.is_done_at_cancel: Callable[[FakeItem], bool] = lambda _: False
        self.fails: list[tuple[str, str]] = []
        self.max_items: int | None = None
        self.max_bytes: int | None = None
        self.troubles: list[Trouble] = []
        self.results_url: str | None = None
        self.clock: Callable[[], float] = time.time
        self._bill = bill
        self._ask = ask
        self._ending = asyncio.Lock()

    def mount(self, app: web.Application) -> None:
        """Answer at both providers' paths."""
        from tests.fakes.batches_anthropic import AnthropicSide  # noqa: PLC0415 - each needs the other
        from tests.fakes.batches_openai import OpenAISide  # noqa: PLC0415 - each needs the other

        OpenAISide(self).mount(app)
        AnthropicSide(self).mount(app)

    def end(self, provider_id: str | None = None) -> None:
        """Let a batch end before it is shown again, or all that were received."""
        for batch in self.received:
            if provider_id in {None, batch.provider_id}:
                batch.is_told_to_end = True

    def add_others(
        self, provider: str, n: int, *, owner: str, n_items: int = 1, age_s: float = 0.0, has_ended: bool = False
    ) -> list[FakeBatch]:
        """Batches that somebody else sent by the same key."""
        at = self.clock() - age_s
        made = [
            FakeBatch(
                provider,
                make_id(provider),
                owner,
                [FakeItem(f"other-{i}-{j}", {"model": "m", "messages": []}) for j in range(n_items)],
                at,
                is_others=True,
                is_told_to_end=has_ended,
            )
            for i in range(n)
        ]
        self.received.extend(made)
        return made

    def find(self, provider: str, provider_id: str, owner: str) -> FakeBatch:
        """A batch that the key may see."""
        for batch in self.received:
            if (batch.provider, batch.provider_id, batch.owner) == (provider, provider_id, owner):
                return batch
        raise Refusal(404, f"No batch {provider_id}", "not_found")

    def list_page(self, provider: str, owner: str, limit: int, after: str | None) -> tuple[list[FakeBatch], bool]:
        """The newest first; whether there are more."""
        mine = [b for b in self.received if (b.provider, b.owner) == (provider, owner)]
        # Of one moment, the later received is the newer: the order of those stays.
        mine.reverse()
        mine.sort(key=lambda b: -b.created_at)
        if after is not None:
            at = next((i for i, b in enumerate(mine) if b.provider_id == after), None)
            if at is None:
                raise Refusal(404, f"No batch {after}", "not_found")
            mine = mine[at + 1 :]
        return mine[:limit], len(mine) > limit

    async def settle(self, batch: FakeBatch, *, is_look: bool = False) -> None:
        """Let the batch end where its time has come."""
        batch.n_looks += is_look
        async with self._ending:
            if batch.done is None and self._is_over(batch):
                batch.done = await self._carry_out(batch)

    async def respond(
        self, request: web.Request, on: str, carry_out: Callable[[], Awaitable[web.Response]]
    ) -> web.StreamResponse:
        """The answer to a call, or the next trouble with it."""
        trouble = self._take_trouble(on)
        if trouble is None:
            return await carry_out()
        if trouble.delay_s:
            await asyncio.sleep(trouble.delay_s)
            if not trouble.is_done and trouble.status is None:
                return await carry_out()
        if trouble.is_done:
            response = await carry_out()
        else:
            # Whole, as a server does before it answers.
            await request.read()
            response = web.Response(status=500)
        if trouble.n_lines is not None:
            return _shorten(response, trouble.n_lines)
        if trouble.cut_at is not None:
            return await _cut(request, response, trouble.cut_at)
        if trouble.status is None and trouble.body is None:
            assert request.transport is not None
            request.transport.abort()
            return response
        error = json.dumps({"type": "error", "error": {"type": "api_error", "message": "As told"}})
        body = error if trouble.body is None else trouble.body
        return web.Response(status=trouble.status or 200, text=body, content_type="application/json")

    def _take_trouble(self, on: str) -> Trouble | None:
        trouble = next((t for t in self.troubles if t.on == on), None)
        if trouble is not None:
            trouble.n -= 1
            if trouble.n == 0:
                self.troubles.remove(trouble)
        return trouble

    def _is_over(self, batch: FakeBatch) -> bool:
        if batch.refused is not None or batch.is_told_to_end:
            return True
        if batch.is_others:
            return False
        if batch.canceled_at_look is not None and batch.n_looks - batch.canceled_at_look >= self.cancel_looks:
            return True
        # The look that comes after those which show it going on.
        return self.ends_after is not None and (self.ends_after == 0 or batch.n_looks > self.ends_after)

    async def _carry_out(self, batch: FakeBatch) -> list[Done]:
        if batch.refused is not None:
            return []
        done = [await self._carry_out_item(batch, item) for item in batch.items]
        if self.seed is not None:
            random.Random(self.seed).shuffle(done)  # noqa: S311 - no secret
        return done

    async def _carry_out_item(self, batch: FakeBatch, item: FakeItem) -> Done:
        was_canceled = batch.canceled_at_look is not None and not batch.is_told_to_end
        if batch.is_others or (was_canceled and not self.is_done_at_cancel(item)):
            return Done(item, "canceled")
        decided = self.decide(item)
        if isinstance(decided, str):
            return Done(item, decided)
        scripted = decided or await self._ask(item.body)
        if scripted.status == web.HTTPOk.status_code:
            self.executed[item.custom_id] += 1
            self._bill(item.body)
        body = encode_answer(scripted, _PATHS[batch.provider], item.body)
        return Done(item, "answered", scripted.status, json.loads(body))


def make_id(provider: str) -> str:
    """The id of a new batch."""
    return f"{'batch' if provider == OPENAI else 'msgbatch'}_{secrets.token_hex(12)}"


def find_expiry(batch: FakeBatch) -> float:
    """When the provider gives up, in seconds since the epoch."""
    return batch.created_at + _DAY_S


def _shorten(response: web.Response, n_lines: int) -> web.Response:
    assert isinstance(response.body, bytes)
    return web.Response(status=response.status, body=b"".join(response.body.splitlines(keepends=True)[:n_lines]))


async def _cut(request: web.Request, response: web.Response, at: int) -> web.StreamResponse:
    body = response.body
    assert isinstance(body, bytes)
    cut = web.StreamResponse(status=response.status, headers={"content-length": str(len(body))})
    await cut.prepare(request)
    await cut.write(body[:at])
    assert request.transport is not None
    # Closed, not reset: what was sent still arrives.
    request.transport.close()
    return cut
