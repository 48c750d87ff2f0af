"""Reading the ledger: which runs there are, and what each came to."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import sqlalchemy as sa

from overnight.failures import OvernightError
from overnight.ledger.manifests import find_batches, find_latest_batches
from overnight.ledger.release_schema import approvals, outbox, releases
from overnight.ledger.releases import find_release_id
from overnight.ledger.schema import attempts, completions, passes, quarantines, run_prompts, runs
from overnight.ledger.trace_schema import lifted_refusals, purged_answers
from overnight.records import Batch, CompletedBatch, RunState, Summary


def summarize(connection: sa.Connection, run_id: str, now: float) -> Summary:
    """What the run came to so far; rows = accepted + quarantined + pending."""
    run = connection.execute(sa.select(runs).where(runs.c.run_id == run_id)).one()
    rows = count_rows(connection, run_id)
    spent = _spent(connection, run_id)
    release_id = find_release_id(connection, run_id)
    return Summary(
        run_id=run_id,
        state=run.state,
        rows=rows["rows"],
        # A run that was killed may have resolved rows of a batch that it has not counted yet.
        hits=max(0, rows["answered"] - _n_resolved(connection, run_id)),
        calls=spent.calls,
        attempts=spent.attempts,
        accepted=rows["accepted"],
        quarantined=rows["quarantined"],
        pending=rows["pending"],
        held=_n_held(connection, run_id, run.state, rows["accepted"] - rows["skipped"]),
        published=_n_published(connection, run_id),
        skipped=rows["skipped"],
        cost_usd=None if spent.unpriced else spent.cost_usd or 0.0,
        input_tokens=spent.input_tokens or 0,
        output_tokens=spent.output_tokens or 0,
        release=release_id,
        seconds=round(_seconds(connection, run_id, now), 3),
    )


def count_rows(connection: sa.Connection, run_id: str) -> Counter[str]:
    """
    The run's rows by where they stand: each batch counts as of the last stage that it reached.

    A row that a later step has taken counts there; "skipped" are those that none has.
    """
    counts: Counter[str] = Counter()
    completed = {(b.step, b.n): b for b in find_batches(connection, run_id, CompletedBatch)}
    latest = find_latest_batches(connection, run_id)
    accepted: Counter[int] = Counter()
    taken: Counter[int] = Counter()
    for batch in find_batches(connection, run_id, Batch):
        at = latest[batch.step, batch.n]
        taken[batch.step] += batch.n_rows
        accepted[batch.step] += 0 if isinstance(at, Batch) else at.n_accepted
        counts["quarantined"] += at.n_quarantined
        counts["pending"] += at.n_rows - at.n_quarantined if isinstance(at, Batch) else at.n_pending
        if asked := completed.get((batch.step, batch.n)):
            counts["answered"] += asked.n_accepted + asked.n_quarantined - batch.n_quarantined
    counts["rows"] = taken[1]
    last = connection.execute(sa.select(sa.func.max(run_prompts.c.step)).where(run_prompts.c.run_id == run_id)).scalar()
    last = max(last or 1, *taken, 1)
    counts["skipped"] = sum(accepted[step] - taken[step + 1] for step in range(1, last))
    counts["accepted"] = counts["skipped"] + accepted[last]
    return counts


def list_runs(connection: sa.Connection, limit: int, *, states: list[str] | None = None) -> list[dict[str, Any]]:
    """The newest runs first; not those that shadow others."""
    query = sa.select(runs).where(runs.c.kind != "shadow").order_by(runs.c.started_at.desc()).limit(limit)
    if states:
        query = query.where(runs.c.state.in_(states))
    return [as_dict(row) | {"parameters": orjson.loads(row.parameters)} for row in connection.execute(query)]


def find_run(connection: sa.Connection, run_id: str) -> dict[str, Any] | None:
    """A run as it was recorded."""
    row = connection.execute(sa.select(runs).where(runs.c.run_id == run_id)).one_or_none()
    return as_dict(row) | {"parameters": orjson.loads(row.parameters)} if row else None


def get_run(connection: sa.Connection, run_id: str) -> dict[str, Any]:
    """
    A run as it was recorded.

    Raises:
        OvernightError: There is no such run.
    """
    found = find_run(connection, run_id)
    if found is None:
        raise OvernightError(f"There is no run {run_id}. `overnight runs` lists the runs.")
    return found


def list_passes(connection: sa.Connection, run_id: str) -> list[dict[str, Any]]:
    """The Prefect flow runs that began or continued the run, oldest first."""
    query = sa.select(passes).where(passes.c.run_id == run_id).order_by(passes.c.pass_id)
    return [as_dict(row) for row in connection.execute(query)]


def as_dict(row: sa.Row[Any]) -> dict[str, Any]:
    """A row by its columns' plain names."""
    # SQLAlchemy's names are a kind of str that orjson does not take for one.
    return {str(name): value for name, value in row._asdict().items()}


