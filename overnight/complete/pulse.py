"""What the processes of a ledger tell each other while they ask: that a run stops, and among how many limits divide."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from overnight.failures import CallFailed, LedgerRefused
from overnight.ledger import Ledger
from overnight.ledger.halts import find_halts
from overnight.ledger.leases import Worker
from overnight.ledger.shares import AskingNow, find_asking

#: How often the ledger is looked at.
EVERY_S = 1.0
#: How long it may be away before a beat is left out: whoever writes hears of that as well, and is more patient.
_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Heard:
    """What stands in the ledger at a beat."""

    #: By run and pass.
    halts: Mapping[tuple[str, int], CallFailed]
    asking: AskingNow


class Pulse:
    """
    Looks at the ledger now and then for as long as rows are asked; on one event loop.

    Args:
        ledger: Where all processes write what they tell.
        heed: Told what was heard, each time.
    """

    def __init__(self, ledger: Ledger, heed: Callable[[Heard], None]) -> None:
        self._ledger = ledger
        self._heed = heed
        self._n_asking: Counter[str] = Counter()
        self._beating: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def beating(self, run_id: str, worker: Worker) -> AsyncIterator[None]:
        """For as long as rows of the run are asked; the first look is over when it begins."""
        self._n_asking[run_id] += 1
        try:
            if self._beating is None:
                await self._look(worker)
            if self._beating is None:
                self._beating = asyncio.create_task(self._beat(worker))
            yield
        finally:
            self._n_asking[run_id] -= 1
            self._n_asking += Counter()  # leaves out who is not asked any more
            if not self._n_asking:
                await self.aclose()

    async def aclose(self) -> None:
        """Look no more."""
        if beating := self._beating:
            self._beating = None
            beating.cancel()
            await asyncio.wait([beating])

    async def _beat(self, worker: Worker) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self._look(worker)

    async def _look(self, worker: Worker) -> None:
        read = functools.partial(_read, worker=worker, run_ids=tuple(self._n_asking))
        with contextlib.suppress(LedgerRefused):
            self._heed(await asyncio.to_thread(self._ledger.read, read, patience_s=_PATIENCE_S))


def _read(connection: sa.Connection, *, worker: Worker, run_ids: tuple[str, ...]) -> Heard:
    return Heard(find_halts(connection, run_ids), find_asking(connection, worker))
