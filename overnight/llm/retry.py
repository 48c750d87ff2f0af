"""The one retry policy: after how long a row is asked again, in a pass and from pass to pass."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import tenacity

from overnight.failures import CallFailed
from overnight.taxonomy import MAX_PASSES, FailureKind

T = TypeVar("T")

MAX_BACKOFF_S = 60.0
#: A longer wait is not worth a slot: the row is left for a later pass.
MAX_WAIT_S = 120.0
#: The first pause between passes, in first waits of the backoff: a row that failed four times has waited seven.
_FIRST_PAUSE = 8


def retrying(*, base_s: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> tenacity.AsyncRetrying:
    """
    Ask again after each failure that says so (`goes_on`); every other one is raised as it is.

    Args:
        base_s: First wait of the jittered exponential backoff, in seconds.
        sleep: How to wait.
    """
    backoff = tenacity.wait_exponential_jitter(multiplier=base_s, max=MAX_BACKOFF_S, jitter=base_s)

    def wait(state: tenacity.RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome else None
        if not isinstance(failure, CallFailed) or failure.kind is not FailureKind.RETRY:
            return 0.0
        # At least the backoff: "retry-after: 0" from a busy provider is no wish to be hammered.
        return max(backoff(state), min(failure.retry_after_s or 0.0, MAX_WAIT_S))

    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, CallFailed) and error.goes_on),
        wait=wait,
        sleep=sleep,
        reraise=True,
    )


async def keep_asking(
    ask: Callable[[], Awaitable[T]], *, base_s: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> T:
    """As `retrying` does, for a tenth of the time where the first answer will do: it is set up at the first failure."""
    try:
        return await ask()
    except CallFailed as failure:
        failed = [failure]

    async def ask_again() -> T:
        if failed:
            raise failed.pop()
        return await ask()

    return await retrying(base_s=base_s, sleep=sleep)(ask_again)


def repeating_passes(
    *, base_s: float, stopping: threading.Event, find_least_s: Callable[[], float] = lambda: 0.0
) -> tenacity.Retrying:
    """
    Go over the rows again while the function says that some are left, with a pause before each pass.

    Args:
        base_s: First wait of the backoff within a pass, in seconds.
        stopping: Ends a pause.
        find_least_s: The least pause that is of use, such as what a provider asked for.
    """
    backoff = tenacity.wait_exponential_jitter(multiplier=_FIRST_PAUSE * base_s, max=MAX_BACKOFF_S, jitter=base_s)
    return tenacity.Retrying(
        retry=tenacity.retry_if_result(bool),
        stop=tenacity.stop_after_attempt(MAX_PASSES),
        wait=lambda state: max(backoff(state), find_least_s()),
        sleep=tenacity.sleep_using_event(stopping),
        # What is left after the last pass stays pending.
        retry_error_callback=lambda _: True,
    )
