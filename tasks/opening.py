"""Opening a run around a flow: which one it is, the sign of its life, and its end."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from overnight import only_hosts
from overnight.inbox.settle import settle_if_possible
from overnight.intake.quarantine import parse_quarantine
from overnight.ledger import Ledger, open_ledger
from overnight.ledger import runs as ledger_runs
from overnight.ledger.retries import RETRY
from overnight.ledger.terms import pin_budget
from overnight.settings import Settings
from tasks.run import Run, working_on


@contextlib.contextmanager
def open_run(
    flow: str,
    parameters: Mapping[str, Any],
    *,
    flow_run_id: str,
    deployed: bool,
    started_by: str | None,
    scheduled_at: float | None = None,
) -> Iterator[Run]:
    """Open the run of a Prefect flow run, or the one it continues, for as long as the flow works on it."""
    settings = Settings.from_env()
    only_hosts.install(settings.only_hosts)
    ledger = open_ledger(settings.ledger_url)
    run = Run(find_run_id(flow_run_id, settings, ledger), flow, deployed, settings, ledger)
    # A pass whose process was killed never ends: it is seen by the lease, which nobody renews any more.
    with ledger.working(settings.lease_s) as worker:

        def open_pass(connection: sa.Connection) -> int:
            pass_id = ledger_runs.open_pass(
                connection,
                run_id=run.run_id,
                flow=flow,
                parameters=parameters,
                flow_run_id=flow_run_id,
                deployed=deployed,
                now=time.time(),
                started_by=started_by,
                worker_id=worker.worker_id,
                scheduled_at=scheduled_at,
                **_name_kind(parameters),
            )
            # In the same commit: no later pass may spend without it. A worker's environment is for the runs to come.
            pin_budget(connection, run.run_id, settings.budget_usd, replaces=not deployed)
            return pass_id

        pass_id = ledger.write(open_pass)
        run.engine.begin_pass(run.run_id, pass_id)
        try:
            with working_on(run):
                yield run
        finally:
            ledger.write(lambda connection: ledger_runs.end_pass(connection, pass_id, time.time()))
            # A fault here must not take the place of how the run has ended.
            settle_if_possible(
                run.run_id, ledger=ledger, place=settings.parts, lease_s=settings.lease_s, now=time.time()
            )


def _name_kind(parameters: Mapping[str, Any]) -> dict[str, str]:
    """A run over another's quarantined rows is a retry of it."""
    source = parameters.get("source")
    asked = parse_quarantine(source) if isinstance(source, str) else None
    return {"kind": RETRY, "of_run": asked.run_id} if asked else {}


def find_run_id(flow_run_id: str, settings: Settings, ledger: Ledger) -> str:
    """The run that the flow run continues, or a new one's id: its date and the start of the flow run's own id."""
    with ledger.reading() as connection:
        known = ledger_runs.find_run_of(connection, flow_run_id)
    return known or settings.run_id or f"{datetime.now(UTC):%Y%m%d}-{uuid.UUID(flow_run_id).hex[:8]}"
