"""What people are told of runs that did not go as planned: skipped, late, missing, broken, asleep, in doubt."""

from __future__ import annotations

from datetime import UTC, datetime

from overnight.nights import Skip
from overnight.notices import Notice
from overnight.records import ProviderBatch
from overnight.report.notices import describe_span

_SKIPPED = {
    Skip.STALE: "which is longer than OVERNIGHT_STALE_S lets it be late",
    Skip.REPLACED: "and the next one is due already",
}
_BROKEN = {"crashed": "has crashed", "lost": "is lost"}


def tell_skipped(flow: str, scheduled_at: float, reason: str, link: str | None, *, now: float | None = None) -> Notice:
    """
    A scheduled flow run ended before it began.

    Args:
        flow: Whose it is.
        scheduled_at: When it was to begin.
        reason: A `Skip`.
        link: Its page in Prefect's UI.
        now: Seconds since the epoch.
    """
    late_s = (datetime.now(UTC).timestamp() if now is None else now) - scheduled_at
    line = (
        f"Flow {flow} was to begin at {_show(scheduled_at)}. That was {describe_span(late_s)} ago,"
        f" {_SKIPPED[Skip(reason)]}: it was skipped, and nothing was asked or recorded."
    )
    how = f"Where it is wanted all the same, run it by hand: `overnight run {flow.replace('-', '_')}`"
    return Notice("skipped", f"Flow {flow} was skipped", (line, _lead_to(how, link)))


def tell_late(flow: str, due_at: float, why: str, link: str | None, *, n_older: int = 0, now: float) -> Notice:
    """A flow run has not begun, nor have so many older ones of its deployment."""
    line = f"Flow {flow} was to begin at {_show(due_at)}, {describe_span(now - due_at)} ago, and has not: {why}."
    if n_older:
        line += f" {n_older:,} older runs of it have not begun either."
    return Notice("late", f"Flow {flow} is late", (line, _lead_to("Look whether a worker runs", link)))


def tell_missing(deployment: str, due_at: float) -> Notice:
    """A schedule made no flow run."""
    lines = (
        f"{deployment} was due at {_show(due_at)}, and Prefect has no flow run of it.",
        "Look whether Prefect's server ran then. Where it is wanted all the same, start it in Prefect or by hand.",
    )
    return Notice("missing", f"{deployment} did not run", lines)


def tell_broken(kind: str, flow: str, run_id: str | None, why: str, link: str | None) -> Notice:
    """The process of a flow run ended, as Prefect says ("crashed") or as the ledger alone does ("lost")."""
    name = f"Run {run_id}" if run_id else f"Flow {flow}"
    what = (
        f"Flow {flow}{f', run {run_id}' if run_id else ''}: its process ended before it did. It is not put back: {why}."
    )
    how = f"Run the flow again, and nothing is paid for twice: `overnight run {flow.replace('-', '_')}`"
    return Notice(kind, f"{name} {_BROKEN[kind]}", (what, _lead_to(how, link)))


def tell_doubt(batch: ProviderBatch, flow: str, link: str | None) -> Notice:
    """Nobody can tell whether a provider has a batch: a person has to."""
    rows = f"{batch.n_items:,} request{'' if batch.n_items == 1 else 's'}"
    why = f" ({batch.reason.rstrip('.')})" if batch.reason else ""
    what = (
        f"Flow {flow}, run {batch.run_id}: {batch.model} may have provider batch {batch.batch_id} of {rows}, or may"
        f" not{why}. They are not asked again by themselves: they could be paid for twice."
    )
    how = "Look at the provider's own list of batches, then say which it is: `overnight batches`"
    return Notice("doubt", f"A provider batch of run {batch.run_id} is in doubt", (what, _lead_to(how, link)))


def tell_unseen(batch: ProviderBatch, fault: str | None, flow: str, link: str | None, *, now: float) -> Notice:
    """
    A provider batch is not followed to its end, and that does not mend itself.

    Args:
        batch: Which.
        fault: What stood in the way when it was looked at last; None: nothing but that it does not end.
        flow: Whose it is.
        link: The page of its flow run.
        now: Seconds since the epoch.
    """
    rows = f"{batch.n_items:,} request{'' if batch.n_items == 1 else 's'}"
    overdue_s = now - batch.expires_at if batch.expires_at else 0.0
    late = f", which was to expire {describe_span(overdue_s)} ago" if overdue_s > 0 else ""
    why = fault or f"{batch.model} shows it as {batch.status or batch.state} all the same."
    what = f"Flow {flow}, run {batch.run_id}: provider batch {batch.batch_id} of {rows}{late} is not followed: {why}"
    how = (
        "Its rows wait meanwhile, and are not paid for again. Mend the key or the address, or look for"
        f" {batch.provider_id or 'it'} at the provider; then `overnight batches --follow`"
    )
    return Notice("unseen", f"A provider batch of run {batch.run_id} cannot be followed", (what, _lead_to(how, link)))


def tell_asleep(flow: str, run_id: str, why: str, link: str | None) -> Notice:
    """A run waits for its provider batches, and nothing would wake it."""
    what = (
        f"Flow {flow}, run {run_id}: its rows are with a provider, and it will not go on by itself: {why}. What the"
        " provider answers is kept."
    )
    how = f"Go on with it, and nothing is paid for twice: `overnight continue {run_id}`"
    return Notice("asleep", f"Run {run_id} will not be woken", (what, _lead_to(how, link)))


def tell_unfollowed(flow: str, run_id: str, why: str, link: str | None) -> Notice:
    """A run waits for its provider batches beside its worker: nobody would resume it if it let go."""
    what = (
        f"Flow {flow}, run {run_id}: its rows are with a provider, and it holds its worker until they come: {why}. It"
        " goes on by itself all the same."
    )
    how = (
        "Put the flow follow-batches in place, with an active schedule (`overnight init --tasks` says how to copy it),"
        " and no run holds a worker while it waits"
    )
    return Notice("unfollowed", f"Run {run_id} holds its worker while it waits", (what, _lead_to(how, link)))


def _lead_to(how: str, link: str | None) -> str:
    return f"{how}. In Prefect: {link}" if link else f"{how}."


def _show(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M} UTC"
