"""Requests put into provider batches, as many to one as the provider and the settings let."""

from __future__ import annotations

import asyncio
import functools
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from overnight.failpoints import reach
from overnight.ledger import Ledger
from overnight.ledger.attempts import NotOpened, Opening
from overnight.ledger.leases import Worker
from overnight.ledger.provider_batch_packing import begin_batch, pack
from overnight.ledger.provider_batches import get_provider_batch
from overnight.ledger.spend import Shortfall
from overnight.llm import ModelRef
from overnight.llm.batches import MAX_BYTES_BESIDE, Limits, find_limits
from overnight.records import BatchState

Pack = Callable[[sa.Connection, Sequence[Opening]], list[int | Shortfall | NotOpened]]


@dataclass
class _Filling:
    """A batch that requests are put into."""

    batch_id: str
    put: Pack
    limits: Limits
    n_items: int = 0
    n_bytes: int = 0

    def has_room(self, n_bytes: int) -> bool:
        """Whether one more goes in; the first always does."""
        if not self.n_items:
            return True
        return self.n_items < self.limits.n_items and self.n_bytes + n_bytes <= self.limits.n_bytes


class Packer:
    """
    Puts the requests of a run into provider batches, one after the other for each model; on the engine's event loop.

    Args:
        ledger: Where each request is opened and put into its batch in one commit.
        worker: The process.
        run_id: Whose requests they are.
        most_rows: Of one batch, where the provider would take more.
    """

    def __init__(self, ledger: Ledger, worker: Worker, run_id: str, most_rows: int) -> None:
        #: The batches that were begun, in order.
        self.batch_ids: list[str] = []
        self.worker = worker
        self._ledger = ledger
        self._run_id = run_id
        self._most_rows = most_rows
        self._filling: dict[tuple[ModelRef, str], _Filling] = {}
        self._beginning = asyncio.Lock()

    async def pack(self, model: ModelRef, endpoint: str, opening: Opening, n_bytes: int) -> int | Shortfall | NotOpened:
        """
        Open the attempt and put it into a batch.

        Args:
            model: Whom it asks.
            endpoint: Where.
            opening: The attempt.
            n_bytes: Of its request's body.

        Returns:
            The attempt's id, or why it was not opened.
        """
        n_bytes += MAX_BYTES_BESIDE
        filling = await self._find_room(model, endpoint, n_bytes)
        found = await self._ledger.record(filling.put, opening, is_urgent=False)
        if not isinstance(found, int):
            filling.n_items -= 1
            filling.n_bytes -= n_bytes
        if found is NotOpened.ELSEWHERE:
            await self._look_after(filling)
        return found

    async def _look_after(self, filling: _Filling) -> None:
        """A batch that was taken for abandoned is not packed any more: the next request begins another."""
        look = functools.partial(get_provider_batch, batch_id=filling.batch_id)
        if (await asyncio.to_thread(self._ledger.read, look)).state is not BatchState.PACKING:
            self._filling = {key: other for key, other in self._filling.items() if other is not filling}

    async def _find_room(self, model: ModelRef, endpoint: str, n_bytes: int) -> _Filling:
        async with self._beginning:
            filling = self._filling.get((model, endpoint))
            if filling is None or not filling.has_room(n_bytes):
                filling = self._filling[model, endpoint] = await self._begin(model, endpoint)
            filling.n_items += 1
            filling.n_bytes += n_bytes
            return filling

    async def _begin(self, model: ModelRef, endpoint: str) -> _Filling:
        limits = find_limits(model)
        assert limits is not None, "only what a provider takes in batches is packed"  # noqa: S101 - narrows the type
        batch_id = secrets.token_hex(8)
        begin = functools.partial(
            begin_batch,
            batch_id=batch_id,
            run_id=self._run_id,
            model=str(model),
            endpoint=endpoint,
            packed_by=self.worker,
            now=time.time(),
        )
        packed = await asyncio.wrap_future(self._ledger.submit(begin))
        self.batch_ids.append(batch_id)
        reach("batch-begun")
        # One function for all of a batch, so that what is put in at the same time goes into one commit.
        put = functools.partial(pack, packed)
        return _Filling(batch_id, put, Limits(min(limits.n_items, self._most_rows), limits.n_bytes))
