"""A process killed in a migration leaves the old schema with all that it held; the next one brings it to the new."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from overnight.ledger import Ledger, migrate
from overnight.ledger.store import SCHEMA_VERSION
from tests.trials.conftest import IS_LONG

PROMPT, BODY, KEY, DIGEST = (bytes([n]) * 32 for n in range(4))
#: Rows of every kind that a migration touches, as the versions before it wrote them.
ROWS: dict[str, list[dict[str, Any]]] = {
    "runs": [{"run_id": "night-1", "flow": "sort", "parameters": "{}", "state": "halted", "started_at": 1.0}],
    "prompts": [
        {
            **{name: name for name in ("name", "text", "schema", "model", "endpoint", "parameters")},
            "prompt_hash": PROMPT,
            "recorded_at": 1.0,
        }
    ],
    "bodies": [{"digest": BODY, "data": b"\0", "n_bytes": 1}],
    "requests": [{"request_key": KEY, "prompt_hash": PROMPT, "input": "{}", "body": BODY, "recorded_at": 1.0}],
    "attempts": [
        {"request_key": KEY, "run_id": "night-1", "number": n, "opened_at": 1.0, "outcome": "accepted", "cost_usd": 0.1}
        for n in range(1, 1001)
    ],
    "completions": [{"request_key": KEY, "attempt_id": 1, "output": "{}", "output_digest": DIGEST, "accepted_at": 1.0}],
    "quarantines": [
        {
            "request_key": KEY,
            "attempt_id": 2,
            "failure_class": "check",
            "reason": "none",
            "output": '{"label":"red"}',
            "recorded_at": 1.0,
        }
    ],
}
#: From nothing, or from an older schema.
CASES = [("sqlite", "0002"), ("postgres", "")]
CASES += [("sqlite", ""), ("sqlite", "0001"), ("postgres", "0001"), ("postgres", "0002")] if IS_LONG else []


@contextmanager
def connect(url: str) -> Iterator[sa.Connection]:
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        yield connection


def make_old(url: str, version: str) -> None:
    """A ledger of this schema, with some rows."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    with connect(url) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        found = sa.MetaData()
        found.reflect(connection)
        for name, rows in ROWS.items():
            connection.execute(found.tables[name].insert(), rows)


def read_all(url: str) -> dict[str, list[Any]]:
    """Every table's rows, and the schema's version among them."""
    with connect(url) as connection:
        tables = sorted(sa.inspect(connection).get_table_names())
        return {n: list(connection.exec_driver_sql(f"SELECT * FROM {n}")) for n in tables}  # noqa: S608 - ours


def open_and_be_killed(url: str) -> int:
    """The exit code of a process that opens the ledger."""
    line = "import sys; from overnight.ledger import Ledger; Ledger(sys.argv[1])"
    environment = os.environ | {"OVERNIGHT_FAILPOINT": "before-migrated"}
    return subprocess.run([sys.executable, "-c", line, url], env=environment, check=False).returncode


@pytest.mark.parametrize(("database", "version"), CASES)
def test_a_process_killed_in_a_migration_leaves_the_old_schema_and_a_rerun_works(
    database: str, version: str, empty_url: str, home: Path, say: Callable[[str], None]
) -> None:
    home.mkdir(parents=True)
    if version:
        make_old(empty_url, version)
    before = read_all(empty_url)
    assert open_and_be_killed(empty_url) == -9
    left = read_all(empty_url)
    say(f"{database}: killed in the migration from {version or 'nothing'}: {len(left)} tables left as they were")
    assert left == before
    with closing(Ledger(empty_url)) as ledger, ledger.reading() as connection:
        version_now = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
        assert version_now == SCHEMA_VERSION
        for name in ROWS if version else []:
            n_rows = connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()  # noqa: S608 - ours
            assert n_rows == len(ROWS[name])
        ledger.register(60.0)
