"""Halts: that a pass of a run stops, and why, as every process that works on it hears it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import sqlalchemy as sa

from overnight.failures import CallFailed
from overnight.ledger.prepared import insert
from overnight.ledger.schema import attempts, halts, passes, runs
from overnight.taxonomy import FailureClass


def record_halt(connection: sa.Connection, run_id: str, pass_id: int, failure: CallFailed, now: float) -> None:
    """Let all hear it; the first reason of a pass stays. A run that was never begun has nobody to tell."""
    values = [sa.literal(v) for v in (pass_id, str(failure.failure_class), str(failure), now)]
    begun = sa.select(runs.c.run_id, *values).where(runs.c.run_id == run_id)
    names = ["run_id", "pass_id", "failure_class", "message", "halted_at"]
    connection.execute(insert(halts).from_select(names, begun).on_conflict_do_nothing())


def clear_halt(connection: sa.Connection, run_id: str, pass_id: int) -> None:
    """The pass begins; what stopped the ones before it stays, for processes that still work on those."""
    connection.execute(sa.delete(halts).where(halts.c.run_id == run_id, halts.c.pass_id == pass_id))


def find_halts(connection: sa.Connection, run_ids: Sequence[str]) -> dict[tuple[str, int], CallFailed]:
    """The passes of these runs that stop, each run's in their order, and what with."""
    found = connection.execute(sa.select(halts).where(halts.c.run_id.in_(run_ids)).order_by(halts.c.pass_id))
    return {(row.run_id, row.pass_id): CallFailed(FailureClass(row.failure_class), row.message) for row in found}


def find_blameless(connection: sa.Connection, run_id: str, line: str, n_in_flight: int) -> set[str]:
    """
    The requests that failed with the bad request that halted the run, in whichever process, where it is no row's fault.

    That is where nothing was answered in this pass since the first of them but what was in flight then.

    Args:
        connection: To the ledger.
        run_id: The run.
        line: What it halted with; it ends with what the provider said.
        n_in_flight: Calls of all processes together.
    """
    a, p = attempts.c, passes.c
    begun = sa.select(sa.func.max(p.started_at)).where(p.run_id == run_id).scalar_subquery()
    of_pass = (a.run_id == run_id) & (a.opened_at >= begun)
    query = sa.select(a.request_key, a.message, a.closed_at).where(of_pass, a.failure_class == FailureClass.BAD_REQUEST)
    same = [row for row in connection.execute(query) if name_group(line).endswith(name_group(row.message or ""))]
    if not same:
        return set()
    since = (a.outcome == "accepted") & (a.closed_at > min(row.closed_at for row in same))
    n_accepted = connection.execute(sa.select(sa.func.count()).select_from(attempts).where(of_pass, since)).scalar_one()
    return {row.request_key for row in same} if n_accepted <= n_in_flight else set()


def name_group(message: str) -> str:
    """What bad requests are told apart by: numbers differ from row to row, lengths and positions."""
    return re.sub(r"\d+", "#", message)
