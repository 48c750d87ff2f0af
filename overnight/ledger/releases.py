"""Releases, and the answers to their reviews."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.failures import OvernightError
from overnight.keys import canonical_json, digest_bytes, release_digest
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
    checks_digest: str,
    held_of: str | None,
    now: float,
) -> None:
    """Keep a release with its rows and the bytes they would send; the first record of it stays."""
    shown = canonical_json([_item_json(i) for i in release.items])
    row = {
        "release_id": release.release_id,
        "run_id": release.run_id,
        "digest": release.digest,
        "sink": release.sink,
        "operation": release.operation,
        "effect": release.effect,
        "prompt_hash": prompt_hash,
        "model": model,
        "checks_hash": checks_hash,
        "checks_digest": checks_digest,
        "held_of": held_of,
        "n_rows": release.n_rows,
        "items": orjson.dumps([_item_json(i) for i in release.items]).decode(),
        "evidence_digest": digest_bytes(shown),
        "offered_at": now,
    }
    connection.execute(insert(releases).on_conflict_do_nothing(), row)
    record_bodies(connection, payloads)
    values = [vars(r) | {"release_id": release.release_id} for r in rows]
    connection.execute(insert(release_rows).on_conflict_do_nothing(), values)


def find_release(connection: sa.Connection, run_id: str, sink: str | None = None) -> Release | None:
    """
    The newest release of the run, for this sink or any, with the number of answers that it has had.

    One that offers what another held back is the newer of the two, whatever a clock said.
    """
    c, later = releases.c, releases.alias()
    is_last = ~sa.exists().where(later.c.held_of == c.release_id)
    query = sa.select(releases).where(c.run_id == run_id, c.sink == sink if sink else sa.true(), is_last)
    row = connection.execute(query.order_by(c.offered_at.desc()).limit(1)).one_or_none()
    return _load(connection, row) if row else None


def find_parent(connection: sa.Connection, release: Release) -> Release | None:
    """The release that held this one's rows back."""
    parent = sa.select(releases.c.held_of).where(releases.c.release_id == release.release_id).scalar_subquery()
    row = connection.execute(sa.select(releases).where(releases.c.release_id == parent)).one_or_none()
    return _load(connection, row) if row else None


def get_release(connection: sa.Connection, release_id: str) -> Release:
    """
    A release by its id.

    Raises:
        OvernightError: There is none.
    """
    row = connection.execute(sa.select(releases).where(releases.c.release_id == release_id)).one_or_none()
    if row is None:
        raise OvernightError(f"There is no release {release_id}. `overnight outbox` lists what was released.")
    return _load(connection, row)


def _load(connection: sa.Connection, row: sa.Row[Any]) -> Release:
    n_answers = connection.execute(
        sa.select(sa.func.count()).where(review_answers.c.release_id == row.release_id)
    ).scalar_one()
    return Release(
        release_id=row.release_id,
        run_id=row.run_id,
        digest=row.digest,
        sink=row.sink,
        operation=row.operation or "",
        effect=row.effect or "",
        n_rows=row.n_rows,
        round=n_answers,
        items=tuple(ReviewItem(**i) for i in orjson.loads(row.items)),
    )


def find_release_rows(connection: sa.Connection, release_id: str) -> list[ReleaseRow]:
    """The rows of a release, in order."""
    c = release_rows.c
    query = sa.select(c.position, c.row_id, c.request_key, c.payload, c.delivery_key, c.item)
    return [
        ReleaseRow(*row) for row in connection.execute(query.where(c.release_id == release_id).order_by(c.position))
    ]


def find_evidence(connection: sa.Connection, release_id: str) -> str:
    """The digest of what the reviewer of a release is shown, made anew from what is recorded."""
    items = connection.execute(sa.select(releases.c["items"]).where(releases.c.release_id == release_id)).scalar_one()
    return digest_bytes(canonical_json(orjson.loads(items)))


def find_digest(connection: sa.Connection, release_id: str, rows: Sequence[ReleaseRow]) -> str:
    """A release's digest, made anew from what is recorded of it and these rows."""
    row = connection.execute(sa.select(releases).where(releases.c.release_id == release_id)).one()
    return release_digest(
        sink=row.sink,
        prompt_hash=row.prompt_hash,
        model=row.model,
        checks_digest=row.checks_digest or "",
        held_of=row.held_of or "",
        rows=((r.request_key, r.delivery_key, r.payload) for r in rows),
    )


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
