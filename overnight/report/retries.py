"""How a run and the retries of its quarantined rows speak of each other."""

from __future__ import annotations

import sqlalchemy as sa

from overnight.ledger.queries import count_rows, get_run
from overnight.ledger.retries import find_retry, list_retries
from overnight.report.reviews import say_count


def describe_retries(connection: sa.Connection, run_id: str) -> tuple[str, ...]:
    """A line where the run retries another's rows, and one for each retry of its own."""
    own = find_retry(connection, run_id)
    n_own = count_rows(connection, run_id)["rows"] if own else 0
    lines = [f"It retries {say_count(n_own, 'row')} that run {own.of_run} had quarantined."] if own else []
    for retry in list_retries(connection, run_id):
        if retry.of_run == run_id:
            n = count_rows(connection, retry.run_id)
            state = get_run(connection, retry.run_id)["state"]
            lines.append(
                f"{say_count(n['rows'], 'row')} of its quarantine retried in run {retry.run_id}, {state}:"
                f" {n['accepted']:,} accepted, {n['quarantined']:,} quarantined, {n['pending']:,} pending."
            )
    return tuple(lines)
