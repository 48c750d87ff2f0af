"""Replays: recorded requests that were sent again to compare; nothing that is offered is read from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from overnight.keys import digest_bytes
from overnight.ledger.attempts import record_prompt
from overnight.ledger.bodies import Body, record_bodies
from overnight.ledger.queries import as_dict
from overnight.ledger.schema import attempts, completions, prompts, quarantines, requests, run_prompts, runs
from overnight.ledger.spend import Cap, Shortfall, reserve, settle, take_turn
from overnight.ledger.trace_schema import purged_answers, replays
from overnight.masking import mask_secrets
from overnight.records import Prompt, Reply

_N_DIGITS = 64


@dataclass(frozen=True)
class ReplayOpening:
    """A recorded request that is about to be sent again."""

    replay_id: str
    request_key: str
    asked_by: str
    #: With its model, endpoint and hash; kept, where it is not the recorded one.
    prompt: Prompt
    sent: Body
    opened_at: float
    reserved_usd: float
    caps: tuple[Cap, ...]


@dataclass(frozen=True)
class ReplayClosing:
    """How a replay ended."""

    opening: ReplayOpening
    closed_at: float
    latency_s: float
    #: None where nobody said: what was set aside counts.
    cost_usd: float | None
    reply: Reply | None
    #: The answer as canonical JSON, where one was understood.
    output: str | None
    failure_class: str | None = None
    message: str | None = None


def open_replay(connection: sa.Connection, opening: ReplayOpening) -> Shortfall | None:
    """Set the money aside and record that the request is about to be sent; why not, where a cap leaves no room."""
    take_turn(connection, opening.caps)
    [short] = reserve(connection, [(opening.caps, opening.reserved_usd)])
    if short:
        return short
    record_prompt(connection, opening.prompt, opening.opened_at)
    record_bodies(connection, [opening.sent])
    row = {
        "replay_id": opening.replay_id,
        "request_key": opening.request_key,
        "asked_by": opening.asked_by,
        "model": opening.prompt.model,
        "endpoint": opening.prompt.endpoint,
        "prompt_hash": opening.prompt.prompt_hash,
        "sent": opening.sent.digest,
        "opened_at": opening.opened_at,
        "outcome": "open",
        "reserved_usd": opening.reserved_usd,
    }
    connection.execute(sa.insert(replays).values(row))
    return None


def close_replay(connection: sa.Connection, closing: ReplayClosing) -> None:
    """Record how a replay ended and what it cost."""
    opening, reply = closing.opening, closing.reply
    take_turn(connection, opening.caps)
    body = _make_masked(reply.body) if reply else None
    record_bodies(connection, [body] if body else [])
    values = {
        "closed_at": closing.closed_at,
        "outcome": "failed" if closing.failure_class else "accepted",
        "failure_class": closing.failure_class,
        "message": _storable(closing.message),
        "output": _storable(closing.output),
        "latency_s": closing.latency_s,
        "cost_usd": closing.cost_usd,
        "body": body.digest if body else None,
        "status": reply.status if reply else None,
        "model_served": _storable(reply.model_served) if reply else None,
        "stop_reason": _storable(reply.stop_reason) if reply else None,
        "reasoning": _storable(reply.reasoning) if reply else None,
        "input_tokens": reply.usage.input_tokens if reply else None,
        "output_tokens": reply.usage.output_tokens if reply else None,
    }
    connection.execute(sa.update(replays).where(replays.c.replay_id == opening.replay_id).values(values))
    booked = opening.reserved_usd if closing.cost_usd is None else closing.cost_usd
    settle(connection, [(opening.caps, opening.reserved_usd, booked)])


def find_keys(connection: sa.Connection, beginning: str, limit: int = 3) -> list[str]:
    """The request keys that begin with these hex digits: all of them, or `limit` of many."""
    c = requests.c.request_key
    between = c.between(beginning.ljust(_N_DIGITS, "0"), beginning.ljust(_N_DIGITS, "f"))
    return list(connection.execute(sa.select(c).where(between).order_by(c).limit(limit)).scalars())


def find_recorded(connection: sa.Connection, key: str) -> dict[str, Any] | None:
    """A request with its prompt, its answer or refusal, and the attempt that this came of."""
    query = sa.select(requests, prompts).join(prompts, prompts.c.prompt_hash == requests.c.prompt_hash)
    row = connection.execute(query.where(requests.c.request_key == key)).one_or_none()
    if row is None:
        return None
    found = as_dict(row)
    done = connection.execute(sa.select(completions).where(completions.c.request_key == key)).one_or_none()
    refused = connection.execute(sa.select(quarantines).where(quarantines.c.request_key == key)).one_or_none()
    settled = done or refused
    found["output"] = settled.output if settled else None
    found["failure_class"], found["reason"] = (
        (refused.failure_class, refused.reason) if refused and not done else (None, None)
    )
    found["attempt"] = _find_attempt(connection, key, settled.attempt_id if settled else None)
    return found


def find_asking_run(connection: sa.Connection, prompt_hash: str, run_id: str | None) -> dict[str, Any] | None:
    """The checks by which a run judged the prompt's answers: of the run given, or of the newest that asked it."""
    c = run_prompts.c
    query = sa.select(c.run_id, c.checks, c.code).join(runs, runs.c.run_id == c.run_id)
    query = query.where(c.prompt_hash == prompt_hash).order_by(runs.c.started_at.desc()).limit(1)
    found = connection.execute(query.where(c.run_id == run_id) if run_id else query).one_or_none()
    return as_dict(found) if found else None


def find_purged_answer(connection: sa.Connection, key: str) -> dict[str, Any] | None:
    """What is left of a purged request's answer."""
    row = connection.execute(sa.select(purged_answers).where(purged_answers.c.request_key == key)).one_or_none()
    return as_dict(row) if row else None


def list_replays(connection: sa.Connection, key: str) -> list[dict[str, Any]]:
    """The replays of a request, oldest first."""
    query = sa.select(replays).where(replays.c.request_key == key).order_by(replays.c.opened_at, replays.c.replay_id)
    return [as_dict(row) for row in connection.execute(query)]


def _find_attempt(connection: sa.Connection, key: str, attempt_id: int | None) -> dict[str, Any] | None:
    """The attempt of this id; where none is known, the last that was sent."""
    c = attempts.c
    query = sa.select(attempts).where(c.request_key == key, c.outcome != "unsent")
    query = query.where(c.attempt_id == attempt_id) if attempt_id is not None else query
    row = connection.execute(query.order_by(c.opened_at.desc(), c.attempt_id.desc()).limit(1)).one_or_none()
    return as_dict(row) if row else None


def _make_masked(data: bytes) -> Body:
    text = data.decode("utf-8", "surrogateescape")
    masked = mask_secrets(text)
    data = data if masked is text else masked.encode("utf-8", "surrogateescape")
    return Body(digest_bytes(data), data)


def _storable(text: str | None) -> str | None:
    """Postgres has no NUL in a text."""
    return None if text is None else mask_secrets(text.replace("\0", "\N{SYMBOL FOR NULL}"))
