"""The lock of the gate: a person's verdicts become a recorded decision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from overnight.approve.answers import Answers
from overnight.approve.mint import mint_approval
from overnight.failures import ApprovalRefused, ReviewRefused
from overnight.ledger import Ledger
from overnight.ledger.approvals import can_be_used, find_approval
from overnight.ledger.promises import find_promises, is_last_at_sink
from overnight.ledger.releases import (
    ReleaseRow,
    ReviewAnswer,
    find_doubted,
    find_last_answer,
    find_parent,
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
        standing = _find_standing(connection, release, now) if release else None
        # What was held back once and is not let out now either takes nothing back of what left before.
        while release and standing in _CLOSED and (release := find_parent(connection, release)):
            standing = _find_standing(connection, release, now) or standing
    return standing


def _find_standing(connection: sa.Connection, release: Release, now: float) -> Approval | RunState | None:
    if approval := _find_live(connection, release, now):
        return approval
    last = find_last_answer(connection, release.release_id)
    return RunState(last.outcome) if last and last.outcome in _CLOSED else None


def find_held(ledger: Ledger, run_id: str, sink: str) -> Release | None:
    """
    The run's release whose held rows may be offered once more; None where one that offers them waits already.

    Raises:
        ApprovalRefused: The release has not been decided, holds nothing back, or is not delivered to its end.
    """
    with ledger.reading() as connection:
        release = find_release(connection, run_id, sink)
        last = find_last_answer(connection, release.release_id) if release else None
        if release and find_parent(connection, release) and (last is None or last.outcome == "refused"):
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


def _find_live(connection: sa.Connection, release: Release, now: float) -> Approval | None:
    """An approval that has been used, or still can be: one that expired unused is asked for again."""
    approval = find_approval(connection, release_id=release.release_id)
    if approval and approval.state == "approved" and not can_be_used(connection, approval.approval_id, now):
        return None
    return approval


def decide(
    release: Release,
    answers: Answers,
    *,
    channel: str,
    ledger: Ledger,
    key_file: Path,
    approval_s: float,
    now: float,
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
        record_answer(connection, current, _as_recorded(answers, channel, "approved"), now)
        return mint_approval(
            connection, current, rows, held, reviewer=answers.reviewer, identified_by="declared",
            reason=answers.reason, key_file=key_file, approval_s=approval_s, now=now,
        )  # fmt: skip

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


def _as_recorded(answers: Answers, channel: str, outcome: str) -> ReviewAnswer:
    verdicts = {str(item): verdict for item, verdict in answers.items.items()}
    return ReviewAnswer(channel, answers.reviewer, answers.decision, answers.reason, verdicts, outcome)
