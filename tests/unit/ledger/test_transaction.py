"""A transaction is committed once, whatever becomes of the connection while it is."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa

from overnight.failures import LedgerRefused
from overnight.ledger.database import Database
from overnight.ledger.schema import meta
from overnight.ledger.transaction import Transaction
from tests.fakes.postgres import Postgres

psycopg = pytest.importorskip("psycopg")


@pytest.fixture
def opened(ledger_url: str) -> Iterator[Database]:
    database = Database(ledger_url)
    with closing(_Disposed(database)):
        yield database


class _Disposed:
    def __init__(self, database: Database) -> None:
        self.close = database.dispose


def _add(connection: sa.Connection) -> None:
    connection.execute(meta.insert().values(name=f"new-{uuid.uuid4()}", value=""))


def _count(database: Database) -> int:
    query = sa.select(sa.func.count()).where(meta.c.name.like("new-%"))
    with database.reading.connect() as connection:
        return int(connection.execute(query).scalar_one())


def _break_once(monkeypatch: pytest.MonkeyPatch, database: Database, at: Callable[[Any], None]) -> None:
    """The first commit ends in a lost connection: before it reached the server, or after."""
    real, left = database.writing.dialect.do_commit, [at]

    def do_commit(connection: Any) -> None:
        if not left:
            real(connection)
            return
        left.pop()(connection)
        connection.driver_connection.close()
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(database.writing.dialect, "do_commit", do_commit)


@pytest.mark.parametrize("database", ["postgres"])
@pytest.mark.parametrize("is_heard", [True, False], ids=["committed", "not committed"])
def test_a_commit_whose_end_nobody_heard_is_asked_for(
    opened: Database, monkeypatch: pytest.MonkeyPatch, is_heard: bool
) -> None:
    n_run = 0

    def work(connection: sa.Connection) -> str:
        nonlocal n_run
        n_run += 1
        _add(connection)
        return "done"

    real = opened.writing.dialect.do_commit
    _break_once(monkeypatch, opened, real if is_heard else lambda _: None)
    assert Transaction(opened, work).run(10.0) == "done"
    assert (n_run, _count(opened)) == (1 if is_heard else 2, 1)


@pytest.mark.parametrize("database", ["postgres"])
def test_a_commit_that_a_crash_undid_is_not_taken_for_another_that_has_its_number_now(
    opened: Database, ledger_url: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_: object) -> None:
        postgres.restart("immediate")
        # Its first transaction has the number of the one that the crash took with it.
        with closing(_Disposed(other := Database(ledger_url))):
            Transaction(other, _add).run(10.0)

    _break_once(monkeypatch, opened, crash)
    Transaction(opened, _add).run(10.0)
    assert _count(opened) == 2


@pytest.mark.parametrize("database", ["postgres"])
def test_a_commit_that_may_still_come_is_waited_for(opened: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[threading.Timer] = []

    def linger(connection: Any) -> None:
        # The server goes on with what its client has given up.
        held = psycopg.connect(opened.writing.url.set(drivername="postgresql").render_as_string(hide_password=False))
        row = connection.cursor().execute("SELECT name, value FROM meta WHERE name = %s", [opened.writer]).fetchone()
        connection.rollback()
        held.execute("INSERT INTO meta VALUES (%s, %s)", row)
        held.execute("INSERT INTO meta VALUES ('new-by-the-first', '')")

        def end() -> None:
            held.commit()
            held.close()

        ends.append(threading.Timer(0.3, end))
        ends[0].start()

    _break_once(monkeypatch, opened, linger)
    Transaction(opened, _add).run(10.0)
    ends[0].join()
    assert _count(opened) == 1


@pytest.mark.parametrize("database", ["postgres"])
def test_a_database_that_does_not_exist_is_not_waited_for(ledger_url: str) -> None:
    with (
        closing(_Disposed(database := Database(ledger_url + "_of_nobody"))),
        pytest.raises(sa.exc.OperationalError) as no,
    ):
        database.insist(lambda: _count(database), 60.0)
    assert "does not exist" in str(database.describe(no.value, "read"))


def test_what_is_wrong_with_the_work_is_not_tried_again(opened: Database) -> None:
    n_run = 0

    def work(connection: sa.Connection) -> None:
        nonlocal n_run
        n_run += 1
        connection.execute(sa.text("SELECT nothing FROM nowhere"))

    with pytest.raises(sa.exc.DBAPIError):
        Transaction(opened, work).run(60.0)
    assert n_run == 1


def test_commits_of_a_ledger_in_a_file_are_counted(opened: Database) -> None:
    counted = []
    for _ in range(2):
        transaction = Transaction(opened, _add)
        transaction.run(1.0)
        counted.append(transaction.n_commits)
    assert counted == ([0, 0] if opened.is_postgres else [counted[0], counted[0] + 1])


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@nowhere.invalid/x",
        "postgresql+psycopg://me:secret@h/x",
        "postgresql:///x?host=h&password=secret",
    ],
)
def test_no_message_says_the_password(url: str) -> None:
    database = Database(url)
    error = sa.exc.OperationalError("SELECT", {}, Exception("gone"))
    assert "secret" not in str(database.describe(error, "read"))
    assert isinstance(database.describe(error, "read"), LedgerRefused)


def test_an_address_that_is_none_is_refused_in_one_line() -> None:
    with pytest.raises(LedgerRefused, match="OVERNIGHT_LEDGER_URL is not a database URL") as caught:
        Database("postgresql://h:port/x")
    assert "\n" not in str(caught.value)
