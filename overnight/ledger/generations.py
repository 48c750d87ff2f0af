"""Under which key a row is sent: the plain one, or one of its own where the row goes back to what it said before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from overnight.keys import delivery_key
from overnight.ledger.batching import batched
from overnight.ledger.release_schema import approvals, outbox
from overnight.ledger.releases import ReleaseRow
from overnight.ledger.rivals import LED_TO_A_SEND

_C = outbox.c
#: What the sink may hold, or will: what a later approval marked as superseded may have arrived before.
_MAY_STAND = sa.or_(
    _C.state.in_(["promised", "sending", "unknown", "delivered"]), sa.and_(_C.state == "superseded", _C.n_sends > 0)
)


def choose_keys(connection: sa.Connection, sink: str, rows: Sequence[ReleaseRow]) -> Iterator[tuple[str, str | None]]:
    """
    The key of each row's next delivery, in order, and the key of what stood there before where it is made of that too.

    A version that stands, or is on its way, keeps its key: it is not sent twice. One that is new to the sink has the
    plain key. One that was there before, and whose place another has taken since, needs a key that the sink has not
    seen; it is the same one for as long as the same thing stands. The caller has the sink to itself.
    """
    for some in batched(rows):
        standing = _find_standing(connection, sink, [row.row_id for row in some])
        for row in some:
            yield _choose(sink, row, standing[row.row_id])


def _choose(
    sink: str, row: ReleaseRow, standing: Sequence[sa.Row[tuple[str, str, str, str | None]]]
) -> tuple[str, str | None]:
    if standing and standing[-1].payload == row.payload:
        return standing[-1].delivery_key, standing[-1].follows
    if row.delivery_key not in {one.delivery_key for one in standing}:
        return row.delivery_key, None
    last = standing[-1].delivery_key
    return delivery_key(sink, row.row_id, row.payload, last), last


def _find_standing(
    connection: sa.Connection, sink: str, row_ids: Sequence[str]
) -> defaultdict[str, list[sa.Row[tuple[str, str, str, str | None]]]]:
    """By row, what may have been written to the sink, the last of it last."""
    query = sa.select(_C.row_id, _C.delivery_key, _C.payload, _C.follows)
    query = query.join(approvals, approvals.c.approval_id == _C.approval_id)
    query = query.where(_C.row_id.in_(row_ids), LED_TO_A_SEND, _MAY_STAND, approvals.c.sink == sink)
    found: defaultdict[str, list[sa.Row[tuple[str, str, str, str | None]]]] = defaultdict(list)
    for row in connection.execute(query.order_by(sa.func.coalesce(approvals.c.turn, 0), _C.position)):
        found[row.row_id].append(row)
    return found
