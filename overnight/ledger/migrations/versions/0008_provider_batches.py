"""Provider batches, the attempts that go with them, and how the rows of a run are asked."""

import sqlalchemy as sa
from alembic import op

from overnight.ledger.columns import BigId, HexKey

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("runs", sa.Column("mode", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("by_at", sa.Float(), nullable=True))
    op.add_column("runs", sa.Column("changed_at", sa.Float(), nullable=True))
    op.add_column("runs", sa.Column("budget_usd", sa.Float(), nullable=True))
    _make_batches()
    _make_items()
    _make_awaited()


def _make_awaited() -> None:
    op.create_table(
        "awaited_batches",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_awaited_batches_run_id")),
        sa.ForeignKeyConstraint(["batch_id"], ["provider_batches.batch_id"], name=op.f("fk_awaited_batches_batch_id")),
        sa.PrimaryKeyConstraint("run_id", "batch_id", name=op.f("pk_awaited_batches")),
    )


def _make_batches() -> None:
    op.create_table(
        "provider_batches",
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("worker_id", sa.Integer(), nullable=False),
        sa.Column("packed_by", sa.Integer(), nullable=False),
        sa.Column("packed_at", sa.Float(), nullable=False),
        sa.Column("n_items", sa.Integer(), server_default="0", nullable=False),
        sa.Column("submitting_at", sa.Float(), nullable=True),
        sa.Column("submitted_at", sa.Float(), nullable=True),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("n_done", sa.Integer(), server_default="0", nullable=False),
        sa.Column("looked_at", sa.Float(), nullable=True),
        sa.Column("expires_at", sa.Float(), nullable=True),
        sa.Column("canceled_at", sa.Float(), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("key_mark", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("settled_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_provider_batches_run_id")),
        sa.ForeignKeyConstraint(["worker_id"], ["leases.worker_id"], name=op.f("fk_provider_batches_worker_id")),
        sa.ForeignKeyConstraint(["packed_by"], ["leases.worker_id"], name=op.f("fk_provider_batches_packed_by")),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_provider_batches")),
    )
    op.create_index(op.f("ix_provider_batches_run_id"), "provider_batches", ["run_id"])
    op.create_index(op.f("ix_provider_batches_state"), "provider_batches", ["state"])
    op.create_index(op.f("ix_provider_batches_provider_id"), "provider_batches", ["provider_id"], unique=True)


def _make_items() -> None:
    op.create_table(
        "provider_batch_items",
        sa.Column("attempt_id", BigId, autoincrement=False, nullable=False),
        sa.Column("batch_id", sa.Text(), nullable=False),
        sa.Column("request_key", HexKey(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("provider_request_id", sa.Text(), nullable=True),
        sa.Column("body", HexKey(), nullable=True),
        sa.Column("arrived_at", sa.Float(), nullable=True),
        sa.Column("taken_by", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.attempt_id"], name=op.f("fk_provider_batch_items_attempt_id")
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["provider_batches.batch_id"], name=op.f("fk_provider_batch_items_batch_id")
        ),
        sa.ForeignKeyConstraint(
            ["request_key"], ["requests.request_key"], name=op.f("fk_provider_batch_items_request_key")
        ),
        sa.ForeignKeyConstraint(["taken_by"], ["leases.worker_id"], name=op.f("fk_provider_batch_items_taken_by")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_provider_batch_items")),
    )
    op.create_index(op.f("ix_provider_batch_items_batch_id"), "provider_batch_items", ["batch_id"])
    op.create_index(op.f("ix_provider_batch_items_request_key"), "provider_batch_items", ["request_key"])
