"""A ledger that an earlier version wrote is brought to today's schema with all that it holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from overnight.failures import LedgerRefused
from overnight.ledger import Ledger, migrate
from overnight.ledger.spend import Spend, find_spend

_ROWS = """
INSERT INTO runs VALUES ('night-1', 'sort', '{}', NULL, 'halted', NULL, 1.0);
INSERT INTO run_batches VALUES ('night-1', 'input', 1, 'one'), ('night-1', 'completed', 1, 'two');
INSERT INTO run_prompts (run_id, name, text, schema, checks) VALUES ('night-1', 'sort', 't', 's', 'c');
INSERT INTO prompts VALUES (x'01', 'sort', 't', 's', 'm', 'e', '{}', 1.0);
INSERT INTO bodies VALUES (x'02', x'00', 1);
INSERT INTO requests VALUES (x'03', x'01', '{}', x'02', 1.0);
INSERT INTO attempts (request_key, run_id, number, opened_at, outcome, cost_usd, reserved_usd)
VALUES (x'03', 'night-1', 1, 1.0, 'accepted', 0.25, 1.0), (x'03', 'night-1', 2, 1.0, 'open', NULL, 0.5),
       (x'03', 'night-1', 3, 1.0, 'unsent', NULL, 9.0);
INSERT INTO completions VALUES (x'03', 1, '{}', x'04', 1.0);
"""


@pytest.fixture
def old(home: Path) -> Path:
    """A file with the first schema, and some rows."""
    home.mkdir(parents=True)
    path = home / "ledger.sqlite"
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    with closing(sqlite3.connect(path)) as direct:
        direct.executescript(_ROWS)
    return path


def test_an_old_ledger_keeps_what_it_holds(old: Path) -> None:
    with closing(Ledger(f"sqlite:///{old}")) as ledger, ledger.reading() as connection:
        found = connection.exec_driver_sql("SELECT step, stage, manifest FROM run_batches ORDER BY stage").all()
        assert [tuple(row) for row in found] == [(1, "completed", "two"), (1, "input", "one")]
        assert tuple(connection.exec_driver_sql("SELECT step, code FROM run_prompts").one()) == (1, "")
        assert connection.exec_driver_sql("SELECT count(*) FROM attempts WHERE cause IS NULL").scalar() == 3
        assert connection.exec_driver_sql("SELECT model FROM completions").all() == [(None,)]
        # What an attempt that never came back may have cost is spent; one that was not sent cost nothing.
        assert find_spend(connection, ["run:night-1"]) == {"run:night-1": Spend(0.75, 0.0)}
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []


def test_a_ledger_that_cannot_be_migrated_is_refused_on_one_line_and_left_as_it_was(old: Path) -> None:
    with closing(sqlite3.connect(old)) as direct:
        direct.executescript("CREATE TABLE spend (scope TEXT)")
    with pytest.raises(LedgerRefused, match="cannot be brought from schema 0001") as refused:
        Ledger(f"sqlite:///{old}")
    assert "\n" not in str(refused.value)
    with closing(sqlite3.connect(old)) as direct:
        assert direct.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
        assert direct.execute("SELECT count(*) FROM run_batches").fetchall() == [(2,)]
        assert "cause" not in [row[1] for row in direct.execute("PRAGMA table_info(attempts)")]
