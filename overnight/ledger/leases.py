"""Leases: each process's time-limited right to the requests that it has claimed."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from overnight.ledger.batching import batched
from overnight.ledger.completions import rows_of
from overnight.ledger.prepared import Prepared, insert
from overnight.ledger.schema import claims, leases, to_bytes

#: An attempt's id is its worker's number and the worker's own count below it.
_COUNT_BITS = 32
_PROC = Path("/proc")


@dataclass(frozen=True)
class Moment:
    """A reading of a clock that nobody sets: of the database, or on one machine the time since it was started."""

    clock: str
    at: float


@dataclass(frozen=True)
class Worker:
    """A process that asks, as the ledger knows it."""

    worker_id: int
    _counter: Iterable[int] = field(default_factory=itertools.count)
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def make_attempt_id(self) -> int:
        """An id that no other attempt has or will have."""
        with self._counting:
            return (self.worker_id << _COUNT_BITS) + next(iter(self._counter))


def read_clock(connection: sa.Connection) -> Moment:
    """Postgres' own time; beside SQLite, which no other machine uses, the machine's time since it was started."""
    if connection.dialect.name == "postgresql":
        at = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
        return Moment("database", float(at))
    return Moment(_find_boot(), time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)))


def register(connection: sa.Connection, lease_s: float) -> Worker:
    """Make the process known; its right runs from now."""
    now = read_clock(connection)
    values = {"process": _name_process(), "clock": now.clock, "until": now.at + lease_s}
    added = connection.execute(sa.insert(leases).values(values).returning(leases.c.worker_id))
    return Worker(int(added.scalar_one()))


def renew(connection: sa.Connection, worker: Worker, lease_s: float) -> None:
    """Let the right run from now; nothing that another worker has taken over comes back."""
    now = read_clock(connection)
    renewed = sa.update(leases).where(leases.c.worker_id == worker.worker_id)
    connection.execute(renewed.values(clock=now.clock, until=now.at + lease_s))


def release(connection: sa.Connection, worker: Worker) -> None:
    """End the right: whatever is still claimed may be taken over at once."""
    connection.execute(sa.update(leases).where(leases.c.worker_id == worker.worker_id).values(until=0.0))


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
    # Of what this process has claimed, it knows best that nobody is asking it any more.
    lapsed = {row.request_key for row in held if row.worker_id == worker.worker_id or _has_lapsed(row, now)} - won
    _TAKE_OVER.run(connection, [_claim_values(worker, key, wanted[key]) for key in lapsed])
    return won | lapsed


def find_claimed(connection: sa.Connection, keys: Sequence[str]) -> set[str]:
    """Those of the requests that a live worker is asking."""
    now = read_clock(connection)
    return {
        row.request_key
        for row in rows_of(connection, _CLAIMED, claims.c.request_key, keys)
        if not _has_lapsed(row, now)
    }


def give_up(connection: sa.Connection, claimed: Sequence[tuple[str, int]]) -> set[int]:
    """End the claims of attempts, each given with its request; the attempts that still held theirs."""
    ended: set[int] = set()
    for some in batched(claimed):
        keys, ids = zip(*some, strict=True)
        ended.update(connection.execute(_GIVE_UP, {"keys": keys, "ids": ids}).scalars())
    return ended


def _claim_values(worker: Worker, key: str, attempt_id: int) -> dict[str, object]:
    return {"request_key": to_bytes(key), "worker_id": worker.worker_id, "attempt_id": attempt_id}


def _has_lapsed(lease: sa.Row[Any], now: Moment) -> bool:
    # A clock of before the machine was started anew: whoever was told in it is gone.
    return lease.clock != now.clock or lease.until <= now.at or _is_gone(lease.process)


@cache
def _find_boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _name_process() -> str:
    """Where the process stands: the machine since its start, the namespace of its number, its number and start."""
    pid = os.getpid()
    return f"{_find_machine()} {pid} {_find_start(pid)}"


@cache
def _find_machine() -> str:
    try:
        return f"{_find_boot()} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _find_start(pid: int) -> str:
    """When the process was started, in the kernel's ticks; empty where there is none, or it has ended."""
    try:
        # The name, in brackets, may hold anything.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in {"Z", "X"} else fields[19]


def _is_gone(process: str) -> bool:
    """Whether it is certain that the process has ended: of one on another machine nothing is."""
    machine, pid, started = process.rsplit(" ", 2) if process.count(" ") >= 2 else ("", "", "")  # noqa: PLR2004 - three parts
    if not machine or machine != _find_machine() or not started:
        return False
    return _find_start(int(pid)) != started


_ADD_CLAIM = Prepared(insert(claims).on_conflict_do_nothing())
_TAKE_OVER = Prepared(
    sa.update(claims)
    .where(claims.c.request_key == sa.bindparam("request_key"))
    .values(worker_id=sa.bindparam("worker_id"), attempt_id=sa.bindparam("attempt_id"))
)
_GIVE_UP = (
    sa.delete(claims)
    .where(claims.c.request_key.in_(sa.bindparam("keys", expanding=True)))
    .where(claims.c.attempt_id.in_(sa.bindparam("ids", expanding=True)))
    .returning(claims.c.attempt_id)
)
_CLAIMED = sa.select(
    claims.c.request_key, claims.c.attempt_id, claims.c.worker_id, leases.c.clock, leases.c.until, leases.c.process
).join(leases, leases.c.worker_id == claims.c.worker_id)
#: What another worker is taking over in this moment is not waited for: it is that worker's.
_HELD = _CLAIMED.with_for_update(of=claims, skip_locked=True)
