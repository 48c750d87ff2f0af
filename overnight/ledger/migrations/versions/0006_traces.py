"""Figures of runs, readings, replays, purges; runs that shadow or retry others."""

import sqlalchemy as sa
from alembic import op

from overnight.ledger.columns import BigId, HexKey

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("runs", sa.Column("kind", sa.Text(), server_default="night", nullable=False))
    op.add_column("runs", sa.Column("of_run", sa.Text(), nullable=True))
    op.add_column("requests", sa.Column("purged_at", sa.Float(), nullable=True))
    _make_measures()
    _make_readings()
    _make_lifted_refusals()
    _make_replays()
    _make_purges()


def _make_measures() -> None:
    op.create_table(
        "measures",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("prompt_name", sa.Text(), nullable=False),
        sa.Column("prompt_hash", HexKey(), nullable=False),
        sa.Column("figures", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.Column("compared_with", sa.Text(), nullable=True),
        sa.Column("measured_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_measures_run_id")),
        sa.PrimaryKeyConstraint("run_id", "step", name=op.f("pk_measures")),
    )
    op.create_index(op.f("ix_measures_prompt_name"), "measures", ["prompt_name"])


def _make_readings() -> None:
    op.create_table(
        "readings",
        sa.Column("reading_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("row_id", sa.Text(), nullable=False),
        sa.Column("request_key", HexKey(), nullable=False),
        sa.Column("output_digest", HexKey(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("picked_for", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_readings_run_id")),
        sa.ForeignKeyConstraint(["request_key"], ["requests.request_key"], name=op.f("fk_readings_request_key")),
        sa.PrimaryKeyConstraint("reading_id", name=op.f("pk_readings")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_readings_run_id"), "readings", ["run_id"])
    op.create_index(op.f("ix_readings_request_key"), "readings", ["request_key"])


def _make_lifted_refusals() -> None:
    op.create_table(
        "lifted_refusals",
        sa.Column("attempt_id", BigId, autoincrement=False, nullable=False),
        sa.Column("request_key", HexKey(), nullable=False),
        sa.Column("failure_class", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("output_digest", HexKey(), nullable=True),
        sa.Column("recorded_at", sa.Float(), nullable=False),
        sa.Column("lifted_by", sa.Text(), nullable=False),
        sa.Column("lifted_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["request_key"], ["requests.request_key"], name=op.f("fk_lifted_refusals_request_key")),
        sa.ForeignKeyConstraint(["lifted_by"], ["runs.run_id"], name=op.f("fk_lifted_refusals_lifted_by")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_lifted_refusals")),
    )
    op.create_index(op.f("ix_lifted_refusals_request_key"), "lifted_refusals", ["request_key"])


def _make_replays() -> None:
    op.create_table(
        "replays",
        sa.Column("replay_id", sa.Text(), nullable=False),
        sa.Column("request_key", HexKey(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("prompt_hash", HexKey(), nullable=False),
        sa.Column("sent", HexKey(), nullable=False),
        sa.Column("body", HexKey(), nullable=True),
        sa.Column("opened_at", sa.Float(), nullable=False),
        sa.Column("closed_at", sa.Float(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("failure_class", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("model_served", sa.Text(), nullable=True),
        sa.Column("stop_reason", sa.Text(), nullable=True),
        sa.Column("reasoning", sa.Text(), nullable=True),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.Column("reserved_usd", sa.Float(), nullable=False),
        sa.Column("cost_usd", sa.Float(), nullable=True),
        sa.Column("latency_s", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["request_key"], ["requests.request_key"], name=op.f("fk_replays_request_key")),
        sa.ForeignKeyConstraint(["sent"], ["bodies.digest"], name=op.f("fk_replays_sent")),
        sa.ForeignKeyConstraint(["body"], ["bodies.digest"], name=op.f("fk_replays_body")),
        sa.PrimaryKeyConstraint("replay_id", name=op.f("pk_replays")),
    )
    op.create_index(op.f("ix_replays_request_key"), "replays", ["request_key"])


def _make_purges() -> None:
    op.create_table(
        "purged_answers",
        sa.Column("request_key", HexKey(), nullable=False),
        sa.Column("attempt_id", BigId, nullable=False),
        sa.Column("output_digest", HexKey(), nullable=True),
        sa.Column("settled_at", sa.Float(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("failure_class", sa.Text(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("purged_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["request_key"], ["requests.request_key"], name=op.f("fk_purged_answers_request_key")),
        sa.PrimaryKeyConstraint("request_key", name=op.f("pk_purged_answers")),
    )
    op.create_table(
        "purges",
        sa.Column("purge_id", sa.Integer(), nullable=False),
        sa.Column("before", sa.Float(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("purge_id", name=op.f("pk_purges")),
        sqlite_autoincrement=True,
    )
