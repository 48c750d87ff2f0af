"""Opening the ledger: where it is, which schema it has, and how it is read and written."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from overnight.ledger import leases, schema
from overnight.ledger.database import FAULTS, Database
from overnight.ledger.high_water import HighWater
from overnight.ledger.leases import Worker
from overnight.ledger.prepared import insert
from overnight.ledger.transaction import COUNTER, Transaction
from overnight.ledger.writer import Writer

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item

#: The newest migration: `migrations/versions/`.
SCHEMA_VERSION = "0008"
#: How long a database may be locked, or a server away, before what waits for it fails: a night's work waits long,
#: who reads has somebody before the screen, and at the opening nothing is lost yet.
PATIENCE_S = 300.0
_READING_PATIENCE_S = 30.0
_OPENING_PATIENCE_S = 5.0


class Ledger:
    """
    The append-only record of what was asked, answered, decided and delivered.

    Args:
        url: SQLite or Postgres.
        patience_s: How long to wait for a database that is locked or away.
    """

    def __init__(self, url: str, *, patience_s: float = PATIENCE_S) -> None:
        self.url = url
        self._database = Database(url)
        self._patience_s = patience_s
        self._high_water = HighWater(self._database.path) if self._database.path else None
        self._n_commits = 0
        self._workers: list[Worker] = []
        try:
            self._check_whole()
            self._migrate()
        except BaseException:
            self._database.dispose()
            raise
        self._writer = Writer(self._database, patience_s=patience_s, after_commit=self._note_commit)
        self.ledger_id = self._identify()

    @property
    def name(self) -> str:
        """Its address, for people: without a password."""
        return self._database.name

    @property
    def path(self) -> Path | None:
        """Its file, where it is kept in one."""
        return self._database.path

    def write(self, job: Callable[[sa.Connection], T]) -> T:
        """Run a job in a transaction and wait until it is on disk; it may run twice, so it is SQL alone."""
        return self.submit(job).result()

    def submit(self, job: Callable[[sa.Connection], T]) -> Future[T]:
        """As `write`, without the wait."""
        return self._writer.submit(job)

    def submit_each(self, job: Callable[[sa.Connection, Sequence[I]], Sequence[T]], item: I) -> Future[T]:
        """Queue an item for a job that takes all items of a commit together, and gives a result for each."""
        return self._writer.submit_each(job, item)

    def record(
        self, job: Callable[[sa.Connection, Sequence[I]], Sequence[T]], item: I, *, is_urgent: bool = True
    ) -> asyncio.Future[T]:
        """As `submit_each`, for who waits on an event loop; what is not urgent waits a moment for what is."""
        return self._writer.record(job, item, is_urgent=is_urgent)

    def read(self, job: Callable[[sa.Connection], T], *, patience_s: float | None = None) -> T:
        """
        The result of a job over one state of the ledger; it runs again where the database goes away meanwhile.

        Args:
            job: Reads, and nothing else.
            patience_s: How long it may be away; by default as long as for writing.

        Raises:
            LedgerRefused: The ledger is damaged, or stays away.
        """

        def work() -> T:
            with self._database.reading.connect() as connection:
                return job(connection)

        try:
            return self._database.insist(work, self._patience_s if patience_s is None else patience_s)
        except FAULTS as error:
            raise self._database.describe(error, "read") from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the ledger; what is read in it is not read again by itself."""
        try:
            patience_s = min(self._patience_s, _READING_PATIENCE_S)
            with self._database.insist(self._connect, patience_s) as connection:
                yield connection
        except FAULTS as error:
            raise self._database.describe(error, "read") from error

    def compact(self, tables: Sequence[str]) -> tuple[str, ...]:
        """Have the database's files without what was dropped from these tables; what could not be done, in words."""
        return self._database.compact(tables)

    def register(self, lease_s: float) -> Worker:
        """
        Make a worker: one who asks, and whose right to what it claims is renewed from now on.

        Args:
            lease_s: How long the right outlives the last sign of the process's life.
        """
        worker = self.write(lambda connection: leases.register(connection, lease_s))
        self._workers.append(worker)
        self._writer.repeat(functools.partial(leases.renew, worker=worker), lease_s * leases.RENEWED_AT)
        return worker

    @contextlib.contextmanager
    def working(self, lease_s: float) -> Iterator[Worker]:
        """A worker for as long as the work takes: what it has in hand at its end is free at once."""
        worker = self.write(lambda connection: leases.register(connection, lease_s))
        renewal = self._writer.repeat(functools.partial(leases.renew, worker=worker), lease_s * leases.RENEWED_AT)
        try:
            yield worker
        finally:
            self._writer.forget(renewal)
            self.write(functools.partial(leases.release, worker=worker))

    def close(self) -> None:
        """Commit what is queued and let go of the database."""
        for worker in self._workers:
            self._writer.submit(functools.partial(leases.release, worker=worker))
        self._writer.close()
        if self._high_water and self._n_commits:
            self._high_water.raise_to(self._n_commits, now=True)
        self._database.dispose()

    def _connect(self) -> sa.Connection:
        connection = self._database.reading.connect()
        try:
            connection.begin()
        except BaseException:
            connection.close()
            raise
        return connection

    def _note_commit(self, transaction: Transaction[Any]) -> None:
        if self._high_water and transaction.n_commits:
            self._n_commits = transaction.n_commits
            self._high_water.raise_to(self._n_commits)

    def _check_whole(self) -> None:
        if self._high_water is None:
            return
        # The mark first: whatever another process commits meanwhile only raises the count.
        if mark := self._high_water.read():
            self._high_water.check(mark, self.read(_count_commits, patience_s=_OPENING_PATIENCE_S))

    def _migrate(self) -> None:
        found = self.read(find_version, patience_s=_OPENING_PATIENCE_S)
        if found == SCHEMA_VERSION:
            return
        from overnight.ledger.migrate import upgrade  # noqa: PLC0415 - alembic is only needed when the schema is old

        upgrade(self._database, found)

    def _identify(self) -> str:
        query = sa.select(schema.meta.c.name, schema.meta.c.value).where(schema.meta.c.name.in_(["ledger_id", COUNTER]))
        rows = self.read(lambda c: c.execute(query).all(), patience_s=_OPENING_PATIENCE_S)
        found = {row.name: row.value for row in rows}
        if {"ledger_id", COUNTER} <= found.keys():
            return str(found["ledger_id"])
        values = [{"name": "ledger_id", "value": uuid.uuid4().hex}, {"name": COUNTER, "value": "0"}]

        def job(connection: sa.Connection) -> str:
            connection.execute(insert(schema.meta).on_conflict_do_nothing(), values)
            return str(connection.execute(query.where(schema.meta.c.name == "ledger_id")).one().value)

        return self.write(job)


def _count_commits(connection: sa.Connection) -> int:
    if not sa.inspect(connection).has_table(schema.meta.name):
        return 0
    found = connection.execute(sa.select(schema.meta.c.value).where(schema.meta.c.name == COUNTER)).scalar()
    return int(found or 0)


def find_version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


_opening = threading.Lock()


def open_ledger(url: str) -> Ledger:
    """
    The process's one ledger at this address, made and migrated if need be.

    Raises:
        LedgerRefused: It is damaged, went backwards, is newer than this code, or cannot be opened.
    """
    with _opening:
        return _open(url)


@functools.cache
def _open(url: str) -> Ledger:
    ledger = Ledger(url)
    atexit.register(ledger.close)
    return ledger
