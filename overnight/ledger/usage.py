"""What requests have taken so far, all of their attempts together: the ground of every estimate."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from overnight.ledger.completions import rows_of
from overnight.ledger.provider_batch_schema import provider_batch_items
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
    #: Of the input tokens, those that the provider read from its cache, or wrote to it.
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    #: Calls that went with a provider batch, at its price.
    n_batch_calls: int = 0


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
        sa.func.coalesce(sa.func.sum(a.cache_read_tokens), 0).label("cache_read_tokens"),
        sa.func.coalesce(sa.func.sum(a.cache_write_tokens), 0).label("cache_write_tokens"),
        sa.func.count(provider_batch_items.c.attempt_id).label("n_batch_calls"),
    )
    of_batches = provider_batch_items.c.attempt_id == a.attempt_id
    sums = sums.outerjoin_from(attempts, provider_batch_items, of_batches).where(a.outcome != "unsent")
    found = rows_of(connection, sums.group_by(a.request_key), a.request_key, keys)
    return [RequestUsage(*r[1:]) for r in found]
