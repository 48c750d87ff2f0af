"""Provider batches are followed: looked at, found again, and what came of their requests is recorded."""

from __future__ import annotations

import asyncio
import functools
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from overnight.complete.provider.doubts import (
    ABSENT,
    OTHER_KEY,
    describe_candidates,
    describe_search,
    describe_unshown,
    was_absent,
)
from overnight.complete.provider.results import is_over, is_refused_for_now, record_what_came
from overnight.complete.provider.sending import make_client
from overnight.failpoints import reach
from overnight.failures import CallFailed, LedgerRefused, ModelRefused
from overnight.ledger import Ledger
from overnight.ledger.leases import Worker
from overnight.ledger.provider_batch_progress import list_stale
from overnight.ledger.provider_batches import (
    end_batch,
    list_batches,
    mark_in_doubt,
    mark_submitted,
    record_canceling,
    record_look,
    record_reason,
    release_batch,
)
from overnight.llm.batches import BatchClient
from overnight.records import BatchState, ProviderBatch
from overnight.settings import Settings
from overnight.taxonomy import FailureKind

OPEN = (BatchState.PACKING, BatchState.SUBMITTING, BatchState.SUBMITTED)


@dataclass(frozen=True)
class Unseen:
    """A batch that could not be looked at, or whose results could not be read."""

    batch: ProviderBatch
    line: str
    #: Whether it stays so until somebody mends it: a key, an address.
    is_lasting: bool


@dataclass(frozen=True)
class Followed:
    """What following came to."""

    #: Batches that have ended, or were released, and those that have not.
    n_ended: int
    n_open: int
    #: Those of which nobody can tell any more by itself whether they were received.
    in_doubt: tuple[ProviderBatch, ...]
    #: One line each: what could not be looked at.
    faults: tuple[str, ...]
    #: The same, with the batches.
    unseen: tuple[Unseen, ...] = ()


def follow_batches(ledger: Ledger, settings: Settings, *, run_id: str | None = None) -> Followed:
    """
    Look at all provider batches that have not ended, of a run or of all, and record what came of them.

    Nothing is asked of a model, and nothing is judged. It may be done by several at once, and broken off anywhere.
    """
    return asyncio.run(_Follower(ledger, settings).follow(run_id))


def cancel_batches(ledger: Ledger, settings: Settings, run_id: str) -> Followed:
    """Ask the providers to stop with the run's batches; what they have answered by then is kept. Then follow them."""
    return asyncio.run(_Follower(ledger, settings, cancels=True).follow(run_id))


