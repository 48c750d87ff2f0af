"""Where a row is to be looked for: what the ledger's indexes know of its id and its keys."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from overnight.ledger.release_schema import approvals, outbox, release_rows, releases
from overnight.ledger.schema import attempts, requests, run_prompts, runs

#: Keys that are named where a beginning is not that of one alone.
_N_NAMED = 5


@dataclass(frozen=True)
class Place:
    """A row of a run, and the request that it was offered or found by."""

    run_id: str
    row_id: str
    request_key: str | None = None
    step: int = 1


def find_offered(
    connection: sa.Connection, row_id: str, *, run_id: str | None = None, request_key: str | None = None
) -> Place | None:
    """The row as the newest run that offered it did."""
    r, row = releases.c, release_rows.c
    query = sa.select(r.run_id, row.request_key, r.prompt_hash).join(releases, r.release_id == row.release_id)
    query = query.join(runs, runs.c.run_id == r.run_id).where(row.row_id == row_id)
    query = query.where(r.run_id == run_id) if run_id else query
    query = query.where(row.request_key == request_key) if request_key else query
    found = connection.execute(query.order_by(runs.c.started_at.desc(), r.offered_at.desc()).limit(1)).one_or_none()
    if found is None:
        return None
    c = run_prompts.c
    step = sa.select(c.step).where(c.run_id == found.run_id, c.prompt_hash == found.prompt_hash)
    return Place(found.run_id, row_id, found.request_key, connection.execute(step).scalar() or 1)


def list_offering_runs(connection: sa.Connection, row_id: str) -> list[str]:
    """The runs that offered the row."""
    query = sa.select(releases.c.run_id).join(release_rows, release_rows.c.release_id == releases.c.release_id)
    return list(connection.execute(query.where(release_rows.c.row_id == row_id).distinct()).scalars())


def list_asking_runs(connection: sa.Connection, key: str) -> list[str]:
    """The runs that sent the request, newest first."""
    asked = sa.select(attempts.c.run_id).where(attempts.c.request_key == key)
    query = sa.select(runs.c.run_id).where(runs.c.run_id.in_(asked)).order_by(runs.c.started_at.desc())
    return list(connection.execute(query).scalars())


def guess_share(connection: sa.Connection, key: str, run_id: str) -> float:
    """About how far into the run the request was sent, from 0 to 1: attempts are numbered as they are opened."""
    c = attempts.c
    of_run = sa.select(c.attempt_id).where(c.run_id == run_id).limit(1)
    # Each end by itself: the index gives it without a look at what is between.
    ends = (of_run.order_by(c.attempt_id), of_run.order_by(c.attempt_id.desc()))
    first, last = (connection.execute(query).scalar() or 0 for query in ends)
    # By the key alone: with the run beside it, SQLite would look through all of the run's.
    sent = connection.execute(sa.select(c.attempt_id, c.run_id).where(c.request_key == key).order_by(c.attempt_id))
    at = next((row.attempt_id for row in sent if row.run_id == run_id), first)
    return float(at - first) / max(1, last - first)


def list_request_keys(connection: sa.Connection, digits: str) -> list[str]:
    """The first few request keys that begin with these hex digits."""
    c = requests.c.request_key
    query = sa.select(c).where(c >= digits.ljust(64, "0"), c <= digits.ljust(64, "f"))
    return list(connection.execute(query.order_by(c).limit(_N_NAMED)).scalars())


def list_sent(connection: sa.Connection, delivery_key: str, run_id: str | None) -> list[Place]:
    """The rows that were promised to a sink under this key, one that was sent before one that had left earlier."""
    o, r = outbox.c, releases.c
    query = (
        sa.select(o.approval_id, o.position, o.row_id, r.run_id, r.release_id)
        .join(approvals, approvals.c.approval_id == o.approval_id)
        .join(releases, r.release_id == approvals.c.release_id)
        .where(o.delivery_key == delivery_key)
        .order_by(sa.case((o.state == "earlier", 1), else_=0), o.promised_at.desc())
    )
    query = query.where(r.run_id == run_id) if run_id else query
    found = []
    for row in connection.execute(query):
        key = sa.select(release_rows.c.request_key)
        key = key.where(release_rows.c.release_id == row.release_id, release_rows.c.position == row.position)
        of = find_offered(connection, row.row_id, run_id=row.run_id, request_key=connection.execute(key).scalar_one())
        found += [of] if of else []
    return found
