"""
The tables of reviews: what people were shown, what they answered, and who may answer.

Times are seconds since the epoch, UTC; keys and digests are SHA-256.
"""

from __future__ import annotations

import sqlalchemy as sa

from overnight.ledger.columns import HexKey, make_table, require

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
