"""Attempts that ask otherwise, steps of a run, and what was spent."""

import sqlalchemy as sa
from alembic import op

from overnight.ledger.columns import HexKey

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("cause", sa.Text(), nullable=True))
    op.add_column("attempts", sa.Column("model", sa.Text(), nullable=True))
    op.add_column("attempts", sa.Column("endpoint", sa.Text(), nullable=True))
    op.add_column("attempts", sa.Column("sent", HexKey(), nullable=True))
    op.add_column("completions", sa.Column("model", sa.Text(), nullable=True))
    op.add_column("run_prompts", sa.Column("step", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("run_prompts", sa.Column("code", sa.Text(), nullable=False, server_default=""))
    _number_steps()
    _count_spending()


def _number_steps() -> None:
    """SQLite adds no column to a primary key: there the table is made anew."""
    if op.get_context().dialect.name == "postgresql":
        op.add_column("run_batches", sa.Column("step", sa.Integer(), nullable=False, server_default="1"))
        op.alter_column("run_batches", "step", server_default=None)
        op.drop_constraint("pk_run_batches", "run_batches")
        op.create_primary_key("pk_run_batches", "run_batches", ["run_id", "step", "stage", "n"])
        return
    op.rename_table("run_batches", "old_run_batches")
    op.create_table(
        "run_batches",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_run_batches_run_id")),
        sa.PrimaryKeyConstraint("run_id", "step", "stage", "n", name=op.f("pk_run_batches")),
    )
    op.execute("INSERT INTO run_batches SELECT run_id, 1, stage, n, manifest FROM old_run_batches")
    op.drop_table("old_run_batches")


def _count_spending() -> None:
    """What the runs so far have spent: an attempt without a cost counts with what was reserved for it."""
    op.create_table(
        "spend",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("spent_usd", sa.Float(), nullable=False),
        sa.Column("reserved_usd", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_spend")),
    )
    op.execute(
        "INSERT INTO spend SELECT 'run:' || run_id, sum(coalesce(cost_usd, reserved_usd, 0.0)), 0.0"
        " FROM attempts WHERE outcome != 'unsent' GROUP BY run_id"
    )
