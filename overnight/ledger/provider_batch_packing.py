"""Packing: requests are opened as ever, but for a provider batch, whose claims no process's end gives up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from overnight.ledger.attempts import NotOpened, Opening, open_attempts
from overnight.ledger.columns import to_bytes
from overnight.ledger.leases import Worker, register_batch
from overnight.ledger.prepared import Prepared, insert
from overnight.ledger.provider_batch_schema import provider_batch_items, provider_batches
from overnight.ledger.spend import Shortfall, take_turn
from overnight.records import BatchState

_B = provider_batches.c


@dataclass(frozen=True)
class Packed:
    """A provider batch that requests are put into."""

    batch_id: str
    #: Whose claims they are.
    worker: Worker


def begin_batch(
    connection: sa.Connection,
    *,
    batch_id: str,
    run_id: str,
    model: str,
    endpoint: str,
    packed_by: Worker,
    now: float,
) -> Packed:
    """
    Begin a provider batch.

    Args:
        connection: To the ledger.
        batch_id: Its name, 16 hex digits.
        run_id: Whose requests go into it.
        model: PROVIDER:NAME.
        endpoint: The base URL.
        packed_by: The process that packs it, and alone may send it.
        now: Seconds since the epoch.
    """
    worker = register_batch(connection, batch_id, packed_by)
    row = {"batch_id": batch_id, "run_id": run_id, "model": model, "endpoint": endpoint, "packed_at": now}
    row |= {"state": BatchState.PACKING, "worker_id": worker.worker_id, "packed_by": packed_by.worker_id}
    connection.execute(sa.insert(provider_batches), row)
    return Packed(batch_id, worker)


def pack(packed: Packed, connection: sa.Connection, openings: Sequence[Opening]) -> list[int | Shortfall | NotOpened]:
    """
    Open attempts, and put each into the batch in the same commit: as `open_attempts`.

    Returns:
        For each the attempt's id, or why there is none; ELSEWHERE for all where nothing is packed into it any more.

    Raises:
        LedgerRefused: A request was answered once, and its answer is lost.
    """
    take_turn(connection, (cap for o in openings for cap in o.caps))
    state = sa.select(_B.state).where(_B.batch_id == packed.batch_id).with_for_update()
    if connection.execute(state).scalar_one() != BatchState.PACKING:
        return [NotOpened.ELSEWHERE for _ in openings]
    results = open_attempts(connection, packed.worker, openings)
    rows = [
        {"attempt_id": found, "batch_id": packed.batch_id, "request_key": to_bytes(o.key)}
        for o, found in zip(openings, results, strict=True)
        if isinstance(found, int)
    ]
    _ADD_ITEM.run(connection, rows)
    more = sa.update(provider_batches).where(_B.batch_id == packed.batch_id)
    connection.execute(more.values(n_items=_B.n_items + len(rows)))
    return results


_PACKED = ("attempt_id", "batch_id", "request_key")
_ADD_ITEM = Prepared(insert(provider_batch_items).values({n: sa.bindparam(n) for n in _PACKED}))
