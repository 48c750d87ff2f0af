"""Requests, and the attempts to have them answered: each claimed and opened before it is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import sqlalchemy as sa

from overnight.failures import LedgerRefused
from overnight.keys import canonical_json
from overnight.ledger.bodies import Body, record_bodies
from overnight.ledger.columns import to_bytes
from overnight.ledger.completions import find_settled, rows_of
from overnight.ledger.leases import Worker, claim, find_packed, give_up
from overnight.ledger.prepared import Prepared, insert
from overnight.ledger.schema import attempts, prompts, requests
from overnight.ledger.spend import Cap, Shortfall, reserve, take_turn
from overnight.ledger.trace_schema import purged_answers
from overnight.records import Prompt


class NotOpened(Enum):
    """Why an attempt was not opened, though there is money for it."""

    #: Its key has an answer, or a final refusal.
    SETTLED = "settled"
    #: Another worker is asking it.
    ELSEWHERE = "elsewhere"
    #: It stands in a provider batch: its answer comes within a day, or has come and is to be taken.
    IN_BATCH = "in_batch"


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


def open_attempts(
    connection: sa.Connection, worker: Worker, openings: Sequence[Opening]
) -> list[int | Shortfall | NotOpened]:
    """
    Claim requests, set the money aside for them, and record that they are about to be sent.

    Returns:
        For each the attempt's id, or why there is none.

    Raises:
        LedgerRefused: A request was answered once, and its answer is lost.
    """
    take_turn(connection, (cap for o in openings for cap in o.caps))
    first: dict[str, Opening] = {}
    for o in openings:
        first.setdefault(o.key, o)
    ids = {key: worker.make_attempt_id() for key in first}
    claimed = claim(connection, worker, ids)
    settled = find_settled(connection, list(first))
    wanted = [key for key in first if key in claimed and key not in settled]
    short = reserve(connection, [(first[key].caps, first[key].reserved_usd) for key in wanted])
    opened = [key for key, why in zip(wanted, short, strict=True) if why is None]
    _record_openings(connection, [(first[key], ids[key]) for key in opened])
    give_up(connection, [(key, ids[key]) for key in claimed.difference(opened)])
    results: dict[str, int | Shortfall | NotOpened] = dict.fromkeys(first, NotOpened.ELSEWHERE)
    lost = [key for key in first if key not in claimed and key not in settled]
    results |= dict.fromkeys(find_packed(connection, worker, lost) if lost else (), NotOpened.IN_BATCH)
    results |= {key: why for key, why in zip(wanted, short, strict=True) if why is not None}
    results |= dict.fromkeys(settled, NotOpened.SETTLED)
    results |= {key: ids[key] for key in opened}
    # Of one request that stands here twice, the second is somebody else's.
    elsewhere = NotOpened.ELSEWHERE
    return [results[o.key] if first[o.key] is o or o.key in settled else elsewhere for o in openings]


def _record_openings(connection: sa.Connection, opened: Sequence[tuple[Opening, int]]) -> None:
    record_bodies(connection, [body for o, _ in opened for body in (o.body, o.sent) if body])
    n_new = _ADD_REQUEST.run(connection, [_request_values(o) for o, _ in opened])
    if n_new < len(opened):
        _refuse_lost(connection, [o.key for o, _ in opened])
    _ADD_ATTEMPT.run(connection, [_opening_values(o, attempt_id) for o, attempt_id in opened])


def _refuse_lost(connection: sa.Connection, keys: Sequence[str]) -> None:
    """None of the keys is settled: where an attempt was accepted all the same, the ledger is not whole."""
    c = purged_answers.c
    was_purged = sa.exists().where(c.request_key == attempts.c.request_key, c.purged_at >= attempts.c.closed_at)
    query = sa.select(attempts.c.request_key).where(attempts.c.outcome == "accepted", ~was_purged)
    if lost := rows_of(connection, query, attempts.c.request_key, keys):
        raise LedgerRefused(
            f"Request {lost[0].request_key[:12]} was answered, and the ledger has lost its answer: it is damaged."
            " Restore it from a backup."
        )


def _request_values(opening: Opening) -> Mapping[str, Any]:
    return {
        "request_key": to_bytes(opening.key),
        "prompt_hash": to_bytes(opening.prompt_hash),
        "input": opening.input_json,
        "body": to_bytes(opening.body.digest),
        "recorded_at": opening.opened_at,
    }


def _opening_values(opening: Opening, attempt_id: int) -> Mapping[str, Any]:
    return {
        "attempt_id": attempt_id,
        "request_key": to_bytes(opening.key),
        "run_id": opening.run_id,
        "opened_at": opening.opened_at,
        "outcome": "open",
        "reserved_usd": opening.reserved_usd,
        "cause": opening.cause,
        "sent": to_bytes(opening.sent.digest) if opening.sent else None,
        "model": opening.model,
        "endpoint": opening.endpoint,
    }


_REQUESTED = ("request_key", "prompt_hash", "input", "body", "recorded_at")
_NEW_REQUEST = insert(requests).values({n: sa.bindparam(n) for n in _REQUESTED})
#: One whose texts were dropped has them again.
_ADD_REQUEST = Prepared(
    _NEW_REQUEST.on_conflict_do_update(
        index_elements=["request_key"],
        set_={"input": _NEW_REQUEST.excluded.input, "purged_at": sa.null()},
        where=requests.c.purged_at.is_not(None),
    )
)
_OPENED = ("attempt_id", "request_key", "run_id", "opened_at", "outcome", "reserved_usd", "cause", "sent", "model")
_ADD_ATTEMPT = Prepared(sa.insert(attempts).values({n: sa.bindparam(n) for n in (*_OPENED, "endpoint")}))
