"""The values that travel between the rooms: frozen, and without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class RowState(StrEnum):
    """Where a row of a run stands."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    QUARANTINED = "quarantined"


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    WAITING = "waiting"
    RELEASED = "released"
    HELD = "held"
    REJECTED = "rejected"
    HALTED = "halted"


@dataclass(frozen=True)
class Prompt:
    """A prompt folder as it was read, with the model it will be sent to."""

    name: str
    #: prompt.md, output.schema.json and checks.json as read: what the ledger keeps.
    text: str
    schema: str
    checks: str
    #: The Jinja2 source: prompt.md without its front matter.
    template: str
    #: PROVIDER:NAME.
    model: str
    parameters: Mapping[str, Any]
    #: The column that names a row; None: its number from 1.
    id_column: str | None
    #: The columns that the template may use; a row without a value in one is quarantined.
    inputs: tuple[str, ...]
    #: Columns that the template may use and that may be empty.
    optional_inputs: tuple[str, ...]
    checks_hash: str
    #: Empty until the model is resolved: the endpoint is part of the hash.
    endpoint: str = ""
    prompt_hash: str = ""
    #: checks.py as read: the project's own row checks; empty where there are none.
    code: str = ""
    #: Models, PROVIDER:NAME, that are asked where this one's answers do not do: after re-asks, and after a refusal.
    stronger: str | None = None
    fallback: str | None = None
    #: The most that max_tokens is raised to when an answer was cut off; None: twice what it was.
    max_tokens_cap: int | None = None


@dataclass(frozen=True)
class ModelTerms:
    """What a project declares of a model: prices that no list has, and its limits."""

    #: PROVIDER:NAME.
    model: str
    input_usd_per_million: float | None = None
    output_usd_per_million: float | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True)
class Part:
    """A parquet file of rows, named by the SHA-256 of its bytes."""

    #: Relative to the home folder.
    path: str
    digest: str
    n_rows: int


@dataclass(frozen=True)
class Batch:
    """Rows of one run, pinned; batch n counts from 1."""

    n: int
    part: Part
    #: SHA-256 over row ids and inputs, in order.
    digest: str
    n_rows: int
    n_quarantined: int
    #: Which of the run's prompts reads it, from 1.
    step: int = 1


@dataclass(frozen=True)
class CompletedBatch:
    """A batch whose rows have been asked; made by `overnight.complete` alone."""

    n: int
    part: Part
    prompt_hash: str
    n_accepted: int
    n_quarantined: int
    n_pending: int
    step: int = 1


@dataclass(frozen=True)
class CheckedBatch:
    """A completed batch with the verdicts of its checks; made by `overnight.checks` alone."""

    n: int
    part: Part
    prompt_hash: str
    checks_hash: str
    n_accepted: int
    n_quarantined: int
    n_pending: int
    #: One line a rule that speaks of the batch as a whole and failed: they hold the run.
    batch_failures: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    #: Where the Data Docs of this batch start, relative to the home folder.
    docs: str | None = None
    step: int = 1


@dataclass(frozen=True)
class Usage:
    """Tokens as the provider counted them."""

    input_tokens: int = 0
    output_tokens: int = 0
    #: Of the input tokens, those read from and written to the provider's cache.
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    #: Of the output tokens, those spent on reasoning.
    reasoning_tokens: int = 0


@dataclass(frozen=True)
class Correction:
    """An answer that was not accepted, and what was wrong with it in words for the model."""

    #: The answer's text; None where there was none.
    answer: str | None
    complaint: str


@dataclass(frozen=True)
class Ask:
    """What a model is asked, before a provider's format is put on it."""

    system: str | None
    user: str
    #: The JSON schema that the answer must meet.
    schema: Mapping[str, Any]
    parameters: Mapping[str, Any]
    #: Where it is asked again with what was wrong.
    correction: Correction | None = None


@dataclass(frozen=True)
class Reply:
    """What came back from a call, whole."""

    status: int
    #: The response's body as received.
    body: bytes
    #: Allow-listed headers only, names in lower case.
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    stop_reason: str | None = None
    model_served: str | None = None
    request_id: str | None = None
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True)
class RowFailure:
    """A row that a rule of the batch checks refused."""

    row_number: int
    rule: str
    reason: str


@dataclass(frozen=True)
class BatchVerdict:
    """What the batch checks found; row failures name rows, the others speak of the whole."""

    row_failures: tuple[RowFailure, ...]
    batch_failures: tuple[str, ...]
    warnings: tuple[str, ...]
    n_rules: int
    #: Absolute path of the Data Docs page of this validation.
    docs: str | None


@dataclass(frozen=True)
class ReviewItem:
    """One row that a reviewer is shown."""

    #: From 1.
    item: int
    row_id: str
    input: Mapping[str, Any]
    output: Mapping[str, Any]


@dataclass(frozen=True)
class Release:
    """The checked rows of a run offered to one sink."""

    release_id: str
    run_id: str
    digest: str
    #: The sink's name, what a delivery does there, and whether it can be undone: "reversible" or "irreversible".
    sink: str
    operation: str
    effect: str
    n_rows: int
    #: How many answers to this release have been recorded so far.
    round: int
    items: tuple[ReviewItem, ...]


@dataclass(frozen=True)
class Approval:
    """A recorded decision to let rows of a release leave; minted by `overnight.approve.mint` alone."""

    approval_id: str
    run_id: str
    release_id: str
    release_digest: str
    #: Digest over the rows that may leave.
    allowed_digest: str
    sink: str
    n_allowed: int
    n_held: int
    reviewer: str
    #: "approved" or "consumed" at the moment of reading.
    state: str
    expires_at: datetime


@dataclass(frozen=True)
class Payload:
    """The exact bytes that one row sends, and the key that makes sending twice harmless."""

    row_id: str
    body: bytes
    #: SHA-256 of the body, hex.
    digest: str
    #: SHA-256 over sink, row id and payload digest, hex.
    delivery_key: str


@dataclass(frozen=True)
class SinkFacts:
    """What is known of a sink before anything is sent to it."""

    #: Its address with all that decides where and how rows are written.
    name: str
    operation: str
    #: "reversible" or "irreversible".
    effect: str


@dataclass(frozen=True)
class OwnSink:
    """A sink that the project declares with a class of its own."""

    #: "MODULE:CLASS".
    location: str
    #: What decides where and how it writes; a part of the sink's name.
    options: Mapping[str, str]


@dataclass(frozen=True)
class Receipt:
    """What became of a promised delivery."""

    delivery_key: str
    row_id: str
    #: As in the outbox: "delivered", "earlier", "failed", "unknown", "promised", …
    state: str
    #: What the sink said.
    detail: str


@dataclass(frozen=True)
class Summary:
    """What became of a run: the one object that `--json` prints."""

    run_id: str
    state: str
    rows: int
    hits: int
    calls: int
    attempts: int
    accepted: int
    quarantined: int
    pending: int
    held: int
    published: int
    #: Of the accepted, those that a later step of the flow did not take.
    skipped: int
    cost_usd: float | None
    input_tokens: int
    output_tokens: int
    release: str | None
    seconds: float
