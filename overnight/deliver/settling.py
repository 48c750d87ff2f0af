"""Settling what is unknown: a person has looked whether a row arrived, and says so."""

from __future__ import annotations

import time
from collections.abc import Sequence

import sqlalchemy as sa

from overnight.failures import ApprovalRefused
from overnight.ledger import Ledger
from overnight.ledger.approvals import find_approval
from overnight.ledger.outbox import settle_by_hand
from overnight.ledger.promises import find_promises
from overnight.ledger.releases import get_release
from overnight.ledger.rivals import find_let_out_since
from overnight.ledger.sinks import lock_sink, record_intervention
from overnight.records import Approval


def settle_unknown(
    release_id: str, row_ids: Sequence[str], *, arrived: bool, by: str, reason: str, ledger: Ledger
) -> None:
    """
    Record that rows of unknown fate arrived, or that they, or rows that were refused, are sent again with their run.

    Raises:
        ApprovalRefused: One of the rows is neither; or it was refused, and another version of it was let out since.
    """

    def job(connection: sa.Connection) -> None:
        release = get_release(connection, release_id)
        approval = find_approval(connection, release_id=release_id)
        lock_sink(connection, release.sink)
        states = ["unknown"] if arrived else ["unknown", "failed"]
        unknown = find_promises(connection, approval.approval_id, states) if approval else []
        positions = {p.row_id: p.position for p in unknown}
        if strange := [row for row in row_ids if row not in positions]:
            raise ApprovalRefused(
                f"Row {strange[0]} of release {release_id} is not of unknown fate. `overnight outbox {release_id}`"
                " lists those that are."
            )
        if approval and not arrived:
            _refuse_outdated(connection, approval, row_ids)
        state = "delivered" if arrived else "promised"
        detail = f"{'arrived' if arrived else 'to be sent again'}, says {by}: {reason}"
        chosen, now = [positions[row] for row in row_ids], time.time()
        if approval:
            settle_by_hand(connection, approval.approval_id, chosen, state=state, detail=detail, now=now)
        record_intervention(connection, "settle", release.sink, by=by, reason=detail, now=now, release_id=release_id)

    ledger.write(job)


def _refuse_outdated(connection: sa.Connection, approval: Approval, row_ids: Sequence[str]) -> None:
    """What the sink had refused was counted as gone when a later version of the row was given its key."""
    failed = {p.row_id for p in find_promises(connection, approval.approval_id, ["failed"])}
    since = find_let_out_since(connection, approval, [row_id for row_id in row_ids if row_id in failed])
    if since:
        raise ApprovalRefused(
            f"Row {min(since)} of release {approval.release_id} was refused by {approval.sink}, and a later release has"
            " let it out since: this version is not sent any more. `overnight outbox` lists both."
        )
