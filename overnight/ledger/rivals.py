"""What other approvals mean for rows that are about to be sent: they left already, are outdated, or have to wait."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from overnight.ledger.clock import read_clock
from overnight.ledger.leases import Worker, is_free
from overnight.ledger.promises import Promise
from overnight.ledger.release_schema import approvals, outbox
from overnight.ledger.schema import leases
from overnight.records import Approval

_C = outbox.c
#: Nobody else may send the same bytes of the same row meanwhile.
TAKEN = ("sending", "unknown")
#: In so many words, for the index: most promises of rows that stay as they are from night to night are "earlier".
LED_TO_A_SEND = _C.state != sa.literal_column("'earlier'")
#: Rows in hand, and who has them.
SENDING = (
    sa.select(_C.position, _C.row_id, _C.worker_id, leases.c.clock, leases.c.until, leases.c.process)
    .join(leases, leases.c.worker_id == _C.worker_id, isouter=True)
    .where(_C.state == "sending")
)
_SETTLED = ("delivered", "earlier")
_OPEN = ("promised", *TAKEN)


def find_elsewhere(
    connection: sa.Connection,
    approval: Approval,
    worker: Worker,
    promises: Sequence[Promise],
    *,
    is_one_piece: bool,
) -> dict[int, str]:
    """
    What other approvals mean for these rows, by position: "earlier", "superseded", or "taken" for now.

    Where a release is one piece at its sink, what was sent and not answered there may be there. No version of a row is
    sent beside another one: which of them came last would be chance.
    """
    row_ids = [p.row_id for p in promises]
    same = _find_same(connection, approval, row_ids, is_one_piece=is_one_piece)
    later, in_hand = _find_later(connection, approval, row_ids), _find_in_hand(connection, approval, worker, row_ids)
    found = ((p.position, same.get(p.delivery_key) or _judge(p, later, in_hand)) for p in promises)
    return {position: state for position, state in found if state}


def find_let_out_since(connection: sa.Connection, approval: Approval, row_ids: Sequence[str]) -> set[str]:
    """The rows of which a later approval of the same sink has promised a version, or delivered it."""
    query = sa.select(_C.row_id).where(_C.approval_id.in_(_list_later(connection, approval)), _C.row_id.in_(row_ids))
    return set(connection.execute(query.where(_C.state.in_([*_SETTLED, *_OPEN]))).scalars())


def _judge(promise: Promise, later: Mapping[str, Mapping[str, str]], in_hand: set[str]) -> str | None:
    versions = later.get(promise.row_id, {})
    if any(state in _SETTLED for state in versions.values()):
        return "superseded"
    # It may be there: this one, coming after it, would take its place.
    may_be_there = versions.keys() - {promise.delivery_key}
    return "taken" if may_be_there or promise.row_id in in_hand else None


def _find_same(
    connection: sa.Connection, approval: Approval, row_ids: Sequence[str], *, is_one_piece: bool
) -> dict[str, str]:
    """What became elsewhere of each version of these rows, by its key: a key is of one sink and one row."""
    query = sa.select(_C.delivery_key, _C.state, _C.n_sends)
    query = query.where(_C.approval_id != approval.approval_id, _C.row_id.in_(row_ids), LED_TO_A_SEND)
    found: dict[str, str] = {}
    for row in connection.execute(query.where(_C.state.in_([*_OPEN, "delivered"]))):
        if row.state == "delivered":
            found[row.delivery_key] = "earlier"
        elif row.state in TAKEN or (is_one_piece and row.n_sends):
            found.setdefault(row.delivery_key, "taken")
    return found


def _find_later(
    connection: sa.Connection, approval: Approval, row_ids: Sequence[str]
) -> defaultdict[str, dict[str, str]]:
    """Of each row what later approvals have sent, or may have: the state by key."""
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    if not (later := _list_later(connection, approval)):
        return found
    was_sent = sa.or_(_C.state.in_(_SETTLED), sa.and_(_C.state.in_(_OPEN), _C.n_sends > 0))
    query = sa.select(_C.row_id, _C.delivery_key, _C.state).where(_C.approval_id.in_(later), _C.row_id.in_(row_ids))
    for row in connection.execute(query.where(was_sent)):
        is_settled = found[row.row_id].get(row.delivery_key) in _SETTLED
        found[row.row_id] |= {} if is_settled else {row.delivery_key: row.state}
    return found


def _list_later(connection: sa.Connection, approval: Approval) -> list[str]:
    """The approvals of the same sink that were used up later: hardly ever any."""
    mine = sa.select(approvals.c.turn).where(approvals.c.approval_id == approval.approval_id).scalar_subquery()
    query = sa.select(approvals.c.approval_id).where(approvals.c.sink == approval.sink, approvals.c.turn > mine)
    return list(connection.execute(query).scalars())


def _find_in_hand(connection: sa.Connection, approval: Approval, worker: Worker, row_ids: Sequence[str]) -> set[str]:
    """The rows of which another live sender has a version in hand: it may be written any moment."""
    query = SENDING.join(approvals, approvals.c.approval_id == _C.approval_id)
    query = query.where(approvals.c.sink == approval.sink, _C.approval_id != approval.approval_id, LED_TO_A_SEND)
    held, moment = connection.execute(query.where(_C.row_id.in_(row_ids))).all(), read_clock(connection)
    return {row.row_id for row in held if row.clock is not None and not is_free(row, worker, moment)}
