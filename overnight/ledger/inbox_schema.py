"""
The table of requests from outside.

Times are seconds since the epoch, UTC; keys are SHA-256.
"""

from __future__ import annotations

import sqlalchemy as sa

from overnight.ledger.columns import BigId, HexKey, make_table, require

inbox = make_table(
    "inbox",
    #: In the order in which they came in.
    sa.Column("inbox_id", BigId, primary_key=True),
    #: Over prompt, row id and input: the same request is one row, however often it is sent.
    require("inbox_key", HexKey),
    #: The name of the prompt that it is for; which text and model that means, the run decides that takes it.
    require("prompt", sa.Text),
    require("row_id", sa.Text),
    #: The declared inputs as canonical JSON, without secrets.
    require("input", sa.Text),
    require("sent_by", sa.Text),
    require("received_at", sa.Float),
    #: An `InboxState`.
    require("state", sa.Text),
    #: The run that has it, or had it last; null while it is queued.
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id")),
    #: Whose process works on that run: until a release is offered, its lease keeps the request there.
    sa.Column("worker_id", sa.Integer),
    #: How often it was taken.
    require("epoch", sa.Integer, server_default="0"),
    #: What was released to whoever asked, the exact JSON; null until a person has let it out.
    sa.Column("answer", sa.Text),
    #: Of the delivery that brought the answer: it is made over these bytes.
    sa.Column("delivery_key", HexKey),
    #: When whoever asked was first shown it.
    sa.Column("read_at", sa.Float),
    #: Why there is none, where there will be none.
    sa.Column("reason", sa.Text),
    sa.Column("settled_at", sa.Float),
    sa.Column("purged_at", sa.Float),
    sa.Index("ix_inbox_inbox_key", "inbox_key", unique=True),
    sa.Index("ix_inbox_prompt", "prompt", "state", "inbox_id"),
    sa.Index("ix_inbox_run_id", "run_id", "row_id"),
)
