"""Waiting for what other processes do: asked again until it is so, never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: An answer of Prefect's server takes a hundredth of a second that a run beside it lacks.
_EVERY_S = 0.25


def wait_for(ask: Callable[[], T | None], what: str, *, timeout_s: float = 120.0) -> T:
    """The first answer that is not None, empty or false."""
    deadline = time.monotonic() + timeout_s
    while not (found := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"Waited {timeout_s:g} s for {what}.")
        time.sleep(_EVERY_S)
    return found
