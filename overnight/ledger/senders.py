"""What workers do with promised rows: take them in hand under a lease, settle them, take back what ended ones held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from overnight.ledger.batching import batched
from overnight.ledger.clock import read_clock
from overnight.ledger.leases import Worker, is_free
from overnight.ledger.prepared import Prepared
from overnight.ledger.promises import PROMISE, Promise, is_last_at_sink
from overnight.ledger.release_schema import approvals, outbox
from overnight.ledger.rivals import SENDING, TAKEN, find_elsewhere
from overnight.ledger.sinks import take_turn
from overnight.records import Approval

_C = outbox.c
_EARLIER = "another approval delivered the same bytes of the same row"
_SUPERSEDED = "the sink holds a later release, or a later version of the row"


def claim(
    connection: sa.Connection,
    approval: Approval,
    worker: Worker,
    *,
    n_rows: int | None,
    is_safe: bool,
    is_whole: bool,
    is_by_request: bool = False,
    now: float,
) -> list[Promise]:
    """
    Take the next promised rows in hand.

    A row whose version another approval has delivered is marked "earlier"; one of which another has a version in hand,
    or whose fate there is unknown, is left.

    Args:
        connection: To the ledger.
        approval: A consumed one.
        worker: Who sends.
        n_rows: At most so many; None: all.
        is_safe: Whether a row that a worker had in hand when it ended may be sent again; else it becomes "unknown".
        is_whole: The sink holds one release: rows that another one delivered are written again, and while another one
            is being written none is taken.
        is_by_request: The sink knows for itself which rows it has had, and no later one takes an earlier one's place.
        now: Seconds since the epoch.

    Raises:
        DeliveryHeld: The sink is on hold.
    """
    take_turn(connection, approval.sink)
    take_back(connection, approval.approval_id, worker, state="promised" if is_safe else "unknown", now=now)
    mine: list[Promise] = []
    if is_whole and (_is_superseded(connection, approval, now) or _is_being_written(connection, approval, worker)):
        return mine
    for some in _find_promised(connection, approval.approval_id):
        if is_whole or is_by_request:
            mine += some
        else:
            states = find_elsewhere(connection, approval, worker, some, is_one_piece=n_rows is None)
            for state in ("earlier", "superseded"):
                marked = [p for p in some if states.get(p.position) == state]
                _mark(connection, approval.approval_id, marked, state, now)
            mine += [p for p in some if p.position not in states]
        if n_rows is not None and len(mine) >= n_rows:
            break
    mine = mine if n_rows is None else mine[:n_rows]
    _update(connection, approval.approval_id, mine, state="sending", worker_id=worker.worker_id, n_sends=_C.n_sends + 1)
    return mine


def take_back(connection: sa.Connection, approval_id: str, worker: Worker, *, state: str, now: float) -> None:
    """Give the rows that an ended worker had in hand another state."""
    held, moment = connection.execute(SENDING.where(_C.approval_id == approval_id)).all(), read_clock(connection)
    lapsed = [row.position for row in held if row.clock is None or is_free(row, worker, moment)]
    detail = "whoever sent it ended before the answer was recorded"
    for some in batched(lapsed):
        statement = sa.update(outbox).where(_C.approval_id == approval_id, _C.position.in_(some), _C.state == "sending")
        connection.execute(statement.values(state=state, detail=detail, settled_at=now))


def _is_being_written(connection: sa.Connection, approval: Approval, worker: Worker) -> bool:
    """Whether a live worker has rows for the same sink in hand."""
    held = SENDING.join(approvals, approvals.c.approval_id == _C.approval_id).where(approvals.c.sink == approval.sink)
    moment = read_clock(connection)
    return any(row.clock is not None and not is_free(row, worker, moment) for row in connection.execute(held))


def settle(
    connection: sa.Connection,
    approval_id: str,
    worker: Worker,
    outcomes: Mapping[int, tuple[str, str]],
    now: float,
) -> int:
    """
    Record what became of rows in hand: the state and a note, by position; how many still were in this worker's hand.

    A row that was called unknown since, when its worker seemed to have ended, is known now.
    """
    shared = {"approval": approval_id, "worker": worker.worker_id, "now": now}
    values = [shared | {"at": at, "is": state, "note": note} for at, (state, note) in outcomes.items()]
    return _SETTLE.run(connection, values)


_SETTLE = Prepared(
    sa.update(outbox)
    .where(
        _C.approval_id == sa.bindparam("approval"),
        _C.position == sa.bindparam("at"),
        _C.worker_id == sa.bindparam("worker"),
        sa.or_(*(_C.state == sa.literal_column(f"'{state}'") for state in TAKEN)),
    )
    .values(state=sa.bindparam("is"), detail=sa.bindparam("note"), settled_at=sa.bindparam("now"))
)


def _is_superseded(connection: sa.Connection, approval: Approval, now: float) -> bool:
    """Give up what is promised where the sink, which holds one release, holds a later one."""
    if is_last_at_sink(connection, approval):
        return False
    statement = sa.update(outbox).where(_C.approval_id == approval.approval_id, _C.state == "promised")
    connection.execute(statement.values(state="superseded", detail=_SUPERSEDED, settled_at=now))
    return True


def _find_promised(connection: sa.Connection, approval_id: str) -> Iterator[list[Promise]]:
    """The promised rows in order, some at a time."""
    after, size = -1, 16
    while True:
        query = sa.select(*PROMISE)
        query = query.where(_C.approval_id == approval_id, _C.state == "promised", _C.position > after)
        some = [Promise(*row) for row in connection.execute(query.order_by(_C.position).limit(size))]
        if not some:
            return
        yield some
        after, size = some[-1].position, 500


def _mark(connection: sa.Connection, approval_id: str, promises: Sequence[Promise], state: str, now: float) -> None:
    detail = _EARLIER if state == "earlier" else _SUPERSEDED
    _update(connection, approval_id, promises, state=state, detail=detail, settled_at=now)


def _update(connection: sa.Connection, approval_id: str, promises: Sequence[Promise], **values: Any) -> None:
    for some in batched([p.position for p in promises]):
        promised = sa.and_(_C.approval_id == approval_id, _C.position.in_(some), _C.state == "promised")
        connection.execute(sa.update(outbox).where(promised).values(**values))
