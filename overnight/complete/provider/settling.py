"""Settling a doubt: a person has looked at the provider, and says whether it has a batch."""

from __future__ import annotations

import asyncio
import time

from overnight.complete.provider.sending import make_client
from overnight.failures import CallFailed, LedgerRefused
from overnight.ledger import Ledger
from overnight.ledger.leases import Worker
from overnight.ledger.provider_batch_progress import list_stale
from overnight.ledger.provider_batches import get_provider_batch, mark_submitted, release_batch
from overnight.records import BatchLook, BatchState, ProviderBatch
from overnight.settings import Settings


def get_doubtful(ledger: Ledger, batch_id: str) -> ProviderBatch:
    """
    A provider batch that a person may settle.

    Raises:
        LedgerRefused: There is none of this name, nothing is open about it, or a process is sending it now.
    """
    with ledger.reading() as connection:
        batch = get_provider_batch(connection, batch_id)
        in_hand = {stale.batch.batch_id for stale in list_stale(connection, Worker(0)) if stale.is_in_hand}
    if batch.state not in (BatchState.IN_DOUBT, BatchState.SUBMITTING):
        raise LedgerRefused(
            f"Provider batch {batch_id} is {batch.state}: there is nothing to settle. `overnight batches` shows which"
            " are in doubt."
        )
    if batch_id in in_hand:
        raise LedgerRefused(
            f"Provider batch {batch_id} is being sent by a process that lives: nothing is in doubt yet. Wait until it"
            " has ended, then look again: `overnight batches --follow`."
        )
    return batch


def settle_sent(batch: ProviderBatch, provider_id: str, *, by: str, ledger: Ledger, settings: Settings) -> BatchLook:
    """
    Record that the provider has the batch under this id, which is looked up there first.

    Raises:
        LedgerRefused: It is another batch, or the doubt was settled meanwhile.
        CallFailed: The provider shows no such batch.
        ModelRefused: There is no key.
    """
    try:
        look = asyncio.run(_look(batch, provider_id, settings))
    except CallFailed as failure:
        raise LedgerRefused(
            f"{batch.model} does not show a batch {provider_id} ({failure}). Copy the id from the provider's own list,"
            " or try again later."
        ) from failure
    if look.n_items and look.n_items != batch.n_items:
        raise LedgerRefused(
            f"Provider batch {batch.batch_id} has {batch.n_items:,} requests, and {provider_id} has"
            f" {look.n_items:,}: it is another. Look for it in the provider's own list."
        )
    ledger.write(lambda connection: mark_submitted(connection, batch.batch_id, look, time.time(), settled_by=by))
    return look


def settle_not_sent(batch: ProviderBatch, *, by: str, ledger: Ledger) -> int:
    """
    Record that the provider never had the batch: its rows may be asked again; how many.

    Raises:
        LedgerRefused: The doubt was settled meanwhile.
    """
    reason = f"{by} looked at the provider, which does not have it."
    n_freed = ledger.write(
        lambda connection: release_batch(connection, batch.batch_id, reason=reason, now=time.time(), settled_by=by)
    )
    if not n_freed and batch.n_items:
        get_doubtful(ledger, batch.batch_id)
    return n_freed


async def _look(batch: ProviderBatch, provider_id: str, settings: Settings) -> BatchLook:
    client = await make_client(batch, settings)
    try:
        return await client.look(provider_id)
    finally:
        await client.aclose()
