"""What completing would do: which rows have an answer, which would be asked and why, and what that would take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from overnight.checks import BatchMemory, Checks, parse_checks
from overnight.complete.estimate import Range
from overnight.complete.forecast import Forecast, forecast
from overnight.complete.manifest import make_completed
from overnight.complete.misses import Reason, count_changed_rows, digest_input, explain_misses, list_versions
from overnight.complete.mode import resolve_mode
from overnight.complete.recall import recall
from overnight.keys import request_key
from overnight.ledger.asked import PromptVersion
from overnight.ledger.provider_batch_items import find_in_batches
from overnight.ledger.retries import Retry
from overnight.llm import find_terms, has_batch_price, parse_model
from overnight.parts import read_part, write_part
from overnight.place import PartsPlace
from overnight.records import Batch, CompletedBatch, Mode, Prompt, RowState
from overnight.settings import Settings


@dataclass(frozen=True)
class StepPlan:
    """What one step would do; n_rows = quarantined at intake + hits + quarantined before + misses."""

    prompt: Prompt
    n_rows: int
    n_quarantined_at_intake: int
    #: Answers that are there, and rows that ask what another row of the step asks.
    n_hits: int
    #: Answers that were refused for good, or that today's row checks refuse: no call either.
    n_quarantined_before: int
    misses: Mapping[Reason, int]
    forecast: Forecast
    #: Rows of the step before that are still to be answered: some of them may come to this one.
    n_unknown: int
    #: How the rows would be asked, and in batches by when, HH:MM.
    mode: Mode = Mode.ONLINE
    by: str | None = None
    #: Whether there is a price of batches; where there is none, they count as calls one by one.
    has_batch_price: bool = False

    @property
    def cost_usd(self) -> Range | None:
        """As the rows would be asked."""
        needs = self.forecast.needs
        return needs.batch_cost_usd if self.mode is Mode.BATCH else needs.cost_usd

    @property
    def most_usd(self) -> float:
        """At the high end, with every row of a batch asked online at last where there is a time for that."""
        needs = self.forecast.needs
        cost = needs.cost_usd if self.by else self.cost_usd
        return cost.high if cost else 0.0

    @property
    def n_misses(self) -> int:
        """Rows without an answer to use."""
        return sum(self.misses.values())

    @property
    def n_with_provider(self) -> int:
        """Those of them that are with a provider already."""
        return self.misses[Reason.WITH_PROVIDER]

    @property
    def n_to_ask(self) -> int:
        """Those of them that would be asked."""
        return self.n_misses - self.n_with_provider


@dataclass(frozen=True)
class Plan:
    """What a run would do, up to the gate."""

    source: str | None
    #: Of the source.
    n_rows: int
    steps: tuple[StepPlan, ...]


@dataclass
class _Tally:
    """What the batches of a step came to so far."""

    n_hits: int = 0
    n_quarantined_before: int = 0
    n_characters: int = 0
    reasons: Counter[Reason] = field(default_factory=Counter)
    #: Requests that would be asked already: the next row that asks the same is a hit.
    keys: set[bytes] = field(default_factory=set)
    #: Rows that were not asked in any way before: the digest of the input by row id.
    unasked: dict[str, str] = field(default_factory=dict)


def plan_step(
    batches: Sequence[Batch],
    prompt: Prompt,
    *,
    n_unknown: int,
    connection: sa.Connection,
    settings: Settings,
    place: PartsPlace,
    retry: Retry | None = None,
) -> tuple[StepPlan, list[CompletedBatch]]:
    """
    What completing the batches would do, and the batches with the answers that are there.

    Args:
        batches: Rows, their parts under `place`.
        prompt: What they would be asked, with its hash.
        n_unknown: Rows that may still come from the step before.
        connection: To the ledger, which is only read.
        settings: Where earlier runs left their parts, and the prices.
        place: Where the completed parts are written; rows that would be asked are pending in them.
        retry: The run, where it asks quarantined rows again.

    Raises:
        PromptRefused: A check of the project fails.
        OvernightError: The settings ask the model for what it has not.
    """
    mode, by = resolve_mode(prompt, prompt.model, settings)
    checks = replace(parse_checks(prompt.checks, prompt=prompt.name, code=prompt.code), private=prompt.private)
    versions, tally, completed = list_versions(prompt, connection), _Tally(), []
    for batch in batches:
        rows = read_part(batch.part, place).to_pylist()
        missing = _recall(rows, prompt, checks, connection, tally, retry=retry)
        _explain(missing, prompt, versions, connection, tally)
        part = write_part(rows, place)
        completed.append(make_completed(batch, prompt, part, [row["state"] for row in rows]))
    n_changed = count_changed_rows(tally.unasked, prompt, connection, settings)
    tally.reasons += Counter({Reason.CHANGED_ROW: n_changed, Reason.NEW_ROW: len(tally.unasked) - n_changed})
    n_to_ask, terms = tally.reasons.total() - tally.reasons[Reason.WITH_PROVIDER], settings.terms
    step = StepPlan(
        prompt=prompt,
        n_rows=sum(batch.n_rows for batch in batches),
        n_quarantined_at_intake=sum(batch.n_quarantined for batch in batches),
        n_hits=tally.n_hits,
        n_quarantined_before=tally.n_quarantined_before,
        misses={reason: tally.reasons[reason] for reason in Reason},
        forecast=forecast(n_to_ask, tally.n_characters, prompt, versions, connection=connection, terms=terms),
        n_unknown=n_unknown,
        mode=mode,
        by=by,
        has_batch_price=has_batch_price(parse_model(prompt.model), find_terms(terms, prompt.model)),
    )
    return step, completed


def _explain(
    missing: Mapping[str, dict[str, Any]],
    prompt: Prompt,
    versions: Sequence[PromptVersion],
    connection: sa.Connection,
    tally: _Tally,
) -> None:
    """Count the rows that were asked before in some way, and keep the others for a look at earlier input."""
    reasons = explain_misses({key: row["input"] for key, row in missing.items()}, prompt, versions, connection)
    tally.reasons.update(reasons.values())
    left = (row for key, row in missing.items() if key not in reasons)
    tally.unasked |= {row["row_id"]: digest_input(row["input"]) for row in left}


def _recall(
    rows: Sequence[dict[str, Any]],
    prompt: Prompt,
    checks: Checks,
    connection: sa.Connection,
    tally: _Tally,
    *,
    retry: Retry | None,
) -> dict[str, dict[str, Any]]:
    """Give the rows the outcomes that are known; the first row of each request to ask, by its key."""
    readable = [row for row in rows if row["state"] == RowState.PENDING]
    for row in readable:
        row["request_key"] = request_key(row["input"], prompt.prompt_hash)
    asked = {row["request_key"]: row["input"] for row in readable}
    memory = BatchMemory() if checks.compares_rows else None
    known = recall(asked, checks, memory, connection, retry=retry).outcomes
    in_batches = find_in_batches(connection, [key for key in asked if key not in known])
    missing: dict[str, dict[str, Any]] = {}
    for row in readable:
        key = row["request_key"]
        if outcome := known.get(key):
            row.update(outcome._asdict())
            tally.n_hits += outcome.state is RowState.ACCEPTED
            tally.n_quarantined_before += outcome.state is RowState.QUARANTINED
        elif (short := bytes.fromhex(key)) in tally.keys:
            tally.n_hits += 1
        elif key in in_batches:
            tally.keys.add(short)
            tally.reasons[Reason.WITH_PROVIDER] += 1
        else:
            tally.keys.add(short)
            tally.n_characters += len(row["input"])
            missing[key] = row
    return missing
