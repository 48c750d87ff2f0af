"""How far the provider batches of runs are, and which of them a process has left behind."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from overnight.ledger.clock import read_clock
from overnight.ledger.leases import Worker, is_free
from overnight.ledger.provider_batch_items import name_item
from overnight.ledger.provider_batch_schema import awaited_batches, provider_batch_items, provider_batches
from overnight.ledger.provider_batches import list_batches
from overnight.ledger.queries import as_dict
from overnight.ledger.schema import attempts, leases
from overnight.records import BatchState, ProviderBatch

_B = provider_batches.c
#: States of those that are not over.
OPEN_STATES = (BatchState.PACKING, BatchState.SUBMITTING, BatchState.SUBMITTED, BatchState.IN_DOUBT)


@dataclass(frozen=True)
class BatchProgress:
    """The provider batches of a run that are not over, all together."""

    n_batches: int
    n_items: int
    #: As the provider said when it was asked last.
    n_done: int
    #: When the first of them was sent, or begun.
    since: float | None
    #: Batches that a person has to settle.
    n_in_doubt: int
    #: The providers' words for where they stand.
    statuses: tuple[str, ...]


@dataclass(frozen=True)
class Stale:
    """A provider batch that was begun, and of which it is not recorded whether the provider has it."""

    batch: ProviderBatch
    #: Whether another live process may be sending it in this moment: it is not to be touched.
    is_in_hand: bool


def find_progress(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, BatchProgress]:
    """How far the provider batches are that these runs have or wait for; of those that have any that is not over."""
    found: dict[str, list[sa.Row[Any]]] = {}
    of, wanted = awaited_batches.c, list(run_ids)
    mine = sa.select(_B.run_id.label("for_run"), _B.batch_id).where(_B.run_id.in_(wanted))
    # Rows that two runs have are with the provider once.
    others = sa.select(of.run_id, of.batch_id).where(of.run_id.in_(wanted))
    awaited = mine.union(others).subquery()
    query = sa.select(provider_batches, awaited.c.for_run).join(awaited, awaited.c.batch_id == _B.batch_id)
    for row in connection.execute(query.where(_B.state.in_(OPEN_STATES)).order_by(_B.packed_at)):
        found.setdefault(row.for_run, []).append(row)
    return {run_id: _sum_up(rows) for run_id, rows in found.items()}


def record_awaited(connection: sa.Connection, run_id: str, batch_ids: Collection[str]) -> None:
    """Keep which provider batches the run waits for, in place of those that it waited for before."""
    connection.execute(sa.delete(awaited_batches).where(awaited_batches.c.run_id == run_id))
    if rows := [{"run_id": run_id, "batch_id": batch_id} for batch_id in sorted(batch_ids)]:
        connection.execute(sa.insert(awaited_batches), rows)


def find_runs_awaited(connection: sa.Connection, run_id: str) -> dict[str, int]:
    """The other runs in whose provider batches the run has rows, and how many batches of each."""
    of = awaited_batches.c
    query = sa.select(_B.run_id, sa.func.count().label("n_batches")).join(awaited_batches, of.batch_id == _B.batch_id)
    query = query.where(of.run_id == run_id, _B.run_id != run_id).group_by(_B.run_id).order_by(_B.run_id)
    return {row.run_id: row.n_batches for row in connection.execute(query)}


def find_set_aside_usd(connection: sa.Connection, batch_id: str) -> float:
    """What is set aside for the requests of a batch that are not closed."""
    items, a = provider_batch_items.c, attempts.c
    query = sa.select(sa.func.sum(a.reserved_usd)).join(provider_batch_items, items.attempt_id == a.attempt_id)
    return float(connection.execute(query.where(items.batch_id == batch_id, a.outcome == "open")).scalar() or 0.0)


def list_stale(connection: sa.Connection, worker: Worker) -> list[Stale]:
    """
    The batches that are being sent, or were when their process ended, and those that it left half packed.

    What the worker itself is packing is its own affair; what it was sending is not in another's hand.
    """
    now, of = read_clock(connection), leases.c
    found = list_batches(connection, states=[BatchState.PACKING, BatchState.SUBMITTING])
    query = sa.select(of.worker_id, of.clock, of.until, of.process)
    packers = connection.execute(query.where(of.worker_id.in_({batch.packed_by for batch in found})))
    free = {row.worker_id for row in packers if is_free(row, worker, now)}
    return [
        Stale(batch, is_in_hand=batch.packed_by not in free)
        for batch in found
        if batch.state == BatchState.SUBMITTING or batch.packed_by in free - worker.own
    ]


def find_packed_runs(connection: sa.Connection) -> set[str]:
    """The runs of which a request stands in a provider batch, or whose result has come and is not judged yet."""
    query = sa.select(attempts.c.run_id).where(attempts.c.outcome == "open").distinct()
    packed = query.join(provider_batch_items, provider_batch_items.c.attempt_id == attempts.c.attempt_id)
    return set(connection.execute(packed).scalars())


def list_items_of(connection: sa.Connection, key: str) -> list[dict[str, Any]]:
    """With which provider batches a request went, and what came back, by the attempt."""
    i, b = provider_batch_items.c, provider_batches.c
    query = sa.select(i.attempt_id, i.kind, i.arrived_at, b.batch_id, b.provider_id, b.state)
    query = query.join(provider_batches, b.batch_id == i.batch_id).where(i.request_key == key)
    return [
        as_dict(row) | {"custom_id": name_item(row.batch_id, row.attempt_id, key)}
        for row in connection.execute(query.order_by(i.attempt_id))
    ]


def _sum_up(rows: Sequence[sa.Row[tuple[object, ...]]]) -> BatchProgress:
    return BatchProgress(
        n_batches=len(rows),
        n_items=sum(row.n_items for row in rows),
        n_done=sum(row.n_done for row in rows),
        since=min(row.submitting_at or row.packed_at for row in rows),
        n_in_doubt=sum(row.state == BatchState.IN_DOUBT for row in rows),
        statuses=tuple(dict.fromkeys(row.status for row in rows if row.status)),
    )
