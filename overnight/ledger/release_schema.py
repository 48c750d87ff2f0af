"""
The tables of what is offered, decided and delivered.

Times are seconds since the epoch, UTC; money is US dollars; keys and digests are SHA-256.
"""

from __future__ import annotations

import sqlalchemy as sa

from overnight.ledger.columns import HexKey, make_table, require

releases = make_table(
    "releases",
    sa.Column("release_id", sa.Text, primary_key=True),
    require("run_id", sa.Text, sa.ForeignKey("runs.run_id"), index=True),
    require("digest", HexKey),
    require("sink", sa.Text),
    #: What a delivery does at the sink, and whether it can be undone: "reversible" or "irreversible".
    sa.Column("operation", sa.Text),
    sa.Column("effect", sa.Text),
    require("prompt_hash", HexKey),
    require("model", sa.Text),
    require("checks_hash", HexKey),
    #: Over the results of the checks: a part of the release's own digest.
    sa.Column("checks_digest", HexKey),
    #: The release that held these rows back, or that a retry of quarantined rows continues; null: it stands alone.
    sa.Column("held_of", sa.Text),
    require("n_rows", sa.Integer),
    #: How much of it a person has to read, as JSON; null: before there were policies.
    sa.Column("policy", sa.Text),
    require("offered_at", sa.Float),
)

release_rows = make_table(
    "release_rows",
    sa.Column("release_id", sa.Text, sa.ForeignKey("releases.release_id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    require("row_id", sa.Text, index=True),
    require("request_key", HexKey),
    require("payload", HexKey, sa.ForeignKey("bodies.digest")),
    require("delivery_key", HexKey),
    #: What a check warned of.
    sa.Column("warning", sa.Text),
)

approvals = make_table(
    "approvals",
    sa.Column("approval_id", sa.Text, primary_key=True),
    require("release_id", sa.Text, sa.ForeignKey("releases.release_id"), index=True),
    require("round", sa.Integer),
    require("release_digest", HexKey),
    require("allowed_digest", HexKey),
    #: Of what the reviewer was shown.
    sa.Column("evidence_digest", HexKey),
    require("sink", sa.Text),
    sa.Column("operation", sa.Text),
    require("n_allowed", sa.Integer),
    require("n_held", sa.Integer),
    require("reviewer", sa.Text),
    #: How the reviewers were identified: "declared" or "code", the weakest of them.
    require("identified_by", sa.Text),
    sa.Column("reason", sa.Text),
    #: What was found, as JSON: each round's reviewer, verdicts and seeds, the policy and the bound.
    sa.Column("findings", sa.Text),
    require("issued_at", sa.Float),
    require("expires_at", sa.Float),
    #: A clock that nobody sets, and what it showed at the issue: its time is over when either clock says so.
    sa.Column("clock", sa.Text),
    sa.Column("issued_mark", sa.Float),
    sa.Column("nonce", sa.Text),
    #: HMAC over all of the above.
    sa.Column("signature", HexKey),
    #: "approved", then "consumed": once.
    require("state", sa.Text),
    sa.Column("consumed_at", sa.Float),
    #: Which of its sink's approvals it was used up as, from 1.
    sa.Column("turn", sa.Integer),
)

#: What of an approval stays as it was decided; all of it but the signature is signed.
DECIDED = tuple(c.name for c in approvals.c if c.name not in {"state", "consumed_at", "turn"})

#: The rows of a release that its approval does not let out.
held_rows = make_table(
    "held_rows",
    sa.Column("approval_id", sa.Text, sa.ForeignKey("approvals.approval_id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    #: "wrong", "unsure", "unread", or "doubted": unread now, and called wrong or unsure before.
    require("verdict", sa.Text),
)

#: Rows that leave otherwise than they were offered: a reviewer corrected them.
corrections = make_table(
    "corrections",
    sa.Column("approval_id", sa.Text, sa.ForeignKey("approvals.approval_id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    require("payload", HexKey, sa.ForeignKey("bodies.digest")),
    require("delivery_key", HexKey),
)

_WAS_DUE = sa.text("state <> 'earlier'")

#: Promised deliveries.
outbox = make_table(
    "outbox",
    sa.Column("approval_id", sa.Text, sa.ForeignKey("approvals.approval_id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    require("delivery_key", HexKey, index=True),
    #: The key of what stood at the sink before, where the delivery key is made of it too: the row goes back to what it
    #: said earlier. Null: the key is that of the release's row.
    sa.Column("follows", HexKey),
    require("row_id", sa.Text),
    require("payload", HexKey, sa.ForeignKey("bodies.digest")),
    #: "promised"; "sending": a worker has it in hand; then "delivered", "failed" (refused for good), "unknown" (the
    #: answer was lost, and the sink would take it twice) or "earlier" (the same bytes of the same row left by another
    #: approval); "superseded": the sink holds a later release; "recalled": undone.
    require("state", sa.Text),
    #: Who has it in hand, or had it last.
    sa.Column("worker_id", sa.Integer),
    require("n_sends", sa.Integer),
    sa.Column("detail", sa.Text),
    require("promised_at", sa.Float),
    sa.Column("settled_at", sa.Float),
    sa.Index("ix_outbox_approval_id_state", "approval_id", "state", "position"),
    # Without what stays as it is from night to night, which would be most of it.
    sa.Index("ix_outbox_row_id", "row_id", sqlite_where=_WAS_DUE, postgresql_where=_WAS_DUE),
)

#: Destinations: who writes to one takes turns on its row.
sinks = make_table(
    "sinks",
    sa.Column("sink", sa.Text, primary_key=True),
    #: Approvals used up for it so far.
    require("n_turns", sa.Integer, server_default="0"),
    #: Who stopped all writing to it; null: nobody.
    sa.Column("held_by", sa.Text),
    sa.Column("held_for", sa.Text),
    sa.Column("held_at", sa.Float),
)

#: What people did to deliveries: holds, recalls, answers to what was unknown.
interventions = make_table(
    "interventions",
    sa.Column("intervention_id", sa.Integer, primary_key=True),
    #: "hold", "lift", "recall", "settle".
    require("kind", sa.Text),
    require("sink", sa.Text),
    sa.Column("release_id", sa.Text),
    require("by", sa.Text),
    require("reason", sa.Text),
    require("recorded_at", sa.Float),
)

#: What people were told of a run, each thing once.
notices = make_table(
    "notices",
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), primary_key=True),
    #: "waiting", "soon" (it will not wait much longer), "over" (it waits no more), "held" or "halted".
    sa.Column("kind", sa.Text, primary_key=True),
    #: The release and its round; of a run that ended, the digest of why.
    sa.Column("about", sa.Text, primary_key=True),
    require("told_at", sa.Float),
)
