"""The history of one request: its prompt, every attempt, its answer, and what was made of it afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.failures import LedgerRefused
from overnight.keys import prompt_hash, request_key
from overnight.ledger.bodies import find_body
from overnight.ledger.provider_batch_progress import list_items_of
from overnight.ledger.queries import as_dict
from overnight.ledger.schema import attempts, completions, prompts, quarantines, requests
from overnight.ledger.trace_schema import purged_answers, readings, replays

#: Versions of a prompt that are looked at for the same input.
_N_VERSIONS = 20


def find_request(connection: sa.Connection, key: str) -> dict[str, Any] | None:
    """
    Everything that is known of a request: its prompt, its attempts in full, its answer, what was done with it since.

    What a purge has dropped is None beside its digest.

    Raises:
        LedgerRefused: Its input, prompt or a body is not what was recorded.
    """
    of_prompt = (prompts.c[n] for n in ("name", "text", "schema", "model", "endpoint", "parameters"))
    query = sa.select(requests, *of_prompt, prompts.c.recorded_at.label("prompt_recorded_at"))
    query = query.join(prompts, prompts.c.prompt_hash == requests.c.prompt_hash)
    row = connection.execute(query.where(requests.c.request_key == key)).one_or_none()
    if row is None:
        return None
    found = as_dict(row)
    _verify(found)
    found["request_digest"] = found.pop("body")
    found["request"] = read_text(connection, found["request_digest"])
    order = (attempts.c.opened_at, attempts.c.attempt_id)
    found["attempts"] = [
        _attempt(connection, a) | {"number": n} for n, a in enumerate(_all(connection, attempts, key, *order), 1)
    ]
    packed = {i["attempt_id"]: i for i in list_items_of(connection, key)}
    found["attempts"] = [a | {"provider_batch": packed.get(a["attempt_id"])} for a in found["attempts"]]
    found["completion"] = _first(connection, completions, key)
    found["quarantine"] = _first(connection, quarantines, key)
    found["purged_answer"] = _first(connection, purged_answers, key)
    found["replays"] = [_replay(connection, r) for r in _all(connection, replays, key, replays.c.opened_at)]
    found["readings"] = _all(connection, readings, key, readings.c.reading_id)
    found["versions"] = _list_versions(connection, found)
    return found


def read_text(connection: sa.Connection, digest: str | None) -> str | None:
    """A body as text; None where there is none, or where it was dropped."""
    data = find_body(connection, digest) if digest else None
    return None if data is None else data.decode(errors="replace")


def _list_versions(connection: sa.Connection, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The prompt under other hashes, newest first, each with what it made of the same input, where it was asked."""
    c = prompts.c
    query = sa.select(c.prompt_hash, c.model, c.endpoint, c.parameters, c.recorded_at)
    query = query.where(c.name == request["name"], c.prompt_hash != request["prompt_hash"])
    rows = connection.execute(query.order_by(c.recorded_at.desc()).limit(_N_VERSIONS))
    return [_version(connection, as_dict(row), request) for row in rows]


def _version(connection: sa.Connection, version: dict[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    version["is_newer"] = version["recorded_at"] > request["prompt_recorded_at"]
    # Of an input that was dropped no key can be made.
    key = None if request["input"] == "" else request_key(request["input"], version["prompt_hash"])
    version["request_key"] = key
    version["completion"] = _first(connection, completions, key) if key else None
    version["quarantine"] = _first(connection, quarantines, key) if key else None
    return version


def _verify(request: dict[str, Any]) -> None:
    parts = ("text", "schema", "model", "endpoint")
    try:
        hashed = prompt_hash(**{n: request[n] for n in parts}, parameters=orjson.loads(request["parameters"]))
    except orjson.JSONDecodeError:
        hashed = ""
    if hashed != request["prompt_hash"]:
        raise _altered("prompt", request["request_key"])
    is_purged = request["purged_at"] is not None and request["input"] == ""
    if not is_purged and request_key(request["input"], hashed) != request["request_key"]:
        raise _altered("input", request["request_key"])


def _altered(what: str, key: str) -> LedgerRefused:
    return LedgerRefused(f"The {what} of request {key[:12]} was altered in the ledger. Restore it from a backup.")


def _attempt(connection: sa.Connection, attempt: dict[str, Any]) -> dict[str, Any]:
    answered, sent = attempt.pop("body"), attempt.pop("sent")
    return attempt | {
        "response": read_text(connection, answered),
        "response_digest": answered,
        "headers": orjson.loads(attempt["headers"] or "{}"),
        #: Where other bytes than the request's were sent.
        "sent": read_text(connection, sent),
        "sent_digest": sent,
    }


def _replay(connection: sa.Connection, replay: dict[str, Any]) -> dict[str, Any]:
    sent, answered = replay.pop("sent"), replay.pop("body")
    return replay | {
        "sent": read_text(connection, sent),
        "sent_digest": sent,
        "response": read_text(connection, answered),
        "response_digest": answered,
    }


def _first(connection: sa.Connection, table: sa.Table, key: str) -> dict[str, Any] | None:
    return next(iter(_all(connection, table, key)), None)


def _all(connection: sa.Connection, table: sa.Table, key: str, *order: sa.Column[Any]) -> list[dict[str, Any]]:
    query = sa.select(table).where(table.c.request_key == key).order_by(*order)
    return [as_dict(row) for row in connection.execute(query)]
