from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.fakes.postgres import Mode, Postgres, find_postgres, start_postgres

pytestmark = pytest.mark.skipif(find_postgres() is None, reason="There is no Postgres on this machine.")

_START_AND_HANG = """
import sys
from tests.fakes.postgres import start_postgres
with start_postgres(fsync=False) as server:
    print(server.folder, server.url(), flush=True)
    sys.stdin.read()
"""


@contextmanager
def _connect(url: str) -> Iterator[sa.Connection]:
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        yield connection


def _make_rows(url: str, n_rows: int) -> None:
    with _connect(url) as connection:
        connection.exec_driver_sql("CREATE TABLE rows AS SELECT generate_series(1, %s) AS n", (n_rows,))


def _count_rows(url: str) -> Any:
    with _connect(url) as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM rows").scalar()


def test_a_copy_holds_what_its_template_holds_and_goes_its_own_way(postgres: Postgres) -> None:
    template = postgres.make_database()
    _make_rows(template, 3)
    first, second = postgres.make_database(template), postgres.make_database(template)
    with _connect(first) as connection:
        connection.exec_driver_sql("DELETE FROM rows")
    assert [_count_rows(url) for url in (template, first, second)] == [3, 0, 3]


def test_a_database_is_dropped_though_somebody_is_connected(postgres: Postgres) -> None:
    url = postgres.make_database()
    engine = sa.create_engine(url)
    with engine.connect():
        postgres.drop_database(url)
    engine.dispose()
    with pytest.raises(sa.exc.OperationalError, match="does not exist"), _connect(url):
        pass


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_what_was_committed_is_there_after_a_restart_at_the_same_address(postgres: Postgres, mode: Mode) -> None:
    url = postgres.make_database()
    _make_rows(url, 3)
    postgres.restart(mode)
    assert _count_rows(url) == 3


def test_a_stopped_server_refuses_until_it_is_started(postgres: Postgres) -> None:
    url = postgres.make_database()
    postgres.stop("immediate")
    with pytest.raises(sa.exc.OperationalError, match="refused"), _connect(url):
        pass
    postgres.start()
    _make_rows(url, 1)


def test_it_commits_to_the_disk_unless_told_otherwise(postgres: Postgres) -> None:
    with start_postgres() as server:
        urls = server.url(), postgres.url()
        found = []
        for url in urls:
            with _connect(url) as connection:
                found.append(connection.exec_driver_sql("SHOW fsync").scalar())
    assert found == ["on", "off"]


def test_nothing_is_left_of_a_server_whose_test_fails() -> None:
    with pytest.raises(ZeroDivisionError), start_postgres(fsync=False) as server:
        raise ZeroDivisionError
    assert not server.folder.exists()
    with pytest.raises(sa.exc.OperationalError, match="refused"), _connect(server.url()):
        pass


def test_nothing_is_left_of_a_server_whose_process_is_killed() -> None:
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(
        [sys.executable, "-c", _START_AND_HANG],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        folder, url = process.stdout.readline().split()
        assert Path(folder).exists()
        process.kill()
        # The guard holds the other end of it until all is gone.
        assert process.stdout.read() == ""
    assert not Path(folder).exists()
    with pytest.raises(sa.exc.OperationalError, match="refused"), _connect(url):
        pass
