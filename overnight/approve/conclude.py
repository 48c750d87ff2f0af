"""What follows from an answer together with those before it: another round, or the end of the review."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.approve.corrections import correct_rows
from overnight.approve.history import History
from overnight.approve.judge import Judged
from overnight.approve.mint import Finding, mint_approval
from overnight.approve.reading import Reading, Round, name_verdict, read_rounds
from overnight.approve.words import describe_missed, describe_missing, describe_reading
from overnight.keys import canonical_json, digest_bytes
from overnight.ledger.draws import SEED, Draw
from overnight.ledger.releases import ReleaseRow, find_release_rows
from overnight.ledger.reviewers import find_record
from overnight.ledger.reviews import (
    ReviewAnswer,
    RowVerdict,
    find_doubted,
    record_answer,
    record_verdicts,
)
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
    #: What is asked next is asked of somebody else: this reader has read it, or has missed too many seeds.
    is_for_others: bool = False

    @property
    def is_final(self) -> bool:
        """Whether nobody is asked again."""
        return self.outcome in {"approved", "held", "rejected"}


@dataclass(frozen=True)
class Answered:
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
        """Record it with what it comes to, together with all that was read before."""
        self._record_verdicts()
        if self.given.decision == "reject":
            return self._record("rejected", "Nothing leaves.")
        if not self.judged.is_read:
            return self._miss()
        reading = read_rounds(self.release.n_rows, self.release.policy, self._rounds())
        if reading.count_missing() and not reading.holds_unread:
            return self._record("more", describe_missing(reading), reading)
        if n := len(reading.find_unconfirmed()):
            return self._record("second", f"{n:,} rows have to be read by somebody else too.", reading)
        return self._close(reading)

    def _miss(self) -> Decision:
        n_left = N_TRIES - 1 - self.history.count_missed(self.given.reviewer, self.given.identified_by)
        after = "Read afresh drawn rows." if n_left > 0 else "Somebody else has to read it."
        judged = self.judged
        caught = f"{judged.n_caught} of {judged.n_seeds} seeds were caught: too few to go by these verdicts."
        done = self._record("missed", f"{caught} {describe_missed(judged)} {after}")
        return replace(done, is_for_others=n_left <= 0)

    def _rounds(self) -> list[Round]:
        return [*self.history.rounds, Round(self.given, self.draw.drawn)]

    def _record_verdicts(self) -> None:
        """
        What is said of each row as it was offered: it is remembered on other nights.

        Somebody who did not read is believed where they doubt a row, not where they do not; and who finds a correction
        correct says nothing of what was corrected.
        """
        corrected = self.history.reading.corrected
        rows = find_release_rows(self.connection, self.release.release_id)
        given = [
            RowVerdict(number, rows[d.position].delivery_key, name_verdict(v), _pick(v, "wrong"), _pick(v, "corrected"))
            for number, d in self.draw.drawn.items()
            if d.stratum != SEED and (v := self.judged.verdicts.get(str(number)))
            if v != "correct" or (self.judged.is_read and d.position not in corrected)
        ]
        record_verdicts(self.connection, self.release.release_id, self.release.round, given, self.now)

    def _close(self, reading: Reading) -> Decision:
        rows = find_release_rows(self.connection, self.release.release_id)
        held = self._list_held(reading, rows)
        if len(held) == len(rows):
            return self._record("held", "No row may leave.", reading)
        n_left = len(rows) - len(held)
        decision = self._record("approved", f"{n_left:,} rows may leave, {len(held):,} are held.", reading)
        finding = self._find(reading, rows, held)
        approval = mint_approval(self.connection, self.release, rows, finding, key_file=self.key_file, now=self.now)
        return replace(decision, approval=approval)

    def _list_held(self, reading: Reading, rows: Sequence[ReleaseRow]) -> dict[int, str]:
        """What was called wrong or unsure; of what nobody read, what was so before, or all where somebody wants it."""
        doubted = find_doubted(self.connection)
        unread = [row for row in rows if row.position not in reading.readers]
        held = {row.position: "unread" for row in unread if reading.holds_unread}
        return held | {row.position: "doubted" for row in unread if row.delivery_key in doubted} | reading.held

    def _find(self, reading: Reading, rows: Sequence[ReleaseRow], held: dict[int, str]) -> Finding:
        answers = [r.answer for r in self._rounds()]
        return Finding(
            reviewers=tuple(dict.fromkeys(a.reviewer for a in answers)),
            identified_by="code" if all(a.identified_by == "code" for a in answers) else "declared",
            reason=self.given.reason,
            held=held,
            corrected=correct_rows(self.connection, self.release, rows, reading.corrected, held),
            details=_describe(reading, self._rounds()),
        )

    def _record(self, outcome: str, what_next: str, reading: Reading | None = None) -> Decision:
        words = [self._tell(reading), what_next, describe_missed(self.judged)] if reading else [what_next]
        line = " ".join(word for word in words if word)
        answer = replace(self.given, outcome=outcome, detail=line)
        record_answer(self.connection, self.release.release_id, self.release.round, answer, self.now)
        return Decision(outcome, line, is_for_others=outcome == "second")

    def _tell(self, reading: Reading) -> str:
        names = list(dict.fromkeys(r.answer.reviewer for r in self._rounds()))
        records = [find_record(self.connection, name) for name in names]
        # This answer is not recorded yet, and its seeds count.
        return describe_reading(
            reading,
            reviewers=names,
            n_caught=sum(r.n_caught for r in records) + self.judged.n_caught,
            n_seeds=sum(r.n_seeds for r in records) + self.judged.n_seeds,
        )


def _pick(verdict: Any, name: str) -> str | None:
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
        "looks": reading.n_looks + 1,
        "confidence": reading.confidence,
        "unread": "held" if reading.holds_unread else "released",
        "rounds": [_describe_round(one) for one in rounds],
    }


def _sum_up(verdict: Any) -> Any:
    return {name_verdict(verdict): digest_bytes(canonical_json(verdict))} if isinstance(verdict, Mapping) else verdict


def _describe_round(one: Round) -> dict[str, Any]:
    """
    Each item with what it was, so that the record stands alone.

    It is signed and stays for ever, so no text of a row is in it: of a reason or a correction its digest.
    """
    names = ("draw", "reviewer", "identified_by", "decision", "n_seeds", "n_caught", "seconds")
    items = [(d.stratum, d.position, _sum_up(one.answer.verdicts.get(str(n)))) for n, d in one.drawn.items()]
    return {name: getattr(one.answer, name) for name in names} | {"items": items}
