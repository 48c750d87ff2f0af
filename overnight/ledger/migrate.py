"""Schema migrations by alembic, in one transaction."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from overnight.failpoints import reach
from overnight.failures import LedgerRefused
from overnight.ledger.database import Database
from overnight.ledger.triggers import drop_triggers, make_triggers

#: Any number, the same everywhere: one process migrates a Postgres at a time.
_LOCK = 0x6F766572
#: How long another process may take over it.
_PATIENCE_S = 300.0


def upgrade(database: Database, found: str | None) -> None:
    """
    Bring the schema to the newest version; an interrupted upgrade leaves the old one.

    Raises:
        LedgerRefused: The ledger's version is not one that this code knows.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise LedgerRefused(
            f"The ledger has schema {found}, which this version of overnight does not know. Upgrade overnight, or set"
            " OVERNIGHT_HOME to another place."
        )
    try:
        # Another process may be at it already: it is waited for, and nothing is left to do.
        database.insist(lambda: _upgrade_to_head(database, config), _PATIENCE_S)
    except sa.exc.DBAPIError as error:
        raise LedgerRefused(
            f"The ledger {database.name} cannot be brought from schema {found or 'none'} to this version's"
            f" ({error.orig}). It is as it was. Restore a backup, or set OVERNIGHT_HOME to another place."
        ) from error


def _upgrade_to_head(database: Database, config: Config) -> None:
    with database.writing.begin() as connection:
        if database.is_postgres:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        # Under the lock: another process may have been quicker.
        found = MigrationContext.configure(connection).get_current_revision()
        if found is not None and database.path and found != ScriptDirectory.from_config(config).get_current_head():
            _back_up(database, database.path.with_name(f"{database.path.name}.before-upgrade-from-{found}"))
        config.attributes["connection"] = connection
        # They refer to tables that a migration may make anew.
        drop_triggers(connection)
        command.upgrade(config, "head")
        make_triggers(connection)
        reach("before-migrated")


def _back_up(database: Database, copy: Path) -> None:
    """A copy of the file as it is before the upgrade, whole and without its -wal file; the caller holds its lock."""
    part = copy.with_name(copy.name + ".part")
    part.unlink(missing_ok=True)
    with database.reading.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None, "a connection that is in use has one of the driver's"  # noqa: S101 - narrows the type
        driver.execute("VACUUM INTO ?", (str(part),))
    part.replace(copy)
