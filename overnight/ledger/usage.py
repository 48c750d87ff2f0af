"""What requests have taken so far, all of their attempts together: the ground of every estimate."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from overnight.ledger.completions import rows_of
from overnight.ledger.schema import attempts, requests

#: Attempts that are looked through, newest first.
_N_ATTEMPTS = 20_000


@dataclass(frozen=True)
class RequestUsage:
    """What one answered request took, failed and repeated attempts included."""

    n_calls: int
    input_tokens: int
    output_tokens: int
    #: None where a price is not known.
    cost_usd: float | None


def sample_usage(connection: sa.Connection, prompt_hash: str, limit: int = 1000) -> list[RequestUsage]:
    """The newest answered requests of a prompt, as the ledger counted them."""
    a = attempts.c
    newest = sa.select(a.request_key, a.attempt_id).where(a.outcome == "accepted")
    of_late = newest.order_by(a.attempt_id.desc()).limit(_N_ATTEMPTS).subquery()
    query = sa.select(of_late.c.request_key).join(requests, requests.c.request_key == of_late.c.request_key)
    query = query.where(requests.c.prompt_hash == prompt_hash).order_by(of_late.c.attempt_id.desc()).limit(limit)
    keys = list(connection.execute(query).scalars())
    sums = sa.select(
        a.request_key,
        sa.func.count().label("n_calls"),
        sa.func.coalesce(sa.func.sum(a.input_tokens), 0).label("input_tokens"),
        sa.func.coalesce(sa.func.sum(a.output_tokens), 0).label("output_tokens"),
        sa.func.sum(a.cost_usd).label("cost_usd"),
    ).where(a.outcome != "unsent")
    found = rows_of(connection, sums.group_by(a.request_key), a.request_key, keys)
    return [RequestUsage(r.n_calls, r.input_tokens, r.output_tokens, r.cost_usd) for r in found]
