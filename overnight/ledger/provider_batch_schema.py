"""
The tables of what is handed to providers in batches.

Times are seconds since the epoch, UTC; keys and digests are SHA-256.
"""

from __future__ import annotations

import sqlalchemy as sa

from overnight.ledger.columns import BigId, HexKey, make_table, require

#: One row a provider batch, from before anything of it is sent; `records.ProviderBatch` says what each column is.
provider_batches = make_table(
    "provider_batches",
    sa.Column("batch_id", sa.Text, primary_key=True),
    require("run_id", sa.Text, sa.ForeignKey("runs.run_id"), index=True),
    require("model", sa.Text),
    require("endpoint", sa.Text),
    require("state", sa.Text, index=True),
    #: Whose claims its requests are: a row of `leases` of its own.
    require("worker_id", sa.Integer, sa.ForeignKey("leases.worker_id")),
    #: The process that puts requests into it, or sends it.
    require("packed_by", sa.Integer, sa.ForeignKey("leases.worker_id")),
    require("packed_at", sa.Float),
    require("n_items", sa.Integer, server_default="0"),
    sa.Column("submitting_at", sa.Float),
    sa.Column("submitted_at", sa.Float),
    sa.Column("provider_id", sa.Text),
    sa.Column("status", sa.Text),
    require("n_done", sa.Integer, server_default="0"),
    sa.Column("looked_at", sa.Float),
    sa.Column("expires_at", sa.Float),
    sa.Column("canceled_at", sa.Float),
    sa.Column("ended_at", sa.Float),
    sa.Column("key_mark", sa.Text),
    sa.Column("reason", sa.Text),
    #: Who settled a doubt.
    sa.Column("settled_by", sa.Text),
    #: Never that of two of ours.
    sa.Index("ix_provider_batches_provider_id", "provider_id", unique=True),
)

#: The provider batches that a run waits for before it goes on: its own, and others' that have rows of it.
awaited_batches = make_table(
    "awaited_batches",
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), primary_key=True),
    sa.Column("batch_id", sa.Text, sa.ForeignKey("provider_batches.batch_id"), primary_key=True),
)

#: The attempts that went, or were to go, with a provider batch, and what came back for each.
provider_batch_items = make_table(
    "provider_batch_items",
    sa.Column("attempt_id", BigId, sa.ForeignKey("attempts.attempt_id"), primary_key=True, autoincrement=False),
    require("batch_id", sa.Text, sa.ForeignKey("provider_batches.batch_id"), index=True),
    require("request_key", HexKey, sa.ForeignKey("requests.request_key"), index=True),
    #: As `records.ItemKind`; null until its result is there.
    sa.Column("kind", sa.Text),
    sa.Column("status", sa.Integer),
    sa.Column("provider_request_id", sa.Text),
    #: The bytes that came; no foreign key, which a purge would have to lift.
    sa.Column("body", HexKey),
    sa.Column("arrived_at", sa.Float),
    #: The process that judges it now, by its lease.
    sa.Column("taken_by", sa.Integer, sa.ForeignKey("leases.worker_id")),
)
