"""A body too large to be held in memory, sent piece by piece from a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx

#: A file has so much more time than a call: a slower line is none.
LEAST_BYTES_PER_S = 100_000


class Sending(httpx.AsyncByteStream):
    """
    A body on its way, and how far it went.

    Args:
        n_bytes: Of the whole.
    """

    def __init__(self, stream: httpx.AsyncByteStream, n_bytes: int) -> None:
        self._stream = stream
        self._n_bytes = n_bytes
        self._n_sent = 0
        #: Put off as bytes go out, where one is set.
        self.deadline: asyncio.Timeout | None = None

    @property
    def is_whole(self) -> bool:
        """Whether its last byte may have left: with less than that the other side can do nothing."""
        return self._n_sent >= self._n_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            # Before it goes out: more than what is counted was never sent.
            self._n_sent += len(chunk)
            self._put_off(len(chunk) / LEAST_BYTES_PER_S)
            yield chunk

    def _put_off(self, by_s: float) -> None:
        until = self.deadline.when() if self.deadline else None
        if self.deadline and until:
            # It may have passed meanwhile.
            with suppress(RuntimeError):
                self.deadline.reschedule(until + by_s)
