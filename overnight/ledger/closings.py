"""How attempts end, in one commit with what follows: the answer, its cost, the end of the claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from overnight.keys import canonical_json
from overnight.ledger.batching import batched
from overnight.ledger.bodies import Body, record_bodies
from overnight.ledger.columns import to_bytes
from overnight.ledger.completions import Completion, Refusal, accept, find_settled, refuse
from overnight.ledger.leases import find_held, give_up
from overnight.ledger.prepared import Prepared
from overnight.ledger.schema import attempts
from overnight.ledger.spend import Cap, settle, take_turn
from overnight.records import Reply


@dataclass(frozen=True)
class Closing:
    """How an attempt ended, and what follows from it."""

    attempt_id: int
    key: str
    closed_at: float
    #: "accepted", "failed", or "unsent" where the call was never made.
    outcome: str
    latency_s: float | None = None
    failure_class: str | None = None
    message: str | None = None
    reply: Reply | None = None
    body: Body | None = None
    #: None where nobody said: what was set aside counts.
    cost_usd: float | None = None
    reserved_usd: float = 0.0
    caps: tuple[Cap, ...] = ()
    #: Where the answer becomes the completion of the key.
    completion: Completion | None = None
    #: Where the answer is refused for good.
    refusal: Refusal | None = None


def close_attempts(connection: sa.Connection, closings: Sequence[Closing]) -> list[bool]:
    """
    Record how open attempts ended, what they cost, and what follows; a key's first answer stays.

    Returns:
        For each whether it stands: an answer that comes when another worker has taken the request over is kept with
        what it cost, and settles nothing, unless that worker has given the request up without one. An attempt that
        is closed already stays as it is: of a provider batch's, two may have had the answer in hand.
    """
    take_turn(connection, (cap for c in closings for cap in c.caps))
    held = give_up(connection, [(c.key, c.attempt_id) for c in closings])
    over = _find_closed(connection, [c.attempt_id for c in closings if c.attempt_id not in held])
    first: dict[int, Closing] = {}
    for c in closings:
        if c.attempt_id not in over:
            first.setdefault(c.attempt_id, c)
    standing = _close_open(connection, list(first.values()), held)
    return [first.get(c.attempt_id) is c and c.attempt_id in standing for c in closings]


def _close_open(connection: sa.Connection, closings: Sequence[Closing], held: set[int]) -> set[int]:
    """The same for attempts that are open, each once; those that stand."""
    held = held | _find_unclaimed(connection, closings, held)
    record_bodies(connection, [c.body for c in closings if c.body])
    _CLOSE_ATTEMPT.run(connection, [_closing_values(c, is_fenced=c.attempt_id not in held) for c in closings])
    valid = [c for c in closings if c.attempt_id in held]
    if accepted := [(c.key, c.completion) for c in valid if c.completion]:
        accept(connection, accepted, closings[0].closed_at)
    if refused := [(c.key, c.refusal) for c in valid if c.refusal]:
        refuse(connection, refused, closings[0].closed_at)
    settle(connection, [(c.caps, c.reserved_usd, _booked_usd(c)) for c in closings])
    return held


def _find_closed(connection: sa.Connection, attempt_ids: Sequence[int]) -> set[int]:
    """Of attempts that have lost their claim, those that were closed: who has one still is open, and rarely late."""
    c = attempts.c
    query = sa.select(c.attempt_id).where(c.outcome != "open")
    return {
        attempt_id
        for some in batched(attempt_ids)
        for attempt_id in connection.execute(query.where(c.attempt_id.in_(some))).scalars()
    }


def _find_unclaimed(connection: sa.Connection, closings: Sequence[Closing], held: set[int]) -> set[int]:
    """Of attempts that have lost their request, and bring its answer: those whose request nobody asks any more."""
    late = {c.key: c.attempt_id for c in reversed(closings) if c.attempt_id not in held and c.completion}
    if not late:
        return set()
    taken = {c.key for c in closings if c.attempt_id in held}
    taken |= find_held(connection, list(late)) | find_settled(connection, list(late))
    return {attempt_id for key, attempt_id in late.items() if key not in taken}


def _booked_usd(closing: Closing) -> float:
    if closing.outcome == "unsent":
        return 0.0
    return closing.reserved_usd if closing.cost_usd is None else closing.cost_usd


def _closing_values(closing: Closing, *, is_fenced: bool) -> Mapping[str, Any]:
    reply = closing.reply
    usage = reply.usage if reply else None
    return {
        "at": closing.attempt_id,
        "closed_at": closing.closed_at,
        "outcome": "fenced" if is_fenced and closing.outcome != "unsent" else closing.outcome,
        "latency_s": closing.latency_s,
        "failure_class": str(closing.failure_class) if closing.failure_class else None,
        "message": _storable(closing.message),
        "cost_usd": closing.cost_usd,
        "body": to_bytes(closing.body.digest) if closing.body else None,
        "status": reply.status if reply else None,
        "model_served": _storable(reply.model_served) if reply else None,
        "provider_request_id": _storable(reply.request_id) if reply else None,
        "headers": canonical_json(dict(reply.headers)).decode() if reply else None,
        "stop_reason": _storable(reply.stop_reason) if reply else None,
        "reasoning": _storable(reply.reasoning) if reply else None,
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "cache_read_tokens": usage.cache_read_tokens if usage else None,
        "cache_write_tokens": usage.cache_write_tokens if usage else None,
        "reasoning_tokens": usage.reasoning_tokens if usage else None,
    }


def _storable(text: str | None) -> str | None:
    """Postgres has no NUL in a text; the body keeps what was said, byte by byte."""
    return None if text is None else text.replace("\0", "\N{SYMBOL FOR NULL}")


_CLOSED = (
    *("closed_at", "outcome", "latency_s", "failure_class", "message", "cost_usd", "body", "status", "model_served"),
    *("provider_request_id", "headers", "stop_reason", "reasoning", "input_tokens", "output_tokens"),
    *("cache_read_tokens", "cache_write_tokens", "reasoning_tokens"),
)
_CLOSE_ATTEMPT = Prepared(
    sa.update(attempts)
    .where(attempts.c.attempt_id == sa.bindparam("at"))
    .values({name: sa.bindparam(name) for name in _CLOSED})
)
