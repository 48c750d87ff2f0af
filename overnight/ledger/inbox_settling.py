"""What became of a run's requests, by what the ledger says of its releases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from overnight.ledger.approvals import find_approval, find_held_positions
from overnight.ledger.inbox_schema import inbox
from overnight.ledger.prepared import Prepared
from overnight.ledger.release_schema import outbox, release_rows, releases
from overnight.ledger.reviews import find_last_answer
from overnight.records import InboxState, RunState

_C, _R, _O = inbox.c, releases.c, outbox.c

HELD = "held by a reviewer"
REJECTED = "rejected by a reviewer"
RECALLED = "its answer was recalled"
LEFT_OUT = "no later step of the flow took it"
_REFUSED = {"failed": "its sink refused the answer", "superseded": "its sink holds a later one", "recalled": RECALLED}


@dataclass(frozen=True)
class Fate:
    """What becomes of a request."""

    #: None: its run has it still.
    state: InboxState | None
    reason: str | None = None


OPEN, AGAIN = Fate(None), Fate(InboxState.QUEUED)


def close(reason: str) -> Fate:
    """There will be no answer by itself."""
    return Fate(InboxState.CLOSED, reason)


def list_held(connection: sa.Connection, run_id: str) -> dict[str, int]:
    """The requests that the run has and that are not settled: each by its row id."""
    query = sa.select(_C.row_id, _C.inbox_id).where(_C.run_id == run_id, _C.state == InboxState.TAKEN)
    return dict(connection.execute(query).tuples().all())


def find_fates(connection: sa.Connection, run_id: str) -> dict[str, Fate] | None:
    """
    What its releases have come to mean for each row that they offer; None where the run has offered none.

    A row that is in several is judged by the newest.
    """
    query = sa.select(_R.release_id, _R.sink).where(_R.run_id == run_id).order_by(_R.offered_at)
    found: dict[str, Fate] | None = None
    for release_id, sink in connection.execute(query).all():
        found = (found or {}) | _find_fates(connection, release_id, sink)
    return found


def _find_fates(connection: sa.Connection, release_id: str, sink: str) -> dict[str, Fate]:
    c = release_rows.c
    query = sa.select(c.position, c.row_id).where(c.release_id == release_id)
    rows = dict(connection.execute(query).tuples().all())
    last = find_last_answer(connection, release_id)
    if last and last.outcome in (RunState.HELD, RunState.REJECTED):
        why = REJECTED if last.outcome == RunState.REJECTED else HELD
        return dict.fromkeys(rows.values(), close(why))
    approval = find_approval(connection, release_id=release_id)
    if approval is None or approval.state != "consumed":
        return dict.fromkeys(rows.values(), OPEN)
    held = find_held_positions(connection, approval.approval_id)
    states = sa.select(_O.position, _O.state).where(_O.approval_id == approval.approval_id)
    sent = dict(connection.execute(states).tuples().all())
    return {row_id: close(HELD) if at in held else _judge(sent.get(at, ""), sink) for at, row_id in rows.items()}


def _judge(state: str, sink: str) -> Fate:
    if state in ("delivered", "earlier"):
        # What went to the inbox itself has answered its request already.
        return close(f"released to {sink}")
    return close(_REFUSED[state]) if state in _REFUSED else OPEN


def settle(connection: sa.Connection, run_id: str, fates: Mapping[int, Fate], now: float) -> None:
    """Record what becomes of requests that the run has, by their number; those that are open stay."""
    rows = [
        {
            "at": inbox_id,
            "of_run": run_id,
            "is": fate.state.value,
            "why": fate.reason,
            "whose": run_id if fate.state == InboxState.CLOSED else None,
            "settled": now if fate.state == InboxState.CLOSED else None,
        }
        for inbox_id, fate in fates.items()
        if fate.state is not None
    ]
    _SETTLE.run(connection, rows)


_SETTLE = Prepared(
    sa.update(inbox)
    .where(
        _C.inbox_id == sa.bindparam("at"), _C.run_id == sa.bindparam("of_run"), _C.state == sa.literal_column("'taken'")
    )
    .values(
        state=sa.bindparam("is"),
        reason=sa.bindparam("why"),
        run_id=sa.bindparam("whose"),
        worker_id=sa.null(),
        settled_at=sa.bindparam("settled"),
    )
)
