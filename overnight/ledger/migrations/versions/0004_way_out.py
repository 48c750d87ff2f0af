"""Signed approvals, deliveries under leases, sinks that can be held, and what people did to deliveries."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from overnight.ledger.columns import HexKey

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    of_releases: list[sa.Column[Any]] = [
        sa.Column("operation", sa.Text(), nullable=True),
        sa.Column("effect", sa.Text(), nullable=True),
        sa.Column("checks_digest", HexKey(), nullable=True),
        sa.Column("held_of", sa.Text(), nullable=True),
    ]
    of_approvals: list[sa.Column[Any]] = [
        sa.Column("evidence_digest", HexKey(), nullable=True),
        sa.Column("operation", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("nonce", sa.Text(), nullable=True),
        sa.Column("signature", HexKey(), nullable=True),
        sa.Column("turn", sa.Integer(), nullable=True),
    ]
    for column in of_releases:
        op.add_column("releases", column)
    for column in of_approvals:
        op.add_column("approvals", column)
    op.add_column("outbox", sa.Column("worker_id", sa.Integer(), nullable=True))
    op.create_index("ix_outbox_approval_id_state", "outbox", ["approval_id", "state", "position"], unique=False)
    op.create_table(
        "sinks",
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("n_turns", sa.Integer(), server_default="0", nullable=False),
        sa.Column("held_by", sa.Text(), nullable=True),
        sa.Column("held_for", sa.Text(), nullable=True),
        sa.Column("held_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("sink", name=op.f("pk_sinks")),
    )
    op.create_table(
        "interventions",
        sa.Column("intervention_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("release_id", sa.Text(), nullable=True),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("intervention_id", name=op.f("pk_interventions")),
    )
