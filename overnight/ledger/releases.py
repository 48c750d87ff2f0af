"""Releases: what is offered to a sink, with the bytes that would leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.failures import OvernightError
from overnight.keys import canonical_json, release_digest
from overnight.ledger.batching import batched
from overnight.ledger.columns import to_bytes
from overnight.ledger.draws import find_draw
from overnight.ledger.prepared import Prepared, insert
from overnight.ledger.release_schema import release_rows, releases
from overnight.ledger.reviews import count_answers
from overnight.ledger.schema import prompts
from overnight.records import Release, ReviewPolicy


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """One row of a release, and what would be sent for it."""

    position: int
    row_id: str
    request_key: str
    #: Digest of the payload's bytes.
    payload: str
    delivery_key: str
    #: What a check warned of.
    warning: str | None = None


def record_release(
    connection: sa.Connection,
    release: Release,
    rows: Sequence[ReleaseRow],
    *,
    prompt_hash: str,
    model: str,
    checks_hash: str,
    checks_digest: str,
    held_of: str | None,
    now: float,
) -> None:
    """Keep a release with its rows, whose bytes are kept already; the first record of it stays."""
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
        "policy": canonical_json(asdict(release.policy)).decode(),
        "offered_at": now,
    }
    connection.execute(insert(releases).on_conflict_do_nothing(), row)
    for some in batched(rows):
        _ADD_ROW.run(connection, [_row_values(release.release_id, r) for r in some])


def _row_values(release_id: str, row: ReleaseRow) -> dict[str, Any]:
    return {
        "release_id": release_id,
        "position": row.position,
        "row_id": row.row_id,
        "request_key": to_bytes(row.request_key),
        "payload": to_bytes(row.payload),
        "delivery_key": to_bytes(row.delivery_key),
        "warning": row.warning,
    }


_NEW_ROW = insert(release_rows).values({column.name: sa.bindparam(column.name) for column in release_rows.columns})
_ADD_ROW = Prepared(_NEW_ROW.on_conflict_do_nothing())


def is_release(connection: sa.Connection, release_id: str) -> bool:
    """Whether it has been recorded."""
    query = sa.select(releases.c.release_id).where(releases.c.release_id == release_id)
    return connection.execute(query).first() is not None


def find_release(connection: sa.Connection, run_id: str, sink: str | None = None) -> Release | None:
    """
    The newest release of the run, for this sink or any, with the number of answers that it has had.

    One that offers what another held back is the newer of the two, whatever a clock said.
    """
    row = _find_newest(connection, run_id, sink)
    return _load(connection, row) if row else None


def find_release_id(connection: sa.Connection, run_id: str) -> str | None:
    """The newest release of the run, by its id alone."""
    row = _find_newest(connection, run_id, None)
    return row.release_id if row else None


def _find_newest(connection: sa.Connection, run_id: str, sink: str | None) -> sa.Row[Any] | None:
    c, later = releases.c, releases.alias()
    is_last = ~sa.exists().where(later.c.held_of == c.release_id, later.c.run_id == c.run_id)
    query = sa.select(releases).where(c.run_id == run_id, c.sink == sink if sink else sa.true(), is_last)
    return connection.execute(query.order_by(c.offered_at.desc()).limit(1)).one_or_none()


def find_parent(connection: sa.Connection, release: Release) -> Release | None:
    """The release of the same run that held this one's rows back."""
    c = releases.c
    parent = sa.select(c.held_of).where(c.release_id == release.release_id).scalar_subquery()
    query = sa.select(releases).where(c.release_id == parent, c.run_id == release.run_id)
    row = connection.execute(query).one_or_none()
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
    n_answers = count_answers(connection, row.release_id)
    draw = find_draw(connection, row.release_id)
    return Release(
        release_id=row.release_id,
        run_id=row.run_id,
        digest=row.digest,
        sink=row.sink,
        operation=row.operation or "",
        effect=row.effect or "",
        n_rows=row.n_rows,
        round=n_answers,
        items=draw.shown if draw else (),
        n_seeds=draw.n_seeds if draw else 0,
        policy=ReviewPolicy(**orjson.loads(row.policy)) if row.policy else ReviewPolicy(),
        private=draw.private if draw else (),
    )


def find_release_rows(connection: sa.Connection, release_id: str) -> list[ReleaseRow]:
    """The rows of a release, in order."""
    c = release_rows.c
    query = sa.select(c.position, c.row_id, c.request_key, c.payload, c.delivery_key, c.warning)
    return [
        ReleaseRow(*row) for row in connection.execute(query.where(c.release_id == release_id).order_by(c.position))
    ]


@dataclass(frozen=True)
class OfferedPrompt:
    """The prompt that a release's rows answer."""

    name: str
    schema: str
    prompt_hash: str
    model: str


def find_prompt_of(connection: sa.Connection, release_id: str) -> OfferedPrompt:
    """The prompt that a release's rows answer, as it was sent."""
    query = sa.select(prompts.c.name, prompts.c.schema, prompts.c.prompt_hash, prompts.c.model)
    query = query.join(releases, releases.c.prompt_hash == prompts.c.prompt_hash)
    return OfferedPrompt(*connection.execute(query.where(releases.c.release_id == release_id)).one())


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
