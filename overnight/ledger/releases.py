"""Releases, and the answers to their reviews."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.keys import canonical_json
from overnight.ledger.bodies import Body, record_bodies
from overnight.ledger.prepared import insert
from overnight.ledger.release_schema import release_rows, releases, review_answers, verdicts
from overnight.records import Release, ReviewItem


@dataclass(frozen=True)
class ReleaseRow:
    """One row of a release: what would be sent for it, and whether the reviewer is shown it."""

    position: int
    row_id: str
    request_key: str
    #: Digest of the payload's bytes.
    payload: str
    delivery_key: str
    item: int | None


@dataclass(frozen=True)
class ReviewAnswer:
    """An answer to a review as it is recorded, whatever came of it."""

    channel: str
    reviewer: str
    decision: str
    reason: str
    verdicts: Mapping[str, str]
    #: "approved", "rejected", "held" or "refused".
    outcome: str
    detail: str | None = None


def record_release(
    connection: sa.Connection,
    release: Release,
    rows: Sequence[ReleaseRow],
    payloads: Sequence[Body],
    *,
    prompt_hash: str,
    model: str,
    checks_hash: str,
    evidence_digest: str,
    now: float,
) -> None:
    """Keep a release with its rows and the bytes they would send; the first record of it stays."""
    row = {
        "release_id": release.release_id,
        "run_id": release.run_id,
        "digest": release.digest,
        "sink": release.sink,
        "prompt_hash": prompt_hash,
        "model": model,
        "checks_hash": checks_hash,
        "n_rows": release.n_rows,
        "items": orjson.dumps([_item_json(i) for i in release.items]).decode(),
        "evidence_digest": evidence_digest,
        "offered_at": now,
    }
    connection.execute(insert(releases).on_conflict_do_nothing(), row)
    record_bodies(connection, payloads)
    values = [vars(r) | {"release_id": release.release_id} for r in rows]
    connection.execute(insert(release_rows).on_conflict_do_nothing(), values)


def find_release(connection: sa.Connection, run_id: str, sink: str | None = None) -> Release | None:
    """The newest release of the run, for this sink or any, with the number of answers that it has had."""
    c = releases.c
    query = sa.select(releases).where(c.run_id == run_id, c.sink == sink if sink else sa.true())
    row = connection.execute(query.order_by(c.offered_at.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    n_answers = connection.execute(
        sa.select(sa.func.count()).where(review_answers.c.release_id == row.release_id)
    ).scalar_one()
    items = tuple(ReviewItem(**i) for i in orjson.loads(row.items))
    return Release(row.release_id, run_id, row.digest, row.sink, row.n_rows, n_answers, items)


def find_release_rows(connection: sa.Connection, release_id: str) -> list[ReleaseRow]:
    """The rows of a release, in order."""
    c = release_rows.c
    query = sa.select(c.position, c.row_id, c.request_key, c.payload, c.delivery_key, c.item)
    return [
        ReleaseRow(*row) for row in connection.execute(query.where(c.release_id == release_id).order_by(c.position))
    ]


def record_answer(connection: sa.Connection, release: Release, answer: ReviewAnswer, now: float) -> None:
    """Record an answer as the next round of its release."""
    values = {
        "release_id": release.release_id,
        "round": release.round,
        "channel": answer.channel,
        "reviewer": answer.reviewer,
        "decision": answer.decision,
        "reason": answer.reason,
        "verdicts": canonical_json(dict(answer.verdicts)).decode(),
        "outcome": answer.outcome,
        "detail": answer.detail,
        "recorded_at": now,
    }
    connection.execute(sa.insert(review_answers).values(values))


def record_verdicts(
    connection: sa.Connection, release: Release, rows: Sequence[ReleaseRow], given: Mapping[int, str], now: float
) -> None:
    """Record the verdict on each item shown, under the row's delivery key."""
    values = [
        {
            "release_id": release.release_id,
            "round": release.round,
            "item": row.item,
            "delivery_key": row.delivery_key,
            "verdict": given[row.item],
            "recorded_at": now,
        }
        for row in rows
        if row.item is not None
    ]
    connection.execute(sa.insert(verdicts), values)


def find_doubted(connection: sa.Connection) -> set[str]:
    """The delivery keys whose last verdict was wrong or unsure: few, since a person gave each."""
    query = sa.select(verdicts.c.delivery_key, verdicts.c.verdict).order_by(verdicts.c.recorded_at)
    last = {row.delivery_key: row.verdict for row in connection.execute(query)}
    return {key for key, verdict in last.items() if verdict != "correct"}


def find_last_answer(connection: sa.Connection, release_id: str) -> sa.Row[Any] | None:
    """The newest answer to a release's review."""
    c = review_answers.c
    query = sa.select(review_answers).where(c.release_id == release_id).order_by(c.round.desc()).limit(1)
    return connection.execute(query).one_or_none()


def _item_json(item: ReviewItem) -> dict[str, Any]:
    return {"item": item.item, "row_id": item.row_id, "input": dict(item.input), "output": dict(item.output)}
