"""One thread writes: what arrives while it commits goes into the next commit together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from overnight.failures import LedgerRefused

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item

#: Jobs in one transaction, at the most.
GROUP = 256


@dataclass(frozen=True)
class _Job:
    #: Takes the items of all its jobs in the group, gives a result for each.
    run: Callable[[sa.Connection, Sequence[Any]], Sequence[Any]]
    item: Any
    done: Future[Any]


class Writer:
    """
    Runs jobs in group commits; a job's future resolves only after its commit.

    A job may be run twice: where one of a group fails, the group is rolled back and
    each job gets a transaction of its own. So a job does nothing but SQL.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ledger-writer", daemon=True)
        self._thread.start()

    def submit(self, run: Callable[[sa.Connection], T]) -> Future[T]:
        """Queue a job; the future has its result once it is on disk."""
        return self.submit_each(_call_each, run)

    def submit_each(self, run: Callable[[sa.Connection, Sequence[I]], Sequence[T]], item: I) -> Future[T]:
        """Queue an item for a function that takes all items of a group at once, and has a result for each."""
        job = _Job(run, item, Future())
        self._jobs.put(job)
        return job.done

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
        group: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            group.append(job)
            if len(group) == GROUP:
                return group, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _commit(self, group: list[_Job], *, alone: bool = False) -> bool:
        try:
            with self._engine.begin() as connection:
                results = [done for run, jobs in _by_function(group) for done in _run(run, jobs, connection)]
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the one who waits for the job
            if alone or isinstance(error, sa.exc.OperationalError):
                # A ledger that is locked or full fails each of them alike.
                for job in group:
                    job.done.set_exception(_name(error))
                return True
            return False
        for job, result in results:
            job.done.set_result(result)
        return True


def _name(error: BaseException) -> BaseException:
    if not isinstance(error, sa.exc.OperationalError):
        return error
    refused = LedgerRefused(
        f"The ledger cannot be written ({error.orig}). Free what holds it, or its disk, and run again: what was"
        " recorded is kept."
    )
    refused.__cause__ = error
    return refused


def _by_function(group: list[_Job]) -> Iterable[tuple[Any, list[_Job]]]:
    """The group's jobs by what they run, in the order in which each was first asked for."""
    found: dict[Any, list[_Job]] = {}
    for job in group:
        found.setdefault(job.run, []).append(job)
    return found.items()


def _run(run: Any, jobs: list[_Job], connection: sa.Connection) -> Iterable[tuple[_Job, Any]]:
    return zip(jobs, run(connection, [job.item for job in jobs]), strict=True)


def _call_each(connection: sa.Connection, calls: Sequence[Callable[[sa.Connection], T]]) -> list[T]:
    return [call(connection) for call in calls]
