"""What is worked on: prompts, parts, batches, and where they stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    #: Its rows are with a provider, in batches; nobody works on it meanwhile.
    BATCHED = "batched"
    #: A shadow run that was compared: nothing of it is offered.
    COMPARED = "compared"


class InboxState(StrEnum):
    """Where a request from outside stands."""

    QUEUED = "queued"
    #: A run has it.
    TAKEN = "taken"
    #: A person has let its answer out.
    ANSWERED = "answered"
    #: It has no answer, and will have none by itself: the reason says why.
    CLOSED = "closed"


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
    #: Inputs, and fields of the output, whose values are not shown in reports, forms and artifacts.
    private: tuple[str, ...] = ()
    #: How its rows are asked where nobody says otherwise, "online" or "batch"; not part of its hash.
    mode: str = "online"
    #: In batch mode: the local time, HH:MM, by which a run is to be done; not part of its hash either.
    by: str | None = None


@dataclass(frozen=True)
class ModelTerms:
    """What a project declares of a model: prices that no list has, and its limits."""

    #: PROVIDER:NAME.
    model: str
    input_usd_per_million: float | None = None
    output_usd_per_million: float | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    #: In provider batches; None: the list's, or as of calls one by one.
    batch_input_usd_per_million: float | None = None
    batch_output_usd_per_million: float | None = None


@dataclass(frozen=True)
class Part:
    """A parquet file of rows, named by the SHA-256 of its bytes."""

    #: Relative to the place of parts.
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
    #: Rows that held what looks like a key: it is in nothing that was recorded of them.
    n_masked: int = 0


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
    #: Whose home folder that is, where machines share the parts and not their homes.
    docs_host: str | None = None


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
    #: Rows that a rule which only warns found unexpected, whether or not enough others were as expected.
    row_warnings: tuple[RowFailure, ...]
    n_rules: int
    #: Absolute path of the Data Docs page of this validation.
    docs: str | None


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
