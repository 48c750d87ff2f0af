"""The database that a table stands in: its address judged, its line encrypted, its driver's errors translated."""

from __future__ import annotations

import os
import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import sqlalchemy as sa

from overnight.failures import SinkRefused
from overnight.sinks.addresses import find_address
from overnight.sinks.errors import DeliveryDeferred

_BUSY_TIMEOUT_S = 10.0
_LONGEST_REASON = 300
#: Deferred constraints would refuse all rows at the commit, for the one that breaks them. A receipt has to outlive a
#: power cut, whatever the database's default is.
_BEGIN_POSTGRES = (
    "SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '30s'; SET CONSTRAINTS ALL IMMEDIATE;"
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
)
#: A server that vanished is noticed in half a minute; no statement is prepared, for the sake of poolers.
_POSTGRES_ARGUMENTS = {
    "application_name": "overnight",
    "client_encoding": "utf8",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
    "prepare_threshold": None,
}
#: What Postgres says of a value rather than of the table: classes of SQLSTATE, and a trigger's own refusal.
_ROW_FAULTS = ("22", "23", "44", "54", "42804", "42846", "P0001")


class RowRefused(Exception):
    """One row is not taken, or not undone; the message says why."""


class Database:
    """A database by a sink's name; nothing is held open between transactions."""

    def __init__(self, name: str, *, allow_hosts: frozenset[str], credential: str | None) -> None:
        self._name, self._credential = name, credential
        url = urlsplit(name)
        if url.scheme == "sqlite":
            self._engine = _open_sqlite(Path(unquote(url.path[1:])))
        else:
            self._engine = _open_postgres(url, allow_hosts, credential)

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction; where it did not succeed, or its end is not known: DeliveryDeferred."""
        try:
            with self._engine.begin() as connection:
                if is_postgres(connection):
                    connection.exec_driver_sql(_BEGIN_POSTGRES)
                yield connection
        except (sa.exc.DBAPIError, UnicodeDecodeError) as error:
            raise DeliveryDeferred(
                f"{self._name} cannot be used now ({self._describe(error)}). Mend it, or try again later: rows may be"
                " handed over again without harm."
            ) from error

    @contextmanager
    def begin_row(self, connection: sa.Connection) -> Iterator[None]:
        """A part of a transaction that is undone alone where a value is not taken: RowRefused."""
        try:
            with connection.begin_nested():
                yield
        except (OverflowError, sa.exc.DBAPIError) as error:
            if isinstance(error, sa.exc.DBAPIError) and not _is_row_fault(error):
                raise
            raise RowRefused(self._describe(error)) from error

    def _describe(self, error: Exception) -> str:
        """What went wrong, on one line; a driver that repeats the password must not bring it into a log."""
        origin = getattr(error, "orig", None) or error
        said = getattr(getattr(origin, "diag", None), "message_primary", None) or str(origin)
        said = said.replace(self._credential, "…") if self._credential else said
        return " ".join(said.split())[:_LONGEST_REASON]


def is_postgres(connection: sa.Connection) -> bool:
    """Whether it is a Postgres; else it is SQLite."""
    return connection.dialect.name == "postgresql"


def _is_row_fault(error: sa.exc.DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None) or ""
    return isinstance(error, sa.exc.DataError | sa.exc.IntegrityError) or state.startswith(_ROW_FAULTS)


def _open_sqlite(path: Path) -> sa.Engine:
    if not path.is_file():
        raise SinkRefused(f"There is no database file {path}. Make it with its table first, or mend the path.")
    # So that a file that goes missing now is not made anew either.
    uri = f"{path.absolute().as_uri()}?mode=rw"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool, hide_parameters=True)

    @sa.event.listens_for(engine, "begin")
    def start(connection: sa.Connection) -> None:
        # The driver's own BEGIN is deferred: one that reads first and writes later fails when another writes.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _open_postgres(url: SplitResult, allow_hosts: frozenset[str], credential: str | None) -> sa.Engine:
    host = url.hostname or ""
    tls = _choose_tls(host, parse_qs(url.query).get("sslmode", [None])[0], allow_hosts)
    # Both: the driver connects to the address that was judged, and TLS verifies the name.
    place = {"host": host, "hostaddr": find_address(host, allow_hosts)}
    address = sa.URL.create(
        "postgresql+psycopg",
        username=unquote(url.username) if url.username else None,
        password=credential,
        port=url.port,
        database=unquote(url.path[1:]),
    )
    try:
        return sa.create_engine(
            address,
            connect_args={**_POSTGRES_ARGUMENTS, **place, **tls},
            poolclass=sa.NullPool,
            hide_parameters=True,
            isolation_level="READ COMMITTED",
        )
    except ImportError as error:
        raise SinkRefused(
            "The sink is a Postgres, whose driver is not installed: install overnight[postgres]."
        ) from error


def _choose_tls(host: str, ssl_mode: str | None, allow_hosts: frozenset[str]) -> dict[str, str]:
    """What the name asks for; else, outside the house, TLS with a certificate that is verified."""
    if ssl_mode is not None:
        return {"sslmode": ssl_mode}
    if host in allow_hosts:
        return {}
    roots = os.environ.get("PGSSLROOTCERT") or ssl.get_default_verify_paths().cafile or "system"
    return {"sslmode": "verify-full", "sslrootcert": roots}
