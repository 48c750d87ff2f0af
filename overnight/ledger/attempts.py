"""Requests, and the attempts to have them answered: opened before each send, closed after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from overnight.keys import canonical_json
from overnight.ledger.bodies import Body, record_bodies
from overnight.ledger.completions import Completion, Refusal, accept, find_settled, refuse, rows_of
from overnight.ledger.schema import attempts, prompts, requests
from overnight.ledger.spend import Cap, Shortfall, reserve, settle
from overnight.records import Prompt, Reply


@dataclass(frozen=True)
class Opening:
    """A request that is about to be sent."""

    key: str
    prompt_hash: str
    input_json: str
    #: The exact bytes of the request as it is first asked.
    body: Body
    run_id: str
    opened_at: float
    #: What is set aside for it.
    reserved_usd: float = 0.0
    caps: tuple[Cap, ...] = ()
    #: Why it is sent.
    cause: str = "first"
    #: The bytes that are sent, where they are others.
    sent: Body | None = None
    #: PROVIDER:NAME and endpoint, where another model than the prompt's is asked.
    model: str | None = None
    endpoint: str | None = None


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


def record_prompt(connection: sa.Connection, prompt: Prompt, now: float) -> None:
    """Keep the prompt under its hash."""
    row = {
        "prompt_hash": prompt.prompt_hash,
        "name": prompt.name,
        "text": prompt.text,
        "schema": prompt.schema,
        "model": prompt.model,
        "endpoint": prompt.endpoint,
        "parameters": canonical_json(dict(prompt.parameters)).decode(),
        "recorded_at": now,
    }
    connection.execute(insert(prompts).on_conflict_do_nothing(), row)


def open_attempts(connection: sa.Connection, openings: Sequence[Opening]) -> list[int | Shortfall | None]:
    """
    Set the money aside and record that requests are about to be sent.

    Returns:
        For each the attempt's id, None where its key is settled already, or why no cap leaves room for it.
    """
    settled = find_settled(connection, [o.key for o in openings])
    wanted = [o for o in openings if o.key not in settled]
    short = dict(zip(map(id, wanted), reserve(connection, [(o.caps, o.reserved_usd) for o in wanted]), strict=True))
    opened = [o for o in wanted if short[id(o)] is None]
    ids = iter(_record_openings(connection, opened))
    return [None if o.key in settled else short[id(o)] or next(ids) for o in openings]


def close_attempts(connection: sa.Connection, closings: Sequence[Closing]) -> list[None]:
    """Record how open attempts ended, what they cost, and what follows; a key's first answer stays."""
    record_bodies(connection, [c.body for c in closings if c.body])
    connection.execute(_CLOSE_ATTEMPT, [_closing_values(c) for c in closings])
    settle(connection, [(c.caps, c.reserved_usd, _booked_usd(c)) for c in closings])
    if accepted := [(c.key, c.completion) for c in closings if c.completion]:
        accept(connection, accepted, closings[0].closed_at)
    if refused := [(c.key, c.refusal) for c in closings if c.refusal]:
        refuse(connection, refused, closings[0].closed_at)
    return [None for _ in closings]


def _record_openings(connection: sa.Connection, opened: Sequence[Opening]) -> Sequence[int]:
    if not opened:
        return []
    record_bodies(connection, [body for o in opened for body in (o.body, o.sent) if body])
    connection.execute(_ADD_REQUEST, [_request_values(o) for o in opened])
    query = sa.select(attempts.c.request_key)
    numbers = Counter(r[0] for r in rows_of(connection, query, attempts.c.request_key, [o.key for o in opened]))
    rows = []
    for o in opened:
        numbers[o.key] += 1
        rows.append(_opening_values(o, numbers[o.key]))
    return connection.execute(_ADD_ATTEMPT, rows).scalars().all()


def _request_values(opening: Opening) -> dict[str, Any]:
    return {
        "request_key": opening.key,
        "prompt_hash": opening.prompt_hash,
        "input": opening.input_json,
        "body": opening.body.digest,
        "recorded_at": opening.opened_at,
    }


def _opening_values(opening: Opening, number: int) -> dict[str, Any]:
    return {
        "request_key": opening.key,
        "run_id": opening.run_id,
        "number": number,
        "opened_at": opening.opened_at,
        "outcome": "open",
        "reserved_usd": opening.reserved_usd,
        "cause": opening.cause,
        "sent": opening.sent.digest if opening.sent else None,
        "model": opening.model,
        "endpoint": opening.endpoint,
    }


def _booked_usd(closing: Closing) -> float:
    if closing.outcome == "unsent":
        return 0.0
    return closing.reserved_usd if closing.cost_usd is None else closing.cost_usd


def _closing_values(closing: Closing) -> dict[str, Any]:
    reply = closing.reply
    usage = reply.usage if reply else None
    return {
        "at": closing.attempt_id,
        "closed_at": closing.closed_at,
        "outcome": closing.outcome,
        "latency_s": closing.latency_s,
        "failure_class": closing.failure_class,
        "message": closing.message,
        "cost_usd": closing.cost_usd,
        "body": closing.body.digest if closing.body else None,
        "status": reply.status if reply else None,
        "model_served": reply.model_served if reply else None,
        "provider_request_id": reply.request_id if reply else None,
        "headers": canonical_json(dict(reply.headers)).decode() if reply else None,
        "stop_reason": reply.stop_reason if reply else None,
        "reasoning": reply.reasoning if reply else None,
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "cache_read_tokens": usage.cache_read_tokens if usage else None,
        "cache_write_tokens": usage.cache_write_tokens if usage else None,
        "reasoning_tokens": usage.reasoning_tokens if usage else None,
    }


# Statements are made once: building one, and SQLAlchemy's key of it, costs more than running it.
_ADD_REQUEST = insert(requests).on_conflict_do_nothing()
_ADD_ATTEMPT = sa.insert(attempts).returning(attempts.c.attempt_id, sort_by_parameter_order=True)
_OPENED = {"attempt_id", "request_key", "run_id", "number", "opened_at", "reserved_usd"}
_OPENED |= {"cause", "model", "endpoint", "sent"}
_CLOSE_ATTEMPT = (
    sa.update(attempts)
    .where(attempts.c.attempt_id == sa.bindparam("at"))
    .values({c.name: sa.bindparam(c.name) for c in attempts.c if c.name not in _OPENED})
)
