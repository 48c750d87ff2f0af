"""
The tables of what is asked, and of who asks.

Times are seconds since the epoch, UTC; money is US dollars; keys and digests are SHA-256.
"""

from __future__ import annotations

import sqlalchemy as sa

from overnight.ledger.columns import BigId, HexKey, make_table, require

#: The ledger's own id, so that a cache never answers for a ledger that is gone, and how many commits it has had; in
#: Postgres the last commit of each process that wrote.
meta = make_table("meta", sa.Column("name", sa.Text, primary_key=True), require("value", sa.Text))

#: Request and response bodies, zstd, stored once by the digest of their plain bytes.
bodies = make_table(
    "bodies",
    sa.Column("digest", HexKey, primary_key=True),
    require("data", sa.LargeBinary),
    require("n_bytes", sa.Integer),
)

#: Every prompt that was ever sent, as it was read.
prompts = make_table(
    "prompts",
    sa.Column("prompt_hash", HexKey, primary_key=True),
    require("name", sa.Text),
    require("text", sa.Text),
    require("schema", sa.Text),
    require("model", sa.Text),
    require("endpoint", sa.Text),
    require("parameters", sa.Text),
    require("recorded_at", sa.Float),
)

runs = make_table(
    "runs",
    sa.Column("run_id", sa.Text, primary_key=True),
    require("flow", sa.Text),
    require("parameters", sa.Text),
    #: The source that it pinned; null until it has.
    sa.Column("source", sa.Text),
    require("state", sa.Text),
    sa.Column("reason", sa.Text),
    #: Who started it, where that is known: they do not review it.
    sa.Column("started_by", sa.Text),
    require("started_at", sa.Float),
    #: "night"; "shadow", whose answers are compared and go nowhere; "retry" of rows that were quarantined.
    require("kind", sa.Text, server_default="night"),
    #: The run that it shadows, or whose rows it retries.
    sa.Column("of_run", sa.Text),
    #: How its rows are asked, as `records.Mode`; null in runs of before there were several ways.
    sa.Column("mode", sa.Text),
    #: When it is to be done: what no provider batch has answered shortly before is asked online.
    sa.Column("by_at", sa.Float),
    #: Since when both hold, where somebody has changed them: what was given up before was not for their sake.
    sa.Column("changed_at", sa.Float),
    #: What it may cost; null: as each process that asks its rows is told.
    sa.Column("budget_usd", sa.Float),
)

#: One row a Prefect flow run that began or continued a run.
passes = make_table(
    "passes",
    sa.Column("pass_id", sa.Integer, primary_key=True),
    require("run_id", sa.Text, sa.ForeignKey("runs.run_id"), index=True),
    require("flow_run_id", sa.Text),
    require("deployed", sa.Boolean),
    require("started_at", sa.Float),
    sa.Column("ended_at", sa.Float),
    #: Its process, by whose lease it is seen to live (`leases`); null in passes of before there were any.
    sa.Column("worker_id", sa.Integer),
    #: When its schedule meant it to begin; null where none did.
    sa.Column("scheduled_at", sa.Float),
)

#: Passes that stop, as all processes that work on their run hear it; a new pass begins without.
halts = make_table(
    "halts",
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), primary_key=True),
    #: As `passes` counts them; 0 where the run is asked outside a flow run.
    sa.Column("pass_id", sa.Integer, primary_key=True),
    require("failure_class", sa.Text),
    require("message", sa.Text),
    require("halted_at", sa.Float),
)

#: The prompt that a run reads, whatever happens to its folder meanwhile.
run_prompts = make_table(
    "run_prompts",
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    require("text", sa.Text),
    require("schema", sa.Text),
    require("checks", sa.Text),
    #: Null until its first batch is asked.
    sa.Column("model", sa.Text),
    sa.Column("endpoint", sa.Text),
    sa.Column("prompt_hash", HexKey),
    #: Where it stands in the run, from 1: what the next prompt reads, this one has answered.
    require("step", sa.Integer, server_default="1"),
    #: The project's own checks, checks.py; empty where there are none.
    require("code", sa.Text, server_default=""),
)

