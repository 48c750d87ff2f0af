"""Retries: runs over the quarantined rows of another, and the refusals that they take back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from overnight.ledger.batching import batched
from overnight.ledger.release_schema import approvals, release_rows, releases
from overnight.ledger.review_schema import review_answers
from overnight.ledger.schema import attempts, prompts, quarantines, run_prompts, runs
from overnight.ledger.trace_schema import lifted_refusals
from overnight.records import RunState

#: The kind of run that asks quarantined rows again.
RETRY = "retry"
_Q, _L = quarantines.c, lifted_refusals.c


@dataclass(frozen=True)
class Retry:
    """A run over the quarantined rows of another."""

    run_id: str
    of_run: str
    #: Refusals from before it began are not its own.
    started_at: float
    state: str


#: Columns of a `Retry`, in its order.
_RETRY = (runs.c.run_id, runs.c.of_run, runs.c.started_at, runs.c.state)


def find_retry(connection: sa.Connection, run_id: str) -> Retry | None:
    """The run as a retry; None where it is none."""
    query = sa.select(*_RETRY).where(runs.c.run_id == run_id, runs.c.kind == RETRY)
    row = connection.execute(query).one_or_none()
    return Retry(*row) if row else None


def list_retries(connection: sa.Connection, run_id: str) -> list[Retry]:
    """The retries of a run, and of these, oldest first."""
    found: list[Retry] = []
    wanted = {run_id}
    while wanted:
        query = sa.select(*_RETRY).where(runs.c.kind == RETRY, runs.c.of_run.in_(wanted))
        some = [Retry(*row) for row in connection.execute(query)]
        found += some
        wanted = {retry.run_id for retry in some}
    return sorted(found, key=lambda retry: (retry.started_at, retry.run_id))


def list_retried(connection: sa.Connection, run_id: str) -> list[str]:
    """The run, the one whose rows it retries, and so on up to the night itself."""
    found = [run_id]
    while retry := find_retry(connection, found[-1]):
        found.append(retry.of_run)
    return found


def list_family(connection: sa.Connection, run_id: str) -> list[str]:
    """The night that the run belongs to, and all retries of its rows: each row has one release among them."""
    night = list_retried(connection, run_id)[-1]
    return [night, *(retry.run_id for retry in list_retries(connection, night))]


def lock_family(connection: sa.Connection, run_id: str) -> list[str]:
    """The same, and nobody else of it offers anything until the transaction ends; SQLite's exclude each other."""
    night = list_retried(connection, run_id)[-1]
    # Not from those who only name the run in rows of theirs.
    connection.execute(sa.select(runs.c.run_id).where(runs.c.run_id == night).with_for_update(key_share=True))
    return list_family(connection, run_id)


def find_offered(connection: sa.Connection, run_id: str) -> dict[str, str]:
    """Rows that any retry of the run's family has offered to a reviewer who did not reject it: the retry by row id."""
    return _find_rows(connection, list_family(connection, run_id)[1:], sa.true())


def find_taken(
    connection: sa.Connection, run_id: str, *, prompt: str | None = None, sink: str | None = None
) -> dict[str, str]:
    """
    Rows that are another run's of the family to release: that run by row id.

    Args:
        connection: To the ledger.
        run_id: Whose family.
        prompt: Only what answers the prompt of this name: a flow may offer what each of its steps made.
        sink: Also whatever was offered to this one.
    """
    others = [one for one in list_family(connection, run_id) if one != run_id]
    at_sink = releases.c.sink == sink if sink else sa.false()
    return _find_rows(connection, others, sa.or_(prompts.c.name == prompt, at_sink) if prompt else sa.true())


def find_left(connection: sa.Connection, run_id: str, *, prompt: str | None = None) -> dict[str, str]:
    """The same, without what the run has offered itself: that stays as it was offered."""
    own = _find_rows(connection, [run_id], sa.true())
    return {row: run for row, run in find_taken(connection, run_id, prompt=prompt).items() if row not in own}


def _find_rows(connection: sa.Connection, run_ids: Sequence[str], condition: sa.ColumnElement[bool]) -> dict[str, str]:
    """The rows that stand offered by these runs: the run by row id."""
    query = sa.select(release_rows.c.row_id, releases.c.run_id)
    query = query.join(releases, releases.c.release_id == release_rows.c.release_id)
    query = query.join(prompts, prompts.c.prompt_hash == releases.c.prompt_hash).where(_stands(), condition)
    found: dict[str, str] = {}
    for some in batched(run_ids):
        found |= dict(connection.execute(query.where(releases.c.run_id.in_(some))).tuples().all())
    return found


def _stands() -> sa.ColumnElement[bool]:
    """That a release can still let rows out, or has: it was not rejected, and no other took its place unapproved."""
    # By the answers, not by the run's state: of a run whose held rows were rejected, the others have left.
    c, a, later = releases.c, review_answers.c, releases.alias()
    is_rejected = sa.exists().where(a.release_id == c.release_id, a.outcome == RunState.REJECTED)
    is_replaced = sa.exists().where(
        later.c.run_id == c.run_id, later.c.sink == c.sink, later.c.offered_at > c.offered_at
    )
    is_approved = sa.exists().where(approvals.c.release_id == c.release_id)
    return sa.and_(~is_rejected, sa.or_(~is_replaced, is_approved))


def list_asking(connection: sa.Connection, prompt_hash: str) -> list[str]:
    """The retries that asked this prompt: what was made of its rows before each of them may be out of date."""
    query = sa.select(runs.c.run_id).join(run_prompts, run_prompts.c.run_id == runs.c.run_id)
    query = query.where(runs.c.kind == RETRY, run_prompts.c.prompt_hash == prompt_hash)
    return list(connection.execute(query.order_by(runs.c.run_id)).scalars())


def find_liftable(connection: sa.Connection, keys: Sequence[str], retry: Retry) -> set[str]:
    """The keys among these whose refusal is older than the retry, and was not met by it."""
    query = sa.select(_Q.request_key).where(_is_older(retry))
    return {
        key for some in batched(keys) for key in connection.execute(query.where(_Q.request_key.in_(some))).scalars()
    }


def lift_refusals(connection: sa.Connection, keys: Sequence[str], retry: Retry, now: float) -> None:
    """Take these refusals back, where they are older than the retry; their attempts stay as evidence."""
    kept = (_Q.attempt_id, _Q.request_key, _Q.failure_class, _Q.rule, _Q.output_digest, _Q.recorded_at)
    for some in batched(keys):
        older = sa.and_(_is_older(retry), _Q.request_key.in_(some))
        lifted = sa.select(*kept, sa.literal(retry.run_id), sa.literal(now, sa.Float)).where(older)
        connection.execute(sa.insert(lifted_refusals).from_select([c.name for c in _L], lifted))
        connection.execute(sa.delete(quarantines).where(older))


def _is_older(retry: Retry) -> sa.ColumnElement[bool]:
    # By whose attempt it was too: a clock may be set back while the retry runs.
    own = sa.select(attempts.c.attempt_id).where(
        attempts.c.attempt_id == _Q.attempt_id, attempts.c.run_id == retry.run_id
    )
    return sa.and_(_Q.recorded_at < retry.started_at, ~own.exists())
