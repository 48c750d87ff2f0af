"""How a run was reviewed: what each answer came to, and how its readers have read so far."""

from __future__ import annotations

import sqlalchemy as sa

from overnight.ledger.releases import find_release_id
from overnight.ledger.reviewers import ReviewerRecord, find_record
from overnight.ledger.reviews import list_answers


def describe_reviews(connection: sa.Connection, run_id: str) -> tuple[str, ...]:
    """A line for each answer to the run's release, then one for each of its readers."""
    release_id = find_release_id(connection, run_id)
    answers = list_answers(connection, release_id) if release_id else []
    lines = [f"Round {n + 1}, {a.reviewer or 'nobody'}, {a.outcome}: {a.detail or a.reason}" for n, a in answers]
    readers = dict.fromkeys(a.reviewer for _, a in answers if a.outcome != "refused" and a.reviewer)
    return (*lines, *(f"{name}: {describe_record(find_record(connection, name))}" for name in readers))


def describe_record(record: ReviewerRecord) -> str:
    """How somebody has read, over all reviews."""
    seeds, reviews = say_count(record.n_seeds, "seed"), say_count(record.n_decisions, "review")
    parts = [f"{record.n_caught:,} of {seeds} caught in {reviews}"]
    if record.seconds_a_row is not None:
        parts.append(f"{record.seconds_a_row:.1f} s a row")
    if record.n_compared:
        parts.append(f"{record.n_agreed:,} of {say_count(record.n_compared, 'row')} as the other reader")
    return ", ".join(parts)


def say_count(n: int, what: str) -> str:
    """How many of something there are: "1 row", "1,340 rows"."""
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
