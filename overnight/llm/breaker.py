"""A provider that does not answer is asked by one call at a time, and when it stays silent the run stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from overnight.failures import CallFailed
from overnight.llm.opening import Opening, Pass, Plan


class Breaker:
    """
    Closed it lets every call pass; open, one probe at a time; and no probe answered for too long is an `Outage`.

    All of it happens on one event loop. Every `Pass` is reported: `succeeded`, `failed` or `gave_up`.

    Args:
        who: The provider, for messages.
        trip_after: Failures in a row that open it.
        probe_s: From opening, or from a failed probe, to the next probe.
        outage_s: How long it may stay open.
        clock: Seconds that only go up.
        sleep: How to wait.
        now: The time of day, for messages.
    """

    def __init__(
        self,
        *,
        probe_s: float,
        outage_s: float,
        trip_after: int = 20,
        who: str = "The provider",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    ) -> None:
        self._plan = Plan(who, probe_s, outage_s, clock, sleep, now)
        self._trip_after = trip_after
        self._n_failed = 0
        self._n_openings = 0
        self._opening: Opening | None = None

    @property
    def is_open(self) -> bool:
        """Whether calls wait for the provider to answer a probe."""
        return self._opening is not None

    async def enter(self) -> Pass:
        """
        The right to send: at once while closed, else when it closes or when it is this caller's turn to probe.

        Raises:
            Outage: It has been open for `outage_s`, or the provider wants to be left alone for longer than that.
                It is a new run that comes a probe's time later: it is given a probe at once, and `outage_s` anew.
        """
        while opening := self._opening:
            if opening.is_over():
                opening = self._open(opening.cause)
            if probe := await opening.wait():
                return probe
        return Pass(is_probe=False, n_openings=self._n_openings)

    def lets(self, pass_: Pass) -> bool:
        """Whether the pass still holds: asked again right before sending, because it may have opened since."""
        if self._opening:
            return self._opening.probe is pass_
        pass_.n_openings = self._n_openings
        return True

    def succeeded(self, pass_: Pass) -> None:
        """The provider answered: the count begins anew, and a probe closes the breaker."""
        if self._opening and self._opening.probe is not pass_:
            # Sent before it opened: what was answered then says nothing of now.
            return
        self._n_failed = 0
        if self._opening:
            self._opening.close()
            self._opening = None

    def failed(self, pass_: Pass, failure: CallFailed) -> None:
        """The provider did not answer; of a call that was in flight when the breaker opened, that is known already."""
        if self._opening and self._opening.probe is pass_:
            self._opening.fail(failure)
        elif not self._opening and pass_.n_openings == self._n_openings:
            self._n_failed += 1
            if self._n_failed >= self._trip_after:
                self._open(failure).fail(failure)

    def gave_up(self, pass_: Pass) -> None:
        """Nothing was learnt: a probe's right goes to who waits next. After another report it does nothing."""
        if self._opening and self._opening.probe is pass_:
            self._opening.give_away()

    def _open(self, cause: CallFailed) -> Opening:
        self._n_openings += 1
        self._opening = Opening(self._plan, cause, self._n_openings)
        return self._opening
