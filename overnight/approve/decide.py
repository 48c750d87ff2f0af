"""The lock of the gate: a person's verdicts become a recorded decision; the only module that mints an approval."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import orjson
import pydantic
import sqlalchemy as sa

from overnight.failures import ReviewRefused
from overnight.keys import allowed_digest
from overnight.ledger import Ledger
from overnight.ledger.releases import (
    ReleaseRow,
    ReviewAnswer,
    find_approval,
    find_last_answer,
    find_release,
    find_release_rows,
    record_answer,
    record_approval,
)
from overnight.records import Approval, Release, RunState

Verdict = Literal["correct", "wrong", "unsure"]


class Answers(pydantic.BaseModel):
    """What a reviewer answered: untrusted until `decide` has held it against what was shown."""

    model_config = pydantic.ConfigDict(extra="forbid", str_strip_whitespace=True)

    decision: Literal["release", "reject"]
    reviewer: str = pydantic.Field(min_length=1, max_length=200)
    reason: str = pydantic.Field(default="", max_length=2000)
    #: A verdict on each item shown, by its number.
    items: dict[int, Verdict]


def parse_answers(data: bytes | dict[str, Any], *, reviewer: str | None = None) -> Answers:
    """
    Read answers from JSON or a form.

    Raises:
        ReviewRefused: A field is missing or has a value that is not offered.
    """
    try:
        if isinstance(data, bytes):
            data = dict(pydantic.TypeAdapter(dict[str, Any]).validate_json(data))
        return Answers.model_validate(data | ({"reviewer": reviewer} if reviewer else {}))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the answers"
        raise ReviewRefused(
            f"The review's answers do not fit at {where}: {first['msg']}. Mend it and send them again."
        ) from error


def find_standing(ledger: Ledger, run_id: str, sink: str) -> Approval | RunState | None:
    """The run's live or consumed approval for this sink, or HELD or REJECTED where a person said so."""
    with ledger.reading() as connection:
        release = find_release(connection, run_id, sink)
        if release is None:
            return None
        if approval := find_approval(connection, release_id=release.release_id):
            return approval
        last = find_last_answer(connection, release.release_id)
    if last is None or last.outcome == "refused":
        return None
    return RunState(last.outcome)


def find_answers(ledger: Ledger, release: Release) -> Answers:
    """
    The answers that decided a release.

    Raises:
        ReviewRefused: Nobody has answered yet.
    """
    with ledger.reading() as connection:
        last = find_last_answer(connection, release.release_id)
    if last is None:
        raise ReviewRefused(f"Release {release.release_id} has no answers yet. Review run {release.run_id} first.")
    given = {"decision": last.decision, "reviewer": last.reviewer, "reason": last.reason}
    return parse_answers(given | {"items": orjson.loads(last.verdicts)})


def decide(
    release: Release, answers: Answers, *, channel: str, ledger: Ledger, approval_s: float, now: float
) -> Approval | RunState:
    """
    Record a person's decision on a release, once.

    Rows marked wrong or unsure are held. Unread rows leave only where every row that was
    read is correct: with one that is not, what nobody has read is held too.

    Returns:
        The approval; HELD where no row may leave; REJECTED.

    Raises:
        ReviewRefused: The answers do not cover what was shown, or the release is decided already.
    """
    _refuse_uncovered(release, answers)

    def job(connection: sa.Connection) -> Approval | RunState:
        current = _still_open(connection, release)
        rows = find_release_rows(connection, release.release_id)
        held = _held(rows, answers)
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


def _still_open(connection: sa.Connection, release: Release) -> Release:
    if approval := find_approval(connection, release_id=release.release_id):
        raise ReviewRefused(
            f"Release {release.release_id} was approved by {approval.reviewer} already. Nothing is changed."
        )
    last = find_last_answer(connection, release.release_id)
    if last and last.outcome != "refused":
        raise ReviewRefused(
            f"Release {release.release_id} was {last.outcome} by {last.reviewer} already. Run the flow again."
        )
    current = find_release(connection, release.run_id, release.sink)
    if current is None or current.digest != release.digest:
        raise ReviewRefused(
            f"Release {release.release_id} has been replaced by another. Review run {release.run_id} again."
        )
    return current


def _held(rows: Sequence[ReleaseRow], answers: Answers) -> dict[int, str]:
    verdicts: dict[int, str] = {r.position: "unread" if r.item is None else answers.items[r.item] for r in rows}
    clean = all(v in ("correct", "unread") for v in verdicts.values())
    return {p: v for p, v in verdicts.items() if not (v == "correct" or (v == "unread" and clean))}


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
