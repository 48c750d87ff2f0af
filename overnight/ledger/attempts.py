"""Requests, the attempts to have them answered, and what was accepted or refused for good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from overnight.failures import LedgerRefused
from overnight.keys import canonical_json, digest_bytes
from overnight.ledger.batching import batched
from overnight.ledger.bodies import Body, record_bodies
from overnight.ledger.schema import attempts, completions, prompts, quarantines, requests
from overnight.records import Prompt, Reply


@dataclass(frozen=True)
class Completion:
    """The accepted answer for a request key."""

    attempt_id: int
    #: Canonical JSON.
    output: str


@dataclass(frozen=True)
class Refusal:
    """Why a request's answer was refused for good."""

    attempt_id: int
    failure_class: str
    rule: str | None
    reason: str
    #: The answer as canonical JSON, where one was understood.
    output: str | None


@dataclass(frozen=True)
class Opening:
    """A request that is about to be sent."""

    key: str
    prompt_hash: str
    input_json: str
    #: The exact bytes that will be sent.
    body: Body
    run_id: str
    opened_at: float
    #: What the budget sets aside for it; None where nothing is.
    reserved_usd: float | None = None


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
    cost_usd: float | None = None
    #: The answer as canonical JSON, where it becomes the completion of the key.
    output: str | None = None
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


def open_attempts(connection: sa.Connection, openings: Sequence[Opening]) -> list[int | None]:
    """Record that requests are about to be sent; each attempt's id, None where the key is settled already."""
    keys = [o.key for o in openings]
    settled = {key for c in (completions.c, quarantines.c) for key in _keys_among(connection, c.request_key, keys)}
    opened = [o for o in openings if o.key not in settled]
    if not opened:
        return [None for _ in openings]
    record_bodies(connection, [o.body for o in opened])
    connection.execute(_ADD_REQUEST, [_request_values(o) for o in opened])
    numbers = Counter(_keys_among(connection, attempts.c.request_key, [o.key for o in opened]))
    rows: list[dict[str, Any]] = []
    for o in opened:
        numbers[o.key] += 1
        rows.append(
            {
                "request_key": o.key,
                "run_id": o.run_id,
                "number": numbers[o.key],
                "opened_at": o.opened_at,
                "outcome": "open",
                "reserved_usd": o.reserved_usd,
            }
        )
    ids = iter(connection.execute(_ADD_ATTEMPT, rows).scalars().all())
    return [None if o.key in settled else next(ids) for o in openings]


def close_attempts(connection: sa.Connection, closings: Sequence[Closing]) -> list[None]:
    """Record how open attempts ended, with the completions and refusals that follow; a key's first one stays."""
    record_bodies(connection, [c.body for c in closings if c.body])
    connection.execute(_CLOSE_ATTEMPT, [_closing_values(c) for c in closings])
    if accepted := [c for c in closings if c.output is not None]:
        accept(connection, [(c.key, c.attempt_id, c.output or "") for c in accepted], closings[0].closed_at)
    if refused := [_refusal_values(c.key, c.refusal, c.closed_at) for c in closings if c.refusal]:
        connection.execute(_ADD_REFUSAL, refused)
    return [None for _ in closings]


def accept(connection: sa.Connection, answers: Sequence[tuple[str, int, str]], now: float) -> None:
    """Make each answer (key, attempt, output) the completion of its key; the first one stays."""
    rows = [
        {
            "request_key": key,
            "attempt_id": attempt_id,
            "output": output,
            "output_digest": digest_bytes(output.encode()),
            "accepted_at": now,
        }
        for key, attempt_id, output in answers
    ]
    connection.execute(_ADD_COMPLETION, rows)


def find_completions(connection: sa.Connection, keys: Sequence[str]) -> dict[str, Completion]:
    """
    The accepted answers among the keys.

    Raises:
        LedgerRefused: A recorded answer is not the one that was accepted.
    """
    c = completions.c
    query = sa.select(c.request_key, c.attempt_id, c.output, c.output_digest)
    found: dict[str, Completion] = {}
    for row in _rows_of(connection, query, c.request_key, keys):
        if digest_bytes(row.output.encode()) != row.output_digest:
            raise LedgerRefused(
                f"The answer of request {row.request_key[:12]} was altered in the ledger. Restore it from a backup."
            )
        found[row.request_key] = Completion(row.attempt_id, row.output)
    return found


def find_refusals(connection: sa.Connection, keys: Sequence[str]) -> dict[str, Refusal]:
    """The final refusals among the keys."""
    c = quarantines.c
    query = sa.select(c.request_key, c.attempt_id, c.failure_class, c.rule, c.reason, c.output)
    return {
        row.request_key: Refusal(row.attempt_id, row.failure_class, row.rule, row.reason, row.output)
        for row in _rows_of(connection, query, c.request_key, keys)
    }


def _rows_of(
    connection: sa.Connection, query: sa.Select[Any], column: sa.ColumnElement[Any], keys: Sequence[str]
) -> list[sa.Row[Any]]:
    rows: list[sa.Row[Any]] = []
    for some in batched(keys):
        rows += connection.execute(query.where(column.in_(some))).all()
    return rows


def _keys_among(connection: sa.Connection, column: sa.ColumnElement[Any], keys: Sequence[str]) -> list[str]:
    return [row[0] for row in _rows_of(connection, sa.select(column), column, keys)]


def _request_values(opening: Opening) -> dict[str, Any]:
    return {
        "request_key": opening.key,
        "prompt_hash": opening.prompt_hash,
        "input": opening.input_json,
        "body": opening.body.digest,
        "recorded_at": opening.opened_at,
    }


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


def _refusal_values(key: str, refusal: Refusal, now: float) -> dict[str, Any]:
    return vars(refusal) | {"request_key": key, "recorded_at": now}


# Statements are made once: building one, and SQLAlchemy's key of it, costs more than running it.
_ADD_REQUEST = insert(requests).on_conflict_do_nothing()
_ADD_ATTEMPT = sa.insert(attempts).returning(attempts.c.attempt_id, sort_by_parameter_order=True)
_ADD_COMPLETION = insert(completions).on_conflict_do_nothing()
_ADD_REFUSAL = insert(quarantines).on_conflict_do_nothing()
_NOT_CLOSED = {"attempt_id", "request_key", "run_id", "number", "opened_at", "reserved_usd"}
_CLOSE_ATTEMPT = (
    sa.update(attempts)
    .where(attempts.c.attempt_id == sa.bindparam("at"))
    .values({c.name: sa.bindparam(c.name) for c in attempts.c if c.name not in _NOT_CLOSED})
)
