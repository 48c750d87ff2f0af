"""A table that rows are delivered to, and the table of delivery keys beside it: columns, statements, values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from overnight.payloads.sql import DELIVERIES
from overnight.records import Payload
from overnight.sinks.sql_connect import RowRefused, is_postgres

#: `before` is the row as it was, as JSON; delivered_at is UTC in ISO 8601, which sorts as text.
KEY_COLUMNS = ("delivery_key", "table_name", "row_id", "release_id", "before", "delivered_at")


@dataclass(frozen=True)
class Row:
    """A row of the table that is to be."""

    delivery_key: str
    row_id: str
    #: The output's fields beside row_id, request_key, prompt_hash and model.
    values: Mapping[str, Any]


class Table:
    """The table as the database has it, and the table of keys beside it, in one transaction."""

    def __init__(self, connection: sa.Connection, schema: str | None, name: str) -> None:
        inspector, metadata = sa.inspect(connection), sa.MetaData()
        self._connection = connection
        self.columns = {column["name"]: column for column in inspector.get_columns(name, schema)}
        # Without types: the database itself reads each value as its column's. The keys name the parameters, which
        # could not bear every name of a column.
        self._made = {
            c: sa.Column(c, sa.Text if c == "row_id" else None, key=f"c{i}") for i, c in enumerate(self.columns)
        }
        self.table = sa.Table(name, metadata, *self._made.values(), schema=schema)
        columns = [sa.Column(c, sa.Text, primary_key=c == "delivery_key") for c in KEY_COLUMNS]
        self.deliveries = sa.Table(DELIVERIES, metadata, *columns, schema=schema)
        has_keys = inspector.has_table(DELIVERIES, schema)
        #: Empty where there is no table of keys yet.
        self.key_columns = {c["name"] for c in inspector.get_columns(DELIVERIES, schema)} if has_keys else set()

    def is_filled(self, name: str) -> bool:
        """Whether the database fills this column where a row does not."""
        column = self.columns[name]
        is_made = "identity" in column or "computed" in column or bool(column.get("primary_key"))
        return is_made or column["default"] is not None

    def make_deliveries(self) -> None:
        """Make the table of keys where it is not there."""
        if self.key_columns:
            return
        if is_postgres(self._connection):
            # IF NOT EXISTS alone does not bear two at once.
            self._connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(DELIVERIES))))
        self._connection.execute(sa.schema.CreateTable(self.deliveries, if_not_exists=True))

    def claim(self, rows: Sequence[Row], release_id: str) -> set[str]:
        """Put the rows' keys down; those that were not there before."""
        fixed = {"table_name": self.table.name, "release_id": release_id, "delivered_at": _now()}
        put = postgresql.insert(self.deliveries).on_conflict_do_nothing(index_elements=["delivery_key"])
        values = [{**fixed, "delivery_key": row.delivery_key, "row_id": row.row_id} for row in rows]
        return set(self._connection.scalars(put.returning(self.deliveries.c.delivery_key), values)) if rows else set()

    def drop_keys(self, keys: Iterable[str]) -> None:
        """Forget these keys."""
        self._connection.execute(sa.delete(self.deliveries).where(self.deliveries.c.delivery_key.in_(list(keys))))

    def write(self, rows: Sequence[Row]) -> None:
        """
        Upsert rows, and note what stood there before.

        Raises:
            RowRefused: A row occurs twice, or did not get there.
        """
        if len({row.row_id for row in rows}) < len(rows):
            raise RowRefused("it is there twice")
        # What this puts in was surely not there before: a look beforehand would not know that.
        inserted = self._upsert(rows, replaces=False)
        others = [row for row in rows if row.row_id not in inserted]
        if not others:
            return
        before = self._read_rows([row.row_id for row in others])
        if skipped := {row.row_id for row in others} - self._upsert(others, replaces=True):
            raise RowRefused(f"the database took the statement and not the row {min(skipped)!r}, perhaps by a trigger")
        note = (
            sa.update(self.deliveries)
            .where(self.deliveries.c.delivery_key == sa.bindparam("key"))
            .values(before=sa.bindparam("was"), delivered_at=_now())
        )
        self._connection.execute(
            note, [{"key": r.delivery_key, "was": _write_image(before.get(r.row_id))} for r in others]
        )

    def find_keys(self, rows: Sequence[Row]) -> dict[str, tuple[str, str]]:
        """The row and the time of each delivery of these rows, by its key; all of them are held till the end."""
        if not self.key_columns:
            return {}
        c = self.deliveries.c
        query = (
            sa.select(c.delivery_key, c.row_id, c.delivered_at)
            .where(c.table_name == self.table.name, c.row_id.in_([row.row_id for row in rows]))
            .order_by(c.delivery_key)
            .with_for_update()
        )
        return {key: (row_id, at) for key, row_id, at in self._connection.execute(query)}

    def undo(self, row: Row, keys: Mapping[str, tuple[str, str]]) -> str:
        """
        Bring a row back to what it was before its delivery, and forget the key; what was done.

        Raises:
            RowRefused: It is not as it was delivered any more.
        """
        row_id, at = keys[row.delivery_key]
        if any(other_id == row_id and other_at > at for other_id, other_at in keys.values()):
            raise RowRefused("a later delivery changed it")
        c = self.deliveries.c
        before = self._connection.scalar(sa.select(c.before).where(c.delivery_key == row.delivery_key))
        done = self._delete(row) if before is None else self._restore(row, _read_image(before))
        self.drop_keys([row.delivery_key])
        return done

    def _delete(self, row: Row) -> str:
        now = self._read_if_unchanged(row)
        if now is None:
            return "was deleted already"
        for name, value in now.items():
            if name not in row.values and value is not None and not self.is_filled(name):
                raise RowRefused(f"its column {name!r} was filled since")
        self._connection.execute(sa.delete(self.table).where(self._made["row_id"] == row.row_id))
        return "deleted"

    def _restore(self, row: Row, before: Mapping[str, Any]) -> str:
        if self._read_if_unchanged(row) is None:
            raise RowRefused("it was deleted since")
        self._update(row.row_id, {self._made[field].key: before.get(field) for field in row.values})
        return "restored"

    def _read_if_unchanged(self, row: Row) -> dict[str, Any] | None:
        """
        The row as it is, where it is still as it was delivered; None where it is gone.

        Only the database knows what it makes of a value in a column. So the row is written once more: where that
        changes one of its fields, somebody had changed it.
        """
        now = self._read_rows([row.row_id]).get(row.row_id)
        if now is None:
            return None
        self._update(row.row_id, self._bind(row))
        written = self._read_rows([row.row_id]).get(row.row_id, {})
        if any(now[field] != written.get(field) for field in row.values):
            raise RowRefused("it was changed since")
        return now

    def _upsert(self, rows: Sequence[Row], *, replaces: bool) -> set[str]:
        """Insert rows, replacing those that are there or leaving them alone; the ids of those that were written."""
        row_id = self._made["row_id"]
        written: set[str] = set()
        # Rows may lack fields that the output's schema does not demand.
        for keys, some in groupby(sorted((self._bind(row) for row in rows), key=sorted), key=sorted):
            put = postgresql.insert(self.table)
            if replaces:
                put = put.on_conflict_do_update(index_elements=[row_id], set_={key: put.excluded[key] for key in keys})
            else:
                put = put.on_conflict_do_nothing(index_elements=[row_id])
            written.update(self._connection.scalars(put.returning(row_id), list(some)))
        return written

    def _update(self, row_id: str, values: Mapping[str, Any]) -> None:
        self._connection.execute(sa.update(self.table).where(self._made["row_id"] == row_id).values(values))

    def _read_rows(self, row_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Each row that is there, by its id, as values that the columns would read again; held till the end."""
        row_id = self._made["row_id"]
        columns = [sa.cast(c, sa.Text) if is_postgres(self._connection) else c for c in self._made.values()]
        query = sa.select(row_id.label("id"), *columns).where(row_id.in_(row_ids)).order_by(row_id).with_for_update()
        return {row[0]: dict(zip(self.columns, row[1:], strict=True)) for row in self._connection.execute(query)}

    def _bind(self, row: Row) -> dict[str, Any]:
        """The row's values by the keys of their columns."""
        if lacking := [field for field in row.values if field not in self.columns]:
            raise RowRefused(f"the table has no column {lacking[0]!r}")
        return {self._made[f].key: _bind_value(value, self.columns[f]["type"]) for f, value in row.values.items()}


def read_row(payload: Payload) -> Row:
    """The row that a payload holds; its id is the body's, which the database can bear."""
    values = json.loads(payload.body)
    return Row(payload.delivery_key, values["row_id"], values)


def find_table(connection: sa.Connection, schema: str | None, name: str) -> Table | None:
    """The table; None where it is not there."""
    if schema is None and is_postgres(connection):
        # The table may be further down the search path than where a new one would be made.
        query = (
            "SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = to_regclass(:t)"
        )
        schema = connection.scalar(sa.text(query), {"t": connection.dialect.identifier_preparer.quote(name)})
    return Table(connection, schema, name) if sa.inspect(connection).has_table(name, schema) else None


def _write_image(row: Mapping[str, Any] | None) -> str | None:
    # No value but bytes is an object.
    return None if row is None else json.dumps(row, default=lambda value: {"hex": value.hex()})


def _read_image(image: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(image, object_hook=lambda o: bytes.fromhex(o["hex"]) if set(o) == {"hex"} else o)
    return read


def _bind_value(value: Any, kind: sa.types.TypeEngine[Any]) -> Any:
    """A value as the driver takes it: what has an inside as JSON text, as all has where the column is JSON."""
    if value is None:
        return None
    if isinstance(value, list | dict) or isinstance(kind, sa.JSON):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and isinstance(kind, sa.Integer):
        # Postgres would round it, unseen; a text it reads or refuses.
        return int(value) if value.is_integer() else repr(value)
    return value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
