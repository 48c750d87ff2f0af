"""What stands already: a live or used approval, or a person's no."""

from __future__ import annotations

import sqlalchemy as sa

from overnight.failures import ReviewRefused
from overnight.ledger import Ledger
from overnight.ledger.approvals import can_be_used, find_approval
from overnight.ledger.releases import find_parent, find_release
from overnight.ledger.reviews import find_last_answer
from overnight.records import Approval, Release, RunState

#: Outcomes that end a review; an approval that expired, and answers that were refused, do not.
_CLOSED = {RunState.HELD, RunState.REJECTED}


def find_standing(ledger: Ledger, run_id: str, sink: str, *, now: float) -> Approval | RunState | None:
    """The run's live or consumed approval for this sink, or HELD or REJECTED where a person said so."""
    with ledger.reading() as connection:
        release = find_release(connection, run_id, sink)
        standing = _find_standing(connection, release, now) if release else None
        # What was held back once and is not let out now either takes nothing back of what left before.
        while release and standing in _CLOSED and (release := find_parent(connection, release)):
            standing = _find_standing(connection, release, now) or standing
    return standing


def refuse_closed(connection: sa.Connection, release: Release, now: float) -> Release:
    """
    The release as it stands now.

    Raises:
        ReviewRefused: It is decided, or another has taken its place.
    """
    if approval := _find_live(connection, release, now):
        raise ReviewRefused(
            f"Release {release.release_id} was approved by {approval.reviewer} already. Nothing is changed."
        )
    last = find_last_answer(connection, release.release_id)
    if last and last.outcome in _CLOSED:
        raise ReviewRefused(
            f"Release {release.release_id} was {last.outcome} by {last.reviewer} already. Run the flow again."
        )
    current = find_release(connection, release.run_id, release.sink)
    if current is None or current.digest != release.digest:
        raise ReviewRefused(
            f"Release {release.release_id} has been replaced by another. Review run {release.run_id} again."
        )
    return current


def _find_standing(connection: sa.Connection, release: Release, now: float) -> Approval | RunState | None:
    if approval := _find_live(connection, release, now):
        return approval
    last = find_last_answer(connection, release.release_id)
    return RunState(last.outcome) if last and last.outcome in _CLOSED else None


def _find_live(connection: sa.Connection, release: Release, now: float) -> Approval | None:
    """An approval that has been used, or still can be: one that expired unused is asked for again."""
    approval = find_approval(connection, release_id=release.release_id)
    if approval and approval.state == "approved" and not can_be_used(connection, approval.approval_id, now):
        return None
    return approval
