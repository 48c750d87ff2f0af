"""The requests of a provider batch: what was sent for each, what came back, and who judges it now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from overnight.ledger.batching import batched
from overnight.ledger.bodies import get_bodies, make_body, record_bodies
from overnight.ledger.clock import read_clock
from overnight.ledger.columns import to_bytes
from overnight.ledger.completions import rows_of
from overnight.ledger.leases import Worker, is_free
from overnight.ledger.prepared import Prepared
from overnight.ledger.provider_batch_schema import provider_batch_items, provider_batches
from overnight.ledger.purges import wait_for_purge
from overnight.ledger.schema import attempts, claims, leases, requests
from overnight.records import BatchState, ItemKind, ItemResult

_B, _I, _A = provider_batches.c, provider_batch_items.c, attempts.c
#: Digits of a request's key in the custom id of an item.
_N_DIGITS = 24
#: More than any attempt's id.
_MOST = 1 << 63


@dataclass(frozen=True)
class PackedItem:
    """A request of a provider batch."""

    attempt_id: int
    request_key: str
    #: The exact bytes of a call of its own.
    body: bytes


@dataclass(frozen=True)
class InBatch:
    """Where the open attempt of a request stands."""

    attempt_id: int
    batch_id: str
    run_id: str
    state: BatchState
    has_result: bool


@dataclass(frozen=True)
class Arrived:
    """What came back for a request, and the open attempt that it ends."""

    attempt_id: int
    key: str
    run_id: str
    opened_at: float
    reserved_usd: float
    #: PROVIDER:NAME, where another model than the prompt's was asked.
    model: str | None
    cause: str | None
    result: ItemResult
    batch_id: str


def list_items(connection: sa.Connection, batch_id: str, after: int, limit: int) -> list[PackedItem]:
    """
    The requests of a batch in the order of their attempts, so many after this one.

    Raises:
        LedgerRefused: The bytes of one are missing, were purged, or are not those that were recorded.
    """
    query = sa.select(_I.attempt_id, _I.request_key, sa.func.coalesce(_A.sent, requests.c.body).label("body"))
    query = query.join(attempts, _A.attempt_id == _I.attempt_id)
    query = query.join(requests, requests.c.request_key == _I.request_key)
    query = query.where(_I.batch_id == batch_id, _I.attempt_id > after).order_by(_I.attempt_id).limit(limit)
    found = connection.execute(query).all()
    sent = get_bodies(connection, [row.body for row in found])
    return [PackedItem(row.attempt_id, row.request_key, body) for row, body in zip(found, sent, strict=True)]


def record_results(connection: sa.Connection, batch_id: str, results: Sequence[ItemResult], now: float) -> int:
    """Record what came back, in any order; what is not of the batch, or has a result, is left. How many were new."""
    wait_for_purge(connection)
    wanted: dict[int, ItemResult] = {}
    for result in results:
        attempt_id = _find_attempt_id(result.custom_id, batch_id)
        if attempt_id is not None:
            wanted.setdefault(attempt_id, result)
    keys = _find_unanswered(connection, batch_id, sorted(wanted))
    new = {a: r for a, r in wanted.items() if r.custom_id == name_item(batch_id, a, keys.get(a, ""))}
    made = {a: make_body(r.body) for a, r in new.items() if r.body}
    rows = [
        {
            "of": attempt_id,
            "kind": str(new[attempt_id].kind),
            "status": new[attempt_id].status,
            "provider_request_id": new[attempt_id].request_id,
            "body": to_bytes(made[attempt_id].digest) if attempt_id in made else None,
            "arrived_at": now,
        }
        for attempt_id in sorted(new)
    ]
    record_bodies(connection, made.values())
    return _ADD_RESULT.run(connection, rows)


def find_in_batches(connection: sa.Connection, keys: Sequence[str]) -> dict[str, InBatch]:
    """The keys that stand in a provider batch, or whose result has come and is not judged yet."""
    query = sa.select(_I.attempt_id, claims.c.request_key, _I.kind, _B.batch_id, _B.run_id, _B.state)
    # By the claim, which ends with the attempt: attempts are many more.
    query = query.join(claims, claims.c.attempt_id == _I.attempt_id)
    query = query.join(provider_batches, _B.batch_id == _I.batch_id).where(_B.state != BatchState.UNSENT)
    return {
        row.request_key: InBatch(
            row.attempt_id, row.batch_id, row.run_id, BatchState(row.state), has_result=row.kind is not None
        )
        for row in rows_of(connection, query, claims.c.request_key, keys)
    }


def count_arrived(connection: sa.Connection, run_id: str) -> int:
    """How many of the run's requests have a result that nobody has judged."""
    query = sa.select(sa.func.count()).select_from(provider_batch_items).join(attempts, _A.attempt_id == _I.attempt_id)
    query = query.where(_A.run_id == run_id, _A.outcome == "open", _I.kind.is_not(None))
    return connection.execute(query).scalar_one()


