"""Draws with seeds, verdicts with corrections, enrolled reviewers, how much has to be read, and what was told."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from overnight.ledger.columns import HexKey

revision = "0005"
down_revision = "0004"


_COMMON = '"confidence":0.95,"expires_h":24.0,"n_seeds":3,"waits_d":7.0'
#: By the sink's effect: what a release that waits is read by from now on.
_POLICIES = {
    "reversible": f'{{{_COMMON},"max_bad_share":0.1,"n_reviewers":1}}',
    "irreversible": f'{{{_COMMON},"max_bad_share":0.05,"n_reviewers":2}}',
}


def upgrade() -> None:
    _make_tables()
    # What reviewers answered to until now was one draw a release; what nobody has answered is drawn anew, with seeds.
    op.execute(
        "INSERT INTO draws (release_id, round, items, evidence_digest, drawn_at) SELECT release_id, 0, items,"
        " evidence_digest, offered_at FROM releases WHERE release_id IN (SELECT release_id FROM review_answers)"
    )
    op.execute(
        "INSERT INTO drawn_items (release_id, round, item, stratum, position) SELECT release_id, 0, item, 'before',"
        " position FROM release_rows WHERE item IS NOT NULL AND release_id IN (SELECT release_id FROM draws)"
    )
    op.drop_column("releases", "items")
    op.drop_column("releases", "evidence_digest")
    op.drop_column("release_rows", "item")
    for table, columns in _columns().items():
        for column in columns:
            op.add_column(table, column)
    for effect, policy in _POLICIES.items():
        statement = sa.text("UPDATE releases SET policy = :policy WHERE coalesce(effect, 'irreversible') = :effect")
        op.execute(statement.bindparams(policy=policy, effect=effect))


def _columns() -> dict[str, list[sa.Column[Any]]]:
    return {
        "runs": [sa.Column("started_by", sa.Text(), nullable=True)],
        "releases": [sa.Column("policy", sa.Text(), nullable=True)],
        "release_rows": [sa.Column("warning", sa.Text(), nullable=True)],
        "review_answers": [
            sa.Column("draw", sa.Integer(), nullable=True),
            sa.Column("identified_by", sa.Text(), nullable=True),
            sa.Column("n_seeds", sa.Integer(), nullable=True),
            sa.Column("n_caught", sa.Integer(), nullable=True),
            sa.Column("seconds", sa.Float(), nullable=True),
            sa.Column("submitted_at", sa.Float(), nullable=True),
        ],
        "verdicts": [
            sa.Column("reason", sa.Text(), nullable=True),
            sa.Column("correction", sa.Text(), nullable=True),
        ],
        "approvals": [sa.Column("findings", sa.Text(), nullable=True)],
    }


def _make_tables() -> None:
    op.create_table(
        "draws",
        sa.Column("release_id", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("items", sa.Text(), nullable=False),
        sa.Column("evidence_digest", HexKey(), nullable=False),
        sa.Column("drawn_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["release_id"], ["releases.release_id"], name=op.f("fk_draws_release_id")),
        sa.PrimaryKeyConstraint("release_id", "round", name=op.f("pk_draws")),
    )
    op.create_table(
        "drawn_items",
        sa.Column("release_id", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("stratum", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["release_id"], ["releases.release_id"], name=op.f("fk_drawn_items_release_id")),
        sa.PrimaryKeyConstraint("release_id", "round", "item", name=op.f("pk_drawn_items")),
    )
    op.create_table(
        "corrections",
        sa.Column("approval_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("payload", HexKey(), nullable=False),
        sa.Column("delivery_key", HexKey(), nullable=False),
        sa.ForeignKeyConstraint(["approval_id"], ["approvals.approval_id"], name=op.f("fk_corrections_approval_id")),
        sa.ForeignKeyConstraint(["payload"], ["bodies.digest"], name=op.f("fk_corrections_payload")),
        sa.PrimaryKeyConstraint("approval_id", "position", name=op.f("pk_corrections")),
    )
    op.create_table(
        "reviewers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("enrolled_by", sa.Text(), nullable=False),
        sa.Column("enrolled_at", sa.Float(), nullable=False),
        sa.Column("removed_at", sa.Float(), nullable=True),
        sa.Column("last_step", sa.Integer(), server_default="0", nullable=False),
        sa.Column("n_wrong", sa.Integer(), server_default="0", nullable=False),
        sa.Column("wrong_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_reviewers")),
    )
    op.create_table(
        "notices",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("told_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_notices_run_id")),
        sa.PrimaryKeyConstraint("run_id", "kind", "about", name=op.f("pk_notices")),
    )
