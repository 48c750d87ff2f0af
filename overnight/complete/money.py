"""Opening attempts under the caps: a call that does not fit waits for those that may free money, then halts the run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from overnight.failures import CallFailed
from overnight.ledger import Ledger
from overnight.ledger.attempts import Closing, Opening, close_attempts, open_attempts
from overnight.ledger.spend import Shortfall
from overnight.taxonomy import FailureClass


class Money:
    """Which attempts of this process are open; on one event loop."""

    def __init__(self) -> None:
        self._n_opening = 0
        self._open: set[int] = set()
        self._n_settled = 0
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def attempt(self, opening: Opening, ledger: Ledger) -> AsyncIterator[int | None]:
        """
        The id of the attempt, its worst price set aside; None where its key is settled already.

        Raises:
            CallFailed: No cap leaves room for it, and nothing of this process is in flight that might.
        """
        attempt_id = await self._open_attempt(opening, ledger)
        try:
            yield attempt_id
        finally:
            if attempt_id in self._open:
                # It was not closed: what was set aside for it stays so.
                self._open.remove(attempt_id)
                self._wake()

    async def close(self, closing: Closing, ledger: Ledger) -> None:
        """Wait until the end of the attempt, and what it cost, is on disk."""
        await asyncio.wrap_future(ledger.submit_each(close_attempts, closing))
        self._open.remove(closing.attempt_id)
        self._n_settled += 1
        self._wake()

    async def _open_attempt(self, opening: Opening, ledger: Ledger) -> int | None:
        while True:
            n_settled = self._n_settled
            self._n_opening += 1
            try:
                found = await asyncio.wrap_future(ledger.submit_each(open_attempts, opening))
            finally:
                self._n_opening -= 1
            if found is None:
                return None
            if isinstance(found, int):
                self._open.add(found)
                return found
            if n_settled == self._n_settled:
                await self._wait(found)

    async def _wait(self, short: Shortfall) -> None:
        if not self._open and not self._n_opening:
            self._wake()
            raise refuse(short)
        await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def refuse(short: Shortfall) -> CallFailed:
    """Why a call is not made, in one line."""
    kind, _, name = short.cap.scope.partition(":")
    option = "--budget" if kind == "run" else "OVERNIGHT_NIGHTLY_BUDGET_USD"
    return CallFailed(
        FailureClass.BUDGET,
        f"The next call may cost ${short.worst_usd:.6f}; of the ${short.cap.usd:.6f} of {kind} {name}, "
        f"${short.spent_usd:.6f} is spent and ${short.reserved_usd:.6f} set aside for calls that have not come back. "
        f"Raise {option}.",
    )
