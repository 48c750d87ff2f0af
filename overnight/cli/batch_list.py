"""Provider batches as `overnight batches` lists them, and what can be done about the runs that wait for them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from overnight.complete import find_fallback_at
from overnight.ledger import Ledger
from overnight.ledger.provider_batch_progress import OPEN_STATES, find_progress, find_runs_awaited
from overnight.ledger.provider_batches import list_batches
from overnight.ledger.queries import list_runs
from overnight.llm import parse_model
from overnight.records import BatchState, ProviderBatch, RunState
from overnight.report.batches import count_batches, count_requests, describe_age
from overnight.settings import Settings

#: Runs that are looked through for those that can go on.
_N_RUNS = 200


@dataclass(frozen=True)
class Listing:
    """The provider batches that are shown, of a run or of all."""

    run_id: str | None
    batches: Sequence[ProviderBatch]
    #: Those that were never sent, where they are not asked for.
    n_hidden: int
    n_in_doubt: int
    #: The other runs in whose batches the run has rows, and how many batches of each.
    awaited: dict[str, int]


def list_shown(connection: sa.Connection, run_id: str | None, *, shows_all: bool, limit: int) -> Listing:
    """The newest batches; those that were never sent where they are asked for, and never one without a request."""
    found = list_batches(connection, run_id=run_id)
    filled = [batch for batch in found if batch.n_items or batch.state is not BatchState.UNSENT]
    shown = [batch for batch in filled if shows_all or batch.state is not BatchState.UNSENT]
    n_in_doubt = sum(batch.state is BatchState.IN_DOUBT for batch in found)
    awaited = find_runs_awaited(connection, run_id) if run_id else {}
    return Listing(run_id, shown[:limit], len(filled) - len(shown), n_in_doubt, awaited)


def describe_list(listing: Listing) -> list[str]:
    """A line or more for each batch; where there is none, that."""
    now = time.time()
    lines = [line for batch in listing.batches for line in _describe(batch, now)]
    if not listing.batches:
        none = (
            f"Run {listing.run_id} has no provider batches of its own"
            if listing.run_id
            else "There are no provider batches"
        )
        how = "." if listing.run_id or listing.n_hidden else ". `overnight run FLOW --mode batch` makes some."
        lines.append(f"{none}{' that were sent' if listing.n_hidden else ''}{how}")
    return lines


def describe_rest(listing: Listing) -> list[str]:
    """What the list does not show: batches that were never sent, and those of other runs."""
    lines = []
    if listing.n_hidden:
        of_run = f" {listing.run_id}" if listing.run_id else ""
        was = "was" if listing.n_hidden == 1 else "were"
        lines.append(f"{count_batches(listing.n_hidden)} that {was} never sent: `overnight batches{of_run} --all`.")
    lines += [
        f"Rows of run {listing.run_id} are in {count_batches(n)} of run {other}: `overnight batches {other}`."
        for other, n in listing.awaited.items()
    ]
    return lines


def as_object(batch: ProviderBatch) -> dict[str, Any]:
    """As `--json` prints it."""
    return asdict(batch) | {"n_done": _count_done(batch), "age_s": _find_age_s(batch, time.time())}


def list_hints(ledger: Ledger, settings: Settings, run_id: str | None) -> list[str]:
    """Which runs have nothing to wait for any more, or no time."""
    with ledger.reading() as connection:
        batched = {run["run_id"]: run for run in list_runs(connection, _N_RUNS, states=[RunState.BATCHED])}
        progress = find_progress(connection, list(batched))
    waiting = {run for run, found in progress.items() if found.n_batches > found.n_in_doubt}
    lines = []
    for name, run in batched.items():
        if run_id not in (None, name):
            continue
        if name not in waiting:
            lines.append(f"Run {name} can go on: `overnight continue {name}`.")
        elif when := _describe_lateness(run, ledger, settings):
            lines.append(f"Run {name} is {when} its deadline: `overnight continue {name}`.")
    return lines


def _describe_lateness(run: Mapping[str, Any], ledger: Ledger, settings: Settings) -> str | None:
    """Whether the run is to give its batches up now; not where it has done so, and they have only to stop."""
    now, fallback_at = time.time(), find_fallback_at(run["run_id"], ledger, settings)
    if fallback_at is None or fallback_at > now:
        return None
    with ledger.reading() as connection:
        sent = list_batches(connection, run_id=run["run_id"], states=[BatchState.SUBMITTED])
    if sent and all(batch.canceled_at for batch in sent):
        return None
    return "past" if run["by_at"] <= now else "near"


def _describe(batch: ProviderBatch, now: float) -> list[str]:
    lines = [_line(batch, now)]
    if batch.reason:
        lines.append(f"    {batch.reason}")
    if batch.state is BatchState.IN_DOUBT:
        lines.append(
            f"    Look at the provider's own list of batches for {_describe_trace(batch)}. It is there:"
            f" `overnight batches --sent {batch.batch_id}=ID`; it is not: `overnight batches --not-sent"
            f" {batch.batch_id}`."
        )
    return lines


def _describe_trace(batch: ProviderBatch) -> str:
    """By what a person knows it in the provider's own list."""
    sent_at = batch.submitting_at or batch.packed_at
    trace = f"one of {count_requests(batch.n_items)} made about {_show(sent_at)}"
    # Anthropic's batches carry nothing of ours that its list shows.
    if parse_model(batch.model).provider == "openai":
        trace += f", with the metadata overnight: {batch.batch_id}"
    return trace


def _line(batch: ProviderBatch, now: float) -> str:
    state = "IN DOUBT" if batch.state is BatchState.IN_DOUBT else str(batch.state)
    status = f" ({batch.status})" if batch.status and batch.state is BatchState.SUBMITTED else ""
    expires = f", expires {_show(batch.expires_at)}" if batch.expires_at and batch.state in OPEN_STATES else ""
    return (
        f"{batch.batch_id}  {state:10}{status} run {batch.run_id}, {batch.model}"
        f" {batch.provider_id or '(no id yet)'}: {_count_done(batch):,} of {batch.n_items:,} done,"
        f" {describe_age(_find_age_s(batch, now))}{expires}"
    )


def _count_done(batch: ProviderBatch) -> int:
    return batch.n_items if batch.state is BatchState.ENDED else batch.n_done


def _find_age_s(batch: ProviderBatch, now: float) -> float:
    """From when it was sent, or begun, until it was over."""
    return (batch.ended_at or now) - (batch.submitted_at or batch.submitting_at or batch.packed_at)


def _show(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment).astimezone():%Y-%m-%d %H:%M %Z}"
