"""One time of a provider's silence: who waits, when it is asked again, and when that has lasted too long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

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


@dataclass(frozen=True)
class Plan:
    """How a breaker waits: for whom, how often it probes, how long it may stay open."""

    who: str
    probe_s: float
    outage_s: float
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    now: Callable[[], datetime]


class Opening:
    """One time of being open: who waits, when the next probe is due, and when it is too late."""

    def __init__(self, plan: Plan, cause: CallFailed, n: int) -> None:
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
