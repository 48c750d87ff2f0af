"""Statements are compiled once a process, not once a ledger: each test opens a ledger of its own, with two engines."""

from __future__ import annotations

from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite


class _Alike:
    """Of one process all dialects of a class are the same: what was compiled for one holds for the others."""

    supports_statement_cache = True
    _compiled: ClassVar[dict[Any, Any]]

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    @classmethod
    def engine_created(cls, engine: sa.Engine) -> None:
        engine.update_execution_options(compiled_cache=cls._compiled)


class SQLite(_Alike, SQLiteDialect_pysqlite):
    supports_statement_cache = True
    _compiled: ClassVar[dict[Any, Any]] = {}


class Postgres(_Alike, PGDialect_psycopg):
    supports_statement_cache = True
    _compiled: ClassVar[dict[Any, Any]] = {}


def share_compiled() -> None:
    """Engines that are made from now on share what they compile."""
    sa.dialects.registry.register("sqlite", __name__, SQLite.__name__)
    sa.dialects.registry.register("postgresql.psycopg", __name__, Postgres.__name__)
