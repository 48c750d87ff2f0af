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
    require("prompt_hash", HexKey),
    require("model", sa.Text),
    require("checks_hash", HexKey),
    require("n_rows", sa.Integer),
    #: What the reviewer is shown, as JSON, and its digest.
    require("items", sa.Text),
    require("evidence_digest", HexKey),
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
    #: Its number in the review, from 1; null: not shown.
    sa.Column("item", sa.Integer),
)

#: Every answer to a review that decided, and those of a form that were refused: each is a round.
review_answers = make_table(
    "review_answers",
    sa.Column("release_id", sa.Text, sa.ForeignKey("releases.release_id"), primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True),
    require("channel", sa.Text),
    require("reviewer", sa.Text),
    require("decision", sa.Text),
    require("reason", sa.Text),
    require("verdicts", sa.Text),
    #: "approved", "rejected", "held" (nothing may leave) or "refused".
    require("outcome", sa.Text),
    sa.Column("detail", sa.Text),
    require("recorded_at", sa.Float),
)

#: The verdicts of every answer that decided: what a person once called wrong is asked about again.
verdicts = make_table(
    "verdicts",
    sa.Column("release_id", sa.Text, sa.ForeignKey("releases.release_id"), primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True),
    sa.Column("item", sa.Integer, primary_key=True),
    require("delivery_key", HexKey, index=True),
    require("verdict", sa.Text),
    require("recorded_at", sa.Float),
)

approvals = make_table(
    "approvals",
    sa.Column("approval_id", sa.Text, primary_key=True),
    require("release_id", sa.Text, sa.ForeignKey("releases.release_id"), index=True),
    require("round", sa.Integer),
    require("release_digest", HexKey),
    require("allowed_digest", HexKey),
    require("sink", sa.Text),
    require("n_allowed", sa.Integer),
    require("n_held", sa.Integer),
    require("reviewer", sa.Text),
    #: How the reviewer was identified: "declared".
    require("identified_by", sa.Text),
    require("issued_at", sa.Float),
    require("expires_at", sa.Float),
    #: A clock that nobody sets, and what it showed at the issue: its time is over when either clock says so.
    sa.Column("clock", sa.Text),
    sa.Column("issued_mark", sa.Float),
    #: "approved", then "consumed": once.
    require("state", sa.Text),
    sa.Column("consumed_at", sa.Float),
)

#: The rows of a release that its approval does not let out.
held_rows = make_table(
    "held_rows",
    sa.Column("approval_id", sa.Text, sa.ForeignKey("approvals.approval_id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    #: "wrong", "unsure", "unread", or "doubted": unread now, and called wrong or unsure before.
    require("verdict", sa.Text),
)

#: Promised deliveries.
outbox = make_table(
    "outbox",
    sa.Column("approval_id", sa.Text, sa.ForeignKey("approvals.approval_id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    require("delivery_key", HexKey, index=True),
    require("row_id", sa.Text),
    require("payload", HexKey, sa.ForeignKey("bodies.digest")),
    #: "promised", "delivered", "failed"; "earlier": an earlier approval delivered the same bytes of the same row;
    #: "superseded": a later approval promised them again before they were sent.
    require("state", sa.Text),
    require("n_sends", sa.Integer),
    sa.Column("detail", sa.Text),
    require("promised_at", sa.Float),
    sa.Column("settled_at", sa.Float),
)
