"""One model at one endpoint: its client, and what decides when it may be sent to."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from overnight.failures import CallFailed
from overnight.llm import (
    MAX_WAIT_S,
    Breaker,
    Client,
    Limiter,
    ModelRef,
    Pass,
    Rates,
    cost_usd,
    find_hold_s,
    worst_usd,
)
from overnight.records import Mode, ModelTerms, Reply
from overnight.taxonomy import TREATMENTS

#: Bytes of a request that make a token, for declared limits: English is at about four.
_BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Lane:
    """What all rows that go to one model share."""

    model: ModelRef
    endpoint: str
    client: Client
    #: Shared by all lanes of the process that leave the machine.
    limiter: Limiter
    breaker: Breaker
    rates: Rates
    #: Rows that are prepared, or whose attempt is open: a few wait for their slot, so that a slot never waits for them.
    window: asyncio.Semaphore
    terms: ModelTerms | None = None

    async def admit(self, body: bytes, max_tokens: int) -> Pass:
        """
        Wait, holding nothing, until the provider answers and its declared limits leave room.

        Raises:
            CallFailed: It has not answered for so long that the run halts.
        """
        pass_ = await self.breaker.enter()
        try:
            await self.limiter.released()
            await self.rates.admit(len(body) // _BYTES_PER_TOKEN + max_tokens)
        except BaseException:
            self.breaker.gave_up(pass_)
            raise
        return pass_

    async def send(self, body: bytes, pass_: Pass) -> Reply:
        """Send the body once, and tell limiter and breaker what came of it."""
        try:
            reply = await self.client.send(body)
        except CallFailed as failure:
            self._heed(failure, pass_)
            raise
        self.limiter.succeeded()
        self.breaker.succeeded(pass_)
        self._hold(reply)
        return reply

    def cost_usd(self, reply: Reply | None, mode: Mode = Mode.ONLINE) -> float | None:
        """The price of a reply; None where the provider counted no tokens, or no price is known."""
        if reply is None or not reply.usage.input_tokens:
            return None
        return cost_usd(self.model, reply.usage, self.terms, mode)

    def failed_cost_usd(self, failure: CallFailed, mode: Mode = Mode.ONLINE) -> float | None:
        """What a failed call cost; None where it may have been billed and nobody said how much."""
        if failure.reply and failure.reply.status == HTTPStatus.OK:
            return self.cost_usd(failure.reply, mode)
        return None if TREATMENTS[failure.failure_class].may_be_billed else 0.0

    def worst_usd(self, body: bytes, max_tokens: int, mode: Mode = Mode.ONLINE) -> float | None:
        """The most that a call may cost; None where no price is known."""
        return worst_usd(self.model, body, max_tokens, self.terms, mode)

    def _heed(self, failure: CallFailed, pass_: Pass) -> None:
        treatment = TREATMENTS[failure.failure_class]
        if treatment.slows:
            self.limiter.slow_down()
        if treatment.trips_breaker or (failure.retry_after_s or 0.0) > MAX_WAIT_S:
            self.breaker.failed(pass_, failure)
        else:
            self.breaker.succeeded(pass_)  # whatever it said, it answered
        self._hold(failure.reply)

    def _hold(self, reply: Reply | None) -> None:
        hold_s = find_hold_s(reply.headers, datetime.now(UTC)) if reply else None
        if hold_s:
            self.limiter.hold_until(time.monotonic() + hold_s)
