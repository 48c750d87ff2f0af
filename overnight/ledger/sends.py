"""What a run has sent for a request in vain: the budget of its attempts, whoever begins anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from overnight.ledger.completions import rows_of
from overnight.ledger.schema import attempts


@dataclass(frozen=True)
class Sends:
    """What one run has sent for a request so far, and how the last of it failed."""

    #: By failure class; "open" counts those that never came back.
    n_failed: Counter[str] = field(default_factory=Counter)
    failure_class: str | None = None
    message: str | None = None
    closed_at: float | None = None
    #: Of the last reply, as canonical JSON.
    headers: str | None = None


def find_sends(connection: sa.Connection, run_id: str, keys: Sequence[str]) -> dict[str, Sends]:
    """What the run has sent in vain for each of the keys that it has sent."""
    c = attempts.c
    query = sa.select(c.request_key, c.outcome, c.failure_class, c.message, c.closed_at, c.headers)
    query = query.where(c.run_id == run_id, c.outcome.in_(["open", "failed"])).order_by(c.attempt_id)
    found: dict[str, list[sa.Row[Any]]] = {}
    for row in rows_of(connection, query, c.request_key, keys):
        found.setdefault(row.request_key, []).append(row)
    return {key: _count(rows) for key, rows in found.items()}


def _count(rows: Iterable[sa.Row[Any]]) -> Sends:
    counts: Counter[str] = Counter()
    for last in rows:
        counts[last.failure_class or last.outcome] += 1
    return Sends(counts, last.failure_class, last.message, last.closed_at, last.headers)
