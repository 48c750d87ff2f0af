"""What a run has sent for a request in vain: the budget of its attempts, whoever begins anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from overnight.ledger.completions import rows_of
from overnight.ledger.provider_batch_schema import provider_batch_items
from overnight.ledger.schema import attempts

_NEVER_BACK = "The process ended before the answer came; the call may be billed."


@dataclass(frozen=True)
class Sends:
    """What one run has sent for a request so far, and how the last of it failed."""

    #: Each failure in turn: (class, message); "open" for one that never came back.
    failures: tuple[tuple[str, str], ...] = ()
    closed_at: float | None = None
    #: Of the last reply, as canonical JSON.
    headers: str | None = None


def find_sends(connection: sa.Connection, run_id: str, keys: Sequence[str]) -> dict[str, Sends]:
    """What the run has sent in vain for each of the keys that it has sent; what a provider batch holds is not lost."""
    c = attempts.c
    is_packed = sa.exists().where(provider_batch_items.c.attempt_id == c.attempt_id)
    in_vain = (c.outcome == "failed") | ((c.outcome == "open") & ~is_packed)
    query = sa.select(c.request_key, c.outcome, c.failure_class, c.message, c.closed_at, c.headers)
    query = query.where(c.run_id == run_id, in_vain).order_by(c.opened_at, c.attempt_id)
    found: dict[str, list[sa.Row[Any]]] = {}
    for row in rows_of(connection, query, c.request_key, keys):
        found.setdefault(row.request_key, []).append(row)
    return {key: _gather(rows) for key, rows in found.items()}


def _gather(rows: Sequence[sa.Row[Any]]) -> Sends:
    failures = tuple((row.failure_class or row.outcome, row.message or _NEVER_BACK) for row in rows)
    return Sends(failures, rows[-1].closed_at, rows[-1].headers)
