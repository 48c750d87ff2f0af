"""The outbox: what an approval promises when it is used up, and what a person settles, withdraws or recalls of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from overnight.ledger.approvals import is_live
from overnight.ledger.batching import batched
from overnight.ledger.generations import choose_keys
from overnight.ledger.leases import Worker
from overnight.ledger.promises import Promise
from overnight.ledger.release_schema import approvals, outbox, sinks
from overnight.ledger.releases import ReleaseRow
from overnight.ledger.senders import take_back
from overnight.ledger.sinks import take_turn
from overnight.ledger.triggers import refuse_missing
from overnight.records import Approval

_C = outbox.c


def consume(
    connection: sa.Connection, approval: Approval, rows: Sequence[ReleaseRow], *, is_plain: bool, now: float
) -> bool:
    """
    Use the approval up and promise its rows, together; False where it was used, or has expired.

    Under which key each row is sent is settled here, where nothing else comes between: by what stands at the sink, or
    is on its way there. Rows keep their plain keys, `is_plain`, at a sink that holds one release whole, or that answers
    requests: there no version of a row takes the place of another.

    Raises:
        DeliveryHeld: The sink is on hold: the approval is as it was.
        LedgerRefused: What the database itself should refuse, it would not.
    """
    refuse_missing(connection)
    turn = take_turn(connection, approval.sink)
    c = approvals.c
    used = connection.execute(
        sa.update(approvals)
        .where(c.approval_id == approval.approval_id, is_live(connection, now))
        .values(state="consumed", consumed_at=now, turn=turn + 1)
    )
    if used.rowcount != 1:
        return False
    connection.execute(sa.update(sinks).where(sinks.c.sink == approval.sink).values(n_turns=turn + 1))
    promised = {"approval_id": approval.approval_id, "state": "promised", "n_sends": 0, "promised_at": now}
    plain = ((r.delivery_key, None) for r in rows)
    keys = plain if is_plain else choose_keys(connection, approval.sink, rows)
    values = [
        promised | {"position": r.position, "row_id": r.row_id, "payload": r.payload, "delivery_key": k, "follows": f}
        for r, (k, f) in zip(rows, keys, strict=True)
    ]
    connection.execute(sa.insert(outbox), values)
    return True


def settle_by_hand(
    connection: sa.Connection, approval_id: str, positions: Sequence[int], *, state: str, detail: str, now: float
) -> None:
    """Record what a person says became of rows of unknown fate."""
    for some in batched(positions):
        statement = sa.update(outbox).where(_C.approval_id == approval_id, _C.position.in_(some))
        connection.execute(statement.values(state=state, detail=detail, settled_at=now))


def withdraw(connection: sa.Connection, approval: Approval, worker: Worker, now: float) -> None:
    """
    Take back every promise: one that was sent, and whose answer nobody has, is of unknown fate until the sink is asked.

    The caller has the sink to itself.
    """
    take_back(connection, approval.approval_id, worker, state="unknown", now=now)
    promised = sa.update(outbox).where(_C.approval_id == approval.approval_id, _C.state == "promised")
    connection.execute(
        promised.where(_C.n_sends == 0).values(state="recalled", detail="withdrawn before it was sent", settled_at=now)
    )
    connection.execute(promised.values(state="unknown", settled_at=now))


def settle_recall(
    connection: sa.Connection, approval_id: str, found: Mapping[Promise, tuple[bool, str]], now: float
) -> None:
    """Record which deliveries were undone; so they are for the approvals that relied on them too."""
    for promise, (is_undone, detail) in found.items():
        mine = sa.and_(_C.approval_id == approval_id, _C.position == promise.position)
        if not is_undone:
            stays = sa.update(outbox).where(mine).values(state="delivered", detail=f"not recalled: {detail}")
            connection.execute(stays)
            continue
        relying = sa.and_(_C.delivery_key == promise.delivery_key, _C.state == "earlier")
        statement = sa.update(outbox).where(sa.or_(mine, relying))
        connection.execute(statement.values(state="recalled", detail=detail, settled_at=now))
