"""Leases: each process's time-limited right to the requests that it has claimed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from overnight.ledger.batching import batched
from overnight.ledger.clock import Moment, read_clock, read_steady_clock
from overnight.ledger.columns import to_bytes
from overnight.ledger.completions import rows_of
from overnight.ledger.prepared import Prepared, insert, list_marks
from overnight.ledger.process import is_gone, name_process
from overnight.ledger.provider_batch_schema import provider_batch_items
from overnight.ledger.schema import claims, leases

#: An attempt's id is its worker's number and the worker's own count below it.
_COUNT_BITS = 32
#: When the lease of who has ended properly ran out.
_RELEASED = 0.0
#: The clock of a provider batch's claims: no time ends them, and no process's end, but the closing of each attempt.
BATCH_CLOCK = "batch"
#: A lease is renewed after this share of it.
RENEWED_AT = 1 / 3


class Worker:
    """
    Who asks, as the ledger knows it, and as it knows itself.

    Args:
        worker_id: Its number.
        lease_s: How long its right outlives the last sign of its life.
        judges_from: By the ledger's clock, when it may say of others that their time is over: where nobody could write
            for a while all leases have lapsed, and those who live need a moment to renew theirs.
        process_id: The number of the process that it claims for, where it is a provider batch.
    """

    def __init__(
        self, worker_id: int, lease_s: float = math.inf, judges_from: float = 0.0, process_id: int | None = None
    ) -> None:
        self.worker_id = worker_id
        self.lease_s = lease_s
        self.judges_from = judges_from
        #: The numbers of the process that it is, or claims for.
        self.own = {worker_id} if process_id is None else {worker_id, process_id}
        #: How often its right had ended before it was renewed: what it had claimed by then may be another's.
        self.n_lapses = 0
        #: When it was renewed last, by this machine's clock.
        self.renewed_at = read_steady_clock()
        self._count = itertools.count()

    @property
    def is_current(self) -> bool:
        """Whether its right holds, as far as it knows: it may have been stopped, or the database away."""
        return read_steady_clock() - self.renewed_at < self.lease_s

    def make_attempt_id(self) -> int:
        """An id that no other attempt has or will have."""
        return (self.worker_id << _COUNT_BITS) + next(self._count)


def register(connection: sa.Connection, lease_s: float) -> Worker:
    """Make the process known; its right runs from now."""
    now = read_clock(connection)
    values = {"process": name_process(), "clock": now.clock, "until": now.at + lease_s}
    added = connection.execute(sa.insert(leases).values(values).returning(leases.c.worker_id))
    return Worker(int(added.scalar_one()), lease_s, now.at + lease_s * RENEWED_AT)


def register_batch(connection: sa.Connection, batch_id: str, process: Worker) -> Worker:
    """Make a provider batch known, as one that claims what this process puts into it; nobody ever renews it."""
    values = {"process": batch_id, "clock": BATCH_CLOCK, "until": _RELEASED}
    added = connection.execute(sa.insert(leases).values(values).returning(leases.c.worker_id))
    return Worker(int(added.scalar_one()), math.inf, process.judges_from, process.worker_id)


def renew(connection: sa.Connection, worker: Worker) -> None:
    """Let the right run from now; nothing that another worker has taken over comes back."""
    now, mine = read_clock(connection), leases.c.worker_id == worker.worker_id
    if connection.execute(sa.select(leases.c.until).where(mine)).scalar_one() <= now.at:
        worker.n_lapses += 1
        worker.judges_from = now.at + worker.lease_s * RENEWED_AT
    connection.execute(sa.update(leases).where(mine).values(clock=now.clock, until=now.at + worker.lease_s))
    worker.renewed_at = read_steady_clock()


def release(connection: sa.Connection, worker: Worker) -> None:
    """End the right: whatever is still claimed may be taken over at once."""
    connection.execute(sa.update(leases).where(leases.c.worker_id == worker.worker_id).values(until=_RELEASED))


def claim(connection: sa.Connection, worker: Worker, wanted: Mapping[str, int]) -> set[str]:
    """
    Take the requests that no other live worker is asking.

    Args:
        connection: To the ledger.
        worker: Who asks.
        wanted: The attempt that each request is claimed for.

    Returns:
        The requests that are this worker's now.
    """
    # In one order, so that two workers that want the same ones never wait for each other in a circle.
    rows = [_claim_values(worker, key, wanted[key]) for key in sorted(wanted)]
    if _ADD_CLAIM.run(connection, rows) == len(rows):
        return set(wanted)
    held = rows_of(connection, _HELD, claims.c.request_key, list(wanted))
    now = read_clock(connection)
    won = {row.request_key for row in held if row.attempt_id == wanted[row.request_key]}
    lapsed = {row.request_key for row in held if is_free(row, worker, now)} - won
    _TAKE_OVER.run(connection, [_claim_values(worker, key, wanted[key]) for key in lapsed])
    return won | lapsed


def find_claimed(connection: sa.Connection, worker: Worker, keys: Sequence[str]) -> set[str]:
    """
    Those of the requests that another live worker is asking, as far as this one may judge.

    What stands in a provider batch nobody waits for, hours as it may take, but where a live worker has its answer in
    hand.
    """
    now = read_clock(connection)
    found = rows_of(connection, _CLAIMED, claims.c.request_key, keys)
    packed = [row.request_key for row in found if row.clock == BATCH_CLOCK]
    asked = {row.request_key for row in found if row.clock != BATCH_CLOCK and not is_free(row, worker, now)}
    return asked | _find_judged(connection, worker, packed)


def find_packed(connection: sa.Connection, worker: Worker, keys: Sequence[str]) -> set[str]:
    """Those of the requests that a provider batch has claimed, but for the ones that another worker judges now."""
    found = rows_of(connection, _CLAIMED.where(leases.c.clock == BATCH_CLOCK), claims.c.request_key, keys)
    packed = [row.request_key for row in found]
    return set(packed) - _find_judged(connection, worker, packed)


def _find_judged(connection: sa.Connection, worker: Worker, packed: Sequence[str]) -> set[str]:
    """Of claims of provider batches, those whose answer another live worker has taken."""
    if not packed:
        return set()
    now, found = read_clock(connection), rows_of(connection, _JUDGED, claims.c.request_key, packed)
    return {row.request_key for row in found if not is_free(row, worker, now)}


def find_held(connection: sa.Connection, keys: Sequence[str]) -> set[str]:
    """Those of the requests that are claimed at all, by whomever, alive or not."""
    return {row.request_key for row in rows_of(connection, _CLAIMED, claims.c.request_key, keys)}


def give_up(connection: sa.Connection, claimed: Sequence[tuple[str, int]]) -> set[int]:
    """End the claims of attempts, each given with its request; the attempts that still held theirs."""
    ended: set[int] = set()
    for some in batched(claimed):
        marks = list_marks(connection, len(some))
        text = f"DELETE FROM claims WHERE request_key IN {marks} AND attempt_id IN {marks} RETURNING attempt_id"  # noqa: S608 - marks alone
        values = (*(bytes.fromhex(key) for key, _ in some), *(attempt_id for _, attempt_id in some))
        ended.update(connection.exec_driver_sql(text, values).scalars())
    return ended


def _claim_values(worker: Worker, key: str, attempt_id: int) -> dict[str, object]:
    return {"request_key": to_bytes(key), "worker_id": worker.worker_id, "attempt_id": attempt_id}


def is_free(lease: sa.Row[Any], worker: Worker, now: Moment) -> bool:
    """
    Whether what another worker has in hand may be taken over.

    Args:
        lease: That worker's worker_id, clock, until and process.
        worker: Who asks.
        now: By the ledger's clock.
    """
    if lease.clock == BATCH_CLOCK:
        return False
    # Of what it has claimed itself, it knows best that nobody is asking it any more.
    if lease.worker_id in worker.own:
        return True
    # A clock of before the machine was started anew: whoever was told in it is gone.
    if lease.clock != now.clock or lease.until == _RELEASED or is_gone(lease.process):
        return True
    return bool(lease.until <= now.at and worker.judges_from <= now.at)


_ADD_CLAIM = Prepared(insert(claims).on_conflict_do_nothing())
_TAKE_OVER = Prepared(
    sa.update(claims)
    .where(claims.c.request_key == sa.bindparam("request_key"))
    .values(worker_id=sa.bindparam("worker_id"), attempt_id=sa.bindparam("attempt_id"))
)
_CLAIMED = sa.select(
    claims.c.request_key, claims.c.attempt_id, claims.c.worker_id, leases.c.clock, leases.c.until, leases.c.process
).join(leases, leases.c.worker_id == claims.c.worker_id)
#: What another worker is taking over in this moment is not waited for: it is that worker's.
_HELD = _CLAIMED.with_for_update(of=claims, skip_locked=True)
_I = provider_batch_items.c
_JUDGED = (
    sa.select(claims.c.request_key, leases.c.worker_id, leases.c.clock, leases.c.until, leases.c.process)
    .join(provider_batch_items, _I.attempt_id == claims.c.attempt_id)
    .join(leases, leases.c.worker_id == _I.taken_by)
)
