"""What the publisher verifies for itself: the ledger's record of an approval decides, not the object in hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import sqlalchemy as sa

from overnight.failures import ApprovalRefused
from overnight.keys import allowed_digest, delivery_key, digest_bytes
from overnight.ledger import Ledger
from overnight.ledger.approvals import (
    find_approval,
    find_corrections,
    find_decided,
    find_held_positions,
    select_allowed,
)
from overnight.ledger.bodies import get_bodies
from overnight.ledger.draws import find_evidence
from overnight.ledger.promises import Promise
from overnight.ledger.releases import ReleaseRow, find_digest, find_release_rows
from overnight.records import Approval
from overnight.settings import Settings
from overnight.signature import is_signed


@dataclass(frozen=True)
class Verified:
    """An approval as it is recorded and signed, with the rows that it lets out; made by `verify` alone."""

    approval: Approval
    rows: tuple[ReleaseRow, ...]

    def refuse_others(self, promises: Sequence[Promise]) -> None:
        """
        Hold what is about to leave against what may.

        Raises:
            ApprovalRefused: The outbox holds a row that the approval does not let out.
        """
        if not all(self._allows(promise) for promise in promises):
            raise ApprovalRefused(
                f"The outbox holds a row of release {self.approval.release_id} that its approval does not let out."
                " Nothing of it was sent: run the flow again and review it."
            )

    def _allows(self, promise: Promise) -> bool:
        """Its bytes are those that were signed, and its key is theirs, whatever it is said to follow."""
        row = self._allowed.get(promise.position)
        if row is None or (row.row_id, row.payload) != (promise.row_id, promise.payload):
            return False
        # Hashed anew only where it can differ: most keys are those that `verify` has made already.
        made = promise.follows and delivery_key(self.approval.sink, row.row_id, row.payload, promise.follows)
        return promise.delivery_key == (made or row.delivery_key)

    @cached_property
    def _allowed(self) -> dict[int, ReleaseRow]:
        return {r.position: r for r in self.rows}


def verify(approval: Approval, *, ledger: Ledger, settings: Settings) -> Verified:
    """
    The recorded approval, after its signature, its release and every byte that may leave have been digested once more.

    Raises:
        ApprovalRefused: It is unknown, edited or forged, for another sink, or for other rows.
        LedgerRefused: Bytes are missing or altered.
    """
    with ledger.reading() as connection:
        recorded = _get_signed(connection, approval, settings)
        _refuse_other(recorded, approval)
        rows = find_release_rows(connection, recorded.release_id)
        is_whole = find_digest(connection, recorded.release_id, rows) == recorded.release_digest
        held = find_held_positions(connection, recorded.approval_id)
        allowed = select_allowed(rows, held, find_corrections(connection, recorded.approval_id))
        if not is_whole or not _are_intact(connection, recorded, allowed):
            raise ApprovalRefused(
                f"Release {recorded.release_id} was changed after its approval. Nothing was sent: run it again."
            )
    return Verified(recorded, tuple(allowed))


def _get_signed(connection: sa.Connection, approval: Approval, settings: Settings) -> Approval:
    recorded = find_approval(connection, approval_id=approval.approval_id)
    if recorded is None:
        raise ApprovalRefused(
            f"Approval {approval.approval_id[:12]} of release {approval.release_id} is not in the ledger."
            f" Review run {approval.run_id}."
        )
    fields, signature = find_decided(connection, recorded.approval_id)
    is_shown = fields["evidence_digest"] == find_evidence(connection, recorded.release_id, fields["round"])
    if not is_shown or not is_signed(fields, signature, settings.approval_key):
        raise ApprovalRefused(
            f"The approval of release {recorded.release_id} is not as it was signed: it was edited, or not given by the"
            f" gate. Nothing was sent. Find out who wrote to the ledger, and review run {recorded.run_id} again."
        )
    return recorded


def _refuse_other(recorded: Approval, given: Approval) -> None:
    if recorded.sink != given.sink:
        raise ApprovalRefused(
            f"Release {recorded.release_id} was approved for sink {recorded.sink!r} but is being delivered to"
            f" {given.sink!r}. Ask for a new approval, or deliver to {recorded.sink!r}."
        )
    if (recorded.release_digest, recorded.allowed_digest) != (given.release_digest, given.allowed_digest):
        raise ApprovalRefused(
            f"Approval {recorded.approval_id[:12]} covers other rows than these. Ask for a new approval."
        )


def _are_intact(connection: sa.Connection, approval: Approval, rows: list[ReleaseRow]) -> bool:
    """Whether the bytes are those that were approved, for the sink that was approved."""
    digests = [digest_bytes(body) for body in get_bodies(connection, [r.payload for r in rows])]
    # The keys are made anew: they hold the sink, so that an edited address does not fit them.
    keys = [delivery_key(approval.sink, r.row_id, digest) for r, digest in zip(rows, digests, strict=True)]
    is_same = keys == [r.delivery_key for r in rows]
    return is_same and allowed_digest(zip(keys, digests, strict=True)) == approval.allowed_digest
