"""Leases: each process's time-limited right to the requests that it has claimed."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from overnight.ledger.batching import batched
from overnight.ledger.completions import rows_of
from overnight.ledger.prepared import Prepared, insert, list_marks
from overnight.ledger.schema import claims, leases, to_bytes

#: An attempt's id is its worker's number and the worker's own count below it.
_COUNT_BITS = 32
_PROC = Path("/proc")
_HIDDEN = ""
#: When the lease of who has ended properly ran out.
_RELEASED = 0.0
#: A lease is renewed after this share of it.
RENEWED_AT = 1 / 3


@dataclass(frozen=True)
class Moment:
    """A reading of a clock that nobody sets: of the database, or on one machine the time since it was started."""

    clock: str
    at: float


class Worker:
    """
    Who asks, as the ledger knows it, and as it knows itself.

    Args:
        worker_id: Its number.
        lease_s: How long its right outlives the last sign of its life.
        judges_from: By the ledger's clock, when it may say of others that their time is over: where nobody could write
            for a while all leases have lapsed, and those who live need a moment to renew theirs.
    """

    def __init__(self, worker_id: int, lease_s: float = math.inf, judges_from: float = 0.0) -> None:
        self.worker_id = worker_id
        self.lease_s = lease_s
        self.judges_from = judges_from
        #: How often its right had ended before it was renewed: what it had claimed by then may be another's.
        self.n_lapses = 0
        #: When it was renewed last, by this machine's clock.
        self.renewed_at = _read_steady_clock()
        self._count = itertools.count()

    @property
    def is_current(self) -> bool:
        """Whether its right holds, as far as it knows: it may have been stopped, or the database away."""
        return _read_steady_clock() - self.renewed_at < self.lease_s

    def make_attempt_id(self) -> int:
        """An id that no other attempt has or will have."""
        return (self.worker_id << _COUNT_BITS) + next(self._count)


def read_clock(connection: sa.Connection) -> Moment:
    """Postgres' own time; beside SQLite, which no other machine uses, the machine's time since it was started."""
    if connection.dialect.name == "postgresql":
        at = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
        return Moment("database", float(at))
    return Moment(_find_boot(), _read_steady_clock())


def register(connection: sa.Connection, lease_s: float) -> Worker:
    """Make the process known; its right runs from now."""
    now = read_clock(connection)
    values = {"process": _name_process(), "clock": now.clock, "until": now.at + lease_s}
    added = connection.execute(sa.insert(leases).values(values).returning(leases.c.worker_id))
    return Worker(int(added.scalar_one()), lease_s, now.at + lease_s * RENEWED_AT)


def renew(connection: sa.Connection, worker: Worker) -> None:
    """Let the right run from now; nothing that another worker has taken over comes back."""
    now, mine = read_clock(connection), leases.c.worker_id == worker.worker_id
    if connection.execute(sa.select(leases.c.until).where(mine)).scalar_one() <= now.at:
        worker.n_lapses += 1
        worker.judges_from = now.at + worker.lease_s * RENEWED_AT
    connection.execute(sa.update(leases).where(mine).values(clock=now.clock, until=now.at + worker.lease_s))
    worker.renewed_at = _read_steady_clock()


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
    lapsed = {row.request_key for row in held if _is_free(row, worker, now)} - won
    _TAKE_OVER.run(connection, [_claim_values(worker, key, wanted[key]) for key in lapsed])
    return won | lapsed


def find_claimed(connection: sa.Connection, worker: Worker, keys: Sequence[str]) -> set[str]:
    """Those of the requests that another live worker is asking, as far as this one may judge."""
    now = read_clock(connection)
    found = rows_of(connection, _CLAIMED, claims.c.request_key, keys)
    return {row.request_key for row in found if not _is_free(row, worker, now)}


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


def _is_free(lease: sa.Row[Any], worker: Worker, now: Moment) -> bool:
    # Of what it has claimed itself, it knows best that nobody is asking it any more.
    if lease.worker_id == worker.worker_id:
        return True
    # A clock of before the machine was started anew: whoever was told in it is gone.
    if lease.clock != now.clock or lease.until == _RELEASED or _is_gone(lease.process):
        return True
    return bool(lease.until <= now.at and worker.judges_from <= now.at)


def _read_steady_clock() -> float:
    """Seconds since the machine was started, those that it was suspended among them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@cache
def _find_boot() -> str:
    """What names this start of the machine: on Linux a file, on macOS a variable of the kernel."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        with contextlib.suppress(OSError):
            command = ["sysctl", "-n", "kern.bootsessionuuid"]
            return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - ours
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
    """When the process was started, in the kernel's ticks; "ended" where it has, and empty where nothing tells."""
    try:
        # The name, in brackets, may hold anything.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _HIDDEN
    return "ended" if fields[0] in {"Z", "X"} else fields[19]


def _is_gone(process: str) -> bool:
    """Whether it is certain that the process has ended: of one on another machine nothing is."""
    machine, pid, started = process.rsplit(" ", 2) if process.count(" ") >= 2 else ("", "", "")  # noqa: PLR2004 - three parts
    if not machine or machine != _find_machine() or not started:
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # somebody else's: it is there
    # Where /proc hides the processes of others, it cannot be told from another of the same number.
    return _find_start(int(pid)) not in {started, _HIDDEN}


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
