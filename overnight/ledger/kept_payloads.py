"""Whose payloads a purge leaves: those of the runs that it leaves whole, and what a recall of theirs would put back."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from overnight.ledger.batching import batched
from overnight.ledger.release_schema import approvals, corrections, release_rows, releases


def find_payload_runs(connection: sa.Connection, needing: Collection[str]) -> set[str]:
    """The runs whose payloads these need: they themselves, and what a recall of theirs would put back."""
    return {*needing, *_find_standing(connection, needing)}


def _find_standing(connection: sa.Connection, needing: Collection[str]) -> set[str]:
    """Of each sink that one of these wrote whole: the run whose rows stood there before."""
    a, r = approvals.c, releases.c
    query = sa.select(a.sink, r.run_id).join(releases, r.release_id == a.release_id)
    query = query.where(a.state == "consumed", r.operation == "replace").order_by(a.turn)
    before: dict[str, str] = {}
    standing: set[str] = set()
    for row in connection.execute(query):
        if row.run_id not in needing:
            before[row.sink] = row.run_id
        elif row.sink in before:
            standing.add(before[row.sink])
    return standing


def find_payloads(connection: sa.Connection, of_runs: Collection[str]) -> set[str]:
    """The digests of what these runs offered, and of what reviewers made of it."""
    found: set[str] = set()
    for some in batched(list(of_runs)):
        of = sa.select(releases.c.release_id).where(releases.c.run_id.in_(some))
        offered = sa.select(release_rows.c.payload).where(release_rows.c.release_id.in_(of))
        corrected = sa.select(corrections.c.payload).join(
            approvals, approvals.c.approval_id == corrections.c.approval_id
        )
        for query in (offered, corrected.where(approvals.c.release_id.in_(of))):
            found.update(connection.execute(query).scalars())
    return found
