"""What a purge leaves whole, whatever its age: all that a young, open or unfinished run needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from overnight.ledger.release_schema import approvals, outbox, releases
from overnight.ledger.review_schema import review_answers
from overnight.ledger.reviews import ENDED
from overnight.ledger.runs import find_batches, find_latest_batches
from overnight.ledger.schema import attempts, claims, completions, passes, quarantines, run_batches, run_prompts, runs
from overnight.ledger.trace_schema import readings, replays
from overnight.records import Batch, CheckedBatch, CompletedBatch, RunState

#: Deliveries that are not at their end.
_OPEN = ("promised", "sending", "unknown")


@dataclass(frozen=True)
class Kept:
    """The runs that are left whole, each with why."""

    #: Why, by the run's id: "young", "running", "waiting", "in review", "approved" or "not delivered".
    runs: dict[str, str]
    #: The others, oldest first.
    others: tuple[str, ...]
    #: Others whose payloads a kept run's recall would put back at a sink that holds one release whole.
    standing: frozenset[str] = field(default_factory=frozenset)
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
        ("approved", _find_approved(connection, now)),
        ("not delivered", _find_undelivered(connection)),
        ("in review", _find_in_review(connection)),
    ):
        reasons |= {run_id: why for run_id in ids if run_id not in reasons}
    others = tuple(r.run_id for r in found if r.run_id not in reasons)
    since = min((r.started_at for r in found if r.run_id in reasons), default=None)
    return Kept(reasons, others, _find_standing(connection, reasons.keys()), since)


def find_active(connection: sa.Connection, since: float) -> list[str]:
    """The runs that may have written to the ledger since then: those that run, and whose last pass was not over."""
    p = passes.c
    running = sa.select(runs.c.run_id).where(runs.c.state == RunState.RUNNING)
    later = sa.select(p.run_id).where(sa.or_(p.ended_at >= since, p.started_at >= since))
    return sorted({*connection.execute(running).scalars(), *connection.execute(later).scalars()})


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


def _find_standing(connection: sa.Connection, kept: Any) -> frozenset[str]:
    """Of each sink that a kept run wrote whole: the run whose rows stood there before."""
    a, r = approvals.c, releases.c
    query = sa.select(a.sink, r.run_id).join(releases, r.release_id == a.release_id)
    query = query.where(a.state == "consumed", r.operation == "replace").order_by(a.turn)
    before: dict[str, str] = {}
    standing: set[str] = set()
    for row in connection.execute(query):
        if row.run_id not in kept:
            before[row.sink] = row.run_id
        elif row.sink in before:
            standing.add(before[row.sink])
    return frozenset(standing)


@dataclass(frozen=True)
class PinnedBatch:
    """A batch of a kept run, with what its keys are made of where it was not asked yet."""

    batch: Batch | CompletedBatch | CheckedBatch
    #: Of the prompts of its step.
    prompt_hashes: tuple[str, ...]


def list_pinned(connection: sa.Connection, run_id: str) -> list[PinnedBatch]:
    """The batches of a run, each as of every stage that it reached; of its input only what was asked no further."""
    c = run_prompts.c
    query = sa.select(c.step, c.prompt_hash).where(c.run_id == run_id, c.prompt_hash.is_not(None))
    hashes: dict[int, list[str]] = {}
    for row in connection.execute(query):
        hashes.setdefault(row.step, []).append(row.prompt_hash)
    latest = find_latest_batches(connection, run_id)
    found: list[Batch | CompletedBatch | CheckedBatch] = [
        *find_batches(connection, run_id, Batch),
        *find_batches(connection, run_id, CompletedBatch),
        *find_batches(connection, run_id, CheckedBatch),
    ]
    return [
        PinnedBatch(b, tuple(hashes.get(b.step, ())) if isinstance(latest[b.step, b.n], Batch) else ()) for b in found
    ]


def find_young_keys(connection: sa.Connection, before: float) -> set[str]:
    """Requests that were sent, settled, sent again to compare or read since then, or are being asked."""
    queries = (
        sa.select(claims.c.request_key),
        sa.select(attempts.c.request_key).where(attempts.c.opened_at >= before),
        sa.select(completions.c.request_key).where(completions.c.accepted_at >= before),
        sa.select(quarantines.c.request_key).where(quarantines.c.recorded_at >= before),
        sa.select(replays.c.request_key).where(replays.c.opened_at >= before),
        sa.select(readings.c.request_key).where(readings.c.recorded_at >= before),
    )
    return {key for query in queries for key in connection.execute(query).scalars()}


def find_mark(connection: sa.Connection) -> tuple[int, ...]:
    """What changes when a run begins, pins something or is offered: what was found before may not hold any more."""
    counts = (
        sa.select(sa.func.coalesce(sa.func.max(passes.c.pass_id), 0)),
        sa.select(sa.func.count()).select_from(run_batches),
        sa.select(sa.func.count(run_prompts.c.prompt_hash)),
        sa.select(sa.func.count()).select_from(releases),
    )
    return tuple(connection.execute(query).scalar_one() for query in counts)
