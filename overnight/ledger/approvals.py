"""Approvals: who let which rows of a release out, to which sink, and until when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from overnight.ledger.clock import read_clock
from overnight.ledger.release_schema import DECIDED, approvals, held_rows, releases
from overnight.records import Approval

#: What the signature of an approval covers.
SIGNED = tuple(name for name in DECIDED if name != "signature")


def record_approval(connection: sa.Connection, values: Mapping[str, Any], held: Mapping[int, str]) -> None:
    """Keep an approval, given by its columns, with the positions it holds back and the verdict on each."""
    connection.execute(sa.insert(approvals).values(**values))
    if held:
        rows = [{"approval_id": values["approval_id"], "position": p, "verdict": v} for p, v in held.items()]
        connection.execute(sa.insert(held_rows), rows)


def has_signed(connection: sa.Connection) -> bool:
    """Whether any approval has been signed for this ledger."""
    query = sa.select(approvals.c.approval_id).where(approvals.c.signature.is_not(None)).limit(1)
    return connection.execute(query).first() is not None


def find_decided(connection: sa.Connection, approval_id: str) -> tuple[dict[str, Any], str | None]:
    """What an approval decides, as it is recorded now, and the signature that stands under it."""
    row = connection.execute(sa.select(approvals).where(approvals.c.approval_id == approval_id)).mappings().one()
    return {name: row[name] for name in SIGNED}, row["signature"]


def find_approval(
    connection: sa.Connection, *, release_id: str | None = None, approval_id: str | None = None
) -> Approval | None:
    """The last approval of a release, or the one with this id."""
    c = approvals.c
    wanted = c.approval_id == approval_id if approval_id else c.release_id == release_id
    query = sa.select(approvals, releases.c.run_id).join(releases, releases.c.release_id == c.release_id)
    # By rounds: a clock may have been set back between two.
    row = connection.execute(query.where(wanted).order_by(c.round.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    return Approval(
        approval_id=row.approval_id,
        run_id=row.run_id,
        release_id=row.release_id,
        release_digest=row.release_digest,
        allowed_digest=row.allowed_digest,
        sink=row.sink,
        n_allowed=row.n_allowed,
        n_held=row.n_held,
        reviewer=row.reviewer,
        state=row.state,
        expires_at=datetime.fromtimestamp(row.expires_at, UTC),
    )


def is_live(connection: sa.Connection, now: float) -> sa.ColumnElement[bool]:
    """
    The condition that an approval can still be used.

    Its time is over by the wall clock, or by the clock that nobody sets: a wall clock that is set back extends nothing.
    """
    c, steady = approvals.c, read_clock(connection)
    is_told = sa.func.coalesce(c.clock, "none") == steady.clock
    is_over = sa.literal(steady.at, sa.Float) - c.issued_mark >= c.expires_at - c.issued_at
    return sa.and_(c.state == "approved", c.expires_at > now, sa.not_(sa.and_(is_told, is_over)))


def can_be_used(connection: sa.Connection, approval_id: str, now: float) -> bool:
    """Whether the approval is neither used up nor over."""
    query = sa.select(approvals.c.approval_id).where(approvals.c.approval_id == approval_id, is_live(connection, now))
    return connection.execute(query).scalar() is not None


def find_held_positions(connection: sa.Connection, approval_id: str) -> dict[int, str]:
    """The positions that an approval holds back, each with the verdict on it."""
    c = held_rows.c
    query = sa.select(c.position, c.verdict).where(c.approval_id == approval_id)
    return {row.position: row.verdict for row in connection.execute(query)}
