"""Whether there is room: a limit on what waits for a run, so that a sender who never ends fills no disk unseen."""

from __future__ import annotations

import threading
import time

from overnight.ledger import Ledger
from overnight.ledger.inbox_counts import count_queued

#: How long a count is good for, with what this process has added since.
_GOOD_FOR_S = 1.0


class Room:
    """
    The place left in the queue of each prompt.

    Args:
        ledger: Where the requests are.
        most: Requests to one prompt that may wait; those under way at the moment of the limit come on top.
    """

    def __init__(self, ledger: Ledger, most: int) -> None:
        self._ledger = ledger
        self._most = most
        self._lock = threading.Lock()
        self._counted: dict[str, tuple[float, int]] = {}

    def has_place(self, prompt: str) -> bool:
        """
        Whether one more may wait.

        Raises:
            LedgerRefused: The ledger is away.
        """
        with self._lock:
            counted_at, n_queued = self._counted.get(prompt, (0.0, 0))
            if n_queued >= self._most or time.monotonic() > counted_at + _GOOD_FOR_S:
                n_queued = self._ledger.read(lambda connection: count_queued(connection, prompt, most=self._most))
                self._counted[prompt] = time.monotonic(), n_queued
            return n_queued < self._most

    def add(self, prompt: str) -> None:
        """One more waits."""
        with self._lock:
            counted_at, n_queued = self._counted[prompt]
            self._counted[prompt] = counted_at, n_queued + 1
