"""Whether a table is made for rows, and may be written; the statements that would make it so."""

from __future__ import annotations

import sqlalchemy as sa

from overnight.failures import SinkRefused
from overnight.sinks.sql_connect import is_postgres
from overnight.sinks.sql_table import KEY_COLUMNS, Row, Table

_RIGHTS = (
    "SELECT has_table_privilege(c, 'SELECT') AND has_any_column_privilege(c, 'INSERT')"
    " AND has_any_column_privilege(c, 'UPDATE') AND (NOT :deletes OR has_table_privilege(c, 'DELETE'))"
    " FROM to_regclass(:name) c"
)
_SQL_TYPES: dict[type, str] = {int: "BIGINT", float: "DOUBLE PRECISION", bool: "BOOLEAN"}


def list_missing(connection: sa.Connection, table: Table, row: Row) -> list[str]:
    """What the table lacks for every row like this one."""
    missing = [f"a column {field!r}" for field in row.values if field not in table.columns]
    row_id = table.columns.get("row_id")
    if row_id and (not isinstance(row_id["type"], sa.String) or isinstance(row_id["type"], sa.CHAR)):
        missing.append("its row_id to be TEXT")
    if row_id and not _is_unique(sa.inspect(connection), table.table):
        missing.append("a primary key or unique constraint on row_id")
    for name, column in table.columns.items():
        if name not in row.values and not column["nullable"] and not table.is_filled(name):
            missing.append(f"a default for {name!r}, which may not be null and is no field of the rows")
    return missing


def write_create(connection: sa.Connection, schema: str | None, name: str, row: Row) -> str:
    """
    The statement that makes a table for such rows, on one line.

    Raises:
        SinkRefused: A field's name cannot be a column's.
    """
    dialect = connection.dialect
    for field in row.values:
        if not field or not field.isprintable() or len(field.encode()) > dialect.max_identifier_length:
            raise SinkRefused(
                f"The output's field {field!r} cannot be a column: it is empty, too long, or holds control characters."
                " Name it otherwise in the prompt's schema."
            )
    # Quoted by hand, for a person to type: the driver alone wants a percent sign doubled.
    quoted = {field: '"{}"'.format(field.replace('"', '""')) for field in row.values}
    columns = [f"{quoted[field]} {_SQL_TYPES.get(type(value), 'TEXT')}" for field, value in row.values.items()]
    table = dialect.identifier_preparer.format_table(sa.Table(name, sa.MetaData(), schema=schema))
    return f"CREATE TABLE {table} ({', '.join(columns)}, PRIMARY KEY (row_id))"


def refuse_unwritable(connection: sa.Connection, table: Table, where: str) -> None:
    """
    Refuse where the account may not write the table, or neither has nor may make the table of keys.

    Raises:
        SinkRefused: The message ends with the statements that would do.
    """
    preparer = connection.dialect.identifier_preparer
    keys = preparer.format_table(table.deliveries)
    make = f"CREATE TABLE {keys} ({', '.join(f'{name} TEXT' for name in KEY_COLUMNS)}, PRIMARY KEY (delivery_key))"
    if table.key_columns and (missing := [name for name in KEY_COLUMNS if name not in table.key_columns]):
        raise SinkRefused(f"{keys} at {where} has no {', '.join(missing)}. Rename it and run: {make}")
    if not is_postgres(connection):
        return
    user = preparer.quote(connection.scalar(sa.text("SELECT current_user")))
    grant = "Let its owner run: {}GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO " + user
    may_make = sa.text("SELECT has_schema_privilege(:schema, 'CREATE')")
    if not table.key_columns and not connection.scalar(may_make, {"schema": table.table.schema}):
        raise SinkRefused(f"{user} may not make {keys} at {where}. {grant.format(make + '; ', keys)}")
    written = [(preparer.format_table(table.table), False), (keys, True)]
    for name, is_ours in written if table.key_columns else written[:1]:
        if not connection.scalar(sa.text(_RIGHTS), {"name": name, "deletes": is_ours}):
            raise SinkRefused(f"{user} may not write {name} at {where}. {grant.format('', name)}")


def _is_unique(inspector: sa.Inspector, table: sa.Table) -> bool:
    """Whether row_id alone is the primary key, or unique over the whole table."""
    place = (table.name, table.schema)
    found = [inspector.get_pk_constraint(*place)["constrained_columns"]]
    found += [constraint["column_names"] for constraint in inspector.get_unique_constraints(*place)]
    for index in inspector.get_indexes(*place):
        if index["unique"] and not any(option.endswith("_where") for option in index.get("dialect_options", {})):
            found.append([column or "" for column in index["column_names"]])
    return ["row_id"] in found
