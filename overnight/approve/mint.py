"""The one place where an approval is made: of what was shown, over what may leave, signed."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from overnight.keys import allowed_digest, canonical_json
from overnight.ledger.approvals import CorrectedRow, has_signed, record_approval, select_allowed, select_signed
from overnight.ledger.clock import read_clock
from overnight.ledger.draws import find_evidence
from overnight.ledger.releases import ReleaseRow
from overnight.ledger.reviewers import has_ever
from overnight.records import Approval, Release
from overnight.signature import sign_approval


@dataclass(frozen=True)
class Finding:
    """What a finished review found."""

    reviewers: tuple[str, ...]
    #: "declared" or "code": the weakest of theirs.
    identified_by: str
    reason: str
    #: The positions that stay, each with its verdict, and those that leave otherwise than they were offered.
    held: Mapping[int, str]
    corrected: Sequence[CorrectedRow]
    #: Policy, rounds and bound, for whoever asks later.
    details: Mapping[str, Any]


def mint_approval(
    connection: sa.Connection,
    release: Release,
    rows: Sequence[ReleaseRow],
    finding: Finding,
    *,
    key_file: Path,
    now: float,
) -> Approval:
    """
    Record the approval of a release's rows but those held.

    Args:
        connection: In the transaction that records the decision.
        release: As it was shown.
        rows: All of its rows.
        finding: What its review found.
        key_file: Of the key that signs.
        now: Seconds since the epoch.

    Raises:
        ApprovalRefused: It cannot be signed.
    """
    allowed = select_allowed(rows, finding.held, {c.position: c for c in finding.corrected})
    approval = Approval(
        approval_id=uuid.uuid4().hex,
        run_id=release.run_id,
        release_id=release.release_id,
        release_digest=release.digest,
        allowed_digest=allowed_digest((r.delivery_key, r.payload) for r in allowed),
        sink=release.sink,
        n_allowed=len(allowed),
        n_held=len(finding.held),
        reviewer=", ".join(finding.reviewers),
        state="approved",
        expires_at=datetime.fromtimestamp(now + (release.policy.expires_h or 0.0) * 3600, UTC),
    )
    issued = read_clock(connection)
    values = vars(approval) | {
        "round": release.round,
        "evidence_digest": find_evidence(connection, release.release_id, release.round),
        "operation": release.operation,
        "identified_by": finding.identified_by,
        "reason": finding.reason,
        "findings": canonical_json(dict(finding.details)).decode(),
        "issued_at": now,
        "expires_at": approval.expires_at.timestamp(),
        "clock": issued.clock,
        "issued_mark": issued.at,
        "nonce": secrets.token_hex(16),
    }
    signed = select_signed(values)
    is_first = not has_signed(connection) and not has_ever(connection)
    signature = sign_approval(signed, key_file, is_first=is_first)
    record_approval(connection, signed | {"signature": signature, "state": "approved"}, finding.held, finding.corrected)
    return approval
