"""The lock of the gate: people's verdicts become a recorded decision."""

from __future__ import annotations

from pathlib import Path

import orjson
import sqlalchemy as sa

from overnight.approve.answers import Answers
from overnight.approve.conclude import N_TRIES, Answered, Decision
from overnight.approve.history import History, find_history
from overnight.approve.identify import CodeRefused, Identity, demands_code, identify
from overnight.approve.judge import judge
from overnight.approve.standing import refuse_closed
from overnight.failures import ReviewRefused
from overnight.ledger import Ledger
from overnight.ledger.draws import SEED, Draw, find_draw
from overnight.ledger.releases import find_prompt_of
from overnight.ledger.reviewers import record_wrong
from overnight.ledger.reviews import ReviewAnswer
from overnight.ledger.runs import find_starter
from overnight.records import Release


def decide(
    release: Release,
    answers: Answers,
    *,
    channel: str,
    ledger: Ledger,
    key_file: Path,
    now: float,
    submitted_at: float | None = None,
) -> Decision:
    """
    Record a person's answers to the round that they were shown, and what follows from all answers together.

    Rows called wrong or unsure are held, and corrected ones leave as corrected. Rows that nobody read leave where the
    random sample meets the policy; not those that somebody called wrong on an earlier night. Else more has to be read,
    or the decision be to hold them.

    Args:
        release: As it was shown.
        answers: What the reviewer said.
        channel: Where: "form", "page", "terminal" or "file".
        ledger: Where the decision is recorded.
        key_file: Of the key that signs approvals.
        now: Seconds since the epoch.
        submitted_at: When the answers were handed in, where that was earlier: the code is verified as of then.

    Raises:
        ReviewRefused: The answers do not fit what was shown, the reviewer may not decide, or it is decided already.
    """
    at = submitted_at or now

    def job(connection: sa.Connection) -> Decision:
        current = refuse_closed(connection, release, now)
        history = find_history(connection, current)
        draw = _get_draw(connection, history, release, answers)
        schema = orjson.loads(find_prompt_of(connection, current.release_id).schema)
        judged = judge(current, answers, draw, schema, may_skip=bool(history.rounds))
        who = identify(
            connection,
            answers.reviewer,
            answers.code,
            at=at,
            now=now,
            is_demanded=demands_code(connection, current),
            starter=find_starter(connection, current.run_id),
            key_file=key_file,
        )
        if answers.decision != "reject":
            _refuse_reader(history, draw, current, who)
        given = ReviewAnswer(
            channel=channel,
            reviewer=who.name,
            decision=answers.decision,
            reason=answers.reason,
            verdicts=judged.verdicts,
            outcome="",
            draw=draw.round,
            identified_by=who.how,
            n_seeds=judged.n_seeds,
            n_caught=judged.n_caught,
            seconds=answers.seconds,
            submitted_at=at,
        )
        return Answered(connection, current, history, draw, judged, given, key_file, now).conclude()

    try:
        return ledger.write(job)
    except CodeRefused:
        ledger.write(lambda connection: record_wrong(connection, answers.reviewer, now))
        raise


def _get_draw(connection: sa.Connection, history: History, release: Release, answers: Answers) -> Draw:
    is_other = answers.release not in (None, release.release_id) or answers.round not in (None, release.round)
    # Two people may have begun at once: where two have to read, the slower one's reading is the second.
    began = (
        [r.answer.draw for r in history.rounds]
        if history.answers and history.answers[-1][1].outcome == "second"
        else []
    )
    earlier = [find_draw(connection, release.release_id, n) for n in began]
    found = next((d for d in (history.draw, *earlier) if d and d.shown == release.items), None)
    if found is None or is_other:
        raise ReviewRefused(
            f"These answers are not to what release {release.release_id} shows now: somebody has answered meanwhile."
            f" Read it again: `overnight review {release.run_id}`."
        )
    return found


def _refuse_reader(history: History, draw: Draw, release: Release, who: Identity) -> None:
    is_again = draw is not history.draw
    shown = {d.position for d in draw.drawn.values() if d.stratum == "again" or (is_again and d.stratum != SEED)}
    if any(who.name in history.reading.readers.get(p, ()) for p in shown):
        raise ReviewRefused(
            f"{who.name} has read these rows of release {release.release_id} already, and {release.policy.n_reviewers}"
            " people have to. Ask somebody else."
        )
    if history.count_missed(who.name, who.how) >= N_TRIES:
        raise ReviewRefused(
            f"Too few seeds of release {release.release_id} were caught in {N_TRIES} rounds. Let somebody else read it"
            " (`overnight reviewers add NAME`), or run the flow again."
        )
