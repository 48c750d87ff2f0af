"""How many calls may be in flight: as many as the provider bears."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import anyio

#: However many calls report it, the limit is halved once in this time: one brown-out is one report, not one a call.
SLOWED_EVERY_S = 1.0


class Limiter:
    """
    Slots for calls, first come, first served: their number grows with successes and is halved when asked to.

    All of it happens on one event loop.

    Args:
        most: Where the limit starts, and its upper end.
        clock: Seconds that only go up; what `hold_until` is told in.
        on_change: Told the new limit whenever it changes.
    """

    def __init__(
        self, most: int, *, clock: Callable[[], float] = time.monotonic, on_change: Callable[[int], None] | None = None
    ) -> None:
        self._most = most
        self._limit = most
        self._clock = clock
        self._on_change = on_change
        self._slots = anyio.CapacityLimiter(most)
        self._n_succeeded = 0
        self._slowed_at = float("-inf")
        #: Since a slow-down, until successes have brought the limit to its upper end again, wherever that lies by then.
        self._is_slowed = False
        self._held_until = float("-inf")
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """Slots taken now; more than `limit` for a while after it was lowered."""
        return self._slots.borrowed_tokens

    @property
    def limit(self) -> int:
        """Slots that may be taken at once, as things are."""
        return self._limit

    def slot(self, waiting: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext) -> _Slot:
        """Wait for a slot, inside the context that `waiting` makes, and hold it."""
        if self._alarm:
            self._open_slots()
        return _Slot(self._slots, waiting)

    def succeeded(self) -> None:
        """A call was answered: one slot more for each `limit` of them, up to `most`."""
        self._n_succeeded += 1
        if self._n_succeeded >= self._limit:
            self._set_limit(min(self._limit + 1, self._most))
            self._is_slowed = self._is_slowed and self._limit < self._most

    def set_most(self, most: int) -> None:
        """Another upper end: slots follow at once, unless fewer are given because the provider has too much to do."""
        self._most = most
        if not self._is_slowed or self._limit > most:
            self._set_limit(most)

    def slow_down(self) -> None:
        """The provider has too much to do: half the slots, one at the least; whoever holds one keeps it."""
        now = self._clock()
        if now - self._slowed_at >= SLOWED_EVERY_S:
            self._slowed_at = now
            self._is_slowed = True
            self._set_limit(max(self._limit // 2, 1))

    async def released(self) -> None:
        """Wait, without a slot, until no hold is on."""
        while (wait_s := self._held_until - self._clock()) > 0:  # noqa: ASYNC110 - it waits for a moment, not a poll
            await asyncio.sleep(wait_s)

    def hold_until(self, at: float) -> None:
        """Give no slot before the clock says `at`; of several such moments the latest counts."""
        self._held_until = max(self._held_until, at)
        self._open_slots()

    def _set_limit(self, limit: int) -> None:
        self._n_succeeded = 0
        if limit == self._limit:
            return
        self._limit = limit
        self._open_slots()
        if self._on_change:
            self._on_change(limit)

    def _open_slots(self) -> None:
        """As many slots as the limit says, or none and an alarm for when the hold is over."""
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        wait_s = self._held_until - self._clock()
        if wait_s > 0:
            self._slots.total_tokens = 0
            self._alarm = asyncio.get_running_loop().call_later(wait_s, self._open_slots)
        else:
            self._slots.total_tokens = self._limit


class _Slot:
    """One slot, taken and given back; a borrower of its own: one task may hold slots of two limiters, or two of one."""

    def __init__(self, slots: anyio.CapacityLimiter, waiting: Callable[[], AbstractContextManager[None]]) -> None:
        self._slots = slots
        self._waiting = waiting

    async def __aenter__(self) -> None:
        with self._waiting():
            try:
                # Where one is free, `acquire` goes round the event loop once before it gives it.
                self._slots.acquire_on_behalf_of_nowait(self)
            except anyio.WouldBlock:
                await self._slots.acquire_on_behalf_of(self)

    async def __aexit__(self, *_: object) -> None:
        self._slots.release_on_behalf_of(self)
