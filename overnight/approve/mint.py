"""The one place where an approval is made: of what was shown, over what may leave, signed."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from overnight.keys import allowed_digest
from overnight.ledger.approvals import SIGNED, has_signed, record_approval
from overnight.ledger.clock import read_clock
from overnight.ledger.releases import ReleaseRow, find_evidence
from overnight.records import Approval, Release
from overnight.signature import sign_approval


def mint_approval(
    connection: sa.Connection,
    release: Release,
    rows: Sequence[ReleaseRow],
    held: Mapping[int, str],
    *,
    reviewer: str,
    identified_by: str,
    reason: str,
    key_file: Path,
    approval_s: float,
    now: float,
) -> Approval:
    """
    Record the approval of a release's rows but those held.

    Args:
        connection: In the transaction that records the decision.
        release: As it was shown.
        rows: All of its rows.
        held: The positions that stay, each with its verdict.
        reviewer: Who decided.
        identified_by: How it is known who that is.
        reason: What the reviewer said.
        key_file: Of the key that signs.
        approval_s: How long the approval lives.
        now: Seconds since the epoch.

    Raises:
        ApprovalRefused: It cannot be signed.
    """
    allowed = [r for r in rows if r.position not in held]
    approval = Approval(
        approval_id=uuid.uuid4().hex,
        run_id=release.run_id,
        release_id=release.release_id,
        release_digest=release.digest,
        allowed_digest=allowed_digest((r.delivery_key, r.payload) for r in allowed),
        sink=release.sink,
        n_allowed=len(allowed),
        n_held=len(held),
        reviewer=reviewer,
        state="approved",
        expires_at=datetime.fromtimestamp(now + approval_s, UTC),
    )
    issued = read_clock(connection)
    values = vars(approval) | {
        "round": release.round,
        "evidence_digest": find_evidence(connection, release.release_id),
        "operation": release.operation,
        "identified_by": identified_by,
        "reason": reason,
        "issued_at": now,
        "expires_at": approval.expires_at.timestamp(),
        "clock": issued.clock,
        "issued_mark": issued.at,
        "nonce": secrets.token_hex(16),
    }
    signed = {name: values[name] for name in SIGNED}
    signature = sign_approval(signed, key_file, is_first=not has_signed(connection))
    record_approval(connection, signed | {"signature": signature, "state": "approved"}, held)
    return approval
