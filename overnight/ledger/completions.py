"""What is settled: answers that were accepted, and requests that were refused for good; at most one of a key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from overnight.failures import LedgerRefused
from overnight.keys import answer_digest
from overnight.ledger.batching import batched
from overnight.ledger.columns import to_bytes
from overnight.ledger.prepared import Among, Prepared, insert
from overnight.ledger.schema import attempts, completions, quarantines


@dataclass(frozen=True)
class Completion:
    """The accepted answer for a request key."""

    attempt_id: int
    #: Canonical JSON.
    output: str
    #: Where another model than the prompt's gave it.
    model: str | None = None


@dataclass(frozen=True)
class Refusal:
    """Why a request's answer was refused for good."""

    attempt_id: int
    failure_class: str
    rule: str | None
    reason: str
    #: The answer as canonical JSON, where one was understood.
    output: str | None
    #: Where another model than the prompt's gave it.
    model: str | None = None


def accept(connection: sa.Connection, answers: Sequence[tuple[str, Completion]], now: float) -> None:
    """Make each answer the completion of its key; the first one stays."""
    rows = [
        {
            "request_key": to_bytes(key),
            "attempt_id": c.attempt_id,
            "output": c.output,
            "output_digest": to_bytes(answer_digest(key, c.output, c.model)),
            "accepted_at": now,
            "model": c.model,
        }
        for key, c in answers
    ]
    _ADD_COMPLETION.run(connection, rows)


def refuse(connection: sa.Connection, refusals: Sequence[tuple[str, Refusal]], now: float) -> None:
    """Remember why each key was refused for good; the first reason stays."""
    rows = [
        {
            "request_key": to_bytes(key),
            "attempt_id": r.attempt_id,
            "failure_class": str(r.failure_class),
            "rule": r.rule,
            "reason": r.reason,
            "output": r.output,
            "output_digest": None if r.output is None else to_bytes(answer_digest(key, r.output)),
            "recorded_at": now,
        }
        for key, r in refusals
    ]
    _ADD_REFUSAL.run(connection, rows)


def forget_refusals(connection: sa.Connection, keys: Sequence[str], failure_class: str) -> list[str]:
    """Take back those of the refusals that are the only failure of their kind on their request; their keys."""
    a, c = attempts.c, quarantines.c
    n_failed = sa.select(sa.func.count()).where(a.request_key == c.request_key, a.failure_class == failure_class)
    once = sa.delete(quarantines).where(c.failure_class == failure_class, n_failed.scalar_subquery() == 1)
    forgotten: list[str] = []
    for some in batched(keys):
        forgotten += connection.execute(once.where(c.request_key.in_(some)).returning(c.request_key)).scalars()
    return forgotten


def find_completions(connection: sa.Connection, keys: Sequence[str]) -> dict[str, Completion]:
    """
    The accepted answers among the keys.

    Raises:
        LedgerRefused: A recorded answer is not the one that was accepted.
    """
    found: dict[str, Completion] = {}
    for key, attempt_id, output, digest, model in _COMPLETIONS.find(connection, keys):
        _verify(key.hex(), output, model, digest)
        found[key.hex()] = Completion(attempt_id, output, model)
    return found


def find_refusals(connection: sa.Connection, keys: Sequence[str]) -> dict[str, Refusal]:
    """
    The final refusals among the keys.

    Raises:
        LedgerRefused: A recorded answer is not the one that was refused.
    """
    found: dict[str, Refusal] = {}
    for key, digest, *why in _REFUSALS.find(connection, keys):
        refusal = Refusal(*why)
        _verify(key.hex(), refusal.output, None, digest)
        found[key.hex()] = refusal
    return found


def find_settled(connection: sa.Connection, keys: Sequence[str]) -> set[str]:
    """The keys that have an answer or a final refusal."""
    return {key.hex() for among in _SETTLED for (key,) in among.find(connection, keys)}


def _verify(key: str, output: str | None, model: str | None, digest: bytes | None) -> None:
    # With its key: a damaged index may lead from one key to another's row, whole as it is.
    if (None if output is None else to_bytes(answer_digest(key, output, model))) != digest:
        raise LedgerRefused(f"The answer of request {key[:12]} was altered in the ledger. Restore it from a backup.")


def find_models(connection: sa.Connection, keys: Sequence[str]) -> dict[str, str]:
    """Of the keys whose answer another model than the prompt's gave, that model."""
    query = sa.select(_C.request_key, _C.model).where(_C.model.is_not(None))
    return {row.request_key: row.model for row in rows_of(connection, query, _C.request_key, keys)}


def rows_of(
    connection: sa.Connection, query: sa.Select[Any], column: sa.ColumnElement[Any], keys: Sequence[str]
) -> list[sa.Row[Any]]:
    """The rows of a query whose column is one of the keys."""
    rows: list[sa.Row[Any]] = []
    for some in batched(keys):
        rows += connection.execute(query.where(column.in_(some))).all()
    return rows


_ADD_COMPLETION = Prepared(insert(completions).on_conflict_do_nothing())
_ADD_REFUSAL = Prepared(insert(quarantines).on_conflict_do_nothing())
_C, _Q = completions.c, quarantines.c
_COMPLETIONS = Among(sa.select(_C.request_key, _C.attempt_id, _C.output, _C.output_digest, _C.model), _C.request_key)
_REFUSALS = Among(
    sa.select(
        *(_Q.request_key, _Q.output_digest),
        *(_Q.attempt_id, _Q.failure_class, _Q.rule, _Q.reason, _Q.output, attempts.c.model),
    ).outerjoin(attempts, attempts.c.attempt_id == _Q.attempt_id),
    _Q.request_key,
)
_SETTLED = (Among(sa.select(_C.request_key), _C.request_key), Among(sa.select(_Q.request_key), _Q.request_key))
