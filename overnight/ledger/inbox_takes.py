"""Taking requests out of the inbox: each is one run's, under the lease of the process that works on it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from overnight.ledger.batching import batched
from overnight.ledger.clock import read_clock
from overnight.ledger.inbox_schema import inbox
from overnight.ledger.leases import Worker, is_free
from overnight.ledger.release_schema import release_rows, releases
from overnight.ledger.schema import leases, runs
from overnight.records import InboxState, RunState

_C = inbox.c
#: Where a run stands that has ended; what it had without offering it is somebody else's to take.
_OVER = (RunState.HALTED, RunState.HELD)


@dataclass(frozen=True)
class TakenRequest:
    """A request in a run's hand."""

    inbox_id: int
    row_id: str
    input_json: str


@dataclass(frozen=True)
class Lot:
    """Some requests, looked at in order of arrival."""

    taken: tuple[TakenRequest, ...]
    #: The last that was looked at; None: there was none any more.
    last: int | None


def take(
    connection: sa.Connection,
    prompt: str,
    run_id: str,
    worker: Worker,
    *,
    after: int,
    n_rows: int,
    seen: Collection[str],
) -> Lot:
    """
    Take the next requests to a prompt.

    One whose row id is in the run already waits for the next: it is another version of that row.

    Args:
        connection: To the ledger.
        prompt: Its name.
        run_id: Who takes them.
        worker: Whose lease they are under.
        after: The last request that was looked at.
        n_rows: How many are looked at.
        seen: Row ids that the run has.
    """
    query = _select_queued(prompt, after).limit(n_rows)
    # What another run is taking in this moment is that run's.
    found = [TakenRequest(*row) for row in connection.execute(query.with_for_update(skip_locked=True))]
    first: dict[str, TakenRequest] = {}
    for request in found:
        first.setdefault(request.row_id, request)
    mine = [request for row_id, request in first.items() if row_id not in seen]
    values = {"state": InboxState.TAKEN, "run_id": run_id, "worker_id": worker.worker_id, "epoch": _C.epoch + 1}
    for some in batched([request.inbox_id for request in mine]):
        connection.execute(sa.update(inbox).where(_C.inbox_id.in_(some)).values(values))
    return Lot(tuple(mine), found[-1].inbox_id if found else None)


def count_held(connection: sa.Connection, run_id: str, worker: Worker) -> int:
    """How many requests the run has under this lease."""
    query = sa.select(sa.func.count()).select_from(inbox).where(_is_held(run_id), _C.worker_id == worker.worker_id)
    return connection.execute(query).scalar_one()


def hold(connection: sa.Connection, run_id: str, worker: Worker) -> None:
    """Put what the run has still under the lease of the process that continues it."""
    connection.execute(sa.update(inbox).where(_is_held(run_id)).values(worker_id=worker.worker_id))


def give_back(connection: sa.Connection, run_id: str, worker: Worker | None = None) -> None:
    """Let others take what this process, or any where none is named, has taken for the run and not come to work on."""
    whose = _C.worker_id == worker.worker_id if worker else sa.true()
    connection.execute(sa.update(inbox).where(_is_held(run_id), whose).values(_QUEUED))


def lock_run(connection: sa.Connection, run_id: str) -> None:
    """Nobody takes requests over from the run, nor offers them for it, until the transaction ends."""
    # Not from those who only name the run in rows of theirs.
    connection.execute(sa.select(runs.c.run_id).where(runs.c.run_id == run_id).with_for_update(key_share=True))


def list_holders(connection: sa.Connection, prompt: str | None = None) -> list[str]:
    """The runs that have requests which are not settled."""
    query = sa.select(_C.run_id).where(_C.state == InboxState.TAKEN).distinct()
    query = query.where(_C.prompt == prompt) if prompt else query
    return sorted(connection.execute(query).scalars())


def free_lost(connection: sa.Connection, run_id: str, worker: Worker) -> int:
    """
    Let others take what a run has and will not offer; how many those are.

    A run that has offered a release keeps what it has. Of one that has not, they are free once it is halted or held, or
    the lease of the process is over that worked on it; not while its rows are with a provider.
    """
    lock_run(connection, run_id)
    lost = _list_lost(connection, run_id, worker)
    held = sa.update(inbox).where(_is_held(run_id)).values(_QUEUED)
    return sum(connection.execute(held.where(_C.worker_id == worker_id)).rowcount for worker_id in lost)


