"""A provider batch of a run, as the ledger tells it; no provider has it."""

from __future__ import annotations

import time
import uuid
from typing import Any

import sqlalchemy as sa

from overnight.ledger import Ledger
from overnight.ledger.provider_batch_packing import begin_batch
from overnight.ledger.provider_batch_schema import provider_batches
from overnight.records import BatchState


def record_batch(ledger: Ledger, run_id: str, state: BatchState = BatchState.SUBMITTED, **facts: Any) -> str:
    """A provider batch in this state; what it is called."""
    batch_id, worker, now = uuid.uuid4().hex[:16], ledger.register(60.0), time.time()
    whose = {"run_id": run_id, "model": "openai:gpt-fake", "endpoint": "http://127.0.0.1:9/v1"}
    ledger.write(lambda c: begin_batch(c, batch_id=batch_id, packed_by=worker, now=now, **whose))
    move_batch(ledger, batch_id, state, **{"n_items": 4, "submitting_at": now} | facts)
    return batch_id


def move_batch(ledger: Ledger, batch_id: str, state: BatchState, **facts: Any) -> None:
    """Have the provider batch stand elsewhere."""
    change = sa.update(provider_batches).where(provider_batches.c.batch_id == batch_id)
    ledger.write(lambda c: c.execute(change.values(state=state, **facts)))
