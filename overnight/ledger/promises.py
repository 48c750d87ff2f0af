"""Reading the outbox: what is promised, what became of it, and what stands at a sink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from overnight.ledger.bodies import get_bodies
from overnight.ledger.release_schema import approvals, outbox, releases
from overnight.ledger.releases import ReleaseRow
from overnight.records import Approval, Payload, Receipt

_C = outbox.c


@dataclass(frozen=True)
class Promise:
    """One row of an outbox."""

    approval_id: str
    position: int
    row_id: str
    #: Digest of the payload's bytes.
    payload: str
    delivery_key: str
    #: The key of what stood at the sink before, where this one's is made of it too.
    follows: str | None = None


#: Columns of a `Promise`, in its order.
PROMISE = (_C.approval_id, _C.position, _C.row_id, _C.payload, _C.delivery_key, _C.follows)


def find_promises(connection: sa.Connection, approval_id: str, states: Sequence[str]) -> list[Promise]:
    """The approval's rows in these states, in order."""
    query = sa.select(*PROMISE).where(_C.approval_id == approval_id, _C.state.in_(states))
    return [Promise(*row) for row in connection.execute(query.order_by(_C.position))]


def get_payloads(connection: sa.Connection, rows: Sequence[Promise | ReleaseRow]) -> list[Payload]:
    """
    Their exact bytes, verified.

    Raises:
        LedgerRefused: Bytes are missing or altered.
    """
    found = get_bodies(connection, [r.payload for r in rows])
    return [Payload(r.row_id, body, r.payload, r.delivery_key) for r, body in zip(rows, found, strict=True)]


def find_receipts(connection: sa.Connection, approval_id: str) -> list[Receipt]:
    """What became of each delivery of an approval, in order."""
    query = sa.select(_C.delivery_key, _C.row_id, _C.state, _C.detail).where(_C.approval_id == approval_id)
    return [
        Receipt(r.delivery_key, r.row_id, r.state, r.detail or "")
        for r in connection.execute(query.order_by(_C.position))
    ]


def find_earlier_part(connection: sa.Connection, approval: Approval) -> list[Promise]:
    """
    What a sink that holds one release whole has of it already: the rows that left before these were held back no more.

    Where the held rows of a release are released later, or its quarantined rows by a retry, they join those that left
    first.
    """
    found: list[Promise] = []
    for release_id in list_continued(connection, approval.release_id):
        query = sa.select(*PROMISE).join(approvals, approvals.c.approval_id == _C.approval_id)
        query = query.where(approvals.c.release_id == release_id, _C.state == "delivered").order_by(_C.position)
        found += [Promise(*row) for row in connection.execute(query)]
    return found


def find_other_tenant(connection: sa.Connection, approval: Approval) -> str | None:
    """
    The release that a sink of one release holds, or is promised, and that would be lost: this one continues another.

    None where it is one of those that this one continues, or where this one continues none: then it takes the place of
    whatever is there.
    """
    chain = list_continued(connection, approval.release_id)
    last = find_last_at_sink(connection, approval.sink, but=approval.approval_id)
    return last if chain and last and last not in chain else None


def find_last_at_sink(connection: sa.Connection, sink: str, *, but: str = "") -> str | None:
    """The release that was written to the sink last, or is promised to it; of the approvals but this one."""
    c = approvals.c
    is_there = sa.exists().where(
        _C.approval_id == c.approval_id, _C.state.in_(["promised", "sending", "delivered", "unknown"])
    )
    query = sa.select(c.release_id).where(c.sink == sink, c.turn.is_not(None), c.approval_id != but, is_there)
    return connection.execute(query.order_by(c.turn.desc()).limit(1)).scalar()


def list_continued(connection: sa.Connection, release_id: str) -> list[str]:
    """The releases that this one goes on from, the first of them first."""
    chain, of = list[str](), release_id
    while of := connection.execute(sa.select(releases.c.held_of).where(releases.c.release_id == of)).scalar_one():
        chain.insert(0, of)
    return chain


def find_standing(connection: sa.Connection, approval: Approval) -> str | None:
    """The approval whose release stood at the sink before this one's was written, or None."""
    mine = sa.select(approvals.c.turn).where(approvals.c.approval_id == approval.approval_id).scalar_subquery()
    query = sa.select(approvals.c.approval_id).where(approvals.c.sink == approval.sink, approvals.c.turn < mine)
    query = query.where(_has_delivered()).order_by(approvals.c.turn.desc()).limit(1)
    return connection.execute(query).scalar()


def is_last_at_sink(connection: sa.Connection, approval: Approval) -> bool:
    """Whether no later approval's rows have been written to the sink."""
    mine = sa.select(approvals.c.turn).where(approvals.c.approval_id == approval.approval_id).scalar_subquery()
    query = sa.select(approvals.c.approval_id).where(approvals.c.sink == approval.sink, approvals.c.turn > mine)
    return connection.execute(query.where(_has_delivered()).limit(1)).first() is None


def list_outbox(connection: sa.Connection, limit: int) -> list[dict[str, Any]]:
    """The newest used approvals, each with its release, sink, reviewer and the number of its rows in each state."""
    a = approvals.c
    query = sa.select(a.approval_id, a.release_id, releases.c.run_id, a.sink, a.operation, a.reviewer, a.consumed_at)
    query = query.join(releases, releases.c.release_id == a.release_id).where(a.state == "consumed")
    found = []
    for row in connection.execute(query.order_by(a.consumed_at.desc()).limit(limit)).mappings():
        counted = sa.select(_C.state, sa.func.count()).where(_C.approval_id == row["approval_id"]).group_by(_C.state)
        states = {str(state): n for state, n in connection.execute(counted).tuples()}
        found.append({str(k): v for k, v in row.items()} | {"rows": states})
    return found


def _has_delivered() -> sa.ColumnElement[bool]:
    return sa.exists().where(_C.approval_id == approvals.c.approval_id, _C.state == "delivered")
