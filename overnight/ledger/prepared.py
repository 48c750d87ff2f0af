"""Statements that are compiled once and run with many rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from overnight.ledger.batching import batched

#: Postgres' construct: SQLite has taken its ON CONFLICT over, and SQLAlchemy writes it for both.
insert = postgresql.insert

#: Both drivers take the values of a row by name.
_DIALECTS: dict[str, sa.Dialect] = {
    "sqlite": sqlite.dialect(paramstyle="named"),
    "postgresql": postgresql.dialect(paramstyle="pyformat"),  # type: ignore[no-untyped-call]
}


class Prepared:
    """
    A statement of SQLAlchemy's as the text that each database takes.

    SQLAlchemy compiles an INSERT … ON CONFLICT anew each time, which costs more than running it for some dozens of
    rows. Its types do not see these values: keys are bytes (`schema.to_bytes`).
    """

    def __init__(self, statement: sa.sql.expression.UpdateBase) -> None:
        self._statement = statement
        self._texts: dict[str, str] = {}

    def run(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Run it for each row; how many rows of the table changed."""
        if not rows:
            return 0
        return connection.exec_driver_sql(self._compile(connection.dialect.name), list(rows)).rowcount

    def _compile(self, name: str) -> str:
        if name not in self._texts:
            self._texts[name] = str(self._statement.compile(dialect=_DIALECTS[name]))
        return self._texts[name]


def list_marks(connection: sa.Connection, n: int) -> str:
    """The places of `n` values in a list, as the driver has them."""
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    return f"({','.join([mark] * n)})"


class Among:
    """
    A query for the rows whose key is one of some, as text too; keys come back as the database holds them.

    Args:
        query: Without a condition.
        column: The key.
    """

    def __init__(self, query: sa.Select[Any], column: sa.Column[Any]) -> None:
        self._head = f"{query} WHERE {column} IN "

    def find(self, connection: sa.Connection, keys: Sequence[str]) -> Iterator[sa.Row[Any]]:
        """The rows."""
        for some in batched(keys):
            text = self._head + list_marks(connection, len(some))
            yield from connection.exec_driver_sql(text, tuple(map(bytes.fromhex, some))).all()
