"""How much waits in the inbox."""

from __future__ import annotations

import sqlalchemy as sa

from overnight.ledger.inbox_schema import inbox
from overnight.records import InboxState


def count_queued(connection: sa.Connection, prompt: str, *, most: int) -> int:
    """The requests to this prompt that no run has taken yet; counted up to `most` and no further."""
    queued = sa.select(sa.literal(1)).where(inbox.c.prompt == prompt, inbox.c.state == InboxState.QUEUED.value)
    return connection.execute(sa.select(sa.func.count()).select_from(queued.limit(most).subquery())).scalar_one()
