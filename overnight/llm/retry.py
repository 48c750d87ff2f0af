"""The one retry policy: what is sent again, after how long, how often."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import tenacity

from overnight.failures import CallFailed, FailureKind

MAX_BACKOFF_S = 60.0
#: A longer wait is not worth a slot: the row is left for a later pass.
MAX_WAIT_S = 120.0


def retrying(
    *, base_s: float, max_attempts: int = 4, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> tenacity.AsyncRetrying:
    """
    Retry calls that failed with `FailureKind.RETRY`; everything else, and the last failure, is raised as it is.

    Args:
        base_s: First wait of the jittered exponential backoff, in seconds.
        max_attempts: Sends in all.
        sleep: How to wait.
    """
    backoff = tenacity.wait_exponential_jitter(multiplier=base_s, max=MAX_BACKOFF_S, jitter=base_s)
    attempts_are_used = tenacity.stop_after_attempt(max_attempts)

    def wait(state: tenacity.RetryCallState) -> float:
        asked_s = _find_asked_wait_s(state)
        return backoff(state) if asked_s is None else min(asked_s, MAX_WAIT_S)

    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_is_retried),
        stop=lambda state: attempts_are_used(state) or _asks_too_long(state),
        wait=wait,
        sleep=sleep,
        reraise=True,
    )


def _is_retried(error: BaseException) -> bool:
    return isinstance(error, CallFailed) and error.kind is FailureKind.RETRY and error.is_retried


def _asks_too_long(state: tenacity.RetryCallState) -> bool:
    return (_find_asked_wait_s(state) or 0.0) > MAX_WAIT_S


def _find_asked_wait_s(state: tenacity.RetryCallState) -> float | None:
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after_s if isinstance(error, CallFailed) else None