@dataclass
class _Follower:
    ledger: Ledger
    settings: Settings
    cancels: bool = False
    _clients: dict[tuple[str, str], BatchClient] = field(default_factory=dict)

    async def follow(self, run_id: str | None) -> Followed:
        unseen: list[Unseen] = []
        doubtful = []
        batches = self._list(run_id)
        try:
            # What a person is asked about may show all the same, by another key or another day.
            for batch in [*batches, *self._list(run_id, BatchState.IN_DOUBT)]:
                try:
                    if await self._follow(batch):
                        doubtful.append(batch.batch_id)
                except (CallFailed, ModelRefused, LedgerRefused) as error:
                    line = f"Provider batch {batch.batch_id} of run {batch.run_id}: {error}"
                    unseen.append(Unseen(batch, line, is_lasting=_is_lasting(error)))
        finally:
            for client in self._clients.values():
                await client.aclose()
        still_open, doubted = self._list(run_id), self._list(run_id, BatchState.IN_DOUBT)
        over = {b.batch_id for b in batches} - {b.batch_id for b in (*still_open, *doubted)}
        in_doubt = tuple(b for b in doubted if b.batch_id in doubtful)
        faults = tuple(each.line for each in unseen)
        return Followed(len(over), len(still_open), in_doubt, faults, tuple(unseen))

    def _list(self, run_id: str | None, *states: BatchState) -> list[ProviderBatch]:
        return self.ledger.read(functools.partial(list_batches, run_id=run_id, states=states or OPEN))

    async def _follow(self, batch: ProviderBatch) -> bool:
        """Whether it is in doubt from now on."""
        if batch.state is BatchState.SUBMITTED:
            try:
                await self._look(batch)
            except CallFailed as failure:
                client = await self._find_client(batch)
                if not _is_forgotten(failure, batch) or batch.key_mark not in (None, client.key_mark):
                    raise
                self._write(end_batch, batch)
            return False
        if batch.state is not BatchState.IN_DOUBT and not self._is_stale(batch):
            return False
        if batch.state is BatchState.PACKING:
            self._write(release_batch, batch, reason="The process that put it together ended before it was sent.")
            return False
        return await self._search(batch)

    def _is_stale(self, batch: ProviderBatch) -> bool:
        """Whether nobody works on it any more."""
        # One that asks nothing and judges at once: a process that lives all the same finds its batch given up.
        stale = self.ledger.read(lambda connection: list_stale(connection, Worker(0)))
        # Where there is a reason, its submit is over, and was not answered.
        return batch.batch_id in {s.batch.batch_id for s in stale if not s.is_in_hand or s.batch.reason}

    async def _look(self, batch: ProviderBatch) -> None:
        client = await self._find_client(batch)
        assert batch.provider_id is not None, "it was submitted"  # noqa: S101 - narrows the type
        look = await client.look(batch.provider_id)
        if self.cancels and not look.is_ended and batch.canceled_at is None:
            look = await client.cancel(batch.provider_id)
            reach("batch-canceled")
            self._write(record_canceling, batch)
        self._write(record_look, batch, look=look)
        if look.refused and is_refused_for_now(batch, look):
            # As a whole, and for now: nothing of it was asked.
            self._write(release_batch, batch, reason=look.refused[2], is_refused=True)
        elif look.is_ended:
            await record_what_came(batch, client, look, self.ledger)

    async def _search(self, batch: ProviderBatch) -> bool:
        """Look for a batch whose submit was not answered; whether nobody can tell what became of it."""
        client = await self._find_client(batch)
        is_own_key = batch.key_mark in (None, client.key_mark)
        assert batch.submitting_at is not None, "it was about to be sent"  # noqa: S101 - narrows the type
        known = self.ledger.read(list_batches)
        spared = {b.provider_id for b in known if b.provider_id}
        found = await client.find(batch.batch_id, since=batch.submitting_at, n_items=batch.n_items, spared=spared)
        if found.look:
            self._write(mark_submitted, batch, look=found.look)
            reach("batch-found")
            if found.look.is_ended:
                await record_what_came(batch, client, found.look, self.ledger)
        elif batch.state is BatchState.IN_DOUBT:
            pass
        elif found.unknown or not (is_own_key or found.candidates):
            line = describe_search(batch, describe_unshown(found.unknown) if found.unknown else OTHER_KEY)
            if is_own_key or is_over(batch):
                self._write(mark_in_doubt, batch, reason=line)
                return True
            self._write(record_reason, batch, reason=line)
        elif found.candidates:
            self._write(record_reason, batch, reason=describe_search(batch, describe_candidates(found.candidates)))
        elif not was_absent(batch):
            # From now on, not from when it was begun to be sent: that may have taken long.
            self._write(record_reason, batch, reason=describe_search(batch, ABSENT))
        elif time.time() - (batch.looked_at or 0.0) >= self.settings.batch_grace_s:
            self._write(release_batch, batch, reason="The provider does not have it: it was not received.")
        return False

    async def _find_client(self, batch: ProviderBatch) -> BatchClient:
        key = (batch.model, batch.endpoint)
        if key not in self._clients:
            self._clients[key] = await make_client(batch, self.settings)
        return self._clients[key]

    def _write(self, job: Any, batch: ProviderBatch, **how: Any) -> None:
        self.ledger.write(functools.partial(job, batch_id=batch.batch_id, now=time.time(), **how))


def _is_lasting(error: CallFailed | ModelRefused | LedgerRefused) -> bool:
    return error.kind is FailureKind.HALT if isinstance(error, CallFailed) else True


def _is_forgotten(failure: CallFailed, batch: ProviderBatch) -> bool:
    """Whether the provider does not know the batch any more, and will not answer anything of it."""
    gone = failure.reply is not None and failure.reply.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
    return gone and is_over(batch)
