"""Approvals: who let which rows of a release out, to which sink, and until when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from overnight.ledger.clock import read_clock
from overnight.ledger.release_schema import DECIDED, approvals, corrections, held_rows, releases
from overnight.ledger.releases import ReleaseRow
from overnight.records import Approval

#: What the signature of an approval covers; those of later versions only where they are given.
_SIGNED = tuple(name for name in DECIDED if name != "signature")
_SIGNED_LATER = {"findings"}


@dataclass(frozen=True)
class CorrectedRow:
    """What leaves for a row in place of what was offered."""

    position: int
    #: Digest of the payload's bytes.
    payload: str
    delivery_key: str


def select_signed(values: Mapping[str, Any]) -> dict[str, Any]:
    """What of an approval's columns its signature covers."""
    return {name: values[name] for name in _SIGNED if name not in _SIGNED_LATER or values[name] is not None}


def record_approval(
    connection: sa.Connection, values: Mapping[str, Any], held: Mapping[int, str], corrected: Sequence[CorrectedRow]
) -> None:
    """Keep an approval, given by its columns, with what it holds back (and why) and what leaves otherwise."""
    connection.execute(sa.insert(approvals).values(**values))
    if corrected:
        rows = [vars(c) | {"approval_id": values["approval_id"]} for c in corrected]
        connection.execute(sa.insert(corrections), rows)
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
    return select_signed(dict(row)), row["signature"]


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


def find_corrections(connection: sa.Connection, approval_id: str) -> dict[int, CorrectedRow]:
    """What leaves otherwise than it was offered, by position."""
    c = corrections.c
    query = sa.select(c.position, c.payload, c.delivery_key).where(c.approval_id == approval_id)
    return {row.position: CorrectedRow(*row) for row in connection.execute(query)}


def select_allowed(
    rows: Sequence[ReleaseRow], held: Mapping[int, str], corrected: Mapping[int, CorrectedRow]
) -> list[ReleaseRow]:
    """The rows that leave, as they leave."""
    return [
        replace(row, payload=new.payload, delivery_key=new.delivery_key)
        if (new := corrected.get(row.position))
        else row
        for row in rows
        if row.position not in held
    ]
