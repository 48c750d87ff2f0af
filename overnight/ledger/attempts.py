"""Requests, the attempts to have them answered, and what was accepted or refused for good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from overnight.failures import LedgerRefused
from overnight.keys import canonical_json, digest_bytes
from overnight.ledger.bodies import Body, record_bodies
from overnight.ledger.schema import attempts, completions, prompts, quarantines, requests
from overnight.records import Prompt, Reply

#: Keys in one look-up statement.
_KEYS = 500


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
class Closing:
    """How an attempt ended."""

    closed_at: float
    #: "accepted", "failed", or "unsent" where the call was never made.
    outcome: str
    latency_s: float | None = None
    failure_class: str | None = None
    message: str | None = None
    reply: Reply | None = None
    body: Body | None = None
    cost_usd: float | None = None


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


def open_attempt(
    connection: sa.Connection, *, key: str, prompt_hash: str, input_json: str, body: Body, run_id: str, now: float
) -> int:
    """Record that the request is about to be sent, with the bytes that will be; the attempt's id."""
    record_bodies(connection, [body])
    connection.execute(
        insert(requests).on_conflict_do_nothing(),
        {"request_key": key, "prompt_hash": prompt_hash, "input": input_json, "body": body.digest, "recorded_at": now},
    )
    earlier = sa.select(sa.func.count() + 1).where(attempts.c.request_key == key).scalar_subquery()
    values = {"request_key": key, "run_id": run_id, "number": earlier, "opened_at": now, "outcome": "open"}
    statement = sa.insert(attempts).values(values).returning(attempts.c.attempt_id)
    return int(connection.execute(statement).scalar_one())


def close_attempt(connection: sa.Connection, attempt_id: int, closing: Closing) -> None:
    """Record how an open attempt ended."""
    if closing.body:
        record_bodies(connection, [closing.body])
    values: dict[str, Any] = {
        "closed_at": closing.closed_at,
        "outcome": closing.outcome,
        "latency_s": closing.latency_s,
        "failure_class": closing.failure_class,
        "message": closing.message,
        "cost_usd": closing.cost_usd,
        "body": closing.body.digest if closing.body else None,
    }
    if closing.reply:
        values |= _reply_values(closing.reply)
    connection.execute(sa.update(attempts).where(attempts.c.attempt_id == attempt_id).values(values))


def accept(connection: sa.Connection, key: str, attempt_id: int, output: str, now: float) -> None:
    """Make the answer the completion of its key; the first one stays."""
    row = {
        "request_key": key,
        "attempt_id": attempt_id,
        "output": output,
        "output_digest": digest_bytes(output.encode()),
        "accepted_at": now,
    }
    connection.execute(insert(completions).on_conflict_do_nothing(), row)


def refuse(connection: sa.Connection, key: str, refusal: Refusal, now: float) -> None:
    """Remember that the key's answer was refused for good: no call is made for it again."""
    row = {
        "request_key": key,
        "attempt_id": refusal.attempt_id,
        "failure_class": refusal.failure_class,
        "rule": refusal.rule,
        "reason": refusal.reason,
        "output": refusal.output,
        "recorded_at": now,
    }
    connection.execute(insert(quarantines).on_conflict_do_nothing(), row)


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
    for start in range(0, len(keys), _KEYS):
        rows += connection.execute(query.where(column.in_(keys[start : start + _KEYS]))).all()
    return rows


def _reply_values(reply: Reply) -> dict[str, Any]:
    return {
        "status": reply.status,
        "model_served": reply.model_served,
        "provider_request_id": reply.request_id,
        "headers": canonical_json(dict(reply.headers)).decode(),
        "stop_reason": reply.stop_reason,
        "reasoning": reply.reasoning,
        "input_tokens": reply.usage.input_tokens,
        "output_tokens": reply.usage.output_tokens,
        "cache_read_tokens": reply.usage.cache_read_tokens,
        "cache_write_tokens": reply.usage.cache_write_tokens,
        "reasoning_tokens": reply.usage.reasoning_tokens,
    }
