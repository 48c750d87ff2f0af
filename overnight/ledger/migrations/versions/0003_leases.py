"""Workers that claim what they ask, and number its attempts; a refused answer's digest; an approval's steady clock."""

import hashlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

from overnight.keys import answer_digest
from overnight.ledger.columns import HexKey

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("worker_id", sa.Integer(), nullable=False),
        sa.Column("process", sa.Text(), nullable=False),
        sa.Column("clock", sa.Text(), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name=op.f("pk_leases")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "claims",
        sa.Column("request_key", HexKey(), nullable=False),
        sa.Column("worker_id", sa.Integer(), nullable=False),
        sa.Column("attempt_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(["worker_id"], ["leases.worker_id"], name=op.f("fk_claims_worker_id")),
        sa.PrimaryKeyConstraint("request_key", name=op.f("pk_claims")),
    )
    op.drop_column("attempts", "number")
    if op.get_context().dialect.name == "postgresql":
        _widen_ids()
    op.add_column("approvals", sa.Column("clock", sa.Text(), nullable=True))
    op.add_column("approvals", sa.Column("issued_mark", sa.Float(), nullable=True))
    op.add_column("quarantines", sa.Column("output_digest", HexKey(), nullable=True))
    _digest_answers()


def _widen_ids() -> None:
    """SQLite's integers are wide enough."""
    for table in ("attempts", "completions", "quarantines"):
        op.alter_column(table, "attempt_id", type_=sa.BigInteger())
    op.execute("ALTER TABLE attempts ALTER COLUMN attempt_id DROP DEFAULT")


def _digest_answers() -> None:
    """
    Let a digest cover the key with the answer.

    An answer that was altered before keeps a digest that is not its own.
    """
    connection = op.get_bind()
    for row in _read_slowly(connection, "SELECT request_key, output, model, output_digest FROM completions"):
        if hashlib.sha256(row.output.encode()).digest() == row.output_digest:
            _set_digest(connection, "completions", row.request_key, row.output, row.model)
    for row in _read_slowly(connection, "SELECT request_key, output FROM quarantines"):
        if row.output is not None:
            _set_digest(connection, "quarantines", row.request_key, row.output, None)


def _read_slowly(connection: sa.Connection, query: str) -> Iterator[sa.Row[Any]]:
    """Some thousands at a time: a ledger may have millions."""
    after = b""
    while True:
        ordered = sa.text(f"{query} WHERE request_key > :after ORDER BY request_key LIMIT 10000")
        rows = connection.execute(ordered, {"after": after}).all()
        if not rows:
            return
        yield from rows
        after = bytes(rows[-1].request_key)


def _set_digest(connection: sa.Connection, table: str, key: bytes, output: str, model: str | None) -> None:
    digest = bytes.fromhex(answer_digest(bytes(key).hex(), output, model))
    statement = sa.text(f"UPDATE {table} SET output_digest = :digest WHERE request_key = :key")  # noqa: S608 - ours
    connection.execute(statement, {"digest": digest, "key": key})
