"""The outbox: deliveries promised in the transaction that consumes their approval."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from overnight.ledger.approvals import is_live
from overnight.ledger.batching import batched
from overnight.ledger.bodies import get_body
from overnight.ledger.release_schema import approvals, outbox
from overnight.ledger.releases import ReleaseRow
from overnight.records import Payload, Receipt


def consume(connection: sa.Connection, approval_id: str, rows: Sequence[ReleaseRow], now: float) -> bool:
    """
    Use the approval up and promise its rows, together; False where it was used, or has expired.

    A row whose bytes were delivered before is marked "earlier" and not sent again. One that an
    earlier approval has promised and not sent is taken over: its old promise is "superseded".
    """
    c = approvals.c
    used = connection.execute(
        sa.update(approvals)
        .where(c.approval_id == approval_id, is_live(connection, now))
        .values(state="consumed", consumed_at=now)
    )
    if used.rowcount != 1:
        return False
    keys = [r.delivery_key for r in rows]
    _supersede(connection, keys, now)
    gone = _delivered_among(connection, keys)
    promised = [
        {
            "approval_id": approval_id,
            "position": r.position,
            "delivery_key": r.delivery_key,
            "row_id": r.row_id,
            "payload": r.payload,
            "state": "earlier" if r.delivery_key in gone else "promised",
            "n_sends": 0,
            "promised_at": now,
        }
        for r in rows
    ]
    connection.execute(sa.insert(outbox), promised)
    return True


def _supersede(connection: sa.Connection, keys: Sequence[str], now: float) -> None:
    c = outbox.c
    for some in batched(keys):
        statement = sa.update(outbox).where(c.delivery_key.in_(some), c.state == "promised")
        connection.execute(
            statement.values(state="superseded", detail="promised again by a later release", settled_at=now)
        )


def _delivered_among(connection: sa.Connection, keys: Sequence[str]) -> set[str]:
    c, found = outbox.c, set[str]()
    for some in batched(keys):
        query = sa.select(c.delivery_key).where(c.delivery_key.in_(some), c.state == "delivered")
        found |= set(connection.execute(query).scalars())
    return found


def find_payloads(connection: sa.Connection, approval_id: str, states: Sequence[str]) -> list[tuple[int, Payload]]:
    """The approval's payloads in these states, each with its position, in order; bytes are verified when read."""
    c = outbox.c
    query = sa.select(c.position, c.row_id, c.payload, c.delivery_key).where(c.approval_id == approval_id)
    rows = connection.execute(query.where(c.state.in_(states)).order_by(c.position)).all()
    return [(r.position, Payload(r.row_id, get_body(connection, r.payload), r.payload, r.delivery_key)) for r in rows]


def settle(
    connection: sa.Connection, approval_id: str, positions: Sequence[int], *, state: str, detail: str, now: float
) -> None:
    """Record what became of promised deliveries."""
    c = outbox.c
    statement = sa.update(outbox).where(c.approval_id == approval_id, c.position == sa.bindparam("at"))
    values = statement.values(state=state, detail=detail, settled_at=now, n_sends=c.n_sends + 1)
    if positions:
        connection.execute(values, [{"at": p} for p in positions])


def find_receipts(connection: sa.Connection, approval_id: str) -> list[Receipt]:
    """What became of each delivery of an approval, in order."""
    c = outbox.c
    query = sa.select(c.delivery_key, c.row_id, c.state, c.detail).where(c.approval_id == approval_id)
    return [
        Receipt(r.delivery_key, r.row_id, r.state, r.detail or "")
        for r in connection.execute(query.order_by(c.position))
    ]
