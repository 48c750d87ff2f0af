"""Who is asking now: the processes that divide a limit among them."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from overnight.ledger.clock import read_clock
from overnight.ledger.leases import BATCH_CLOCK, Worker, is_free
from overnight.ledger.schema import attempts, claims, leases, prompts, requests

#: Live workers with a request in hand, by their number, and the models that they ask.
AskingNow = Mapping[int, frozenset[str]]


def find_asking(connection: sa.Connection, worker: Worker) -> AskingNow:
    """
    The workers that have claimed a request and live, as far as this one may judge.

    One that is killed counts until it is known to be gone: on this machine that is at once, elsewhere with its lease.
    """
    now, found = read_clock(connection), connection.execute(_HOLDERS).all()
    live = [row for row in found if row.worker_id == worker.worker_id or not is_free(row, worker, now)]
    asked: dict[int, set[str]] = {row.worker_id: set() for row in live}
    # Who is alone divides nothing.
    if asked.keys() - {worker.worker_id}:
        for row in connection.execute(_MODELS):
            if row.worker_id in asked:
                asked[row.worker_id].add(row.model)
    return {worker_id: frozenset(models) for worker_id, models in asked.items()}


_HOLDERS = sa.select(leases.c.worker_id, leases.c.clock, leases.c.until, leases.c.process).where(
    leases.c.worker_id.in_(sa.select(claims.c.worker_id).distinct()),
    # What a provider has been handed for a day takes nothing of a limit.
    leases.c.clock != BATCH_CLOCK,
)
_MODELS = (
    sa.select(claims.c.worker_id, sa.func.coalesce(attempts.c.model, prompts.c.model).label("model"))
    .join(attempts, attempts.c.attempt_id == claims.c.attempt_id)
    .join(requests, requests.c.request_key == claims.c.request_key)
    .join(prompts, prompts.c.prompt_hash == requests.c.prompt_hash)
    .distinct()
)
