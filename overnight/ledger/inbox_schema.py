"""
The table of requests from outside.

Times are seconds since the epoch, UTC; keys are SHA-256.
"""

from __future__ import annotations

import sqlalchemy as sa

from overnight.ledger.columns import HexKey, make_table, require

inbox = make_table(
    "inbox",
    #: Over prompt, row id and input: the same request is one row, however often it is sent.
    sa.Column("inbox_key", HexKey, primary_key=True),
    #: The name of the prompt that it is for; which text and model that means, the run decides that takes it.
    require("prompt", sa.Text),
    require("row_id", sa.Text),
    #: The declared inputs as canonical JSON, without secrets.
    require("input", sa.Text),
    require("sent_by", sa.Text),
    require("received_at", sa.Float),
    #: An `InboxState`.
    require("state", sa.Text),
    #: The run that has it; while it is only being taken, by which worker under what lease.
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), index=True),
    sa.Column("worker_id", sa.Integer),
    #: How often it was taken: who holds an earlier epoch has lost it to another.
    require("epoch", sa.Integer, server_default="0"),
    #: What was released to whoever asked, the exact JSON; null until a person has let it out.
    sa.Column("answer", sa.Text),
    #: Why there is none, where there will be none.
    sa.Column("reason", sa.Text),
    sa.Column("settled_at", sa.Float),
    sa.Column("purged_at", sa.Float),
    sa.Index("ix_inbox_prompt", "prompt", "state", "received_at"),
)
