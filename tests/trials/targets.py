"""Destinations of each kind that rows are delivered to in a trial, and what they hold afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import orjson
import pytest
import sqlalchemy as sa

from tests.acceptance.receiver import Receiver
from tests.conftest import House
from tests.fakes.postgres import Postgres
from tests.fakes.smtp import FakeSmtp

TABLE = "row_id TEXT PRIMARY KEY, request_key TEXT, prompt_hash TEXT, model TEXT, label TEXT, quote TEXT"


class Target:
    """A destination outside the processes that deliver."""

    sink: str

    def list_rows(self) -> list[str]:
        """Every row that it holds, as often as it holds it."""
        raise NotImplementedError

    def count_repeats(self) -> int:
        """How many requests came that had come before."""
        return 0

    def check(self) -> None:
        """Hold what it knows besides against its rows."""


class HttpTarget(Target):
    """A receiver that keeps one row a key, and logs every request."""

    def __init__(self, receiver: Receiver) -> None:
        self.sink, self.received = receiver.url, receiver.received

    def list_rows(self) -> list[str]:
        return sorted({r.key: r.row["row_id"] for r in self.received}.values())

    def check(self) -> None:
        bodies = {(r.key, orjson.dumps(r.row)) for r in self.received}
        assert len(bodies) == len({key for key, _ in bodies})

    def count_repeats(self) -> int:
        keys = [r.key for r in self.received]
        return len(keys) - len(set(keys))


class FileTarget(Target):
    def __init__(self, house: House) -> None:
        self.sink, self._path = house.sink, house.out

    def list_rows(self) -> list[str]:
        return sorted(orjson.loads(line)["row_id"] for line in self._path.read_bytes().splitlines())


class SqlTarget(Target):
    def __init__(self, address: str, engine: sa.Engine) -> None:
        self.sink, self._engine = f"{address}?table=leads", engine
        with engine.begin() as connection:
            connection.exec_driver_sql(f"CREATE TABLE leads ({TABLE})")

    def list_rows(self) -> list[str]:
        return sorted(self.fetch("SELECT row_id FROM leads"))

    def check(self) -> None:
        assert sorted(self.fetch("SELECT row_id FROM overnight_deliveries")) == self.list_rows()

    def fetch(self, query: str) -> list[str]:
        with self._engine.connect() as connection:
            return [str(row[0]) for row in connection.exec_driver_sql(query)]


class MailTarget(Target):
    def __init__(self, smtp: FakeSmtp) -> None:
        self.sink, self._smtp = smtp.name(), smtp

    def list_rows(self) -> list[str]:
        return sorted(mail.subject.rpartition(" ")[2] for mail in self._smtp.messages)


@contextmanager
def open_target(kind: str, house: House, request: pytest.FixtureRequest) -> Iterator[Target]:
    """A destination of this kind that holds nothing yet: http, file, mail, sqlite or postgres."""
    match kind:
        case "http":
            with Receiver() as receiver:
                yield HttpTarget(receiver)
        case "file":
            yield FileTarget(house)
        case "mail":
            with FakeSmtp() as smtp:
                yield MailTarget(smtp)
        case "sqlite":
            house.home.mkdir(exist_ok=True)
            address = f"sqlite:///{house.home / 'out.db'}"
            yield SqlTarget(address, sa.create_engine(address, poolclass=sa.NullPool))
        case _:
            server: Postgres = request.getfixturevalue("postgres")
            url = server.make_database()
            yield SqlTarget(url.replace("+psycopg", ""), sa.create_engine(url, poolclass=sa.NullPool))
            server.drop_database(url)
