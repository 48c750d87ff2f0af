"""Opening attempts under the caps: a call that does not fit waits for those that may free money, then halts the run."""

from __future__ import annotations

import asyncio
import functools
import re
import threading
import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from overnight.complete.context import RunContext
from overnight.failures import CallFailed, RunHalted
from overnight.ledger import Ledger
from overnight.ledger.attempts import NotOpened, Opening, open_attempts
from overnight.ledger.closings import Closing, close_attempts
from overnight.ledger.leases import Worker
from overnight.ledger.spend import TOLERANCE_USD, Shortfall
from overnight.taxonomy import FailureClass

#: What the line of `OverBudget` begins with.
_NEXT_CALL = re.compile(r"The next call may cost \$(\d+\.\d+);")
#: How often the ledger is asked whether another process has freed money.
_POLL_S = 0.25


class Money:
    """
    Which attempts of this process are open; on one event loop.

    Args:
        ledger: Where they are recorded.
        patience_s: How long to wait for the calls of other processes while nothing comes of them: one that was killed
            never frees what it set aside.
    """

    def __init__(self, ledger: Ledger, patience_s: float = 0.0) -> None:
        self._ledger = ledger
        self._patience_s = patience_s
        self._n_opening = 0
        self._open: set[int] = set()
        self._n_settled = 0
        self._changed = asyncio.Event()
        self._registering = threading.Lock()
        self._worker: Worker | None = None
        self._open_all: Callable[[sa.Connection, Sequence[Opening]], list[int | Shortfall | NotOpened]] | None = None

    def register(self, lease_s: float) -> Worker:
        """Make the process a worker whose claims outlive it for so long: from any thread, before anything is opened."""
        with self._registering:
            # One function for all, so that what is opened at the same time goes into one commit.
            if self._worker is None:
                self._worker = self._ledger.register(lease_s)
                self._open_all = functools.partial(_open_as, self._worker)
            return self._worker

    @property
    def n_lapses(self) -> int:
        """How often the process's lease has lapsed."""
        return self._worker.n_lapses if self._worker else 0

    def holds(self, n_lapses: int) -> bool:
        """Whether what was opened when the lease had lapsed so often is still the process's, as far as it knows."""
        return self._worker is not None and self._worker.is_current and self._worker.n_lapses == n_lapses

    async def open(self, opening: Opening, context: RunContext) -> int | NotOpened:
        """
        The id of the attempt, its worst price set aside; or why it is not for this process to send.

        Every id is given back: by `close`, or by `abandon`.

        Raises:
            CallFailed: No cap leaves room for it, and nothing is in flight that might.
            RunHalted: The run stops while it waits for money.
        """
        patience = _Patience(self._patience_s)
        while True:
            n_settled = self._n_settled
            found = await self._try_to_open(opening)
            if not isinstance(found, Shortfall):
                return found
            if not self._open and not self._n_opening:
                # What is set aside for a provider batch stays so for hours.
                if context.has_batches or patience.is_over(found):
                    self._wake()
                    raise OverBudget(found)
                try:
                    await context.sleep(_POLL_S)
                except RunHalted:
                    self._wake()  # somebody of another run looks on
                    raise
            elif n_settled == self._n_settled:
                with context.waiting():
                    await self._changed.wait()

    async def close(self, closing: Closing) -> bool:
        """Wait until the end of the attempt, and what it cost, is on disk; False where another worker took it over."""
        stands = await self._ledger.record(close_attempts, closing)
        # One of a provider batch was opened in another way.
        self._open.discard(closing.attempt_id)
        self._n_settled += 1
        self._wake()
        return stands

    def abandon(self, attempt_id: int) -> None:
        """Where it was not closed: what was set aside for it stays so."""
        if attempt_id in self._open:
            self._open.remove(attempt_id)
            self._wake()

    async def _try_to_open(self, opening: Opening) -> int | Shortfall | NotOpened:
        assert self._open_all is not None, "a lane is made before anything is opened"  # noqa: S101 - narrows the type
        found: int | Shortfall | NotOpened | None = None
        self._n_opening += 1
        try:
            # A few rows ahead of the slots: it goes with the next answer's commit.
            found = await self._ledger.record(self._open_all, opening, is_urgent=False)
        finally:
            self._n_opening -= 1
            if not isinstance(found, int | Shortfall):
                # Nothing was opened: whoever waited for it to come back must look again.
                self._wake()
        if isinstance(found, int):
            self._open.add(found)
        return found

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _open_as(
    worker: Worker, connection: sa.Connection, openings: Sequence[Opening]
) -> list[int | Shortfall | NotOpened]:
    return open_attempts(connection, worker, openings)


class _Patience:
    """Whether to wait for what other processes have set aside: while it changes, and a while longer."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._seen: tuple[float, float] | None = None
        self._since = 0.0

    def is_over(self, short: Shortfall) -> bool:
        now = (short.spent_usd, short.reserved_usd)
        if now != self._seen:
            self._seen, self._since = now, time.monotonic()
        return short.reserved_usd <= TOLERANCE_USD or time.monotonic() - self._since >= self._patience_s


class OverBudget(CallFailed):
    """A call that does not fit under a cap."""

    def __init__(self, short: Shortfall) -> None:
        kind, _, name = short.cap.scope.partition(":")
        option = "--budget" if kind == "run" else "OVERNIGHT_NIGHTLY_BUDGET_USD"
        option = "--shadow-budget" if option == "--budget" and name.endswith("-shadow") else option
        super().__init__(
            FailureClass.BUDGET,
            f"The next call may cost ${short.worst_usd:.6f}; of the ${short.cap.usd:.6f} of {kind} {name}, "
            f"${short.spent_usd:.6f} is spent and ${short.reserved_usd:.6f} set aside for calls that have not come "
            f"back. Raise {option}.",
        )
        self.worst_usd = short.worst_usd


def recall_halt(failure: CallFailed) -> CallFailed:
    """What another process halted with, as the ledger has kept it, with what only its words say."""
    if failure.failure_class is FailureClass.BUDGET and (found := _NEXT_CALL.match(str(failure))):
        recalled = OverBudget.__new__(OverBudget)
        CallFailed.__init__(recalled, failure.failure_class, str(failure))
        recalled.worst_usd = float(found[1])
        return recalled
    return failure
