"""What is settled: answers that were accepted, and requests that were refused for good; at most one of a key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from overnight.failures import LedgerRefused
from overnight.keys import digest_bytes
from overnight.ledger.batching import batched
from overnight.ledger.prepared import Prepared, insert
from overnight.ledger.schema import attempts, completions, quarantines, to_bytes


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
            "output_digest": to_bytes(digest_bytes(c.output.encode())),
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
            "output_digest": None if r.output is None else to_bytes(digest_bytes(r.output.encode())),
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
    c = completions.c
    query = sa.select(c.request_key, c.attempt_id, c.output, c.output_digest, c.model)
    found: dict[str, Completion] = {}
    for row in rows_of(connection, query, c.request_key, keys):
        _verify(row)
        found[row.request_key] = Completion(row.attempt_id, row.output, row.model)
    return found


def find_refusals(connection: sa.Connection, keys: Sequence[str]) -> dict[str, Refusal]:
    """
    The final refusals among the keys.

    Raises:
        LedgerRefused: A recorded answer is not the one that was refused.
    """
    c, found = quarantines.c, dict[str, Refusal]()
    for row in rows_of(connection, _REFUSALS, c.request_key, keys):
        if row.output is not None and row.output_digest is not None:
            _verify(row)
        found[row.request_key] = Refusal(row.attempt_id, row.failure_class, row.rule, row.reason, row.output, row.model)
    return found


def find_settled(connection: sa.Connection, keys: Sequence[str]) -> set[str]:
    """The keys that have an answer or a final refusal."""
    found: set[str] = set()
    for some in batched(keys):
        found.update(connection.execute(_SETTLED, {"keys": list(some)}).scalars())
    return found


def _verify(row: sa.Row[Any]) -> None:
    if digest_bytes(row.output.encode()) != row.output_digest:
        raise LedgerRefused(
            f"The answer of request {row.request_key[:12]} was altered in the ledger. Restore it from a backup."
        )


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
_REFUSALS = sa.select(quarantines, attempts.c.model).join(attempts, attempts.c.attempt_id == quarantines.c.attempt_id)
_KEYS: sa.BindParameter[Any] = sa.bindparam("keys", expanding=True)
_SETTLED = sa.union_all(
    sa.select(completions.c.request_key).where(completions.c.request_key.in_(_KEYS)),
    sa.select(quarantines.c.request_key).where(quarantines.c.request_key.in_(_KEYS)),
)
