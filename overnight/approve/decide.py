"""The lock of the gate: a person's verdicts become a recorded decision; the only module that mints an approval."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from overnight.approve.answers import Answers
from overnight.failures import ReviewRefused
from overnight.keys import allowed_digest
from overnight.ledger import Ledger
from overnight.ledger.approvals import can_be_used, find_approval, record_approval
from overnight.ledger.releases import (
    ReleaseRow,
    ReviewAnswer,
    find_doubted,
    find_last_answer,
    find_release,
    find_release_rows,
    record_answer,
    record_verdicts,
)
from overnight.records import Approval, Release, RunState

#: Outcomes that end a review; an approval that expired, and answers that were refused, do not.
_CLOSED = {RunState.HELD, RunState.REJECTED}


def find_standing(ledger: Ledger, run_id: str, sink: str, *, now: float) -> Approval | RunState | None:
    """The run's live or consumed approval for this sink, or HELD or REJECTED where a person said so."""
    with ledger.reading() as connection:
        release = find_release(connection, run_id, sink)
        if release is None:
            return None
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


def decide(
    release: Release, answers: Answers, *, channel: str, ledger: Ledger, approval_s: float, now: float
) -> Approval | RunState:
    """
    Record a person's decision on a release, once.

    Rows marked wrong or unsure are held. Unread rows leave only where every row that was
    read is correct: with one that is not, what nobody has read is held too. So is a row
    that nobody has read now and somebody called wrong or unsure on an earlier night.

    Returns:
        The approval; HELD where no row may leave; REJECTED.

    Raises:
        ReviewRefused: The answers do not cover what was shown, or the release is decided already.
    """
    _refuse_uncovered(release, answers)

    def job(connection: sa.Connection) -> Approval | RunState:
        current = _still_open(connection, release, now)
        rows = find_release_rows(connection, release.release_id)
        held = _held(rows, answers, find_doubted(connection))
        record_verdicts(connection, current, rows, answers.items, now)
        if answers.decision == "reject" or len(held) == len(rows):
            outcome = RunState.REJECTED if answers.decision == "reject" else RunState.HELD
            record_answer(connection, current, _as_recorded(answers, channel, outcome), now)
            return outcome
        approval = _mint(current, rows, held, reviewer=answers.reviewer, now=now, approval_s=approval_s)
        record_answer(connection, current, _as_recorded(answers, channel, "approved"), now)
        record_approval(connection, approval, held, round_=current.round, identified_by="declared", now=now)
        return approval

    return ledger.write(job)


def record_refusal(
    release: Release, answers: dict[str, Any], error: ReviewRefused, *, ledger: Ledger, now: float
) -> None:
    """Record answers that were refused, so that the next round asks under a key of its own."""
    answer = ReviewAnswer(
        channel="form",
        reviewer=str(answers.get("reviewer", "")),
        decision=str(answers.get("decision", "")),
        reason=str(answers.get("reason", "")),
        verdicts={str(k): str(v) for k, v in dict(answers.get("items") or {}).items()},
        outcome="refused",
        detail=str(error),
    )
    ledger.write(lambda connection: record_answer(connection, release, answer, now))


def _refuse_uncovered(release: Release, answers: Answers) -> None:
    shown, answered = {i.item for i in release.items}, set(answers.items)
    if missing := sorted(shown - answered):
        raise ReviewRefused(
            f"Item {missing[0]} of release {release.release_id} has no verdict. Give one to every item."
        )
    if extra := sorted(answered - shown):
        raise ReviewRefused(f"Item {extra[0]} was not shown for release {release.release_id}. Leave it out.")
    if answers.decision == "reject" and not answers.reason:
        raise ReviewRefused(
            f"Release {release.release_id} is rejected without a reason. Give one: it is what is read later."
        )


def _still_open(connection: sa.Connection, release: Release, now: float) -> Release:
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


def _held(rows: Sequence[ReleaseRow], answers: Answers, doubted: set[str]) -> dict[int, str]:
    def verdict(row: ReleaseRow) -> str:
        if row.item is not None:
            return answers.items[row.item]
        return "doubted" if row.delivery_key in doubted else "unread"

    verdicts = {row.position: verdict(row) for row in rows}
    leaving = {"correct", "unread"} if set(answers.items.values()) == {"correct"} else {"correct"}
    return {position: v for position, v in verdicts.items() if v not in leaving}


def _mint(
    release: Release, rows: Sequence[ReleaseRow], held: dict[int, str], *, reviewer: str, now: float, approval_s: float
) -> Approval:
    allowed = [r for r in rows if r.position not in held]
    return Approval(
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


def _as_recorded(answers: Answers, channel: str, outcome: str) -> ReviewAnswer:
    verdicts = {str(item): verdict for item, verdict in answers.items.items()}
    return ReviewAnswer(channel, answers.reviewer, answers.decision, answers.reason, verdicts, outcome)
