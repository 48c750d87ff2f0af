"""One transaction that is run until it is known to be committed, or known not to be."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Generic, TypeVar

import sqlalchemy as sa

from overnight.failpoints import reach
from overnight.ledger.database import Database
from overnight.ledger.prepared import Prepared, insert
from overnight.ledger.schema import meta

T = TypeVar("T")

#: The name of the counter of commits in `meta`.
COUNTER = "n_commits"

_COUNT_UP = f"UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE name = '{COUNTER}' RETURNING value"  # noqa: S608 - ours
_NEW = insert(meta)
_SIGN = Prepared(_NEW.on_conflict_do_update(index_elements=[meta.c.name], set_={"value": _NEW.excluded.value}))
#: It waits for whoever holds the row: a transaction of ours that the server has not given up yet.
_HOLD = _NEW.on_conflict_do_update(index_elements=[meta.c.name], set_={"value": meta.c.value}).returning(meta.c.value)


class Transaction(Generic[T]):
    """
    A transaction, run again where the database was locked or went away.

    Where the connection breaks in the very moment of the commit, what became of it is looked up: run again blindly, it
    would book money twice. So in Postgres each signs with a name of its own, in its database's row of `meta`. The
    server's own word for it, pg_xact_status, tells of another: after a crash it gives the same number again.

    Args:
        database: Where.
        work: SQL alone; it may be run several times.
    """

    def __init__(self, database: Database, work: Callable[[sa.Connection], T]) -> None:
        self._database = database
        self._work = work
        #: What the ledger's counter of commits stood at; 0 where it has none.
        self.n_commits = 0
        self._signature = uuid.uuid4().hex
        self._is_in_doubt = False
        self._result: T | None = None

    def run(self, patience_s: float) -> T:
        """
        The result of the work, once it is committed.

        Args:
            patience_s: How long it may take the database to let it.
        """
        return self._database.insist(self._try, patience_s)

    def _try(self) -> T:
        with self._database.writing.connect() as connection, connection.begin() as transaction:
            if not (self._is_in_doubt and self._was_committed(connection)):
                self._is_in_doubt = False
                self._result = self._work(connection)
                self._count_up(connection)
                self._sign(connection)
                reach("before-commit")
            transaction.commit()
            return self._result  # type: ignore[return-value]

    def _count_up(self, connection: sa.Connection) -> None:
        if not self._database.is_postgres:
            found = connection.exec_driver_sql(_COUNT_UP).scalar()
            self.n_commits = int(found) if found else 0

    def _sign(self, connection: sa.Connection) -> None:
        if self._database.is_postgres:
            _SIGN.run(connection, [{"name": self._database.writer, "value": self._signature}])
            self._is_in_doubt = True

    def _was_committed(self, connection: sa.Connection) -> bool:
        """Whether it was, where nobody heard its end."""
        held = connection.execute(_HOLD, {"name": self._database.writer, "value": ""})
        return bool(held.scalar_one() == self._signature)
