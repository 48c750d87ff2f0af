"""Looking at a ledger without opening it as one: nothing is made, migrated or written."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from overnight.ledger.database import FAULTS, Database
from overnight.ledger.provider_batch_schema import provider_batch_items
from overnight.ledger.schema import attempts, runs
from overnight.ledger.store import find_version


@dataclass(frozen=True)
class LedgerFacts:
    """What a ledger is found to be."""

    #: For people: without a password.
    name: str
    #: Such as "SQLite 3.40.1" or "Postgres 15.3".
    database: str
    #: None: there is no ledger in it yet.
    version: str | None
    n_runs: int = 0
    #: Calls of which nobody knows whether they were billed; not those in provider batches.
    n_unknown: int = 0
    #: Requests in provider batches, whose answers have not come or are not judged.
    n_in_batches: int = 0
    #: What SQLite itself finds wrong with the file; empty where nothing is.
    damage: str = ""
    #: How far the database's clock is ahead of this machine's, in seconds; None where it has none of its own.
    clock_ahead_s: float | None = None


def inspect_ledger(url: str) -> LedgerFacts:
    """
    What stands at this address.

    Raises:
        LedgerRefused: It cannot be reached, or is no database.
    """
    database = Database(url)
    try:
        with database.reading.connect() as connection:
            return _look(connection, database)
    except FAULTS as error:
        raise database.describe(error, "read") from error
    finally:
        database.dispose()


def _look(connection: sa.Connection, database: Database) -> LedgerFacts:
    version = find_version(connection)
    kind, ahead_s = _name_database(connection), _compare_clocks(connection)
    if version is None:
        return LedgerFacts(database.name, kind, version, clock_ahead_s=ahead_s)
    n_runs = connection.execute(sa.select(sa.func.count()).select_from(runs)).scalar_one()
    n_open = connection.execute(sa.select(sa.func.count()).where(attempts.c.outcome == "open")).scalar_one()
    n_packed = _count_packed(connection)
    n_unknown, damage = n_open - n_packed, _find_damage(connection)
    return LedgerFacts(database.name, kind, version, n_runs, n_unknown, n_packed, damage, ahead_s)


def _count_packed(connection: sa.Connection) -> int:
    # A ledger of before there were provider batches is looked at as it is.
    if not sa.inspect(connection).has_table(provider_batch_items.name):
        return 0
    packed = sa.select(sa.func.count()).select_from(attempts).where(attempts.c.outcome == "open")
    packed = packed.join(provider_batch_items, provider_batch_items.c.attempt_id == attempts.c.attempt_id)
    return connection.execute(packed).scalar_one()


def _find_damage(connection: sa.Connection) -> str:
    if connection.dialect.name == "postgresql":
        return ""
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    return "" if found == "ok" else " ".join(str(found).split())


def _name_database(connection: sa.Connection) -> str:
    if connection.dialect.name != "postgresql":
        return f"SQLite {sqlite3.sqlite_version}"
    return f"Postgres {connection.exec_driver_sql('SHOW server_version').scalar_one().split()[0]}"


def _compare_clocks(connection: sa.Connection) -> float | None:
    if connection.dialect.name != "postgresql":
        return None
    at = connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
    return float(at) - datetime.now(UTC).timestamp()
