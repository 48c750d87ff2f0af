from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from overnight.failures import LedgerRefused
from overnight.ledger import Ledger, open_ledger, store
from overnight.ledger.columns import metadata
from overnight.ledger.schema import meta
from tests.conftest import House
from tests.fakes.postgres import Postgres

_WRITE_20 = """
import sys
from overnight.ledger import Ledger
from overnight.ledger.schema import meta
ledger = Ledger(sys.argv[1])
for n in range(20):
    ledger.write(lambda c: c.execute(meta.insert().values(name=f"{sys.argv[2]}{n}", value="")) and None)
ledger.close()
"""

#: All that takes time is imported before the two are let go together.
_OPEN = """
import sys
from overnight.ledger import Ledger, migrate
print("ready", flush=True)
sys.stdin.read()
ledger = Ledger(sys.argv[1])
print(ledger.ledger_id)
ledger.close()
"""


#: What is tested is SQLite's own: its file, its one lock, its pragmas.
of_sqlite = pytest.mark.parametrize("database", ["sqlite"])
#: And Postgres': a server that goes away and comes back.
of_postgres = pytest.mark.parametrize("database", ["postgres"])


class _Killed(Exception):
    pass


def _refused(url: str) -> str:
    with pytest.raises(LedgerRefused) as caught:
        Ledger(url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_migrations_make_exactly_the_schema(ledger: Ledger) -> None:
    with ledger.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_version_that_is_looked_for_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(store.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == store.SCHEMA_VERSION


def test_a_ledger_keeps_its_id_and_another_has_another(ledger: Ledger, ledger_url: str, empty_url: str) -> None:
    with closing(Ledger(ledger_url)) as again, closing(Ledger(empty_url)) as other:
        assert again.ledger_id == ledger.ledger_id != other.ledger_id


def test_one_process_has_one_ledger_at_an_address(ledger_url: str) -> None:
    assert open_ledger(ledger_url) is open_ledger(ledger_url)


def test_a_newer_schema_is_refused_by_its_version(house: House) -> None:
    house.tamper("UPDATE alembic_version SET version_num = '9999'")
    house.ledger.close()
    assert "schema 9999, which this version of overnight does not know" in _refused(house.settings.ledger_url)


def test_a_file_that_is_not_a_database_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"id,body\n1,these are rows\n" * 100)
    assert "cannot be read (file is not a database)" in _refused(f"sqlite:///{path}")
    assert path.read_bytes() == b"id,body\n1,these are rows\n" * 100


@of_sqlite
def test_a_ledger_that_was_cut_short_is_refused(house: House, home: Path) -> None:
    house.offer()
    house.ledger.close()
    path = home / "ledger.sqlite"
    path.write_bytes(path.read_bytes()[:10_000])
    assert "cannot be read" in _refused(house.settings.ledger_url)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert f"folder {tmp_path / 'file' / 'in'} cannot be made" in _refused(
        f"sqlite:///{tmp_path / 'file' / 'in' / 'l'}"
    )


def test_a_folder_in_the_file_s_place_is_refused(tmp_path: Path) -> None:
    assert "cannot be read (unable to open database file)" in _refused(f"sqlite:///{tmp_path}")


@pytest.mark.parametrize("url", ["no url", "mysql://host/db", "sqlite://"])
def test_another_kind_of_address_is_refused(url: str) -> None:
    assert _refused(url)


def test_a_migration_that_fails_leaves_the_old_schema_and_a_rerun_works(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: object, **options: object) -> None:
        raise _Killed

    with monkeypatch.context() as patched:
        patched.setattr("sqlalchemy.schema.CreateIndex.__init__", stop)
        with pytest.raises(_Killed):
            Ledger(empty_url)
    with sa.create_engine(empty_url, poolclass=sa.NullPool).connect() as direct:
        assert sa.inspect(direct).get_table_names() == []
    with closing(Ledger(empty_url)) as ledger, ledger.reading() as connection:
        assert set(metadata.tables) <= set(sa.inspect(connection).get_table_names())


def test_a_reader_sees_one_state_while_others_write(ledger: Ledger) -> None:
    count = sa.select(sa.func.count()).select_from(meta)
    with ledger.reading() as connection:
        before = connection.execute(count).scalar()
        ledger.write(lambda c: c.execute(meta.insert().values(name="later", value="")) and None)
        assert connection.execute(count).scalar() == before


def test_two_processes_write_to_one_ledger(house: House) -> None:
    command = [sys.executable, "-c", _WRITE_20, house.settings.ledger_url]
    with subprocess.Popen([*command, "a"]) as one, subprocess.Popen([*command, "b"]) as other:
        house.ledger.write(lambda c: c.execute(meta.insert().values(name="mine", value="")) and None)
        assert (one.wait(), other.wait()) == (0, 0)
    assert house.fetch("SELECT count(*) FROM meta WHERE name LIKE 'a%' OR name LIKE 'b%' OR name = 'mine'") == [(41,)]


def test_processes_that_open_a_new_ledger_at_once_share_one(empty_url: str) -> None:
    command = [sys.executable, "-c", _OPEN, empty_url]
    opening = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found = set()
    for process in opening:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in opening:
        assert process.stdin is not None
        process.stdin.close()
    for process in opening:
        with process:
            found.add(process.stdout.read() if process.stdout else "")
    assert [len(ledger_id.strip()) for ledger_id in found] == [32]


@pytest.fixture
def held(ledger_url: str, home: Path) -> Iterator[sqlite3.Connection]:
    """Another connection holds the write lock."""
    with closing(sqlite3.connect(home / "ledger.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


@pytest.fixture
def hasty(ledger_url: str) -> Iterator[Ledger]:
    """A ledger that gives up at once."""
    with closing(Ledger(ledger_url, patience_s=0.0)) as ledger:
        yield ledger


def _add(connection: sa.Connection, name: str = "new") -> None:
    connection.execute(meta.insert().values(name=name, value="x" * 100_000))


def _write_under(ledger: Ledger, pragma: str) -> Future[None]:
    """Write, over a new connection with this setting."""

    def set_up(connection: Any, record: Any) -> None:
        connection.execute(f"PRAGMA {pragma}")

    writing = ledger._database.writing  # noqa: SLF001 - nobody but a test writes under other settings
    writing.dispose()
    sa.event.listen(writing, "connect", set_up)
    try:
        wrote = ledger.submit(_add)
        wrote.exception(30)
    finally:
        sa.event.remove(writing, "connect", set_up)
        writing.dispose()
    return wrote


@of_sqlite
def test_a_ledger_that_somebody_writes_to_can_be_opened_and_read(ledger: Ledger, ledger_url: str, home: Path) -> None:
    with closing(sqlite3.connect(home / "ledger.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with closing(Ledger(ledger_url)) as again, again.reading() as connection:
            assert again.ledger_id == ledger.ledger_id
            assert connection.execute(sa.select(sa.func.count()).select_from(meta)).scalar()


@of_sqlite
def test_a_write_that_waits_too_long_for_another_is_refused_in_one_line_and_works_later(
    hasty: Ledger, held: sqlite3.Connection
) -> None:
    with pytest.raises(LedgerRefused, match=r"cannot be written \(database is locked\)") as caught:
        _write_under(hasty, "busy_timeout=1").result()
    assert "\n" not in str(caught.value)
    held.execute("ROLLBACK")
    _write_under(hasty, "busy_timeout=1").result()


@of_sqlite
def test_a_write_to_a_full_disk_is_refused_in_one_line_and_works_later(hasty: Ledger) -> None:
    with pytest.raises(LedgerRefused, match=r"cannot be written \(database or disk is full\)") as caught:
        _write_under(hasty, "max_page_count=1").result()
    assert "\n" not in str(caught.value)
    _write_under(hasty, "busy_timeout=1").result()


@of_postgres
def test_a_write_while_the_server_is_away_is_refused_in_one_line_and_works_later(
    hasty: Ledger, postgres: Postgres
) -> None:
    postgres.stop("immediate")
    try:
        with pytest.raises(LedgerRefused, match="cannot be written") as caught:
            hasty.submit(_add).result(30)
        assert "\n" not in str(caught.value)
    finally:
        postgres.start()
    hasty.submit(_add).result(30)


@of_postgres
def test_what_waits_for_a_server_that_is_away_is_written_once_when_it_is_back(house: House, postgres: Postgres) -> None:
    postgres.stop("immediate")
    try:
        wrote = [house.ledger.submit(lambda c, n=n: _add(c, f"row {n}")) for n in range(3)]  # type: ignore[misc]
    finally:
        postgres.start()
    for job in wrote:
        job.result(30)
    assert house.fetch("SELECT count(*) FROM meta WHERE name LIKE 'row %'") == [(3,)]
