"""Whose payloads a purge leaves: those of the runs that it leaves whole, and what stands beside them at a sink."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from overnight.ledger.batching import batched
from overnight.ledger.release_schema import approvals, corrections, outbox, release_rows, releases
from overnight.ledger.retries import RETRY
from overnight.ledger.schema import runs


def find_payload_runs(connection: sa.Connection, needing: Collection[str]) -> set[str]:
    """
    The runs whose payloads these need: they themselves, what a recall of theirs would put back, and what theirs join.

    At a sink that holds one release whole, rows that were held back or retried are written together with those that
    left before them: whoever needs one of a chain needs all of it.
    """
    found = {*needing, *_find_standing(connection, needing)}
    kin = _find_kin(connection)
    left = list(found)
    while left:
        anew = kin.get(left.pop(), set()) - found
        found |= anew
        left += anew
    return found


def _find_standing(connection: sa.Connection, needing: Collection[str]) -> set[str]:
    """Of each sink that one of these wrote whole, or still may: the run whose rows stood there before."""
    a, r = approvals.c, releases.c
    is_there = sa.exists().where(outbox.c.approval_id == a.approval_id, outbox.c.state == "delivered")
    query = sa.select(a.sink, r.run_id, is_there.label("is_there")).join(releases, r.release_id == a.release_id)
    query = query.where(a.state == "consumed", r.operation == "replace").order_by(a.turn)
    before: dict[str, str] = {}
    standing: set[str] = set()
    for row in connection.execute(query):
        if row.run_id in needing:
            standing |= {before[row.sink]} if row.sink in before else set()
        elif row.is_there:
            # One that was recalled has given its place back.
            before[row.sink] = row.run_id
    return standing | _find_replaceable(connection, needing, before)


def _find_replaceable(connection: sa.Connection, needing: Collection[str], before: dict[str, str]) -> set[str]:
    """What stands where one of these has offered a release that has not left yet."""
    r = releases.c
    has_left = sa.exists().where(approvals.c.release_id == r.release_id, approvals.c.state == "consumed")
    query = sa.select(r.run_id, r.sink).where(r.operation == "replace", ~has_left)
    return {before[row.sink] for row in connection.execute(query) if row.run_id in needing and row.sink in before}


def _find_kin(connection: sa.Connection) -> dict[str, set[str]]:
    """Each run with those that it continues or retries, and that continue or retry it: their releases make a chain."""
    r, parent = releases.c, releases.alias().c
    continued = sa.select(r.run_id, parent.run_id).where(parent.release_id == r.held_of, parent.run_id != r.run_id)
    # A retry that has offered nothing yet will go on from the last release of its family.
    retried = sa.select(runs.c.run_id, runs.c.of_run).where(runs.c.kind == RETRY)
    kin: dict[str, set[str]] = {}
    for query in (continued.distinct(), retried):
        for one, other in connection.execute(query).tuples():
            kin.setdefault(one, set()).add(other)
            kin.setdefault(other, set()).add(one)
    return kin


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
