"""How much may be sent in a minute: what the project says its account is allowed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

_MINUTE_S = 60.0


class Rates:
    """
    Requests and tokens a minute, first come, first served; None is no limit.

    All of it happens on one event loop.

    Args:
        requests_per_minute: Requests in any minute.
        tokens_per_minute: Tokens in the long run.
        clock: Seconds that only go up.
        sleep: How to wait.
    """

    def __init__(
        self,
        requests_per_minute: int | None,
        tokens_per_minute: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        # Whoever is first in line waits for the clock, the others for the first: a long row is not passed by short
        # ones for as long as they come. (aiolimiter serves the smallest first, and lets newcomers pass who waits.)
        self._line = asyncio.Lock()
        self._paces = (_Pace(requests_per_minute), _Pace(tokens_per_minute))
        self._clock = clock
        self._sleep = sleep

    def share(self, n: int) -> None:
        """Keep to an equal part of the limits: so many processes have to keep to them together."""
        for pace in self._paces:
            pace.share(n)

    async def admit(self, n_tokens: int) -> None:
        """Wait until one request of `n_tokens` fits; one of more than a minute's tokens waits for a whole minute's."""
        async with self._line:
            now, before = self._clock(), [pace.booked_until for pace in self._paces]
            wait_s = max(pace.book(n, now) for pace, n in zip(self._paces, (1, n_tokens), strict=True))
            if wait_s <= 0:
                return
            try:
                await self._sleep(wait_s)
            except asyncio.CancelledError:
                # Nobody has booked since: the line is held.
                for pace, booked_until in zip(self._paces, before, strict=True):
                    pace.booked_until = booked_until
                raise


class _Pace:
    """
    A limit a minute as a pace: each amount is booked after the one before it, with a second's worth of slack.

    A whole minute's worth at once would be right by the letter, but providers may enforce a minute's limit by the
    second, and a burst on top of the pace would come to twice the limit in the first minute. A second is slack enough
    for a busy event loop to lose nothing. The pace is the limit less that second, so that no minute has more of
    what is counted one by one; a large amount comes in one piece, after its time has passed.
    """

    def __init__(self, per_minute: int | None) -> None:
        self.booked_until = float("-inf")
        self._most = float("inf") if per_minute is None else float(per_minute)
        self.share(1)

    def share(self, n: int) -> None:
        """Book at one of so many equal parts of the limit; an amount counts for as much as it did."""
        # In whole ones, so that parts which do not divide the limit come to no more than it.
        whole = self._most >= n and self._most < float("inf")
        most = float(self._most // n) if whole else self._most / n
        at_once = max(most / _MINUTE_S, 1.0) if most < float("inf") else 1.0
        self._per_s = (most - at_once + 1.0) / _MINUTE_S
        self._slack_s = at_once / self._per_s

    def book(self, amount: float, now: float) -> float:
        """How long to wait for the amount, in seconds; whoever is next comes after it."""
        self.booked_until = max(self.booked_until, now) + min(amount, self._most) / self._per_s
        return max(self.booked_until - self._slack_s - now, 0.0)
