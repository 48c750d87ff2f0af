"""How long calls have taken."""

from __future__ import annotations

import sqlalchemy as sa

from overnight.ledger.schema import attempts, prompts, requests, run_prompts


def sample_latencies(connection: sa.Connection, run_id: str, limit: int = 200) -> list[float]:
    """Of the newest calls to the models that the run asks, in seconds."""
    models = sa.select(run_prompts.c.model).where(run_prompts.c.run_id == run_id, run_prompts.c.model.is_not(None))
    query = (
        sa.select(attempts.c.latency_s)
        .join(requests, requests.c.request_key == attempts.c.request_key)
        .join(prompts, prompts.c.prompt_hash == requests.c.prompt_hash)
        .where(prompts.c.model.in_(models), attempts.c.latency_s.is_not(None), attempts.c.outcome == "accepted")
        .order_by(attempts.c.attempt_id.desc())
        .limit(limit)
    )
    return list(connection.execute(query).scalars())
