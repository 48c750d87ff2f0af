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
    #: The release that held these rows back; null for the first of a run.
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

#: What reviewers are shown: a draw holds from its round on, until the next.
draws = make_table(
    "draws",
    sa.Column("release_id", sa.Text, sa.ForeignKey("releases.release_id"), primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True),
    #: The items as JSON, and their digest.
    require("items", sa.Text),
    require("evidence_digest", HexKey),
    require("drawn_at", sa.Float),
)

#: What each item of a draw is: nothing that a reviewer sees tells it.
drawn_items = make_table(
    "drawn_items",
    sa.Column("release_id", sa.Text, sa.ForeignKey("releases.release_id"), primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True),
    sa.Column("item", sa.Integer, primary_key=True),
    #: "random" (feeds the bound), "risk", "again" (read before, by somebody else) or "seed"; "before": shown by an
    #: earlier version.
    require("stratum", sa.Text),
    #: The row that is shown, or that the seed was made of.
    require("position", sa.Integer),
    #: Why it was picked, or how the seed was made.
    sa.Column("note", sa.Text),
)

#: Every answer to a review that decided or was read, and those of a form that were refused: each is a round.
review_answers = make_table(
    "review_answers",
    sa.Column("release_id", sa.Text, sa.ForeignKey("releases.release_id"), primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True),
    require("channel", sa.Text),
    require("reviewer", sa.Text),
    require("decision", sa.Text),
    require("reason", sa.Text),
    require("verdicts", sa.Text),
    #: "approved", "rejected", "held" (nothing may leave); "more" (more has to be read), "second" (by somebody else
    #: too); "missed" (too few seeds caught) or "refused": these two say nothing of the rows.
    require("outcome", sa.Text),
    sa.Column("detail", sa.Text),
    #: The round of the draw that was answered.
    sa.Column("draw", sa.Integer),
    #: How it is known who the reviewer is: "declared" or "code".
    sa.Column("identified_by", sa.Text),
    #: Of its seeds, and how many were caught; null where they were not counted.
    sa.Column("n_seeds", sa.Integer),
    sa.Column("n_caught", sa.Integer),
    #: How long it took to read, where that was measured.
    sa.Column("seconds", sa.Float),
    #: When the answers were handed in: a worker may take minutes to read them.
    sa.Column("submitted_at", sa.Float),
    require("recorded_at", sa.Float),
)

#: The verdicts of every answer that decided: what a person once called wrong is asked about again.
verdicts = make_table(
    "verdicts",
    sa.Column("release_id", sa.Text, sa.ForeignKey("releases.release_id"), primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True),
    sa.Column("item", sa.Integer, primary_key=True),
    require("delivery_key", HexKey, index=True),
    #: "correct", "corrected", "wrong" or "unsure".
    require("verdict", sa.Text),
    #: What is wrong, and the output as it should be (JSON).
    sa.Column("reason", sa.Text),
    sa.Column("correction", sa.Text),
    require("recorded_at", sa.Float),
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

#: People who may review, once they have shown a code of their own.
reviewers = make_table(
    "reviewers",
    sa.Column("name", sa.Text, primary_key=True),
    #: Their secret is made of it and the key that signs approvals: who has the ledger alone has no code.
    require("nonce", sa.Text),
    require("enrolled_by", sa.Text),
    require("enrolled_at", sa.Float),
    sa.Column("removed_at", sa.Float),
    #: The time step of the last code that was taken: that one and those before it are burned.
    require("last_step", sa.Integer, server_default="0"),
    #: Wrong codes in a row, and when the last one was given.
    require("n_wrong", sa.Integer, server_default="0"),
    sa.Column("wrong_at", sa.Float),
)

#: Promised deliveries.
outbox = make_table(
    "outbox",
    sa.Column("approval_id", sa.Text, sa.ForeignKey("approvals.approval_id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    require("delivery_key", HexKey, index=True),
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