def _spent(connection: sa.Connection, run_id: str) -> sa.Row[Any]:
    c = attempts.c
    closed = c.outcome.in_(["accepted", "failed", "fenced"])
    unpriced = closed & c.cost_usd.is_(None) & ((c.outcome == "accepted") | (c.input_tokens > 0))
    query = sa.select(
        sa.func.count().label("attempts"),
        sa.func.count().filter(closed).label("calls"),
        sa.func.count().filter(unpriced).label("unpriced"),
        sa.func.sum(c.cost_usd).label("cost_usd"),
        sa.func.sum(c.input_tokens).label("input_tokens"),
        sa.func.sum(c.output_tokens).label("output_tokens"),
    )
    return connection.execute(query.where(c.run_id == run_id, c.outcome != "unsent")).one()


def _n_resolved(connection: sa.Connection, run_id: str) -> int:
    """Requests that this run itself paid to have answered, or refused."""
    a = attempts.c
    # By attempt: an answer that one rule refused and a later one let pass stands in both tables, paid for once.
    resolved = (
        sa.exists().where(t.c.request_key == a.request_key, t.c.attempt_id == a.attempt_id)
        for t in (completions, quarantines, purged_answers, lifted_refusals)
    )
    query = sa.select(sa.func.count()).select_from(attempts).where(a.run_id == run_id, sa.or_(*resolved))
    return connection.execute(query).scalar_one()


def _n_held(connection: sa.Connection, run_id: str, state: str, n_accepted: int) -> int:
    query = sa.select(sa.func.sum(approvals.c.n_held)).join(releases, releases.c.release_id == approvals.c.release_id)
    # An approval that expired unused was followed by another: the last one of a release counts.
    later = approvals.alias()
    is_last = ~sa.exists().where(later.c.release_id == approvals.c.release_id, later.c.round > approvals.c.round)
    # What it held was offered once more, and that release's approval holds what is still held.
    child, child_approval = releases.alias(), approvals.alias()
    is_final = ~sa.exists().where(
        # Of the same run: a retry of its quarantined rows continues a release and offers none of its rows.
        child.c.held_of == releases.c.release_id,
        child.c.run_id == releases.c.run_id,
        child_approval.c.release_id == child.c.release_id,
    )
    n_held = connection.execute(query.where(releases.c.run_id == run_id, is_last, is_final)).scalar()
    if n_held is None:
        return n_accepted if state in (RunState.HELD, RunState.REJECTED) else 0
    return int(n_held)


def _n_published(connection: sa.Connection, run_id: str) -> int:
    query = (
        sa.select(sa.func.count())
        .select_from(outbox)
        .join(approvals, approvals.c.approval_id == outbox.c.approval_id)
        .join(releases, releases.c.release_id == approvals.c.release_id)
        .where(releases.c.run_id == run_id, outbox.c.state.in_(["delivered", "earlier"]))
    )
    return connection.execute(query).scalar_one()


def _seconds(connection: sa.Connection, run_id: str, now: float) -> float:
    *earlier, last = list_passes(connection, run_id)
    # An earlier pass without an end was killed: how long it worked is not known.
    spans = [p["ended_at"] - p["started_at"] for p in earlier if p["ended_at"]]
    return float(sum(spans) + (last["ended_at"] or now) - last["started_at"])
