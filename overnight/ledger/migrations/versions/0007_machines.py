"""Passes that show life, halts that all processes hear of, requests from outside, and keys that follow others."""

import sqlalchemy as sa
from alembic import op

from overnight.ledger.columns import BigId, HexKey

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("passes", sa.Column("worker_id", sa.Integer(), nullable=True))
    op.add_column("passes", sa.Column("scheduled_at", sa.Float(), nullable=True))
    op.create_table(
        "halts",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("pass_id", sa.Integer(), nullable=False),
        sa.Column("failure_class", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("halted_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_halts_run_id")),
        sa.PrimaryKeyConstraint("run_id", "pass_id", name=op.f("pk_halts")),
    )
    _make_inbox()
    op.add_column("outbox", sa.Column("follows", HexKey(), nullable=True))
    was_due = sa.text("state <> 'earlier'")
    op.create_index(op.f("ix_outbox_row_id"), "outbox", ["row_id"], sqlite_where=was_due, postgresql_where=was_due)


def _make_inbox() -> None:
    op.create_table(
        "inbox",
        sa.Column("inbox_id", BigId, nullable=False),
        sa.Column("inbox_key", HexKey(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Text(), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("sent_by", sa.Text(), nullable=False),
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("worker_id", sa.Integer(), nullable=True),
        sa.Column("epoch", sa.Integer(), server_default="0", nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("delivery_key", HexKey(), nullable=True),
        sa.Column("read_at", sa.Float(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("settled_at", sa.Float(), nullable=True),
        sa.Column("purged_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_inbox_run_id")),
        sa.PrimaryKeyConstraint("inbox_id", name=op.f("pk_inbox")),
    )
    op.create_index(op.f("ix_inbox_inbox_key"), "inbox", ["inbox_key"], unique=True)
    op.create_index(op.f("ix_inbox_prompt"), "inbox", ["prompt", "state", "inbox_id"])
    op.create_index(op.f("ix_inbox_run_id"), "inbox", ["run_id", "row_id"])
