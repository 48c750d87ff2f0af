"""An event loop on which nobody waits: when all are asleep, its clock jumps to whoever wakes first."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

#: No clock stands still, or who is told a time that is just not over would ask for ever.
CLOCK_STEP_S = 1e-9


class _NoWait(selectors.DefaultSelector):
    """Adds up the time that it was to wait, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("Everybody waits for somebody else: the test would never end.")
        ready = super().select(0)
        if not ready:
            self.time += max(timeout, CLOCK_STEP_S)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop for one thread, without sockets."""

    def __init__(self) -> None:
        self._no_wait = _NoWait()
        super().__init__(self._no_wait)

    def time(self) -> float:
        return self._no_wait.time


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run on a virtual loop; `clock` tells its time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def clock() -> float:
    """Seconds on the running loop."""
    return asyncio.get_running_loop().time()