#: The manifests of a run, by step and by stage: input, completed, checked.
run_batches = make_table(
    "run_batches",
    sa.Column("run_id", sa.Text, sa.ForeignKey("runs.run_id"), primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True),
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True),
    require("manifest", sa.Text),
)

#: Parts made for a cache key; a later generation replaces one that was lost, altered or had rows pending.
parts = make_table(
    "parts",
    sa.Column("cache_key", sa.Text, primary_key=True),
    sa.Column("generation", sa.Integer, primary_key=True),
    require("stage", sa.Text),
    require("part_digest", HexKey, index=True),
    require("manifest", sa.Text),
    require("recorded_at", sa.Float),
)

requests = make_table(
    "requests",
    sa.Column("request_key", HexKey, primary_key=True),
    require("prompt_hash", HexKey, sa.ForeignKey("prompts.prompt_hash")),
    require("input", sa.Text),
    #: The exact bytes that are sent.
    require("body", HexKey, sa.ForeignKey("bodies.digest")),
    require("recorded_at", sa.Float),
    #: When its texts were dropped: the input is empty since, and the body's bytes.
    sa.Column("purged_at", sa.Float),
)

#: One row a send: opened before it, closed after it. Opened and never closed: unknown, possibly billed.
attempts = make_table(
    "attempts",
    #: Made by who opens it: the number of the worker, then its own count (`leases.Worker`).
    sa.Column("attempt_id", BigId, primary_key=True, autoincrement=False),
    require("request_key", HexKey, sa.ForeignKey("requests.request_key"), index=True),
    require("run_id", sa.Text, sa.ForeignKey("runs.run_id"), index=True),
    require("opened_at", sa.Float),
    sa.Column("closed_at", sa.Float),
    #: "open", "accepted", "failed", "unsent", or "fenced": answered after another worker had taken its request over.
    require("outcome", sa.Text),
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
leases = make_table(
    "leases",
    sa.Column("worker_id", sa.Integer, primary_key=True),
    #: Which process it is, as far as the machine tells: another one on it can see that it is gone.
    require("process", sa.Text),
    #: The clock that it is told in, and when the right to what it has claimed ends by that clock.
    require("clock", sa.Text),
    require("until", sa.Float),
    sqlite_autoincrement=True,
)

#: The requests that are being asked, each by one worker: the lock of the single flight.
claims = make_table(
    "claims",
    sa.Column("request_key", HexKey, primary_key=True),
    require("worker_id", sa.Integer, sa.ForeignKey("leases.worker_id")),
    #: The fence: an attempt that is no longer named here has lost its request to another.
    require("attempt_id", BigId),
)

#: Money by scope, "run:ID" or "night:DATE": spent, and set aside for calls that have not come back.
spend = make_table(
    "spend",
    sa.Column("scope", sa.Text, primary_key=True),
    require("spent_usd", sa.Float),
    require("reserved_usd", sa.Float),
)

#: The accepted answer for a request key: at most one.
completions = make_table(
    "completions",
    sa.Column("request_key", HexKey, sa.ForeignKey("requests.request_key"), primary_key=True),
    require("attempt_id", BigId, sa.ForeignKey("attempts.attempt_id")),
    require("output", sa.Text),
    require("output_digest", HexKey),
    require("accepted_at", sa.Float),
    #: Where another model than the prompt's gave it.
    sa.Column("model", sa.Text),
)

#: Requests whose answers were refused for good; no call is made for them again.
quarantines = make_table(
    "quarantines",
    sa.Column("request_key", HexKey, sa.ForeignKey("requests.request_key"), primary_key=True),
    require("attempt_id", BigId, sa.ForeignKey("attempts.attempt_id")),
    require("failure_class", sa.Text),
    sa.Column("rule", sa.Text),
    require("reason", sa.Text),
    #: The answer, where one was understood: judged again, unpaid, when the row checks change.
    sa.Column("output", sa.Text),
    sa.Column("output_digest", HexKey),
    require("recorded_at", sa.Float),
)
