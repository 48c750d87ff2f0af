"""One thread writes: what arrives while it commits goes into the next commit together."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

T = TypeVar("T")

#: Jobs in one transaction, at the most.
GROUP = 256


@dataclass(frozen=True)
class _Job:
    run: Callable[[sa.Connection], Any]
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
        job = _Job(run, Future())
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
                results = [job.run(connection) for job in group]
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the one who waits for the job
            if alone:
                group[0].done.set_exception(error)
            return False
        for job, result in zip(group, results, strict=True):
            job.done.set_result(result)
        return True
