"""Opening the ledger: where it is, which schema it has, and how it is read and written."""

from __future__ import annotations

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
from sqlalchemy.dialects.sqlite import insert

from overnight.failures import LedgerRefused
from overnight.ledger import schema
from overnight.ledger.writer import Writer

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741 - an item

#: The newest migration: `migrations/versions/`.
SCHEMA_VERSION = "0002"


class Ledger:
    """The append-only record of what was asked, answered, decided and delivered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._reading = _make_engine(url, begin="BEGIN")
        self._writing = _make_engine(url, begin="BEGIN IMMEDIATE")
        self._migrate()
        self._writer = Writer(self._writing)
        self.ledger_id = self._identify()

    def write(self, job: Callable[[sa.Connection], T]) -> T:
        """Run a job in a transaction and wait until it is on disk; it may run twice, so it is SQL alone."""
        return self.submit(job).result()

    def submit(self, job: Callable[[sa.Connection], T]) -> Future[T]:
        """As `write`, without the wait."""
        return self._writer.submit(job)

    def submit_each(self, job: Callable[[sa.Connection, Sequence[I]], Sequence[T]], item: I) -> Future[T]:
        """Queue an item for a job that takes all items of a commit together, and gives a result for each."""
        return self._writer.submit_each(job, item)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the ledger."""
        try:
            with self._reading.connect() as connection:
                yield connection
        except sa.exc.OperationalError as error:
            raise LedgerRefused(
                f"The ledger {self.url} cannot be read ({error.orig}). Free what holds it and try again."
            ) from error

    def close(self) -> None:
        """Commit what is queued and let go of the database."""
        self._writer.close()
        self._reading.dispose()
        self._writing.dispose()

    def _migrate(self) -> None:
        found = self._version()
        if found == SCHEMA_VERSION:
            return
        from overnight.ledger.migrate import upgrade  # noqa: PLC0415 - alembic is only needed when the schema is old

        upgrade(self._writing, found)

    def _version(self) -> str | None:
        try:
            with self._reading.connect() as connection:
                if not sa.inspect(connection).has_table("alembic_version"):
                    return None
                return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        except sa.exc.DBAPIError as error:
            raise LedgerRefused(
                f"The ledger {self.url} cannot be read ({error.orig}). Restore it from a backup, or set"
                " OVERNIGHT_LEDGER_URL or OVERNIGHT_HOME to another place."
            ) from error

    def _identify(self) -> str:
        query = sa.select(schema.meta.c.value).where(schema.meta.c.name == "ledger_id")
        with self.reading() as connection:
            if found := connection.execute(query).scalar():
                return str(found)
        made = insert(schema.meta).on_conflict_do_nothing()

        def job(connection: sa.Connection) -> str:
            connection.execute(made, {"name": "ledger_id", "value": uuid.uuid4().hex})
            return str(connection.execute(query).scalar_one())

        return self.write(job)


_opening = threading.Lock()


def open_ledger(url: str) -> Ledger:
    """
    The process's one ledger at this address, made and migrated if need be.

    Raises:
        LedgerRefused: It is damaged, newer than this code, or cannot be opened.
    """
    with _opening:
        return _open(url)


@functools.cache
def _open(url: str) -> Ledger:
    ledger = Ledger(url)
    atexit.register(ledger.close)
    return ledger


def _make_engine(url: str, *, begin: str) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise LedgerRefused(
            f"OVERNIGHT_LEDGER_URL is {url!r}, which is not a database URL. Unset or mend it."
        ) from error
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        raise LedgerRefused(f"The ledger cannot be kept in {parsed.drivername!r}. Use sqlite:///PATH.")
    _make_folder(Path(parsed.database).parent)
    engine = sa.create_engine(parsed)

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, record: Any) -> None:  # noqa: ARG001 - SQLAlchemy's signature
        # The driver's own BEGIN is deferred: one that reads first and writes later fails when another writes.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def start(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerRefused(
            f"The ledger's folder {folder} cannot be made ({error.strerror}). Set OVERNIGHT_HOME to another."
        ) from error
