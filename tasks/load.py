"""Loading: the prompt and the input, both pinned by the run that first reads them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from prefect.logging import get_run_logger

from overnight.complete import read_source
from overnight.failures import InputRefused
from overnight.inbox.drain import pin_requests, take_up
from overnight.intake.inbox import InboxSource, parse_inbox
from overnight.ledger import open_ledger
from overnight.ledger.manifests import find_batches, record_batches
from overnight.ledger.runs import find_source, pin_source
from overnight.records import Batch, Prompt
from overnight.report.measure import tell_masked
from overnight.settings import Settings
from tasks.nightly import batch_task
from tasks.plan import find_planning
from tasks.run import current_run


def load_prompt(name: str) -> Prompt:
    """The prompt of this name: the folder's on the run's first pass, the pinned one afterwards."""
    if planning := find_planning():
        return planning.load_prompt(name)
    return current_run().load_prompt(name)


def load_batches(source: str, prompt: Prompt) -> list[Batch]:
    """The source's rows in batches, copied on the run's first pass; later passes read the copies alone."""
    if planning := find_planning():
        return planning.load_batches(source, prompt)
    # Submitted: a task that is called directly gives its failed state, not the fault.
    pinned: Any = pin_input.submit(source, prompt, current_run().run_id).result()
    return list(pinned)


@batch_task(name="pin-input", task_run_name="pin-input")
def pin_input(source: str, prompt: Prompt, run_id: str) -> list[Batch]:
    """Copy the source's rows into parts, unless the run has them already."""
    settings = Settings.from_env()
    ledger = open_ledger(settings.ledger_url)
    with ledger.reading() as connection:
        pinned, known = find_batches(connection, run_id, Batch, step=1), find_source(connection, run_id)
    if known is not None and known != source:
        raise InputRefused(
            f"Run {run_id} has pinned {known}, and {source} is another source. Give each a flow of its own."
        )
    inbox = parse_inbox(source)
    if pinned and inbox:
        take_up(run_id, ledger=ledger, lease_s=settings.lease_s)
    elif inbox:
        pinned = _drain(inbox, prompt, run_id, settings)
    elif not pinned:
        pinned = list(read_source(source, prompt, ledger=ledger, settings=settings, place=settings.parts))
        ledger.write(lambda connection: _record(connection, run_id, source, pinned))
    n_rows, n_bad = sum(b.n_rows for b in pinned), sum(b.n_quarantined for b in pinned)
    get_run_logger().info("%d rows in %d batches, %d quarantined at intake", n_rows, len(pinned), n_bad)
    if n_masked := sum(b.n_masked for b in pinned):
        get_run_logger().warning(tell_masked(n_masked))
    return pinned


def _drain(source: InboxSource, prompt: Prompt, run_id: str, settings: Settings) -> list[Batch]:
    return pin_requests(
        source,
        prompt,
        run_id,
        ledger=open_ledger(settings.ledger_url),
        place=settings.parts,
        lease_s=settings.lease_s,
        limit=settings.limit,
    )


def _record(connection: sa.Connection, run_id: str, source: str, pinned: list[Batch]) -> None:
    pin_source(connection, run_id, source)
    record_batches(connection, run_id, pinned)
