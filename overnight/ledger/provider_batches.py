"""Provider batches: from before anything is sent until the provider is done, and never sent twice."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from overnight.failures import LedgerRefused
from overnight.ledger.leases import Worker
from overnight.ledger.provider_batch_schema import provider_batch_items, provider_batches
from overnight.ledger.schema import attempts, claims
from overnight.ledger.spend import Cap, night_scope, run_scope, settle, take_turn
from overnight.records import BatchLook, BatchState, ItemKind, ProviderBatch

_B, _I, _A = provider_batches.c, provider_batch_items.c, attempts.c
#: Columns of a `ProviderBatch`, in its order.
_COLUMNS = (
    *(_B.batch_id, _B.run_id, _B.model, _B.endpoint, _B.state, _B.worker_id, _B.packed_by, _B.packed_at, _B.n_items),
    *(_B.submitting_at, _B.submitted_at, _B.provider_id, _B.status, _B.n_done, _B.looked_at, _B.expires_at),
    *(_B.canceled_at, _B.ended_at, _B.key_mark, _B.reason),
)
#: The provider does not have it, as far as anybody knows.
_UNHEARD = (BatchState.PACKING, BatchState.SUBMITTING, BatchState.IN_DOUBT)


def mark_submitting(
    connection: sa.Connection, batch_id: str, *, worker: Worker, key_mark: str, now: float
) -> ProviderBatch | None:
    """
    Record the intent to send it: nothing is packed into it any more; None where it is not this worker's to send.

    Args:
        connection: To the ledger.
        batch_id: Which.
        worker: The process that packed it.
        key_mark: Of which key it is sent by.
        now: Seconds since the epoch.
    """
    is_own = _is_in(batch_id, BatchState.PACKING) & (_B.packed_by == worker.worker_id)
    values = {"state": BatchState.SUBMITTING, "submitting_at": now, "key_mark": key_mark}
    change = sa.update(provider_batches).where(is_own).values(values)
    row = connection.execute(change.returning(*_COLUMNS)).one_or_none()
    return _make(row) if row else None


def mark_submitted(
    connection: sa.Connection, batch_id: str, look: BatchLook, now: float, *, settled_by: str | None = None
) -> None:
    """
    Record that the provider has it, and as what; told once more, nothing changes.

    Args:
        connection: To the ledger.
        batch_id: Which.
        look: As the provider shows it.
        now: Seconds since the epoch.
        settled_by: The person who said so of one that was in doubt.

    Raises:
        LedgerRefused: The provider's batch is another one of ours, or this one was given up before.
    """
    taken = sa.select(_B.batch_id).where(_B.provider_id == look.provider_id, _B.batch_id != batch_id)
    if other := connection.execute(taken).scalar():
        raise LedgerRefused(
            f"Provider batch {batch_id} cannot be {look.provider_id}: that is {other} already. Look at both with"
            " `overnight batches`, and settle this one by hand."
        )
    values = {"state": BatchState.SUBMITTED, "submitted_at": now, "provider_id": look.provider_id, "reason": None}
    change = sa.update(provider_batches).where(_is_in(batch_id, BatchState.SUBMITTING, BatchState.IN_DOUBT))
    if connection.execute(change.values(values | {"settled_by": settled_by})).rowcount:
        record_look(connection, batch_id, look, now)
    elif (found := get_provider_batch(connection, batch_id)).provider_id != look.provider_id:
        raise LedgerRefused(
            f"Provider batch {batch_id} is {found.state} ({found.reason or 'no reason was recorded'}), and the provider"
            f" has it as {look.provider_id}. Its requests may be asked elsewhere: cancel it at the provider."
        )


def record_look(connection: sa.Connection, batch_id: str, look: BatchLook, now: float) -> None:
    """Record how the provider shows it; of one that has ended nothing changes."""
    values = {"status": look.status, "n_done": look.n_done, "looked_at": now}
    values["expires_at"] = sa.func.coalesce(sa.literal(look.expires_at, sa.Float), _B.expires_at)
    connection.execute(sa.update(provider_batches).where(_is_in(batch_id, BatchState.SUBMITTED)).values(values))


def record_canceling(connection: sa.Connection, batch_id: str, now: float) -> None:
    """Record that the provider is asked to stop; the first time stays."""
    first = (_B.batch_id == batch_id) & _B.canceled_at.is_(None)
    connection.execute(sa.update(provider_batches).where(first).values(canceled_at=now))


def record_reason(connection: sa.Connection, batch_id: str, reason: str, now: float) -> None:
    """Record what was found when it was looked for, or how it failed as a whole."""
    values = {"reason": reason, "looked_at": now}
    connection.execute(sa.update(provider_batches).where(_B.batch_id == batch_id).values(values))


def mark_in_doubt(connection: sa.Connection, batch_id: str, *, reason: str, now: float) -> None:
    """Record that nobody can tell whether the provider has it: a person has to; its requests stay claimed."""
    values = {"state": BatchState.IN_DOUBT, "reason": reason, "looked_at": now}
    connection.execute(sa.update(provider_batches).where(_is_in(batch_id, BatchState.SUBMITTING)).values(values))


def release_batch(
    connection: sa.Connection,
    batch_id: str,
    *,
    reason: str,
    now: float,
    settled_by: str | None = None,
    is_refused: bool = False,
) -> int:
    """
    Give it up as never sent: its requests are free again, and what was set aside for them too.

    Args:
        connection: To the ledger.
        batch_id: Which.
        reason: Why it was not sent, or how it is known.
        now: Seconds since the epoch.
        settled_by: The person who said so of one that was in doubt.
        is_refused: Whether the provider has it, and has said that it asks nothing of it.

    Returns:
        How many requests; 0 where the provider has it, or it was given up before.
    """
    of_batch = sa.select(_I.attempt_id).where(_I.batch_id == batch_id)
    is_open = _A.attempt_id.in_(of_batch) & (_A.outcome == "open")
    # Before anything else, as whoever opens and closes attempts does.
    held = connection.execute(sa.select(_A.run_id, _A.opened_at).where(is_open)).all()
    take_turn(connection, (cap for row in held for cap in make_caps(row.run_id, row.opened_at)))
    values = {"state": BatchState.UNSENT, "reason": reason, "ended_at": now, "settled_by": settled_by}
    states = (*_UNHEARD, BatchState.SUBMITTED) if is_refused else _UNHEARD
    unheard = sa.update(provider_batches).where(_is_in(batch_id, *states))
    if not (of := connection.execute(unheard.values(values).returning(_B.worker_id)).scalar()):
        return 0
    closed = sa.update(attempts).where(is_open).values(outcome="unsent", closed_at=now)
    rows = connection.execute(closed.returning(_A.run_id, _A.opened_at, _A.reserved_usd)).all()
    connection.execute(sa.delete(claims).where(claims.c.worker_id == of))
    settle(connection, [(make_caps(row.run_id, row.opened_at), row.reserved_usd or 0.0, 0.0) for row in rows])
    return len(rows)


def make_caps(run_id: str, opened_at: float) -> tuple[Cap, Cap]:
    """The scopes that the money of a request was set aside in, whatever may be spent under them."""
    return Cap(run_scope(run_id)), Cap(night_scope(opened_at))


def end_batch(connection: sa.Connection, batch_id: str, now: float) -> int:
    """Record that the provider is done with it, and that all of its results were; how many requests have none."""
    values = {"state": BatchState.ENDED, "n_done": _B.n_items, "ended_at": now}
    change = sa.update(provider_batches).where(_is_in(batch_id, BatchState.SUBMITTED)).values(values)
    if not connection.execute(change).rowcount:
        return 0
    without = sa.update(provider_batch_items).where(_I.batch_id == batch_id, _I.kind.is_(None))
    return connection.execute(without.values(kind=ItemKind.MISSING, arrived_at=now)).rowcount


def get_provider_batch(connection: sa.Connection, batch_id: str) -> ProviderBatch:
    """
    One of them.

    Raises:
        LedgerRefused: There is none of this name.
    """
    row = connection.execute(sa.select(*_COLUMNS).where(_B.batch_id == batch_id)).one_or_none()
    if row is None:
        raise LedgerRefused(f"There is no provider batch {batch_id} in the ledger. `overnight batches` lists them.")
    return _make(row)


def list_batches(
    connection: sa.Connection,
    *,
    run_id: str | None = None,
    states: Collection[BatchState] | None = None,
    limit: int | None = None,
) -> list[ProviderBatch]:
    """The provider batches, of a run, in some states, newest first."""
    query = sa.select(*_COLUMNS).order_by(_B.packed_at.desc(), _B.worker_id.desc()).limit(limit)
    query = query if run_id is None else query.where(_B.run_id == run_id)
    query = query if states is None else query.where(_B.state.in_(list(states)))
    return [_make(row) for row in connection.execute(query)]


def _is_in(batch_id: str, *states: BatchState) -> sa.ColumnElement[bool]:
    return (_B.batch_id == batch_id) & _B.state.in_(states)


def _make(row: sa.Row[Any]) -> ProviderBatch:
    return ProviderBatch(**(dict(row._mapping) | {"state": BatchState(row.state)}))  # noqa: SLF001 - SQLAlchemy's public name
