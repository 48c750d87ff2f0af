"""What a purge leaves whole, whatever its age: all that a young, open or unfinished run needs."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from overnight.ledger.kept_payloads import find_payload_runs
from overnight.ledger.provider_batch_progress import find_packed_runs
from overnight.ledger.release_schema import approvals, outbox, releases
from overnight.ledger.review_schema import review_answers
from overnight.ledger.reviews import ENDED
from overnight.ledger.schema import passes, runs
from overnight.records import RunState

#: Deliveries that are not at their end.
_OPEN = ("promised", "sending", "unknown")


@dataclass(frozen=True)
class Kept:
    """The runs that are left whole, each with why."""

    #: Why, by the run's id: "young", "running", "waiting", "in batches", "in review", "approved" or "not delivered".
    runs: dict[str, str]
    #: The others, oldest first.
    others: tuple[str, ...]
    #: Those whose payloads stay: they, and others whose rows stand, or will stand, beside theirs at a sink.
    payloads_of: frozenset[str]
    #: When the oldest of those that are left whole began; None: there is none.
    whole_since: float | None = None


def find_kept(connection: sa.Connection, before: float, now: float) -> Kept:
    """
    The runs that a purge leaves whole.

    Args:
        connection: To the ledger.
        before: Seconds since the epoch: what is older may be dropped.
        now: The same, for approvals that can still be used.
    """
    found = connection.execute(
        sa.select(runs.c.run_id, runs.c.state, runs.c.started_at).order_by(runs.c.started_at)
    ).all()
    reasons: dict[str, str] = {}
    for why, ids in (
        ("young", _find_young(connection, before)),
        ("running", {r.run_id for r in found if r.state == RunState.RUNNING}),
        ("waiting", {r.run_id for r in found if r.state == RunState.WAITING}),
        ("in batches", {r.run_id for r in found if r.state == RunState.BATCHED} | find_packed_runs(connection)),
        ("approved", _find_approved(connection, now)),
        ("not delivered", _find_undelivered(connection)),
        ("in review", _find_in_review(connection)),
    ):
        reasons |= {run_id: why for run_id in ids if run_id not in reasons}
    others = tuple(r.run_id for r in found if r.run_id not in reasons)
    since = min((r.started_at for r in found if r.run_id in reasons), default=None)
    return Kept(reasons, others, frozenset(find_payload_runs(connection, reasons.keys())), since)


def _find_young(connection: sa.Connection, before: float) -> set[str]:
    a, r, p = approvals.c, releases.c, passes.c
    decided = sa.select(r.run_id).join(review_answers, review_answers.c.release_id == r.release_id)
    approved = sa.select(r.run_id).join(approvals, a.release_id == r.release_id)
    queries = (
        sa.select(runs.c.run_id).where(runs.c.started_at >= before),
        sa.select(p.run_id).where(sa.or_(p.started_at >= before, p.ended_at >= before)),
        sa.select(r.run_id).where(r.offered_at >= before),
        decided.where(review_answers.c.recorded_at >= before),
        approved.where(sa.or_(a.issued_at >= before, a.consumed_at >= before)),
    )
    return {run_id for query in queries for run_id in connection.execute(query).scalars()}


def _find_approved(connection: sa.Connection, now: float) -> set[str]:
    query = sa.select(releases.c.run_id).join(approvals, approvals.c.release_id == releases.c.release_id)
    query = query.where(approvals.c.state == "approved", approvals.c.expires_at > now)
    return set(connection.execute(query).scalars())


def _find_undelivered(connection: sa.Connection) -> set[str]:
    query = sa.select(releases.c.run_id).join(approvals, approvals.c.release_id == releases.c.release_id)
    is_open = sa.exists().where(outbox.c.approval_id == approvals.c.approval_id, outbox.c.state.in_(_OPEN))
    return set(connection.execute(query.where(is_open)).scalars())


def _find_in_review(connection: sa.Connection) -> set[str]:
    """Runs whose newest release for a sink has no decision yet."""
    c = releases.c
    query = sa.select(c.release_id, c.run_id, c.sink, c.held_of).order_by(c.offered_at)
    newest: dict[tuple[str, str], str] = {}
    parents: set[str] = set()
    for row in connection.execute(query):
        parents.add(row.held_of or "")
        newest[row.run_id, row.sink] = row.release_id
    v = review_answers.c
    answers = connection.execute(sa.select(v.release_id, v.outcome).order_by(v.round))
    decided = {release_id for release_id, outcome in dict(answers.tuples().all()).items() if outcome in ENDED}
    return {run_id for (run_id, _), newest_id in newest.items() if newest_id not in decided | parents}
