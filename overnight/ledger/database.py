"""The database that holds the ledger, SQLite or Postgres: how it is connected to, and what its faults mean."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import tenacity

from overnight.failures import LedgerRefused

T = TypeVar("T")

#: What the driver raises; of a damaged SQLite file also this, over a name in it that is no text any more.
FAULTS = (sa.exc.DatabaseError, UnicodeDecodeError)

_CONNECT = "Check OVERNIGHT_LEDGER_URL, and that the server runs; what was recorded is kept."
_FREE = (
    "Free what holds it, or its disk, and run again: what was recorded is kept. Where it is damaged, restore it from a"
    " backup."
)
_FIRST_WAIT_S, _MOST_WAIT_S = 0.05, 2.0
#: How long a statement waits for another process's transaction before it says so.
BUSY_TIMEOUT_MS = 10_000
#: Postgres: a deadlock, a transaction that another one got in the way of, a lock that another one holds.
_CROSSED = {"40P01", "40001", "55P03"}


class Database:
    """
    One database, by its URL.

    Attributes:
        reading: Connections that see one state of the ledger.
        writing: Connections whose transactions exclude each other as far as the database needs it.
        writer: The name under which what is written through it is signed.
    """

    def __init__(self, url: str) -> None:
        parsed = _parse(url)
        self.is_postgres = parsed.get_backend_name() == "postgresql"
        #: For people: without the password.
        self.name = parsed.set(query={}).render_as_string(hide_password=True)
        self.writer = f"last commit of {uuid.uuid4().hex}"
        self._has_answered = False
        #: Where it is a file.
        self.path = None if self.is_postgres else Path(str(parsed.database))
        if self.is_postgres:
            self.writing = _connect_postgres(parsed)
            sa.event.listen(self.writing, "connect", self._note_answer)
            self.reading: sa.Engine = self.writing.execution_options(isolation_level="REPEATABLE READ")
        else:
            self.reading = _connect_sqlite(parsed, begin="BEGIN")
            self.writing = _connect_sqlite(parsed, begin="BEGIN IMMEDIATE")

    def dispose(self) -> None:
        """Let go of every connection."""
        self.reading.dispose()
        self.writing.dispose()

    def compact(self, tables: Sequence[str]) -> tuple[str, ...]:
        """
        Have the files without the bytes of rows that are gone; what could not be done, in words.

        Args:
            tables: Those that rows or texts were dropped from.
        """
        if self.path is None:
            return _compact_postgres(self.writing, tables)
        return _compact_sqlite(self.writing)

    def is_passing(self, error: BaseException) -> bool:
        """Whether the same transaction may succeed later: another one is in its way, or the server is gone for now."""
        if not isinstance(error, sa.exc.DBAPIError):
            return False
        if not self.is_postgres:
            # Not "full" or "malformed": those stay.
            return "locked" in str(error.orig) or "busy" in str(error.orig)
        state = getattr(error.orig, "sqlstate", None) or ""
        if not state and isinstance(error, sa.exc.OperationalError):
            # Nobody answered, or who did is starting, ending or full; a name or password that was wrong stays wrong.
            return self._has_answered or "FATAL:" not in str(error.orig) or "the database system is" in str(error.orig)
        return error.connection_invalidated or state in _CROSSED or state[:2] in {"08", "57"}

    def insist(self, work: Callable[[], T], patience_s: float) -> T:
        """The result of the work, done again while its faults are passing ones, for so long."""
        try:
            return work()
        except sa.exc.DBAPIError as error:
            if not self.is_passing(error):
                raise
        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self.is_passing),
            wait=tenacity.wait_exponential_jitter(multiplier=_FIRST_WAIT_S, max=_MOST_WAIT_S, jitter=_FIRST_WAIT_S),
            stop=tenacity.stop_after_delay(patience_s),
            reraise=True,
        )
        return again(work)

    def describe(self, error: sa.exc.DatabaseError | UnicodeDecodeError, what: str) -> LedgerRefused:
        """The fault in one line; what was recorded is kept."""
        why = " ".join(str(getattr(error, "orig", error)).split())
        remedy = (
            "Free what holds it, or its disk, and run again: what was recorded is kept. Where it is damaged, restore"
        )
        remedy += " it from a backup."
        if "connection failed" in why:
            remedy = "Check OVERNIGHT_LEDGER_URL, and that the server runs; what was recorded is kept."
        return LedgerRefused(f"The ledger {self.name} cannot be {what} ({why}). {remedy}")

    def _note_answer(self, connection: Any, record: Any) -> None:  # noqa: ARG002 - SQLAlchemy's signature
        self._has_answered = True


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise LedgerRefused("OVERNIGHT_LEDGER_URL is not a database URL. Unset or mend it.") from error
    kind = parsed.get_backend_name()
    if kind == "postgresql":
        _refuse_without_driver()
        return parsed.set(drivername="postgresql+psycopg")
    if kind != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise LedgerRefused(
            f"The ledger cannot be kept in {parsed.drivername!r}. Use sqlite:///PATH or postgresql+psycopg://…"
        )
    _make_folder(Path(parsed.database).parent)
    return parsed


def _refuse_without_driver() -> None:
    try:
        import psycopg  # noqa: F401, PLC0415 - only a ledger in Postgres needs it
    except ImportError as error:
        raise LedgerRefused(
            "OVERNIGHT_LEDGER_URL names a Postgres, and its driver is not installed. Install overnight[postgres]."
        ) from error


def _connect_sqlite(url: sa.URL, *, begin: str) -> sa.Engine:
    engine = sa.create_engine(url)

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, record: Any) -> None:  # noqa: ARG001 - SQLAlchemy's signature
        # The driver's own BEGIN is deferred: one that reads first and writes later fails when another writes.
        connection.isolation_level = None
        for pragma in ("synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON", "journal_mode=WAL"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def start(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _connect_postgres(url: sa.URL) -> sa.Engine:
    arguments = {"application_name": "overnight", "connect_timeout": 10}
    engine = sa.create_engine(url, pool_pre_ping=True, connect_args=arguments)

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, record: Any) -> None:  # noqa: ARG001 - SQLAlchemy's signature
        # Nobody's default may cost an answer: synchronous_commit is what keeps it through a power cut.
        connection.execute("SET synchronous_commit = on")
        connection.execute(f"SET lock_timeout = {BUSY_TIMEOUT_MS}")
        connection.commit()

    return engine


def _compact_sqlite(engine: sa.Engine) -> tuple[str, ...]:
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None, "a connection that is in use has one of the driver's"  # noqa: S101 - narrows the type
        try:
            driver.execute("VACUUM")
            [(is_busy, *_)] = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.OperationalError as error:
            return (f"The ledger's file could not be written anew ({error}): run the same purge again.",)
    return (
        ("Somebody reads the ledger: its -wal file holds old pages until the purge is run again.",) if is_busy else ()
    )


def _compact_postgres(engine: sa.Engine, tables: Sequence[str]) -> tuple[str, ...]:
    left = []
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in tables:
            try:
                connection.exec_driver_sql(f"VACUUM (FULL) {table}")
            except sa.exc.OperationalError:
                # Somebody works on it: its space is reused, and what stood there may stay in its file until then.
                connection.exec_driver_sql(f"VACUUM {table}")
                left.append(f"Table {table} is in use and was not written anew: run the same purge again.")
    return tuple(left)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerRefused(
            f"The ledger's folder {folder} cannot be made ({error.strerror}). Set OVERNIGHT_HOME to another."
        ) from error
