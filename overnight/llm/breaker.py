"""A provider that does not answer is asked by one call at a time, and when it stays silent the run stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from overnight.failures import CallFailed
from overnight.llm.wire import one_line
from overnight.taxonomy import FailureKind

#: A provider may ask for any number of seconds; there is a date this far from now.
MOST_PUT_OFF_S = 366 * 86_400.0


class Outage(CallFailed):
    """The provider has been silent for too long; of the class that opened the breaker, but it stops the run."""

    @property
    def kind(self) -> FailureKind:
        """Never sent again in this pass: the run is continued when the provider answers."""
        return FailureKind.HALT


@dataclass(eq=False)
class Pass:
    """The right to send one call, for as long as the breaker lets it."""

    #: The one call that asks whether the provider answers again.
    is_probe: bool
    #: How often the breaker had opened when the call was let through: what it meets after the next time is old.
    n_openings: int


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
        self._plan = _Plan(who, probe_s, outage_s, clock, sleep, now)
        self._trip_after = trip_after
        self._n_failed = 0
        self._n_openings = 0
        self._opening: _Opening | None = None

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

    def _open(self, cause: CallFailed) -> _Opening:
        self._n_openings += 1
        self._opening = _Opening(self._plan, cause, self._n_openings)
        return self._opening


@dataclass(frozen=True)
class _Plan:
    who: str
    probe_s: float
    outage_s: float
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    now: Callable[[], datetime]


class _Opening:
    """One time of being open: who waits, when the next probe is due, and when it is too late."""

    def __init__(self, plan: _Plan, cause: CallFailed, n: int) -> None:
        self.cause = cause
        self.probe: Pass | None = None
        self._plan = plan
        self._n = n
        self._opened_at = self._next_probe_at = plan.clock()
        self._ends_at = self._opened_at + plan.outage_s
        self._last = cause
        self._is_put_off = False
        self._is_closed = False
        # Whoever is first in line waits for the clock; the others wait for the first.
        self._line = asyncio.Lock()
        self._alarm: asyncio.Future[object] | None = None

    async def wait(self) -> Pass | None:
        """
        Wait for this caller's turn to probe; None where it closed.

        Raises:
            Outage: It did neither in time.
        """
        async with self._line:
            while not self._is_closed:
                now = self._plan.clock()
                if now >= self._ends_at:
                    raise self._make_outage(now)
                if not self.probe and now >= self._next_probe_at:
                    self.probe = Pass(is_probe=True, n_openings=self._n)
                    return self.probe
                due_at = self._ends_at if self.probe else min(self._next_probe_at, self._ends_at)
                await self._pause(due_at - now)
        return None

    def is_over(self) -> bool:
        """Whether it ended so long ago that who comes now belongs to a new run."""
        return self._plan.clock() >= max(self._ends_at + self._plan.probe_s, self._next_probe_at)

    def fail(self, failure: CallFailed) -> None:
        """No answer: the next probe comes later, or, where the provider asks for too much time, none does."""
        now, asked_s = self._plan.clock(), min(failure.retry_after_s or 0.0, MOST_PUT_OFF_S)
        self._last = failure
        self._next_probe_at = now + max(self._plan.probe_s, asked_s)
        self._is_put_off = now < self._ends_at < now + asked_s
        if self._is_put_off:
            self._ends_at = now
        self.give_away()

    def give_away(self) -> None:
        """The probe is over: whoever is first in line looks at the clock anew."""
        self.probe = None
        self._wake()

    def close(self) -> None:
        """The provider answers: nobody waits any longer."""
        self._is_closed = True
        self._wake()

    async def _pause(self, wait_s: float) -> None:
        self._alarm = asyncio.ensure_future(self._plan.sleep(wait_s))
        try:
            await asyncio.wait([self._alarm])
        finally:
            self._alarm.cancel()

    def _wake(self) -> None:
        if self._alarm:
            self._alarm.cancel()

    def _make_outage(self, now: float) -> Outage:
        plan = self._plan
        what = f"has not answered for {_in_words(now - self._opened_at)}"
        if self._is_put_off:
            again_at = plan.now() + timedelta(seconds=self._next_probe_at - now)
            what = f"does not answer, and wants to be asked again at {again_at:%Y-%m-%d %H:%M %Z}"
        said = one_line(str(self._last)).rstrip(".")
        return Outage(
            self.cause.failure_class,
            f"{plan.who} {what}. The last failure said: {said}. Run again when it answers: what was answered is kept.",
        )


def _in_words(duration_s: float) -> str:
    minutes = round(duration_s / 60)
    return f"{minutes} min" if minutes > 1 else f"{duration_s:.0f} s"
