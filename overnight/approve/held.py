"""Rows that a review held back, offered once more."""

from __future__ import annotations

from overnight.failures import ApprovalRefused
from overnight.ledger import Ledger
from overnight.ledger.approvals import find_approval, find_held_positions
from overnight.ledger.promises import find_promises, is_last_at_sink
from overnight.ledger.releases import find_parent, find_release, find_release_rows
from overnight.ledger.reviews import find_last_answer
from overnight.records import Release, RunState

#: Answers that leave a review open.
_OPEN = ("refused", "missed", "more", "second")


def find_held(ledger: Ledger, run_id: str, sink: str) -> Release | None:
    """
    The run's release whose held rows may be offered once more; None where one that offers them waits already.

    Raises:
        ApprovalRefused: The release has not been decided, holds nothing back, or is not delivered to its end.
    """
    with ledger.reading() as connection:
        release = find_release(connection, run_id, sink)
        last = find_last_answer(connection, release.release_id) if release else None
        if release and find_parent(connection, release) and (last is None or last.outcome in _OPEN):
            return None
        if release is None or last is None or last.outcome not in {"approved", RunState.HELD}:
            raise ApprovalRefused(f"Run {run_id} holds nothing back that a person decided on. Review it first.")
        approval = find_approval(connection, release_id=release.release_id)
        if approval and find_promises(connection, approval.approval_id, ["promised", "sending", "unknown"]):
            raise ApprovalRefused(
                f"Release {release.release_id} is not delivered to its end. Continue it first: `overnight review"
                f" {run_id}`."
            )
        if approval and release.operation == "replace" and not is_last_at_sink(connection, approval):
            raise ApprovalRefused(
                f"{release.sink} holds a later release, which these rows would take the place of. Let them leave with"
                " the next night's."
            )
        if approval and (approval.state == "approved" or not approval.n_held):
            raise ApprovalRefused(
                f"Release {release.release_id} holds no row back, or has not been delivered yet. `overnight runs` says"
                " which."
            )
    return release


def find_held_keys(release: Release, ledger: Ledger) -> set[str]:
    """The delivery keys of what its last approval holds back; where nothing was let out, of all."""
    with ledger.reading() as connection:
        rows = find_release_rows(connection, release.release_id)
        approval = find_approval(connection, release_id=release.release_id)
        held = find_held_positions(connection, approval.approval_id) if approval else {r.position for r in rows}
    return {r.delivery_key for r in rows if r.position in held}
