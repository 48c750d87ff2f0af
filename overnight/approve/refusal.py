"""Answers of a form that were refused: they are a round, so that the next one asks under a key of its own."""

from __future__ import annotations

from typing import Any

from overnight.failures import ReviewRefused
from overnight.ledger import Ledger
from overnight.ledger.reviews import ReviewAnswer, count_answers, record_answer
from overnight.records import Release


def record_refusal(
    release: Release, answers: dict[str, Any], error: ReviewRefused, *, ledger: Ledger, now: float
) -> None:
    """Record answers that were refused, unless the round has been answered meanwhile."""
    answer = ReviewAnswer(
        channel="form",
        reviewer=_bear(answers.get("reviewer", "")),
        decision=_bear(answers.get("decision", "")),
        reason=_bear(answers.get("reason", "")),
        verdicts={_bear(k): _bear(v) for k, v in dict(answers.get("items") or {}).items()},
        outcome="refused",
        detail=str(error),
    )

    def record(connection: Any) -> None:
        if count_answers(connection, release.release_id) == release.round:
            record_answer(connection, release.release_id, release.round, answer, now)

    ledger.write(record)


def _bear(value: Any) -> str:
    """The text without what a database does not bear: it was refused, and is only kept to be looked at."""
    return str(value).encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