def take_arrived(connection: sa.Connection, worker: Worker, keys: Sequence[str]) -> dict[str, Arrived]:
    """Take what came back for these keys and is judged by nobody else who lives: this worker judges it now."""
    free = _hold_free(connection, worker, keys)
    for some in batched(free):
        mine = sa.update(provider_batch_items).where(_I.attempt_id.in_(some))
        connection.execute(mine.values(taken_by=worker.worker_id))
    query = _join_open(
        sa.select(
            *(_A.attempt_id, _A.request_key, _A.run_id, _A.opened_at, _A.reserved_usd, _A.model, _A.cause),
            *(_I.batch_id, _I.kind, _I.status, _I.provider_request_id, _I.body),
        )
    )
    found = [row for some in batched(free) for row in connection.execute(query.where(_A.attempt_id.in_(some)))]
    came = get_bodies(connection, [row.body for row in found if row.body])
    return {row.request_key: _make_arrived(row, next(came) if row.body else b"") for row in found}


def _hold_free(connection: sa.Connection, worker: Worker, keys: Sequence[str]) -> list[int]:
    """The attempts with a result that are this worker's to judge; nobody else takes them until the commit."""
    held = sa.select(_I.attempt_id).where(_I.kind.is_not(None)).order_by(_I.attempt_id)
    # Two statements: only a new one sees what the last holder of a row has written.
    held = held.with_for_update(skip_locked=True)
    attempt_ids = [row.attempt_id for row in rows_of(connection, held, _I.request_key, keys)]
    taken = _join_open(sa.select(_I.attempt_id, *(leases.c[n] for n in ("worker_id", "clock", "until", "process"))))
    taken = taken.join(leases, leases.c.worker_id == _I.taken_by, isouter=True)
    now, free = read_clock(connection), list[int]()
    for some in batched(attempt_ids):
        rows = connection.execute(taken.where(_A.attempt_id.in_(some))).all()
        free += [row.attempt_id for row in rows if row.worker_id is None or is_free(row, worker, now)]
    return free


def _join_open(query: sa.Select[tuple[object, ...]]) -> sa.Select[tuple[object, ...]]:
    """The items whose attempts are open, with their batches."""
    query = query.select_from(provider_batch_items).join(attempts, _A.attempt_id == _I.attempt_id)
    return query.join(provider_batches, _B.batch_id == _I.batch_id).where(_A.outcome == "open")


def _make_arrived(row: sa.Row[tuple[object, ...]], body: bytes) -> Arrived:
    custom_id = name_item(row.batch_id, row.attempt_id, row.request_key)
    return Arrived(
        attempt_id=row.attempt_id,
        key=row.request_key,
        run_id=row.run_id,
        opened_at=row.opened_at,
        reserved_usd=row.reserved_usd or 0.0,
        model=row.model,
        cause=row.cause,
        result=ItemResult(custom_id, ItemKind(row.kind), row.status, body, row.provider_request_id),
        batch_id=row.batch_id,
    )


def _find_unanswered(connection: sa.Connection, batch_id: str, attempt_ids: Sequence[int]) -> dict[int, str]:
    """Of these attempts, those of the batch that have no result yet, with their keys; a batch that is out has some."""
    query = sa.select(_I.attempt_id, _I.request_key).join(provider_batches, _B.batch_id == _I.batch_id)
    query = query.where(_B.batch_id == batch_id, _B.state == BatchState.SUBMITTED, _I.kind.is_(None))
    return {
        row.attempt_id: row.request_key
        for some in batched(attempt_ids)
        for row in connection.execute(query.where(_I.attempt_id.in_(some)))
    }


def name_item(batch_id: str, attempt_id: int, key: str) -> str:
    """As `llm.batches.name_item`, which stands above: a test holds them together."""
    return f"{key[:_N_DIGITS]}-{batch_id}-{attempt_id:x}"


def _find_attempt_id(custom_id: str, batch_id: str) -> int | None:
    """The attempt that an item of the batch names; None where it names none."""
    of_batch, _, number = custom_id.rpartition("-")
    try:
        found = int(number, 16)
    except ValueError:
        return None
    return found if of_batch.endswith(f"-{batch_id}") and 0 <= found < _MOST else None


_RESULT = ("kind", "status", "provider_request_id", "body", "arrived_at")
_ADD_RESULT = Prepared(
    sa.update(provider_batch_items)
    .where(_I.attempt_id == sa.bindparam("of"), _I.kind.is_(None))
    .values({name: sa.bindparam(name) for name in _RESULT})
)
