"""What the ledger's tables are made of: keys of 32 bytes, wide ids, and one collection for all tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)


def to_bytes(key: str | None) -> bytes | None:
    """A key as the database holds it, for statements that SQLAlchemy's types do not see."""
    return None if key is None else bytes.fromhex(key)


def _to_hex(key: bytes | None) -> str | None:
    return None if key is None else key.hex()


class HexKey(sa.types.UserDefinedType[str]):
    """32 bytes in the database, 64 hex digits outside: half the size of an index over text."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "BLOB"

    def bind_processor(self, dialect: sa.Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        return to_bytes

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:  # noqa: ARG002 - the same
        return _to_hex


@compiles(HexKey, "postgresql")
def _name_in_postgres(*_: Any, **__: Any) -> str:
    return "BYTEA"


#: What SQLite numbers by itself must be called INTEGER there; elsewhere an attempt's id does not fit into one.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def make_table(name: str, *columns: sa.schema.SchemaItem, **options: Any) -> sa.Table:
    """A table of the ledger."""
    return sa.Table(name, metadata, *columns, **options)


def require(
    name: str,
    kind: sa.types.TypeEngine[Any] | type[sa.types.TypeEngine[Any]],
    *more: Any,
    index: bool = False,
    server_default: str | None = None,
) -> sa.Column[Any]:
    """A column that always has a value."""
    return sa.Column(name, kind, *more, nullable=False, index=index, server_default=server_default)
