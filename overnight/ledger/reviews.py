"""Answers to reviews: each is a round of its release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.keys import canonical_json, digest_output
from overnight.ledger.release_schema import release_rows
from overnight.ledger.review_schema import review_answers, verdicts
from overnight.ledger.schema import completions
from overnight.ledger.trace_schema import readings

#: Outcomes that end a review; what follows one, such as an approval that expired unused, begins anew.
ENDED = ("approved", "held", "rejected")


@dataclass(frozen=True)
class ReviewAnswer:
    """An answer to a review as it is recorded, whatever came of it."""

    channel: str
    reviewer: str
    #: "release", "hold" (what nobody read stays) or "reject".
    decision: str
    reason: str
    #: By the item's number: "correct", "unsure", "wrong" or {"wrong": why}, {"corrected": the output}.
    verdicts: Mapping[str, Any]
    #: "approved", "rejected", "held", "more", "second", "missed" or "refused".
    outcome: str
    detail: str | None = None
    #: The round of the draw that was answered.
    draw: int | None = None
    identified_by: str | None = None
    n_seeds: int | None = None
    n_caught: int | None = None
    seconds: float | None = None
    submitted_at: float | None = None


@dataclass(frozen=True)
class RowVerdict:
    """A verdict on a row of a release."""

    item: int
    delivery_key: str
    #: "correct", "corrected", "wrong" or "unsure".
    verdict: str
    reason: str | None = None
    #: The output as it should be, as JSON.
    correction: str | None = None


def record_answer(connection: sa.Connection, release_id: str, round_n: int, answer: ReviewAnswer, now: float) -> None:
    """Record an answer as a round of its release."""
    values = vars(answer) | {
        "release_id": release_id,
        "round": round_n,
        "verdicts": canonical_json(dict(answer.verdicts)).decode(),
        "recorded_at": now,
    }
    connection.execute(sa.insert(review_answers).values(values))


def record_verdicts(
    connection: sa.Connection, release_id: str, round_n: int, given: Sequence[RowVerdict], now: float
) -> None:
    """Record the verdicts on rows, each under its delivery key; a verdict on a seed is none."""
    place = {"release_id": release_id, "round": round_n, "recorded_at": now}
    if given:
        connection.execute(sa.insert(verdicts), [asdict(v) | place for v in given])


def list_answers(connection: sa.Connection, release_id: str) -> list[tuple[int, ReviewAnswer]]:
    """The answers that a release has had, each with its round, in order."""
    names = tuple(ReviewAnswer.__dataclass_fields__)
    query = sa.select(review_answers).where(review_answers.c.release_id == release_id)
    return [
        (row["round"], ReviewAnswer(**{n: row[n] for n in names} | {"verdicts": orjson.loads(row["verdicts"])}))
        for row in connection.execute(query.order_by(review_answers.c.round)).mappings()
    ]


def count_answers(connection: sa.Connection, release_id: str) -> int:
    """How many answers a release has had: the number of the round that is open."""
    query = sa.select(sa.func.count()).where(review_answers.c.release_id == release_id)
    return connection.execute(query).scalar_one()


def find_last_answer(connection: sa.Connection, release_id: str) -> sa.Row[Any] | None:
    """The newest answer to a release's review."""
    c = review_answers.c
    query = sa.select(review_answers).where(c.release_id == release_id).order_by(c.round.desc()).limit(1)
    return connection.execute(query).one_or_none()


def find_doubted(connection: sa.Connection) -> set[str]:
    """
    The delivery keys whose last verdict was not that they are correct: few, since a person gave each.

    Of verdicts in reviews, and of readings of the same answer to the same row.
    """
    v = verdicts.c
    said = [tuple(row) for row in connection.execute(sa.select(v.recorded_at, v.delivery_key, v.verdict))]
    said += [(at, key, verdict) for at, key, verdict in _list_read(connection)]
    last = {key: verdict for _, key, verdict in sorted(said)}
    return {key for key, verdict in last.items() if verdict != "correct"}


def _list_read(connection: sa.Connection) -> list[tuple[float, str, str]]:
    """When somebody read a row that was offered, its delivery key, and what they said of it."""
    c, r = readings.c, release_rows.c
    query = sa.select(c.recorded_at, r.delivery_key, c.verdict, c.output_digest, completions.c.output)
    # By the row's id too: that is indexed.
    offered = sa.and_(r.row_id == c.row_id, r.request_key == c.request_key)
    query = query.join(release_rows, offered).join(completions, completions.c.request_key == c.request_key)
    return [
        (row.recorded_at, row.delivery_key, row.verdict)
        for row in connection.execute(query)
        # Another answer may stand there by now.
        if row.output and row.output_digest == digest_output(row.output)
    ]
