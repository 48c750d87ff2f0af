"""The ledger's tables. Times are seconds since the epoch, UTC; money is US dollars; keys and digests are SHA-256."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)


def to_bytes(key: str | None) -> bytes | None:
    """A key as the database holds it, for statements that SQLAlchemy's types do not see."""
    return None if key is None else bytes.fromhex(key)


def _to_hex(key: bytes | None) -> str | None:
    return None if key is None else key.hex()


class HexKey(sa.types.UserDefinedType[str]):
    """32 bytes in the database, 64 hex digits outside: half the size of an index over text."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "BLOB"

    def bind_processor(self, dialect: sa.Dialect) -> Any:  # noqa: ARG002 - SQLAlchemy's signature
        return to_bytes

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:  # noqa: ARG002 - the same
        return _to_hex


@compiles(HexKey, "postgresql")
def _name_in_postgres(*_: Any, **__: Any) -> str:
    return "BYTEA"


#: What SQLite numbers by itself must be called INTEGER there; elsewhere an attempt's id does not fit into one.
BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _table(name: str, *columns: sa.schema.SchemaItem, **options: Any) -> sa.Table:
    return sa.Table(name, metadata, *columns, **options)


def _required(
    name: str,
    kind: sa.types.TypeEngine[Any] | type[sa.types.TypeEngine[Any]],
    *more: Any,
    index: bool = False,
    server_default: str | None = None,
) -> sa.Column[Any]:
    return sa.Column(name, kind, *more, nullable=False, index=index, server_default=server_default)


#: The ledger's own id, so that a cache never answers for a ledger that is gone, and how many commits it has had; in
#: Postgres the last commit of each process that wrote.
meta = _table("meta", sa.Column("name", sa.Text, primary_key=True), _required("value", sa.Text))

#: Request and response bodies, zstd, stored once by the digest of their plain bytes.
bodies = _table(
    "bodies",
    sa.Column("digest", HexKey, primary_key=True),
    _required("data", sa.LargeBinary),
    _required("n_bytes", sa.Integer),
)

#: Every prompt that was ever sent, as it was read.
prompts = _table(
    "prompts",
    sa.Column("prompt_hash", HexKey, primary_key=True),
    _required("name", sa.Text),
    _required("text", sa.Text),
    _required("schema", sa.Text),
    _required("model", sa.Text),
    _required("endpoint", sa.Text),
    _required("parameters", sa.Text),
    _required("recorded_at", sa.Float),
)

runs = _table(
    "runs",
    sa.Column("run_id", sa.Text, primary_key=True),
    _required("flow", sa.Text),
    _required("parameters", sa.Text),
    #: The source that it pinned; null until it has.
    sa.Column("source", sa.Text),
    _required("state", sa.Text),
    sa.Column("reason", sa.Text),
    _required("started_at", sa.Float),
)

#: One row a Prefect flow run that began or continued a run.
passes = _table(
    "passes",
    sa.Column("pass_id", sa.Integer, primary_key=True),
    _required("run_id", sa.Text, sa.ForeignKey("runs.run_id"), index=True),
    _required("flow_run_id", sa.Text),
    _required("deployed", sa.Boolean),
    _required("started_at", sa.Float),
    sa.Column("ended_at", sa.Float),
)

#: The prompt that a run reads, whatever happens to its folder meanwhile.
run_prompts = _table(
    "run_prompts",
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    _required("text", sa.Text),
    _required("schema", sa.Text),
    _required("checks", sa.Text),
    #: Null until its first batch is asked.
    sa.Column("model", sa.Text),
    sa.Column("endpoint", sa.Text),
    sa.Column("prompt_hash", HexKey),
    #: Where it stands in the run, from 1: what the next prompt reads, this one has answered.
    _required("step", sa.Integer, server_default="1"),
    #: The project's own checks, checks.py; empty where there are none.
    _required("code", sa.Text, server_default=""),
)

#: The manifests of a run, by step and by stage: input, completed, checked.
run_batches = _table(
    "run_batches",
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True),
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    _required("manifest", sa.Text),
)

#: Parts made for a cache key; a later generation replaces one that was lost, altered or had rows pending.
parts = _table(
    "parts",
    sa.Column("cache_key", sa.Text, primary_key=True),
    sa.Column("generation", sa.Integer, primary_key=True),
    _required("stage", sa.Text),
    _required("part_digest", HexKey, index=True),
    _required("manifest", sa.Text),
    _required("recorded_at", sa.Float),
)

requests = _table(
    "requests",
    sa.Column("request_key", HexKey, primary_key=True),
    _required("prompt_hash", HexKey, sa.ForeignKey("prompts.prompt_hash")),
    _required("input", sa.Text),
    #: The exact bytes that are sent.
    _required("body", HexKey, sa.ForeignKey("bodies.digest")),
    _required("recorded_at", sa.Float),
)

#: One row a send: opened before it, closed after it. Opened and never closed: unknown, possibly billed.
attempts = _table(
    "attempts",
    #: Made by who opens it: the number of the worker, then its own count (`leases.Worker`).
    sa.Column("attempt_id", BigId, primary_key=True, autoincrement=False),
    _required("request_key", HexKey, sa.ForeignKey("requests.request_key"), index=True),
    _required("run_id", sa.Text, sa.ForeignKey("runs.run_id"), index=True),
    _required("opened_at", sa.Float),
    sa.Column("closed_at", sa.Float),
    #: "open", "accepted", "failed", "unsent", or "fenced": answered after another worker had taken its request over.
    _required("outcome", sa.Text),
    sa.Column("failure_class", sa.Text),
    sa.Column("message", sa.Text),
    sa.Column("status", sa.Integer),
    sa.Column("model_served", sa.Text),
    sa.Column("provider_request_id", sa.Text),
    sa.Column("headers", sa.Text),
    sa.Column("stop_reason", sa.Text),
    sa.Column("reasoning", sa.Text),
    sa.Column("body", HexKey, sa.ForeignKey("bodies.digest")),
    sa.Column("input_tokens", sa.Integer),
    sa.Column("output_tokens", sa.Integer),
    sa.Column("cache_read_tokens", sa.Integer),
    sa.Column("cache_write_tokens", sa.Integer),
    sa.Column("reasoning_tokens", sa.Integer),
    #: What the budget set aside for it: its cost, where nobody said how much it was.
    sa.Column("reserved_usd", sa.Float),
    sa.Column("cost_usd", sa.Float),
    sa.Column("latency_s", sa.Float),
    #: Why it was made: "first", "again", or the way in which it was asked otherwise.
    sa.Column("cause", sa.Text),
    #: Where another model than the prompt's was asked: which, and where.
    sa.Column("model", sa.Text),
    sa.Column("endpoint", sa.Text),
    #: The bytes that were sent, where they are not the request's; no foreign key, which SQLite cannot add later.
    sa.Column("sent", HexKey),
)

#: One row a process that has sent anything; kept for ever, so that no number is given twice.
leases = _table(
    "leases",
    sa.Column("worker_id", sa.Integer, primary_key=True),
    #: Which process it is, as far as the machine tells: another one on it can see that it is gone.
    _required("process", sa.Text),
    #: The clock that it is told in, and when the right to what it has claimed ends by that clock.
    _required("clock", sa.Text),
    _required("until", sa.Float),
    sqlite_autoincrement=True,
)

#: The requests that are being asked, each by one worker: the lock of the single flight.
claims = _table(
    "claims",
    sa.Column("request_key", HexKey, primary_key=True),
    _required("worker_id", sa.Integer, sa.ForeignKey("leases.worker_id")),
    #: The fence: an attempt that is no longer named here has lost its request to another.
    _required("attempt_id", BigId),
)

#: Money by scope, "run:ID" or "night:DATE": spent, and set aside for calls that have not come back.
spend = _table(
    "spend",
    sa.Column("scope", sa.Text, primary_key=True),
    _required("spent_usd", sa.Float),
    _required("reserved_usd", sa.Float),
)

#: The accepted answer for a request key: at most one.
completions = _table(
    "completions",
    sa.Column("request_key", HexKey, sa.ForeignKey("requests.request_key"), primary_key=True),
    _required("attempt_id", BigId, sa.ForeignKey("attempts.attempt_id")),
    _required("output", sa.Text),
    _required("output_digest", HexKey),
    _required("accepted_at", sa.Float),
    #: Where another model than the prompt's gave it.
    sa.Column("model", sa.Text),
)

#: Requests whose answers were refused for good; no call is made for them again.
quarantines = _table(
    "quarantines",
    sa.Column("request_key", HexKey, sa.ForeignKey("requests.request_key"), primary_key=True),
    _required("attempt_id", BigId, sa.ForeignKey("attempts.attempt_id")),
    _required("failure_class", sa.Text),
    sa.Column("rule", sa.Text),
    _required("reason", sa.Text),
    #: The answer, where one was understood: judged again, unpaid, when the row checks change.
    sa.Column("output", sa.Text),
    sa.Column("output_digest", HexKey),
    _required("recorded_at", sa.Float),
)

releases = _table(
    "releases",
    sa.Column("release_id", sa.Text, primary_key=True),
    _required("run_id", sa.Text, sa.ForeignKey("runs.run_id"), index=True),
    _required("digest", HexKey),
    _required("sink", sa.Text),
    _required("prompt_hash", HexKey),
    _required("model", sa.Text),
    _required("checks_hash", HexKey),
    _required("n_rows", sa.Integer),
    #: What the reviewer is shown, as JSON, and its digest.
    _required("items", sa.Text),
    _required("evidence_digest", HexKey),
    _required("offered_at", sa.Float),
)

release_rows = _table(
    "release_rows",
    sa.Column("release_id", sa.Text, sa.ForeignKey("releases.release_id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    _required("row_id", sa.Text, index=True),
    _required("request_key", HexKey),
    _required("payload", HexKey, sa.ForeignKey("bodies.digest")),
    _required("delivery_key", HexKey),
    #: Its number in the review, from 1; null: not shown.
    sa.Column("item", sa.Integer),
)

#: Every answer to a review that decided, and those of a form that were refused: each is a round.
review_answers = _table(
    "review_answers",
    sa.Column("release_id", sa.Text, sa.ForeignKey("releases.release_id"), primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True),
    _required("channel", sa.Text),
    _required("reviewer", sa.Text),
    _required("decision", sa.Text),
    _required("reason", sa.Text),
    _required("verdicts", sa.Text),
    #: "approved", "rejected", "held" (nothing may leave) or "refused".
    _required("outcome", sa.Text),
    sa.Column("detail", sa.Text),
    _required("recorded_at", sa.Float),
)

#: The verdicts of every answer that decided: what a person once called wrong is asked about again.
verdicts = _table(
    "verdicts",
    sa.Column("release_id", sa.Text, sa.ForeignKey("releases.release_id"), primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True),
    sa.Column("item", sa.Integer, primary_key=True),
    _required("delivery_key", HexKey, index=True),
    _required("verdict", sa.Text),
    _required("recorded_at", sa.Float),
)

approvals = _table(
    "approvals",
    sa.Column("approval_id", sa.Text, primary_key=True),
    _required("release_id", sa.Text, sa.ForeignKey("releases.release_id"), index=True),
    _required("round", sa.Integer),
    _required("release_digest", HexKey),
    _required("allowed_digest", HexKey),
    _required("sink", sa.Text),
    _required("n_allowed", sa.Integer),
    _required("n_held", sa.Integer),
    _required("reviewer", sa.Text),
    #: How the reviewer was identified: "declared".
    _required("identified_by", sa.Text),
    _required("issued_at", sa.Float),
    _required("expires_at", sa.Float),
    #: A clock that nobody sets, and what it showed at the issue: its time is over when either clock says so.
    sa.Column("clock", sa.Text),
    sa.Column("issued_mark", sa.Float),
    #: "approved", then "consumed": once.
    _required("state", sa.Text),
    sa.Column("consumed_at", sa.Float),
)

#: The rows of a release that its approval does not let out.
held_rows = _table(
    "held_rows",
    sa.Column("approval_id", sa.Text, sa.ForeignKey("approvals.approval_id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    #: "wrong", "unsure", "unread", or "doubted": unread now, and called wrong or unsure before.
    _required("verdict", sa.Text),
)

#: Promised deliveries.
outbox = _table(
    "outbox",
    sa.Column("approval_id", sa.Text, sa.ForeignKey("approvals.approval_id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    _required("delivery_key", HexKey, index=True),
    _required("row_id", sa.Text),
    _required("payload", HexKey, sa.ForeignKey("bodies.digest")),
    #: "promised", "delivered", "failed"; "earlier": an earlier approval delivered the same bytes of the same row;
    #: "superseded": a later approval promised them again before they were sent.
    _required("state", sa.Text),
    _required("n_sends", sa.Integer),
    sa.Column("detail", sa.Text),
    _required("promised_at", sa.Float),
    sa.Column("settled_at", sa.Float),
)
