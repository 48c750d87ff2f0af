"""
The tables of what is looked at afterwards: figures, readings, replays, and what was dropped.

Times are seconds since the epoch, UTC; money is US dollars; keys and digests are SHA-256.
"""

from __future__ import annotations

import sqlalchemy as sa

from overnight.ledger.columns import BigId, HexKey, make_table, require

#: What a run came to, step by step: kept as figures, so that they outlive rows and bodies.
measures = make_table(
    "measures",
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True),
    require("prompt_name", sa.Text, index=True),
    require("prompt_hash", HexKey),
    #: Figures and distributions as JSON; no text of a row is in them.
    require("figures", sa.Text),
    require("profile", sa.Text),
    #: What differed from the run that it was compared with, as JSON, and which run that was.
    require("changes", sa.Text),
    sa.Column("compared_with", sa.Text),
    require("measured_at", sa.Float),
)

#: What people said of a row when they read its whole trace.
readings = make_table(
    "readings",
    sa.Column("reading_id", sa.Integer, primary_key=True),
    require("run_id", sa.Text, sa.ForeignKey("runs.run_id"), index=True),
    require("step", sa.Integer),
    require("row_id", sa.Text),
    require("request_key", HexKey, sa.ForeignKey("requests.request_key"), index=True),
    #: Of the answer that was read, canonical JSON; null: there was none.
    sa.Column("output_digest", HexKey),
    #: "correct", "wrong" or "unsure".
    require("verdict", sa.Text),
    require("note", sa.Text),
    require("reader", sa.Text),
    #: Why it was shown: "random", or what made it worth reading.
    require("picked_for", sa.Text),
    require("recorded_at", sa.Float),
    sqlite_autoincrement=True,
)

#: Refusals that a retry took back, so that their requests are asked anew: the attempts stay, and no text is kept here.
lifted_refusals = make_table(
    "lifted_refusals",
    sa.Column("attempt_id", BigId, primary_key=True, autoincrement=False),
    require("request_key", HexKey, sa.ForeignKey("requests.request_key"), index=True),
    require("failure_class", sa.Text),
    sa.Column("rule", sa.Text),
    sa.Column("output_digest", HexKey),
    #: When it was refused.
    require("recorded_at", sa.Float),
    #: The retry that lifted it.
    require("lifted_by", sa.Text, sa.ForeignKey("runs.run_id")),
    require("lifted_at", sa.Float),
)

#: Recorded requests that were sent again to compare; nothing that is offered is ever read from here.
replays = make_table(
    "replays",
    sa.Column("replay_id", sa.Text, primary_key=True),
    require("request_key", HexKey, sa.ForeignKey("requests.request_key"), index=True),
    require("asked_by", sa.Text),
    #: PROVIDER:NAME and endpoint that were asked, and the prompt whose text was used.
    require("model", sa.Text),
    require("endpoint", sa.Text),
    require("prompt_hash", HexKey),
    #: The exact bytes that were sent, and what came back.
    require("sent", HexKey, sa.ForeignKey("bodies.digest")),
    sa.Column("body", HexKey, sa.ForeignKey("bodies.digest")),
    require("opened_at", sa.Float),
    sa.Column("closed_at", sa.Float),
    #: "open", "accepted" (it would have been) or "failed".
    require("outcome", sa.Text),
    sa.Column("failure_class", sa.Text),
    sa.Column("message", sa.Text),
    sa.Column("status", sa.Integer),
    sa.Column("model_served", sa.Text),
    sa.Column("stop_reason", sa.Text),
    sa.Column("reasoning", sa.Text),
    #: The answer as canonical JSON, where one was understood.
    sa.Column("output", sa.Text),
    sa.Column("input_tokens", sa.Integer),
    sa.Column("output_tokens", sa.Integer),
    require("reserved_usd", sa.Float),
    sa.Column("cost_usd", sa.Float),
    sa.Column("latency_s", sa.Float),
)

#: Answers and refusals whose texts were dropped: what is left of them. The same request is asked anew.
purged_answers = make_table(
    "purged_answers",
    sa.Column("request_key", HexKey, sa.ForeignKey("requests.request_key"), primary_key=True),
    require("attempt_id", BigId),
    sa.Column("output_digest", HexKey),
    #: When it was accepted, or refused for good and as what.
    require("settled_at", sa.Float),
    sa.Column("model", sa.Text),
    sa.Column("failure_class", sa.Text),
    sa.Column("rule", sa.Text),
    require("purged_at", sa.Float),
)

#: Every purge: who dropped what from before when.
purges = make_table(
    "purges",
    sa.Column("purge_id", sa.Integer, primary_key=True),
    require("before", sa.Float),
    require("by", sa.Text),
    #: How many of each kind, as JSON.
    require("counts", sa.Text),
    require("recorded_at", sa.Float),
    sqlite_autoincrement=True,
)
