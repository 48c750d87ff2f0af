"""The ledger."""

import sqlalchemy as sa
from alembic import op

from overnight.ledger.columns import HexKey

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "bodies",
        sa.Column("digest", HexKey(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("n_bytes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_bodies")),
    )
    op.create_table(
        "meta",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_meta")),
    )
    op.create_table(
        "parts",
        sa.Column("cache_key", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("part_digest", HexKey(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("cache_key", "generation", name=op.f("pk_parts")),
    )
    op.create_index(op.f("ix_parts_part_digest"), "parts", ["part_digest"], unique=False)
    op.create_table(
        "prompts",
        sa.Column("prompt_hash", HexKey(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("prompt_hash", name=op.f("pk_prompts")),
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("flow", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
    )
    op.create_table(
        "passes",
        sa.Column("pass_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("flow_run_id", sa.Text(), nullable=False),
        sa.Column("deployed", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_passes_run_id")),
        sa.PrimaryKeyConstraint("pass_id", name=op.f("pk_passes")),
    )
    op.create_index(op.f("ix_passes_run_id"), "passes", ["run_id"], unique=False)
    op.create_table(
        "releases",
        sa.Column("release_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("digest", HexKey(), nullable=False),
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("prompt_hash", HexKey(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("checks_hash", HexKey(), nullable=False),
        sa.Column("n_rows", sa.Integer(), nullable=False),
        sa.Column("items", sa.Text(), nullable=False),
        sa.Column("evidence_digest", HexKey(), nullable=False),
        sa.Column("offered_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_releases_run_id")),
        sa.PrimaryKeyConstraint("release_id", name=op.f("pk_releases")),
    )
    op.create_index(op.f("ix_releases_run_id"), "releases", ["run_id"], unique=False)
    op.create_table(
        "requests",
        sa.Column("request_key", HexKey(), nullable=False),
        sa.Column("prompt_hash", HexKey(), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("body", HexKey(), nullable=False),
        sa.Column("recorded_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["body"], ["bodies.digest"], name=op.f("fk_requests_body")),
        sa.ForeignKeyConstraint(["prompt_hash"], ["prompts.prompt_hash"], name=op.f("fk_requests_prompt_hash")),
        sa.PrimaryKeyConstraint("request_key", name=op.f("pk_requests")),
    )
    op.create_table(
        "run_batches",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_run_batches_run_id")),
        sa.PrimaryKeyConstraint("run_id", "stage", "n", name=op.f("pk_run_batches")),
    )
    op.create_table(
        "run_prompts",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("checks", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("endpoint", sa.Text(), nullable=True),
        sa.Column("prompt_hash", HexKey(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_run_prompts_run_id")),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("pk_run_prompts")),
    )
    op.create_table(
        "approvals",
        sa.Column("approval_id", sa.Text(), nullable=False),
        sa.Column("release_id", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("release_digest", HexKey(), nullable=False),
        sa.Column("allowed_digest", HexKey(), nullable=False),
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("n_allowed", sa.Integer(), nullable=False),
        sa.Column("n_held", sa.Integer(), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("identified_by", sa.Text(), nullable=False),
        sa.Column("issued_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("consumed_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["release_id"], ["releases.release_id"], name=op.f("fk_approvals_release_id")),
        sa.PrimaryKeyConstraint("approval_id", name=op.f("pk_approvals")),
    )
    op.create_index(op.f("ix_approvals_release_id"), "approvals", ["release_id"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("attempt_id", sa.Integer(), nullable=False),
        sa.Column("request_key", HexKey(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.Float(), nullable=False),
        sa.Column("closed_at", sa.Float(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("failure_class", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("model_served", sa.Text(), nullable=True),
        sa.Column("provider_request_id", sa.Text(), nullable=True),
        sa.Column("headers", sa.Text(), nullable=True),
        sa.Column("stop_reason", sa.Text(), nullable=True),
        sa.Column("reasoning", sa.Text(), nullable=True),
        sa.Column("body", HexKey(), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.Column("cache_read_tokens", sa.Integer(), nullable=True),
        sa.Column("cache_write_tokens", sa.Integer(), nullable=True),
        sa.Column("reasoning_tokens", sa.Integer(), nullable=True),
        sa.Column("reserved_usd", sa.Float(), nullable=True),
        sa.Column("cost_usd", sa.Float(), nullable=True),
        sa.Column("latency_s", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["body"], ["bodies.digest"], name=op.f("fk_attempts_body")),
        sa.ForeignKeyConstraint(["request_key"], ["requests.request_key"], name=op.f("fk_attempts_request_key")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_attempts_run_id")),
        sa.PrimaryKeyConstraint("attempt_id", name=op.f("pk_attempts")),
    )
    op.create_index(op.f("ix_attempts_request_key"), "attempts", ["request_key"], unique=False)
    op.create_index(op.f("ix_attempts_run_id"), "attempts", ["run_id"], unique=False)
    op.create_table(
        "release_rows",
        sa.Column("release_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("row_id", sa.Text(), nullable=False),
        sa.Column("request_key", HexKey(), nullable=False),
        sa.Column("payload", HexKey(), nullable=False),
        sa.Column("delivery_key", HexKey(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["payload"], ["bodies.digest"], name=op.f("fk_release_rows_payload")),
        sa.ForeignKeyConstraint(["release_id"], ["releases.release_id"], name=op.f("fk_release_rows_release_id")),
        sa.PrimaryKeyConstraint("release_id", "position", name=op.f("pk_release_rows")),
    )
    op.create_index(op.f("ix_release_rows_row_id"), "release_rows", ["row_id"], unique=False)
    op.create_table(
        "review_answers",
        sa.Column("release_id", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("reviewer", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("verdicts", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("recorded_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["release_id"], ["releases.release_id"], name=op.f("fk_review_answers_release_id")),
        sa.PrimaryKeyConstraint("release_id", "round", name=op.f("pk_review_answers")),
    )
    op.create_table(
        "verdicts",
        sa.Column("release_id", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("delivery_key", HexKey(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["release_id"], ["releases.release_id"], name=op.f("fk_verdicts_release_id")),
        sa.PrimaryKeyConstraint("release_id", "round", "item", name=op.f("pk_verdicts")),
    )
    op.create_index(op.f("ix_verdicts_delivery_key"), "verdicts", ["delivery_key"], unique=False)
    op.create_table(
        "completions",
        sa.Column("request_key", HexKey(), nullable=False),
        sa.Column("attempt_id", sa.Integer(), nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.Column("output_digest", HexKey(), nullable=False),
        sa.Column("accepted_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.attempt_id"], name=op.f("fk_completions_attempt_id")),
        sa.ForeignKeyConstraint(["request_key"], ["requests.request_key"], name=op.f("fk_completions_request_key")),
        sa.PrimaryKeyConstraint("request_key", name=op.f("pk_completions")),
    )
    op.create_table(
        "held_rows",
        sa.Column("approval_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["approval_id"], ["approvals.approval_id"], name=op.f("fk_held_rows_approval_id")),
        sa.PrimaryKeyConstraint("approval_id", "position", name=op.f("pk_held_rows")),
    )
    op.create_table(
        "outbox",
        sa.Column("approval_id", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("delivery_key", HexKey(), nullable=False),
        sa.Column("row_id", sa.Text(), nullable=False),
        sa.Column("payload", HexKey(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("n_sends", sa.Integer(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("promised_at", sa.Float(), nullable=False),
        sa.Column("settled_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["approval_id"], ["approvals.approval_id"], name=op.f("fk_outbox_approval_id")),
        sa.ForeignKeyConstraint(["payload"], ["bodies.digest"], name=op.f("fk_outbox_payload")),
        sa.PrimaryKeyConstraint("approval_id", "position", name=op.f("pk_outbox")),
    )
    op.create_index(op.f("ix_outbox_delivery_key"), "outbox", ["delivery_key"], unique=False)
    op.create_table(
        "quarantines",
        sa.Column("request_key", HexKey(), nullable=False),
        sa.Column("attempt_id", sa.Integer(), nullable=False),
        sa.Column("failure_class", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("recorded_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.attempt_id"], name=op.f("fk_quarantines_attempt_id")),
        sa.ForeignKeyConstraint(["request_key"], ["requests.request_key"], name=op.f("fk_quarantines_request_key")),
        sa.PrimaryKeyConstraint("request_key", name=op.f("pk_quarantines")),
    )
    # ### end Alembic commands ###
