"""Answers to requests from outside: written by a delivery, and taken back by a recall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from overnight.ledger.batching import batched
from overnight.ledger.columns import to_bytes
from overnight.ledger.inbox_schema import inbox
from overnight.ledger.inbox_settling import RECALLED
from overnight.ledger.prepared import Prepared
from overnight.ledger.retries import list_retried
from overnight.records import InboxState, Payload

_C = inbox.c


@dataclass(frozen=True)
class Noted:
    """What became of an answer."""

    #: Whether the request has it now; of one that is taken back: has it no more.
    is_done: bool
    #: One line.
    detail: str


def is_asked(connection: sa.Connection, run_id: str, prompt: str) -> bool:
    """Whether the run, or one whose rows it retries, has taken requests to the prompt."""
    query = sa.select(_C.inbox_id).where(_C.run_id.in_(list_retried(connection, run_id)), _C.prompt == prompt)
    return connection.execute(query.limit(1)).first() is not None


def answer(connection: sa.Connection, run_id: str, prompt: str, payloads: Sequence[Payload], now: float) -> list[Noted]:
    """
    Give requests their answers; the first answer stays, unless these are its bytes.

    Args:
        connection: To the ledger.
        run_id: Which answers the rows: requests that another run has taken over are not its to answer.
        prompt: Which the requests are for.
        payloads: What a consumed approval lets out.
        now: Seconds since the epoch.
    """
    asked = _find(connection, run_id, prompt, payloads)
    found = [_judge(asked.get(payload.row_id), payload, run_id) for payload in payloads]
    rows = [
        {
            "at": asked[payload.row_id].inbox_id,
            "text": payload.body.decode(),
            "key": to_bytes(payload.delivery_key),
            "now": now,
        }
        for payload, noted in zip(payloads, found, strict=True)
        if noted is _NEW
    ]
    _ANSWER.run(connection, rows)
    return found


def withdraw(
    connection: sa.Connection, run_id: str, prompt: str, payloads: Sequence[Payload], now: float
) -> list[Noted]:
    """Take answers back, each by its delivery; whoever has read one keeps what they know."""
    asked = _find(connection, run_id, prompt, payloads)
    there = [r for p in payloads if (r := asked.get(p.row_id)) and r.delivery_key == p.delivery_key]
    _WITHDRAW.run(connection, [{"at": request.inbox_id, "why": RECALLED, "now": now} for request in there])
    return [_tell_withdrawn(asked.get(payload.row_id), payload) for payload in payloads]


def _find(connection: sa.Connection, run_id: str, prompt: str, payloads: Sequence[Payload]) -> dict[str, sa.Row[Any]]:
    query = sa.select(_C.inbox_id, _C.row_id, _C.state, _C.delivery_key, _C.read_at)
    query = query.where(_C.run_id.in_(list_retried(connection, run_id)), _C.prompt == prompt).with_for_update()
    return {
        row.row_id: row
        for some in batched([payload.row_id for payload in payloads])
        for row in connection.execute(query.where(_C.row_id.in_(some)))
    }


_NEW = Noted(is_done=True, detail="answered")


def _judge(request: sa.Row[Any] | None, payload: Payload, run_id: str) -> Noted:
    if request is None:
        return Noted(is_done=False, detail=f"no request is run {run_id}'s to answer: another run has taken it over")
    if request.state != InboxState.ANSWERED:
        return _NEW
    if request.delivery_key == payload.delivery_key:
        return Noted(is_done=True, detail="these bytes had answered it already")
    return Noted(is_done=False, detail="it was answered otherwise before, and the first answer stays")


def _tell_withdrawn(request: sa.Row[Any] | None, payload: Payload) -> Noted:
    if request is None or request.delivery_key != payload.delivery_key:
        return Noted(is_done=True, detail="it was not there any more")
    if request.read_at is None:
        return Noted(is_done=True, detail="taken back before whoever asked had read it")
    read_at = datetime.fromtimestamp(request.read_at, UTC)
    return Noted(is_done=True, detail=f"taken back; whoever asked had read it, first at {read_at:%Y-%m-%d %H:%M} UTC")


_AT = _C.inbox_id == sa.bindparam("at")
_ANSWER = Prepared(
    sa.update(inbox)
    .where(_AT)
    .values(
        state=sa.literal_column("'answered'"),
        answer=sa.bindparam("text"),
        delivery_key=sa.bindparam("key"),
        settled_at=sa.bindparam("now"),
        reason=sa.null(),
        read_at=sa.null(),
        # It has an answer again: the same row, handed in once more, is to find it.
        purged_at=sa.null(),
    )
)
_WITHDRAW = Prepared(
    sa.update(inbox)
    .where(_AT)
    .values(
        state=sa.literal_column("'closed'"),
        answer=sa.null(),
        delivery_key=sa.null(),
        settled_at=sa.bindparam("now"),
        reason=sa.bindparam("why"),
    )
)