def peek(connection: sa.Connection, prompt: str) -> Iterator[TakenRequest]:
    """The requests that a run would take now, in order of arrival; nothing is taken."""
    # Nobody's: it is asked as if it had always lived.
    nobody = Worker(-1)
    lost = {
        (run_id, worker_id)
        for run_id in list_holders(connection, prompt)
        for worker_id in _list_lost(connection, run_id, nobody)
    }
    free = [sa.false(), *(sa.and_(_C.run_id == run_id, _C.worker_id == worker_id) for run_id, worker_id in lost)]
    query = sa.select(_C.inbox_id, _C.row_id, _C.input).where(_C.prompt == prompt)
    query = query.where(sa.or_(_C.state == InboxState.QUEUED, sa.and_(_C.state == InboxState.TAKEN, sa.or_(*free))))
    seen: set[str] = set()
    for row in connection.execute(query.order_by(_C.inbox_id)):
        if row.row_id not in seen:
            seen.add(row.row_id)
            yield TakenRequest(*row)


def is_waiting(connection: sa.Connection, prompt: str) -> bool:
    """Whether there is a request to take."""
    return connection.execute(_select_queued(prompt, 0).limit(1)).first() is not None


def find_owners(connection: sa.Connection, prompt: str, row_ids: Sequence[str]) -> dict[str, str | None]:
    """Which run took a request of each row last; None where it waits for the next."""
    query = sa.select(_C.row_id, _C.run_id).where(_C.prompt == prompt).order_by(_C.settled_at, _C.inbox_id)
    found: dict[str, str | None] = {}
    for some in batched(row_ids):
        found |= dict(connection.execute(query.where(_C.row_id.in_(some))).tuples().all())
    return found


def list_own(connection: sa.Connection, run_id: str) -> set[str]:
    """The row ids of the requests that are the run's, settled or not; and what it has offered stays its own."""
    offered = sa.select(release_rows.c.row_id).join(releases, releases.c.release_id == release_rows.c.release_id)
    queries = (sa.select(_C.row_id).where(_C.run_id == run_id), offered.where(releases.c.run_id == run_id))
    return {row_id for query in queries for row_id in connection.execute(query).scalars()}


def list_taken_over(connection: sa.Connection, run_id: str, row_ids: Sequence[str]) -> list[str]:
    """Those of the rows that are not this run's any more, where it took its rows out of the inbox."""
    own = list_own(connection, run_id)
    return [row_id for row_id in row_ids if row_id not in own]


def count_own(connection: sa.Connection, run_id: str) -> int:
    """How many those are."""
    return connection.execute(sa.select(sa.func.count()).select_from(inbox).where(_C.run_id == run_id)).scalar_one()


def _select_queued(prompt: str, after: int) -> sa.Select[Any]:
    query = sa.select(_C.inbox_id, _C.row_id, _C.input)
    query = query.where(_C.prompt == prompt, _C.state == InboxState.QUEUED, _C.inbox_id > after)
    return query.order_by(_C.inbox_id)


def _is_held(run_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(_C.run_id == run_id, _C.state == InboxState.TAKEN)


def _list_lost(connection: sa.Connection, run_id: str, worker: Worker) -> list[int]:
    """The workers that have requests for this run in vain."""
    if connection.execute(sa.select(releases.c.release_id).where(releases.c.run_id == run_id).limit(1)).first():
        return []
    state = connection.execute(sa.select(runs.c.state).where(runs.c.run_id == run_id)).scalar()
    if state == RunState.BATCHED:
        # Nobody works on it, and all of it is asked: it comes back for the answers.
        return []
    is_over = state in _OVER
    query = sa.select(_C.worker_id, leases.c.clock, leases.c.until, leases.c.process).distinct()
    query = query.join(leases, leases.c.worker_id == _C.worker_id).where(_is_held(run_id))
    now = read_clock(connection)
    return [
        row.worker_id
        for row in connection.execute(query)
        if is_over or (row.worker_id != worker.worker_id and is_free(row, worker, now))
    ]


_QUEUED = {"state": InboxState.QUEUED, "run_id": None, "worker_id": None}
