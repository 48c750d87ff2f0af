"""Rows that a retry released: at a sink that holds one release they join what left before, or are refused."""

from __future__ import annotations

import sqlalchemy as sa

from overnight.failures import ApprovalRefused
from overnight.ledger import Ledger
from overnight.ledger.approvals import find_approval
from overnight.ledger.promises import find_last_at_sink, find_promises
from overnight.ledger.releases import find_release, get_release
from overnight.ledger.retries import list_retried, list_retries
from overnight.ledger.reviews import find_last_answer
from overnight.records import RunState, SinkFacts

_CLOSED = {RunState.HELD, RunState.REJECTED}


def find_continued(ledger: Ledger, of_run: str, sink: SinkFacts) -> str | None:
    """
    The release that a retry's rows join at the sink; None where they stand there by themselves.

    Args:
        ledger: Where releases are recorded.
        of_run: The run whose quarantined rows are retried.
        sink: Where they would go.

    Raises:
        ApprovalRefused: The sink holds one release, and that one would be lost, or would take these rows' place.
    """
    if sink.operation != "replace":
        return None
    with ledger.reading() as connection:
        retried = list_retried(connection, of_run)
        for run_id in retried:
            _refuse_open(connection, run_id, sink.name)
        last = find_last_at_sink(connection, sink.name)
        if last is None:
            return None
        kin = {*retried, *(retry.run_id for retry in list_retries(connection, retried[-1]))}
        if get_release(connection, last).run_id in kin:
            return last
    raise ApprovalRefused(
        f"{sink.name} holds release {last}, which is not of run {of_run}, and the retried rows would take its place."
        " Give them another --sink."
    )


def _refuse_open(connection: sa.Connection, run_id: str, sink: str) -> None:
    """What the run itself still has to deliver there would take the place of the retried rows."""
    release = find_release(connection, run_id, sink)
    last = find_last_answer(connection, release.release_id) if release else None
    if release is None or (last and last.outcome in _CLOSED):
        return
    approval = find_approval(connection, release_id=release.release_id)
    if (
        approval is None
        or approval.state == "approved"
        or find_promises(connection, approval.approval_id, ["promised", "sending", "unknown"])
    ):
        raise ApprovalRefused(
            f"Release {release.release_id} of run {run_id} is still to be delivered to {sink}, and would take the place"
            f" of retried rows. First `overnight review {run_id}`, or give these rows another --sink."
        )
