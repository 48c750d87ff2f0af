"""The line of a run's report that tells of its shadow; it needs no comparison."""

from __future__ import annotations

import sqlalchemy as sa

from overnight.ledger.shadows import find_shadow
from overnight.records import RunState


def describe_shadow(connection: sa.Connection, run_id: str) -> str | None:
    """The line of the run's shadow in its report; None where it has none."""
    shadow = find_shadow(connection, run_id)
    if shadow is None:
        return None
    if shadow.state == RunState.RUNNING:
        return f"{shadow.run_id} waits: it is asked when the run's own rows are checked."
    return f"{shadow.reason} `overnight diff {run_id} {shadow.run_id}`"
