"""A table of a database: rows become its rows, and the keys of what was delivered stand beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import sqlalchemy as sa

from overnight.failures import SinkRefused
from overnight.records import Payload
from overnight.sinks.contract import Consignment, Outcome, Sink
from overnight.sinks.errors import DeliveryDeferred
from overnight.sinks.sql_check import list_missing, refuse_unwritable, write_create
from overnight.sinks.sql_connect import Database, RowRefused
from overnight.sinks.sql_table import Row, Table, find_table, read_row


class SqlSink(Sink):
    """Upserts rows by row_id; a row and its delivery key are committed together."""

    effect = "reversible"
    operation = "upsert"
    dedupes = True
    n_at_once = 500

    def __init__(self, name: str, *, allow_hosts: frozenset[str], credential: str | None = None) -> None:
        self._name = name
        [table] = parse_qs(urlsplit(name).query)["table"]
        schema, _, self._table = table.rpartition(".")
        self._schema = schema or None
        self._database = Database(name, allow_hosts=allow_hosts, credential=credential)

    def check(self, sample: Payload) -> None:
        """
        Refuse a table that is not made for such rows; nothing is written.

        Raises:
            SinkRefused: The message says what is missing, and ends with the statement that would do.
            DeliveryDeferred: The database cannot be reached now.
        """
        row = read_row(sample)
        with self._database.begin() as connection:
            table = find_table(connection, self._schema, self._table)
            missing = list_missing(connection, table, row) if table else [f"a table {self._table}"]
            if table is None or missing:
                made = write_create(connection, self._schema, self._table, row)
                raise SinkRefused(
                    f"{self._name} cannot take these rows: it needs {', '.join(missing)}. Make the table so, as by"
                    f" {made}"
                )
            refuse_unwritable(connection, table, self._name)

    def deliver(self, consignment: Consignment) -> list[Outcome]:
        """Write the rows whose keys are not there yet, in one transaction; a row that is refused stays out."""
        rows = [read_row(payload) for payload in consignment.payloads]
        unlike = {row.delivery_key: row for row in rows}
        with self._begin() as (connection, table):
            table.make_deliveries()
            # All keys before all rows, each in one order: two publishers wait for each other, and never both.
            claimed = table.claim([unlike[key] for key in sorted(unlike)], consignment.release_id)
            new = sorted((unlike[key] for key in unlike if key in claimed), key=lambda row: row.row_id)
            refused = self._try_each(connection, new, table.write)
            table.drop_keys(refused)
        told = {key: "upserted" if key in claimed else "was there" for key in unlike}
        return [self._tell(row, refused, told[row.delivery_key], done="taken") for row in rows]

    def recall(self, consignment: Consignment, before: Consignment | None) -> list[Outcome]:  # noqa: ARG002 - rows stand alone
        """Restore or delete each row that is still as it was delivered, in one transaction."""
        rows = [read_row(payload) for payload in consignment.payloads]
        told: dict[str, str] = {}
        refused: dict[str, str] = {}
        with self._begin() as (connection, table):
            keys = table.find_keys(rows)
            there = {row.delivery_key: row for row in rows if row.delivery_key in keys}
            # The last first, where one row was delivered twice.
            last_first = sorted(there.values(), key=lambda row: keys[row.delivery_key][1], reverse=True)
            for row in sorted(last_first, key=lambda row: row.row_id):
                try:
                    with self._database.begin_row(connection):
                        told[row.delivery_key] = table.undo(row, keys)
                    del keys[row.delivery_key]
                except RowRefused as error:
                    refused[row.delivery_key] = str(error)
        return [self._tell(row, refused, told.get(row.delivery_key, "was not there"), done="undone") for row in rows]

    @contextmanager
    def _begin(self) -> Iterator[tuple[sa.Connection, Table]]:
        with self._database.begin() as connection:
            table = find_table(connection, self._schema, self._table)
            if table is None or "row_id" not in table.columns:
                raise DeliveryDeferred(
                    f"{self._name} has no table {self._table} with a row_id now. Make it again, then try again."
                )
            yield connection, table

    def _try_each(
        self, connection: sa.Connection, rows: Sequence[Row], work: Callable[[Sequence[Row]], None]
    ) -> dict[str, str]:
        """Do all rows at once or, where one is refused, each alone; why each refused one was, by its key."""
        try:
            with self._database.begin_row(connection):
                work(rows)
        except RowRefused as error:
            if len(rows) == 1:
                return {rows[0].delivery_key: str(error)}
            return {key: why for row in rows for key, why in self._try_each(connection, [row], work).items()}
        return {}

    def _tell(self, row: Row, refused: Mapping[str, str], detail: str, *, done: str) -> Outcome:
        why = refused.get(row.delivery_key)
        if why is None:
            return Outcome(is_delivered=True, detail=detail)
        return Outcome(is_delivered=False, detail=f"Row {row.row_id!r} was not {done} at {self._name}: {why}.")
