"""The lock of the gate: people's verdicts become a recorded decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.approve.answers import Answers
from overnight.approve.corrections import correct_rows
from overnight.approve.history import History, find_history
from overnight.approve.identify import CodeRefused, Identity, demands_code, identify
from overnight.approve.judge import Judged, judge
from overnight.approve.mint import Finding, mint_approval
from overnight.approve.reading import Reading, Round, name_verdict, read_rounds
from overnight.approve.standing import refuse_closed
from overnight.approve.words import describe_missed, describe_missing, describe_reading
from overnight.failures import ReviewRefused
from overnight.ledger import Ledger
from overnight.ledger.draws import SEED, Draw
from overnight.ledger.releases import find_prompt_of, find_release_rows
from overnight.ledger.reviewers import find_record, record_wrong
from overnight.ledger.reviews import (
    ReviewAnswer,
    RowVerdict,
    find_doubted,
    record_answer,
    record_detail,
    record_verdicts,
)
from overnight.ledger.runs import find_starter
from overnight.records import Approval, Release

#: Rounds of one review in which somebody may catch too few seeds.
N_TRIES = 3


@dataclass(frozen=True)
class Decision:
    """What came of an answer to a review."""

    #: "approved", "held", "rejected"; or another round: "more" (rows), "second" (reader), "missed" (seeds).
    outcome: str
    #: What is known now, and what is to be done.
    words: str
    approval: Approval | None = None

    @property
    def is_final(self) -> bool:
        """Whether nobody is asked again."""
        return self.outcome in {"approved", "held", "rejected"}


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
        draw = _get_draw(history, release, answers)
        judged = judge(current, answers, draw, orjson.loads(find_prompt_of(connection, current.release_id).schema))
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
        return _Answered(connection, current, history, draw, judged, given, key_file, now).conclude()

    try:
        return ledger.write(job)
    except CodeRefused:
        ledger.write(lambda connection: record_wrong(connection, answers.reviewer, now))
        raise


@dataclass(frozen=True)
class _Answered:
    """An answer that was taken, on its way to what follows from it."""

    connection: sa.Connection
    release: Release
    history: History
    draw: Draw
    judged: Judged
    given: ReviewAnswer
    key_file: Path
    now: float

    def conclude(self) -> Decision:
        if self.given.decision == "reject":
            if self.judged.is_read:
                self._record_verdicts()
            return self._record("rejected", "Nothing leaves.")
        if not self.judged.is_read:
            n_left = N_TRIES - 1 - _count_missed(self.history, self.given.reviewer, self.given.identified_by)
            after = "Read afresh drawn rows." if n_left > 0 else "Somebody else has to read it."
            caught = (
                f"{self.judged.n_caught} of {self.judged.n_seeds} seeds were caught: too few to go by these verdicts."
            )
            return self._record("missed", f"{caught} {describe_missed(self.judged)} {after}")
        reading = read_rounds(self.release.n_rows, self.release.policy, self._rounds())
        self._record_verdicts()
        if reading.count_missing() and not reading.holds_unread:
            return self._record("more", describe_missing(reading), reading)
        if n := len(reading.find_unconfirmed()):
            return self._record("second", f"{n:,} rows have to be read by somebody else too.", reading)
        return self._close(reading)

    def _rounds(self) -> list[Round]:
        return [*self.history.rounds, Round(self.given, self.draw.drawn)]

    def _record_verdicts(self) -> None:
        rows = find_release_rows(self.connection, self.release.release_id)
        given = [
            RowVerdict(number, rows[d.position].delivery_key, name_verdict(v), _find(v, "wrong"), _find(v, "corrected"))
            for number, d in self.draw.drawn.items()
            if d.stratum != SEED and (v := self.judged.verdicts.get(str(number)))
        ]
        record_verdicts(self.connection, self.release.release_id, self.release.round, given, self.now)

    def _close(self, reading: Reading) -> Decision:
        rows = find_release_rows(self.connection, self.release.release_id)
        doubted = find_doubted(self.connection)
        held = dict(reading.held)
        for row in rows:
            if row.position not in reading.readers:
                if row.delivery_key in doubted:
                    held[row.position] = "doubted"
                elif reading.holds_unread:
                    held[row.position] = "unread"
        if len(held) == len(rows):
            return self._record("held", "No row may leave.", reading)
        decision = self._record(
            "approved", f"{len(rows) - len(held):,} rows may leave, {len(held):,} are held.", reading
        )
        rounds = [r.answer for r in self._rounds()]
        finding = Finding(
            reviewers=tuple(dict.fromkeys(a.reviewer for a in rounds)),
            identified_by="code" if all(a.identified_by == "code" for a in rounds) else "declared",
            reason=self.given.reason,
            held=held,
            corrected=correct_rows(self.connection, self.release, rows, reading.corrected, held),
            details=_describe(reading, self._rounds()),
        )
        approval = mint_approval(self.connection, self.release, rows, finding, key_file=self.key_file, now=self.now)
        return Decision(decision.outcome, decision.words, approval)

    def _record(self, outcome: str, what_next: str, reading: Reading | None = None) -> Decision:
        # Once without words: what is said of the reviewer counts these seeds too.
        place = (self.connection, self.release.release_id, self.release.round)
        record_answer(*place, replace(self.given, outcome=outcome), self.now)
        words = [self._tell(reading), what_next, describe_missed(self.judged)] if reading else [what_next]
        line = " ".join(word for word in words if word)
        record_detail(*place, line)
        return Decision(outcome, line)

    def _tell(self, reading: Reading) -> str:
        names = list(dict.fromkeys(r.answer.reviewer for r in self._rounds()))
        records = [find_record(self.connection, name) for name in names]
        return describe_reading(
            reading,
            reviewers=names,
            n_caught=sum(r.n_caught for r in records),
            n_seeds=sum(r.n_seeds for r in records),
        )


def _get_draw(history: History, release: Release, answers: Answers) -> Draw:
    is_other = answers.release not in (None, release.release_id) or answers.round not in (None, release.round)
    if history.draw is None or history.draw.items != release.items or is_other:
        raise ReviewRefused(
            f"These answers are not to what release {release.release_id} shows now: somebody has answered meanwhile."
            f" Read it again: `overnight review {release.run_id}`."
        )
    return history.draw


def _refuse_reader(history: History, draw: Draw, release: Release, who: Identity) -> None:
    again = {d.position for d in draw.drawn.values() if d.stratum == "again"}
    if any(who.name in history.reading.readers.get(p, ()) for p in again):
        raise ReviewRefused(
            f"{who.name} has read these rows of release {release.release_id} already, and {release.policy.n_reviewers}"
            " people have to. Ask somebody else."
        )
    if _count_missed(history, who.name, who.how) >= N_TRIES:
        raise ReviewRefused(
            f"Too few seeds of release {release.release_id} were caught in {N_TRIES} rounds. Let somebody else read it"
            " (`overnight reviewers add NAME`), or run the flow again."
        )


def _count_missed(history: History, name: str, how: str | None) -> int:
    """Rounds with too few seeds; where names are declared, whoever's they were."""
    missed = [a for _, a in history.answers if a.outcome == "missed"]
    return sum(a.reviewer == name or how == a.identified_by == "declared" for a in missed)


def _find(verdict: Any, name: str) -> str | None:
    found = verdict.get(name) if isinstance(verdict, Mapping) else None
    return found if found is None or isinstance(found, str) else orjson.dumps(found).decode()


def _describe(reading: Reading, rounds: list[Round]) -> dict[str, Any]:
    return {
        "policy": asdict(reading.policy),
        "n_rows": reading.n_rows,
        "n_read": len(reading.readers),
        "n_read_at_random": len(reading.random),
        "n_bad_at_random": reading.n_bad,
        "bound": reading.bound(),
        "unread": "held" if reading.holds_unread else "released",
        "rounds": [_describe_round(one) for one in rounds],
    }


def _describe_round(one: Round) -> dict[str, Any]:
    """Each item with what it was, so that the record stands alone."""
    names = ("draw", "reviewer", "identified_by", "decision", "n_seeds", "n_caught", "seconds")
    items = [(d.stratum, d.position, one.answer.verdicts[str(n)]) for n, d in one.drawn.items()]
    return {name: getattr(one.answer, name) for name in names} | {"items": items}
