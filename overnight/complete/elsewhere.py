"""Requests that another process is asking: looked at together, until each is settled or free again."""

from __future__ import annotations

import asyncio
import functools
import time

import sqlalchemy as sa

from overnight.ledger import Ledger
from overnight.ledger.completions import find_settled
from overnight.ledger.leases import Worker, find_claimed

#: How often the ledger is asked, at the most; and at the least, however long a server that was away took to answer.
_POLL_S, _MOST_POLL_S = 0.25, 5.0
#: Of the time, that is spent on asking it.
_SHARE = 0.2


class Elsewhere:
    """Who waits for other processes; on one event loop."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        #: Who waits; set before anybody does.
        self.worker: Worker | None = None
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._polling: asyncio.Task[None] | None = None

    async def wait(self, key: str) -> None:
        """Until the request has an answer or a refusal, or nobody alive is asking it."""
        # One of a process waits for a key: the others wait for that one.
        waiting = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            await waiting
        finally:
            self._waiting.pop(key, None)

    async def aclose(self) -> None:
        """Stop looking: nobody waits any more."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait([self._polling])

    async def _poll(self) -> None:
        took_s = 0.0
        while self._waiting:
            await asyncio.sleep(min(max(_POLL_S, took_s / _SHARE), _MOST_POLL_S))
            started = time.monotonic()
            keys = list(self._waiting)
            try:
                over = await asyncio.to_thread(self._ledger.read, functools.partial(self._find_over, keys))
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait, and nobody else would hear of it
                for key in list(self._waiting):
                    self._fail(key, error)
                return
            took_s = time.monotonic() - started
            for key in over:
                self._wake(key)

    def _find_over(self, keys: list[str], connection: sa.Connection) -> set[str]:
        assert self.worker is not None, "a worker opens attempts before it waits for others"  # noqa: S101 - narrows the type
        return find_settled(connection, keys) | (set(keys) - find_claimed(connection, self.worker, keys))

    def _wake(self, key: str) -> None:
        if (waiting := self._waiting.get(key)) and not waiting.done():
            waiting.set_result(None)

    def _fail(self, key: str, error: Exception) -> None:
        if (waiting := self._waiting.get(key)) and not waiting.done():
            waiting.set_exception(error)
