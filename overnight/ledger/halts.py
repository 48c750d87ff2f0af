"""Halts: that a run stops, and why, as every process that works on it hears it."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from overnight.failures import CallFailed
from overnight.ledger.prepared import insert
from overnight.ledger.schema import halts, runs
from overnight.taxonomy import FailureClass


def record_halt(connection: sa.Connection, run_id: str, failure: CallFailed, now: float) -> None:
    """Let all hear it; the first reason stays. A run that was never begun has nobody to tell."""
    values = [sa.literal(v) for v in (str(failure.failure_class), str(failure), now)]
    begun = sa.select(runs.c.run_id, *values).where(runs.c.run_id == run_id)
    names = ["run_id", "failure_class", "message", "halted_at"]
    connection.execute(insert(halts).from_select(names, begun).on_conflict_do_nothing())


def clear_halt(connection: sa.Connection, run_id: str) -> None:
    """A new pass begins: what stopped the one before it may be mended."""
    connection.execute(sa.delete(halts).where(halts.c.run_id == run_id))


def find_halts(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, CallFailed]:
    """Those of the runs that stop, and what with."""
    found = connection.execute(sa.select(halts).where(halts.c.run_id.in_(run_ids)))
    return {row.run_id: CallFailed(FailureClass(row.failure_class), row.message) for row in found}
