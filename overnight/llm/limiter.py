"""How many calls may be in flight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Limiter:
    """At most `n` slots at once, on one event loop."""

    def __init__(self, n: int) -> None:
        self._free = asyncio.Semaphore(n)
        self._in_flight = 0

    @property
    def in_flight(self) -> int:
        """Slots taken now."""
        return self._in_flight

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot, and hold it."""
        async with self._free:
            self._in_flight += 1
            try:
                yield
            finally:
                self._in_flight -= 1
