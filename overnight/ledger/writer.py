"""One thread writes: what arrives while it commits goes into the next commit together."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from overnight.failpoints import reach
from overnight.ledger.database import FAULTS, Database
from overnight.ledger.transaction import Transaction

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item

#: Jobs in one transaction, at the most.
GROUP = 256
#: How long jobs that are in no hurry wait for one that is: a commit costs more than what stands in it.
LINGER_S = 0.005

#: What a function makes of the items of all its jobs in a group: a result for each.
Run = Callable[[sa.Connection, Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True)
class _Job:
    run: Run
    item: Any
    done: Future[Any] | asyncio.Future[Any]
    #: Whether somebody holds a slot until it is on disk.
    is_urgent: bool = True


@dataclass
class Repeated:
    """A job that is run again and again while the writer lives."""

    run: Callable[[sa.Connection], object]
    every_s: float
    due_at: float


class Writer:
    """
    Runs jobs in group commits; a job's future resolves only after its commit.

    A job may be run twice: where one of a group fails, the group is rolled back and
    each job gets a transaction of its own. So a job does nothing but SQL.

    Args:
        database: Where it writes.
        patience_s: How long it waits for a database that is locked or away.
        after_commit: Told after each commit, in the writer's thread.
    """

    def __init__(
        self,
        database: Database,
        *,
        patience_s: float,
        after_commit: Callable[[Transaction[Any]], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._patience_s = patience_s
        self._after_commit = after_commit
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._repeated: list[Repeated] = []
        self._thread = threading.Thread(target=self._work, name="ledger-writer", daemon=True)
        self._thread.start()

    def submit(self, run: Callable[[sa.Connection], T]) -> Future[T]:
        """Queue a job; the future has its result once it is on disk."""
        return self.submit_each(_call_each, run)

    def submit_each(self, run: Callable[[sa.Connection, Sequence[I]], Sequence[T]], item: I) -> Future[T]:
        """Queue an item for a function that takes all items of a group at once, and has a result for each."""
        job = _Job(run, item, Future())
        self._jobs.put(job)
        return job.done  # type: ignore[return-value]

    def record(
        self, run: Callable[[sa.Connection, Sequence[I]], Sequence[T]], item: I, *, is_urgent: bool = True
    ) -> asyncio.Future[T]:
        """As `submit_each`, for who waits on an event loop: all of a commit are woken together."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(run, item, done, is_urgent))
        return done

    def repeat(self, run: Callable[[sa.Connection], object], every_s: float) -> Repeated:
        """Run a job every so often, between the others, until it is forgotten."""
        again = Repeated(run, every_s, time.monotonic() + every_s)
        self._repeated = [*self._repeated, again]
        self.submit(lambda _: None)  # wakes a writer that sleeps without an end
        return again

    def forget(self, again: Repeated) -> None:
        """Run it no more."""
        self._repeated = [other for other in self._repeated if other is not again]

    def close(self) -> None:
        """Commit what is queued, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            group, last = self._next_group()
            if group and not self._commit(group):
                for job in group:
                    self._commit([job], alone=True)
            if last:
                return

    def _next_group(self) -> tuple[list[_Job], bool]:
        group = [_Job(_call_each, again.run, Future()) for again in self._find_due()]
        wait_s, commits_at = 0.0 if group else self._find_wait_s(), float("inf")
        try:
            while (job := self._jobs.get(timeout=wait_s)) is not None:
                group.append(job)
                commits_at = 0.0 if job.is_urgent else min(commits_at, time.monotonic() + LINGER_S)
                if len(group) >= GROUP:
                    return group, False
                # One more that is there already, or that comes before the last moment for those that linger.
                wait_s = max(commits_at - time.monotonic(), 0.0)
        except queue.Empty:
            return group, False
        return group, True

    def _find_due(self) -> list[Repeated]:
        now = time.monotonic()
        due = [again for again in self._repeated if again.due_at <= now]
        for again in due:
            again.due_at = now + again.every_s
        return due

    def _find_wait_s(self) -> float | None:
        due_at = min((again.due_at for again in self._repeated), default=None)
        return None if due_at is None else max(due_at - time.monotonic(), 0.0)

    def _commit(self, group: list[_Job], *, alone: bool = False) -> bool:
        transaction = Transaction(self._database, lambda connection: _run_all(group, connection))
        try:
            results = transaction.run(self._patience_s)
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the one who waits for the job
            # A database that is full, locked or away fails each of them alike.
            if not alone and not isinstance(error, sa.exc.OperationalError):
                return False
            named = self._database.describe(error, "written") if isinstance(error, FAULTS) else error
            named.__cause__ = None if named is error else error
            _settle((job.done, None, named) for job in group)
            return True
        self._after_commit(transaction)
        reach("after-commit")
        _settle((job.done, result, None) for job, result in results)
        return True


_Settled = tuple[Future[Any] | asyncio.Future[Any], Any, BaseException | None]


def _settle(ended: Iterable[_Settled]) -> None:
    """Tell whoever waits; those of one event loop by one call."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Settled]] = {}
    for one in ended:
        if isinstance(one[0], asyncio.Future):
            by_loop.setdefault(one[0].get_loop(), []).append(one)
        elif one[0].set_running_or_notify_cancel():
            _set(*one)
    for loop, ones in by_loop.items():
        # A loop that is closed has nobody any more who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_set_all, ones)


def _set_all(ended: Iterable[_Settled]) -> None:
    for done, result, error in ended:
        if not done.cancelled():
            _set(done, result, error)


def _set(done: Future[Any] | asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)


def _run_all(group: list[_Job], connection: sa.Connection) -> list[tuple[_Job, Any]]:
    found: dict[Run, list[_Job]] = {}
    for job in group:
        found.setdefault(job.run, []).append(job)
    return [done for run, jobs in found.items() for done in _run(run, jobs, connection)]


def _run(run: Run, jobs: list[_Job], connection: sa.Connection) -> Iterable[tuple[_Job, Any]]:
    return zip(jobs, run(connection, [job.item for job in jobs]), strict=True)


def _call_each(connection: sa.Connection, calls: Sequence[Callable[[sa.Connection], T]]) -> list[T]:
    return [call(connection) for call in calls]
