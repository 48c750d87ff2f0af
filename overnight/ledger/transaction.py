"""One transaction that is run until it is known to be committed, or known not to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import sqlalchemy as sa

from overnight.failpoints import reach
from overnight.ledger.database import Database
from overnight.ledger.schema import meta

T = TypeVar("T")

#: The name of the counter of commits in `meta`.
COUNTER = "n_commits"

_COUNT = sa.cast(sa.cast(meta.c.value, sa.Integer) + 1, sa.Text)
_COUNT_UP = sa.update(meta).where(meta.c.name == COUNTER).values(value=_COUNT).returning(meta.c.value)


class Transaction(Generic[T]):
    """
    A transaction, run again where the database was locked or went away.

    Where the connection breaks in the very moment of the commit, Postgres is asked afterwards what became of it: run
    again blindly, it would book money twice.

    Args:
        database: Where.
        work: SQL alone; it may be run several times.
    """

    def __init__(self, database: Database, work: Callable[[sa.Connection], T]) -> None:
        self._database = database
        self._work = work
        #: What the ledger's counter of commits stood at; 0 where it has none.
        self.n_commits = 0
        self._committing: str | None = None
        self._result: T | None = None

    def run(self, patience_s: float) -> T:
        """
        The result of the work, once it is committed.

        Args:
            patience_s: How long it may take the database to let it.
        """
        return self._database.insist(self._try, patience_s)

    def _try(self) -> T:
        with self._database.writing.connect() as connection:
            if self._committing is not None and self._was_committed(connection, self._committing):
                return self._result  # type: ignore[return-value]
            self._committing = None
            with connection.begin() as transaction:
                self._result = self._work(connection)
                self._count_up(connection)
                if self._database.is_postgres:
                    self._committing = str(connection.exec_driver_sql("SELECT pg_current_xact_id()").scalar_one())
                reach("before-commit")
                transaction.commit()
            return self._result

    def _count_up(self, connection: sa.Connection) -> None:
        if not self._database.is_postgres:
            found = connection.execute(_COUNT_UP).scalar()
            self.n_commits = int(found) if found else 0

    def _was_committed(self, connection: sa.Connection, transaction_id: str) -> bool:
        """
        Whether a transaction was committed whose end nobody heard.

        Raises:
            sqlalchemy.exc.OperationalError: It is still going on.
        """
        query = sa.text("SELECT pg_xact_status(CAST(:id AS xid8))")
        status = connection.execute(query, {"id": transaction_id}).scalar_one()
        connection.rollback()
        if status == "in progress":
            raise sa.exc.OperationalError("pg_xact_status", {}, Exception("the transaction is still going on"))
        return bool(status == "committed")
