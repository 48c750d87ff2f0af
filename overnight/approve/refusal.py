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
        reviewer=str(answers.get("reviewer", "")),
        decision=str(answers.get("decision", "")),
        reason=str(answers.get("reason", "")),
        verdicts={str(k): str(v) for k, v in dict(answers.get("items") or {}).items()},
        outcome="refused",
        detail=str(error),
    )

    def record(connection: Any) -> None:
        if count_answers(connection, release.release_id) == release.round:
            record_answer(connection, release.release_id, release.round, answer, now)

    ledger.write(record)
