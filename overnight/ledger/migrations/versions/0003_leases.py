"""Workers that claim what they ask, and attempts that these number; an answer that was refused has a digest too."""

import hashlib

import sqlalchemy as sa
from alembic import op

from overnight.ledger.schema import HexKey

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
    op.add_column("quarantines", sa.Column("output_digest", HexKey(), nullable=True))
    _digest_refused_answers()


def _widen_ids() -> None:
    """SQLite's integers are wide enough."""
    for table in ("attempts", "completions", "quarantines"):
        op.alter_column(table, "attempt_id", type_=sa.BigInteger())
    op.execute("ALTER TABLE attempts ALTER COLUMN attempt_id DROP DEFAULT")


def _digest_refused_answers() -> None:
    connection = op.get_bind()
    found = connection.execute(sa.text("SELECT request_key, output FROM quarantines WHERE output IS NOT NULL"))
    rows = [{"key": row.request_key, "digest": hashlib.sha256(row.output.encode()).digest()} for row in found]
    if rows:
        connection.execute(sa.text("UPDATE quarantines SET output_digest = :digest WHERE request_key = :key"), rows)
