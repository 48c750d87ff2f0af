"""Schema migrations by alembic, in one transaction."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from overnight.failures import LedgerRefused


def upgrade(engine: sa.Engine, found: str | None) -> None:
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
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except sa.exc.DBAPIError as error:
        raise LedgerRefused(
            f"The ledger {engine.url} cannot be brought from schema {found or 'none'} to this version's ({error.orig})."
            " It is as it was. Restore a backup, or set OVERNIGHT_HOME to another place."
        ) from error
